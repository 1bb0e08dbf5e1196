"""A machine's /sys as plain files, links and directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from memsim.beneath import DIRECTORY, Beneath, create
from memsim.sysfs import NODE, Entry, Kind, Sysfs

__all__ = ["Shared", "Staged", "fill", "put_in_place", "stage"]


class Staged(NamedTuple):
    """A change of one path. `name` is where a new file or directory is until then."""

    path: str
    kind: Kind | None
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
            files.create(name, sysfs.read(path), sysfs.mode(path))
        elif kind == "dir":
            files.mkdir(name)
            fill(sysfs, path, files.directory(name))
        staged.append(Staged(path, kind, name))
    return staged


def put_in_place(files: Beneath, sysfs: Sysfs, staged: Iterable[Staged]) -> None:
    """Rename all of it. A directory is made before the links to it, and removed after them."""
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
) -> None:
    """Make the content of a directory of the machine in the empty directory AT, a descriptor.

    MADE is called for each directory that is complete. An OSError names the path below the
    machine's root.
    """
    for name, entry in sysfs.entries(path):
        below = f"{path}/{name}" if path else name
        try:
            if entry.kind == "link":
                os.symlink(entry.target, name, dir_fd=at)
            elif entry.kind == "file":
                if not (shared and shared.link(entry, name, below, at)):
                    create(name, entry.content, entry.mode, at)
            else:
                os.mkdir(name, dir_fd=at)
                deeper = os.open(name, DIRECTORY, dir_fd=at)
        except OSError as error:
            raise OSError(error.errno, error.strerror, below) from None
        if entry.kind == "dir":
            try:
                fill(sysfs, below, deeper, shared, made)
            finally:
                os.close(deeper)
            made()


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

    def link(self, entry: Entry, name: str, path: str, at: int) -> bool:
        """Make a file as another name of one that is there: NAME in the directory AT.

        False if there is none, or it has too many names; the caller then makes the file, PATH,
        whose names the next ones are.
        """
        alike = entry.content, entry.mode
        if entry.mode & 0o222 and not self._writable:
            return False
        if known := self._known.get(alike):
            try:
                os.link(known, name, src_dir_fd=self._top, dst_dir_fd=at)
                return True
            except OSError:
                pass
        self._known[alike] = path
        return False
