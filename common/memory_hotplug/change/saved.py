"""The layout that a machine has now. Nothing is read or written here."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.change.plan import Order, order_to
from memory_hotplug.condition import Condition
from memory_hotplug.layout.model import Entry, Layout, Where
from memory_hotplug.runs import gaps, runs_of

__all__ = ["added", "entries_of", "stays_by_itself"]

_FROM_BOOT = (Zone.DMA, Zone.DMA32, Zone.NONE)
"""Memory in these zones, or in several, was there when the kernel booted."""


def stays_by_itself(block: MemoryBlock) -> bool:
    """Whether a boot is known to give the block its present condition.

    Memory in the lower zones is online then. Of other blocks nobody can tell: also a block that is
    not configured may have been so, or have been taken from the memory of the boot.
    """
    return zone_of(block) in _FROM_BOOT and not block.memmap_on_memory


def entries_of(blocks: Iterable[MemoryBlock]) -> tuple[Entry, ...]:
    """Entries that ask for what BLOCKS, ascending, are: one for each condition."""
    found: dict[Order, list[int]] = {}
    for block in blocks:
        if block.state in (State.ONLINE, State.OFFLINE):
            found.setdefault(order_to(block), []).append(block.number)
    return tuple(
        Entry(
            Where(),
            tuple(runs_of(numbers)),
            condition=order.condition or Condition.ONLINE,
            zone=order.zone,
            memmap_on_memory=order.memmap_on_memory,
        )
        for order, numbers in found.items()
    )


def added(layout: Layout, blocks: Sequence[MemoryBlock]) -> Layout:
    """LAYOUT with entries for BLOCKS at its end; entries about these blocks alone are left out."""
    numbers = sorted(block.number for block in blocks)
    kept = []
    for entry in layout.entries:
        if not entry.blocks or entry.size is not None or entry.node is not None:
            kept.append(entry)
            continue
        rest = tuple(gap for run in entry.blocks for gap in gaps(numbers, *run))
        if rest:
            kept.append(replace(entry, blocks=rest))
    return replace(layout, entries=(*kept, *entries_of(blocks)))
