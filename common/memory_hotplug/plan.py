"""Plan the steps that carry out an order on a memory block; nothing is read or written here.

>>> from memory_hotplug import Action, MemoryBlock, Order, State
>>> from memory_hotplug.plan import plan
>>> block = MemoryBlock(5, State.OFFLINE, zones=None, configured=False, memmap_on_memory=True)
>>> [step.name for step in plan(block, Order(Action.ENABLE, memmap_on_memory=False)).steps]
['memmap-on-memory', 'configure', 'online']

Execution, the dry run and the check of permissions all follow this plan.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from memory_hotplug.attribute import FIRMWARE, MEMORY, Attribute
from memory_hotplug.block import NOT_READ, MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BadOrderError, BlockError, NotReadError

__all__ = [
    "NEEDED",
    "STEPS",
    "Action",
    "Condition",
    "Order",
    "Plan",
    "Step",
    "Target",
    "plan",
    "way_back",
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


class Condition(Enum):
    """What a block can be asked to be."""

    ONLINE = "online"
    OFFLINE = "offline"
    """Configured, where memory can be configured."""
    DECONFIGURED = "deconfigured"


NOT_TO_ENTER = (Zone.NONE, Zone.UNKNOWN)
"""Zones that an order cannot ask for."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with a block. Raises BadOrderError for a combination that has no meaning."""

    action: Action
    zone: Zone | None = None
    """Enable: set online in this zone. Disable: only blocks that are in this zone."""
    memmap_on_memory: bool | None = None
    """None does not change it. Reconfigure needs a value; disable and deconfigure take none."""
    movable: bool = True
    """Without a zone, enable into Movable if that zone is valid; else the kernel chooses."""
    condition: Condition | None = None
    """Given only with apply. The zone counts only if the condition is online."""

    def __post_init__(self) -> None:
        action, memmap = self.action, self.memmap_on_memory
        if self.zone in NOT_TO_ENTER:
            raise BadOrderError(f"no block can be asked to be in zone {self.zone.value}")
        if action is Action.RECONFIGURE:
            if memmap is None:
                raise BadOrderError("to reconfigure, memmap_on_memory must be given")
            if self.zone:
                raise BadOrderError("a block that is reconfigured keeps its zone")
        if action in (Action.DISABLE, Action.DECONFIGURE) and memmap is not None:
            raise BadOrderError(f"memmap_on_memory means nothing to {action.value}")


class Target(NamedTuple):
    """What a plan makes of a block."""

    zone: Zone | None = None
    memmap_on_memory: bool | None = None
    movable: bool = False
    returning: bool = False
    """The zone is the one that the block was in before; any word that leads there will do."""


@dataclass(frozen=True, slots=True)
class Step:
    """A write to one attribute, and a test for its effect."""

    name: str
    directory: str
    """The parent of the directories memoryN, relative to the root."""
    attribute: str
    """The file in memoryN."""
    word: Callable[[MemoryBlock, Target], str]
    """The word to write; for `state` it depends on the zones of the block at that moment."""
    holds: Callable[[MemoryBlock, Target], bool]
    """Whether the effect of the step is there, so that nothing has to be written."""
    leaves: Callable[[MemoryBlock, Target], MemoryBlock | None]
    """The block after the step; None where it must be read again."""
    refuse: Callable[[MemoryBlock, Target], BlockError | None] = lambda block, target: None
    """The reason not to try the step; None if there is none."""
    endless: bool = False
    """Whether the kernel may retry without end (mm/memory_hotplug.c, offline_pages)."""

    def path(self, number: int) -> str:
        """The path of the attribute of block NUMBER, relative to the root."""
        return f"{self.directory}/memory{number}/{self.attribute}"


class Plan(NamedTuple):
    """The steps for one block, in order. A step whose effect is there already is skipped.

    A named tuple, like everything that is made for each block: for thousands of blocks, frozen
    dataclasses take as long as the writes.
    """

    steps: tuple[Step, ...] = ()
    target: Target = Target()
    already: bool = False
    """The block is already as requested."""
    refused: BlockError | None = None
    """The reason to try nothing."""
    keeps: str = ""
    """If this step fails, the steps before it are not undone."""


# The steps.


def _online_word(block: MemoryBlock, target: Target) -> str:
    """The word for `state` that sets BLOCK online in the zone of TARGET.

    Without a zone it is Movable if that is valid and wanted, else the kernel's choice.
    """
    zones = block.zones
    if target.zone is None:
        movable = target.movable and zones and Zone.MOVABLE in zones
        return "online_movable" if movable else "online"
    if target.returning and zones and zones[0] is target.zone:
        return "online"
    if target.zone is Zone.MOVABLE:
        return "online_movable"
    return "online" if target.zone in NOT_TO_ENTER else "online_kernel"


def _is_online(block: MemoryBlock, target: Target) -> bool:
    if block.state is not State.ONLINE:
        return False
    if target.zone is None or target.zone in NOT_TO_ENTER:
        return True
    return zone_of(block) in (None, target.zone)


def _after_online(block: MemoryBlock, target: Target) -> MemoryBlock:
    movable = _online_word(block, target) == "online_movable"
    return MemoryBlock(
        block.number,
        State.ONLINE,
        zones=(Zone.MOVABLE,) if movable else None,
        configured=block.configured,
        memmap_on_memory=block.memmap_on_memory,
    )


def _zone_is_valid(block: MemoryBlock, target: Target) -> BlockError | None:
    if target.zone is None or target.returning:
        return None
    return _mismatch(block, target.zone, "online", Cause.ZONE_NOT_VALID)


def _mismatch(block: MemoryBlock, zone: Zone, step: str, cause: Cause) -> BlockError | None:
    zones = block.zones or ()
    if zone in zones:
        return None
    return BlockError(block.number, step, cause, zone=zone, zones=zones)


MEMMAP = Step(
    "memmap-on-memory",
    FIRMWARE,
    "memmap_on_memory",
    lambda block, target: "1" if target.memmap_on_memory else "0",
    lambda block, target: block.memmap_on_memory is target.memmap_on_memory,
    lambda block, target: block._replace(memmap_on_memory=target.memmap_on_memory),
)
CONFIGURE = Step(
    "configure",
    FIRMWARE,
    "config",
    lambda block, target: "1",
    lambda block, target: block.configured is True,
    lambda block, target: None,
)
ONLINE = Step(
    "online", MEMORY, "state", _online_word, _is_online, _after_online, refuse=_zone_is_valid
)
OFFLINE = Step(
    "offline",
    MEMORY,
    "state",
    lambda block, target: "offline",
    lambda block, target: block.state is State.OFFLINE,
    lambda block, target: block._replace(state=State.OFFLINE, zones=None),
    endless=True,
)
LEAVE_ZONE = replace(
    OFFLINE,
    holds=lambda block, target: block.state is not State.ONLINE or _is_online(block, target),
    leaves=lambda block, target: None,
)
"""Set the block offline again if, by auto_online_blocks, it came online in another zone."""
DECONFIGURE = Step(
    "deconfigure",
    FIRMWARE,
    "config",
    lambda block, target: "0",
    lambda block, target: block.configured is False,
    lambda block, target: block._replace(configured=False, state=State.OFFLINE, zones=None),
)

STEPS = (MEMMAP, CONFIGURE, ONLINE, OFFLINE, DECONFIGURE)
"""One step for each name."""


# The plans.


def plan(block: MemoryBlock, order: Order) -> Plan:
    """The steps that carry out ORDER on BLOCK, or the reason why there are none.

    Raises NotReadError if one of the attributes NEEDED was not read.
    """
    if NOT_READ in (block.state, block.zones, block.configured, block.memmap_on_memory):
        unread = [name for name in NEEDED if getattr(block, name) is NOT_READ]
        raise NotReadError(unread, block.number)
    return _PLANS[order.action](block, order)


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
        mismatch = _mismatch(block, order.zone, "offline", Cause.WRONG_ZONE)
        if mismatch:
            return Plan(refused=mismatch)
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
    target = Target(order.zone, memmap, order.movable)
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
        steps += _online(order.zone)
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


def way_back(before: MemoryBlock, now: MemoryBlock) -> Plan:
    """The steps from NOW, the present condition of a block, back to its condition BEFORE."""
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
    return Plan(steps, target)
