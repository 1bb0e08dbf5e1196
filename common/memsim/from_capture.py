"""Describe a machine like the one whose tree was captured."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from memsim.capture import read_beside, read_release, read_tree
from memsim.description import parse
from memsim.errors import MachineError, wrong
from memsim.kernel import Kernel
from memsim.machine import since
from memsim.paths import FIRMWARE, MEMORY, PARAMETERS
from memsim.sysfs import Sysfs
from memsim.system_files import ABOUT, cleaned

__all__ = ["differing", "like"]


def like(root: str | os.PathLike[str]) -> tuple[Kernel, tuple[str, ...]]:
    """Boot a machine like the one whose /sys is below a root, and name the files that differ.

    These are files with another content, and files that only one of the two has. Some things are in
    no attribute, and assumed: zones follow the kernel's rule of spans, unless the tree shows other
    ones; they have x86's limits where there is a zone DMA32 or the first block is in several zones;
    only struct pages are in use; there are no faults; on arm64, what is online is memory of the
    boot, unless /proc/iomem says otherwise (see `_ram`). Raises MachineError for a tree that is not
    a machine's, and OSError for one that cannot be read.
    """
    files = _files(root)
    description = _described(root, files) | {"release": read_release(root)}
    _read_beside(root, description)
    kernel = Kernel(parse(description, os.fspath(root)))
    differing = _differing(kernel, files)
    if any(path.endswith("/valid_zones") for path in differing):
        # Linux before 4.13 has other rules: what was seen is kept, block by block.
        description["contiguous_zones"] = False
        kernel = Kernel(parse(description, os.fspath(root)))
        differing = _differing(kernel, files)
    return kernel, differing


def _files(root: str | os.PathLike[str]) -> dict[str, str]:
    """The files about memory below a root: path -> text, or target of a link."""
    return {
        path: content if isinstance(content, str) else content.decode(errors="replace").strip()
        for path, content in read_tree(root)
    }


def differing(kernel: Kernel, root: str | os.PathLike[str]) -> tuple[str, ...]:
    """The files that a machine does not have as they are below a root, as `like` names them."""
    return _differing(kernel, _files(root))


def _read_beside(root: str | os.PathLike[str], description: dict[str, Any]) -> None:
    """Say what other files tell: the page size, and which blocks will not be set offline."""
    about = cleaned(ABOUT, read_beside(root, ABOUT).encode())
    known = json.loads(about) if about else {}
    arm64 = "aarch64" in (read_beside(root, "proc/sys/kernel/arch").strip(), known.get("machine"))
    description["memmap_stays"] = arm64 and since(description["release"], 7, 1)
    description["page_size"] = known.get("page_size", 4096)
    # A DIMM's memory has its struct pages in itself where it can; that of drivers has a name, and
    # of virtio-mem it never has (mm/memory_hotplug.c, mhp_supports_memmap_on_memory).
    memmap = description["memmap_stays"] and description["memmap_param"] in ("Y", "force")
    size = description["block_size"]
    ram = _ram(read_beside(root, "proc/iomem"), size)
    groups = []
    for group in description["blocks"]:
        online = group.get("state") == "online"
        first, last = group["range"]
        for block in range(first, last + 1) if online or memmap else ():
            start, end = block * size, (block + 1) * size
            own = [(max(low, start), min(high, end), *of) for low, high, *of in ram]
            own = [each for each in own if each[0] < each[1]]
            holes = bool(ram) and sum(high - low for low, high, *_ in own) < size
            named = any("(" in name for _, _, name, _ in own)
            added = bool(own) and all(late for *_, late in own)
            more = {"holes": holes, "stays": arm64 and not added} if online else {}
            more |= {"memmap": not named} if memmap and not online else {}
            groups.append(group | {"range": [block, block]} | more)
        if not (online or memmap):
            groups.append(group)
    description["blocks"] = _joined(groups)


_LINE: Final = re.compile(r"^( *)([0-9a-f]+)-([0-9a-f]+) : (.*)$", re.MULTILINE)


def _ram(iomem: str, block_size: int) -> list[tuple[int, int, str, bool]]:
    """The ranges of memory in /proc/iomem, from their first address to that after their last, with
    their names, and whether each came after the boot. None if the file hides the addresses.

    A driver names its memory: System RAM (kmem). That of a DIMM has no such name; but it is of
    whole blocks, and nothing is listed within it, whereas the kernel lists what it has reserved in
    memory of the boot (arch/arm64/kernel/setup.c, reserve_memblock_reserved_regions).
    """
    lines = [
        (len(indent), int(low, 16), int(high, 16) + 1, name)
        for indent, low, high, name in _LINE.findall(iomem)
    ]
    found = []
    for (indent, low, high, name), (after, *_) in pairwise([*lines, (0, 0, 0, "")]):
        if name.startswith("System RAM") and high > 1:
            empty = after <= indent and low % block_size == high % block_size == 0
            found.append((low, high, name, empty or "(" in name))
    return found


_NOT_CAPTURED: Final = ("uevent", "subsystem")


def _differing(kernel: Kernel, files: Mapping[str, str]) -> tuple[str, ...]:
    sysfs, left, differing = Sysfs(kernel), dict(files), []
    directories = ["sys"]
    while directories:
        directory = directories.pop()
        for name, entry in sysfs.entries(directory):
            path = f"{directory}/{name}"
            if entry.kind == "dir":
                directories.append(path)
            elif name in _NOT_CAPTURED:
                continue
            elif left.pop(path, None) != entry.content.decode().strip():
                differing.append(path)
    return (*differing, *left)


def _described(root: str | os.PathLike[str], files: Mapping[str, str]) -> dict[str, Any]:
    blocks: dict[int, dict[str, str]] = {}
    for path, text in files.items():
        if match := _OF_BLOCK.fullmatch(path):
            block = blocks.setdefault(int(match["block"]), {})
            if match["node"]:
                # A block in several nodes has a link to each.
                block["nodes"] = f"{block.get('nodes', '')} {match['node']}"
            else:
                block[match["name"]] = text
    if not blocks:
        raise MachineError(os.fspath(root), "memory blocks", "but there are none")
    groups = [_seen_group(root, block, seen) for block, seen in sorted(blocks.items())]
    if not any("nodes" in seen for seen in blocks.values()):
        # A kernel without NUMA has no node for standby memory either.
        for group in groups:
            group["has_node"] = False
    _straddle(groups)
    block_size = _hexadecimal(root, files[f"{MEMORY}/block_size_bytes"])
    firmware = any("config" in seen for seen in blocks.values())
    increments = {
        block_size * block // int(seen["phys_device"])
        for block, seen in blocks.items()
        if seen.get("phys_device", "0").isdecimal() and int(seen.get("phys_device", 0))
    }
    description: dict[str, Any] = {
        "block_size": block_size,
        "blocks": _joined(groups),
        "firmware": firmware,
        "contiguous_zones": True,
        "valid_zones": any("valid_zones" in seen for seen in blocks.values()),
        "memmap_param": files.get(f"{PARAMETERS}/memmap_on_memory"),
        "memmap_supported": files.get(f"{PARAMETERS}/memmap_on_memory") != "N",
        "auto_online_blocks": files.get(f"{MEMORY}/auto_online_blocks"),
        "online_policy": files.get(f"{PARAMETERS}/online_policy"),
        "increment": max(increments, default=None),
        "probe": f"{MEMORY}/probe" in files,
        "page_offline": f"{MEMORY}/soft_offline_page" in files,
        "crash_hotplug": int(files.get(f"{MEMORY}/crash_hotplug", "-1") == "1")
        if f"{MEMORY}/crash_hotplug" in files
        else None,
    }
    ratio = files.get(f"{PARAMETERS}/auto_movable_ratio")
    if ratio is not None:
        description["auto_movable_ratio"] = int(ratio) if ratio.isdecimal() else ratio
        aware = files.get(f"{PARAMETERS}/auto_movable_numa_aware")
        description["auto_movable_numa_aware"] = aware != "N"
    return description


_OF_BLOCK: Final = re.compile(
    rf"(?:{MEMORY}|{FIRMWARE})/memory(?P<block>[0-9]+)/(?:node(?P<node>[0-9]+)|(?P<name>[a-z_]+))"
)


def _hexadecimal(root: str | os.PathLike[str], text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        place = f"{os.fspath(root)}: block_size_bytes"
        raise wrong(place, "a hexadecimal number", text) from None


def _seen_group(
    root: str | os.PathLike[str], block: int, seen: Mapping[str, str]
) -> dict[str, Any]:
    """A group with only this block, made from its attributes."""
    config = "state" in seen
    group: dict[str, Any] = {"range": [block, block], "config": config}
    group["memmap"] = seen.get("memmap_on_memory") == "1"
    nodes = sorted(map(int, seen.get("nodes", "").split()))
    group["has_node"] = not config or bool(nodes)
    if nodes:
        group |= {"nodes": nodes} if len(nodes) > 1 else {"node": nodes[0]}
    if config:
        group["removable"] = seen.get("removable") != "0"
        group["state"] = "offline" if seen["state"] == "offline" else "online"
        zones = seen.get("valid_zones", "Normal").split() or ["none"]
        group["zones" if group["state"] == "online" else "off_zones"] = (
            zones[0] if group["state"] == "online" else " ".join(zones)
        )
    return group


def _straddle(groups: list[dict[str, Any]]) -> None:
    """Give each block in zone none the zones that it is in: those of its neighbours."""
    named = [
        (group["range"][0], _node(group), group["zones"])
        for group in groups
        if group.get("zones", "none") != "none"
    ]
    for group in groups:
        if group.get("zones") != "none":
            continue
        block, node = group["range"][0], _node(group)
        below = [zone for other, of, zone in named if other < block and of == node]
        above = [zone for other, of, zone in named if other > block and of == node]
        # Block 0 has no lower neighbour: on x86 its first 16 MiB are in zone DMA.
        zones = [*(below[-1:] or ["DMA"]), *above[:1]]
        group["straddles"] = " ".join(dict.fromkeys(zones))


def _node(group: Mapping[str, Any]) -> int:
    """The lowest node of a group."""
    return int(group.get("nodes", [group.get("node", 0)])[0])


def _joined(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups with neighbours that are equal merged into one."""
    joined: list[dict[str, Any]] = []
    for group in groups:
        first, last = group["range"]
        if (
            joined
            and joined[-1]["range"][1] == first - 1
            and joined[-1] | {"range": 0} == group | {"range": 0}
        ):
            joined[-1]["range"][1] = last
        else:
            joined.append(group)
    return joined
