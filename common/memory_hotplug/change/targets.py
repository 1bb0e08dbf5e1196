"""What each block of a machine is to become by a memory layout. Nothing is read or written here.

The entries are gone through from the last to the first, and a block belongs to the first one that
claims it. An entry with a size claims blocks until it has enough; blocks that later entries bring
to the same condition count. Blocks that are so already, and that no later entry names, are reserved
for it before all else, and claimed first; then those that take the fewest writes, and online memory
that must be changed last; of what is to go, `emptying` says which. So on a machine that is as the
layout says, the same blocks are claimed again, and nothing is written.

A block that a later entry claims is not lost for an entry with a size if that one leaves open what
this one asks for, such as the zone: it is claimed for both, and becomes what both ask for. Else the
size would be missing, or be there by chance at the next run.

What the changes leave is looked at as the next run would see it, again and again until nothing
would be written; then all of it is done by one run.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, reduce
from operator import or_
from typing import NamedTuple

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.change.absence import Absence, absence_of
from memory_hotplug.change.block_sets import set_of
from memory_hotplug.change.claims import Claims
from memory_hotplug.change.guard import balanced, ratio_of
from memory_hotplug.change.plan import NEEDED, Action, Change, Order, change_to
from memory_hotplug.change.removal import NOTHING_KNOWN, Removal, removal_of
from memory_hotplug.change.reserves import Part, claim_size, lasting, reserved, with_contested
from memory_hotplug.change.turns import after, in_turn
from memory_hotplug.change.zone_spans import Spans
from memory_hotplug.condition import Condition
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Entry, Layout, Missing
from memory_hotplug.machine import Machine
from memory_hotplug.runs import Run, gaps_between, length, runs_of
from memory_hotplug.table import BlockTable

__all__ = [
    "NEEDED_FOR_LAYOUT",
    "Targets",
    "forecast_on",
    "removal_for",
    "takes_size",
    "targets_of",
    "targets_on",
]

NEEDED_FOR_LAYOUT = (*NEEDED, Attribute.NODES, Attribute.NODE)
"""The attributes that a table of blocks must have."""


class Targets(NamedTuple):
    """What a layout makes of a machine."""

    changes: Sequence[Change]
    """In the order of changing."""
    absences: Sequence[Absence] = ()
    """Without those of entries that ignore them."""


def removal_for(machine: Machine, layout: Layout, table: BlockTable) -> Removal:
    """What is known of how the memory of MACHINE, whose blocks are in TABLE, can be removed, as far
    as LAYOUT depends on it."""
    return removal_of(machine, table) if takes_size(layout) else NOTHING_KNOWN


def targets_on(
    machine: Machine,
    layout: Layout,
    table: BlockTable,
    removal: Removal | None = None,
    *,
    force: bool = False,
    begun: bool = False,
) -> Targets:
    """What LAYOUT makes of MACHINE, whose blocks are in TABLE; with FORCE zone Movable may become
    of any size. See `targets_of`."""
    return targets_of(
        layout,
        table,
        configurable=machine.configurable,
        zones=table.has_zones,
        nodes=machine.nodes,
        removal=removal_for(machine, layout, table) if removal is None else removal,
        ratio=None if force else ratio_of(machine, layout.policy),
        begun=begun,
    )


def forecast_on(machine: Machine, layout: Layout, table: BlockTable) -> Targets:
    """`targets_on`, if all else succeeds: what would make zone Movable too large is refused."""
    found = targets_on(machine, layout, table)
    ratio = ratio_of(machine, layout.policy)
    return found._replace(changes=balanced(found.changes, table, ratio))


def targets_of(
    layout: Layout,
    table: BlockTable,
    *,
    configurable: bool,
    zones: bool,
    nodes: Sequence[int],
    removal: Removal = NOTHING_KNOWN,
    ratio: int | None = None,
    begun: bool = False,
) -> Targets:
    """What LAYOUT makes of the blocks of TABLE, which has the attributes NEEDED_FOR_LAYOUT.

    REMOVAL is used only if the layout `takes_size`. RATIO is how much zone Movable may have, in
    percent of the kernel's zones.

    Raises LayoutError for what is impossible on a machine with such blocks, for example a size that
    is not a multiple of their size; and for missing blocks, where an entry wants that. Once the
    layout is BEGUN, they are told instead.
    """

    def assigned(then: BlockTable) -> _Assigned:
        return _assign(layout, _Place(then, configurable, zones, nodes), removal)

    first = last = assigned(table)
    claimed, blocks = first.claimed, first.blocks

    def ordered() -> Sequence[Change]:
        return in_turn((change_to(blocks[at], *what) for at, what in claimed.items()), table)

    found = ordered()
    for _ in range(_ROUNDS):
        if not any(change.is_ahead for change in found):
            break
        # What a run leaves can make more possible, such as a zone that a block can come into then.
        # It is done at once: else the next run would do it.
        last = assigned(after(found, table, nodes))
        more = claimed | last.claimed
        if all(at in claimed and claimed[at][0] == order for at, (order, _) in more.items()):
            break
        before, claimed = claimed, more
        found = ordered()
        if refused := _refused(found, table, ratio) & before.keys():
            # What the kernel's zones need does not come into Movable by this way. The next run
            # would take other blocks for it, and so on until nothing is left.
            claimed = more | {at: before[at] for at in refused}
            found = ordered()
            last = last.without(at for at in refused if before[at][0] != more[at][0])
            break
    free = ~set_of(claimed, len(blocks))
    spares = {
        id(part.entry): first.claims.spares(part.found & free, part.order, part.entry)
        for part in first.parts
        if part.entry.size is not None
    }
    # A block that is to be something else by another entry is not given up for a spare: its failure
    # leaves both wanting.
    unmet = first.unmet() if spares else 0
    changes = [
        change
        if id(change.entry) not in spares or unmet >> bisect_left(table.numbers, change.number) & 1
        else change._replace(spares=spares[id(change.entry)])
        for change in found
    ]
    return Targets(changes, _to_tell(last.explained(), begun=begun))


def _refused(changes: Sequence[Change], table: BlockTable, ratio: int | None) -> set[int]:
    """The positions of the blocks that may not come into Movable."""
    if ratio is None:
        return set()
    refused = [one.number for one in balanced(changes, table, ratio) if one.plan.refused]
    return {bisect_left(table.numbers, number) for number in refused}


_ROUNDS = 100
"""More than blocks can leave a zone from its ends: DMA32 has 4 GiB."""


def _to_tell(absences: "Sequence[Absence]", *, begun: bool) -> "Sequence[Absence]":
    """What is missing and to be told. Raises LayoutError where an entry wants that, but not once
    the layout is BEGUN."""
    told = [one for one in absences if one.entry and one.entry.missing is not Missing.IGNORE]
    for absence in () if begun else told:
        if absence.entry and absence.entry.missing is Missing.ERROR:
            raise LayoutError(*absence.entry.where, "the machine does not have all these blocks")
    return told


class _Assigned(NamedTuple):
    """What each block is claimed for."""

    parts: "Sequence[Part]"
    claims: Claims
    claimed: dict[int, tuple[Order, Entry]]
    """By the position of a block."""
    absences: Sequence[Absence]

    @property
    def blocks(self) -> Sequence[MemoryBlock]:
        return self.claims.blocks

    def without(self, refused: Iterable[int]) -> "_Assigned":
        """This, where the entries lack the blocks that are REFUSED."""
        entries = [self.claimed[at][1] for at in refused]
        lacking = Counter(map(id, entries))
        found = {id(one.entry): one for one in self.absences}
        for entry in entries:
            have = found.get(id(entry), Absence(entry, 0))
            found[id(entry)] = have._replace(blocks=have.blocks + lacking.pop(id(entry), 0))
        return self._replace(absences=[*found.values()])

    def unmet(self) -> int:
        """The blocks that are not as an entry without a size wants them."""
        return reduce(
            or_,
            (
                part.found & ~self.claims.as_wanted(part.order)
                for part in self.parts
                if part.entry.size is None
            ),
            0,
        )

    def explained(self) -> Sequence[Absence]:
        """The absences, each size with what has the memory."""
        parts = {id(part.entry): part for part in self.parts}
        found = []
        for absence in self.absences:
            part = parts[id(absence.entry)]
            if part.wanted:
                others = self.claims.others(part.found, part.order)
                holders = {id(held): held for held in (self.claimed[at][1] for at in others)}
                order = [one.entry for one in self.parts if id(one.entry) in holders]
                zone = part.order.zone is not None and bool(self.claims.free(part.found))
                absence = absence._replace(holders=order, zone=zone)
            found.append(absence)
        return found


def _assign(layout: Layout, place: "_Place", removal: Removal) -> _Assigned:
    parts = with_contested([place.part(entry) for entry in layout.entries])

    def unclaimed() -> Claims:
        return Claims(place.blocks, place.enterable)

    stay = lasting(parts, unclaimed)
    held = reserved(parts, unclaimed, stay)
    claims = Claims(place.blocks, place.enterable, sum(held.values()), removal)
    absences: list[Absence] = []
    for part in reversed(parts):
        entry = part.entry
        if entry.size is None:
            claims.claim(part.found, part.order, entry)
            absence = place.not_there(part)
        else:
            claims.reserved &= ~held[id(entry)]
            absence = Absence(entry, claim_size(claims, part, stay[id(entry)]))
        if absence.blocks:
            absences.append(absence)
    return _Assigned(parts, claims, claims.claimed(), absences[::-1])


class _Place:
    """A machine to which a layout is applied."""

    def __init__(
        self, table: BlockTable, configurable: bool, zones: bool, nodes: Sequence[int]
    ) -> None:
        self.blocks = list(table.blocks())
        self._table, self._configurable, self._zones = table, configurable, zones
        self._nodes, self._several = nodes, len(nodes) > 1
        self._runs = runs_of(table.numbers)
        self._enterable: dict[Zone, int] = {}

    def part(self, entry: Entry) -> Part:
        """Raises LayoutError for what is impossible here."""
        size = self._table.block_size
        _check(entry, size, self._configurable)
        if entry.node is not None and entry.condition is Condition.DECONFIGURED and self._several:
            reason = "node and state deconfigured: memory that is not configured has no node"
            raise LayoutError(*entry.where, reason)
        online = entry.condition is Condition.ONLINE
        zone = entry.zone if self._zones and online else None
        order = Order(Action.APPLY, zone, entry.memmap_on_memory, self._zones, entry.condition)
        ranges = _ranges(entry, size)
        within = self._within(ranges) if ranges else (1 << len(self.blocks)) - 1
        found = within if entry.node is None else within & self._on_node(entry.node)
        # Memory that is not there is not online.
        there = within.bit_count() if ranges and not online else length(ranges)
        wanted = max((entry.size or 0) // size - length(ranges) + there, 0)
        return Part(entry, order, ranges, within, found, wanted)

    def not_there(self, part: Part) -> Absence:
        """What an entry without a size lacks here. A node without blocks counts as one block."""
        if part.entry.condition is not Condition.ONLINE:
            return Absence(part.entry, 0)
        if not part.ranges:
            return Absence(part.entry, 0 if part.found else 1)
        lacking = tuple(gap for run in part.ranges for gap in gaps_between(self._runs, *run))
        return absence_of(lacking, part.entry)

    def enterable(self, zone: Zone) -> int:
        """The blocks that are in ZONE, or can be set online in it, as far as that is known."""
        if zone not in self._enterable:
            indexes = (at for at, block in enumerate(self.blocks) if self._may_enter(block, zone))
            self._enterable[zone] = set_of(indexes, len(self.blocks))
        return self._enterable[zone]

    def _may_enter(self, block: MemoryBlock, zone: Zone) -> bool:
        if block.zones and block.configured is not False:
            return zone in block.zones or (
                block.state is State.ONLINE and self._spans.can_enter(block.number, zone)
            )
        return self._spans.can_enter(block.number, zone)

    @cached_property
    def _spans(self) -> Spans:
        return Spans(self._table)

    def _within(self, ranges: Sequence[Run]) -> int:
        numbers, found = self._table.numbers, 0
        for first, last in ranges:
            low, high = bisect_left(numbers, first), bisect_right(numbers, last)
            if low < high:
                found |= (1 << high) - (1 << low)
        return found

    def _on_node(self, node: int) -> int:
        return self._on.get(node, 0)

    @cached_property
    def _on(self) -> dict[int, int]:
        """Node -> the blocks on it."""
        found: dict[int, list[int]] = {}
        alone = {*self._nodes} if len(self._nodes) == 1 else set()
        for index, block in enumerate(self.blocks):
            nodes = {*(block.nodes or ())}
            # As is_on has it.
            for node in nodes | alone if block.configured is False else nodes:
                found.setdefault(node, []).append(index)
        return {node: set_of(indexes, len(self.blocks)) for node, indexes in found.items()}


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


def takes_size(layout: Layout) -> bool:
    """Whether a layout wants an amount of memory to be offline or deconfigured."""
    return any(
        entry.size is not None and entry.condition is not Condition.ONLINE
        for entry in layout.entries
    )
