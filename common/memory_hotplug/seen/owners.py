"""Which device brought a memory block, and the memory tier of a node.

* A DIMM: its ACPI device has a link to each of its blocks (drivers/acpi/acpi_memhotplug.c,
  acpi_bind_memory_blocks; drivers/acpi/glue.c, acpi_bind_one).
* Memory that a driver adds has a name of its own in /proc/iomem, "System RAM (virtio_mem)" or
  "System RAM (kmem)", and is in the region of its device (mm/memory_hotplug.c,
  add_memory_driver_managed; drivers/virtio/virtio_mem.c; drivers/dax/kmem.c).

Memory that was there at boot, and standby memory of s390, has no device.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping

from memory_hotplug.attribute import ACPI, TABLE, TIERS
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.seen.iomem import read_iomem
from memory_hotplug.trees.files import Tree

__all__ = ["Owners", "node_list", "owners_of", "tiers"]

# Without regular expressions: to make these four takes as long as to set two blocks offline.
_DIGITS = frozenset("0123456789")
_HEXADECIMAL = _DIGITS.union("abcdef")
_TIER = r"memory_tier(\d{1,9})"
_NODES = rb"(\d{1,4})(?:-(\d{1,4}))?"
"""A part of a list of nodes; no kernel has more than 1024 (CONFIG_NODES_SHIFT)."""


class Owners(NamedTuple):
    """The devices that brought blocks into a machine."""

    devices: Mapping[int, str]
    """Block number -> name of the device, such as PNP0C80:00, virtio0 or dax0.0."""
    known: bool
    """Whether the machine, or its tree, tells this user the devices of virtio-mem and dax."""

    @property
    def names(self) -> list[str]:
        """The devices, each once, by name."""
        return sorted(set(self.devices.values()))

    def parts(self, numbers: Iterable[int]) -> dict[str, list[int]]:
        """Device, by name -> those of the blocks NUMBERS that it brought, in their order."""
        found: dict[str, list[int]] = {name: [] for name in self.names}
        for number in numbers:
            if name := self.devices.get(number):
                found[name].append(number)
        return found


def owners_of(machine: Machine, numbers: Collection[int]) -> Owners:
    """The devices of the blocks NUMBERS of a machine."""
    regions = read_iomem(machine.tree)
    wanted, size = sorted(numbers), machine.block_size
    devices = {number: device for number, device in _dimms(machine.tree) if number in numbers}
    for region in regions:
        if len(region.names) > 1 and _is_driver_managed(region.name):
            first = bisect_left(wanted, region.start // size)
            after = bisect_right(wanted, region.end // size)
            devices |= dict.fromkeys(wanted[first:after], region.names[-2])
    return Owners(devices, known=bool(regions))


def _dimms(tree: Tree) -> Iterator[tuple[int, str]]:
    """The blocks of ACPI memory devices."""
    parse = TABLE["phys_index"].parse
    for device in filter(_is_acpi_memory, _names(tree, ACPI)):
        for name in filter(_is_link_to_block, _names(tree, f"{ACPI}/{device}")):
            try:
                number = parse(tree.read(f"{ACPI}/{device}/{name}/phys_index"))
            except OSError:
                continue  # it disappeared
            if number is not None:
                yield number, device


def _is_acpi_memory(name: str) -> bool:
    """Whether that is the name of an ACPI memory device, such as PNP0C80:00 (ACPI 6.5, 9.11)."""
    number = name.removeprefix("PNP0C80:")
    return number != name and 2 <= len(number) <= 8 and _HEXADECIMAL.issuperset(number)


def _is_link_to_block(name: str) -> bool:
    number = name.removeprefix("physical_node")
    return number != name and len(number) <= 9 and _DIGITS.issuperset(number)


def _is_driver_managed(name: str) -> bool:
    driver = name.removeprefix("System RAM (")
    return driver != name and len(driver) > 1 and driver.endswith(")")


def tiers(tree: Tree) -> dict[int, int]:
    """Node -> number of its memory tier; the lower, the faster. Empty before Linux 6.1.

    mm/memory-tiers.c; Documentation/ABI/testing/sysfs-kernel-mm-memory-tiers.
    """
    found: dict[int, int] = {}
    for name in _names(tree, TIERS):
        if tier := re.fullmatch(_TIER, name, re.ASCII):
            try:
                text = tree.read(f"{TIERS}/{name}/nodelist")
            except OSError:
                continue
            found |= dict.fromkeys(node_list(text), int(tier[1]))
    return found


def node_list(text: bytes) -> set[int]:
    """The numbers in a list of nodes, such as 0-1,4 (lib/bitmap.c, bitmap_print_to_pagebuf)."""
    found: set[int] = set()
    for each in text.strip().split(b","):
        if part := re.fullmatch(_NODES, each):
            found.update(range(int(part[1]), int(part[2] or part[1]) + 1))
    return found


def _names(tree: Tree, directory: str) -> list[str]:
    try:
        return sorted(tree.names(directory))
    except OSError:
        return []
