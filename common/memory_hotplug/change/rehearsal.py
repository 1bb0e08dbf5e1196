"""A tree for the dry run: it records writes instead of doing them.

Reads show what the kernel would show after these writes, so that an order can be carried out on
this tree. Two things only the kernel knows: whether the pages of a block can be moved, and whether
there is memory for struct pages. The dry run assumes both.
"""

import contextlib
import errno
import re
from collections.abc import Iterable
from functools import cached_property

from memory_hotplug.attribute import FIRMWARE, MEMORY, NODE, PARAMETERS, TABLE, Attribute, path_of
from memory_hotplug.block import Zone
from memory_hotplug.change.zone_spans import NEEDED, Spans
from memory_hotplug.machine import Machine
from memory_hotplug.seen.in_use import MEMINFO
from memory_hotplug.table import BlockTable
from memory_hotplug.trees.files import read_one_by_one
from memory_hotplug.trees.many import Links
from safe_files.errno_names import error_of

__all__ = ["Rehearsal"]

_SETTINGS = {path_of(name) for name, row in TABLE.items() if not row.of_block}

_FREE = re.compile(rb"\b((?:MemTotal|MemFree|MemAvailable): +)(\d{1,15})(?= kB)")
"""The sizes in a meminfo that grow by a block that comes online."""


class Rehearsal:
    """The tree of MACHINE as it would be after the recorded writes."""

    def __init__(self, machine: Machine) -> None:
        behind = machine.tree
        self.root, self.system, self.place = behind.root, behind.system, behind.place
        self.is_this_machine = behind.is_this_machine
        self._behind = behind
        self._texts: dict[str, bytes | None] = {}
        """Path -> the text that the attribute would have; None if it would be gone."""
        self._come: dict[int, int] = {}
        """Block -> 1 if it has come online, -1 if it has gone, 0 if it is again as it was."""
        self._node_of: dict[int, int | None] = {}
        """Block of `_come` -> its node; None if it is in several, or that is not known."""
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
            found = self._behind.read(path)
            if self._come and path.endswith("meminfo"):
                return _grown(found, self._blocks_in(path) * self.machine.block_size)
            if self._come and path.endswith("/valid_zones"):
                return self._zones_after(path, found)
            return found
        text = self._texts[path]
        if text is None:
            raise error_of(errno.ENOENT, path)
        return text

    def read_each(
        self,
        directory: str,
        numbers: Iterable[int],
        *attributes: str,
        links: Links | None = None,
    ) -> list[bytes | OSError]:
        if not self._texts:
            return self._behind.read_each(directory, numbers, *attributes, links=links)
        return read_one_by_one(self, directory, numbers, *attributes, links=links)

    def refusal(self, path: str) -> OSError | None:
        return None

    def write(self, path: str, word: str) -> None:
        """Record a write. Raises OSError if the tree shows that it would fail: for a symbolic link
        on the way, a read-only medium, a kernel without memmap on memory, or a block that spans
        several zones and cannot go offline (mm/memory_hotplug.c, offline_pages)."""
        directory, _, attribute = path.rpartition("/")
        refusal = self._behind.refusal(path)
        if refusal and refusal.errno in (errno.ELOOP, errno.ENOTDIR, errno.EROFS):
            raise refusal
        if path in _SETTINGS:
            self._record(path, word)
            return
        if (attribute, word) == ("memmap_on_memory", "1") and self._without_memmap():
            raise error_of(errno.EOPNOTSUPP, path)
        number = int(directory.rpartition("/memory")[2])
        zones = self._valid_zones(number)
        if (attribute, word) == ("state", "offline") and zones and zones.strip() == b"none":
            raise error_of(errno.EINVAL, path)
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

    def _zones_after(self, path: str, shown: bytes) -> bytes:
        """What valid_zones of a block is after others were switched. That follows from the spans
        if what is SHOWN before does; it does not for a block that is online."""
        number = int(path.removeprefix(f"{MEMORY}/memory").removesuffix("/valid_zones"))
        if shown != _line(self._spans_before.valid_zones(number)):
            return shown
        return _line(self._spans_now.valid_zones(number))

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
        self._count(number, online=word != "offline")
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

    def _count(self, number: int, *, online: bool) -> None:
        """Count the memory of a block that comes online, or goes, in what the kernel says of it."""
        was = False
        with contextlib.suppress(OSError):
            was = self._behind.read(f"{MEMORY}/memory{number}/state").strip() == b"online"
        self._come[number] = online - was

    def _blocks_in(self, path: str) -> int:
        """By how many blocks the memory in a meminfo has grown."""
        if path == MEMINFO:
            return sum(self._come.values())
        return sum(
            step
            for number, step in self._come.items()
            if path == f"{NODE}/node{self._node(number)}/meminfo"
        )

    def _node(self, number: int) -> int | None:
        if number not in self._node_of:
            found = [*self.machine.read((Attribute.NODES,), [number]).blocks()]
            # Memory that is not configured has none yet, unless there is only one.
            nodes = (found[0].nodes if found else None) or self._nodes
            self._node_of[number] = nodes[0] if len(nodes) == 1 else None
        return self._node_of[number]

    @cached_property
    def _nodes(self) -> tuple[int, ...]:
        return self.machine.nodes

    def _show(self, number: int, state: str, zones: tuple[Zone, ...]) -> None:
        block = f"{MEMORY}/memory{number}"
        self._texts[f"{block}/state"] = f"{state}\n".encode()
        if self._has_zones:
            self._texts[f"{block}/valid_zones"] = _line(zones)

    @cached_property
    def _table(self) -> BlockTable:
        return self.machine.read(NEEDED)

    @cached_property
    def _spans_before(self) -> Spans:
        return Spans(self._table)

    @cached_property
    def _spans_now(self) -> Spans:
        return Spans(self._table)

    @cached_property
    def _has_zones(self) -> bool:
        """Whether the kernel has valid_zones at all (since 3.18)."""
        return self._table.shows_zones


def _line(zones: Iterable[Zone]) -> bytes:
    return f"{' '.join(zone.value for zone in zones)}\n".encode()


def _grown(text: bytes, size: int) -> bytes:
    """The TEXT of a meminfo with SIZE more bytes that are free."""

    def grown(line: re.Match[bytes]) -> bytes:
        return line[1] + str(max(int(line[2]) + (size >> 10), 0)).encode()

    return _FREE.sub(grown, text)
