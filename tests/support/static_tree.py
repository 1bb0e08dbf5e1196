"""Trees of plain files made from machine descriptions, without the simulator.

What reads a tree is tested on trees that share no code with what simulates one. The format of the
descriptions is that of reference/vectors.json.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEMORY = Path("sys/devices/system/memory")
NODE = Path("sys/devices/system/node")
FIRMWARE = Path("sys/firmware/memory")
PARAMETERS = Path("sys/module/memory_hotplug/parameters")


def put(root: Path, path: str, text: str | bytes = "") -> None:
    """A file of a tree, with the directories above it."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def write(path: Path, text: str) -> None:
    """A line, as an attribute of sysfs has it."""
    put(path.parent, path.name, f"{text}\n")


def make(root: Path, machine: Mapping[str, Any]) -> Path:
    """The tree of MACHINE at boot, below ROOT, each file one that can be written to."""
    write(root / MEMORY / "block_size_bytes", f"{machine['block_size']:x}")
    if machine.get("memmap_param") is not None:
        write(root / PARAMETERS / "memmap_on_memory", machine["memmap_param"])
    for group in machine["blocks"]:
        first, last = group["range"]
        for number in range(first, last + 1):
            if machine.get("firmware"):
                _make_firmware(root / FIRMWARE / f"memory{number}", group)
            if group.get("config", 1):
                _make_block(root, number, group, machine.get("valid_zones", True))
    return root


def _make_firmware(directory: Path, group: Mapping[str, Any]) -> None:
    config = group.get("config", 1)
    write(directory / "config", str(config))
    write(directory / "memmap_on_memory", str(group.get("memmap", 1 - config)))


def _make_block(root: Path, number: int, group: Mapping[str, Any], valid_zones: bool) -> None:
    block = root / MEMORY / f"memory{number}"
    online = group.get("state", "online") == "online"
    write(block / "state", group.get("state", "online"))
    write(block / "online", str(int(online)))
    write(block / "removable", str(group.get("removable", 1)))
    write(block / "phys_device", str(group.get("phys_device", 0)))
    if valid_zones:
        zones = group.get("zones", "Normal")
        write(block / "valid_zones", zones if online else group.get("off_zones", "Normal Movable"))
    if group.get("has_node", True):
        node = f"node{group.get('node', 0)}"
        (root / NODE / node).mkdir(parents=True, exist_ok=True)
        (block / node).symlink_to(f"../../node/{node}")
        (root / NODE / node / block.name).symlink_to(f"../../memory/{block.name}")


def plain(root: Path, states: list[str], zones: str = "Normal Movable") -> Path:
    """A captured tree, which no simulated kernel looks after."""
    memory = root / MEMORY
    memory.mkdir(parents=True)
    (memory / "block_size_bytes").write_text("8000000\n")
    for number, state in enumerate(states):
        (memory / f"memory{number}").mkdir()
        (memory / f"memory{number}/state").write_text(f"{state}\n")
        (memory / f"memory{number}/valid_zones").write_text(f"{zones}\n")
    return root


def many(
    root: Path,
    blocks: int,
    *,
    nodes: bool = True,
    directories: bool = True,
    firmware: bool = False,
) -> str:
    """A tree of BLOCKS with many ranges, on two nodes or without NODES, which have DIRECTORIES or
    only links to them in the blocks, and configured if it has FIRMWARE; files that hold the same
    are one file."""
    texts: dict[str, Path] = {}

    def once(path: Path, text: str) -> None:
        if text in texts:
            path.hardlink_to(texts[text])
        else:
            write(path, text)
            texts[text] = path

    memory, all_nodes = root / MEMORY, root / NODE
    write(memory / "block_size_bytes", "8000000")
    for number in range(blocks):
        block, node = memory / f"memory{number}", all_nodes / f"node{number * 2 // blocks}"
        block.mkdir()
        group = number // 40 % 4
        online = group != 3
        zone = ("Normal", "Movable")[group % 2]
        once(block / "state", "online" if online else "offline")
        once(block / "online", str(int(online)))
        once(block / "removable", "1")
        once(block / "phys_device", "0")
        once(block / "valid_zones", zone if online else "Normal Movable")
        if nodes:
            (block / node.name).symlink_to(f"../../node/{node.name}")
        if nodes and directories:
            node.mkdir(parents=True, exist_ok=True)
            (node / block.name).symlink_to(f"../../memory/{block.name}")
        if firmware:
            configured = root / FIRMWARE / block.name
            configured.mkdir(parents=True)
            once(configured / "config", "1")
            once(configured / "memmap_on_memory", "0")
    return str(root)
