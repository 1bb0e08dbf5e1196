"""The change of a memory block: an order, and the steps that carry it out. Nothing is read or
written here.

>>> from memory_hotplug import Action, MemoryBlock, Order, State
>>> from memory_hotplug.change.plan import change_to
>>> block = MemoryBlock(5, State.OFFLINE, zones=None, configured=False, memmap_on_memory=True)
>>> one = change_to(block, Order(Action.ENABLE, memmap_on_memory=False))
>>> [step.name for step in one.plan.steps]
['memmap-on-memory', 'configure', 'online']
>>> one.after.state.value, one.after.memmap_on_memory
('online', False)

A change is made once for a block. The choice of blocks, the look at the memory in use, the work,
the dry run and the reports all read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import NOT_READ, MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.steps import (
    CONFIGURE,
    DECONFIGURE,
    LEAVE_ZONE,
    MEMMAP,
    NOT_TO_ENTER,
    OFFLINE,
    ONLINE,
    Step,
    Target,
    mismatch,
)
from memory_hotplug.checks import check_type, optional
from memory_hotplug.condition import Condition
from memory_hotplug.errors import BadOrderError, BlockError, NotReadError
from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from memory_hotplug.layout.model import Entry

__all__ = [
    "NEEDED",
    "Action",
    "Change",
    "Order",
    "Plan",
    "change_back",
    "change_to",
    "order_to",
]

NEEDED = (
    Attribute.STATE,
    Attribute.ZONES,
    Attribute.CONFIGURED,
    Attribute.MEMMAP_ON_MEMORY,
)
"""The attributes of a block that a plan needs."""


class Action(Enum):
    """What can be done to a block."""

    ENABLE = "enable"
    """Set it online; configure it first if it is not configured."""
    DISABLE = "disable"
    """Set it offline; then deconfigure it if it is configured."""
    CONFIGURE = "configure"
    DECONFIGURE = "deconfigure"
    RECONFIGURE = "reconfigure"
    """Change memmap_on_memory of a block in any state, and bring it back to that state."""
    APPLY = "apply"
    """Bring it to the condition in the order, from any other."""


_WITH_ZONE = (Action.ENABLE, Action.DISABLE, Action.APPLY)
_WITHOUT_MEMMAP = (Action.DISABLE, Action.DECONFIGURE)


class _Order(NamedTuple):
    action: Action
    zone: Zone | None = None
    """Enable, or apply with the condition online: set online in this zone. Disable: only blocks
    that are in this zone. The other actions take none."""
    memmap_on_memory: bool | None = None
    """None does not change it. Reconfigure needs a value; disable and deconfigure take none."""
    movable: bool = True
    """Without a zone, enable into Movable if that zone is valid; else the kernel chooses."""
    condition: Condition | None = None
    """Apply needs it; the other actions take none."""


# Of its own, a named tuple cannot check its fields.
class Order(_Order):
    """What to do with a block. Raises BadOrderError for a combination that has no meaning, and
    TypeError for a field of a wrong type."""

    __slots__ = ()

    def __new__(
        cls,
        action: Action,
        zone: Zone | None = None,
        memmap_on_memory: bool | None = None,
        movable: bool = True,
        condition: Condition | None = None,
    ) -> Self:
        found = super().__new__(cls, action, zone, memmap_on_memory, movable, condition)
        found._check()
        return found

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Order:  # type: ignore[override]  # only this class
        """What _replace makes its result by."""
        return cls(*iterable)

    def _check(self) -> None:
        action, memmap = self.action, self.memmap_on_memory
        check_type("action", action, Action)
        optional("zone", self.zone, Zone)
        optional("memmap_on_memory", memmap, bool)
        check_type("movable", self.movable, bool)
        optional("condition", self.condition, Condition)
        if self.zone in NOT_TO_ENTER:
            raise BadOrderError(f"no block can be asked to be in zone {self.zone.value}")
        if action is Action.RECONFIGURE:
            if memmap is None:
                raise BadOrderError("to reconfigure, memmap_on_memory must be given")
            if self.zone:
                raise BadOrderError("a block that is reconfigured keeps its zone")
        if self.zone and action not in _WITH_ZONE:
            raise BadOrderError(f"a zone means nothing to {action.value}")
        if action in _WITHOUT_MEMMAP and memmap is not None:
            raise BadOrderError(f"memmap_on_memory means nothing to {action.value}")
        if action is Action.APPLY and self.condition is None:
            raise BadOrderError("to apply, a condition must be given")
        if action is not Action.APPLY and self.condition is not None:
            raise BadOrderError(f"a condition means nothing to {action.value}")
        if self.zone and self.condition not in (None, Condition.ONLINE):
            raise BadOrderError("only a block that is to be online can be asked to be in a zone")


# A named tuple, like everything that is made for each block: for thousands of blocks, frozen
# dataclasses take as long as the writes.
class Plan(NamedTuple):
    """The steps for one block, in order. A step whose effect is there already is skipped."""

    steps: tuple[Step, ...] = ()
    target: Target = Target()
    """What is asked for, as the steps need it."""
    already: bool = False
    """The block is already as requested."""
    refused: BlockError | None = None
    """The reason to try nothing."""
    keeps: str = ""
    """If this step fails, the steps before it are not undone."""
    suffices: bool = False
    """Whether the block is as requested also if that step fails."""

    def stages(self, block: MemoryBlock) -> Iterator[tuple[Step, MemoryBlock]]:
        """The steps that change BLOCK, each with the block after it, as far as that is known
        before."""
        for step in self.steps:
            if not step.holds(block, self.target):
                block = step.leaves(block, self.target)
                yield step, block

    def after(self, block: MemoryBlock) -> MemoryBlock:
        """What BLOCK is after all steps, if none fails, as far as that is known before."""
        return [block, *(after for _, after in self.stages(block))][-1]


class Change(NamedTuple):
    """One block, and what is made of it."""

    block: MemoryBlock
    """As it is before."""
    order: Order
    plan: Plan
    entry: Entry | None = None
    """The entry of a layout that asks for it."""
    spares: Sequence[Change] = ()
    """What to try instead if this one fails, best first. A spare can be one of several changes."""

    @property
    def number(self) -> int:
        return self.block.number

    @property
    def after(self) -> MemoryBlock:
        """What the block is afterwards, if nothing fails, as far as that is known before."""
        return self.plan.after(self.block)

    @property
    def is_ahead(self) -> bool:
        """Whether there is something to try."""
        return not (self.plan.already or self.plan.refused)

    def stages(self) -> Iterator[tuple[Step, MemoryBlock]]:
        """The steps that change the block, each with the block after it."""
        return self.plan.stages(self.block)


def change_to(block: MemoryBlock, order: Order, entry: Entry | None = None) -> Change:
    """The change that carries out ORDER on BLOCK.

    Raises NotReadError if one of the attributes NEEDED was not read.
    """
    if NOT_READ in (block.state, block.zones, block.configured, block.memmap_on_memory):
        unread = [name for name in NEEDED if getattr(block, name) is NOT_READ]
        raise NotReadError(unread, block.number)
    return Change(block, order, _PLANS[order.action](block, order), entry)


_ALREADY = Plan(already=True)


def _refused(block: MemoryBlock, step: str, cause: Cause) -> Plan:
    return Plan(refused=BlockError(block.number, step, cause))


def _to_enable(block: MemoryBlock, order: Order) -> Plan:
    if refused := _refuse_memmap(block, order):
        return refused
    if block.state is State.ONLINE:
        return _ALREADY
    configure = _configure(order) if block.configured is False else ()
    target = Target(order.zone, order.memmap_on_memory, order.movable)
    return Plan((*configure, *_online(order.zone)), target)


def _to_disable(block: MemoryBlock, order: Order) -> Plan:
    if block.state is State.OFFLINE:
        return _ALREADY
    if order.zone:
        elsewhere = mismatch(block, order.zone, "offline", Cause.WRONG_ZONE)
        if elsewhere:
            return Plan(refused=elsewhere)
    if block.configured is None:
        return Plan((OFFLINE,))
    return Plan((OFFLINE, DECONFIGURE), keeps=DECONFIGURE.name)


def _to_configure(block: MemoryBlock, order: Order) -> Plan:
    if block.configured is None:
        return _refused(block, "configure", Cause.NOT_CONFIGURABLE)
    if refused := _refuse_memmap(block, order):
        return refused
    if block.configured:
        return _ALREADY
    return Plan(_configure(order), Target(memmap_on_memory=order.memmap_on_memory))


def _to_deconfigure(block: MemoryBlock, order: Order) -> Plan:
    if block.configured is None:
        return _refused(block, "deconfigure", Cause.NOT_CONFIGURABLE)
    if block.configured is False:
        return _ALREADY
    if block.state is not State.OFFLINE:
        return _refused(block, "deconfigure", Cause.NOT_OFFLINE)
    return Plan((DECONFIGURE,))


def _to_reconfigure(block: MemoryBlock, order: Order) -> Plan:
    if block.configured is None:
        return _refused(block, "memmap-on-memory", Cause.NOT_CONFIGURABLE)
    target = Target(zone_of(block), order.memmap_on_memory, returning=True)
    if MEMMAP.holds(block, target):
        return _ALREADY
    if not block.configured:
        return Plan((MEMMAP,), target)
    anew = (DECONFIGURE, MEMMAP, CONFIGURE)
    if block.state is State.ONLINE:
        return Plan((OFFLINE, *anew, *_online(target.zone)), target)
    # The last step is needed if auto_online_blocks has the kernel set the block online.
    return Plan((*anew, OFFLINE), target)


def _to_apply(block: MemoryBlock, order: Order) -> Plan:
    condition, memmap = order.condition, order.memmap_on_memory
    # A block that is online, and is to be so in any zone, comes back into its own.
    own = zone_of(block) if order.zone is None else None
    target = Target(own or order.zone, memmap, order.movable, returning=own is not None)
    steps: tuple[Step, ...] = ()
    if block.configured is None:
        if condition is Condition.DECONFIGURED:
            return _refused(block, "deconfigure", Cause.NOT_CONFIGURABLE)
        if refused := _refuse_memmap(block, order):
            return refused
    else:
        anew = block.configured and memmap not in (None, block.memmap_on_memory)
        if anew or condition is Condition.DECONFIGURED:
            steps += (OFFLINE, DECONFIGURE)
        if memmap is not None:
            steps += (MEMMAP,)
        if condition is not Condition.DECONFIGURED:
            steps += (CONFIGURE,)
    if condition is Condition.ONLINE:
        steps += _online(target.zone)
    elif condition is Condition.OFFLINE:
        # Also after CONFIGURE: auto_online_blocks may have had the kernel set the block online.
        steps += (OFFLINE,)
    return Plan(steps, target, already=all(step.holds(block, target) for step in steps))


_PLANS: dict[Action, Callable[[MemoryBlock, Order], Plan]] = {
    Action.ENABLE: _to_enable,
    Action.DISABLE: _to_disable,
    Action.CONFIGURE: _to_configure,
    Action.DECONFIGURE: _to_deconfigure,
    Action.RECONFIGURE: _to_reconfigure,
    Action.APPLY: _to_apply,
}


def _refuse_memmap(block: MemoryBlock, order: Order) -> Plan | None:
    """A refusal if ORDER would change memmap_on_memory of a block that is configured."""
    wanted = order.memmap_on_memory
    if wanted is None or (block.configured and block.memmap_on_memory is wanted):
        return None
    if block.configured is None:
        return _refused(block, "memmap-on-memory", Cause.NOT_CONFIGURABLE)
    if block.configured:
        return _refused(block, "memmap-on-memory", Cause.NOT_DECONFIGURED)
    return None


def _configure(order: Order) -> tuple[Step, ...]:
    return (CONFIGURE,) if order.memmap_on_memory is None else (MEMMAP, CONFIGURE)


def _online(zone: Zone | None) -> tuple[Step, ...]:
    return (LEAVE_ZONE, ONLINE) if zone else (ONLINE,)


# The way back.


def order_to(block: MemoryBlock) -> Order:
    """The order that brings a block to the condition that BLOCK has."""
    if block.configured is False:
        condition = Condition.DECONFIGURED
    elif block.state is State.OFFLINE:
        condition = Condition.OFFLINE
    else:
        condition = Condition.ONLINE
    zone = zone_of(block)
    zone = None if zone in (*NOT_TO_ENTER, Zone.DEVICE) else zone
    memmap = None if block.configured is None else block.memmap_on_memory
    return Order(Action.APPLY, zone, memmap, condition=condition)


def change_back(before: MemoryBlock, now: MemoryBlock) -> Change:
    """The change from NOW, the present condition of a block, back to its condition BEFORE.

    Where the zone of an online block is not valid any more, the kernel's choice is taken.
    """
    zone = zone_of(before)
    target = Target(zone, before.memmap_on_memory, returning=True)
    steps: tuple[Step, ...] = ()
    if before.configured is not None:
        memmap = now.memmap_on_memory != before.memmap_on_memory
        if memmap or not before.configured:
            steps += (OFFLINE, DECONFIGURE)
        if memmap:
            steps += (MEMMAP,)
        if before.configured:
            steps += (CONFIGURE,)
    if before.state is State.ONLINE:
        steps += _online(zone)
    elif before.configured is not False:
        # Also after CONFIGURE: auto_online_blocks may have had the kernel set the block online.
        steps += (OFFLINE,)
    already = all(step.holds(now, target) for step in steps)
    return Change(now, order_to(before), Plan(steps, target, already))
