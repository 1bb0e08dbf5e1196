"""The zone in which a block is set online (mm/memory_hotplug.c of Linux 6.18)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from memsim.kernel.blocks import EARLY, IN_ZONE, Blocks
from memsim.kernel.devices import AutoMovableStats, Device, allowed_in_movable
from memsim.kernel.state import KernelState
from memsim.machine import ZONES, Machine

__all__ = [
    "DEVICE",
    "DMA",
    "DMA32",
    "HIGHMEM",
    "KERNEL_ZONES",
    "MOVABLE",
    "NONE",
    "NORMAL",
    "NOT_MOVABLE",
    "Rules",
    "ZoneSpan",
    "Zones",
]

NONE, DMA, DMA32, NORMAL, HIGHMEM, MOVABLE, DEVICE = range(IN_ZONE, IN_ZONE + len(ZONES))
"""The codes for an online block of each zone; see blocks.py."""

KERNEL_ZONES: Final = (NONE, DMA, DMA32, NORMAL)
"""A node with memory in one of these zones has normal memory (N_NORMAL_MEMORY)."""

NOT_MOVABLE: Final = bytes(zone for zone in range(NONE, DEVICE + 1) if zone != MOVABLE)

ZoneSpan = tuple[int, int]
"""The lowest and the highest block of a zone, both inclusive."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for the zones of a node's offline blocks."""

    spans: tuple[tuple[int, ZoneSpan], ...]
    auto: bool | None
    """Whether the policy auto-movable takes Movable; None without this policy."""
    movable_node: bool
    auto_of: tuple[tuple[Device, bool], ...] = ()
    """What is so for the blocks of a device, in place of `auto`."""

    def meets(self, zone: int, block: int) -> bool:
        return any(z == zone and low <= block <= high for z, (low, high) in self.spans)

    def kernel_zone(self, block: int) -> int:
        """The zone of `online_kernel` (default_kernel_zone_for_pfn)."""
        return next((zone for zone in (DMA, DMA32) if self.meets(zone, block)), NORMAL)

    def default_zone(self, block: int) -> int:
        """The zone of `online` (zone_for_pfn_range, default_zone_for_pfn)."""
        kernel_zone = self.kernel_zone(block)
        if self.auto is not None:
            auto = next((auto for device, auto in self.auto_of if block in device), self.auto)
            return MOVABLE if auto else kernel_zone
        in_kernel, in_movable = self.meets(kernel_zone, block), self.meets(MOVABLE, block)
        if in_kernel != in_movable:
            return kernel_zone if in_kernel else MOVABLE
        return MOVABLE if self.movable_node else kernel_zone

    def valid_zones(self, block: int) -> tuple[int, ...]:
        """The zones in which an offline block can be set online; first the zone of `online`."""
        zones = (self.default_zone(block), self.kernel_zone(block), MOVABLE)
        return tuple(dict.fromkeys(zones))


class Zones:
    """The zones of a machine's nodes, counted from its blocks and kept up to date.

    `online` is the number of online blocks of each node and zone. `spans` go from the lowest to the
    highest online block of a zone of a node.
    """

    __slots__ = (
        "_areas",
        "_blocks",
        "_early",
        "_machine",
        "_state",
        "_straddling",
        "online",
        "spans",
    )

    def __init__(self, machine: Machine, blocks: Blocks, state: KernelState) -> None:
        self._machine, self._blocks, self._state = machine, blocks, state
        self._straddling = [
            (node, IN_ZONE + ZONES.index(zone), (group.first, group.last))
            for group in machine.groups
            for node in (group.node, *group.more_nodes)
            for zone in group.straddles
        ]
        self.online: dict[tuple[int, int], int] = {}
        self.spans: dict[tuple[int, int], ZoneSpan] = {}
        self._areas = list(_areas(machine))
        self._early: dict[int, int] | None = None
        for node, first, last in self._areas:
            self._count(node, first, last)
        for node, zone, span in self._straddling:
            self._widen((node, zone), span)

    def _count(self, node: int, first: int, last: int) -> None:
        for zone in range(NONE, DEVICE + 1):
            low = self._blocks.find(zone, first, last)
            if low is None:
                continue
            high = self._blocks.find_last(zone, low, last) or low
            key = (node, zone)
            self.online[key] = self.online.get(key, 0) + self._blocks.count(zone, low, high)
            self._widen(key, (low, high))

    @property
    def nodes(self) -> frozenset[int]:
        """The nodes that have blocks or may get some."""
        return frozenset(node for node, _first, _last in self._areas)

    @property
    def early(self) -> dict[int, int]:
        """Node -> the number of blocks from boot that are online outside of zone Movable."""
        if self._early is None:
            self._early = dict.fromkeys(self.nodes, 0)
            for node, first, last in self._areas:
                self._early[node] += self._blocks.count_flagged(EARLY, NOT_MOVABLE, first, last)
        return self._early

    def choose(self, block: int, word: str) -> int:
        """The zone in which WORD (online, online_kernel, online_movable) sets an offline block."""
        if word == "online_movable":
            return MOVABLE
        group = self._blocks.group(block)
        if self._machine.contiguous_zones:
            rules = self.rules(group.node)
            kernel_only = word == "online_kernel"
            return rules.kernel_zone(block) if kernel_only else rules.default_zone(block)
        if word == "online_kernel":
            return NORMAL
        return IN_ZONE + ZONES.index(group.off_zones[0])

    def valid(self, block: int) -> tuple[str, ...]:
        """The words of valid_zones of a present block (valid_zones_show, drivers/base/memory.c)."""
        place, group = self._blocks.at(block), self._blocks.group(block)
        if place >= IN_ZONE:
            return (ZONES[place - IN_ZONE],)
        if self._machine.contiguous_zones:
            zones = self.rules(group.node).valid_zones(block)
            return tuple(ZONES[zone - IN_ZONE] for zone in zones)
        return group.off_zones

    def rules(self, node: int) -> Rules:
        """The rules for the zones of a node's offline blocks."""
        spans = tuple((zone, span) for (of, zone), span in self.spans.items() if of == node)
        if self._state.online_policy != "auto-movable":
            return Rules(spans, None, self._machine.movable_node)
        auto_of = tuple(
            (device, self._may_be_movable(node, device))
            for device in self._state.devices
            if self.node_of(device) == node
        )
        return Rules(spans, self._may_be_movable(node), self._machine.movable_node, auto_of)

    def node_of(self, device: Device) -> int:
        """The node that a device's blocks are on."""
        return self._blocks.group(device.first).node

    def _may_be_movable(self, node: int, device: Device | None = None) -> bool:
        """Whether the policy auto-movable sets one more block online in zone Movable, of a device
        or of none (auto_movable_zone_for_pfn).

        Movable memory, with this block or all of its device, must not be more than
        auto_movable_ratio percent of the boot memory in kernel zones, on the machine and, with
        auto_movable_numa_aware, on the node.
        """
        ratio = self._state.auto_movable_ratio
        if not ratio:
            return False
        more, own = 1, None
        if device:
            own = self._stats_of(device)
            if device.whole:
                if own.kernel:
                    return False
                more, own = len(device) - own.movable, None
        nodes = self.nodes
        return all(
            allowed_in_movable(
                AutoMovableStats(
                    sum(self.early.get(of, 0) for of in among),
                    sum(self.online.get((of, MOVABLE), 0) for of in among),
                ),
                (
                    self._stats_of(other)
                    for other in self._state.devices
                    if not other.whole and other != device and self.node_of(other) in among
                ),
                own,
                more,
                ratio=ratio,
                pages=self._machine.block_size // self._machine.page_size,
            )
            for among in ([nodes, {node}] if self._state.auto_movable_numa_aware else [nodes])
        )

    def _stats_of(self, device: Device) -> AutoMovableStats:
        first, last = device.first, device.last
        movable = self._blocks.count(MOVABLE, first, last)
        online = sum(self._blocks.count(zone, first, last) for zone in range(NONE, DEVICE + 1))
        return AutoMovableStats(online - movable, movable)

    def enter(self, block: int, zone: int) -> None:
        """Count a block that was set online (move_pfn_range_to_zone)."""
        key = (self._blocks.group(block).node, zone)
        self._blocks.put(block, zone)
        self.online[key] = self.online.get(key, 0) + 1
        self._widen(key, (block, block))
        self._count_early(block, zone, 1)

    def leave(self, block: int, place: int) -> None:
        """Discount a block that was set offline (remove_pfn_range_from_zone)."""
        zone = self._blocks.at(block)
        key = (self._blocks.group(block).node, zone)
        self._blocks.put(block, place)
        self.online[key] -= 1
        self._narrow(key, block)
        self._count_early(block, zone, -1)

    def _count_early(self, block: int, zone: int, by: int) -> None:
        if self._early and zone != MOVABLE and self._blocks.flag(block, EARLY):
            self._early[self._blocks.group(block).node] += by

    def _widen(self, key: tuple[int, int], span: ZoneSpan) -> None:
        low, high = self.spans.get(key, span)
        self.spans[key] = (min(low, span[0]), max(high, span[1]))

    def _narrow(self, key: tuple[int, int], block: int) -> None:
        """Shrink the span of a zone after its lowest or highest block left (shrink_zone_span)."""
        if block not in self.spans[key]:
            return
        ends = [end for *of, span in self._straddling if tuple(of) == key for end in span]
        ends += self._outermost(key)
        if ends:
            self.spans[key] = (min(ends), max(ends))
        else:
            del self.spans[key]

    def _outermost(self, key: tuple[int, int]) -> Iterator[int]:
        """The lowest and the highest online block of a zone of a node, searched from both ends."""
        node, zone = key
        low, high = self.spans[key]
        lowest = self._blocks.find(zone, low, high)
        while lowest is not None and self._blocks.group(lowest).node != node:
            lowest = self._blocks.find(zone, lowest + 1, high)
        if lowest is None:
            return
        highest = self._blocks.find_last(zone, lowest, high)
        while highest is not None and self._blocks.group(highest).node != node:
            highest = self._blocks.find_last(zone, lowest, highest - 1)
        yield from (lowest, lowest if highest is None else highest)


def _areas(machine: Machine) -> Iterator[tuple[int, int, int]]:
    """For each run of neighbouring groups on one node: the node, its first and its last block."""
    first, before = machine.groups[0].first, machine.groups[0]
    for group in machine.groups[1:]:
        if group.node != before.node:
            yield before.node, first, before.last
            first = group.first
        before = group
    yield before.node, first, before.last
