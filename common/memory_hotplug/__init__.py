"""Read and drive the memory blocks of a Linux machine, real or simulated.

>>> import memory_hotplug
>>> for found in memory_hotplug.Machine.at("/").ranges():
...     print(f"{found.start:#x}-{found.end:#x}", found.block.status)
"""

from memory_hotplug.block import NUMA_NO_NODE, MemoryBlock, State, Zone
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import MemoryRange

__all__ = [
    "NUMA_NO_NODE",
    "Machine",
    "MemoryBlock",
    "MemoryHotplugError",
    "MemoryRange",
    "State",
    "Zone",
]
