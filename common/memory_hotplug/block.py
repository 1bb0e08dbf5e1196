"""A memory block, and the values of its attributes."""

from __future__ import annotations

from enum import Enum

from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, NoReturn

__all__ = [
    "DISABLED",
    "NOT_READ",
    "NUMA_NO_NODE",
    "MemoryBlock",
    "NotRead",
    "State",
    "Zone",
    "is_on",
    "lowest_node",
    "same_condition",
    "zone_of",
]


class State(Enum):
    """memoryN/state (drivers/base/memory.c, state_show)."""

    ONLINE = "online"
    OFFLINE = "offline"
    GOING_OFFLINE = "going-offline"
    UNKNOWN = "unknown"
    """A state that the kernel never writes, or that cannot be read."""


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
    def named(cls, name: str) -> Zone:
        """The zone with this name, in upper or lower case; UNKNOWN for other names."""
        return _ZONES.get(name.lower(), cls.UNKNOWN)


_ZONES = {zone.value.lower(): zone for zone in Zone}

NUMA_NO_NODE = -1
"""On a machine with nodes, the node of a block without a link to one (include/linux/numa.h)."""

DISABLED = "disabled"
"""The status of memory that is not configured."""


class NotRead(Enum):
    """The value of an attribute that was not read. bool() of it raises TypeError."""

    NOT_READ = "not read"

    def __bool__(self) -> NoReturn:
        raise TypeError("an attribute that was not read is neither true nor false")

    def __repr__(self) -> str:
        return self.name


NOT_READ: Final[Any] = NotRead.NOT_READ
"""The value of an attribute that was not read. bool() of it raises TypeError. Its type is Any, so
that code that has read an attribute need not check that it was read."""


# A named tuple because every start of lsmem makes the class, and a dataclass takes longer to make.
class MemoryBlock(NamedTuple):
    """A memory block. An attribute that was not read is NOT_READ; None means that it is not known,
    or that the machine does not have it."""

    number: int
    """memoryN covers the bytes [N * block size, (N + 1) * block size)."""
    state: State = NOT_READ
    """OFFLINE for a block that is not configured."""
    removable: bool | None = NOT_READ
    """False for a block that is not configured."""
    node: int | None = NOT_READ
    """The lowest node that the block has a link to, or NUMA_NO_NODE; None on a machine without
    nodes and for a block that is not configured."""
    nodes: tuple[int, ...] | None = NOT_READ
    """All nodes that the block has links to, ascending; None where ``node`` is None."""
    zones: tuple[Zone, ...] | None = NOT_READ
    """Of an online block, the zone it is in. Of an offline block, the zones it can be set online
    in; the first is the one that writing ``online`` chooses. None without valid_zones."""
    configured: bool | None = NOT_READ
    """None on a machine whose memory is never configured."""
    memmap_on_memory: bool | None = NOT_READ
    """Whether the block holds its own struct pages, or will once it is configured."""
    phys_device: int | None = NOT_READ
    """On s390, the increment of storage that the block begins in; elsewhere 0."""

    @property
    def status(self) -> str:
        """The state, or ``disabled`` for a block that is not configured.

        Raises TypeError if ``state`` or ``configured`` was not read.
        """
        if NOT_READ in (self.state, self.configured):
            raise TypeError("a status needs the state and whether the block is configured")
        return DISABLED if self.configured is False else self.state.value


def zone_of(block: MemoryBlock) -> Zone | None:
    """The zone that an online block is in; None if it is not online, or the zone is not known."""
    return block.zones[0] if block.state is State.ONLINE and block.zones else None


def lowest_node(nodes: tuple[int, ...] | None) -> int | None:
    """What stands for the nodes of a block in one number."""
    if nodes is None:
        return None
    return nodes[0] if nodes else NUMA_NO_NODE


def same_condition(one: MemoryBlock, other: MemoryBlock) -> bool:
    """Whether two blocks have the same state, configured and memmap_on_memory."""
    return (one.state, one.configured, one.memmap_on_memory) == (
        other.state,
        other.configured,
        other.memmap_on_memory,
    )


def is_on(block: MemoryBlock, node: int | None, nodes: Sequence[int]) -> bool:
    """Whether a block is on a node, be it on others as well, of a machine with NODES. A block that
    is not configured has no node yet; it counts if the machine has only this node."""
    if node is None or node in (block.nodes or ()):
        return True
    return block.configured is False and tuple(nodes) == (node,)
