"""Files below a directory, opened through no symbolic link.

Somebody else may have made the directory, and may change it at any time. Each name of a path is
opened in the directory before it (openat(2) with O_NOFOLLOW), and only a regular file is read or
replaced. So nothing outside is opened, and a FIFO or a device does not block.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from safe_files.beneath import kind_of
from safe_files.errno_names import error_of
from safe_files.errors import IrregularError
from safe_files.replace import create

__all__ = ["DIRECTORY", "Beneath", "close", "read_file"]

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_MOST_OPEN: Final = 16
"""Directories that stay open; more than any path and another have."""

_SHORT: Final = {"a regular file": "file", "a directory": "dir", "a symbolic link": "link"}
_IN_WORDS: Final = {short: words for words, short in _SHORT.items()}


class Beneath:
    """A directory and all below it. Paths are relative, without `.` and `..`.

    Raises OSError, and IrregularError if something else is in the place of a file or directory.
    Some directories stay open until it is closed, so it is not kept for long.
    """

    def __init__(self, directory: str) -> None:
        """The way to the directory itself may have symbolic links."""
        self.name = directory
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._opened: dict[str, int] = {}
        """Descriptors by path; the last one was used last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget("")
        close(self._directory)

    def _above(self, path: str) -> tuple[int, str]:
        """The directory that the last name of a path is in, as a descriptor, and that name."""
        directory, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            raise error_of(errno.EINVAL, path)
        return self._descriptor(directory), name

    def _descriptor(self, path: str) -> int:
        if not path:
            return self._directory
        at = self._opened.pop(path, None)
        if at is None:
            above, name = self._above(path)
            with self._named(path):
                try:
                    at = os.open(name, DIRECTORY, dir_fd=above)
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.ENOTDIR):
                        self.expect("dir", path)
                    raise
            if len(self._opened) == _MOST_OPEN:
                close(self._opened.pop(next(iter(self._opened))))
        self._opened[path] = at
        return at

    def _forget(self, path: str) -> None:
        """Close what is open at a path and below it."""
        below = f"{path}/" if path else ""
        for opened in [one for one in self._opened if f"{one}/".startswith(below)]:
            close(self._opened.pop(opened))

    @contextmanager
    def _named(self, path: str) -> Iterator[None]:
        """A context whose errors have the whole path; a system call is given only the last name."""
        try:
            yield
        except IrregularError:
            raise
        except OSError as error:
            error.filename = f"{self.name}/{path}"
            raise

    def kind(self, path: str) -> str | None:
        """ "file", "dir", "link" or what else there is; None: nothing."""
        try:
            with self._named(path):
                at, name = self._above(path)
                mode = os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        return _SHORT.get(kind_of(mode), kind_of(mode))

    def expect(self, kind: str, path: str) -> bool:
        """Whether something is at a path. Raises IrregularError if it is of another kind."""
        found = self.kind(path)
        if found not in (kind, None):
            raise IrregularError(
                f"{self.name}/{path}", _IN_WORDS[kind], _IN_WORDS.get(str(found), str(found))
            )
        return found is not None

    def directory(self, path: str) -> int:
        """A descriptor of a directory, good until the next call."""
        try:
            return self._descriptor(path)
        except FileNotFoundError:
            raise IrregularError(f"{self.name}/{path}", _IN_WORDS["dir"], "nothing") from None

    def listdir(self, path: str) -> list[str]:
        with self._named(path):
            return os.listdir(self._descriptor(path))

    def readlink(self, path: str) -> str:
        at, name = self._above(path)
        with self._named(path):
            return os.readlink(name, dir_fd=at)

    def open(self, path: str, flags: int) -> int:
        """A new descriptor of a regular file that is there."""
        at, name = self._above(path)
        with self._named(path):
            try:
                file = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
            except OSError as error:
                # A link, a directory, a socket, or a FIFO that nobody reads.
                if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                    self.expect("file", path)
                raise
        if not stat.S_ISREG(os.fstat(file).st_mode):
            close(file)
            self.expect("file", path)
            raise OSError(errno.EAGAIN, "it was replaced while it was opened", path)
        return file

    def read(self, path: str, most: int) -> bytes:
        """The content of a regular file. Raises IrregularError if it has more than MOST bytes."""
        file = self.open(path, os.O_RDONLY)
        try:
            if os.fstat(file).st_size > most:
                raise IrregularError(f"{self.name}/{path}", f"{most} bytes at most", "more")
            with self._named(path):
                content = os.read(file, most + 1)
                while more := os.read(file, most + 1 - len(content)):
                    content += more
        finally:
            close(file)
        return content

    def create(self, path: str, content: bytes, mode: int) -> None:
        """Make a new file with this content; no file if this raises OSError."""
        at, name = self._above(path)
        with self._named(path):
            create(name, content, mode, at)

    def mkdir(self, path: str) -> None:
        at, name = self._above(path)
        with self._named(path):
            os.mkdir(name, dir_fd=at)

    def symlink(self, target: str, path: str) -> None:
        at, name = self._above(path)
        with self._named(path):
            os.symlink(target, name, dir_fd=at)

    def rename(self, path: str, to: str) -> None:
        """Replaces what is at the other path, if it is of the same kind."""
        at, name = self._above(path)
        to_at, to_name = self._above(to)
        with self._named(to):
            os.rename(name, to_name, src_dir_fd=at, dst_dir_fd=to_at)
        self._forget(path)
        self._forget(to)

    def unlink(self, path: str) -> None:
        at, name = self._above(path)
        with self._named(path):
            os.unlink(name, dir_fd=at)

    def remove_tree(self, path: str) -> None:
        """Remove a directory with its content, if it exists."""
        # rmtree() opens whatever is there, and waits at a FIFO.
        if not self.expect("dir", path):
            return
        at, name = self._above(path)
        self._forget(path)
        with self._named(path):
            shutil.rmtree(name, dir_fd=at)


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a regular file, to which symbolic links may lead.

    Raises OSError, and IrregularError if it is another file or has more than MOST bytes.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(file).st_mode
    if not stat.S_ISREG(mode):
        close(file)
        raise IrregularError(os.fspath(path), "a regular file", kind_of(mode))
    with open(file, "rb") as opened:
        content = opened.read(most + 1)
        if len(content) > most:
            raise IrregularError(os.fspath(path), f"{most} bytes at most", "more")
    return content


def close(descriptor: int) -> None:
    """Close a descriptor for which nothing depends on that."""
    with suppress(OSError):
        os.close(descriptor)
