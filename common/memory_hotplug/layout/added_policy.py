"""What becomes of memory that is added: by the kernel's settings, and by udev rules."""

from typing import NamedTuple

from memory_hotplug.block import Zone, zone_of
from memory_hotplug.layout.kernel_default import KernelDefault, default_on
from memory_hotplug.layout.settings import present
from memory_hotplug.machine import Machine
from memory_hotplug.udev.added import AddedMemory, OnlineRule, added_memory

__all__ = ["AddedPolicy", "policy_on"]

MOVABLE_AT_MOST = 4
"""Up to so many times the memory of the other zones is safe in zone Movable
(Documentation/admin-guide/mm/memory-hotplug.rst)."""


class AddedPolicy(NamedTuple):
    """What says what becomes of memory that is added."""

    settings: dict[str, str]
    """Key of a layout's policy -> value; only those that the kernel has."""
    added: AddedMemory
    """What udev rules make of memory that the kernel leaves offline."""
    movable: int
    """Bytes online in zone Movable."""
    others: int
    """Bytes online in other zones."""
    at_start: KernelDefault | None = None
    """What auto_online_blocks was when the kernel started; None if that is not known."""

    @property
    def by_kernel(self) -> str | None:
        """The word by which the kernel itself sets added memory online."""
        word = self.settings.get("auto_online", "offline")
        return None if word == "offline" else word

    @property
    def by_rules(self) -> tuple[OnlineRule, ...]:
        """The rules that are sure to set added memory online: one, or one of several."""
        return () if self.by_kernel or not self.added.certain else self.added.by

    @property
    def too_late(self) -> bool:
        """Whether auto_online_blocks was set after the start, so that memory which a driver added
        before was not treated by it."""
        now = self.settings.get("auto_online")
        return self.at_start is not None and now is not None and now != self.at_start.word

    @property
    def too_movable(self) -> bool:
        return self.movable > MOVABLE_AT_MOST * self.others


def policy_on(machine: Machine) -> AddedPolicy:
    """Raises the errors of Machine, and OSError if a rule cannot be read."""
    table = machine.read(("state", "zones"))
    zones = [zone_of(block) for block in table.blocks()]
    movable = zones.count(Zone.MOVABLE) * table.block_size
    others = table.total(online=True) - movable
    tree = machine.tree
    return AddedPolicy(present(machine), added_memory(tree), movable, others, default_on(tree))
