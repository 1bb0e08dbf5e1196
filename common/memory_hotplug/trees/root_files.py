"""Read, write and remove files below a root that are no part of sysfs.

Paths begin without a slash. Below any root except ``/`` no link is followed that leads out. What
is read may also be in an archive, which is open then.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from memory_hotplug.errors import printable
from memory_hotplug.trees.files import Packed
from memory_hotplug.trees.many import LISTING, READING
from safe_files.beneath import MOST_LINKS, check_regular, check_writable, open_beneath
from safe_files.errno_names import error_of
from safe_files.replace import replaced, replacing, write_all

__all__ = [
    "ARCH",
    "CMDLINE",
    "DMI",
    "HYPERVISOR",
    "LAYOUTS",
    "LONGEST",
    "MOST_LINKS",
    "RULES",
    "SYSINFO",
    "append_to_file",
    "content_of",
    "is_masked",
    "is_there",
    "link_file",
    "link_of",
    "names_in",
    "read_file",
    "remove_file",
    "replace_file",
    "why_not_written",
]

LAYOUTS = ("etc/memory-layout.d", "run/memory-layout.d", "usr/lib/memory-layout.d")
"""Where layouts are; a file in an earlier directory overrides those of its name."""
RULES = (
    *("etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d"),
    *("usr/lib/udev/rules.d", "lib/udev/rules.d"),
)
"""Where udev rules are, in the same way."""
DMI = ("sys/class/dmi/id", "sys/devices/virtual/dmi/id")
"""Where the DMI data are: the first is a link to the second in sysfs, and a directory in a tree
that somebody made."""
ARCH, SYSINFO, HYPERVISOR, CMDLINE = (
    *("proc/sys/kernel/arch", "proc/sysinfo", "sys/hypervisor/type", "proc/cmdline"),
)
"""What else says of which kind a machine is."""

LONGEST = 4 << 20
"""The maximum size of a file in bytes; a layout of all blocks of a large machine is smaller."""

_MASK = "/dev/null"
_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK


def link_of(root: str | Packed, path: str) -> str | None:
    """Where a symbolic link leads to; None for what is none, or cannot be read."""
    if not isinstance(root, str):
        return root.link(path)
    directory, _, name = path.rpartition("/")
    try:
        with _opened(root, directory, LISTING) as at:
            return os.readlink(name, dir_fd=at)
    except OSError:
        return None


def is_masked(root: str | Packed, path: str) -> bool:
    """Whether the file is a symbolic link to /dev/null, which masks the files of its name."""
    return link_of(root, path) == _MASK


def content_of(file: int, path: str) -> bytes:
    """The content of an open file. Raises OSError if it is larger than LONGEST."""
    os.set_blocking(file, True)
    parts, size = [], 0
    while part := os.read(file, 1 << 16):
        parts.append(part)
        size += len(part)
        if size > LONGEST:
            reason = f"{os.strerror(errno.EFBIG)}, more than {LONGEST >> 20}M"
            raise OSError(errno.EFBIG, reason, path)
    return b"".join(parts)


@contextmanager
def _root(root: str) -> Iterator[tuple[int, bool]]:
    """A descriptor of ROOT, and whether it is this machine's, whose links are followed."""
    at = os.open(root or "/", os.O_PATH | os.O_DIRECTORY)
    try:
        yield at, os.path.samestat(os.fstat(at), os.stat("/"))
    finally:
        os.close(at)


@contextmanager
def _opened(root: str, path: str, flags: int) -> Iterator[int]:
    with _root(root) as (at, here):
        file = os.open(path, flags, dir_fd=at) if here else open_beneath(at, root, path, flags)
    try:
        yield file
    finally:
        os.close(file)


def names_in(root: str | Packed, directory: str) -> list[str]:
    """The names in a directory, not sorted; none if it does not exist."""
    with _named(directory):
        try:
            if not isinstance(root, str):
                return root.names(directory)
            with _opened(root, directory, LISTING) as at:
                return os.listdir(at)
        except (FileNotFoundError, NotADirectoryError):
            return []


def is_there(root: str, path: str) -> bool:
    """Whether there is something with this name, be it a link that leads nowhere."""
    directory, _, name = path.rpartition("/")
    return name in names_in(root, directory)


def why_not_written(root: str, path: str, *, as_link: bool = False) -> OSError | None:
    """Why `replace_file` would fail, or AS_LINK `link_file`, as far as that is known before; None
    if nothing is."""
    *way, name = f"./{path}".split("/")
    try:
        with _named(path), _root(root) as (at, here), ExitStack() as opened:
            flags = LISTING if here else LISTING | os.O_NOFOLLOW
            for directory in way:
                try:
                    at = os.open(directory, flags, dir_fd=at)
                except FileNotFoundError:
                    break
                opened.callback(os.close, at)
            else:
                with suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=at, follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        raise error_of(errno.EISDIR)
                    if stat.S_IFMT(found.st_mode) != (stat.S_IFLNK if as_link else stat.S_IFREG):
                        kind = "symbolic link" if as_link else "regular file"
                        raise OSError(errno.EINVAL, f"not a {kind}")
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=at, effective_ids=True):
                read_only = os.fstatvfs(at).f_flag & os.ST_RDONLY
                code = errno.EROFS if read_only else errno.EACCES
                raise error_of(code)
    except OSError as error:
        return error
    return None


def read_file(root: str | Packed, path: str) -> bytes:
    """The content of a regular file. Raises OSError."""
    with _named(path):
        if not isinstance(root, str):
            return root.read(path)
        # To open a device can do something, and a FIFO could be waited for.
        with _opened(root, path, os.O_PATH) as file:
            check_regular(os.fstat(file), path)
        with _opened(root, path, READING) as file:
            check_regular(os.fstat(file), path)
            return content_of(file, path)


def replace_file(root: str, path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a file as a whole or not at all; make its directories. Raises OSError."""
    with (
        _named(path),
        _directory_for(root, path) as (at, name),
        replacing(at, name, mode) as stream,
    ):
        stream.write(data)


def append_to_file(root: str, path: str, data: bytes) -> None:
    """Add DATA to the end of a regular file, as a whole or not at all. Raises OSError."""
    directory, _, name = path.rpartition("/")
    with _named(path), _opened(root, directory, LISTING) as at:
        file = os.open(name, _APPENDING, dir_fd=at)
        try:
            found = os.fstat(file)
            check_writable(found, path)
            try:
                write_all(file, data)
            except OSError:
                os.ftruncate(file, found.st_size)
                raise
        finally:
            os.close(file)


def link_file(root: str, path: str, target: str) -> None:
    """Make a symbolic link, in place of one that is there. Raises OSError."""
    with _named(path), _directory_for(root, path) as (at, name), replaced(at, name) as new:
        os.symlink(target, new, dir_fd=at)


def remove_file(root: str, path: str) -> bool:
    """Remove a file; whether it was there. Raises OSError."""
    directory, _, name = path.rpartition("/")
    with _named(path):
        try:
            with _opened(root, directory, LISTING) as at:
                os.unlink(name, dir_fd=at)
        except FileNotFoundError:
            return False
    return True


@contextmanager
def _directory_for(root: str, path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory of PATH, which is made where it is missing; and the name."""
    *way, name = f"./{path}".split("/")
    with _root(root) as (at, here):
        opened: list[int] = []
        flags = LISTING if here else LISTING | os.O_NOFOLLOW
        try:
            for directory in way:
                with suppress(FileExistsError):
                    os.mkdir(directory, 0o755, dir_fd=at)
                at = os.open(directory, flags, dir_fd=at)
                opened.append(at)
            yield at, name
        finally:
            for descriptor in opened:
                os.close(descriptor)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """A context whose OSErrors name PATH."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, printable(f"/{path}")) from None
