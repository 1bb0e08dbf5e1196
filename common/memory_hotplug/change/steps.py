"""The steps that change a memory block: what each writes, and what it leaves. Nothing is read or
written here."""

from __future__ import annotations

from collections.abc import Callable

from memory_hotplug.attribute import FIRMWARE, MEMORY
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BlockError
from memory_hotplug.named_tuple import NamedTuple

__all__ = [
    "CONFIGURE",
    "DECONFIGURE",
    "LEAVE_ZONE",
    "MEMMAP",
    "NOT_TO_ENTER",
    "OFFLINE",
    "ONLINE",
    "STEPS",
    "Step",
    "Target",
    "mismatch",
]

NOT_TO_ENTER = (Zone.NONE, Zone.UNKNOWN)
"""Zones that an order cannot ask for."""


class Target(NamedTuple):
    """What a plan makes of a block."""

    zone: Zone | None = None
    memmap_on_memory: bool | None = None
    """None does not change it."""
    movable: bool = False
    """Without a zone, Movable is taken if it is valid; else the kernel chooses."""
    returning: bool = False
    """The zone is the one that the block was in before; any word that leads there will do. Where
    it is not valid any more, the kernel's choice is taken instead."""


class Step(NamedTuple):
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
    leaves: Callable[[MemoryBlock, Target], MemoryBlock]
    """The block after the step, as far as it is known before."""
    certain: bool = True
    """Whether the block is as LEAVES says. If not, it must be read again: auto_online_blocks may
    set a block online that was configured, and only the kernel tells the zones that are valid."""
    refuse: Callable[[MemoryBlock, Target], BlockError | None] = lambda block, target: None
    """The reason not to try the step; None if there is none."""
    endless: bool = False
    """Whether the kernel may retry without end (mm/memory_hotplug.c, offline_pages)."""

    def path(self, number: int) -> str:
        """The path of the attribute of block NUMBER, relative to the root."""
        return f"{self.directory}/memory{number}/{self.attribute}"


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
        gone = target.returning and zones and Zone.MOVABLE not in zones
        return "online" if gone else "online_movable"
    return "online" if target.zone in NOT_TO_ENTER else "online_kernel"


def _is_online(block: MemoryBlock, target: Target) -> bool:
    if block.state is not State.ONLINE:
        return False
    if target.zone is None or target.zone in NOT_TO_ENTER:
        return True
    return zone_of(block) in (None, target.zone)


def _after_online(block: MemoryBlock, target: Target) -> MemoryBlock:
    word, zone = _online_word(block, target), None
    if word == "online_movable":
        zone = Zone.MOVABLE
    elif word == "online_kernel" and not target.returning:
        zone = target.zone
    return block._replace(state=State.ONLINE, zones=(zone,) if zone else None)


def _zone_is_valid(block: MemoryBlock, target: Target) -> BlockError | None:
    if target.zone is None or target.returning:
        return None
    return mismatch(block, target.zone, "online", Cause.ZONE_NOT_VALID)


def mismatch(block: MemoryBlock, zone: Zone, step: str, cause: Cause) -> BlockError | None:
    """The error that ZONE is not among the zones of BLOCK; None if it is."""
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
    lambda block, target: block._replace(configured=True, state=State.OFFLINE, zones=None),
    certain=False,
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
LEAVE_ZONE = OFFLINE._replace(
    holds=lambda block, target: block.state is not State.ONLINE or _is_online(block, target),
    certain=False,
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
