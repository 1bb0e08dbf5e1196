"""The layout that a machine has now, and the last change made to it, as data.

Nothing is read or written here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.layout import Entry, Layout, Where
from memory_hotplug.plan import Action, Condition, Order
from memory_hotplug.settings import ATTRIBUTES

__all__ = [
    "UNDO",
    "Record",
    "added",
    "entries_of",
    "format_change",
    "order_to",
    "parse_change",
    "stays_by_itself",
]

UNDO = "run/memory-layout/undo.json"
"""The record of the last change, below the root of the machine."""

_FROM_BOOT = (Zone.DMA, Zone.DMA32, Zone.NONE)
"""Memory in these zones, or in several, was there when the kernel booted."""


def stays_by_itself(block: MemoryBlock) -> bool:
    """Whether a boot is known to give the block its present condition.

    Memory in the lower zones is online then. Of other blocks nobody can tell: also a block that is
    not configured may have been so, or have been taken from the memory of the boot.
    """
    return zone_of(block) in _FROM_BOOT and not block.memmap_on_memory


def order_to(block: MemoryBlock) -> Order:
    """The order that brings a block to the condition that BLOCK has."""
    if block.configured is False:
        condition = Condition.DECONFIGURED
    elif block.state is State.OFFLINE:
        condition = Condition.OFFLINE
    else:
        condition = Condition.ONLINE
    zone = zone_of(block)
    zone = None if zone in (Zone.NONE, Zone.UNKNOWN, Zone.DEVICE) else zone
    memmap = None if block.configured is None else block.memmap_on_memory
    return Order(Action.APPLY, zone, memmap, condition=condition)


def entries_of(blocks: Iterable[MemoryBlock]) -> tuple[Entry, ...]:
    """Entries that ask for what BLOCKS, ascending, are: one for each condition."""
    found: dict[Order, list[tuple[int, int]]] = {}
    for block in blocks:
        if block.state not in (State.ONLINE, State.OFFLINE):
            continue
        runs = found.setdefault(order_to(block), [])
        if runs and runs[-1][1] == block.number - 1:
            runs[-1] = (runs[-1][0], block.number)
        else:
            runs.append((block.number, block.number))
    return tuple(
        Entry(
            Where(),
            tuple(runs),
            condition=order.condition or Condition.ONLINE,
            zone=order.zone,
            memmap_on_memory=order.memmap_on_memory,
        )
        for order, runs in found.items()
    )


def added(layout: Layout, blocks: Sequence[MemoryBlock]) -> Layout:
    """LAYOUT with entries for BLOCKS at its end; entries about these blocks alone are left out."""
    numbers = {block.number for block in blocks}
    kept = []
    for entry in layout.entries:
        if not entry.blocks or entry.size is not None or entry.node is not None:
            kept.append(entry)
            continue
        rest = tuple(_without(entry.blocks, numbers))
        if rest:
            kept.append(replace(entry, blocks=rest))
    return replace(layout, entries=(*kept, *entries_of(blocks)))


def _without(runs: Sequence[tuple[int, int]], numbers: set[int]) -> Iterable[tuple[int, int]]:
    for first, last in runs:
        at = first
        for number in sorted(number for number in numbers if first <= number <= last):
            if number > at:
                yield at, number - 1
            at = number + 1
        if at <= last:
            yield at, last


# The record of a change: the blocks as they were before it.


class Record(NamedTuple):
    """The record of a change: what it changed, as it was before."""

    blocks: Mapping[int, MemoryBlock]
    """By number, in the order of the change."""
    settings: Mapping[str, str] = {}
    """Key of a policy -> the word."""


def format_change(before: Iterable[MemoryBlock], settings: Mapping[str, str] = {}) -> bytes:
    """The record of a change of blocks and settings that were as BEFORE and SETTINGS say."""
    rows = []
    for block in before:
        zone = zone_of(block)
        state = "offline" if block.state is State.OFFLINE else "online"
        name = zone.value if zone else None
        rows.append([block.number, state, name, block.configured, block.memmap_on_memory])
    record = {"version": 1, "before": rows, "settings": dict(settings)}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def parse_change(data: bytes) -> Record:
    """The record of a change. Raises ValueError if it is damaged."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict) or found.keys() != {"version", "before", "settings"}:
        raise ValueError("no record")
    settings = found["settings"]
    if not isinstance(settings, dict) or not _SETTINGS.issuperset(settings):
        raise ValueError("no settings")
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in settings.values()):
        raise ValueError("no settings")
    if found["version"] != 1 or not isinstance(found["before"], list):
        raise ValueError("no record of this version")
    blocks = map(_block, found["before"])
    return Record({block.number: block for block in blocks}, settings)


_SETTINGS = frozenset(ATTRIBUTES)
_WORD = re.compile("[A-Za-z0-9_-]{1,40}")


def _block(row: Any) -> MemoryBlock:
    if not isinstance(row, list) or len(row) != 5:
        raise ValueError("no block")
    number, state, zone, configured, memmap = row
    sound = (
        type(number) is int
        and 0 <= number < 1 << 60
        and state in ("online", "offline")
        and (zone is None or isinstance(zone, str))
        and all(flag is None or type(flag) is bool for flag in (configured, memmap))
    )
    if not sound:
        raise ValueError("no block")
    zones = None if zone is None else (Zone.named(zone),)
    return MemoryBlock(
        number, State(state), zones=zones, configured=configured, memmap_on_memory=memmap
    )
