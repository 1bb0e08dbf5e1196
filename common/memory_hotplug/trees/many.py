"""Read an attribute of many blocks, or names in their directories: each has a directory memoryN."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Sequence

from memory_hotplug.named_tuple import NamedTuple
from safe_files.beneath import check_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.trees.sharing import TextOrErrno

__all__ = [
    "LISTING",
    "PAGE",
    "READING",
    "SHORT",
    "Links",
    "gone",
    "joined",
    "or_error",
    "outcomes",
    "read_part",
    "whole",
]

PAGE = 4096
"""The maximum size of a sysfs attribute in bytes (fs/sysfs/file.c)."""

_LONGEST = 1 << 20
"""The maximum of a file of /proc that is read, in bytes; those are not limited to a page."""

_AT_ONCE = 1 << 16
"""Bytes. To allocate more takes longer than the read of most files."""

SHORT = 128
"""More than an attribute of a block has. Allocating a whole page takes longer than the read."""

_MANY = 4096
"""So many blocks are read by several processes."""

# O_NONBLOCK keeps a FIFO or a device from blocking; it has no effect on a regular file.
READING = os.O_RDONLY | os.O_NONBLOCK
LISTING = os.O_RDONLY | os.O_DIRECTORY


class Links(NamedTuple):
    """Links in the directories of blocks."""

    prefix: str
    """What their names begin with."""
    enough: Sequence[str] = ()
    """The first one of these that is there may stand for all."""


def outcomes(
    path: Callable[[int], str],
    read: Callable[[Sequence[int]], list[TextOrErrno]],
    numbers: Sequence[int],
    count: int,
) -> tuple[list[bytes | OSError], Collection[int]]:
    """The COUNT texts that READ gives for all blocks, or the error for each, about the PATH for its
    index; and the indexes of errors to look at again, which are all except that the file does not
    exist."""
    if len(numbers) < _MANY:
        results = read(numbers)
    else:
        from memory_hotplug.trees.sharing import read_shared

        results = read_shared(read, numbers, count // len(numbers))
    if all(isinstance(result, bytes) for result in set(results)):
        return results, ()  # type: ignore[return-value]  # there is no errno
    values = [
        result if isinstance(result, bytes) else OSError(result, os.strerror(result), path(index))
        for index, result in enumerate(results)
    ]
    odd = [
        index
        for index, value in enumerate(values)
        if isinstance(value, OSError) and not gone(value)
    ]
    return values, odd


def read_part(
    files: Sequence[bytes], links: Links | None, at: int, flags: int, numbers: Sequence[int]
) -> list[TextOrErrno]:
    """The texts of FILES of each block, whose names have a slash in front, and the names of its
    LINKS; those of one block after those of the block before, which the kernel then finds
    faster."""
    # On a large machine this loop takes most of the time of lsmem: three system calls, and nothing
    # else. Paths of bytes need no encoding. A read at an offset fails on a FIFO. The type of a file
    # is checked once for each text, because a machine has few different texts. To look a name up
    # takes a quarter of the time of a listing.
    enough = [(b"/" + name, name) for name in map(os.fsencode, links.enough)] if links else []
    opening, listing = flags | READING, flags | LISTING
    open_, read, close, access, here = os.open, os.pread, os.close, os.access, os.F_OK
    results: list[TextOrErrno] = []
    append = results.append
    known: dict[bytes, bytes] = {}
    for number in numbers:
        block = b"memory%d" % number
        for name in files:
            try:
                file = open_(block + name, opening, dir_fd=at)
                try:
                    text = read(file, SHORT, 0)
                    try:
                        append(known[text])
                    except KeyError:
                        append(whole(file, text))
                        if len(text) < SHORT:
                            known[text] = text
                finally:
                    close(file)
            except OSError as error:
                append(error.errno or errno.EIO)
        for path, name in enough:
            if access(block + path, here, dir_fd=at, follow_symlinks=False):
                append(name)
                break
        else:
            if links:
                names = _listed(block, links.prefix, at, listing)
                append(known.setdefault(names, names) if isinstance(names, bytes) else names)
    return results


def _listed(block: bytes, prefix: str, at: int, flags: int) -> TextOrErrno:
    try:
        directory = os.open(block, flags, dir_fd=at)
        try:
            return joined(os.listdir(directory), prefix)
        finally:
            os.close(directory)
    except OSError as error:
        return error.errno or errno.EIO


def whole(file: int, start: bytes, path: str = "") -> bytes:
    """The text of a file that begins with START. Raises OSError if it is not a regular file."""
    check_regular(os.fstat(file), path)
    if len(start) < SHORT:
        return start
    limit = _LONGEST if path.startswith("proc/") else PAGE
    # One read of a file of /proc gives a page or less, however much is asked for.
    while more := os.pread(file, min(limit - len(start), _AT_ONCE), len(start)):
        start += more
    return start


def joined(names: Iterable[str], prefix: str) -> bytes:
    """The names that begin with PREFIX, sorted, with a slash between two: no name has one."""
    return os.fsencode("/".join(sorted([name for name in names if name.startswith(prefix)])))


def or_error(read: Callable[[str], bytes], path: str) -> bytes | OSError:
    """What READ gives for a path, or its error."""
    try:
        return read(path)
    except OSError as error:
        return error


def gone(error: OSError) -> bool:
    """Whether the error says that the file does not exist, or does not exist any more."""
    return error.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)
