"""Memory tiers: which node is in which, below /sys/devices/virtual/memory_tiering.

Facts: mm/memory-tiers.c and include/linux/memory-tiers.h. A node with online memory is in a tier,
by the type that it got first: DRAM (MEMTIER_ADISTANCE_DRAM, 576), or that of a dax device
(MEMTIER_DEFAULT_DAX_ADISTANCE, 2880, drivers/dax/kmem.c). A tier spans 128 (MEMTIER_CHUNK_BITS).

Not modelled: a node to which a DIMM comes before a dax device has the type of the DIMM.
"""

from __future__ import annotations

from typing import Final

from memsim.attributes import nodes_with_memory, number_list
from memsim.kernel import Kernel

__all__ = ["TIERS", "tier_files"]

TIERS: Final = "sys/devices/virtual/memory_tiering"

_CHUNK_BITS: Final = 7
_DRAM, _DAX = 576 >> _CHUNK_BITS, 2880 >> _CHUNK_BITS


def tier_files(kernel: Kernel) -> dict[str, str]:
    """Each file below TIERS, and its text without a newline at its end."""
    machine = kernel.machine
    if not machine.since(6, 1):
        return {}
    dax = {kernel.blocks.group(one.first).node for one in kernel.state.devices if one.kind == "cxl"}
    slow = dax - machine.nodes_at_boot
    tiers: dict[int, list[int]] = {}
    for node in nodes_with_memory(kernel):
        tiers.setdefault(_DAX if node in slow else _DRAM, []).append(node)
    return {
        f"{TIERS}/memory_tier{tier}/nodelist": number_list(nodes) for tier, nodes in tiers.items()
    }
