"""Machines made by memsim: what tests ask of them, and what they are afterwards."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from memory_hotplug.change.journal import HALF_DONE
from memsim import directory
from memsim.kernel import Kernel
from memsim.kernel.blocks import IN_ZONE, MEMMAP
from memsim.machine import ZONES
from memsim.profile import boot
from memsim.sysfs import Sysfs

MIB = 1 << 20

Tree = dict[str, str | None]
"""Every path of a tree: a file's or a link's text, None for a directory."""

Make = Callable[[Mapping[str, Any] | str], Path]
"""The fixture `machine`: makes a simulated machine, from its description or a profile's name."""


# Descriptions


def s390(first: int = 4, standby: int = 4, **more: Any) -> dict[str, Any]:
    """A machine with FIRST blocks online and STANDBY more to be configured, 128 MiB each."""
    blocks: list[dict[str, Any]] = [{"range": [0, first - 1]}]
    if standby:
        blocks.append({"range": [first, first + standby - 1], "config": 0})
    return {
        "block_size": 128 * MIB,
        "firmware": True,
        "memmap_param": "Y",
        "blocks": blocks,
        **more,
    }


HALF_ONLINE = {
    **s390(),
    "blocks": [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}],
}
"""All is configured, and half of it online."""


def x86(online: int = 4, offline: int = 4, **more: Any) -> dict[str, Any]:
    """A machine that needs no configuring."""
    blocks: list[dict[str, Any]] = [{"range": [0, online - 1]}]
    if offline:
        blocks.append({"range": [online, online + offline - 1], "state": "offline"})
    return {"block_size": 128 * MIB, "memmap_param": "N", "blocks": blocks, **more}


# Machines in a directory


def make(root: Path, machine: Mapping[str, Any] | str) -> Path:
    """A simulated machine in a directory, from its description or the name of a profile."""
    directory.create(root, boot(machine))
    return root


def write(root: Path, path: str, word: str) -> None:
    """One write to an attribute, which the simulated kernel answers."""
    directory.write(root, path, word.encode())


def kernel_of(root: Path) -> Kernel:
    return directory.Directory(root).kernel()


# What a machine is


class Condition(NamedTuple):
    """A block as the reference vectors write it."""

    config: int | None
    memmap: int | None
    state: str
    zone: str | None


def half_done(number: int, action: str = "reconfigure", pid: int = 7) -> str:
    """The line of the journal about a block, online in zone Normal, that a process left."""
    return (
        f'{{"block": {number}, "state": "online", "zone": "Normal", "configured": true, '
        f'"memmap_on_memory": false, "action": "{action}", "pid": {pid}}}\n'
    )


def leave_half_done(root: Path, line: str) -> None:
    """Leave what a killed process leaves of a block that it was changing."""
    (root / "run").mkdir(exist_ok=True)
    (root / "run" / HALF_DONE).write_text(line)


def conditions(root: Path) -> dict[int, Condition]:
    """Every block as the simulated kernel itself has it."""
    return dict(conditions_of(kernel_of(root)))


def online(root: Path) -> list[int]:
    """The numbers of the blocks that are online."""
    return [number for number, found in conditions(root).items() if found.state == "online"]


def conditions_of(kernel: Kernel) -> Iterator[tuple[int, Condition]]:
    """The condition of each block."""
    firmware, blocks = kernel.machine.firmware, kernel.blocks
    for block in blocks:
        present, online = blocks.present(block), blocks.online(block)
        memmap = int(blocks.flag(block, MEMMAP))
        yield (
            block,
            Condition(
                int(present) if firmware else None,
                memmap if firmware else None,
                "online" if online else "offline" if present else "absent",
                ZONES[blocks.at(block) - IN_ZONE] if online else None,
            ),
        )


def tree_of(machine: Kernel | Sysfs, path: str = "") -> Tree:
    """The tree that a kernel shows."""
    sysfs = machine if isinstance(machine, Sysfs) else Sysfs(machine)
    found: Tree = {}
    for name in sysfs.listdir(path):
        child = f"{path}/{name}".lstrip("/")
        kind = sysfs.kind(child)
        if kind == "dir":
            found |= {child: None, **tree_of(sysfs, child)}
        else:
            found[child] = sysfs.readlink(child) if kind == "link" else sysfs.read(child).decode()
    return found


def tree_at(root: Path) -> Tree:
    """The tree of real files below a root, but for what the kernel keeps to itself."""
    found: Tree = {}
    for above, directories, files in os.walk(root):
        if directory.PRIVATE in directories:
            directories.remove(directory.PRIVATE)
        for name in (*directories, *files):
            path = Path(above, name)
            found[str(path.relative_to(root))] = _content(path)
    return found


def _content(path: Path) -> str | None:
    if path.is_symlink():
        return os.readlink(path)
    # A file that can only be written has none; root could read it.
    is_read = not path.is_dir() and path.stat().st_mode & stat.S_IRUSR
    return path.read_text() if is_read else None


def changed(before: dict[int, Condition], after: dict[int, Condition]) -> list[int]:
    return [number for number in after if after[number] != before[number]]
