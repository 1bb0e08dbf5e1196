"""Select the blocks of a machine that a request is about."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from chmem_py.request import Request
from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.machine import Machine
from memory_hotplug.plan import CONFIGURE, NEEDED, Action, Order, Plan, plan
from memory_hotplug.ranges import BlockTable
from memory_hotplug.settings import Setting
from memory_hotplug.wishes import Absence, Wish, Wishes, is_on


@dataclass(frozen=True, slots=True)
class Absent:
    """The requested block numbers that this machine does not have."""

    first: int
    last: int
    """The lowest and the highest of these numbers."""
    count: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The blocks to change, and the order to carry out on them."""

    request: Request
    order: Order
    node: int | None
    """If not None, only blocks of this node are selected."""
    block_size: int
    """Bytes."""
    asked: int
    """The number of requested blocks."""
    blocks: Sequence[MemoryBlock] = ()
    """The blocks in the order of changing. For a size there may be more than requested: when a
    block fails, the next one is taken instead."""
    possible: int = 0
    """The number of BLOCKS that can be changed, as far as is known before."""
    absent: Absent | None = None
    machine_size: int = 0
    """Bytes of all blocks of the machine, online or not."""
    impossible: bool = False
    """Whether the machine cannot do this to any block."""
    node_exists: bool = True
    """Whether the machine has the requested node."""
    device: str | None = None
    """If not None, only blocks that this device brought are selected."""
    orders: dict[int, Order] = field(default_factory=dict)
    """Block number -> its own order, if not all blocks have the same. A spare that is taken gets
    one."""
    spares: Mapping[int, Sequence[Wish]] = field(default_factory=dict)
    """Block number -> what to change instead if that block fails."""
    absences: Sequence[Absence] = ()
    """What a layout asks for and the machine does not have."""
    settings: Sequence[Setting] = ()
    """What is written to settings of the machine, before any block is changed."""
    keep_free: int | None = None
    """Bytes that are to stay available, by the layout that is applied."""

    def order_for(self, number: int) -> Order:
        """The order of one block."""
        return self.orders.get(number, self.order)

    def plan_for(self, block: MemoryBlock) -> Plan:
        """The steps for one of the blocks, by its order."""
        return plan(block, self.order_for(block.number))

    @property
    def by_size(self) -> bool:
        """Whether an amount of memory is requested, and not certain blocks."""
        return self.request.size is not None

    @property
    def enough(self) -> int | None:
        """The number of blocks to change; None for all BLOCKS."""
        return self.asked if self.by_size else None

    @property
    def bytes_asked(self) -> int:
        return self.asked * self.block_size

    @property
    def bytes_possible(self) -> int:
        return self.possible * self.block_size


def takes_struct_pages(block: MemoryBlock, order: Order) -> bool:
    """Whether ORDER takes memory for the struct pages of the block from what is online: the block
    is configured, and does not hold its own."""
    wanted = order.memmap_on_memory
    if block.configured is None or (block.memmap_on_memory if wanted is None else wanted):
        return False
    planned = plan(block, order)
    return CONFIGURE in planned.steps and not planned.already


class Owned(NamedTuple):
    """The blocks that a device brought."""

    device: str
    numbers: Collection[int]


_FROM_BELOW = (Action.ENABLE, Action.CONFIGURE)

_CANDIDATES: dict[Action, Callable[[MemoryBlock], bool]] = {
    Action.ENABLE: lambda block: block.state is not State.ONLINE,
    Action.DISABLE: lambda block: block.state is not State.OFFLINE,
    Action.CONFIGURE: lambda block: block.configured is not None,
    Action.DECONFIGURE: lambda block: bool(block.configured),
    Action.RECONFIGURE: lambda block: bool(block.configured),
}
"""For each action, whether a block can be taken for a size."""


def select(
    request: Request,
    machine: Machine,
    table: BlockTable,
    order: Order,
    node: int | None = None,
    owned: Owned | None = None,
) -> Selection:
    """Select the blocks of TABLE for a request; with NODE only blocks of that node, with OWNED only
    those of that device.

    With NODE the attribute nodes must have been read. A block in several nodes is one of each.

    Blocks of a range ascend. For a size, blocks to enable or to configure ascend, others descend.
    """
    of_machine = Selection(
        request,
        order,
        node,
        machine.block_size,
        asked=0,
        machine_size=len(table.numbers) * machine.block_size,
        node_exists=node is None or node in machine.nodes,
        device=owned.device if owned else None,
    )

    def meant(block: MemoryBlock) -> bool:
        return is_on(block, node, machine.nodes) and (not owned or block.number in owned.numbers)

    if request.size is not None:
        found = _candidates(table, order)
        blocks = [block for block in found if meant(block)]
        possible = sum(plan(block, order).refused is None for block in blocks)
        asked = request.size // machine.block_size
        return replace(of_machine, asked=asked, blocks=blocks, possible=possible)
    start = bisect_left(table.numbers, request.first)
    stop = bisect_right(table.numbers, request.last)
    there = list(islice(table.blocks(), start, stop))
    blocks = [block for block in there if meant(block)]
    absent = None if owned else _absent(request, table.numbers[start:stop])
    asked = len(blocks) + (absent.count if absent else 0)
    return replace(of_machine, asked=asked, blocks=blocks, possible=len(blocks), absent=absent)


def select_wishes(
    request: Request,
    machine: Machine,
    wanted: Wishes,
    settings: Sequence[Setting] = (),
    keep_free: int | None = None,
) -> Selection:
    """Select the blocks that a layout is about, each with its own order."""
    orders = wanted.orders
    blocks = [wish.block for wish in wanted.wishes]
    absent = sum(absence.blocks for absence in wanted.absences)
    possible = sum(plan(block, orders[block.number]).refused is None for block in blocks)
    return Selection(
        request,
        Order(Action.APPLY),
        None,
        machine.block_size,
        asked=len(blocks) + absent,
        blocks=blocks,
        possible=possible,
        orders=orders,
        spares=wanted.spares,
        absences=wanted.absences,
        settings=settings,
        keep_free=keep_free,
    )


def needed(node: int | None) -> tuple[Attribute, ...]:
    """The attributes that a table must have for `select`."""
    return NEEDED if node is None else (*NEEDED, Attribute.NODES)


def select_nothing(
    request: Request, machine: Machine, order: Order, node: int | None = None
) -> Selection:
    """A selection without blocks: all that is requested is missing."""
    size = machine.block_size
    blocks = request.last - request.first + 1 if request.size is None else request.size // size
    return Selection(request, order, node, size, asked=blocks or 1, impossible=True)


def _candidates(table: BlockTable, order: Order) -> Iterator[MemoryBlock]:
    indexes = range(len(table.numbers))
    candidate = _CANDIDATES[order.action]
    for index in indexes if order.action in _FROM_BELOW else reversed(indexes):
        block = table.block(index)
        if not candidate(block) or _wrong_zone(block, order):
            continue
        if not plan(block, order).already:
            yield block


def _wrong_zone(block: MemoryBlock, order: Order) -> bool:
    """Whether a block is not taken for a size because of its zone."""
    if order.zone is None or block.configured is False:
        return False
    return order.zone not in (block.zones or ())


def _absent(request: Request, numbers: Sequence[int]) -> Absent | None:
    """The requested blocks that are not among NUMBERS, which ascend."""
    first, last = request.first, request.last
    count = last - first + 1 - len(numbers)
    if not count:
        return None
    for number in numbers:
        if number != first:
            break
        first += 1
    for number in reversed(numbers):
        if number != last:
            break
        last -= 1
    return Absent(first, last, count)
