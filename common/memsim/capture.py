"""Copy the sysfs files about a machine's memory into a directory or archive, and no others."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from memsim.errors import MachineError, NoBlocksError, NotACaptureError, wrong
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS

__all__ = ["capture", "described", "read_tree"]

_WANTED: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{MEMORY}/(block_size_bytes|auto_online_blocks)",
        rf"{MEMORY}/memory\d+/(state|online|removable|valid_zones|phys_index|phys_device|node\d+)",
        rf"{NODE}/(online|possible|has_memory|has_normal_memory)",
        rf"{NODE}/node\d+/memory\d+",
        rf"{FIRMWARE}/memory\d+/(config|memmap_on_memory)",
        rf"{PARAMETERS}/[a-z_]+",
    )
)
_ENTERED: Final = re.compile(
    rf"{MEMORY}|{MEMORY}/memory\d+|{NODE}|{NODE}/node\d+|{FIRMWARE}|{FIRMWARE}/memory\d+|{PARAMETERS}"
)


def read_tree(root: str | os.PathLike[str]) -> Iterator[tuple[str, bytes | str]]:
    """The files about memory below a root: path -> content, and path -> target of a link.

    The root may be an archive that `capture` made. Files are only opened for reading. A file that
    disappears meanwhile is left out. Raises FileNotFoundError where there are no memory blocks.
    """
    if os.path.isfile(root):
        yield from _read_archive(root)
        return
    base = os.fspath(root).rstrip("/")
    os.stat(base or "/")
    if not os.path.exists(f"{base}/{MEMORY}/block_size_bytes"):
        raise NoBlocksError(base or "/", MEMORY)
    for tree in (MEMORY, NODE, FIRMWARE, PARAMETERS):
        yield from _below(base, tree)


def _read_archive(path: str | os.PathLike[str]) -> Iterator[tuple[str, bytes | str]]:
    try:
        with tempfile.TemporaryDirectory() as unpacked, tarfile.open(path) as archive:
            archive.extractall(unpacked, filter="data")
            yield from read_tree(unpacked)
    except (tarfile.TarError, EOFError, zlib.error):
        raise NotACaptureError(os.fspath(path)) from None


def _below(base: str, directory: str) -> Iterator[tuple[str, bytes | str]]:
    try:
        names = sorted(os.listdir(f"{base}/{directory}"), key=_by_number)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = f"{directory}/{name}"
        full = f"{base}/{path}"
        if not os.path.islink(full) and _ENTERED.fullmatch(path):
            yield from _below(base, path)
        elif any(wanted.fullmatch(path) for wanted in _WANTED):
            try:
                link = os.path.islink(full)
                yield path, os.readlink(full) if link else Path(full).read_bytes()
            except FileNotFoundError:
                continue


def _by_number(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def capture(target: str | os.PathLike[str], root: str | os.PathLike[str] = "/") -> int:
    """Copy the tree below a root into TARGET, a .tar.gz or a new directory; return how many files.

    TARGET appears complete or not at all. Raises FileExistsError where it exists already.
    """
    final = Path(target).absolute()
    if os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    made = final.with_name(f".{final.name}.{os.getpid()}.new")
    pack = _to_archive if final.name.endswith((".tar.gz", ".tgz")) else _to_directory
    try:
        count = pack(made, read_tree(root))
        made.rename(final)
    finally:
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink(missing_ok=True)
    return count


def _to_archive(path: Path, entries: Iterator[tuple[str, bytes | str]]) -> int:
    count = 0
    with tarfile.open(path, "w:gz") as archive:
        for count, (name, content) in enumerate(entries, 1):  # noqa: B007
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return count


def _to_directory(path: Path, entries: Iterator[tuple[str, bytes | str]]) -> int:
    count = 0
    path.mkdir()
    for count, (name, content) in enumerate(entries, 1):  # noqa: B007
        made = path / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            made.symlink_to(content)
        else:
            made.write_bytes(content)
    return count


def described(root: str | os.PathLike[str]) -> dict[str, Any]:
    """The description of a machine that boots into the state of the tree below a root.

    Some things are in no attribute, and assumed: zones follow the kernel's rule of spans; they
    have x86's limits where there is a zone DMA32 or the first block is in several zones; only
    struct pages are in use; there are no faults. Raises MachineError for a tree that is not a
    machine's, and OSError for one that cannot be read.
    """
    files = {
        path: content if isinstance(content, str) else content.decode(errors="replace").strip()
        for path, content in read_tree(root)
    }
    blocks: dict[int, dict[str, str]] = {}
    for path, text in files.items():
        if match := _TREE_BLOCK.fullmatch(path):
            seen, name = blocks.setdefault(int(match["block"]), {}), match["name"]
            # A block in several nodes has a link to each.
            seen[name] = f"{seen[name]} {text}" if name == "node" and name in seen else text
    if not blocks:
        raise MachineError(os.fspath(root), "memory blocks", "but there are none")
    groups = [_seen_group(root, block, seen) for block, seen in sorted(blocks.items())]
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
    }
    ratio = files.get(f"{PARAMETERS}/auto_movable_ratio")
    if ratio is not None:
        description["auto_movable_ratio"] = int(ratio) if ratio.isdecimal() else ratio
        aware = files.get(f"{PARAMETERS}/auto_movable_numa_aware")
        description["auto_movable_numa_aware"] = aware != "N"
    return description


_TREE_BLOCK: Final = re.compile(
    rf"(?:{MEMORY}|{FIRMWARE})/memory(?P<block>\d+)/(?P<name>[a-z_]+?)\d*"
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
    link = seen.get("node")
    group["has_node"] = not config or link is not None
    if link is not None:
        nodes = sorted(int(target.rpartition("node")[2]) for target in link.split())
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
