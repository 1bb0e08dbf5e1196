"""Read, write and list attributes below a root.

Paths are relative to the root, without a leading slash: ``sys/devices/system/memory``. A tree below
any root except ``/`` is not trusted: no file outside of it is read or written, and a file that is
not a regular file is refused.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable
from functools import partial

from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.many import (
    LISTING,
    READING,
    SHORT,
    Links,
    gone,
    joined,
    or_error,
    outcomes,
    read_part,
    whole,
)
from safe_files.beneath import (
    Ways,
    check_regular,
    check_writable,
    directory_above,
    open_beneath,
    os_error,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, Self
else:
    # What a protocol says is for type checkers only.
    Protocol = object

__all__ = [
    "ABOUT",
    "IOMEM",
    "LOG",
    "FileTree",
    "Packed",
    "Tree",
    "names_of",
    "read_one_by_one",
]

IOMEM = "proc/iomem"
LOG = "dev/kmsg"
ABOUT = "memsim-capture.json"
"""A captured tree has it: only a part of the machine's files is there."""


_FILE_CLOCK = 5
"""CLOCK_REALTIME_COARSE (include/uapi/linux/time.h), the clock of the times of files (fs/inode.c,
current_time). Python has no name for it."""

_LINKS_KEPT = 1000
"""The maximum of symbolic links in a directory that are remembered; blocks have fewer."""

_WRITING = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW


class Packed(Protocol):
    """An archive that is open. The paths are below its root."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory, not sorted. Raises OSError."""

    def read(self, path: str) -> bytes:
        """The content of a regular file. Raises OSError."""

    def link(self, path: str) -> str | None:
        """The target of a symbolic link; None if it is none."""


class Tree(Protocol):
    """A tree that a machine is read from and written to. All errors are OSError."""

    root: str
    """The path of the directory or the archive, as the user gave it."""
    is_this_machine: bool
    """Whether this is the /sys of the running kernel."""

    @property
    def place(self) -> str:
        """The directory below which the machine has its lock and journal. They are not part of
        sysfs."""

    @property
    def system(self) -> str | Packed:
        """Where layouts and udev rules are: below this directory, or in this archive."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory, not sorted."""

    def read(self, path: str) -> bytes:
        """The text of an attribute."""

    def read_each(
        self,
        directory: str,
        numbers: Iterable[int],
        *attributes: str,
        links: Links | None = None,
    ) -> list[bytes | OSError]:
        """ATTRIBUTES of memoryN in a directory, and then the names of its LINKS, as `joined` has
        them, for each N of NUMBERS; those of one block after those of the block before: the text
        of each, or an error."""

    def write(self, path: str, word: str) -> None:
        """Write one word to an attribute, in a single write, and without a newline."""

    def refusal(self, path: str) -> OSError | None:
        """The reason why the attribute cannot be opened for a write; None if it can."""

    def revision(self) -> object:
        """A value that differs after each change of the machine; None if there is no cheap one."""

    def close(self) -> None:
        """Close all descriptors. Nothing can be read or written afterwards."""


def read_one_by_one(
    tree: Tree, directory: str, numbers: Iterable[int], *attributes: str, links: Links | None = None
) -> list[bytes | OSError]:
    """`Tree.read_each`, for a tree in which nothing is gained by reading many blocks at once."""
    ways = _ways(tree, attributes, links)
    return [
        or_error(read, f"{directory}/memory{number}{name}")
        for number in numbers
        for name, read in ways
    ]


def _ways(
    tree: Tree, attributes: Iterable[str], links: Links | None
) -> list[tuple[str, Callable[[str], bytes]]]:
    """What the path of each has after that of the block, and what reads it alone."""
    ways: list[tuple[str, Callable[[str], bytes]]] = [
        (f"/{name}", tree.read) for name in attributes
    ]
    return [*ways, ("", partial(names_of, tree, links))] if links else ways


def names_of(tree: Tree, links: Links, block: str) -> bytes:
    """The names of LINKS in the directory of a block. Raises OSError."""
    return joined(tree.names(block), links.prefix)


class _Version(NamedTuple):
    """The identity of a directory, and its time of change. It differs after a name in the directory
    became another file."""

    device: int
    inode: int
    changed: int
    """Nanoseconds since the epoch."""


class _Opened:
    """A context with an open descriptor, which it closes. contextlib takes long to import."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> int:
        return self._file

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


class FileTree:
    """A tree of files: the machine's own /sys, or a captured one."""

    def __init__(self, root: str) -> None:
        """Raises OSError if ROOT is not a directory that can be opened."""
        self.root = self.system = self.place = root or "/"
        self._root = os.open(self.root, os.O_PATH | os.O_DIRECTORY)
        self._ways = Ways()
        self.is_this_machine = os.path.samestat(os.fstat(self._root), os.stat("/"))
        self._links: dict[str, tuple[_Version, frozenset[str]]] = {}
        """Directory -> its version, and the symbolic links that it had then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)
        self._ways.close()

    def revision(self) -> object:
        return None

    # Reading. On this machine the kernel is trusted, and resolves the paths.

    def names(self, directory: str) -> list[str]:
        with self._opened(directory, LISTING) as at:
            return os.listdir(at) if self.is_this_machine else self._list(directory, at)

    def read(self, path: str) -> bytes:
        """The text of an attribute. Raises OSError, also for a symbolic link out of the tree and
        for a file that is not a regular file."""
        try:
            file = self._open(path, READING)
            try:
                return whole(file, os.pread(file, SHORT, 0), path)
            finally:
                os.close(file)
        except OSError as error:
            raise self._explained(path, error) from None

    def descriptor(self, path: str) -> int:
        """A descriptor of a regular file that is longer than an attribute; the caller closes it.
        Raises OSError as `read` does."""
        file = self._open(path, READING)
        try:
            check_regular(os.fstat(file), path)
        except OSError:
            os.close(file)
            raise
        return file

    def read_each(
        self,
        directory: str,
        numbers: Iterable[int],
        *attributes: str,
        links: Links | None = None,
    ) -> list[bytes | OSError]:
        """See `Tree`. Raises OSError if DIRECTORY cannot be opened.

        On another machine memoryN can be a symbolic link out of the tree. Opening each memoryN for
        itself would take half as long again. So a listing of the directory shows that no block is
        a link, and the directory's time of change shows that none has become one since. If it
        has, nothing that was read is used. Then, and if there are links, each attribute is read
        for itself, which is slow.
        """
        numbers = list(numbers)
        ways = _ways(self, attributes, links)
        count = len(numbers) * len(ways)

        def path(index: int) -> str:
            block, way = divmod(index, len(ways))
            return f"{directory}/memory{numbers[block]}{ways[way][0]}"

        def alone(index: int) -> bytes | OSError:
            return or_error(ways[index % len(ways)][1], path(index))

        read = partial(read_part, [os.fsencode(f"/{name}") for name in attributes], links)
        with self._opened(directory, LISTING) as at:
            if self.is_this_machine:
                return outcomes(path, partial(read, at, 0), numbers, count)[0]
            version = self._version_without_links(directory, at, numbers)
            if version is None:
                return [*map(alone, range(count))]
            values, odd = outcomes(path, partial(read, at, os.O_NOFOLLOW), numbers, count)
            if _version(at) != version:
                odd = range(count)
        for index in odd:
            values[index] = alone(index)
        return values

    def _list(self, directory: str, at: int) -> list[str]:
        """The names in a directory. Its symbolic links are remembered."""
        # A later change gets a later time of this clock, which the kernel uses for files.
        clock, version = time.clock_gettime_ns(_FILE_CLOCK), _version(at)
        with os.scandir(at) as entries:
            found = list(entries)
        names = [entry.name for entry in found]
        links = frozenset([entry.name for entry in found if entry.is_symlink()])
        self._links.pop(directory, None)
        if version.changed < clock and len(links) <= _LINKS_KEPT:
            self._links[directory] = version, links
        return names

    def _version_without_links(
        self, directory: str, at: int, numbers: Iterable[int]
    ) -> _Version | None:
        """The version of a directory in which none of these blocks is a symbolic link.

        None if one is, and if the directory changes too often to know.
        """
        version = _version(at)
        if directory not in self._links or self._links[directory][0] != version:
            self._list(directory, at)
        known, links = self._links.get(directory, (None, frozenset[str]()))
        if known != version or (links and any(f"memory{number}" in links for number in numbers)):
            return None
        return version

    def _open(self, path: str, flags: int) -> int:
        """A new descriptor of a path, for reading."""
        if self.is_this_machine:
            return os.open(path, flags, dir_fd=self._root)
        return open_beneath(self._root, self.root, path, flags)

    def _opened(self, path: str, flags: int) -> _Opened:
        return _Opened(self._open(path, flags))

    def _explained(self, path: str, error: OSError) -> OSError:
        """The error, or another one that says that the file is not a regular file."""
        if gone(error) or error.errno in (errno.EXDEV, errno.EMEDIUMTYPE):
            return error
        try:
            with self._opened(path, os.O_PATH) as file:
                check_regular(os.fstat(file), path)
        except OSError as explained:
            return explained if explained.errno == errno.EMEDIUMTYPE else error
        return error

    # Writing. No symbolic link is followed, on this machine either.

    def write(self, path: str, word: str) -> None:
        """Write WORD as the whole content of the attribute, in one write.

        Directories are opened one by one from the root, each relative to the one before, and so is
        the attribute; on this machine that of all blocks stays open, as `Ways` says. A symbolic
        link on the way is ELOOP or ENOTDIR, even if it was a directory a moment ago: a captured
        tree can have links into this machine's own /sys. In a tree that is not this machine's, a
        file with other names (hard links) is EMLINK, and a file that is not a regular file
        EMEDIUMTYPE. Nothing is written then.
        """
        data = word.encode()
        here = self.is_this_machine
        at, name = self._ways.above(self._root, path) if here else directory_above(self._root, path)
        try:
            if not here:
                # Even opening a device can have an effect.
                check_writable(os.stat(name, dir_fd=at, follow_symlinks=False), path)
            file = os.open(name, _WRITING, dir_fd=at)
        finally:
            os.close(at)
        try:
            if not here:
                found = os.fstat(file)
                check_writable(found, path)
            if os.write(file, data) != len(data):
                raise os_error(errno.ENOSPC, path)
            if not here and found.st_size > len(data):
                # A captured file must have the word and nothing else. O_TRUNC doubles the time:
                # file systems then flush the file when it is closed.
                os.ftruncate(file, len(data))
        finally:
            os.close(file)

    def refusal(self, path: str) -> OSError | None:
        """The reason why `write` would fail, found without opening the attribute; None if there is
        none.

        A file without permission to write is refused for root, too: it may be on a read-only
        medium, or protected by its owner.
        """
        return self._refusal(path, shared=self.is_this_machine)

    def _refusal(self, path: str, *, shared: bool) -> OSError | None:
        try:
            at, name = directory_above(self._root, path)
            try:
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                check_writable(found, path, shared=shared)
                allowed = os.access(name, os.W_OK, dir_fd=at) and found.st_mode & 0o222
                if not allowed and os.fstatvfs(at).f_flag & os.ST_RDONLY:
                    return os_error(errno.EROFS, path)
            finally:
                os.close(at)
        except OSError as error:
            return error
        return None if allowed else os_error(errno.EACCES, path)


def _version(directory: int) -> _Version:
    found = os.fstat(directory)
    return _Version(found.st_dev, found.st_ino, found.st_ctime_ns)
