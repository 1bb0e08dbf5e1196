"""Read a tar archive that may be damaged, or made to do harm.

The archive is read once, from beginning to end, and nothing is unpacked. Limits bound the memory
and the time that this takes, and an archive with a wrong checksum is refused as a whole.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol, Self

__all__ = ["BrokenArchiveError", "Member", "members"]

MOST_MEMBERS: Final = 4_000_000
"""Enough for a machine of 262,144 memory blocks, the largest that is known, with 13 files and links
for each."""
MOST_BYTES: Final = 4 << 30
"""The maximum size of the archive, unpacked."""
MOST_KEPT: Final = 64 << 20
"""The maximum size of all contents that are asked for."""
_MOST_BETWEEN: Final = 1 << 20
"""The maximum of bytes between two members: headers, and long names."""
_LONGEST_NAME: Final = 4096


class BrokenArchiveError(Exception):
    """A file is no archive, or a damaged one; the text, which can be empty, says why."""


class Member(NamedTuple):
    """A member of an archive."""

    path: str
    kind: str
    """ "a regular file", "a directory", "a symbolic link", "a hard link", "a FIFO", "a device"."""
    size: int
    """In bytes. The content can be shorter: as long as was asked for."""
    content: bytes
    target: str
    """Of a symbolic link, and of a hard link the path of the other member, or ""."""


def members(
    file: io.BufferedReader, place: Callable[[str], tuple[str, int] | None]
) -> Iterator[Member]:
    """The members of an archive, compressed or not, that PLACE gives a path, from their names.

    With the path, PLACE says how many bytes of a regular file are wanted. Raises
    BrokenArchiveError, and OSError if FILE cannot be read.
    """
    import lzma

    damage = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)
    try:
        stream = _Bounded(_unpacked(file))
        # As a stream, so that tarfile does not seek in the file.
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:  # type: ignore[call-overload]  # read() is all that it calls
            yield from _placed(archive, stream, place)
        stream.drain()
    except (*damage, OverflowError, RecursionError) as error:
        raise BrokenArchiveError(str(error)) from error
    except OSError as error:
        # Where the file itself cannot be read, the kernel says why by a number.
        if error.errno:
            raise
        raise BrokenArchiveError(str(error)) from error


def _placed(
    archive: tarfile.TarFile, stream: _Bounded, place: Callable[[str], tuple[str, int] | None]
) -> Iterator[Member]:
    count = kept = 0
    while (member := archive.next()) is not None:
        # tarfile keeps all members otherwise.
        archive.members.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
        count += 1
        if count > MOST_MEMBERS:
            raise tarfile.ReadError("too many members")
        stream.allow(member.size + _MOST_BETWEEN)
        found = place(member.name) if len(member.name) <= _LONGEST_NAME else None
        if found is None:
            continue
        path, most = found
        kind, content, target = _kind(member), b"", member.linkname
        if member.isfile() and most:
            packed = archive.extractfile(member)
            assert packed is not None, "a regular file has content"
            content = packed.read(most)
            kept += len(content)
            if kept > MOST_KEPT:
                raise tarfile.ReadError("too large a file, or too many")
        elif member.islnk():
            target = (place(target) or ("",))[0]
        yield Member(path, kind, member.size, content, target)


def _kind(member: tarfile.TarInfo) -> str:
    if member.isfile():
        return "a regular file"
    if member.isdir():
        return "a directory"
    if member.issym():
        return "a symbolic link"
    if member.islnk():
        return "a hard link"
    return "a FIFO" if member.isfifo() else "a device"


class _Header(tarfile.TarInfo):
    """A header in the archive. A sparse file and a damaged header are errors.

    tarfile itself takes a damaged header for the end of the archive, unless it is the first one.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            raise tarfile.ReadError(str(error)) from None
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file")
        if not 0 <= member.size <= MOST_BYTES:
            # tarfile would go on to read that much, also after the end.
            raise tarfile.ReadError("a member of impossible size")
        return member


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Bounded:
    """A stream that raises an error at more bytes than an honest archive has."""

    def __init__(self, stream: _Source) -> None:
        self._stream = stream
        self._left = MOST_BYTES
        self._allowed = _MOST_BETWEEN

    def allow(self, size: int) -> None:
        """Set how many bytes may be read from now on."""
        self._allowed = size

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        self._allowed -= len(data)
        if min(self._left, self._allowed) < 0:
            raise tarfile.ReadError("it unpacks to too much")
        return data

    def drain(self) -> None:
        """Read the rest: the checksum of a stream is at its end."""
        self._allowed = self._left
        while self.read(1 << 16):
            pass


def _unpacked(packed: io.BufferedReader) -> _Source:
    """The uncompressed stream of a file; its first bytes say how it is compressed."""
    start = packed.peek(6)
    if start.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=packed)
    if start.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(packed)
    if start.startswith(b"\xfd7zXZ\0"):
        import lzma

        return lzma.LZMAFile(packed)
    return packed
