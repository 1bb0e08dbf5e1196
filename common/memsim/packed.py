"""Read a tar archive that may be damaged, or made to do harm.

The archive is read once, from beginning to end, and nothing is unpacked. Limits bound the memory
and the time that this takes.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Self

from memsim.errors import IrregularError, NotACaptureError

__all__ = ["Member", "members"]

_MOST_MEMBERS: Final = 4_000_000
"""Enough for a machine of 262,144 blocks, with 13 files and links for each."""

_MOST_BYTES: Final = 4 << 30
"""The maximum size of the archive, unpacked."""

_MOST_KEPT: Final = 256 << 20
"""The maximum size of all files that are wanted."""

_MOST_BETWEEN: Final = 1 << 20
"""The maximum of bytes between two members: headers and long names."""

_UNPACKED: Final[dict[bytes, Callable[[Any], io.BufferedIOBase]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZ": bz2.BZ2File,
    b"\xfd7": lzma.LZMAFile,
}
"""How to unpack an archive that begins like this."""

_STARTS: Final = re.compile(r"(?:^|/)(?=(?:sys|proc|etc|run|usr|lib)/.|memsim-capture\.json\Z)")
"""Where the path from the root may begin, which can be a directory in the archive."""


class Member(NamedTuple):
    """A member of an archive: a file has content, a symbolic link a target."""

    name: str
    """The path from the root of the captured tree, which may be a directory in the archive."""
    content: bytes | None
    target: str | None
    kind: str


def members(
    path: str, wanted: Callable[[str], bool], most: Callable[[str], int]
) -> Iterator[Member]:
    """The members of an archive with a path that is WANTED.

    Raises NotACaptureError, IrregularError for a file with more than MOST bytes, and OSError.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise IrregularError(path, "a regular file", "a special file")
        try:
            start = file.read(2)
            file.seek(0)
            stream = _Bounded(_UNPACKED[start](file) if start in _UNPACKED else file)
            yield from _read(path, stream, wanted, most)
            stream.drain()
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise NotACaptureError(path) from error
        except (OverflowError, RecursionError, MemoryError) as error:
            raise NotACaptureError(path) from error
        except OSError as error:
            # The modules that unpack raise OSError without a number.
            raise (error if error.errno else NotACaptureError(path)) from error


def _read(
    path: str,
    stream: _Bounded,
    wanted: Callable[[str], bool],
    most: Callable[[str], int],
) -> Iterator[Member]:
    files: dict[str, bytes] = {}
    kept = 0
    # As a stream, so that nothing seeks in the file.
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:  # type: ignore[call-overload]  # read() is all that it calls
        count = 0
        while (member := archive.next()) is not None:
            # tarfile keeps all members otherwise.
            archive.members.clear()
            count += 1
            if count > _MOST_MEMBERS:
                raise tarfile.ReadError("too many members")
            stream.allow(member.size + _MOST_BETWEEN)
            name = _below_root(member.name, wanted)
            if name is None:
                continue
            content = None
            if member.isfile():
                limit = most(name)
                if member.size > limit:
                    raise IrregularError(f"{path}: {name}", f"{limit} bytes at most", "more")
                packed = archive.extractfile(member)
                files[name] = content = packed.read(limit) if packed else b""
                kept += len(content)
                if kept > _MOST_KEPT:
                    raise tarfile.ReadError("too many bytes")
            elif member.islnk() and (linked := _below_root(member.linkname, wanted)):
                content = files.get(linked)
            yield Member(name, content, member.linkname if member.issym() else None, _kind(member))


def _below_root(name: str, wanted: Callable[[str], bool]) -> str | None:
    """The path of a member from the root of the captured tree, if it is a WANTED one."""
    path = os.path.normpath(name)
    starts = (path[found.end() :] for found in _STARTS.finditer(path))
    return next(filter(wanted, starts), None)


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym():
        return "a symbolic link"
    return "a directory" if member.isdir() else "a special file"


class _Header(tarfile.TarInfo):
    """A header in the archive. tarfile takes a damaged one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise tarfile.ReadError(str(error)) from error


class _Bounded:
    """A stream of bytes that ends in an error after too many of them."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._all, self._next = _MOST_BYTES, _MOST_BETWEEN

    def allow(self, size: int) -> None:
        """The next bytes, until this is called again, are SIZE at most."""
        self._next = size

    def drain(self) -> None:
        """Read to the end, where the checksum of a packed archive is."""
        self.allow(_MOST_BETWEEN)
        while self.read(1 << 16):
            pass

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._all -= len(content)
        self._next -= len(content)
        if self._all < 0 or self._next < 0:
            raise tarfile.ReadError("too many bytes")
        return content
