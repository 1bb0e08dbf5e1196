"""How much memory is in use, of a machine and of its nodes, and how much can be taken away.

The kernel says it in /proc/meminfo (fs/proc/meminfo.c, mm/show_mem.c) and in each node's meminfo
(drivers/base/node.c). For a tree without these files nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from memory_hotplug.attribute import NODE
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.files import Tree

__all__ = ["MEMINFO", "NodeUsage", "Usage", "corrupted", "usage"]

MEMINFO = "proc/meminfo"
MIN_FREE = "proc/sys/vm/min_free_kbytes"
"""What the min watermarks of all zones come to (mm/page_alloc.c, __setup_per_zone_wmarks)."""

_TOTAL, _AVAILABLE, _CORRUPTED = b"\nMemTotal:", b"\nMemAvailable:", b"\nHardwareCorrupted:"
"""What lines of meminfo begin with."""
_OF_NODE = b" MemTotal:"
"""What a line of a node's meminfo has after the number of the node."""
_FREE = (b" MemFree:", b" Active(file):", b" Inactive(file):", b" SReclaimable:")
"""What of a node is free or could be given back, as the kernel counts for MemAvailable
(mm/show_mem.c, si_mem_available)."""
_DIGITS = 15
"""A number with more is no size."""
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


def usage(machine: Machine, *, by_node: bool = True) -> Usage | None:
    """The memory that is in use on a machine, and unless BY_NODE is false on its nodes; None if its
    tree does not say it."""
    tree = machine.tree
    text = _text(tree, MEMINFO)
    total, available = _size(text, _TOTAL), _size(text, _AVAILABLE)
    if total is None or available is None:
        return None
    nodes = {}
    for node in machine.nodes if by_node else ():
        of_node = _text(tree, f"{NODE}/node{node}/meminfo")
        whole, free = _size(of_node, _OF_NODE), [_size(of_node, name) for name in _FREE]
        if whole is not None and free[0] is not None:
            nodes[node] = NodeUsage(whole, sum(filter(None, free)))
    return Usage(total, available, _min_free(tree), nodes, _size(text, _CORRUPTED) or 0)


def corrupted(tree: Tree) -> int | None:
    """The size of all pages that are poisoned, also those of offline blocks, in bytes
    (num_poisoned_pages, mm/memory-failure.c); None if the tree does not say it."""
    return _size(_text(tree, MEMINFO), _CORRUPTED)


def _text(tree: Tree, path: str) -> bytes:
    """A meminfo, with a newline before each line; empty if it cannot be read."""
    try:
        return b"\n" + tree.read(path)
    except OSError:
        return b""


# Before each block that is set offline it is looked for three of some fifty lines: a regular
# expression for all of them took as long as the kernel did.
def _size(text: bytes, mark: bytes) -> int | None:
    """The bytes that a meminfo has after MARK; None without it."""
    start = text.find(mark)
    end = text.find(b" kB", start)
    number = text[start + len(mark) : end].strip(b" ")
    if min(start, end) < 0 or not number.isdigit() or len(number) > _DIGITS:
        return None
    return int(number) << 10


def _min_free(tree: Tree) -> int:
    try:
        text = tree.read(MIN_FREE).strip()
    except OSError:
        return 0
    return int(text) << 10 if text.isdigit() and len(text) <= _DIGITS else 0
