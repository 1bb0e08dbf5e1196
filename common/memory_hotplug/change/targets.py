"""What each block of a machine is to become by a memory layout. Nothing is read or written here.

The entries are gone through from the last to the first, and a block belongs to the first one that
claims it. An entry with a size claims blocks until it has enough; blocks that later entries bring
to the same condition count. Before all else it claims blocks that are so already, unless a later
entry names them; then those that take the fewest writes, and online memory that must be changed
last; of what is to go, `emptying` says which. So on a machine that is as the layout says, the same
blocks are claimed again, and nothing is written.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.change.plan import NEEDED, Action, Change, Order, change_to
from memory_hotplug.change.removal import NOTHING_KNOWN, Removal, emptying, removal_of
from memory_hotplug.condition import Condition
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Entry, Layout, Missing
from memory_hotplug.machine import Machine
from memory_hotplug.runs import Run, gaps
from memory_hotplug.table import BlockTable

__all__ = [
    "NEEDED_FOR_LAYOUT",
    "Absence",
    "Targets",
    "absence_of",
    "is_on",
    "removal_for",
    "takes_size",
    "targets_of",
    "targets_on",
]

NEEDED_FOR_LAYOUT = (*NEEDED, Attribute.NODES)
"""The attributes that a table of blocks must have."""


class Absence(NamedTuple):
    """Blocks that are asked for, and that the machine does not have."""

    entry: Entry | None
    """The entry of a layout that asks for them."""
    blocks: int
    """The number of these blocks."""
    ranges: Sequence[Run] = ()
    """Block numbers; empty for an amount of memory."""


def absence_of(ranges: Sequence[Run], entry: Entry | None = None) -> Absence:
    """The absence of all blocks in RANGES."""
    return Absence(entry, sum(last - first + 1 for first, last in ranges), ranges)


class Targets(NamedTuple):
    """What a layout makes of a machine."""

    changes: Sequence[Change]
    """In the order of changing."""
    absences: Sequence[Absence] = ()
    """Without those of entries that ignore them."""


def removal_for(machine: Machine, layout: Layout) -> Removal:
    """What is known of how the memory of MACHINE can be removed, as far as LAYOUT depends on it."""
    return removal_of(machine) if takes_size(layout) else NOTHING_KNOWN


def targets_on(
    machine: Machine, layout: Layout, table: BlockTable, removal: Removal | None = None
) -> Targets:
    """What LAYOUT makes of MACHINE, whose blocks are in TABLE. See `targets_of`."""
    return targets_of(
        layout,
        table,
        configurable=machine.configurable,
        zones=table.has_zones,
        nodes=machine.nodes,
        removal=removal_for(machine, layout) if removal is None else removal,
    )


def targets_of(
    layout: Layout,
    table: BlockTable,
    *,
    configurable: bool,
    zones: bool,
    nodes: Sequence[int],
    removal: Removal = NOTHING_KNOWN,
) -> Targets:
    """What LAYOUT makes of the blocks of TABLE, which has the attributes NEEDED_FOR_LAYOUT.

    REMOVAL is used only if the layout `takes_size`.

    Raises LayoutError for what is impossible on a machine with such blocks, for example a size that
    is not a multiple of their size; and for missing blocks, where an entry wants that.
    """
    blocks = list(table.blocks())
    parts = [_part(entry, table, blocks, configurable, zones, nodes) for entry in layout.entries]
    claimed: dict[int, Change] = _so_already(parts)
    absences: list[Absence] = []
    spares: dict[int, Sequence[Change]] = {}
    for part in reversed(parts):
        entry = part.entry
        free = [
            change_to(block, part.order, entry)
            for block in part.found
            if block.number not in claimed
        ]
        if entry.size is None:
            absence = _not_there(entry, part.ranges, table.numbers, part.found)
        else:
            orders = {number: change.order for number, change in claimed.items()}
            count = max(part.wanted - _serving(part, orders), 0)
            free, spares[id(entry)], short = _made_up(free, entry, count, removal)
            absence = Absence(entry, short)
        claimed.update((change.number, change) for change in free)
        if absence.blocks and entry.missing is Missing.ERROR:
            raise LayoutError(*entry.where, "the machine does not have all these blocks")
        if absence.blocks and entry.missing is Missing.WAIT:
            absences.append(absence)
    left = {
        entry: [spare for spare in rest if spare.number not in claimed]
        for entry, rest in spares.items()
    }
    changes = [
        change._replace(spares=left.get(id(change.entry), ())) for change in claimed.values()
    ]
    return Targets(sorted(changes, key=_turn), absences[::-1])


class _Part(NamedTuple):
    """An entry of a layout, on a machine."""

    entry: Entry
    order: Order
    ranges: Sequence[Run]
    """Block numbers; empty for all blocks."""
    found: Sequence[MemoryBlock]
    """The blocks that the entry may be about."""
    wanted: int
    """With a size, the number of blocks."""


def _part(
    entry: Entry,
    table: BlockTable,
    blocks: Sequence[MemoryBlock],
    configurable: bool,
    zones: bool,
    nodes: Sequence[int],
) -> _Part:
    _check(entry, table.block_size, configurable)
    online = entry.condition is Condition.ONLINE
    zone = entry.zone if zones and online else None
    order = Order(Action.APPLY, zone, entry.memmap_on_memory, zones, entry.condition)
    ranges = _ranges(entry, table.block_size)
    found = [block for block in _within(blocks, ranges) if _is_meant(block, entry, nodes)]
    return _Part(entry, order, ranges, found, (entry.size or 0) // table.block_size)


def _so_already(parts: Sequence[_Part]) -> dict[int, Change]:
    """What entries with a size claim because it is so already. Without that, a later entry would
    take such memory at the next run, and so on until nothing is left."""
    claimed: dict[int, Change] = {}
    orders: dict[int, Order] = {}
    """Of blocks that are claimed, or that an entry names."""
    for part in reversed(parts):
        if part.entry.size is None:
            for block in part.found:
                orders.setdefault(block.number, part.order)
            continue
        lacking = part.wanted - _serving(part, orders)
        for block in reversed(part.found) if part.entry.highest else part.found:
            if lacking <= 0:
                break
            if block.number in orders:
                continue
            if _is_so(block, part.order):
                claimed[block.number] = change_to(block, part.order, part.entry)
                orders[block.number] = part.order
                lacking -= 1
    return claimed


def _check(entry: Entry, block_size: int, configurable: bool) -> None:
    where = entry.where
    if not configurable:
        for key, given in (
            ("state deconfigured", entry.condition is Condition.DECONFIGURED),
            ("memmap_on_memory", entry.memmap_on_memory is not None),
        ):
            if given:
                reason = f"{key} is impossible: memory is never configured on this machine"
                raise LayoutError(*where, reason)
    if entry.size is not None and entry.size % block_size:
        raise LayoutError(*where, f"size is no multiple of the block size, {block_size >> 20}M")
    for first, last in entry.addresses:
        if first % block_size or (last + 1) % block_size:
            reason = f"range does not begin and end with a memory block of {block_size >> 20}M"
            raise LayoutError(*where, reason)


def _ranges(entry: Entry, block_size: int) -> tuple[tuple[int, int], ...]:
    """First and last block numbers, both inclusive; empty for all blocks."""
    if entry.addresses:
        return tuple((first // block_size, last // block_size) for first, last in entry.addresses)
    return entry.blocks


def _within(
    blocks: Sequence[MemoryBlock], ranges: tuple[tuple[int, int], ...]
) -> Iterator[MemoryBlock]:
    """The blocks in RANGES, which ascend, as the blocks do."""
    if not ranges:
        yield from blocks
        return
    rest = iter(ranges)
    first, last = next(rest)
    for block in blocks:
        while block.number > last:
            try:
                first, last = next(rest)
            except StopIteration:
                return
        if block.number >= first:
            yield block


def is_on(block: MemoryBlock, node: int | None, nodes: Sequence[int]) -> bool:
    """Whether a block is on a node, be it on others as well, of a machine with NODES. A block that
    is not configured has no node yet; it counts if the machine has only this node."""
    if node is None or node in (block.nodes or ()):
        return True
    return block.configured is False and tuple(nodes) == (node,)


def _is_meant(block: MemoryBlock, entry: Entry, nodes: Sequence[int]) -> bool:
    return entry.node is None or is_on(block, entry.node, nodes)


def _not_there(
    entry: Entry,
    ranges: Sequence[Run],
    numbers: Sequence[int],
    found: Sequence[MemoryBlock],
) -> Absence:
    """What an entry names and the machine lacks. A node without blocks counts as one block."""
    lacking = tuple(gap for first, last in ranges for gap in gaps(numbers, first, last))
    if not ranges and not found:
        return Absence(entry, 1)
    return absence_of(lacking, entry)


def _serving(part: _Part, orders: Mapping[int, Order]) -> int:
    """How many blocks of an entry have ORDERS that do what the entry wants, too."""
    count = 0
    for block in part.found:
        other = orders.get(block.number)
        if other is None:
            continue
        # A block that stays as it is serves all that want it so.
        stays = _is_so(block, other) and _is_so(block, part.order)
        count += stays or _serves(other, part.order)
    return count


def _is_so(block: MemoryBlock, order: Order) -> bool:
    return block.state is not State.UNKNOWN and change_to(block, order).plan.already


def _made_up(
    free: Sequence[Change], entry: Entry, count: int, removal: Removal
) -> tuple[list[Change], Sequence[Change], int]:
    """The changes that make up a floor of COUNT blocks, those that can replace them, and how many
    are lacking."""
    sign = -1 if entry.highest else 1
    # Memory of the kernel's own zones is moved only where its blocks are named.
    named = entry.blocks or entry.addresses
    free = [change for change in free if named or not _moves_kernel_memory(change)]
    ordered = sorted(free, key=lambda change: (_cost(change), sign * change.number))
    if entry.condition is not Condition.ONLINE:
        first, last = (bisect_left(ordered, cost, key=_cost) for cost in (_ONLINE, _NEVER))
        ordered[first:last] = emptying(ordered[first:last], count - first, removal)
    return ordered[:count], ordered[count:], max(count - len(ordered), 0)


def takes_size(layout: Layout) -> bool:
    """Whether a layout wants an amount of memory to be offline or deconfigured."""
    return any(
        entry.size is not None and entry.condition is not Condition.ONLINE
        for entry in layout.entries
    )


def _moves_kernel_memory(change: Change) -> bool:
    zone, wanted = zone_of(change.block), change.order.zone
    return zone not in (None, Zone.MOVABLE) and wanted not in (None, zone)


def _serves(other: Order, order: Order) -> bool:
    """Whether a block with the OTHER order is also as ORDER wants it."""
    return (
        other.condition is order.condition
        and order.zone in (None, other.zone)
        and order.memmap_on_memory in (None, other.memmap_on_memory)
    )


_ONLINE, _NEVER = 100, 1000
"""More writes than any plan has."""


def _cost(change: Change) -> int:
    """The number of writes that a change takes; _NEVER if it is known to be in vain. To change
    online memory costs more than anything else that may succeed."""
    block, plan = change.block, change.plan
    if plan.refused or block.state is State.UNKNOWN:
        return _NEVER
    ahead = [step for step, _ in change.stages()]
    if ahead and ahead[0].refuse(block, plan.target):
        return _NEVER
    if not ahead or block.state is not State.ONLINE:
        return len(ahead)
    # A block in several zones does not go offline (mm/memory_hotplug.c, offline_pages).
    return _NEVER if zone_of(block) is Zone.NONE else _ONLINE + len(ahead)


def _turn(change: Change) -> tuple[int, int]:
    """When a block has its turn. What gives memory comes before what takes some: a block without
    memmap on memory takes its struct pages from other blocks when it is configured. The kernel's
    zones get theirs before Movable, which is bounded by them. Offline comes last, so that there is
    memory to move the pages to."""
    block, after = change.block, change.after
    online = block.state is State.ONLINE
    if online and after.state is not State.ONLINE:
        turn = 9
    elif after.configured is False:
        turn = 0
    elif online:
        turn = 7
    elif after.state is not State.ONLINE:
        turn = 8
    else:
        turn = 1 if block.configured is not False else 2 if after.memmap_on_memory else 3
        if change.order.zone is Zone.MOVABLE:
            turn += 3
    number = block.number
    return turn, -number if turn in (0, 9) else number
