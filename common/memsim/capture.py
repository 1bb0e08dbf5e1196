"""Copy the files about a machine's memory into a directory or archive, and no others.

The tree or archive that is read may be damaged, or made to do harm. Nothing is read through a
symbolic link, and the links between nodes and blocks are copied only if they lead where they
should.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from memsim.errors import NoBlocksError, NotACaptureError
from memsim.machine import RELEASE
from memsim.paths import FIRMWARE, KERNEL, MEMORY, NODE, PARAMETERS
from memsim.system_files import MASK, MOST_BYTES, cleaned, is_system_file, read_system_files
from safe_files.beneath import kind_of
from safe_files.errors import IrregularError
from safe_files.linkless import Beneath
from safe_files.signals import undisturbed
from safe_files.tar import BrokenArchiveError, Member, members

__all__ = ["capture_tree", "read_beside", "read_release", "read_tree"]

MOST_TEXT: Final = 4096
"""How much is read of an attribute, in bytes; none has more."""

_ONLY_WRITTEN: Final = ("probe", "soft_offline_page", "hard_offline_page")
"""Files about all of memory that cannot be read."""

_NUMBER: Final = "(?:0|[1-9][0-9]{0,17})"
_FILE: Final = re.compile(
    rf"{MEMORY}/(?:block_size_bytes|auto_online_blocks|crash_hotplug|{'|'.join(_ONLY_WRITTEN)})"
    rf"|{MEMORY}/memory{_NUMBER}/(?:state|online|removable|valid_zones|phys_index|phys_device)"
    rf"|{NODE}/(?:online|possible|has_memory|has_normal_memory)"
    rf"|{FIRMWARE}/memory{_NUMBER}/(?:config|memmap_on_memory)"
    rf"|{PARAMETERS}/[a-z_]{{1,64}}"
)
_LINK: Final = re.compile(
    rf"{MEMORY}/memory{_NUMBER}/(node{_NUMBER})|{NODE}/node{_NUMBER}/(memory{_NUMBER})"
)
_DIRECTORY: Final = re.compile(
    rf"(?:{MEMORY}|{FIRMWARE})(?:/memory{_NUMBER})?|{NODE}(?:/node{_NUMBER})?|{PARAMETERS}"
)

_STARTS: Final = re.compile(r"(?:^|/)(?=(?:sys|proc|etc|run|usr|lib)/.|memsim-capture\.json\Z)")
"""Where the path from the root may begin, which can be a directory in an archive."""

_RELEASE: Final = f"{KERNEL}/osrelease"

_NO_TEXT: Final = frozenset(f"{MEMORY}/{name}" for name in _ONLY_WRITTEN)

_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError, PermissionError)

_GONE: Final = (errno.ENOENT, errno.ENODEV)


def read_tree(root: str | os.PathLike[str]) -> Iterator[tuple[str, bytes | str]]:
    """The sysfs files about memory below a root: path -> content, and path -> target of a link.

    The root may be an archive that `capture` made. Files are only opened for reading. A file that
    disappears meanwhile is left out. Raises NoBlocksError, IrregularError, NotACaptureError and
    OSError.
    """
    if os.path.isfile(root):
        yield from _read_archive(os.fspath(root), _is_of_sysfs)
        return
    base = os.fspath(root)
    with Beneath(base) as files:
        if files.kind(f"{MEMORY}/block_size_bytes") is None:
            raise NoBlocksError(base, MEMORY)
        for tree in (MEMORY, NODE, FIRMWARE, PARAMETERS):
            if files.kind(tree):
                yield from _below(files, tree)


def read_release(root: str | os.PathLike[str]) -> str | None:
    """The release of the kernel of a tree or an archive; None if it does not tell that."""
    text = read_beside(root, _RELEASE).strip()
    return text if RELEASE.fullmatch(text) else None


def read_beside(root: str | os.PathLike[str], path: str) -> str:
    """The text of one of the files of `system_files` in a tree or an archive; empty without it."""
    found: bytes | str | None = None
    if os.path.isfile(root):
        wanted = (path, f"{MEMORY}/block_size_bytes").__contains__
        found = dict(_read_archive(os.fspath(root), wanted)).get(path)
    else:
        with Beneath(os.fspath(root)) as files, suppress(*_NOT_THERE):
            found = files.read(path, MOST_BYTES)
    return found.decode(errors="replace") if isinstance(found, bytes) else ""


def _read_all(root: str | os.PathLike[str]) -> Iterator[tuple[str, bytes | str]]:
    """What `capture` takes: the tree, and the files of `system_files`."""
    if os.path.isfile(root):
        yield from _read_archive(os.fspath(root), _is_taken)
        return
    yield from read_tree(root)
    with Beneath(os.fspath(root)) as files:
        yield from read_system_files(files)


def _below(files: Beneath, directory: str) -> Iterator[tuple[str, bytes | str]]:
    for name in sorted(files.listdir(directory), key=_by_number):
        path = f"{directory}/{name}"
        try:
            if _LINK.fullmatch(path):
                yield path, _link(files, path)
            elif path in _NO_TEXT:
                files.expect("file", path)
                yield path, b""
            elif _FILE.fullmatch(path):
                yield path, files.read(path, MOST_TEXT)
            elif _DIRECTORY.fullmatch(path):
                yield from _below(files, path)
        except OSError as error:
            if error.errno not in _GONE:
                raise


def _link(files: Beneath, path: str) -> str:
    """The target of a link; in a tree without links, a directory is in its place."""
    if files.kind(path) == "dir":
        return _expected(path)
    files.expect("link", path)
    return _checked(f"{files.name}/{path}", path, files.readlink(path))


def _by_number(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _expected(path: str) -> str:
    """The target of the link between a node and a block."""
    return f"../../{'node' if path.startswith(MEMORY) else 'memory'}/{path.rpartition('/')[2]}"


def _checked(where: str, path: str, target: str) -> str:
    """The target of a link. Raises IrregularError for another one than the kernel's."""
    if target != _expected(path):
        raise IrregularError(where, f"a symbolic link to {_expected(path)}", f"one to {target}")
    return target


def _read_archive(path: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | str]]:
    found: dict[str, bytes | str] = {}
    contents: dict[str, bytes] = {}
    for name, kind, size, read, to in _members(path, wanted):
        where = f"{path}: {name}"
        content = contents.get(to) if kind == "a hard link" else None
        target = to if kind == "a symbolic link" else None
        if kind == "a regular file":
            if size > _most(name):
                raise IrregularError(where, f"{_most(name)} bytes at most", "more")
            contents[name] = content = read
        if is_system_file(name) and (content is not None or target == MASK):
            kept = MASK if content is None else cleaned(name, content)
            if kept or not content:
                found[name] = kept
        elif content is not None:
            found[name] = content
        elif target is not None and _LINK.fullmatch(name):
            found[name] = _checked(where, name, target)
        elif _LINK.fullmatch(name) and kind == "a directory":
            found[name] = _expected(name)
        else:
            raise IrregularError(where, "a regular file", kind)
    if f"{MEMORY}/block_size_bytes" not in found:
        raise NoBlocksError(path, MEMORY)
    yield from found.items()


def _members(path: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The members of an archive whose path, from the root of the captured tree, is a WANTED one."""

    def place(name: str) -> tuple[str, int] | None:
        whole = os.path.normpath(name)
        starts = (whole[found.end() :] for found in _STARTS.finditer(whole))
        below = next(filter(wanted, starts), None)
        return None if below is None else (below, _most(below))

    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise IrregularError(path, "a regular file", kind_of(mode))
        try:
            yield from members(file, place)
        except (BrokenArchiveError, MemoryError) as error:
            raise NotACaptureError(path) from error


def _is_of_sysfs(path: str) -> bool:
    return bool(_LINK.fullmatch(path) or _FILE.fullmatch(path))


def _is_taken(path: str) -> bool:
    return _is_of_sysfs(path) or is_system_file(path)


def _most(path: str) -> int:
    return MOST_BYTES if is_system_file(path) else MOST_TEXT


def capture_tree(target: str | os.PathLike[str], root: str | os.PathLike[str] = "/") -> int:
    """Copy the tree below a root into TARGET, a .tar.gz or a new directory; return how many files.

    TARGET appears complete or not at all. Raises FileExistsError if it exists already, and what
    `read_tree` raises. Beside the tree there are the files of `system_files`.
    """
    if not os.fspath(target):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "")
    final = Path(target).absolute()
    if os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    made = final.with_name(f".{final.name}.{os.getpid()}.new")
    pack = _to_archive if final.name.endswith((".tar.gz", ".tgz")) else _to_directory
    with undisturbed() as disturbed:
        try:
            with disturbed():
                count = pack(made, _read_all(root))
            made.rename(final)
        finally:
            if made.is_dir():
                shutil.rmtree(made)
            else:
                made.unlink(missing_ok=True)
    return count


def _to_archive(path: Path, entries: Iterator[tuple[str, bytes | str]]) -> int:
    count = 0
    with open(path, "xb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
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
