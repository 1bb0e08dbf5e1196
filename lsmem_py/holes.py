"""`lsmem --holes`: what has no memory block between the blocks, and what is there instead."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from hotplug_cli.sizes import human
from lsmem_py.columns import BY_NAME, Column
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.iomem import Region
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import MemoryRange

__all__ = ["columns", "holes"]


def holes(machine: Machine) -> list[MemoryRange]:
    """The numbers between blocks that have no block, as ranges, ascending.

    Raises the errors of Machine.
    """
    numbers = machine.read(()).numbers
    ends = pairwise([-1, *numbers])
    return [_hole(low + 1, high - 1, machine.block_size) for low, high in ends if high - low > 1]


def _hole(first: int, last: int, block_size: int) -> MemoryRange:
    block = MemoryBlock(first, State.UNKNOWN, zones=None, configured=None, memmap_on_memory=None)
    return MemoryRange(first, last, block_size, block)


def columns(regions: Sequence[Region]) -> list[Column]:
    """The columns of the listing, by the REGIONS of the machine."""
    there = Column(
        "THERE",
        "what is there instead, and how much of it (root)",
        lambda found: ", ".join(_contents(found, regions, human)),
        lambda found: _contents(found, regions, human) or None,
        {"type": ["array", "null"], "items": {"type": "string"}},
        right=False,
    )
    return [*(BY_NAME[name] for name in ("range", "size", "block")), there]


def _contents(
    hole: MemoryRange, regions: Sequence[Region], format_size: Callable[[int], str]
) -> list[str]:
    """The regions in a hole, the one with the most bytes first; empty where nothing is known."""
    sizes: dict[str, int] = {}
    for name, size in _parts(hole, regions):
        sizes[name] = sizes.get(name, 0) + size
    descending = sorted(sizes.items(), key=lambda item: -item[1])
    return [f"{name} {format_size(size)}" for name, size in descending]


def _parts(hole: MemoryRange, regions: Sequence[Region]) -> Iterator[tuple[str, int]]:
    """The outermost regions that reach into a hole, and how many bytes of each are in it."""
    for region in regions:
        size = min(region.end, hole.end) + 1 - max(region.start, hole.start)
        if len(region.names) == 1 and size > 0:
            yield region.name, size
