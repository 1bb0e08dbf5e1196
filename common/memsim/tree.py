"""A machine's /sys as plain files, links and directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from memsim.beneath import DIRECTORY, Beneath, create
from memsim.sysfs import NODE, Kind, Sysfs

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
    for below, kind, content, mode in sysfs.entries(path):
        name = os.path.basename(below)
        try:
            if kind == "link":
                os.symlink(content, name, dir_fd=at)
            elif kind == "file":
                if not (shared and mode == 0o444 and shared.link(name, content, below, at)):
                    create(name, content, mode, at)
            else:
                os.mkdir(name, dir_fd=at)
                deeper = os.open(name, DIRECTORY, dir_fd=at)
        except OSError as error:
            raise OSError(error.errno, error.strerror, below) from None
        if kind == "dir":
            try:
                fill(sysfs, below, deeper, shared, made)
            finally:
                os.close(deeper)
            made()


class Shared:
    """Read-only files with the same name and content, which are one file.

    No program writes to a read-only attribute. On a machine of 65,536 blocks this saves half of
    the inodes, and gigabytes.
    """

    def __init__(self, top: int) -> None:
        """TOP is a descriptor of the machine's directory."""
        self._top = top
        self._known: dict[tuple[str, bytes], str] = {}

    def link(self, name: str, content: bytes, path: str, at: int) -> bool:
        """Make a file as a link. False if there is no such file, or it has too many links."""
        known = self._known.get((name, content))
        if known:
            with suppress(OSError):
                os.link(known, name, src_dir_fd=self._top, dst_dir_fd=at)
                return True
        self._known[name, content] = path
        return False
