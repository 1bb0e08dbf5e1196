"""The map of the physical address space, /proc/iomem (kernel/resource.c).

Only root is told the addresses; for all others they are 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from memory_hotplug.errors import printable
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.files import IOMEM, Tree

__all__ = ["Region", "parse_iomem", "read_iomem"]

_DEEPEST = 32
"""Deeper regions are left out; the kernel's are some five deep."""
_LONGEST = 16
"""The digits of an address."""
_HEXADECIMAL = frozenset("0123456789abcdef")


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
        span, colon, name = line.lstrip(" ").partition(" : ")
        depth, odd = divmod(len(line) - len(line.lstrip(" ")), 2)
        first, _, last = span.partition("-")
        if not (colon and _is_address(first) and _is_address(last)) or odd or depth > _DEEPEST:
            continue
        del above[depth:]
        above.append(name)
        start, end = int(first, 16), int(last, 16)
        if 0 < end >= start:
            yield Region(start, end, tuple(above))


def _is_address(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and _HEXADECIMAL.issuperset(text)


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
