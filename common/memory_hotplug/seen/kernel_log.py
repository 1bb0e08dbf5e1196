"""What the kernel log says about pages that could not be moved.

Linux prints ``migrating pfn N failed`` (mm/memory_hotplug.c, do_migrate_range) and dumps the page
with the reason ``migration failure`` or ``unmovable page`` (mm/debug.c, dump_page). /proc/kmsg can
be read once only; /dev/kmsg as often as one likes (Documentation/ABI/testing/dev-kmsg).
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memory_hotplug.machine import Machine

__all__ = ["Failed", "failures", "failures_on", "parse_log", "read_log"]

KMSG = "/dev/kmsg"
_RECORD = 8192
"""More than one record of /dev/kmsg has (kernel/printk/printk.c, PRINTK_MESSAGE_MAX)."""

_MIGRATING = re.compile(r"migrating pfn ([0-9a-f]{1,16}) failed")
_PAGE = re.compile(r"\bpfn:0x([0-9a-f]{1,16})")
_BECAUSE = re.compile(r"page dumped because: (migration failure|unmovable page)")


class Failed(NamedTuple):
    """A page that kept a block online."""

    frame: int
    """The number of its page frame."""
    line: str
    """What the kernel said."""


def read_log() -> list[str]:
    """The messages in the log of this machine; none if this user may not read it."""
    try:
        file = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    lines = []
    try:
        while True:
            try:
                record = os.read(file, _RECORD)
            except BrokenPipeError:
                continue  # the record was overwritten; the next read has a later one
            except OSError:
                break
            if not record:
                break
            lines.append(record.decode(errors="replace").partition(";")[2].partition("\n")[0])
    finally:
        os.close(file)
    return lines


def parse_log(lines: Sequence[str]) -> Iterator[Failed]:
    """The pages that could not be moved, the earliest first."""
    frame = None
    for line in lines:
        if migrating := _MIGRATING.search(line):
            yield Failed(int(migrating[1], 16), line)
        elif page := _PAGE.search(line):
            frame = int(page[1], 16)
        elif (because := _BECAUSE.search(line)) and frame is not None:
            yield Failed(frame, f"{because[1]}: pfn {frame:#x}")
            frame = None


def failures(lines: Sequence[str], block_size: int, page_size: int) -> dict[int, Failed]:
    """Block -> the page that kept it online the last time. Sizes are in bytes."""
    return {failed.frame * page_size // block_size: failed for failed in parse_log(lines)}


def failures_on(machine: Machine) -> dict[int, Failed]:
    """What `failures` finds in the log of this machine; nothing for another one."""
    if not machine.tree.is_this_machine:
        return {}
    return failures(read_log(), machine.block_size, os.sysconf("SC_PAGE_SIZE"))
