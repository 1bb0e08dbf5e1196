"""Find the zones in which a block can be set online, from the spans of the zones of its node.

Facts: mm/memory_hotplug.c, zone_for_pfn_range and default_kernel_zone_for_pfn (since Linux 4.13).
The online policy ``auto-movable`` and the boot parameter ``movable_node`` are not considered.
"""

from bisect import bisect_left, insort

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import State, Zone
from memory_hotplug.table import BlockTable

__all__ = ["NEEDED", "Spans"]

NEEDED = (Attribute.STATE, Attribute.ZONES, Attribute.NODE)
"""The attributes that a table of blocks must have."""

_BEFORE_NORMAL = (Zone.DMA, Zone.DMA32)


class Spans:
    """The online blocks of each node and zone. A span goes from the lowest to the highest."""

    def __init__(self, table: BlockTable) -> None:
        columns = (table.columns[name] for name in NEEDED)
        self._nodes: dict[int, int | None] = {}
        """Block -> node; of a block that is not configured, that of the nearest block below it."""
        self._members: dict[tuple[int | None, Zone], list[int]] = {}
        for number, state, zones, node in zip(table.numbers, *columns, strict=True):
            self._nodes[number] = self._nodes.get(number - 1) if node is None else node
            if state is State.ONLINE and zones:
                self._members.setdefault((node, zones[0]), []).append(number)
        for node, zone in [*self._members]:
            if zone is Zone.NONE:
                self._widen(node)

    def _widen(self, node: int | None) -> None:
        """Have a block in several zones belong to the kernel's zones below and above it. Block 0 of
        an x86 machine is in DMA and DMA32: a block above it is in the span of DMA32 as long as
        another one above that is."""
        kernel = sorted(
            (number, zone)
            for zone in (*_BEFORE_NORMAL, Zone.NORMAL)
            for number in self._members.get((node, zone), ())
        )
        numbers = [number for number, _ in kernel]
        for number in self._members[node, Zone.NONE]:
            at = bisect_left(numbers, number)
            for zone in {zone for _, zone in kernel[max(at - 1, 0) : at + 1]}:
                insort(self._members[node, zone], number)

    def set_online(self, number: int, zone: Zone) -> None:
        """Add a block that was set online in ZONE."""
        insort(self._members.setdefault((self._nodes.get(number), zone), []), number)

    def set_offline(self, number: int) -> None:
        """Remove a block that was set offline."""
        for members in self._members.values():
            index = bisect_left(members, number)
            if members[index : index + 1] == [number]:
                del members[index]

    def valid_zones(self, number: int) -> tuple[Zone, ...]:
        """The zones in which the block can be set online; first the zone of ``online``."""
        kernel_zone = self._kernel_zone(number)
        in_kernel, in_movable = self._meets(number, kernel_zone), self._meets(number, Zone.MOVABLE)
        movable = in_movable and not in_kernel
        return (Zone.MOVABLE, kernel_zone) if movable else (kernel_zone, Zone.MOVABLE)

    def can_enter(self, number: int, zone: Zone) -> bool:
        """Whether the block can be set online in ZONE, after it was set offline if it is online. Of
        zone Highmem that is not known."""
        return zone in (Zone.MOVABLE, Zone.HIGHMEM, self._kernel_zone(number))

    def _kernel_zone(self, number: int) -> Zone:
        met = (zone for zone in _BEFORE_NORMAL if self._meets(number, zone))
        return next(met, Zone.NORMAL)

    def _meets(self, number: int, zone: Zone) -> bool:
        """Whether the block is in the span that a zone has without it."""
        members = self._members.get((self._nodes.get(number), zone), [])
        return len(members) > 1 and members[0] < number < members[-1]
