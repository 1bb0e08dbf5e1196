"""How much memory is in use, of a machine and of its nodes, and how much can be taken away.

The kernel says it in /proc/meminfo (fs/proc/meminfo.c, mm/show_mem.c) and in each node's meminfo
(drivers/base/node.c). For a tree without these files nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from memory_hotplug.attribute import NODE
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.files import Tree

__all__ = ["MEMINFO", "NodeUsage", "Usage", "corrupted", "usage"]

MEMINFO = "proc/meminfo"
MIN_FREE = "proc/sys/vm/min_free_kbytes"
"""What the min watermarks of all zones come to (mm/page_alloc.c, __setup_per_zone_wmarks)."""

# It begins at a word and has limits, so that no text takes long.
_LINE = re.compile(rb"(?:Node \d{1,9} )?\b(\w{1,40}(?:\(\w{1,10}\))?): {1,40}(\d{1,15}) kB")
_FREE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
"""What of a node is free or could be given back, as the kernel counts for MemAvailable
(mm/show_mem.c, si_mem_available)."""
_KEPT = 20
"""Without another wish, one part in so many of the memory that remains is to stay free."""


class NodeUsage(NamedTuple):
    """The memory of a node, in bytes."""

    total: int
    free: int
    """What is free, and what the page cache and the kernel could give back."""


class Usage(NamedTuple):
    """The memory of a machine, in bytes."""

    total: int
    """The online memory, without what the kernel reserved at boot."""
    available: int
    """The kernel's estimate of what new programs can have without swapping (MemAvailable)."""
    min_free: int
    """What the kernel keeps free for itself (the zones' min watermarks)."""
    nodes: Mapping[int, NodeUsage]
    """Empty without NUMA."""
    corrupted: int = 0
    """The pages that are poisoned (HardwareCorrupted)."""

    @property
    def used(self) -> int:
        """What is in use, huge pages that are set aside included."""
        return self.total - self.available

    @property
    def used_by_node(self) -> dict[int, int]:
        """How the nodes share `used`: each has a part by what of it is not free. The kernel tells
        what is available of the whole machine only."""
        parts = {node: max(there.total - there.free, 0) for node, there in self.nodes.items()}
        whole = max(sum(parts.values()), 1)
        return {node: self.used * part // whole for node, part in parts.items()}

    def most_to_take(self, keep_free: int | None = None) -> int:
        """How many bytes can be taken away, so that KEEP_FREE bytes remain available.

        By default the kernel's min watermarks and 5 % of what remains are to be available.
        """
        if keep_free is not None:
            return max(self.available - keep_free, 0)
        rest = self.available - self.min_free - self.total // _KEPT
        # Of what is taken, nothing has to be kept.
        return max(rest * _KEPT // (_KEPT - 1), 0)


def usage(machine: Machine) -> Usage | None:
    """The memory that is in use on a machine; None if its tree does not say it."""
    tree = machine.tree
    found = _read(tree, MEMINFO)
    if "MemTotal" not in found or "MemAvailable" not in found:
        return None
    nodes = {}
    for node in machine.nodes:
        of_node = _read(tree, f"{NODE}/node{node}/meminfo")
        if "MemTotal" in of_node and "MemFree" in of_node:
            free = sum(of_node.get(name, 0) for name in _FREE)
            nodes[node] = NodeUsage(of_node["MemTotal"], free)
    corrupted = found.get("HardwareCorrupted", 0)
    return Usage(found["MemTotal"], found["MemAvailable"], _min_free(tree), nodes, corrupted)


def corrupted(tree: Tree) -> int | None:
    """The size of all pages that are poisoned, also those of offline blocks, in bytes
    (num_poisoned_pages, mm/memory-failure.c); None if the tree does not say it."""
    return _read(tree, MEMINFO).get("HardwareCorrupted")


def _read(tree: Tree, path: str) -> dict[str, int]:
    """The sizes in a meminfo: name -> bytes; none if it cannot be read."""
    try:
        text = tree.read(path)
    except OSError:
        return {}
    return {name.decode(): int(size) << 10 for name, size in _LINE.findall(text)}


def _min_free(tree: Tree) -> int:
    try:
        text = tree.read(MIN_FREE).strip()
    except OSError:
        return 0
    return int(text) << 10 if re.fullmatch(rb"\d{1,15}", text) else 0
