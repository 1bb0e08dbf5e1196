"""Memory that came and made no block, by what the kernel log says.

Where Linux says so: check_hotplug_memory_range (mm/memory_hotplug.c),
drivers/acpi/acpi_memhotplug.c, drivers/dax/kmem.c, drivers/hv/hv_balloon.c, drivers/xen/balloon.c,
arch/powerpc/platforms/pseries/hotplug-memory.c and drivers/s390/char/sclp_mem.c.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from memory_hotplug.machine import Machine
from memory_hotplug.seen.kernel_log import log_of

__all__ = ["NotAdded", "not_added", "not_added_on"]

_UNALIGNED = re.compile(
    r"Block size \[(0x[0-9a-f]{1,16})\] unaligned hotplug range: "
    r"start (0x[0-9a-f]{1,16}), size (0x[0-9a-f]{1,16})"
)
_OTHERS = re.compile(
    "|".join(
        (
            r"\badd_memory failed",
            r"acpi_memory_enable_device\(\) error",
            r"\bmemory add failed",
            r"rejecting DAX region",
            r"Memory hot[- ]add failed",
            r"hot_add memory failed",
            r"Cannot add additional memory",
            r"sclp_mem: assign storage failed \(cmd=0x0{0,4}d0001\b",
            r"Standby memory at 0x[0-9a-f]{1,16} \((\d+)M of (?!\1M)\d+M usable\)",
        )
    )
)
"""The command is SCLP_CMDW_ASSIGN_STORAGE (drivers/s390/char/sclp_mem.c)."""


class NotAdded(NamedTuple):
    """A line of the log about memory that was not added."""

    line: str
    fits: tuple[int, int] | None = None
    """The first byte and the size of the part that would have made whole blocks."""


def not_added(lines: Iterable[str]) -> list[NotAdded]:
    """What LINES say, the earliest first, each once."""
    found: dict[str, NotAdded] = {}
    for line in lines:
        if unaligned := _UNALIGNED.search(line):
            found[line] = NotAdded(line, _fitting(*(int(part, 16) for part in unaligned.groups())))
        elif _OTHERS.search(line):
            found[line] = NotAdded(line)
    return list(found.values())


def _fitting(block_size: int, start: int, size: int) -> tuple[int, int] | None:
    if not block_size:
        return None
    first = -(-start // block_size) * block_size
    fitting = (start + size) // block_size * block_size - first
    return (first, fitting) if fitting > 0 else None


def not_added_on(machine: Machine) -> list[NotAdded]:
    """What the log of this machine, or of a simulated one, says of memory that was not added."""
    return not_added(log_of(machine))
