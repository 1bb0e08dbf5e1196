"""Write archives in the format of an initramfs.

The "newc" format of Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Archive:
    """The files of a cpio archive, each path once. All belong to root."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes]] = {}

    def add(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file and its parent directories; the path is absolute."""
        self._put(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def directory(self, path: str) -> None:
        """Add a directory and its parents."""
        self._put(path, stat.S_IFDIR | 0o755, b"")

    def copy(self, source: Path, path: str | None = None) -> None:
        """Add a file of the host, with symbolic links resolved, at its own or at another path."""
        self.add(path or str(source), source.read_bytes(), stat.S_IMODE(source.stat().st_mode))

    def _put(self, path: str, mode: int, data: bytes) -> None:
        parent = os.path.dirname(path)
        if parent != "/" and parent not in self._entries:
            self.directory(parent)
        self._entries[path] = (mode, data)

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def pack(self) -> bytes:
        """The archive. Its length is a multiple of 4 bytes, so that another archive may follow."""
        parts = [
            _record(number, path.removeprefix("/"), mode, data)
            for number, (path, (mode, data)) in enumerate(self._entries.items(), 1)
        ]
        return b"".join([*parts, _record(0, "TRAILER!!!", 0, b"")])


def _record(inode: int, name: str, mode: int, data: bytes) -> bytes:
    """One member: 13 fields of 8 hexadecimal digits, the name, the data, each padded to 4 bytes."""
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
