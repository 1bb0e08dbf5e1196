"""The condition of a memory block as an order asks for it, and as JSON documents have it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Condition", "condition_of", "parse_condition", "settled_condition"]


class Condition(Enum):
    """What a block can be asked to be."""

    ONLINE = "online"
    OFFLINE = "offline"
    """Configured, where memory can be configured."""
    DECONFIGURED = "deconfigured"


def condition_of(block: MemoryBlock) -> dict[str, Any]:
    """The condition of a block for a JSON document: its state, zone, configured and
    memmap_on_memory. The zone is that of an online block."""
    zone = zone_of(block)
    return {
        "state": block.state.value,
        "zone": zone.value if zone else None,
        "configured": block.configured,
        "memmap_on_memory": block.memmap_on_memory,
    }


def settled_condition(block: MemoryBlock) -> dict[str, Any]:
    """The condition to which a block is brought back. One that is just going offline was online."""
    if block.state not in (State.ONLINE, State.OFFLINE):
        block = block._replace(state=State.ONLINE, zones=None)
    return condition_of(block)


def parse_condition(number: int, found: Mapping[str, Any]) -> MemoryBlock:
    """Block NUMBER, online or offline, in the condition FOUND, which `condition_of` has made.
    Raises ValueError for what it never makes."""
    if type(number) is not int or not 0 <= number < 1 << 60:
        raise ValueError("no number of a block")
    state, zone = found.get("state"), found.get("zone")
    configured, memmap = found.get("configured"), found.get("memmap_on_memory")
    online = state == "online"
    if not (
        (online or state == "offline")
        and isinstance(configured, bool | None)
        and isinstance(memmap, bool | None)
        and not (online and configured is False)
        and (zone is None or (online and isinstance(zone, str)))
    ):
        raise ValueError("no condition of a block")
    zones = None if zone is None else (Zone.named(zone),)
    return MemoryBlock(
        number, State(state), zones=zones, configured=configured, memmap_on_memory=memmap
    )
