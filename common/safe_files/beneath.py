"""Open files below a directory, and no other files.

Each name is opened relative to the descriptor of its parent. So a path cannot lead out, even if
another process moves or replaces directories at the same time.
"""

import errno
import os
import stat

__all__ = [
    "MOST_LINKS",
    "Ways",
    "check_regular",
    "check_writable",
    "directory_above",
    "kind_of",
    "open_beneath",
    "os_error",
]

_PASSING = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW

_NO_NAMES = frozenset(("", ".", ".."))

MOST_LINKS = 40
"""The maximum of symbolic links in a path (include/linux/namei.h, MAXSYMLINKS)."""

_KINDS = {
    stat.S_IFREG: "a regular file",
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
    """The OSError for an error number, with text that suits a tree."""
    return OSError(number, _REASONS.get(number) or os.strerror(number), path)


def directory_above(root: int, path: str) -> tuple[int, str]:
    """A new descriptor of the directory of PATH below the directory ROOT, and its last name.

    No symbolic link is followed. Raises OSError; ENOTDIR for a link, and EINVAL for a path that
    is no path of a file in a directory.
    """
    *way, name = path.split("/")
    if not way or not _NO_NAMES.isdisjoint(way) or name in _NO_NAMES:
        raise os_error(errno.EINVAL, path)
    at = root
    try:
        for directory in way:
            below = os.open(directory, _PASSING, dir_fd=at)
            if at != root:
                os.close(at)
            at = below
    except BaseException:
        if at != root:
            os.close(at)
        raise
    return at, name


class Ways:
    """Ways to the directories of many files, of which each has a directory of its own.

    The directory around these stays open from one file to the next, and is opened anew if another
    one is at its path, such as one that was mounted there. This is for where nobody can move it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, os.stat_result]] = {}
        """Path of a directory -> its descriptor and status."""

    def above(self, root: int, path: str) -> tuple[int, str]:
        """As `directory_above`; ROOT is the same each time."""
        if path.count("/") < 2:
            return directory_above(root, path)
        around, directory, name = path.rsplit("/", 2)
        now = os.stat(around, dir_fd=root, follow_symlinks=False)
        kept = self._kept.get(around)
        if kept is None or not os.path.samestat(kept[1], now):
            if kept:
                os.close(self._kept.pop(around)[0])
            at, _ = directory_above(root, f"{around}/{directory}")
            kept = self._kept[around] = at, os.fstat(at)
        return directory_above(kept[0], f"{directory}/{name}")

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.popitem()[1][0])


def open_beneath(root: int, where: str, path: str, flags: int) -> int:
    """A descriptor of PATH below the directory ROOT; no link out of ROOT is followed.

    A link may begin with WHERE, the path of ROOT. Raises OSError; EXDEV for a link out of ROOT.
    Since Linux 5.6 the kernel's openat2(2) does the same with RESOLVE_BENEATH, but Python does not
    have it, and loading ctypes takes longer than this loop.
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
            if links > MOST_LINKS:
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
    """A descriptor of NAME in the directory AT or, for a symbolic link, its target."""
    try:
        file = os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            try:
                return os.readlink(name, dir_fd=at)
            except OSError:
                pass
        raise
    # With O_DIRECTORY a link is an error.
    if flags & (os.O_PATH | os.O_DIRECTORY) == os.O_PATH and stat.S_ISLNK(os.fstat(file).st_mode):
        os.close(file)
        return os.readlink(name, dir_fd=at)
    return file


def kind_of(mode: int) -> str:
    """What a file is, in words, by its mode (stat(2))."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def check_regular(found: os.stat_result, path: str) -> None:
    """Raises OSError, EMEDIUMTYPE, if it is not a regular file."""
    if not stat.S_ISREG(found.st_mode):
        kind = kind_of(found.st_mode)
        raise OSError(errno.EMEDIUMTYPE, f"{kind}, not a regular file", path)


def check_writable(found: os.stat_result, path: str, *, shared: bool = False) -> None:
    """Raises OSError if it is not a regular file, or has other names and is not SHARED."""
    if stat.S_ISLNK(found.st_mode):
        raise os_error(errno.ELOOP, path)
    check_regular(found, path)
    if found.st_nlink > 1 and not shared:
        raise os_error(errno.EMLINK, path)
