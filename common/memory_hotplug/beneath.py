"""Open what is below a directory, and nothing that is elsewhere.

Every name is opened in the directory before it, so that nobody who moves or replaces directories
meanwhile leads us out.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["check_regular", "check_writable", "directory_above", "open_beneath", "os_error"]

_PASSING = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_MOST_LINKS = 40
"""Symbolic links that are followed on one way (include/linux/namei.h, MAXSYMLINKS)."""

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
}

_REASONS = {
    errno.EXDEV: "a symbolic link leads out of the tree",
    errno.EMLINK: "the file has other names (hard links)",
}


def os_error(number: int, path: str) -> OSError:
    """The error as the kernel would raise it, where its words are not wrong for a tree."""
    return OSError(number, _REASONS.get(number) or os.strerror(number), path)


@contextmanager
def directory_above(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that the last name of PATH is in, reached from the directory ROOT through no
    symbolic link at all, and that name. Raises OSError, ENOTDIR where there is a link."""
    *way, name = path.split("/")
    if {"", ".", ".."} & {*way, name}:
        raise os_error(errno.EINVAL, path)
    at, opened = root, []
    try:
        for directory in way:
            at = os.open(directory, _PASSING, dir_fd=at)
            opened.append(at)
        yield at, name
    finally:
        for descriptor in opened:
            os.close(descriptor)


def open_beneath(root: int, where: str, path: str, flags: int) -> int:
    """A descriptor of what is at PATH below the directory ROOT, by no link that leads out of it.

    A link may go by WHERE, the root's own path. Raises OSError, EXDEV where it leads out. The
    kernel's openat2(2) does the same with RESOLVE_BENEATH, since Linux 5.6; Python has no such
    call, and to load ctypes for it takes longer than to walk.
    """
    todo, way, links, entered = path.split("/")[::-1], [root], 0, False
    try:
        while todo:
            name = todo.pop()
            if name in ("", "."):
                entered = False
                continue
            if name == "..":
                if len(way) == 1:
                    raise os_error(errno.EXDEV, path)
                os.close(way.pop())
                entered = False
                continue
            found = _step(way[-1], name, _PASSING if todo else flags | os.O_NOFOLLOW)
            if isinstance(found, int):
                way.append(found)
                entered = not todo
                continue
            links += 1
            if links > _MOST_LINKS:
                raise os_error(errno.ELOOP, path)
            if found.startswith("/"):
                real = os.path.realpath(where)
                if not f"{found}/".startswith(f"{real}/"):
                    raise os_error(errno.EXDEV, path)
                found = found[len(real) :]
                while len(way) > 1:
                    os.close(way.pop())
            todo += found.split("/")[::-1]
        return way.pop() if entered else os.open(".", flags, dir_fd=way[-1])
    finally:
        for descriptor in way[1:]:
            os.close(descriptor)


def _step(at: int, name: str, flags: int) -> int | str:
    """A descriptor of what has that name in the directory AT, or where the link points to."""
    try:
        file = os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            with suppress(OSError):
                return os.readlink(name, dir_fd=at)
        raise
    if flags & os.O_PATH and stat.S_ISLNK(os.fstat(file).st_mode):
        os.close(file)
        return os.readlink(name, dir_fd=at)
    return file


def check_regular(found: os.stat_result, path: str = "") -> None:
    """Raises OSError, EMEDIUMTYPE, unless it is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EMEDIUMTYPE, f"{kind}, not a regular file", path)


def check_writable(found: os.stat_result, path: str, *, shared: bool = False) -> None:
    """Raises OSError unless it is a regular file, and one that has no other name or is SHARED."""
    if stat.S_ISLNK(found.st_mode):
        raise os_error(errno.ELOOP, path)
    check_regular(found, path)
    if found.st_nlink > 1 and not shared:
        raise os_error(errno.EMLINK, path)
