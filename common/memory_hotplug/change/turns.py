"""The order in which the changes of a layout are made. Nothing is read or written here."""

from collections.abc import Iterable, Sequence

from memory_hotplug.block import State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.plan import Change
from memory_hotplug.change.steps import ONLINE
from memory_hotplug.change.zone_spans import Spans
from memory_hotplug.errors import BlockError
from memory_hotplug.table import BlockTable

__all__ = ["after", "in_turn"]

_OF_KERNEL = (Zone.DMA, Zone.DMA32, Zone.NORMAL)
"""The zones that have spans in which a block must be, or not be."""
_PASSES = 4
"""Two from each end of a zone."""


def in_turn(changes: Iterable[Change], table: BlockTable) -> Sequence[Change]:
    """CHANGES in an order in which each finds its zone valid; what would not is refused. Tried, it
    would set blocks offline and online again each time."""
    changes = sorted(changes, key=_turn)
    if not any(change.is_ahead and change.order.zone in _OF_KERNEL for change in changes):
        return changes
    spans, found, rest = Spans(table), list[Change](), list(changes)
    for _ in range(_PASSES):
        later = []
        for change in rest:
            if _finds_zone(change, spans):
                found.append(change)
                _follow(change, spans)
            else:
                later.append(change)
        # The span of a zone becomes shorter at both of its ends.
        rest = later[::-1]
    return found + [_without_zone(change, spans) for change in rest]


def after(changes: Sequence[Change], table: BlockTable, nodes: Sequence[int]) -> BlockTable:
    """The blocks of TABLE, on a machine with NODES, after CHANGES that are in turn, as far as that
    is known before."""
    before, spans = Spans(table), Spans(table)
    found = {change.number: change for change in changes if change.is_ahead and _may_go(change)}
    zones = {number: _follow(change, spans) for number, change in found.items()}
    blocks = []
    for block in table.blocks():
        if change := found.get(block.number):
            block = change.after._replace(nodes=_nodes_after(change, nodes))
        zone = zones.get(block.number)
        if zone:
            block = block._replace(zones=(zone,) if table.shows_zones else None)
        elif block.state is State.OFFLINE and block.configured is not False:
            valid = before.valid_zones(block.number)
            if block.zones == valid or (change and table.shows_zones):
                block = block._replace(zones=spans.valid_zones(block.number))
        blocks.append(block)
    columns = {name: [getattr(block, name) for block in blocks] for name in table.columns}
    return table._replace(columns=columns)


def _may_go(change: Change) -> bool:
    """Whether a block can be changed: one in several zones does not go offline
    (mm/memory_hotplug.c, offline_pages)."""
    return change.block.state is not State.ONLINE or zone_of(change.block) is not Zone.NONE


def _nodes_after(change: Change, nodes: Sequence[int]) -> tuple[int, ...] | None:
    """The nodes of a block; without being configured it has none."""
    if change.after.configured is False:
        return None
    if change.block.configured is False and len(nodes) == 1:
        return tuple(nodes)
    return change.block.nodes


def _finds_zone(change: Change, spans: Spans) -> bool:
    """Whether the zone that a change asks for is valid at its turn."""
    block, zone = change.block, change.order.zone
    if zone is None or not change.is_ahead:
        return True
    shown = () if block.state is State.ONLINE else block.zones or ()
    return zone in shown or spans.can_enter(block.number, zone)


def _follow(change: Change, spans: Spans) -> Zone | None:
    """Have SPANS follow a change; return the zone in which the block comes online."""
    if not change.is_ahead:
        return None
    if change.block.state is State.ONLINE:
        spans.set_offline(change.number)
    then = change.after
    if then.state is State.ONLINE:
        zone = change.plan.target.zone or zone_of(then) or Zone.MOVABLE
        spans.set_online(change.number, zone)
        return zone
    return None


def _without_zone(change: Change, spans: Spans) -> Change:
    zones = spans.valid_zones(change.number)
    refused = BlockError(
        change.number, ONLINE.name, Cause.ZONE_NOT_VALID, zone=change.order.zone, zones=zones
    )
    return change._replace(plan=change.plan._replace(refused=refused))


def _turn(change: Change) -> tuple[int, int]:
    """When a block has its turn. What gives memory comes before what takes some: a block without
    memmap on memory takes its struct pages from other blocks when it is configured. The kernel's
    zones get theirs before Movable, which is bounded by them. Offline comes last, so that there is
    memory to move the pages to."""
    block, then = change.block, change.after
    online = block.state is State.ONLINE
    if online and then.state is not State.ONLINE:
        turn = 9
    elif then.configured is False:
        turn = 0
    elif online:
        turn = 7
    elif then.state is not State.ONLINE:
        turn = 8
    else:
        turn = 1 if block.configured is not False else 2 if then.memmap_on_memory else 3
        if change.order.zone is Zone.MOVABLE:
            turn += 3
    number = block.number
    return turn, -number if turn in (0, 9) else number
