"""A tree in a tar archive, which may be damaged or malicious.

The archive is read once, from beginning to end. Limits bound the memory it takes, and an archive
with a wrong checksum is refused as a whole.
"""

import errno
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterable
from typing import Protocol, Self

from memory_hotplug import layout_files, udev_rules
from memory_hotplug.attribute import TABLE, node_number
from memory_hotplug.beneath import check_regular, os_error
from memory_hotplug.tree import PAGE

__all__ = ["ArchiveTree"]

_MOST_MEMBERS = 2_500_000
"""Enough for a machine of 262,144 blocks, the largest that is known."""
_MOST_BYTES = 4 << 30
"""The maximum size, unpacked."""
_MOST_BETWEEN = 1 << 20
"""The maximum of bytes between two members: headers, and long names."""
_MOST_LINKS = 40
"""The maximum of symbolic links in a path (include/linux/namei.h, MAXSYMLINKS)."""

_FILES = frozenset(row.file for row in TABLE.values())
"""The files of sysfs that programs read. Other members of the archive are skipped."""

_ROOT = re.compile(r"(?:^|/)(sys(?:/.+)?)\Z")
_SYSTEM_FILE = re.compile(
    r"(?:^|/)(proc/(?:iomem|meminfo)"
    rf"|(?:{'|'.join(map(re.escape, layout_files.DIRECTORIES))})/[^/]+\.toml"
    rf"|(?:{'|'.join(map(re.escape, udev_rules.DIRECTORIES))})/[^/]+\.rules)\Z"
)
"""What else is read."""
_LONGEST = 1 << 20
"""The maximum size of such a file, in bytes."""
_MOST_KEPT = 64 << 20
"""The maximum size of all of them."""


class ArchiveTree:
    """A tree in a tar archive, compressed or not, as ``memsim capture`` writes; read-only."""

    is_this_machine = False

    def __init__(self, path: str) -> None:
        """Raises OSError if the file cannot be read, or is not a complete archive."""
        self.root = path
        self.system = self
        self._files: dict[str, bytes | OSError] = {}
        self._names: dict[str, set[str]] = {"": set()}
        self._links: dict[str, str] = {}
        """The symbolic links that can be part of the path of an attribute."""
        self._texts: dict[bytes, bytes] = {}
        self._kept = 0
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(file, "rb") as packed:
            check_regular(os.fstat(file), path)
            self._read(packed)

    def _read(self, packed: io.BufferedReader) -> None:
        import lzma

        try:
            stream = _Bounded(_unpacked(packed))
            # As a stream, so that tarfile does not seek in the file.
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:  # type: ignore[call-overload]  # read() is all that it calls
                self._add_all(archive, stream)
            stream.drain()
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise self._damaged(error) from None
        except (OverflowError, RecursionError) as error:
            raise self._damaged(error) from None
        except MemoryError:
            raise os_error(errno.ENOMEM, self.root) from None
        except OSError as error:
            # Where the file itself cannot be read, the kernel says why by a number.
            raise (error if error.errno else self._damaged(error)) from None

    def _damaged(self, error: Exception) -> OSError:
        why = f" ({error})" if str(error) else ""
        return OSError(errno.EINVAL, f"not an archive, or a damaged one{why}", self.root)

    def _add_all(self, archive: tarfile.TarFile, stream: "_Bounded") -> None:
        count = 0
        while (member := archive.next()) is not None:
            # tarfile keeps all members otherwise.
            archive.members.clear()  # type: ignore[attr-defined]  # typeshed leaves it out
            count += 1
            if count > _MOST_MEMBERS:
                raise tarfile.ReadError("too many members")
            stream.allow(member.size + _MOST_BETWEEN)
            self._add(archive, member)

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = _below_root(member.name)
        above, last = os.path.split(name)
        longest = _LONGEST if _SYSTEM_FILE.fullmatch(name) else PAGE if last in _FILES else 0
        if not (name and (longest or member.isdir() or member.issym())):
            return
        self._files.pop(name, None)
        self._links.pop(name, None)
        if member.isdir():
            self._names.setdefault(name, set())
        elif member.issym():
            # Of a node's link the name says all, and a machine has two for each block.
            if node_number(last) is None and node_number(os.path.basename(above)) is None:
                self._links[name] = member.linkname
        elif member.isfile():
            content = archive.extractfile(member)
            assert content is not None, "a regular file has content"
            text = content.read(longest)
            self._kept += len(text) if longest > PAGE else 0
            if self._kept > _MOST_KEPT or member.size > longest > PAGE:
                raise tarfile.ReadError("too large a file, or too many")
            self._files[name] = self._texts.setdefault(text, text)
        elif member.islnk():
            target = self._files.get(_below_root(member.linkname))
            self._files[name] = os_error(errno.ENOENT, name) if target is None else target
        else:
            kind = "a FIFO" if member.isfifo() else "a device"
            self._files[name] = OSError(errno.EMEDIUMTYPE, f"{kind}, not a regular file", name)
        while last and last not in self._names.setdefault(above, set()):
            self._names[above].add(last)
            above, last = os.path.split(above)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""

    def revision(self) -> object:
        return None

    def names(self, directory: str) -> list[str]:
        directory = self._resolved(directory)
        try:
            return list(self._names[directory])
        except KeyError:
            kind = errno.ENOTDIR if directory in self._files else errno.ENOENT
            raise os_error(kind, directory) from None

    def read(self, path: str) -> bytes:
        path = self._resolved(path)
        found = self._files.get(path)
        if isinstance(found, bytes):
            return found
        if path in self._names:
            raise OSError(errno.EMEDIUMTYPE, "a directory, not a regular file", path)
        raise found or os_error(errno.ENOENT, path)

    def link(self, path: str) -> str | None:
        """The target of a symbolic link; None if it is none."""
        return self._links.get(path)

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        missing = os_error(errno.ENOENT, directory)
        values: list[bytes | OSError] = []
        for number in numbers:
            path = f"{directory}/memory{number}/{attribute}"
            found = self._files.get(path)
            if found is None and (self._links or path in self._names):
                try:
                    found = self.read(path)
                except OSError as error:
                    found = error
            values.append(missing if found is None else found)
        return values

    def _resolved(self, path: str) -> str:
        """The path without symbolic links. Raises OSError; EXDEV for a link out of the tree."""
        if not self._links:
            return path
        todo, way, links = path.split("/")[::-1], list[str](), 0
        while todo:
            name = todo.pop()
            if name == "..":
                if not way:
                    raise os_error(errno.EXDEV, path)
                way.pop()
            elif name not in ("", "."):
                way.append(name)
                target = self._links.get("/".join(way))
                if target is None:
                    continue
                links += 1
                if links > _MOST_LINKS or target.startswith("/"):
                    raise os_error(errno.EXDEV if target.startswith("/") else errno.ELOOP, path)
                way.pop()
                todo += target.split("/")[::-1]
        return "/".join(way)

    def write(self, path: str, word: str) -> None:
        raise os_error(errno.EROFS, f"{self.root}/{path}")

    def refusal(self, path: str) -> OSError | None:
        return os_error(errno.EROFS, f"{self.root}/{path}")


class _Member(tarfile.TarInfo):
    """A member of the archive. A sparse file and a damaged header are errors.

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
        if not 0 <= member.size <= _MOST_BYTES:
            # tarfile would go on to read that much, also after the end.
            raise tarfile.ReadError("a member of impossible size")
        return member


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Bounded:
    """A stream that raises an error at more bytes than an honest archive has."""

    def __init__(self, stream: _Source) -> None:
        self._stream = stream
        self._left = _MOST_BYTES
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
        while self.read(PAGE * 16):
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


def _below_root(name: str) -> str:
    """The path of a member relative to the root, which may be a directory in the archive; "" for a
    member that is not part of the tree."""
    if len(name) > PAGE:
        return ""
    path = os.path.normpath(name)
    found = _ROOT.search(path) or _SYSTEM_FILE.search(path)
    return found[1] if found else ""
