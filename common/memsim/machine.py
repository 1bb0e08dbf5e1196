"""A machine at boot: its blocks, and the properties of its kernel and hypervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = [
    "MAX_BLOCKS",
    "ONLINE_POLICIES",
    "ONLINE_WORDS",
    "TRANSITIONS",
    "ZONES",
    "Fault",
    "Group",
    "Machine",
]

ZONES: Final = ("none", "DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
TRANSITIONS: Final = ("offline", "online", "config", "deconfig")
ONLINE_WORDS: Final = ("online", "online_kernel", "online_movable")
ONLINE_POLICIES: Final = ("contig-zones", "auto-movable")

MAX_BLOCKS: Final = 1 << 24
"""The maximum of block numbers from a machine's first to its last block, holes included."""


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks `first` to `last`, both inclusive, that are equal at boot."""

    first: int
    last: int
    config: bool = True
    online: bool = True
    zone: str = "Normal"
    off_zones: tuple[str, ...] = ("Normal", "Movable")
    node: int = 0
    has_node: bool = True
    removable: bool = True
    memmap: bool = False
    straddles: tuple[str, ...] = ()
    """The zones that a block in zone `none` is in."""
    holes: bool = False
    """Whether the blocks have memory holes, so that they cannot be set offline (EINVAL)."""
    more_nodes: tuple[int, ...] = ()
    """Further nodes that the blocks are in. Such blocks cannot be set offline (EINVAL)."""

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that the blocks have links to, ascending."""
        return tuple(sorted((self.node, *self.more_nodes))) if self.has_node else ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A transition fails with `errno` (a name such as EBUSY), `times` times or (None) always."""

    errno: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine at boot; sizes in bytes, delays in seconds. Keys as in description.py."""

    block_size: int
    groups: tuple[Group, ...]
    firmware: bool = False
    memmap_param: str | None = None
    memmap_supported: bool = False
    valid_zones: bool = True
    contiguous_zones: bool = False
    movable_node: bool = False
    auto_online_blocks: str | None = "offline"
    online_policy: str | None = None
    auto_movable_ratio: int = 301
    auto_movable_numa_aware: bool = True
    assigned_by: Literal["config", "online"] | None = None
    hypervisor: int | None = None
    used: int = 0
    large_pages: bool = True
    increment: int | None = None
    probe: bool = False
    """Whether memory can be added by an address written to `probe` (CONFIG_ARCH_MEMORY_PROBE)."""
    faults: Mapping[str, Mapping[int, Fault]] = field(default_factory=dict)
    delays: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
