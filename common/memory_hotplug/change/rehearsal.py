"""A tree for the dry run: it records writes instead of doing them.

Reads show what the kernel would show after these writes, so that an order can be carried out on
this tree. Two things only the kernel knows: whether the pages of a block can be moved, and whether
there is memory for struct pages. The dry run assumes both.
"""

import errno
import os
from collections.abc import Iterable
from functools import cached_property

from memory_hotplug.attribute import FIRMWARE, MEMORY, PARAMETERS, TABLE, Attribute, path_of
from memory_hotplug.block import Zone
from memory_hotplug.change.zone_spans import NEEDED, Spans
from memory_hotplug.machine import Machine

__all__ = ["Rehearsal"]

_SETTINGS = {path_of(name) for name, row in TABLE.items() if not row.of_block}


class Rehearsal:
    """The tree of MACHINE as it would be after the recorded writes."""

    def __init__(self, machine: Machine) -> None:
        behind = machine.tree
        self.root, self.system = behind.root, behind.system
        self.is_this_machine = behind.is_this_machine
        self._behind = behind
        self._texts: dict[str, bytes | None] = {}
        """Path -> the text that the attribute would have; None if it would be gone."""
        self.machine = machine
        """The machine itself."""
        self.writes: list[tuple[str, str]] = []
        """The recorded writes in order: path and word."""

    def close(self) -> None:
        """Do nothing: the program that opened the tree BEHIND closes it."""

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

    def names_each(
        self, directory: str, numbers: Iterable[int], prefix: str
    ) -> list[bytes | OSError]:
        return self._behind.names_each(directory, numbers, prefix)

    def refusal(self, path: str) -> OSError | None:
        return None

    def write(self, path: str, word: str) -> None:
        """Record a write. Raises OSError if the tree shows that it would fail: for a symbolic link
        on the way, a read-only medium, a kernel without memmap on memory, or a block that spans
        several zones and cannot go offline (mm/memory_hotplug.c, offline_pages)."""
        directory, _, attribute = path.rpartition("/")
        refusal = None if path in self._texts else self._behind.refusal(path)
        if refusal and refusal.errno in (errno.ELOOP, errno.ENOTDIR, errno.EROFS):
            raise refusal
        if path in _SETTINGS:
            self._record(path, word)
            return
        if (attribute, word) == ("memmap_on_memory", "1") and self._without_memmap():
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        number = int(directory.rpartition("/memory")[2])
        zones = self._valid_zones(number)
        if (attribute, word) == ("state", "offline") and zones and zones.strip() == b"none":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        self._record(path, word)
        if attribute == "state":
            self._switch(number, word)
        elif directory == f"{FIRMWARE}/memory{number}" and attribute == "config":
            self._appear(number) if word == "1" else self._vanish(number)

    def _record(self, path: str, word: str) -> None:
        self.writes.append((path, word))
        self._texts[path] = f"{word}\n".encode()

    def _without_memmap(self) -> bool:
        try:
            return self._behind.read(f"{PARAMETERS}/memmap_on_memory").strip() == b"N"
        except OSError:
            return False

    def _valid_zones(self, number: int) -> bytes | None:
        try:
            return self.read(f"{MEMORY}/memory{number}/valid_zones")
        except OSError:
            return None

    def _vanish(self, number: int) -> None:
        for attribute in ("state", "valid_zones"):
            self._texts[f"{MEMORY}/memory{number}/{attribute}"] = None

    def _appear(self, number: int) -> None:
        self._show(number, "offline", self._spans_now.valid_zones(number))
        try:
            policy = self.read(f"{MEMORY}/auto_online_blocks").decode().strip()
        except OSError:
            return
        if policy != "offline":
            self._switch(number, policy)

    def _switch(self, number: int, word: str) -> None:
        spans = self._spans_now
        if word == "offline":
            spans.set_offline(number)
            self._show(number, word, spans.valid_zones(number))
            return
        shown = (self._valid_zones(number) or b"").decode().split()
        # If the tree shows zones, use them rather than those from the spans.
        zones = tuple(map(Zone.named, shown)) or spans.valid_zones(number)
        kernel_zone = next((zone for zone in zones if zone is not Zone.MOVABLE), Zone.NORMAL)
        chosen = {"online": zones[0], "online_movable": Zone.MOVABLE}.get(word, kernel_zone)
        spans.set_online(number, chosen)
        self._show(number, "online", (chosen,))

    def _show(self, number: int, state: str, zones: tuple[Zone, ...]) -> None:
        block = f"{MEMORY}/memory{number}"
        self._texts[f"{block}/state"] = f"{state}\n".encode()
        if self._has_zones:
            names = " ".join(zone.value for zone in zones)
            self._texts[f"{block}/valid_zones"] = f"{names}\n".encode()

    @cached_property
    def _spans_now(self) -> Spans:
        return Spans(self.machine.read(NEEDED))

    @cached_property
    def _has_zones(self) -> bool:
        """Whether the kernel has valid_zones at all (since 3.18)."""
        return any(
            zones is not None
            for zones in self.machine.read((Attribute.ZONES,)).columns[Attribute.ZONES]
        )
