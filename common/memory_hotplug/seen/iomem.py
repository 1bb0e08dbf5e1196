"""The map of the physical address space, /proc/iomem (kernel/resource.c).

Only root is told the addresses; for all others they are 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from memory_hotplug.errors import printable
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.files import IOMEM, Tree

__all__ = ["Region", "parse_iomem", "read_iomem"]

_LINE = re.compile(r"((?:  ){0,32})([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.*)")


class Region(NamedTuple):
    """A part of the address space, and what it is in."""

    start: int
    """The address of the first byte."""
    end: int
    """The address of the last byte, inclusive."""
    names: tuple[str, ...]
    """The name of the region, after those of the regions that it is in, the outermost first."""

    @property
    def name(self) -> str:
        return self.names[-1]


def parse_iomem(text: str) -> Iterator[Region]:
    """The regions of an iomem, in its order: each one comes before those that are in it.

    A line that is not like the kernel's is left out, and so are regions without addresses.
    """
    above: list[str] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        depth = len(found[1]) // 2
        del above[depth:]
        above.append(found[4])
        start, end = int(found[2], 16), int(found[3], 16)
        if 0 < end >= start:
            yield Region(start, end, tuple(above))


def read_iomem(tree: Tree) -> Sequence[Region]:
    """The regions of a machine; none if its tree does not tell them, or not to this user."""
    try:
        text = tree.read(IOMEM)
    except OSError:
        return ()
    return [
        region._replace(names=tuple(map(printable, region.names)))
        for region in parse_iomem(os.fsdecode(text))
    ]
