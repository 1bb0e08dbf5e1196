"""A request, on a machine -> the blocks that are to be changed."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from chmem_py.request import Request
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.machine import Machine
from memory_hotplug.plan import Action, Order, plan
from memory_hotplug.ranges import BlockTable


@dataclass(frozen=True, slots=True)
class Absent:
    """Of the block numbers asked for, those that this machine does not have."""

    first: int
    last: int
    """The lowest and the highest of them."""
    count: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The blocks that a request is about, and what is to be done to them."""

    request: Request
    order: Order
    node: int | None
    """Only blocks of this node are meant."""
    block_size: int
    """Bytes."""
    asked: int
    """Number of blocks asked for."""
    blocks: Sequence[MemoryBlock] = ()
    """In the order in which they are to be changed. For a size these may be more than asked for:
    one that fails is made up for by the next."""
    possible: int = 0
    """Number of BLOCKS that nothing speaks against."""
    absent: Absent | None = None
    node_exists: bool = True
    """Whether the machine has the node, where one is named."""

    @property
    def by_size(self) -> bool:
        """Whether an amount of memory is asked for, and not certain blocks."""
        return self.request.size is not None

    @property
    def enough(self) -> int | None:
        """The number of blocks to be changed; None where all are meant."""
        return self.asked if self.by_size else None

    @property
    def bytes_asked(self) -> int:
        return self.asked * self.block_size

    @property
    def bytes_possible(self) -> int:
        return self.possible * self.block_size


_FROM_BELOW = (Action.ENABLE, Action.CONFIGURE)

_CANDIDATES: dict[Action, Callable[[MemoryBlock], bool]] = {
    Action.ENABLE: lambda block: block.state is not State.ONLINE,
    Action.DISABLE: lambda block: block.state is not State.OFFLINE,
    Action.CONFIGURE: lambda block: block.configured is not None,
    Action.DECONFIGURE: lambda block: bool(block.configured),
    Action.RECONFIGURE: lambda block: bool(block.configured),
}
"""Of which blocks a size can be made up."""


def select(
    request: Request, machine: Machine, table: BlockTable, order: Order, node: int | None = None
) -> Selection:
    """The blocks of TABLE that are meant; of that NODE only, for which it must have been read.

    A range goes upwards. A size takes the lowest blocks first to enable and to configure, and
    the highest first otherwise.
    """
    node_exists = node is None or node in machine.nodes
    if request.size is not None:
        asked = request.size // machine.block_size
        found = _candidates(table, order)
        blocks = [block for block in found if _is_on(block, node, machine)]
        possible = sum(plan(block, order).refused is None for block in blocks)
        return Selection(
            request,
            order,
            node,
            machine.block_size,
            asked,
            blocks=blocks,
            possible=possible,
            node_exists=node_exists,
        )
    start = bisect_left(table.numbers, request.first)
    stop = bisect_right(table.numbers, request.last)
    there = list(islice(table.blocks(), start, stop))
    blocks = [block for block in there if _is_on(block, node, machine)]
    absent = _absent(request, table.numbers[start:stop])
    return Selection(
        request,
        order,
        node,
        machine.block_size,
        asked=len(blocks) + (absent.count if absent else 0),
        blocks=blocks,
        possible=len(blocks),
        absent=absent,
        node_exists=node_exists,
    )


def select_nothing(request: Request, machine: Machine, order: Order, node: int | None) -> Selection:
    """The selection where nothing can be done: all is asked for, and no block is meant."""
    size = machine.block_size
    blocks = request.last - request.first + 1 if request.size is None else request.size // size
    return Selection(request, order, node, size, asked=blocks or 1)


def _is_on(block: MemoryBlock, node: int | None, machine: Machine) -> bool:
    """Whether a block is of a node. Nothing tells it of a block that is not configured, but that
    a machine with one node has no other."""
    if node is None or block.node == node:
        return True
    return block.configured is False and machine.nodes == (node,)


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
    """Whether a size is made up without the block, silently, because of its zone."""
    if order.zone is None or block.configured is False:
        return False
    return order.zone not in (block.zones or ())


def _absent(request: Request, numbers: Sequence[int]) -> Absent | None:
    """What is missing of the request where the machine has only these NUMBERS, ascending."""
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
