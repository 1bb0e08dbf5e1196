"""Devices that bring memory into a running machine, and their memory groups.

Facts: struct memory_group (include/linux/memory_hotplug.h); auto_movable_zone_for_pfn and
auto_movable_can_online_movable (mm/memory_hotplug.c); who makes which group:
acpi_memory_enable_device (drivers/acpi/acpi_memhotplug.c), dev_dax_kmem_probe (drivers/dax/kmem.c)
and virtio_mem_probe (drivers/virtio/virtio_mem.c), of Linux 6.18. A device keeps its number when
another goes, and the lowest one that is free is taken: ida_alloc in acpi_device_set_name
(drivers/acpi/scan.c) and register_virtio_device (drivers/virtio/virtio.c).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

__all__ = ["KINDS", "AutoMovableStats", "Device", "allowed_in_movable", "free_number"]

_NAMES: Final = {"dimm": "PNP0C80:{:02x}", "virtio-mem": "virtio{}", "cxl": "dax{}.0"}

KINDS: Final = tuple(_NAMES)
"""A DIMM of ACPI, a device of virtio-mem, memory of CXL as dax/kmem adds it."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its blocks, FIRST to LAST, both inclusive."""

    kind: str
    first: int
    last: int
    number: int
    """Among those of its kind, from 0. It stays as long as the device is there."""

    @property
    def name(self) -> str:
        """What the kernel calls it, such as dax0.0."""
        return _NAMES[self.kind].format(self.number)

    @property
    def whole(self) -> bool:
        """Whether it comes and goes as a whole. Its memory group is static, which means that all
        its blocks are to be in one zone; that of other devices is dynamic."""
        return self.kind != "virtio-mem"

    @property
    def blocks(self) -> range:
        """The numbers of its blocks, also of those that it has given back."""
        return range(self.first, self.last + 1)

    def __contains__(self, block: int) -> bool:
        return self.first <= block <= self.last

    def __len__(self) -> int:
        return self.last + 1 - self.first


def free_number(devices: Collection[Device], kind: str) -> int:
    """The lowest number that no device of a kind has."""
    taken = {one.number for one in devices if one.kind == kind}
    return next(number for number in count() if number not in taken)


@dataclass(frozen=True, slots=True)
class AutoMovableStats:
    """Numbers of online blocks, of a node, a machine or a device (struct auto_movable_stats)."""

    kernel: int
    """Outside of zone Movable; of a node or a machine, only those from boot."""
    movable: int


def allowed_in_movable(
    there: AutoMovableStats,
    others: Iterable[AutoMovableStats],
    own: AutoMovableStats | None,
    more: int,
    *,
    ratio: int,
    pages: int,
) -> bool:
    """Whether the policy auto-movable lets MORE blocks into zone Movable of THERE, a node or the
    machine (auto_movable_can_online_movable).

    OTHERS are the devices there with a dynamic group, without the one that is asked for, which is
    OWN: None if its group is static, or there is none. RATIO is in percent. A block has so many
    PAGES; the kernel counts whole ones.
    """
    required = taken = 0
    for device in others:
        required += max(device.movable * pages * 100 // ratio - device.kernel * pages, 0)
        taken += device.movable * pages
    early = there.kernel * pages
    if early <= required:
        return False
    early += (own.kernel * pages if own else 0) - required
    return (there.movable + more) * pages - taken <= early * ratio // 100
