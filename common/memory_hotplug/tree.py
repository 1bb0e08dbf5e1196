"""Read, write and list attributes below a root.

Paths are relative to the root and use no leading slash: ``sys/devices/system/memory``. What is
below any root but ``/`` may be somebody else's work, and is not trusted: nothing is written to and
nothing is read from outside, and what is no regular file is refused.
"""

import errno
import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, Self

from memory_hotplug.beneath import (
    check_regular,
    check_writable,
    directory_above,
    open_beneath,
    os_error,
)

__all__ = ["PAGE", "FileTree", "Tree", "gone"]

PAGE = 4096
"""Bytes; a sysfs attribute never holds more (fs/sysfs/file.c)."""

_SHORT = 128
"""More than the kernel has to say of a block; to make room for a page takes longer than to read."""

_FILE_CLOCK = 5
"""CLOCK_REALTIME_COARSE (include/uapi/linux/time.h), by which the kernel notes when a file changed
(fs/inode.c, current_time). Python has no name for it."""

_LINKS_KEPT = 1000
"""Most symbolic links in a directory that are kept in mind; more would be no blocks."""

# A FIFO or a device must not keep us waiting; to a regular file O_NONBLOCK means nothing.
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_WRITING = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Tree(Protocol):
    """What a machine is read from and written to. All errors are OSError, as the kernel's."""

    root: str
    """What a person calls it: a directory, or an archive."""
    is_this_machine: bool
    """Whether what is read and written is the running kernel's own."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory, in no order."""

    def read(self, path: str) -> bytes:
        """The text of an attribute."""

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        """An attribute of the directories memoryN below one, for each N; or why it has none."""

    def write(self, path: str, word: str) -> None:
        """Write one word to an attribute, in a single write, and without a newline."""

    def refusal(self, path: str) -> OSError | None:
        """Why a write to the attribute could not even be tried; None where it can."""

    def revision(self) -> object:
        """What differs once the machine has changed; None where nothing tells so cheaply."""

    def close(self) -> None:
        """Let go of what is open. Nothing can be read or written afterwards."""


class FileTree:
    """A tree of files: the machine's own /sys, or a captured one."""

    def __init__(self, root: str) -> None:
        """Raises OSError where ROOT is no directory that can be reached."""
        self.root = root or "/"
        self._root = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.is_this_machine = os.path.samestat(os.fstat(self._root), os.stat("/"))
        self._links: dict[str, tuple[_Version, frozenset[str]]] = {}
        """Directory -> its version, and the symbolic links that were in it then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def revision(self) -> object:
        return None

    # Reading. On this machine the kernel vouches for what is there, and walks the paths.

    def names(self, directory: str) -> list[str]:
        with self._opened(directory, _LISTING) as at:
            return os.listdir(at) if self.is_this_machine else self._list(directory, at)

    def read(self, path: str) -> bytes:
        """The text of an attribute. Raises OSError, also where a symbolic link leads out of the
        tree, and where there is something else than a regular file."""
        try:
            with self._opened(path, _READING) as file:
                return _whole(file, os.pread(file, _SHORT, 0))
        except OSError as error:
            raise self._explained(path, error) from None

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        """As the protocol says. Raises OSError where DIRECTORY itself cannot be opened.

        Of another machine, memoryN could be a symbolic link that leads out of the tree. To walk
        each path by itself would cost half as much again. So a listing tells which blocks are
        links, and the directory's time of change that none has become one meanwhile; else
        attributes are read one by one.
        """
        numbers = list(numbers)
        with self._opened(directory, _LISTING) as at:
            if self.is_this_machine:
                return _read_each(at, numbers, attribute, _READING)[0]
            links = self._links_in(directory, at)
            if links is None:
                return [self._read_one(directory, number, attribute) for number in numbers]
            version = self._links[directory][0]
            values, odd = _read_each(at, numbers, attribute, _READING | os.O_NOFOLLOW)
            if _version(at) != version:
                odd = range(len(numbers))
        if links:
            linked = (i for i, number in enumerate(numbers) if f"memory{number}" in links)
            odd = {*odd, *linked}
        for index in odd:
            values[index] = self._read_one(directory, numbers[index], attribute)
        return values

    def _read_one(self, directory: str, number: int, attribute: str) -> bytes | OSError:
        try:
            return self.read(f"{directory}/memory{number}/{attribute}")
        except OSError as error:
            return error

    def _list(self, directory: str, at: int) -> list[str]:
        """The names in a directory; which are symbolic links is kept in mind."""
        # A change from now on gets a later time, by the clock that the kernel gives to files.
        clock, version = time.clock_gettime_ns(_FILE_CLOCK), _version(at)
        names: list[str] = []
        links: set[str] = set()
        with os.scandir(at) as entries:
            for entry in entries:
                names.append(entry.name)
                if entry.is_symlink():
                    links.add(entry.name)
        self._links.pop(directory, None)
        if version.changed < clock and len(links) <= _LINKS_KEPT:
            self._links[directory] = version, frozenset(links)
        return names

    def _links_in(self, directory: str, at: int) -> frozenset[str] | None:
        """The symbolic links in a directory; None where it changes too often to say."""
        version = _version(at)
        if directory not in self._links or self._links[directory][0] != version:
            self._list(directory, at)
        known = self._links.get(directory)
        return known[1] if known and known[0] == version else None

    @contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int]:
        """A descriptor of what is at a path, for reading."""
        if self.is_this_machine:
            file = os.open(path, flags, dir_fd=self._root)
        else:
            file = open_beneath(self._root, self.root, path, flags)
        try:
            yield file
        finally:
            os.close(file)

    def _explained(self, path: str, error: OSError) -> OSError:
        """The error, or that there is no regular file, which may be its cause."""
        if gone(error) or error.errno in (errno.EXDEV, errno.EMEDIUMTYPE):
            return error
        try:
            with self._opened(path, os.O_PATH | os.O_CLOEXEC) as file:
                check_regular(os.fstat(file), path)
        except OSError as explained:
            return explained if explained.errno == errno.EMEDIUMTYPE else error
        return error

    # Writing. No symbolic link is followed, on this machine either.

    def write(self, path: str, word: str) -> None:
        """Write WORD as the whole of the attribute, in one write.

        Directories are opened one by one from the root, each below the one before, and the
        attribute below the last: a link on the way, also one that was a directory a moment ago,
        is ELOOP or ENOTDIR and nothing is written. What a captured tree links to may be this
        machine's own /sys. Below such a tree a file that has other names (hard links) is refused
        as well, EMLINK, and what is no regular file, EMEDIUMTYPE.
        """
        data = word.encode()
        with directory_above(self._root, path) as (at, name):
            if not self.is_this_machine:
                # Opening a device can be an act by itself.
                check_writable(os.stat(name, dir_fd=at, follow_symlinks=False), path)
            file = os.open(name, _WRITING, dir_fd=at)
        try:
            if not self.is_this_machine:
                check_writable(os.fstat(file), path)
            if os.write(file, data) != len(data):
                raise os_error(errno.ENOSPC, path)
            if not self.is_this_machine:
                # A captured file must hold the word and no more. To truncate it at the opening
                # would cost as much as the rest: file systems then flush it when it is closed.
                os.ftruncate(file, len(data))
        finally:
            os.close(file)

    def refusal(self, path: str) -> OSError | None:
        """Why `write` could not be tried, found out without opening the attribute.

        A file that nobody may write to counts as such for root, too: a tree of a read-only
        medium, or one that its owner protected.
        """
        return self._refusal(path, shared=self.is_this_machine)

    def _refusal(self, path: str, *, shared: bool) -> OSError | None:
        try:
            with directory_above(self._root, path) as (at, name):
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                check_writable(found, path, shared=shared)
                if os.fstatvfs(at).f_flag & os.ST_RDONLY:
                    return os_error(errno.EROFS, path)
                allowed = os.access(name, os.W_OK, dir_fd=at) and found.st_mode & 0o222
        except OSError as error:
            return error
        return None if allowed else os_error(errno.EACCES, path)


class _Version(NamedTuple):
    """Which directory, and when it last changed: a name in it cannot become another file without
    this becoming different."""

    device: int
    inode: int
    changed: int
    """Nanoseconds since the epoch."""


def _version(directory: int) -> _Version:
    found = os.fstat(directory)
    return _Version(found.st_dev, found.st_ino, found.st_ctime_ns)


def _read_each(
    at: int, numbers: Iterable[int], attribute: str, flags: int
) -> tuple[list[bytes | OSError], Collection[int]]:
    """An attribute of each block in the directory AT, or why there is none; and the indexes of
    what needs another look: errors other than that there is none."""
    # On a large machine this loop is most of lsmem: three system calls, and nothing else.
    # Paths of bytes spare it the encoding. A read at an offset fails on a FIFO. For the rest a
    # file's kind is asked once for each text that it may hold: a machine has few of them.
    path = b"memory%d/" + os.fsencode(attribute)
    open_, read, close = os.open, os.pread, os.close
    values: list[bytes | OSError] = []
    append = values.append
    known: set[bytes] = set()
    odd: list[int] = []
    for number in numbers:
        try:
            file = open_(path % number, flags, dir_fd=at)
            try:
                text = read(file, _SHORT, 0)
                if text not in known:
                    text = _whole(file, text)
                    known.add(text)
                append(text)
            finally:
                close(file)
        except OSError as error:
            if not gone(error):
                odd.append(len(values))
            append(error)
    return values, odd


def _whole(file: int, start: bytes) -> bytes:
    """The text of a file of which START was read; raises OSError unless the file is regular."""
    check_regular(os.fstat(file))
    return start if len(start) < _SHORT else start + os.pread(file, PAGE - _SHORT, _SHORT)


def gone(error: OSError) -> bool:
    """Whether the error says that the file does not exist, now or at all."""
    return error.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)
