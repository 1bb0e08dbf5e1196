"""A machine's memory sysfs, packed up: what a support case needs, and nothing else."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from memsim.kernel import FIRMWARE, MEMORY, NODE, PARAMETERS

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
    """The attributes (bytes) and links (their targets) below a root that are about memory.

    Opens them for reading only. What disappears while reading is left out; FileNotFoundError
    when there are no memory blocks at all.
    """
    base = os.fspath(root).rstrip("/")
    os.stat(f"{base}/{MEMORY}/block_size_bytes")
    for tree in (MEMORY, NODE, FIRMWARE, PARAMETERS):
        yield from _below(base, tree)


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
    """Pack up the tree below a root, in a .tar.gz or else in a new directory; counts the entries.

    FileExistsError when the target is there already; it appears whole or not at all.
    """
    final = Path(target).absolute()
    if os.path.lexists(final):
        raise FileExistsError(17, os.strerror(17), str(target))
    made = final.with_name(f".{final.name}.{os.getpid()}.new")
    pack = _to_archive if final.name.endswith((".tar.gz", ".tgz")) else _to_directory
    try:
        count = pack(made, read_tree(root))
        made.rename(final)
    finally:
        if made.is_dir():
            import shutil

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
