"""Which blocks of a machine the entries of a layout claim, and for what. Nothing is read or
written.

Blocks that differ in their numbers only are one kind. So an entry takes a few operations on whole
sets of blocks, as block_sets.py has them, and not a look at each block.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.change.block_sets import bits_of, ends_of, set_of
from memory_hotplug.change.plan import Change, Order, change_to
from memory_hotplug.change.removal import NOTHING_KNOWN, Removal, emptying
from memory_hotplug.condition import Condition
from memory_hotplug.layout.model import Entry

__all__ = ["Claims", "Spares", "contradict"]

_ONLINE, _RESERVED, _NEVER = 100, 200, 1000
"""More writes than any plan has: for online memory; for such that an earlier entry may need; and
for what is known to be in vain."""


class BlockKind(NamedTuple):
    """What a plan depends on, of a block."""

    state: State
    zones: tuple[Zone, ...] | None
    configured: bool | None
    memmap_on_memory: bool | None

    def change(self, order: Order) -> Change:
        """The change of a block of this kind."""
        return change_to(MemoryBlock(0, **self._asdict()), order)


def _kind(block: MemoryBlock) -> BlockKind:
    return BlockKind(block.state, block.zones, block.configured, block.memmap_on_memory)


class _Choice(NamedTuple):
    """Blocks from which an entry with a size can choose."""

    kind: BlockKind
    of: Order | None
    """What they are claimed for."""
    to: Order
    """What they would be claimed for."""
    blocks: int
    cost: int


class Claims:
    """What is claimed of the blocks of a machine, and what is free."""

    def __init__(
        self,
        blocks: Sequence[MemoryBlock],
        enterable: Callable[[Zone], int],
        reserved: int = 0,
        removal: Removal = NOTHING_KNOWN,
    ) -> None:
        """ENTERABLE tells which blocks can be in a zone; what is RESERVED is claimed last for a
        size."""
        self.blocks, self._enterable, self.reserved = blocks, enterable, reserved
        self._removal = removal
        self._tried: dict[int, list[int]] = {}
        """For an entry that sets memory offline, the blocks in the order in which it chose."""
        indexes: dict[BlockKind, list[int]] = {}
        for index, block in enumerate(blocks):
            indexes.setdefault(_kind(block), []).append(index)
        self._groups: dict[tuple[BlockKind, Order | None], int] = {
            (kind, None): set_of(found, len(blocks)) for kind, found in indexes.items()
        }
        """The blocks of each kind, free or claimed for an order."""
        self._claims: list[tuple[int, Order, Entry | None]] = []
        """Blocks, what they are claimed for, and by which entry, None for the one before; the last
        one of a block counts."""
        self._by_size = 0
        """The blocks of which that entry has a size."""

    def claim(self, among: int, order: Order, entry: Entry, *, again: bool = False) -> None:
        """Have an entry claim what is free of a set; AGAIN, what is claimed, too."""
        for kind, of in [*self._groups]:
            if of is None or (again and of != order):
                self._move(kind, of, order, among, entry)
            elif _serves(kind, of, order):
                # An entry with a size would be content with another block; this one is not.
                found = self._groups[kind, of] & among & self._by_size
                if found:
                    self._claims.append((found, of, entry))
                    self._by_size ^= found

    def serving(self, among: int, order: Order) -> int:
        """How many blocks of a set are claimed for what ORDER wants, too."""
        return sum(
            (blocks & among).bit_count()
            for (kind, other), blocks in self._groups.items()
            if other is not None and _serves(kind, other, order)
        )

    def others(self, among: int, order: Order) -> Iterator[int]:
        """The blocks of a set that are claimed for something else than ORDER wants."""
        return bits_of(
            among
            & sum(
                blocks
                for (kind, other), blocks in self._groups.items()
                if other is not None and not _serves(kind, other, order)
            )
        )

    def free(self, among: int) -> int:
        """The blocks of a set that nothing claims."""
        return among & sum(blocks for (_, of), blocks in self._groups.items() if of is None)

    def hold(self, among: int, count: int, order: Order, entry: Entry) -> None:
        """Have COUNT of the blocks of a set stay as ORDER wants them, of those that are so and stay
        so: without that, an earlier entry could make something else of them."""
        staying = []
        for kind, of in self._groups:
            if of is not None and _serves(kind, of, order):
                to = _joint(of, order)
                if to == of:
                    count -= (self._groups[kind, of] & among).bit_count()
                elif to is not None:
                    staying.append((kind, of, to))
        for kind, of, to in staying:
            if count <= 0:
                break
            held = ends_of(self._groups[kind, of] & among, count, highest=entry.highest)
            self._move(kind, of, to, held, entry)
            count -= held.bit_count()

    def so(self, among: int, order: Order) -> int:
        """The free blocks of a set that are as ORDER wants them."""
        return (
            among
            & ~self.reserved
            & sum(
                blocks
                for (kind, of), blocks in self._groups.items()
                if of is None and _is_so(kind, order)
            )
        )

    def as_wanted(self, order: Order) -> int:
        """The blocks that are as ORDER wants them, whatever claims them."""
        return sum(blocks for (kind, _), blocks in self._groups.items() if _is_so(kind, order))

    def lasting(self, among: int, order: Order) -> int:
        """The blocks of a set that are as ORDER wants them, and are left so by what claims them."""
        return among & sum(
            blocks
            for (kind, of), blocks in self._groups.items()
            if _is_so(kind, order) and (of is None or _is_so(kind, of))
        )

    def claim_best(
        self, among: int, count: int, order: Order, entry: Entry, contested: int = 0
    ) -> int:
        """Have an entry claim COUNT blocks of a set, those that take the fewest writes, and of them
        those that are CONTESTED last; return how many are lacking.

        A block that is claimed for what leaves open what ORDER asks for is claimed for both.
        """
        choices = self._choices(order, entry) if count else ()
        for same in self._stages(choices, order):
            found = among & sum(choice.blocks for choice in same)
            if self._empties(same, order):
                tried = self._tried[id(entry)] = self._emptying(same, among, count, entry)
                found = set_of(tried[:count], len(self.blocks))
            else:
                ahead = ends_of(found & ~contested, count, highest=entry.highest)
                more = count - ahead.bit_count()
                found = ahead | ends_of(found & contested, more, highest=entry.highest)
            count -= found.bit_count()
            for choice in same:
                self._move(choice.kind, choice.of, choice.to, found & choice.blocks, entry)
            if not count:
                break
        return count

    def _stages(self, choices: "Sequence[_Choice]", order: Order) -> "Iterator[list[_Choice]]":
        """CHOICES by their costs; those of online memory together where devices are emptied."""
        stages: dict[int, list[_Choice]] = {}
        for choice in choices:
            cost = _ONLINE if self._empties([choice], order) else choice.cost
            stages.setdefault(cost, []).append(choice)
        for _, same in sorted(stages.items()):
            yield same

    def _empties(self, choices: "Sequence[_Choice]", order: Order) -> bool:
        """Whether choices with one cost are of online memory that is to go, of which something is
        known."""
        known = self._removal.devices or self._removal.staying
        goes = order.condition is not Condition.ONLINE
        return bool(known) and goes and _ONLINE <= choices[0].cost < _RESERVED

    def _emptying(
        self, choices: "Sequence[_Choice]", among: int, count: int, entry: Entry
    ) -> list[int]:
        """The indexes of blocks of a set, of which COUNT are to go, in the order of trying."""
        sign = -1 if entry.highest else 1
        ranked = sorted(
            (
                (choice.cost, sign * index, choice.to)
                for choice in choices
                for index in bits_of(choice.blocks & among)
            ),
            key=lambda one: one[:2],
        )
        indexes = {self.blocks[sign * at].number: sign * at for _, at, _ in ranked}
        changes = (change_to(self.blocks[sign * at], to, entry) for _, at, to in ranked)
        return [indexes[one.number] for one in emptying(changes, count, self._removal)]

    def spares(self, among: int, order: Order, entry: Entry) -> "Spares":
        """What could take the place of blocks that an entry has claimed."""
        return Spares(self, among, order, entry)

    def in_place(self, among: int, order: Order, entry: Entry) -> Iterator[int]:
        """The free blocks of a set that an entry could claim, best first."""
        free = [choice for choice in self._choices(order, entry) if choice.of is None]
        for same in self._stages(free, order):
            found = among & sum(choice.blocks for choice in same)
            if self._empties(same, order):
                tried = self._tried.get(id(entry))
                left = self._emptying(same, among, 0, entry) if tried is None else tried
                yield from (index for index in left if found >> index & 1)
            else:
                indexes = list(bits_of(found))
                yield from reversed(indexes) if entry.highest else indexes

    def claimed(self) -> dict[int, tuple[Order, Entry]]:
        """The blocks that are claimed, for what, and by which entry."""
        found: dict[int, tuple[Order, Entry]] = {}
        for blocks, order, entry in self._claims:
            for at in bits_of(blocks):
                found[at] = order, entry or found[at][1]
        return found

    def _choices(self, order: Order, entry: Entry) -> "Sequence[_Choice]":
        """From what an entry with a size can choose."""
        # Memory of the kernel's own zones is moved only where its blocks are named.
        named = bool(entry.blocks or entry.addresses)
        found = []
        for (kind, of), blocks in self._groups.items():
            to = _joint(of, order)
            if to is None or (of and _serves(kind, of, order)):
                continue
            asks = named or (of is not None and of.zone is to.zone)
            if not asks and _moves_kernel_memory(kind, to):
                continue
            cost = _extra(kind, of, to)
            if of is not None and cost == _NEVER:
                # What is in vain does not take a block from another entry.
                continue
            can = blocks if to.zone is None else blocks & self._enterable(to.zone)
            found.append(_Choice(kind, of, to, can & ~self.reserved, cost))
            # What an earlier entry has set offline stays so: else memory of the kernel's zones
            # would come into another zone by way of it.
            if can & self.reserved and kind.state is State.ONLINE:
                found.append(_Choice(kind, of, to, can & self.reserved, cost + _RESERVED))
        return found

    def _move(self, kind: BlockKind, of: Order | None, to: Order, among: int, entry: Entry) -> None:
        """Have an entry claim the blocks of a group that are in a set."""
        moved = self._groups[kind, of] & among
        if moved:
            self._groups[kind, of] ^= moved
            if not self._groups[kind, of]:
                del self._groups[kind, of]
            self._groups[kind, to] = self._groups.get((kind, to), 0) | moved
            # What an entry names stays its own where a size asks for more of the same block.
            named = moved & ~self._by_size if of is not None and entry.size is not None else 0
            self._claims += [(named, to, None), (moved & ~named, to, entry)]
            self._by_size &= ~moved
            if entry.size is not None:
                self._by_size |= moved & ~named


class Spares(Sequence[Change]):
    """The changes that an entry with a size could have in place of others, best first; they are
    made when one is looked at."""

    def __init__(self, claims: Claims, among: int, order: Order, entry: Entry) -> None:
        self.claims, self.among, self.order, self.entry = claims, among, order, entry
        self._made: list[Change] | None = None

    def _all(self) -> list[Change]:
        if self._made is None:
            self._made = []
            for index in self.claims.in_place(self.among, self.order, self.entry):
                block = self.claims.blocks[index]
                self._made.append(change_to(block, self.order, self.entry))
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, index: int) -> Change:  # type: ignore[override]  # no slices
        return self._all()[index]


@cache
def _is_so(kind: BlockKind, order: Order) -> bool:
    """Whether a block is as ORDER wants it."""
    return kind.state is not State.UNKNOWN and kind.change(order).plan.already


@cache
def _serves(kind: BlockKind, other: Order, order: Order) -> bool:
    """Whether a block with the OTHER order is also as ORDER wants it."""
    # A block that stays as it is serves all that want it so.
    return (_is_so(kind, other) and _is_so(kind, order)) or _joint(other, order) == other


def contradict(one: Order, other: Order) -> bool:
    """Whether no block can be as both orders want it."""
    return _joint(one, other) is None


@cache
def _joint(other: Order | None, order: Order) -> Order | None:
    """The order that does what both want; None if they contradict each other."""
    if other is None:
        return order
    if other.condition is not order.condition:
        return None
    zones = {other.zone, order.zone} - {None}
    memmaps = {other.memmap_on_memory, order.memmap_on_memory} - {None}
    if len(zones) > 1 or len(memmaps) > 1:
        return None
    return Order(
        order.action,
        next(iter(zones), None),
        next(iter(memmaps), None),
        order.movable,
        order.condition,
    )


@cache
def _moves_kernel_memory(kind: BlockKind, order: Order) -> bool:
    zone = zone_of(MemoryBlock(0, **kind._asdict()))
    return zone not in (None, Zone.MOVABLE) and order.zone not in (None, zone)


@cache
def _extra(kind: BlockKind, of: Order | None, to: Order) -> int:
    """What it costs to do TO instead of OF, or of nothing."""
    cost = _cost(kind, to)
    return cost if of is None or cost == _NEVER else max(cost - _cost(kind, of), 0)


@cache
def _cost(kind: BlockKind, order: Order) -> int:
    """The number of writes that a change takes; _NEVER if it is known to be in vain. To change
    online memory costs more than anything else that may succeed."""
    change = kind.change(order)
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
