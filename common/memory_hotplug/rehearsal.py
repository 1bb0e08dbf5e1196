"""A tree for the dry run: it records writes instead of doing them.

Reads show what the kernel would show after these writes, so that an order can be carried out on
this tree. Some of that is assumed: no write fails, and a newly configured block can be set online
in the zone it was in before (else Normal), and in Movable.
"""

import errno
import os
from collections.abc import Iterable

from memory_hotplug.attribute import FIRMWARE, MEMORY, PARAMETERS
from memory_hotplug.tree import Tree

__all__ = ["Rehearsal"]

_MOVABLE = b"Movable\n"


class Rehearsal:
    """The tree BEHIND as it would be after the recorded writes."""

    def __init__(self, behind: Tree) -> None:
        self.root = behind.root
        self.is_this_machine = behind.is_this_machine
        self._behind = behind
        self._texts: dict[str, bytes | None] = {}
        """Path -> the text that the attribute would have; None if it would be gone."""
        self.writes: list[tuple[str, str]] = []
        """The recorded writes in order: path and word."""

    def close(self) -> None:
        """The tree behind belongs to whoever opened it."""

    def revision(self) -> object:
        return self._behind.revision()

    def names(self, directory: str) -> list[str]:
        return self._behind.names(directory)

    def read(self, path: str) -> bytes:
        if path not in self._texts:
            return self._behind.read(path)
        text = self._texts[path]
        if text is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return text

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        if not self._texts:
            return self._behind.read_each(directory, numbers, attribute)
        values: list[bytes | OSError] = []
        for number in numbers:
            try:
                values.append(self.read(f"{directory}/memory{number}/{attribute}"))
            except OSError as error:
                values.append(error)
        return values

    def refusal(self, path: str) -> OSError | None:
        return None

    def write(self, path: str, word: str) -> None:
        """Record a write. Raises OSError if the tree shows that it would fail: for a symbolic link
        on the way, a read-only medium, or a kernel without memmap on memory."""
        directory, _, attribute = path.rpartition("/")
        refusal = None if path in self._texts else self._behind.refusal(path)
        if refusal and refusal.errno in (errno.ELOOP, errno.ENOTDIR, errno.EROFS):
            raise refusal
        if (attribute, word) == ("memmap_on_memory", "1") and self._without_memmap():
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        self.writes.append((path, word))
        block = directory.rpartition("/")[2]
        if attribute == "state":
            self._switch(f"{MEMORY}/{block}", word)
        else:
            self._texts[path] = f"{word}\n".encode()
        if attribute == "config" and directory == f"{FIRMWARE}/{block}":
            if word == "1":
                self._add(f"{MEMORY}/{block}")
            else:
                self._texts[f"{MEMORY}/{block}/state"] = None
                self._texts[f"{MEMORY}/{block}/valid_zones"] = None

    def _without_memmap(self) -> bool:
        try:
            return self._behind.read(f"{PARAMETERS}/memmap_on_memory").strip() == b"N"
        except OSError:
            return False

    def _kernel_zone(self, block: str) -> bytes:
        """The zone of a block besides Movable, which no write changes; Normal if it shows none."""
        try:
            zones = self._behind.read(f"{block}/valid_zones")
        except OSError:
            zones = b""
        kernel = [zone for zone in zones.split() if zone not in (b"Movable", b"none")]
        return kernel[0] if kernel else b"Normal"

    def _add(self, block: str) -> None:
        self._texts[f"{block}/state"] = b"offline\n"
        self._texts[f"{block}/valid_zones"] = self._kernel_zone(block) + b" " + _MOVABLE
        try:
            policy = self._behind.read(f"{MEMORY}/auto_online_blocks").decode().strip()
        except OSError:
            return
        if policy != "offline":
            self._switch(block, policy)

    def _switch(self, block: str, word: str) -> None:
        zones = f"{block}/valid_zones"
        try:
            had = self.read(zones)
        except OSError:
            had = None
        if had is not None:
            kernel = self._kernel_zone(block)
            if word == "offline":
                self._texts[zones] = kernel + b" " + _MOVABLE
            else:
                first = had.split()[:1] == [b"Movable"] and word == "online"
                movable = first or word == "online_movable"
                self._texts[zones] = _MOVABLE if movable else kernel + b"\n"
        self._texts[f"{block}/state"] = b"offline\n" if word == "offline" else b"online\n"
