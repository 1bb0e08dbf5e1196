"""A memory block and what the kernel says of it."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NoReturn


class State(Enum):
    """memoryN/state (drivers/base/memory.c, state_show)."""

    ONLINE = "online"
    OFFLINE = "offline"
    GOING_OFFLINE = "going-offline"
    UNKNOWN = "unknown"
    """Anything the kernel never writes, or a state that cannot be read."""


class Zone(Enum):
    """A word of memoryN/valid_zones (mm/page_alloc.c, zone_names; drivers/base/memory.c)."""

    DMA = "DMA"
    DMA32 = "DMA32"
    NORMAL = "Normal"
    HIGHMEM = "Highmem"
    MOVABLE = "Movable"
    DEVICE = "Device"
    NONE = "None"
    """The block spans several zones; it cannot be set offline."""
    UNKNOWN = "Unknown"

    @classmethod
    def named(cls, name: str) -> "Zone":
        """The zone of that name in any case; UNKNOWN for other names."""
        return _ZONES.get(name.lower(), cls.UNKNOWN)


_ZONES = {zone.value.lower(): zone for zone in Zone}

NUMA_NO_NODE = -1
"""The node of a block that links to none on a machine with nodes (include/linux/numa.h)."""

DISABLED = "disabled"
"""The status of memory that is not configured."""


class NotRead(Enum):
    """The value of an attribute that was not read; to take it for yes or no is an error."""

    NOT_READ = "not read"

    def __bool__(self) -> NoReturn:
        raise TypeError("an attribute that was not read is neither true nor false")

    def __repr__(self) -> str:
        return self.name


NOT_READ: Final[Any] = NotRead.NOT_READ
"""Of type Any, so that who has read an attribute need not ask whether it was."""


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """One memory block. An attribute that was not read is NOT_READ; None means that nothing tells
    it, or that the machine has no such thing."""

    number: int
    """memoryN covers the bytes [N * block size, (N + 1) * block size)."""
    state: State = NOT_READ
    """OFFLINE for a block that is not configured."""
    removable: bool | None = NOT_READ
    """True only where the kernel says 1; None for a block that is not configured."""
    node: int | None = NOT_READ
    """The lowest node the block links to, or NUMA_NO_NODE; None on a machine without nodes and
    for a block that is not configured."""
    zones: tuple[Zone, ...] | None = NOT_READ
    """Online: the zone the block is in. Offline: the zones it may go to, the first being what
    plain ``online`` would choose. None where the kernel has no valid_zones."""
    configured: bool | None = NOT_READ
    """None on a machine whose memory needs no configuring."""
    memmap_on_memory: bool | None = NOT_READ
    """Whether the block's struct pages live, or will live, in the block itself."""
    phys_device: int | None = NOT_READ

    @property
    def status(self) -> str | None:
        """The state, or ``disabled`` for a block that is not configured."""
        if self.configured is False:
            return DISABLED
        return None if self.state is NOT_READ else self.state.value
