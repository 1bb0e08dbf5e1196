"""Machines to boot: built-in ones, from a file, from a few sizes, or like a captured one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from memsim.description import parse
from memsim.errors import MachineError, UnknownProfileError, wrong
from memsim.from_capture import like
from memsim.kernel import Kernel
from memsim.machine import MIB, Machine
from memsim.schema import loads
from safe_files.linkless import read_file

__all__ = ["GIB", "PROFILES", "boot", "from_tree", "layout", "load"]

GIB: Final = 1 << 30

MOST: Final = 16 << 20
"""The maximum size of a description in a file, in bytes."""


def load(name: str | os.PathLike[str]) -> Machine:
    """The machine of a built-in profile or of a JSON file. Raises MachineError, OSError."""
    if isinstance(name, str) and name in PROFILES:
        return parse(PROFILES[name], name)
    path = Path(name)
    if isinstance(name, str) and path.suffix != ".json" and "/" not in name and not path.exists():
        raise UnknownProfileError(name, PROFILES)
    description = loads(read_file(path, MOST), str(name))
    return parse(description, str(name))


def boot(machine: str | os.PathLike[str] | Mapping[str, Any] | Machine) -> Kernel:
    """Boot a machine, given the name of a profile, a JSON file or a description."""
    if isinstance(machine, Machine):
        return Kernel(machine)
    if isinstance(machine, Mapping):
        return Kernel(parse(machine))
    return Kernel(load(machine))


def layout(
    block_size: int,
    memory: int,
    *,
    standby: int = 0,
    added: int = 0,
    slots: int = 0,
    nodes: int = 1,
    used: int = 0,
) -> Machine:
    """A machine from a few sizes, in bytes; each node has an equal share of each.

    With standby memory the machine is an s390: it has /sys/firmware/memory, and that memory is not
    configured. Added memory is offline, as after it was plugged in. Slots are room for memory that
    can be plugged in. Raises MachineError for sizes
    that are not a whole number of blocks for each node.
    """
    if block_size < MIB or block_size & (block_size - 1):
        raise MachineError("block size", "a power of two, 1 MiB or more", f"not {block_size} bytes")
    blocks: list[dict[str, Any]] = []
    kinds: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("memory", memory, {}),
        ("added memory", added, {"state": "offline"}),
        ("standby memory", standby, {"config": False}),
        ("slots", slots, {"config": False}),
    )
    if nodes < 1:
        raise wrong("nodes", "1 or more", nodes)
    if slots and standby:
        raise wrong("slots", "none on an s390, which has standby memory", slots)
    if used > memory:
        raise MachineError("used", f"no more than the memory, {memory} bytes", f"not {used}")
    first = 0
    for what, size, how in kinds:
        if size % (block_size * nodes) or size < 0 or not (size or how):
            each = f", for each of {nodes} nodes" if nodes > 1 else ""
            multiple = f"a multiple of {block_size // MIB} MiB, the block size{each}"
            shown = f"{size} bytes" if size % MIB else f"{size // MIB} MiB"
            raise MachineError(what, multiple, f"not {shown}")
        share = size // block_size // nodes
        for node in range(nodes if share else 0):
            blocks.append({"range": [first, first + share - 1], "node": node, **how})
            first += share
    limits = S390_LIMITS if standby else X86_LIMITS
    return parse(
        {
            "block_size": block_size,
            "firmware": bool(standby),
            "memmap_param": "Y" if standby else "N",
            "contiguous_zones": True,
            "zone_limits": limits,
            "used": used,
            "increment": block_size if standby else None,
            "blocks": blocks,
        }
    )


S390_LIMITS: Final = {"DMA": 2 * GIB}
X86_LIMITS: Final = {"DMA": 16 * MIB, "DMA32": 4 * GIB}

_S390: Final = {
    "firmware": True,
    "memmap_param": "Y",
    "contiguous_zones": True,
    "zone_limits": S390_LIMITS,
}
_X86: Final = {
    "block_size": 128 * MIB,
    "memmap_param": "N",
    "contiguous_zones": True,
    "zone_limits": X86_LIMITS,
}

PROFILES: Final[dict[str, dict[str, Any]]] = {
    "s390-lpar": {
        "description": "An s390 LPAR on Linux 6.19: 2 GiB online, 2 GiB standby, 128 MiB blocks.",
        **_S390,
        "block_size": 128 * MIB,
        "increment": 128 * MIB,
        "used": 256 * MIB,
        "blocks": [{"range": [0, 15]}, {"range": [16, 31], "config": 0}],
    },
    "s390-zvm": {
        "description": "A z/VM guest on Linux 6.19: 4 GiB online, 12 GiB standby, increments of "
        "16 MiB in 128 MiB blocks, no memmap on memory.",
        **_S390,
        "memmap_param": "N",
        "block_size": 128 * MIB,
        "increment": 16 * MIB,
        "used": GIB,
        "blocks": [{"range": [0, 31]}, {"range": [32, 127], "config": 0}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "s390-debian": {
        "description": "What memsim boot starts, Debian's kernel without NUMA in QEMU: 2 GiB "
        "online, 2 GiB standby, added blocks come online; the first and the last two boot blocks "
        "are busy.",
        **_S390,
        "block_size": 128 * MIB,
        "increment": 128 * MIB,
        "used": 112 * MIB,
        "large_pages": False,
        "auto_online_blocks": "online",
        "blocks": [
            {"range": [0, 15], "has_node": False},
            {"range": [16, 31], "config": 0, "has_node": False},
        ],
        "faults": {"offline": {"0": "EBUSY", "14": "EBUSY", "15": "EBUSY"}},
    },
    "s390-pre-6.19": {
        "description": "An s390 LPAR on Linux up to 6.18: 4 GiB online, 4 GiB standby that is "
        "offline since boot; online takes it from the hypervisor.",
        **_S390,
        "firmware": False,
        "assigned_by": "online",
        "memmap_param": "N",
        "block_size": 256 * MIB,
        "increment": 256 * MIB,
        "used": GIB,
        "blocks": [{"range": [0, 15]}, {"range": [16, 31], "state": "offline"}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "s390-imbalance": {
        "description": "An s390 LPAR with little memory and much standby: 512 MiB online, 64 GiB "
        "standby; struct pages run out.",
        **_S390,
        "block_size": 128 * MIB,
        "increment": 128 * MIB,
        "used": 256 * MIB,
        "blocks": [{"range": [0, 3]}, {"range": [4, 515], "config": 0}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "x86-laptop": {
        "description": "An x86 laptop with 8 GiB and the hole below 4 GiB; a few blocks are busy.",
        **_X86,
        "used": 3 * GIB,
        "blocks": [{"range": [0, 23]}, {"range": [32, 71]}],
        "faults": {"offline": {"1": "EBUSY", "32": "EBUSY", "71": "EBUSY"}},
    },
    "x86-laptop-7.2": {
        "description": "A plain PC with 8 GiB on Debian's Linux 7.2, as captured in QEMU: a hole "
        "from 2 GiB to 4 GiB, added blocks come online; the kernel's own blocks are busy.",
        **_X86,
        "release": "7.2.13+deb14-amd64",
        "used": 224 * MIB,
        "page_offline": True,
        "crash_hotplug": 0,
        "blocks": [
            {"range": [0, 0], "holes": True},
            {"range": [1, 14]},
            {"range": [15, 15], "holes": True},
            {"range": [32, 79]},
        ],
        "faults": {"offline": dict.fromkeys(map(str, (2, 3, 32, 78, 79)), "EBUSY")},
    },
    "x86-two-nodes": {
        "description": "An x86 server with two nodes of 8 GiB; the end of the second is movable "
        "(1 GiB) and offline (1 GiB).",
        **_X86,
        "used": 2 * GIB,
        "blocks": [
            {"range": [0, 23]},
            {"range": [32, 71]},
            {"range": [72, 119], "node": 1},
            {"range": [120, 127], "node": 1, "zones": "Movable"},
            {"range": [128, 135], "node": 1, "state": "offline"},
        ],
        "faults": {"offline": {"1": "EBUSY", "72": "EBUSY"}},
    },
    "x86-dimm-slots": {
        "description": "An x86 virtual machine with 4 GiB and two DIMMs of 4 GiB plugged in, "
        "still offline, and room for 4 GiB more.",
        **_X86,
        "used": GIB,
        "blocks": [
            {"range": [0, 23]},
            {"range": [32, 39]},
            {"range": [40, 71], "state": "offline"},
            {"range": [72, 103], "state": "offline"},
            {"range": [104, 135], "config": False},
        ],
        "faults": {"offline": {"1": "EBUSY"}},
    },
    "x86-rhel8": {
        "description": "An x86 virtual machine on Linux 4.18, as in RHEL 8, whose removable says "
        "which blocks can go: 8 GiB, of which the last 1 GiB is movable, and room for 8 GiB more.",
        **_X86,
        "release": "4.18.0-80.el8.x86_64",
        "memmap_param": None,
        "used": 2 * GIB,
        "blocks": [
            {"range": [0, 23]},
            {"range": [32, 63]},
            {"range": [64, 71], "zones": "Movable"},
            {"range": [72, 135], "config": False},
        ],
        "faults": {
            "offline": dict.fromkeys(map(str, (0, 1, 2, 8, 23, 32, 33, 40, 60, 61, 63)), "EBUSY")
        },
    },
    "arm64-offset": {
        "description": "An arm64 server whose memory begins at 1 TiB (block 8192): 14 GiB online, "
        "which stay so, for the machine has booted on them; 2 GiB added and offline.",
        "block_size": 128 * MIB,
        "memmap_param": "N",
        "contiguous_zones": True,
        "used": 2 * GIB,
        "blocks": [
            {"range": [8192, 8303], "zones": "DMA", "stays": True},
            {"range": [8304, 8319], "state": "offline"},
        ],
    },
    "riscv64-virt": {
        "description": "A riscv64 machine with 2 GiB on Debian's Linux 7.2, as captured in QEMU: "
        "memory begins at 2 GiB (block 16), none can be added; the first and the last blocks are "
        "busy.",
        "release": "7.2.13+deb14-riscv64",
        "block_size": 128 * MIB,
        "memmap_param": "N",
        "contiguous_zones": True,
        "zone_limits": {"DMA32": 4 * GIB},
        "used": 144 * MIB,
        "blocks": [{"range": [16, 31]}],
        "faults": {"offline": dict.fromkeys(map(str, (16, 17, 23, 30, 31)), "EBUSY")},
    },
    "ppc64-lpar": {
        "description": "A ppc64 LPAR on Linux 7.2: 8 GiB in blocks of 256 MiB, and room for 8 GiB "
        "more, which comes online when it is plugged in (DLPAR), or is probed for.",
        "release": "7.2.13-powerpc64le-64k",
        "block_size": 256 * MIB,
        "page_size": 64 << 10,
        "memmap_param": "N",
        "contiguous_zones": True,
        "used": GIB,
        "probe": True,
        "dlpar": True,
        "page_offline": True,
        "crash_hotplug": 0,
        "blocks": [{"range": [0, 31]}, {"range": [32, 63], "config": False}],
        "faults": {"offline": {"0": "EBUSY", "1": "EBUSY"}},
    },
    "ppc64-large": {
        "description": "A ppc64 LPAR with 1 TiB in 4,096 blocks of 256 MiB on four nodes.",
        "block_size": 256 * MIB,
        "memmap_param": "N",
        "contiguous_zones": True,
        "used": 64 * GIB,
        "blocks": [
            {"range": [0, 1023], "node": 0},
            {"range": [1024, 2047], "node": 1},
            {"range": [2048, 3071], "node": 16},
            {"range": [3072, 3967], "node": 17},
            {"range": [3968, 4095], "node": 17, "state": "offline"},
        ],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "huge": {
        "description": "An s390 with 65,536 blocks of 256 MiB: 8 TiB online, 8 TiB standby.",
        **_S390,
        "block_size": 256 * MIB,
        "increment": 256 * MIB,
        "used": 1024 * GIB,
        "blocks": [{"range": [0, 32767]}, {"range": [32768, 65535], "config": 0}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
}
"""The built-in machines; the ``description`` of each is a sentence about it."""


def from_tree(root: str | os.PathLike[str]) -> Kernel:
    """Boot a machine like the one whose /sys is below ROOT; see `like`."""
    return like(root)[0]
