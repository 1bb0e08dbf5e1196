"""Files that are made or replaced as a whole or not at all, in a directory that is open.

AT is a descriptor of that directory. All raises OSError.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Final

__all__ = ["create", "replaced", "replacing", "write_all"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def create(name: str, content: bytes, mode: int, at: int) -> None:
    """Make a new file; no file if this raises OSError."""
    file = os.open(name, _NEW, mode, dir_fd=at)
    try:
        try:
            write_all(file, content)
        finally:
            # Some file systems say only here that there was no room (close(2)).
            os.close(file)
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=at)
        raise


def write_all(file: int, content: bytes) -> None:
    """Write all of CONTENT. On a disk that is nearly full, the first write() writes a part."""
    while content:
        content = content[os.write(file, content) :]


@contextmanager
def replacing(at: int, name: str, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A stream whose content replaces the file NAME, if no error comes.

    Until then nobody sees it: it is written beside the file, under a name that begins with a dot.
    Raises OSError, EINVAL, if something else than a regular file has that name: a device, a FIFO,
    or a link, which may mask a file.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
    with replaced(at, name) as new:
        file = os.open(new, _NEW, mode, dir_fd=at)
        with os.fdopen(file, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(file)
    os.fsync(at)


@contextmanager
def replaced(at: int, name: str) -> Iterator[str]:
    """A name for what is then renamed to NAME, or removed if an error comes. What a killed process
    left under such a name is removed."""
    new = f".{name}.{os.getpid()}"
    for left in os.listdir(at):
        if left == new or (left.startswith(f".{name}.") and _is_dead(left.rpartition(".")[2])):
            with suppress(FileNotFoundError):
                os.unlink(left, dir_fd=at)
    try:
        yield new
        os.rename(new, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=at)
        raise


def _is_dead(process: str) -> bool:
    """Whether a word is the number of a process that there is not."""
    if not (process.isascii() and process.isdecimal() and len(process) < 10):
        return False
    try:
        os.kill(int(process), 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    return False
