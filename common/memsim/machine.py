"""What machines are made of: blocks and their zones, a machine at boot, and what is live of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

MEMORY: Final = "sys/devices/system/memory"
NODE: Final = "sys/devices/system/node"
FIRMWARE: Final = "sys/firmware/memory"
PARAMETERS: Final = "sys/module/memory_hotplug/parameters"

ZONES: Final = ("none", "DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
TRANSITIONS: Final = ("offline", "online", "config", "deconfig")
ONLINE_WORDS: Final = ("online", "online_kernel", "online_movable")
ONLINE_POLICIES: Final = ("contig-zones", "auto-movable")

MAX_BLOCKS: Final = 1 << 24
"""Most block numbers between a machine's first and last block, holes included."""

STRUCT_PAGE_SHARE: Final = 64
"""One part in so many of a block holds its struct pages: 64 bytes for each page of 4 KiB."""

PAGE_SIZE: Final = 4096
"""Most bytes of one write that reach an attribute."""

# What is at a block number: nothing the machine could have, no memoryN directory, an offline
# block, or (from here on) an online block of the zone with that index in ZONES.
HOLE, ABSENT, OFFLINE, IN_ZONE = 255, 0, 1, 2
NONE, DMA, DMA32, NORMAL, HIGHMEM, MOVABLE, DEVICE = range(IN_ZONE, IN_ZONE + len(ZONES))

PLACES: Final = bytes([HOLE, ABSENT, OFFLINE, *range(IN_ZONE, IN_ZONE + len(ZONES))])

# Flags of a block: its memmap_on_memory, and whether it is there since boot.
MEMMAP, EARLY = 1, 2
FLAGS: Final = bytes(range((MEMMAP | EARLY) + 1))

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks `first` to `last`, both inclusive, that are alike at boot."""

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
    """The zones that a block in zone `none` lies in."""
    holes: bool = False
    """The blocks have memory holes, so they cannot be set offline (EINVAL)."""


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
    memmap_supported: bool = True
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
    increment: int | None = None
    faults: Mapping[str, Mapping[int, Fault]] = field(default_factory=dict)
    delays: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Live:
    """What a running kernel and its hypervisor know beyond the blocks themselves.

    Counts are of blocks; `online`, `spans` and `early` are by node and, the first two, by zone
    code; spans go from the lowest to the highest online block, both inclusive.
    """

    pool: int
    auto_online_blocks: str | None
    online_policy: str | None
    auto_movable_ratio: int
    auto_movable_numa_aware: bool
    own_memmap: int = 0
    outside_memmap: int = 0
    online: dict[tuple[int, int], int] = field(default_factory=dict)
    spans: dict[tuple[int, int], Span] = field(default_factory=dict)
    early: dict[int, int] = field(default_factory=dict)
    words: dict[int, str] = field(default_factory=dict)
    """By block: the word that a write to `state` left behind when the block was online already."""
    faults: dict[str, dict[int, Fault]] = field(default_factory=dict)
    delays: dict[str, dict[int, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `Live.from_json` is its inverse."""
        values = {name: getattr(self, name) for name in _PLAIN_LIVE}
        return values | {
            "online": [[*key, count] for key, count in self.online.items()],
            "spans": [[*key, *span] for key, span in self.spans.items()],
            "early": list(self.early.items()),
            "words": list(self.words.items()),
            "faults": {
                transition: {
                    str(block): list(asdict(fault).values()) for block, fault in of.items()
                }
                for transition, of in self.faults.items()
            },
            "delays": self.delays,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Live:
        """Raises KeyError, TypeError, AttributeError or ValueError for anything `to_json` cannot
        have written."""
        if not all(type(values[name]) is int for name in ("pool", "own_memmap", "outside_memmap")):
            raise TypeError("expected numbers")
        return Live(
            **{name: values[name] for name in _PLAIN_LIVE},
            online={(node, zone): count for node, zone, count in values["online"]},
            spans={(node, zone): (low, high) for node, zone, low, high in values["spans"]},
            early=dict(values["early"]),
            words=dict(values["words"]),
            faults={
                transition: {int(block): Fault(*fault) for block, fault in of.items()}
                for transition, of in values["faults"].items()
            },
            delays={
                transition: {int(block): float(seconds) for block, seconds in of.items()}
                for transition, of in values["delays"].items()
            },
        )


_PLAIN_LIVE: Final = (
    "pool",
    "auto_online_blocks",
    "online_policy",
    "auto_movable_ratio",
    "auto_movable_numa_aware",
    "own_memmap",
    "outside_memmap",
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides on the zones of a node's offline blocks; `auto` is None without the policy."""

    spans: tuple[tuple[int, Span], ...]
    auto: bool | None
    movable_node: bool

    def meets(self, zone: int, block: int) -> bool:
        return any(z == zone and low <= block <= high for z, (low, high) in self.spans)

    def kernel_zone(self, block: int) -> int:
        return next((zone for zone in (DMA, DMA32) if self.meets(zone, block)), NORMAL)

    def default_zone(self, block: int) -> int:
        """The zone that plain `online` chooses (mm/memory_hotplug.c, zone_for_pfn_range)."""
        kernel_zone = self.kernel_zone(block)
        if self.auto is not None:
            return MOVABLE if self.auto else kernel_zone
        in_kernel, in_movable = self.meets(kernel_zone, block), self.meets(MOVABLE, block)
        if in_kernel != in_movable:
            return kernel_zone if in_kernel else MOVABLE
        return MOVABLE if self.movable_node else kernel_zone

    def valid_zones(self, block: int) -> str:
        zones = (self.default_zone(block), self.kernel_zone(block), MOVABLE)
        return " ".join(dict.fromkeys(ZONES[zone - IN_ZONE] for zone in zones))
