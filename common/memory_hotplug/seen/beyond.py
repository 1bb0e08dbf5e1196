"""Memory beyond the last block: what the firmware has, and the kernel does not use.

The parameters mem= and memmap= take memory from the kernel (Documentation/admin-guide/
kernel-parameters.txt). What the firmware said is in /sys/firmware/memmap all the same
(drivers/firmware/memmap.c), for root only.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from memory_hotplug.seen.iomem import Region
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import CMDLINE

__all__ = ["FROM_FIRMWARE", "memory_beyond", "parameters_that_take"]

FIRMWARE_MAP = "sys/firmware/memmap"
FROM_FIRMWARE = "System RAM of the firmware"
"""The name of a region that only the firmware's map has."""

_MEMORY = re.compile(r"System RAM|Persistent Memory|Soft Reserved|CXL Window")
_ADDRESS = re.compile(rb"0x[0-9a-f]{1,16}\s*")
_TAKES = re.compile(r"(?:mem|memmap)=[\w@#$!%,+.:-]{1,200}")


def memory_beyond(tree: Tree, regions: Sequence[Region], end: int) -> list[Region]:
    """The regions of memory from the byte END on, cut off there, ascending.

    REGIONS are the map of the address space; what the firmware knows besides is added.
    """
    known = [one for one in regions if len(one.names) == 1 and _MEMORY.match(one.name)]
    here = [*_after(known, end)]
    for region in _after(_of_firmware(tree), end):
        if not any(one.start <= region.end and region.start <= one.end for one in here):
            here.append(region)
    return sorted(here)


def _after(regions: Iterable[Region], end: int) -> Iterator[Region]:
    for region in regions:
        if region.end >= end:
            yield region._replace(start=max(region.start, end))


def _of_firmware(tree: Tree) -> Iterator[Region]:
    try:
        names = sorted(tree.names(FIRMWARE_MAP))
    except OSError:
        return
    for name in names:
        try:
            start, end, kind = (
                tree.read(f"{FIRMWARE_MAP}/{name}/{attribute}")
                for attribute in ("start", "end", "type")
            )
        except OSError:
            continue
        if kind.strip() == b"System RAM" and _ADDRESS.fullmatch(start) and _ADDRESS.fullmatch(end):
            yield Region(int(start, 16), int(end, 16), (FROM_FIRMWARE,))


def parameters_that_take(tree: Tree) -> list[str]:
    """The parameters of the kernel's command line that take memory from it."""
    try:
        line = tree.read(CMDLINE).decode(errors="replace")
    except OSError:
        return []
    return list(filter(_TAKES.fullmatch, line.split()))
