"""Read a tar archive that may be damaged, or made to do harm.

The archive is read once, from beginning to end, and nothing is unpacked. Limits bound the memory
and the time that this takes, and an archive with a wrong checksum is refused as a whole.

A large machine has half a million members. The module tarfile takes nine times as long.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol
from zlib import adler32

TYPE_CHECKING = False
if TYPE_CHECKING:
    import lzma

__all__ = ["BrokenArchiveError", "Member", "members"]

MOST_MEMBERS: Final = 4_000_000
"""Enough for a machine of 262,144 memory blocks, the largest that is known, with 13 files and links
for each."""
MOST_BYTES: Final = 4 << 30
"""The maximum size of the archive, unpacked."""
MOST_KEPT: Final = 64 << 20
"""The maximum size of all contents that are asked for."""
MOST_TO_UNPACK: Final = 128 << 20
"""The maximum of bytes of memory for xz; what `xz -9` has packed needs 65 MiB."""
_MOST_BETWEEN: Final = 1 << 20
"""The maximum of bytes between two members: headers, and long names."""
_LONGEST_NAME: Final = 4096

_BLOCK: Final = 512
_PART: Final = 128 * _BLOCK
"""So much is unpacked at once. More than 128 KiB would be new pages each time (malloc(3))."""
_REMEMBERED: Final = 4096
"""The maximum of fields of headers that are remembered with their values."""

_KINDS: Final = {
    ord("0"): "a regular file",
    0: "a regular file",
    ord("7"): "a regular file",
    ord("1"): "a hard link",
    ord("2"): "a symbolic link",
    ord("3"): "a device",
    ord("4"): "a device",
    ord("5"): "a directory",
    ord("6"): "a FIFO",
}
"""The type flag (POSIX.1-2017, pax) -> what it is. Other members are devices with a content."""
_FILE: Final = ord("0")
_SPARSE: Final = ord("S")
_LONG: Final = {ord("L"): "path", ord("K"): "linkpath"}
"""The headers of GNU tar that have a long name of the next member -> what pax calls it."""
_EXTENDED: Final = (ord("x"), ord("X"))
_GLOBAL: Final = ord("g")


class BrokenArchiveError(Exception):
    """A file is no archive, or a damaged one; the text, which can be empty, says why."""


Member = tuple[str, str, int, bytes, str]
"""A member of an archive: its path; its kind ("a regular file", "a directory", "a symbolic link",
"a hard link", "a FIFO", "a device"); its size in bytes; as much of its content as was asked for;
and the target of a symbolic link, or of a hard link the path of the other member, or ""."""

Place = Callable[[str], "tuple[str, int] | None"]


def members(file: io.BufferedReader, place: Place) -> Iterator[Member]:
    """The members of an archive, compressed or not, that PLACE gives a path, from their names.

    With the path, PLACE says how many bytes of a regular file are wanted. Raises
    BrokenArchiveError, and OSError if FILE cannot be read.
    """
    try:
        blocks = _Blocks(_unpacked(file))
        yield from _placed(blocks, place)
        blocks.drain()
    except (EOFError, zlib.error) as error:
        raise BrokenArchiveError(str(error)) from error
    except ImportError as error:
        # A small Python can lack bz2 or lzma.
        raise BrokenArchiveError(f"compressed, and this Python has no {error.name}") from error
    except ValueError as error:
        raise BrokenArchiveError("not a number in a header") from error
    except OSError as error:
        # Where the file itself cannot be read, the kernel says why by a number.
        if error.errno:
            raise
        raise BrokenArchiveError(str(error)) from error


def _placed(blocks: _Blocks, place: Place) -> Iterator[Member]:
    count = kept = 0
    for name, flag, size, link in _headers(blocks):
        count += 1
        if count > MOST_MEMBERS:
            raise BrokenArchiveError("too many members")
        kind = _KINDS.get(flag, "a device")
        if flag == 0 and name.endswith("/"):
            # As tar wrote a directory before POSIX.
            kind = "a directory"
        is_file = kind == "a regular file"
        filled = size if is_file or flag not in _KINDS else 0
        found = place(name.rstrip("/")) if len(name) <= _LONGEST_NAME else None
        if found is None:
            blocks.skip(filled)
            continue
        path, most = found
        content = b""
        if is_file and most:
            content = blocks.take(filled, most)
            kept += len(content)
            if kept > MOST_KEPT:
                raise BrokenArchiveError("too large a file, or too many")
        elif filled:
            blocks.skip(filled)
        elif kind == "a hard link":
            link = (place(link) or ("",))[0]
        yield path, kind, size, content, link


def _headers(blocks: _Blocks) -> Iterator[tuple[str, int, int, str]]:
    """Of each member its name, type flag, size, and the target of a link."""
    sums: dict[bytes, int] = {}
    """The field of a checksum -> the sum of the bytes of a header that has it."""
    sizes: dict[bytes, int] = {}
    """The field of a size -> the size."""
    extended = _Extended(blocks)
    while True:
        header = blocks.next()
        # The lower half of this checksum is the sum of the bytes, which C adds up faster. It is
        # below 65,521, so a header with a larger sum is looked at as a whole each time.
        if adler32(header, 0) & 0xFFFF != sums.get(header[148:156]) or len(header) < _BLOCK:
            if not _is_header(header):
                break
            _remember(sums, header[148:156], sum(header))
        size = sizes.get(header[124:136])
        if size is None:
            size = _checked_size(_number(header[124:136]))
            _remember(sizes, header[124:136], size)
        flag = header[156]
        if flag in _KINDS and not extended.pending:
            name = _name(header) if header[345] else _text(header[:100])
            yield name, flag, size, "" if flag == _FILE else _text(header[157:257])
        elif flag in _LONG or flag in _EXTENDED or flag == _GLOBAL:
            extended.read(flag, size)
        else:
            yield extended.member(header, flag, size)
    extended.end()


def _is_header(header: bytes) -> bool:
    """Whether a block is a header, and not the end. Raises BrokenArchiveError, and ValueError, if
    it is neither."""
    if len(header) < _BLOCK:
        raise BrokenArchiveError("truncated header" if header else "empty header")
    if not header.strip(b"\0"):
        return False
    rest = header[:148] + b" " * 8 + header[156:]
    # Some old programs took bytes as signed numbers.
    total, signed = sum(rest), sum(rest) - 256 * sum(byte >= 128 for byte in rest)
    if _number(header[148:156]) not in (total, signed):
        raise BrokenArchiveError("bad checksum")
    return True


class _Extended:
    """What headers before that of a member say about it, and global ones about all members."""

    def __init__(self, blocks: _Blocks) -> None:
        self._blocks = blocks
        self.pending = False
        """Whether anything was said about the next member."""
        self._said: dict[str, str] = {}
        self._global: dict[str, str] = {}
        self._between = 0
        """The bytes of such headers since the last member."""

    def read(self, flag: int, size: int) -> None:
        """Read the content of such a header."""
        self._between += _BLOCK + size
        if self._between > _MOST_BETWEEN:
            raise BrokenArchiveError("it unpacks to too much")
        self.pending = True
        text = self._blocks.take(size, size)
        if flag in _LONG:
            self._said[_LONG[flag]] = _text(text)
            return
        records = dict(_records(text))
        self._said |= records
        if flag == _GLOBAL:
            self._global |= records

    def member(self, header: bytes, flag: int, size: int) -> tuple[str, int, int, str]:
        """The member that follows; see `_headers`."""
        said = self._said
        self._said, self._between = dict(self._global), 0
        self.pending = bool(self._global)
        if flag == _SPARSE or any(key.startswith("GNU.sparse.") for key in said):
            raise BrokenArchiveError("a sparse file")
        if "size" in said:
            size = _checked_size(int(said["size"]))
        link = said.get("linkpath", _text(header[157:257]))
        return said.get("path", _name(header)), flag, size, link

    def end(self) -> None:
        """Raises BrokenArchiveError if a member should follow."""
        if self._between:
            raise BrokenArchiveError("missing or bad subsequent header")


def _remember(known: dict[bytes, int], field: bytes, value: int) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[field] = value


def _checked_size(size: int) -> int:
    if not 0 <= size <= MOST_BYTES:
        raise BrokenArchiveError("a member of impossible size")
    return size


def _number(field: bytes) -> int:
    """A number in a header: octal digits, or for large ones the bytes of the number itself, after
    one that says so. Raises ValueError."""
    if field[0] in (0o200, 0o377):
        # One below 0 is impossible, and so is what it is without its sign.
        return int.from_bytes(field[1:])
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    # The prefix is a part of the name in the format of POSIX; GNU's has other fields there.
    if header[345] and header[257:263] == b"ustar\0":
        return f"{_text(header[345:500])}/{name}"
    return name


def _records(text: bytes) -> Iterator[tuple[str, str]]:
    """The records of an extended header, each ``LENGTH KEY=VALUE`` and a newline. Raises
    BrokenArchiveError and ValueError."""
    at = 0
    while at < len(text):
        length = int(text[at : at + 20].partition(b" ")[0])
        record = text[at : at + length]
        key, _, value = record.partition(b" ")[2].partition(b"=")
        if len(record) != length or not value.endswith(b"\n"):
            raise BrokenArchiveError("invalid header")
        yield key.decode(errors="replace"), value[:-1].decode("utf-8", "surrogateescape")
        at += length


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Blocks:
    """A stream that raises an error at more bytes than an honest archive has."""

    def __init__(self, stream: _Source) -> None:
        self._stream = stream
        self._left = MOST_BYTES
        self._part = b""
        """What was unpacked last; whole blocks, but for the end of the stream."""
        self._at = 0

    def _more(self) -> bool:
        """Unpack the next part; False at the end."""
        self._part, self._at = self._stream.read(_PART), 0
        self._left -= len(self._part)
        if self._left < 0:
            raise BrokenArchiveError("it unpacks to too much")
        return bool(self._part)

    def next(self) -> bytes:
        """The next block; less of it, or nothing, at the end."""
        at = self._at
        block = self._part[at : at + _BLOCK]
        if not block:
            self._more()
            at, block = 0, self._part[:_BLOCK]
        self._at = at + _BLOCK
        return block

    def take(self, size: int, most: int) -> bytes:
        """Up to MOST bytes of the next SIZE bytes, which fill whole blocks."""
        at = self._at
        if size <= most and 0 < size <= _BLOCK <= len(self._part) - at:
            # So it is with nearly all attributes.
            self._at = at + _BLOCK
            return self._part[at : at + size]
        found = bytearray()
        self._go_on(size, lambda part: found.extend(part[: most - len(found)]))
        return bytes(found[:size])

    def skip(self, size: int) -> None:
        """Pass over the next SIZE bytes, which fill whole blocks."""
        self._go_on(size, lambda part: None)

    def _go_on(self, size: int, give: Callable[[bytes], None]) -> None:
        """Pass over the next SIZE bytes, which fill whole blocks, and GIVE them in parts."""
        left = (size + _BLOCK - 1) // _BLOCK * _BLOCK
        while left:
            if self._at >= len(self._part) and not self._more():
                raise BrokenArchiveError("unexpected end of data")
            part = self._part[self._at : self._at + left]
            self._at += len(part)
            left -= len(part)
            give(part)

    def drain(self) -> None:
        """Read the rest: the checksum of a stream is at its end."""
        while self._more():
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
        return _Xz(packed)
    return packed


class _Xz:
    """What xz has packed: LZMAFile has no bound for the memory that a header can ask for."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed = packed
        self._stream = self._next_stream()

    @staticmethod
    def _next_stream() -> lzma.LZMADecompressor:
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, MOST_TO_UNPACK)

    def read(self, size: int) -> bytes:
        """The next SIZE bytes; less at the end."""
        found = bytearray()
        while len(found) < size:
            packed = b""
            if self._stream.eof:
                # Streams can follow one another, with zeros between them.
                packed = self._stream.unused_data.lstrip(b"\0")
                while not packed and self._packed.peek(1):
                    packed = self._packed.read(_PART).lstrip(b"\0")
                if not packed:
                    break
                self._stream = self._next_stream()
            elif self._stream.needs_input:
                packed = self._packed.read(_PART)
                if not packed:
                    raise EOFError("the end is missing")
            found += self._unpack(packed, size - len(found))
        return bytes(found)

    def _unpack(self, packed: bytes, most: int) -> bytes:
        import lzma

        try:
            return self._stream.decompress(packed, most)
        except lzma.LZMAError as error:
            raise BrokenArchiveError(str(error)) from error
