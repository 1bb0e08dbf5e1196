"""What each block of a machine is to become by a memory layout. Nothing is read or written here.

The entries are gone through from the last to the first, and a block belongs to the first one that
claims it. An entry with a size claims blocks until it has enough; blocks that later entries bring
to the same condition count. It claims those that take the fewest writes first, and online memory
that must be changed last. So on a machine that is as the layout says, the same blocks are claimed
again, and nothing is written.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout import Entry, Layout, Missing
from memory_hotplug.plan import NEEDED, Action, Condition, Order, plan
from memory_hotplug.ranges import BlockTable

__all__ = ["NEEDED_FOR_WISHES", "Absence", "Wish", "Wishes", "is_on", "wishes"]

NEEDED_FOR_WISHES = (*NEEDED, Attribute.NODES)
"""The attributes that a table of blocks must have."""


class Wish(NamedTuple):
    """What one block is to become, and by which entry."""

    block: MemoryBlock
    order: Order
    entry: Entry


class Absence(NamedTuple):
    """Blocks of an entry that the machine does not have."""

    entry: Entry
    blocks: int
    """The number of these blocks."""
    ranges: tuple[tuple[int, int], ...] = ()
    """First and last block numbers, both inclusive; empty for an amount of memory."""


class Wishes(NamedTuple):
    """What a layout wishes of a machine."""

    wishes: Sequence[Wish]
    """In the order of changing."""
    absences: Sequence[Absence]
    """Without those of entries that ignore them."""
    spares: Mapping[int, Sequence[Wish]] = {}
    """Block number -> what to try instead if that block fails, best first."""

    @property
    def orders(self) -> dict[int, Order]:
        """Block number -> its order; without spares, of which a block can be one for several."""
        return {wish.block.number: wish.order for wish in self.wishes}


def wishes(
    layout: Layout, table: BlockTable, *, configurable: bool, zones: bool, nodes: Sequence[int]
) -> Wishes:
    """What LAYOUT wishes of the blocks of TABLE, which has the attributes NEEDED_FOR_WISHES.

    Raises LayoutError for what is impossible on a machine with such blocks, for example a size that
    is not a multiple of their size; and for missing blocks, where an entry wants that.
    """
    claimed: dict[int, Wish] = {}
    absences: list[Absence] = []
    spares: dict[int, Sequence[Wish]] = {}
    blocks = list(table.blocks())
    for entry in reversed(layout.entries):
        order = Order(
            Action.APPLY,
            entry.zone if zones else None,
            entry.memmap_on_memory,
            zones,
            entry.condition,
        )
        _check(entry, table.block_size, configurable)
        ranges = _ranges(entry, table.block_size)
        found = [block for block in _within(blocks, ranges) if _is_meant(block, entry, nodes)]
        if entry.size is None:
            absence = _not_there(entry, ranges, table.numbers, found)
            taken: Sequence[MemoryBlock] = [block for block in found if block.number not in claimed]
        else:
            count = entry.size // table.block_size
            taken, rest, short = _made_up(found, claimed, entry, order, count)
            absence = Absence(entry, short)
            spares[id(entry)] = [Wish(block, order, entry) for block in rest]
        for block in taken:
            claimed[block.number] = Wish(block, order, entry)
        if absence.blocks and entry.missing is Missing.ERROR:
            raise LayoutError(*entry.where, "the machine does not have all these blocks")
        if absence.blocks and entry.missing is Missing.WAIT:
            absences.append(absence)
    left = {
        entry: [spare for spare in rest if spare.block.number not in claimed]
        for entry, rest in spares.items()
    }
    instead = {
        number: left[id(wish.entry)] for number, wish in claimed.items() if left.get(id(wish.entry))
    }
    return Wishes(sorted(claimed.values(), key=_turn), absences[::-1], instead)


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
    ranges: tuple[tuple[int, int], ...],
    numbers: Sequence[int],
    found: Sequence[MemoryBlock],
) -> Absence:
    """What an entry names and the machine lacks. A node without blocks counts as one block."""
    gaps: list[tuple[int, int]] = []
    for first, last in ranges:
        at = first
        for number in numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]:
            if number > at:
                gaps.append((at, number - 1))
            at = number + 1
        if at <= last:
            gaps.append((at, last))
    missing = sum(last - first + 1 for first, last in gaps)
    if not ranges and not found:
        missing = 1
    return Absence(entry, missing, tuple(gaps))


def _made_up(
    found: Sequence[MemoryBlock],
    claimed: Mapping[int, Wish],
    entry: Entry,
    order: Order,
    count: int,
) -> tuple[Sequence[MemoryBlock], Sequence[MemoryBlock], int]:
    """The blocks that make up a floor of COUNT blocks, those that can replace them, and how many
    are lacking."""
    free = []
    for block in found:
        other = claimed.get(block.number)
        if other is None:
            free.append(block)
        elif _serves(other.order, order):
            count -= 1
    sign = -1 if entry.highest else 1
    free.sort(key=lambda block: (_cost(block, order), sign * block.number))
    count = max(count, 0)
    return free[:count], free[count:], max(count - len(free), 0)


def _serves(other: Order, order: Order) -> bool:
    """Whether a block with the OTHER order is also as ORDER wants it."""
    return (
        other.condition is order.condition
        and order.zone in (None, other.zone)
        and order.memmap_on_memory in (None, other.memmap_on_memory)
    )


_ONLINE, _NEVER = 100, 1000
"""More writes than any plan has."""


def _cost(block: MemoryBlock, order: Order) -> int:
    """The number of writes that ORDER takes; _NEVER if it is known to be in vain. To change online
    memory costs more than anything else that may succeed."""
    planned = plan(block, order)
    if planned.refused or block.state is State.UNKNOWN:
        return _NEVER
    ahead = [step for step in planned.steps if not step.holds(block, planned.target)]
    if ahead and ahead[0].refuse(block, planned.target):
        return _NEVER
    if not ahead or block.state is not State.ONLINE:
        return len(ahead)
    # A block in several zones does not go offline (mm/memory_hotplug.c, offline_pages).
    return _NEVER if zone_of(block) is Zone.NONE else _ONLINE + len(ahead)


def _turn(wish: Wish) -> tuple[int, int]:
    """When a block has its turn. What gives memory comes before what takes some: a block without
    memmap on memory takes its struct pages from other blocks when it is configured. Offline comes
    last, so that there is memory to move the pages to."""
    block, order = wish.block, wish.order
    online = block.state is State.ONLINE
    if order.condition is not Condition.ONLINE and online:
        turn = 6
    elif order.condition is Condition.DECONFIGURED:
        turn = 0
    elif online:
        turn = 4
    elif order.condition is Condition.OFFLINE:
        turn = 5
    elif block.configured is not False:
        turn = 1
    else:
        memmap = order.memmap_on_memory
        memmap = block.memmap_on_memory if memmap is None else memmap
        turn = 2 if memmap else 3
    number = block.number
    return turn, -number if turn in (0, 6) else number
