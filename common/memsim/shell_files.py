"""What other programs read beside a machine's memory blocks: devices, nodes and /proc/meminfo.

lscpu, numactl, lstopo, daxctl and free read these files, and `memsim shell` shows them. They are no
part of a machine's directory: most of them are the same on all machines, and the others are counted
anew at each read. The processors are this machine's, in equal shares for the nodes that have some.

Facts: drivers/base/node.c, drivers/base/core.c (uevent, subsystem), fs/proc/meminfo.c.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from memsim.addresses import ACPI, IOMEM, acpi_block, acpi_names, iomem
from memsim.attributes import number_list
from memsim.cxl import CXL_TREES, cxl_files
from memsim.dax import DAX_TREES, dax_files
from memsim.kernel import Kernel
from memsim.kernel.blocks import ONLINE
from memsim.kernel.parts import unplugged_online
from memsim.kernel.state import PAGE
from memsim.reader import Reader
from memsim.shown import Shown, at
from memsim.sysfs import NODE
from memsim.tiers import TIERS, tier_files

__all__ = ["AROUND", "KMSG", "MEMINFO", "ShellFiles", "corrupted", "meminfo"]

_BUSES: Final = ("sys/bus/memory/devices", "sys/bus/node/devices")
"""Directories that list all devices of a kind, relative to the root."""

AROUND: Final = (*_BUSES, ACPI, TIERS, *CXL_TREES, *DAX_TREES)
"""The directories below sys that are here, relative to the root."""

MEMINFO: Final = "proc/meminfo"
KMSG: Final = "dev/kmsg"

_LOCAL, _REMOTE = 10, 20
"""The distances of nodes (LOCAL_DISTANCE and REMOTE_DISTANCE, include/linux/topology.h)."""


@dataclass(frozen=True, slots=True)
class _Usage:
    """Memory of a node or a machine, in bytes; what is not free is in use."""

    total: int
    free: int

    def lines(self, prefix: str) -> str:
        """The lines of a meminfo that say how much there is and what it is used for."""
        used = self.total - self.free
        counts = {"MemTotal": self.total, "MemFree": self.free}
        counts |= {"MemUsed": used} if prefix else {"MemAvailable": self.free}
        counts |= dict.fromkeys(_CACHES if prefix else ("Buffers", *_CACHES), 0)
        counts |= {"Active": used, "Inactive": 0, "Active(anon)": used, "AnonPages": used}
        counts |= dict.fromkeys(_OTHERS if prefix else (*_OTHERS, "SwapTotal", "SwapFree"), 0)
        rows = [f"{prefix}{f'{name}:':<15} {size >> 10:>8} kB" for name, size in counts.items()]
        rows += [f"{prefix}HugePages_{name + ':':<5}     0" for name in ("Total", "Free", "Surp")]
        return "\n".join(rows)


_CACHES: Final = ("Cached", "SwapCached")
_OTHERS: Final = (
    *("Unevictable", "Mlocked", "Dirty", "Writeback", "Mapped", "Shmem", "KReclaimable"),
    *("Slab", "SReclaimable", "SUnreclaim", "KernelStack", "PageTables"),
)


def meminfo(kernel: Kernel, path: str) -> str | None:
    """The text of /proc/meminfo or of a node's meminfo; None for another path."""
    if path == MEMINFO:
        return f"{_usage(kernel).lines('')}\n{corrupted(kernel)}"
    match = _NODE_MEMINFO.fullmatch(path)
    if match is None or int(match["node"]) not in kernel.nodes:
        return None
    return _usage(kernel, int(match["node"])).lines(f"Node {match['node']} ")


def corrupted(kernel: Kernel) -> str:
    """The line of /proc/meminfo about poisoned pages."""
    size = len(kernel.state.poisoned) * PAGE >> 10
    return f"{'HardwareCorrupted:':<16} {size:>7} kB"


def _kmsg(kernel: Kernel) -> str:
    """The log as records, each with its level, number and time (Documentation/ABI/testing/
    dev-kmsg). The simulated kernel has no clock."""
    return "\n".join(f"6,{at},0,-;{line}" for at, line in enumerate(kernel.state.log))


class ShellFiles:
    """The files around a machine."""

    def __init__(self, machine: Reader) -> None:
        self._machine = machine
        self._processors = _processors()

    def names(self, directory: str) -> Sequence[str]:
        """The further names in a directory that the machine itself has."""
        for pattern, names in _FURTHER:
            if pattern.fullmatch(directory):
                return names
        return ()

    def find(self, path: str) -> Shown | None:
        """What is shown at a path that the machine itself does not have; None for nothing.

        Raises what Reader raises.
        """
        name = path[path.rfind("/") + 1 :]
        if name not in _NAMES and not path.startswith(_ELSEWHERE):
            # As for nearly all requests: the machine's own files.
            return None
        if path in _SKELETON:
            there = self._machine.sysfs.is_dir(path)
            return None if there else Shown(names=_SKELETON[path])
        for place, found in _PLACES:
            if path.startswith(place):
                return found(self, path)
        above = path.rpartition("/")[0]
        if name not in self.names(above) or not self._machine.sysfs.is_dir(above):
            return None
        if name == "uevent":
            return Shown(writable=True)
        if name == "subsystem":
            return Shown(target="../../../../bus/node")
        kernel = self._machine.kernel
        if name == "has_cpu":
            having = (node for node in kernel.nodes if self._processors_of(kernel, node))
            return Shown(text=number_list(having))
        return Shown(text=_OF_NODE[name](self, kernel, int(above.rpartition("node")[2])))

    def _of_memory(self, path: str) -> Shown | None:
        texts = {MEMINFO: lambda kernel: meminfo(kernel, path) or "", IOMEM: iomem}
        return Shown(text=texts[path](self._machine.kernel)) if path in texts else None

    def _log(self, path: str) -> Shown | None:
        return Shown(text=_kmsg(self._machine.kernel), by_line=True) if path == KMSG else None

    def _bus(self, path: str) -> Shown | None:
        if path in _BUSES:
            return Shown(names=tuple(self._devices(path.split("/")[2])))
        if match := _DEVICE.fullmatch(path):
            device = f"devices/system/{match['kind']}/{match['name']}"
            there = self._machine.sysfs.is_dir(f"sys/{device}")
            return Shown(target=f"../../../{device}") if there else None
        return None

    def _cxl(self, path: str) -> Shown | None:
        kernel = self._machine.kernel
        return at(path, {**dax_files(kernel), **cxl_files(kernel)})

    def _acpi(self, path: str) -> Shown | None:
        names = acpi_names(self._machine.kernel, path)
        if names is not None:
            return Shown(names=tuple(names))
        block = acpi_block(self._machine.kernel, path)
        target = f"../../../../devices/system/memory/memory{block}"
        return None if block is None else Shown(target=target)

    def _tier(self, path: str) -> Shown | None:
        texts = tier_files(self._machine.kernel)
        if path == TIERS and not texts:
            # The kernel has no tiers; those of this machine are not its.
            return Shown(names=())
        return at(path, {name: Shown(text=text) for name, text in texts.items()})

    def _devices(self, kind: str) -> list[str]:
        try:
            names = self._machine.sysfs.listdir(f"sys/devices/system/{kind}")
        except FileNotFoundError:
            return []
        return [name for name in names if re.fullmatch(rf"{kind}\d+", name)]

    # Memory

    def _meminfo(self, kernel: Kernel, node: int) -> str:
        return meminfo(kernel, f"{NODE}/node{node}/meminfo") or ""

    def _vmstat(self, kernel: Kernel, node: int) -> str:
        usage = _usage(kernel, node)
        used = usage.total - usage.free
        counts = {"nr_free_pages": usage.free, "nr_zone_active_anon": used, "nr_anon_pages": used}
        return "\n".join(f"{name} {size // PAGE}" for name, size in counts.items())

    def _numastat(self, _kernel: Kernel, _node: int) -> str:
        names = ("numa_hit", "numa_miss", "numa_foreign", "interleave_hit")
        return "\n".join(f"{name} 0" for name in (*names, "local_node", "other_node"))

    # Processors and distances

    def _processors_of(self, kernel: Kernel, node: int) -> Sequence[int]:
        having = kernel.machine.has_cpu
        if having is None:
            having = tuple(sorted(kernel.machine.nodes_at_boot))
        if node not in having:
            return ()
        place, count = having.index(node), len(self._processors)
        return self._processors[place * count // len(having) : (place + 1) * count // len(having)]

    def _cpulist(self, kernel: Kernel, node: int) -> str:
        return number_list(self._processors_of(kernel, node))

    def _cpumap(self, kernel: Kernel, node: int) -> str:
        words = max(self._processors, default=0) // 32 + 1
        digits = f"{sum(1 << number for number in self._processors_of(kernel, node)):0{words * 8}x}"
        return ",".join(digits[at : at + 8] for at in range(0, len(digits), 8))

    def _distance(self, kernel: Kernel, node: int) -> str:
        return " ".join(str(_LOCAL if other == node else _REMOTE) for other in kernel.nodes)


_OF_NODE: Final[dict[str, Callable[[ShellFiles, Kernel, int], str]]] = {
    "cpulist": ShellFiles._cpulist,
    "cpumap": ShellFiles._cpumap,
    "distance": ShellFiles._distance,
    "meminfo": ShellFiles._meminfo,
    "numastat": ShellFiles._numastat,
    "vmstat": ShellFiles._vmstat,
}

_PLACES: Final = (
    ("proc", ShellFiles._of_memory),
    ("dev", ShellFiles._log),
    (ACPI, ShellFiles._acpi),
    (TIERS, ShellFiles._tier),
    *((tree, ShellFiles._cxl) for tree in (*CXL_TREES, *DAX_TREES)),
    ("sys/bus", ShellFiles._bus),
)
"""Where a path begins, and what finds it; the first that fits."""

_SKELETON: Final = {
    "dev": ("kmsg",),
    "proc": ("meminfo", "iomem"),
    "sys/bus": ("acpi", "cxl", "dax", "memory", "node"),
    "sys/bus/acpi": ("devices",),
    "sys/bus/memory": ("devices",),
    "sys/bus/node": ("devices",),
    "sys/dev": ("char",),
    "sys/dev/char": ("0:0",),
    "sys/devices/platform": ("ACPI0017:00",),
    "sys/devices/virtual": ("memory_tiering",),
    "sys/module": ("kmem",),
}
_FURTHER: Final = (
    (re.compile(""), ("dev", "proc")),
    (re.compile("sys"), ("bus", "dev", "module")),
    (re.compile("sys/devices"), ("pci0000:0c", "platform", "virtual")),
    (re.compile(NODE), ("has_cpu", "uevent")),
    (re.compile(rf"{NODE}/node\d+"), (*_OF_NODE, "subsystem", "uevent")),
)
_NAMES: Final = frozenset(
    [name for _, names in _FURTHER for name in names] + [path.split("/")[-1] for path in _SKELETON]
)
_ELSEWHERE: Final = tuple(place for place, _ in _PLACES)
_NODE_MEMINFO: Final = re.compile(rf"{NODE}/node(?P<node>0|[1-9]\d{{0,8}})/meminfo", re.ASCII)
_DEVICE: Final = re.compile(
    r"sys/bus/(?P<kind>memory|node)/devices/(?P<name>(?P=kind)(?:0|[1-9]\d*))", re.ASCII
)


def _usage(kernel: Kernel, node: int | None = None) -> _Usage:
    """The memory of a node or (None) of the machine. Blocks in several nodes are divided.

    The machine says how much memory is in use, but not where: each node has its share.
    """
    here = everywhere = 0
    for group in kernel.machine.groups:
        blocks = sum(kernel.blocks.count(zone, group.first, group.last) for zone in ONLINE)
        within = range(group.first, group.last + 1)
        size = blocks * kernel.machine.block_size
        size -= unplugged_online(kernel.state, kernel.blocks, within=within)
        everywhere += size
        nodes = (group.node, *group.more_nodes)
        if node is None or node in nodes:
            shares = 1 if node is None else len(nodes)
            here += size // shares
    free = max(kernel.free_memory(), 0)
    total = free + kernel.machine.used
    return _Usage(total * here // max(everywhere, 1), free * here // max(everywhere, 1))


def _processors() -> list[int]:
    """The numbers of this machine's processors that are online, ascending."""
    try:
        text = Path("/sys/devices/system/cpu/online").read_text()
    except OSError:
        return list(range(os.cpu_count() or 1))
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
