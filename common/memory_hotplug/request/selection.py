"""Select the blocks of a machine that a request is about, each with its change."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, is_on
from memory_hotplug.change.absence import Absence, absence_of
from memory_hotplug.change.guard import ZoneBalance
from memory_hotplug.change.journal import words_before
from memory_hotplug.change.plan import NEEDED, Action, Change, Order, change_to
from memory_hotplug.change.undo import Before, Record, Rewritten
from memory_hotplug.checks import check_type
from memory_hotplug.errors import BadOrderError, NoSuchBlockError, UnknownNameError
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.asked import Request
from memory_hotplug.request.how import Memory
from memory_hotplug.runs import Run, gaps, length, runs_of
from memory_hotplug.table import BlockTable, Remark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.change.removal import Removal
    from memory_hotplug.change.targets import Targets
    from memory_hotplug.layout.settings import Setting

__all__ = [
    "Owned",
    "Selection",
    "Undoing",
    "check_node",
    "needed",
    "requested",
    "select",
    "select_changes",
    "select_nothing",
    "select_request",
]


class Undoing(NamedTuple):
    """A change that is undone."""

    record: Record
    before: Sequence[MemoryBlock]
    """Its blocks that the machine has, as they were before it, in its order."""
    absent: Sequence[Before] = ()
    """Those that it has not any more, and may have again."""
    undone: Sequence[MemoryBlock] = ()
    """Those that undoings before this one may have changed, as they were before the first."""

    @property
    def layout(self) -> Rewritten | None:
        """What the change has made of the layout that chmem writes."""
        return self.record.layout

    def whole(
        self, before: Iterable[MemoryBlock], settings: Iterable[Setting]
    ) -> tuple[Sequence[MemoryBlock], Mapping[str, str]]:
        """What this undoing and those before it have changed, as it was before the first of them.
        BEFORE and SETTINGS are what this one changes."""
        known = {block.number for block in self.undone}
        added = [block for block in before if block.number not in known]
        return [*self.undone, *added], {**words_before(settings), **self.record.undone.settings}


class _Selection(NamedTuple):
    """What a request changes on a machine."""

    request: Request
    block_size: int
    """Bytes."""
    asked: int
    """The number of requested blocks."""
    changes: Sequence[Change] = ()
    """In the order of changing. For a size there may be more than requested: when a block fails,
    the next one is taken instead."""
    absences: Sequence[Absence] = ()
    """What is requested and the machine does not have."""
    machine_size: int = 0
    """Bytes of all blocks of the machine, online or not, where a size is requested."""
    node_exists: bool = True
    """Whether the machine has the requested node."""
    settings: Sequence[Setting] = ()
    """What is written to settings of the machine, before any block is changed."""
    keep_free: int | None = None
    """Bytes that are to stay available, by the layout that is applied."""
    undoes: Undoing | None = None
    """The change that is undone."""
    balance: ZoneBalance | None = None
    """What bounds zone Movable; None if it may be of any size."""
    zones: Callable[[], BlockTable] | None = None
    """Tells the zones of all blocks, before or after the change; None if nothing is set online."""
    removal: Removal | None = None
    """What is known of memory that may be set offline for a size; None if none may be."""
    remarks: Sequence[Remark] = ()
    """What was odd when the machine was read."""
    again: Callable[[], Targets] | None = None
    """What a layout makes of the machine as it is then: of memory that is not configured yet nobody
    knows the node. None if there is no such memory, it asks for no node, or there are not
    several."""
    unknown: bool = False
    """Whether nobody has looked which blocks are requested."""


# Of its own, a named tuple cannot keep what was counted once.
class Selection(_Selection):
    """What a request changes on a machine."""

    @property
    def by_size(self) -> bool:
        """Whether an amount of memory is requested, and not certain blocks."""
        return self.request.size is not None

    @property
    def descends(self) -> bool:
        """Whether the changes go from the highest block down although no size is requested. The
        kernel moves the pages of a block to others, first to the lowest (mm/page_alloc.c): from
        below it would move them again with each block. The blocks are told ascending."""
        return not self.by_size and self.request.action is Action.DISABLE

    @property
    def enough(self) -> int | None:
        """The number of blocks to change; None for all."""
        return self.asked if self.by_size else None

    @cached_property
    def possible(self) -> int:
        """The number of blocks that can be changed, as far as is known before. Of blocks that are
        named each is tried."""
        if self.by_size or self.request.action is Action.APPLY:
            return sum(change.plan.refused is None for change in self.changes)
        return len(self.changes)

    @property
    def learns(self) -> bool:
        """Whether a layout looks at the nodes again if no block fails. Where only a spare would be
        configured, all-or-nothing does not begin what cannot be all without it."""
        return self.again is not None and any(
            change.is_ahead and change.block.configured is False and change.after.configured
            for change in self.changes
        )

    def with_targets(self, changes: Sequence[Change], absences: Sequence[Absence]) -> Selection:
        """The same with other blocks, of which each is to become something of its own."""
        asked = len(changes) + sum(absence.blocks for absence in absences)
        return self._replace(asked=asked, changes=changes, absences=absences)

    @property
    def bytes_asked(self) -> int:
        return self.asked * self.block_size

    @property
    def bytes_possible(self) -> int:
        return self.possible * self.block_size


class Owned(NamedTuple):
    """The blocks that a device brought."""

    device: str
    numbers: Collection[int]


def requested(order: Order, block_size: int, memory: Memory, text: str = "") -> Request:
    """The request to carry out ORDER on MEMORY. Raises BadOrderError for what has no meaning, and
    TypeError for what is no order."""
    check_type("order", order, Order)
    size, blocks, device, node, absent_ok = memory
    request = Request(text, size, order=order, node=node, device=device, absent_ok=absent_ok)
    if size is not None:
        if blocks is not None:
            raise BadOrderError("either a size or blocks can be given")
        if size < 0 or size % block_size:
            raise BadOrderError(f"{size} bytes are no multiple of the block size, {block_size}")
        if order.action is Action.APPLY:
            raise BadOrderError("to apply a condition, blocks must be given")
        return request
    if blocks is None:
        if device is None and node is None:
            raise BadOrderError("a size, blocks, a device or a node must be given")
        return request._replace(whole=True)
    if isinstance(blocks, range):
        runs = [(blocks.start, blocks.stop - 1)] if blocks else []
    else:
        runs = runs_of(sorted({*blocks}))
    if not runs:
        raise BadOrderError("no block is given")
    return request._replace(runs=tuple(runs))


def select_request(request: Request, machine: Machine) -> Selection:
    """Read a machine and select the blocks that REQUEST is about. Raises UnknownNameError for a
    device that it does not have, as far as it tells, and as the request says for such a node;
    NoSuchBlockError for such a block."""
    check_node(request, machine)
    attributes = needed(request.node)
    few = _table_of_few(request, machine, attributes)
    table = machine.read(attributes) if few is None else few
    owned = None
    if request.device is not None:
        from memory_hotplug.seen.owners import owners_of

        found = owners_of(machine, table.numbers)
        numbers = [number for number, name in found.devices.items() if name == request.device]
        if not numbers:
            raise UnknownNameError("device", request.device, found.names)
        owned = Owned(request.device, frozenset(numbers))
    selection = select(request, machine, table, owned)
    if few is not None and selection.zones:
        selection = selection._replace(zones=partial(machine.read, attributes))
    if not request.absent_ok and selection.absences:
        raise NoSuchBlockError(selection.absences[0].ranges[0][0])
    return selection


_FEW = 64
"""Up to so many blocks that are named are read alone."""


def _table_of_few(
    request: Request, machine: Machine, attributes: Sequence[Attribute]
) -> BlockTable | None:
    """The table of the few blocks that are named, and of the first of all, which `select` looks at;
    None if more must be known, or something is odd."""
    others = (request.size, request.device, request.node) != (None, None, None) or request.whole
    if others or machine.configurable:
        return None
    if length(request.runs) > _FEW:
        return None
    known = machine.read(())
    numbers = known.numbers
    wanted = {numbers[0]}
    for first, last in request.runs:
        wanted.update(numbers[bisect_left(numbers, first) : bisect_right(numbers, last)])
    try:
        table = machine.read(attributes, wanted)
    except NoSuchBlockError:
        # It has gone since.
        return None
    return None if known.remarks or len(table.numbers) < len(wanted) else table


def check_node(request: Request, machine: Machine) -> None:
    """Raises UnknownNameError for a node that the machine must have and does not have."""
    node = request.node
    if node is not None and not request.absent_ok and node not in (nodes := machine.nodes):
        raise UnknownNameError("node", str(node), list(map(str, nodes)))


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
    request: Request, machine: Machine, table: BlockTable, owned: Owned | None = None
) -> Selection:
    """Select the blocks of TABLE for a request about a size or a range; with OWNED only those of
    that device. Of a whole node or device those are set offline that are in the zone.

    For a request with a node the attribute nodes must have been read. A block in several nodes is
    one of each. Blocks to set offline descend, and so do those to deconfigure for a size; others
    ascend.
    """
    node, nodes = request.node, machine.nodes
    order = request.order
    assert order, "there is one for a size or a range"
    if not table.has_zones:
        order = order._replace(movable=False)
    of_machine = Selection(
        request,
        machine.block_size,
        asked=0,
        node_exists=node is None or node in nodes,
        zones=(lambda: table) if request.action is Action.ENABLE else None,
        remarks=table.remarks,
    )

    def meant(block: MemoryBlock) -> bool:
        return is_on(block, node, nodes) and (not owned or block.number in owned.numbers)

    if order.action is Action.DISABLE and (request.size is not None or request.whole):
        from memory_hotplug.change.removal import removal_of

        of_machine = of_machine._replace(removal=removal_of(machine, table))
    if request.size is not None:
        asked = request.size // machine.block_size
        return of_machine._replace(
            asked=asked,
            changes=list(_candidates(table, order, meant)),
            machine_size=len(table.numbers) * machine.block_size,
        )
    among = table.blocks() if request.whole else _blocks_in(table, request.runs)
    blocks = [block for block in among if meant(block)]
    if request.whole:
        runs = tuple(runs_of(block.number for block in blocks))
        of_machine = of_machine._replace(request=request._replace(runs=runs))
    only_of_zone = request.whole and order.action is Action.DISABLE
    changes = [
        change_to(block, _order_of(block, order, table))
        for block in blocks
        if not (only_of_zone and _wrong_zone(block, order))
    ]
    missing = [] if owned or request.whole else _missing(table, request.runs)
    absent = absence_of(missing)
    if of_machine.descends:
        changes.reverse()
    return of_machine._replace(
        asked=len(changes) + absent.blocks,
        changes=changes,
        absences=[absent] if missing else [],
    )


def _blocks_in(table: BlockTable, runs: Sequence[Run]) -> Iterator[MemoryBlock]:
    numbers = table.numbers
    ends = [(bisect_left(numbers, first), bisect_right(numbers, last)) for first, last in runs]
    if len(ends) == 1:
        yield from islice(table.blocks(), *ends[0])
        return
    for start, stop in ends:
        yield from map(table.block, range(start, stop))


def _missing(table: BlockTable, runs: Sequence[Run]) -> list[Run]:
    return [gap for first, last in runs for gap in gaps(table.numbers, first, last)]


def select_changes(
    request: Request,
    machine: Machine,
    changes: Sequence[Change] = (),
    absences: Sequence[Absence] = (),
    settings: Sequence[Setting] = (),
    keep_free: int | None = None,
) -> Selection:
    """Select blocks of which each is to become something of its own."""
    found = Selection(request, machine.block_size, asked=0, settings=settings, keep_free=keep_free)
    return found.with_targets(changes, absences)


def needed(node: int | None) -> tuple[Attribute, ...]:
    """The attributes that a table must have for `select`."""
    return NEEDED if node is None else (*NEEDED, Attribute.NODES)


def select_nothing(request: Request, machine: Machine) -> Selection:
    """A selection without blocks: all that is requested is missing."""
    size = machine.block_size
    asked = length(request.runs) if request.size is None else request.size // size
    return Selection(request, size, asked, unknown=request.size is None and not request.runs)


def _candidates(
    table: BlockTable, order: Order, meant: Callable[[MemoryBlock], bool]
) -> Iterator[Change]:
    candidate = _CANDIDATES[order.action]
    blocks = table.blocks()
    for block in blocks if order.action in _FROM_BELOW else reversed([*blocks]):
        if not candidate(block) or not meant(block) or _wrong_zone(block, order):
            continue
        change = change_to(block, _order_of(block, order, table))
        if not change.plan.already:
            yield change


def _order_of(block: MemoryBlock, order: Order, table: BlockTable) -> Order:
    """The order for one block. The first block of all, where it is not configured, comes into the
    zone that the kernel chooses, unless one is given: util-linux 2.42.2 was recorded doing so."""
    first = block.configured is False and block.number == table.numbers[0]
    return order._replace(movable=False) if first else order


def _wrong_zone(block: MemoryBlock, order: Order) -> bool:
    """Whether a block is not taken because of its zone, where it was not named."""
    if order.zone is None or block.configured is False:
        return False
    return order.zone not in (block.zones or ())
