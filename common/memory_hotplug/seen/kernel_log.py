"""What the kernel log says: pages that failed or could not be moved, storage that was kept.

Linux prints ``migrating pfn N failed`` (mm/memory_hotplug.c, do_migrate_range) and dumps the page
with the reason ``migration failure`` or ``unmovable page`` (mm/debug.c, dump_page). What memory
failed, it prints as ``Memory failure: PFN:`` (mm/memory-failure.c). /proc/kmsg can
be read once only; /dev/kmsg as often as one likes (Documentation/ABI/testing/dev-kmsg).
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from memory_hotplug.machine import Machine
from memory_hotplug.seen.in_use import corrupted
from memory_hotplug.seen.pages import page_size_of
from memory_hotplug.trees.files import LOG
from memory_hotplug.trees.many import READING

__all__ = [
    "Failed",
    "failures",
    "failures_counted",
    "failures_on",
    "log_of",
    "parse_log",
    "poisoned",
    "poisoned_on",
    "read_log",
    "storage_kept",
]

KMSG = f"/{LOG}"
_RECORD = 8192
"""More than one record of /dev/kmsg has (kernel/printk/printk.c, PRINTK_MESSAGE_MAX)."""

_MIGRATING = re.compile(r"migrating pfn ([0-9a-f]{1,16}) failed")
_PAGE = re.compile(r"\bpfn:0x([0-9a-f]{1,16})")
_BECAUSE = re.compile(r"page dumped because: (migration failure|unmovable page)")


_KEPT = re.compile(r"assign storage failed \(cmd=0x0{0,4}c0001\b.{0,40}\brn=0x([0-9a-f]{1,8})\)")
"""The hypervisor of an s390 did not take an increment of storage back; the command is
SCLP_CMDW_UNASSIGN_STORAGE (drivers/s390/char/sclp_mem.c, do_assign_storage)."""


_POISONED = re.compile(
    r"(?:Memory failure:|\bMCE:?) 0x([0-9a-f]{1,16}): (?!memory outside|.{0,30}non struct page)"
    r"|\bSoft offline: 0x([0-9a-f]{1,16}): page already poisoned"
)
_UNPOISONED = re.compile(r"Unpoison: .*?\b0x([0-9a-f]{1,16})\b")
"""mm/memory-failure.c: what is refused for memory that is not online poisons nothing. A page that
soft_offline_page takes out of use is poisoned, too, and the log tells it only the second time."""


class Failed(NamedTuple):
    """A page that kept a block online."""

    frame: int
    """The number of its page frame."""
    line: str
    """What the kernel said."""


def read_log() -> list[str]:
    """The messages in the log of this machine; none if this user may not read it."""
    try:
        file = os.open(KMSG, READING)
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


def failures_counted(lines: Sequence[str], block_size: int, page_size: int) -> Counter[int]:
    """Block -> how often a page kept it online. Sizes are in bytes."""
    return Counter(failed.frame * page_size // block_size for failed in parse_log(lines))


def log_of(machine: Machine) -> list[str]:
    """The messages in the log of this machine, or of a simulated one; none of another."""
    return _log(machine) or []


def _log(machine: Machine) -> list[str] | None:
    """The same; None if there is no log to read."""
    if machine.tree.is_this_machine:
        return read_log() or None
    try:
        return machine.tree.read(LOG).decode(errors="replace").splitlines()
    except OSError:
        return None


def storage_kept(lines: Iterable[str], block_size: int, increment: int) -> Counter[int]:
    """Block -> how often the hypervisor did not take storage of it back, by LINES of the log.

    Sizes are in bytes. The kernel ignores such a refusal: deconfiguring a block succeeds.
    """
    found = filter(None, map(_KEPT.search, lines))
    # Increments are counted from 1.
    return Counter((int(one[1], 16) - 1) * increment // block_size for one in found)


def poisoned(lines: Iterable[str]) -> list[int]:
    """The page frames that are poisoned, by LINES of the log, ascending."""
    frames = set()
    for line in lines:
        if found := _POISONED.search(line):
            frames.add(int(found[1] or found[2], 16))
        elif gone := _UNPOISONED.search(line):
            frames.discard(int(gone[1], 16))
    return sorted(frames)


def poisoned_on(machine: Machine) -> dict[int, list[int]] | None:
    """Block -> the addresses of its pages that are poisoned, by the log of this machine, or of a
    simulated one; None if there is no log to read.

    Of an offline block, nothing else tells it: its pages have no flags. Where the kernel counts no
    page at all, those of its log are gone, with the memory that they were in.
    """
    if corrupted(machine.tree) == 0:
        return {}
    lines = _log(machine)
    if lines is None:
        return None
    size, found = page_size_of(machine.tree), dict[int, list[int]]()
    for frame in poisoned(lines):
        found.setdefault(frame * size // machine.block_size, []).append(frame * size)
    return found


def failures_on(machine: Machine) -> dict[int, Failed]:
    """What `failures` finds in the log of this machine; nothing for another one."""
    if not machine.tree.is_this_machine:
        return {}
    return failures(read_log(), machine.block_size, os.sysconf("SC_PAGE_SIZE"))
