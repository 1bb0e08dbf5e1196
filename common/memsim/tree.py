"""A machine's /sys as plain files, links and directories: made whole, or changed."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from memsim import records
from memsim.child import beside
from memsim.errors import NoParentError
from memsim.kernel import Kernel
from memsim.machine_files import BLOCKS, LIVE, LOCK, MARK, PRIVATE
from memsim.sysfs import NODE, FileKind, Sysfs, SysfsEntry, block_named
from safe_files.fork import processors
from safe_files.linkless import DIRECTORY, Beneath
from safe_files.replace import create as create_file
from safe_files.signals import undisturbed

__all__ = ["MANY", "Shared", "Staged", "create", "fill", "put_in_place", "stage"]

MANY: Final = 16384
"""A machine with this many blocks or more is large: its directory takes a while to make, and all
of its files with the same content are one file."""

_MOST_PROCESSES: Final = 8


class Staged(NamedTuple):
    """A change of one path. `name` is where a new file or directory is until then."""

    path: str
    kind: FileKind | None
    name: str


def stage(files: Beneath, sysfs: Sysfs, paths: Iterable[str], beside: str) -> list[Staged]:
    """Make new files and directories for these paths, as the kernel shows them, in BESIDE.

    Raises IrregularError if something else is at a path now, or above it.
    """
    staged = []
    for number, path in enumerate(paths):
        kind, name = sysfs.kind(path), f"{beside}/{number}"
        if kind:
            files.directory(os.path.dirname(path))
            there = files.expect(kind, path)
            if kind == "dir" and there:
                # A directory comes and goes by one rename, so this one is complete.
                continue
        if kind == "file":
            entry = sysfs.entry(path)
            files.create(name, entry.content, entry.mode)
        elif kind == "dir":
            files.mkdir(name)
            fill(sysfs, path, files.directory(name))
        staged.append(Staged(path, kind, name))
    return staged


def put_in_place(files: Beneath, sysfs: Sysfs, staged: Iterable[Staged]) -> None:
    """Rename all that is staged into the tree.

    A directory is made before the links to it, and removed after them.
    """
    comes = [one for one in staged if one.kind]
    goes = [one for one in staged if not one.kind]
    for path, kind, name in sorted(comes, key=lambda one: one.path.startswith(NODE)):
        if kind != "link":
            files.rename(name, path)
        elif files.kind(path) is None:
            files.symlink(sysfs.readlink(path), path)
    for path, _, name in sorted(goes, key=lambda one: not one.path.startswith(NODE)):
        with suppress(FileNotFoundError):
            files.rename(path, name)


def fill(
    sysfs: Sysfs,
    path: str,
    at: int,
    shared: Shared | None = None,
    made: Callable[[], None] = lambda: None,
    part: Share | None = None,
) -> None:
    """Make the content of a directory of the machine in the empty directory AT, a descriptor; or
    a PART of it, beside processes that make the others.

    MADE is called for each directory that is complete. An OSError names the path below the
    machine's root.
    """
    for name, entry in sysfs.entries(path):
        block = part and block_named(name)
        if part and not part.has(block, entry):
            continue
        below = f"{path}/{name}" if path else name
        try:
            if entry.kind == "link":
                os.symlink(entry.target, name, dir_fd=at)
            elif entry.kind == "file":
                if not (shared and shared.link(entry, name, below, at)):
                    create_file(name, entry.content, entry.mode, at)
            else:
                with suppress(FileExistsError) if part and block is None else nullcontext():
                    os.mkdir(name, dir_fd=at)
                deeper = os.open(name, DIRECTORY, dir_fd=at)
        except OSError as error:
            raise OSError(error.errno, error.strerror, below) from None
        if entry.kind == "dir":
            try:
                # All in the directory of a block is made by one process.
                fill(sysfs, below, deeper, shared, made, part if block is None else None)
            finally:
                os.close(deeper)
            made()


class Share(NamedTuple):
    """What one of several processes makes of a machine's directory.

    All of them make the directories that are not of one block; the first makes the files there.
    """

    number: int
    of: int

    def has(self, block: int | None, entry: SysfsEntry) -> bool:
        if block is None:
            return self.number == 0 or entry.kind == "dir"
        return block % self.of == self.number


class Shared:
    """Files with the same content and permissions, which are one file with many names.

    On a machine of 65,536 blocks this saves nine of ten files, a gigabyte, and most of the time.
    A write to the machine gives a name a new file; but a program that writes into a file without
    memsim changes what all its names show. So files that such a program would write to are shared
    on large machines only.
    """

    def __init__(self, top: int, *, writable: bool) -> None:
        """TOP is a descriptor of the machine's directory. With WRITABLE all files are shared,
        otherwise only those that are read-only."""
        self._top = top
        self._writable = writable
        self._known: dict[tuple[bytes, int], str] = {}

    def link(self, entry: SysfsEntry, name: str, path: str, at: int) -> bool:
        """Make a file as another name of one that is there: NAME in the directory AT.

        False if there is none, or it has too many names; the caller then makes the file, PATH,
        whose names the next ones are.
        """
        if entry.mode & 0o222 and not self._writable:
            return False
        alike = entry.content, entry.mode
        if known := self._known.get(alike):
            try:
                os.link(known, name, src_dir_fd=self._top, dst_dir_fd=at)
                return True
            except OSError:
                pass
        self._known[alike] = path
        return False


def create(
    path: str | os.PathLike[str], kernel: Kernel, made: Callable[[], None] = lambda: None
) -> None:
    """Put a machine into a new directory, which appears complete or not at all.

    MADE is called for each directory in it that is complete. Raises FileExistsError if the path
    exists and is not an empty directory, and NoParentError if its parent does not exist.
    """
    sysfs = Sysfs(kernel)
    if not os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "")
    final = Path(path).absolute()
    if final.is_symlink() or (final.exists() and not (final.is_dir() and not any(final.iterdir()))):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    if not final.parent.is_dir():
        raise NoParentError(str(path), str(final.parent))
    record = records.machine_record(kernel.machine)
    with undisturbed() as disturbed:
        new = tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".new", dir=final.parent)
        try:
            with disturbed():
                _fill_new(new, sysfs, record, made)
            os.rename(new, final)
        except OSError as error:
            name = error.filename
            where = path if name in (None, new) else f"{path}/{name}"
            raise OSError(error.errno, error.strerror, str(where)) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)
    sysfs.take_changes()


def _fill_sys(sysfs: Sysfs, at: int, made: Callable[[], None]) -> None:
    if len(sysfs.kernel.blocks) < MANY:
        fill(sysfs, "", at, Shared(at, writable=False), made)
        return
    count = min(processors(), _MOST_PROCESSES)

    def make(number: int, told: Callable[[], None] = lambda: None) -> None:
        fill(sysfs, "", at, Shared(at, writable=True), told, Share(number, count))

    def all_made() -> None:
        # The others are as far as this process.
        for _ in range(count):
            made()

    with ExitStack() as others:
        for number in range(1, count):
            others.enter_context(beside(partial(make, number)))
        make(0, all_made)


def _fill_new(directory: str, sysfs: Sysfs, machine: bytes, made: Callable[[], None]) -> None:
    """Make all files of a machine; MACHINE is its record."""
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _fill_sys(sysfs, at, made)
        os.mkdir(PRIVATE, dir_fd=at)
        for name, content in (
            (MARK, machine),
            (BLOCKS, sysfs.kernel.blocks.content()),
            (LIVE, records.live_record(sysfs.kernel)),
            (LOCK, b""),
        ):
            create_file(name, content, 0o644, at)
        os.fchmod(at, 0o755)
    finally:
        os.close(at)
