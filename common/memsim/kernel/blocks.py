"""What is at each block number of a machine (struct memory_block, include/linux/memory.h)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from memsim.machine import ZONES, Group, Machine

__all__ = [
    "ABSENT",
    "EARLY",
    "HOLE",
    "IN_ZONE",
    "MEMMAP",
    "OFFLINE",
    "ONLINE",
    "PRESENT",
    "Blocks",
]

# What is at a block number: nothing that the machine could have, storage that is not configured,
# an offline block, or (from here on) an online block of the zone with that index in ZONES.
HOLE, ABSENT, OFFLINE, IN_ZONE = 255, 0, 1, 2

# Flags of a block: its memmap_on_memory, and whether it was online at boot and never removed.
MEMMAP, EARLY = 1, 2

ONLINE: Final = bytes(range(IN_ZONE, IN_ZONE + len(ZONES)))
PRESENT: Final = bytes([OFFLINE]) + ONLINE

_HOLES: Final = bytes([HOLE])
_FLAGS: Final = bytes(range((MEMMAP | EARLY) + 1))


class Blocks:
    """All block numbers from a machine's first block to its last, holes included.

    `place` and `flags` have one byte for each number; index 0 is the block `first`. So a quarter of
    a million blocks are two strings, which are counted and searched at the speed of memory.
    """

    __slots__ = ("_changed", "_firsts", "_groups", "first", "flags", "place")

    def __init__(self, machine: Machine) -> None:
        """The blocks at boot. The machine's groups are in order and do not overlap."""
        self._frame(machine)
        self.place = bytearray(_HOLES) * (machine.groups[-1].last + 1 - self.first)
        self.flags = bytearray(len(self.place))
        for group in machine.groups:
            at, count = self._slice(group.first, group.last), group.last + 1 - group.first
            online = group.config and group.online
            zone = IN_ZONE + ZONES.index(group.zone)
            place = zone if online else OFFLINE if group.config else ABSENT
            self.place[at] = bytes([place]) * count
            flags = (MEMMAP if group.memmap else 0) | (EARLY if online else 0)
            self.flags[at] = bytes([flags]) * count

    @classmethod
    def restored(cls, machine: Machine, content: bytes) -> Blocks:
        """The blocks from `content`. Raises ValueError for content that no kernel can have."""
        blocks = cls.__new__(cls)
        blocks._frame(machine)
        count = machine.groups[-1].last + 1 - blocks.first
        if len(content) != 2 * count:
            raise ValueError(f"{2 * count} bytes, two for each block number")
        blocks.place, blocks.flags = bytearray(content[:count]), bytearray(content[count:])
        if blocks.flags.translate(None, _FLAGS):
            raise ValueError("flags that a kernel knows")
        if blocks.place.translate(None, PRESENT + _HOLES + bytes([ABSENT])):
            raise ValueError("what a kernel can have made of blocks")
        fixed = [group for group in machine.groups if group.config and not machine.firmware]
        if any(blocks.count(ABSENT, group.first, group.last) for group in fixed):
            raise ValueError("the blocks that a machine without firmware always has")
        gaps = 0
        for group, after in pairwise(machine.groups):
            gap = after.first - group.last - 1
            gaps += gap
            if gap and blocks.count(HOLE, group.last + 1, after.first - 1) != gap:
                raise ValueError(f"no blocks between {group.last} and {after.first}")
        if blocks.place.count(HOLE) != gaps:
            raise ValueError("all blocks that the machine has")
        return blocks

    def _frame(self, machine: Machine) -> None:
        self.first: int = machine.groups[0].first
        """The number of the block that index 0 is about."""
        self._groups = machine.groups
        self._firsts = [group.first for group in machine.groups]
        self._changed: dict[int, tuple[int, int]] = {}

    def _slice(self, first: int, last: int) -> slice:
        return slice(first - self.first, last + 1 - self.first)

    def content(self) -> bytes:
        """The places, then the flags. `restored` is the inverse."""
        return bytes(self.place + self.flags)

    # Reading.

    def __iter__(self) -> Iterator[int]:
        """Every block number that the machine has or may get, ascending."""
        for group in self._groups:
            yield from range(group.first, group.last + 1)

    def __len__(self) -> int:
        """How many block numbers the machine has or may get."""
        return sum(group.last + 1 - group.first for group in self._groups)

    def __contains__(self, block: int) -> bool:
        return self.at(block) != HOLE

    def group(self, block: int) -> Group:
        """The group of a block that the machine has."""
        return self._groups[bisect_right(self._firsts, block) - 1]

    def at(self, block: int) -> int:
        """What is at a number: HOLE, ABSENT, OFFLINE, or the code of an online block's zone."""
        index = block - self.first
        return self.place[index] if 0 <= index < len(self.place) else HOLE

    def present(self, block: int) -> bool:
        """Whether the block is present: online or offline, and not only configurable."""
        return self.at(block) not in (HOLE, ABSENT)

    def online(self, block: int) -> bool:
        return IN_ZONE <= self.at(block) < HOLE

    def flag(self, block: int, flag: int) -> bool:
        """Whether a block of the machine has a flag."""
        return bool(self.flags[block - self.first] & flag)

    def find(self, place: int, first: int, last: int, count: int = 1) -> int | None:
        """The first of the lowest COUNT neighbours at this place, all from `first` to `last`."""
        run, start = bytes([place]) * count, first - self.first
        index = self.place.find(run, start, last + 1 - self.first)
        return None if index < 0 else index + self.first

    def find_last(self, place: int, first: int, last: int, count: int = 1) -> int | None:
        """The first of the highest COUNT neighbours at this place, all from `first` to `last`."""
        run, start = bytes([place]) * count, first - self.first
        index = self.place.rfind(run, start, last + 1 - self.first)
        return None if index < 0 else index + self.first

    def count(self, place: int, first: int, last: int) -> int:
        """How many of the blocks `first` to `last` are at this place."""
        return self.place.count(place, first - self.first, last + 1 - self.first)

    def count_flagged(self, flag: int, places: bytes, first: int, last: int) -> int:
        """How many of the blocks `first` to `last` are at one of these places and have a flag."""
        table = bytes(flag if place in places else 0 for place in range(256))
        at = self._slice(first, last)
        there = int.from_bytes(self.place[at].translate(table), "little")
        return (there & int.from_bytes(self.flags[at], "little")).bit_count()

    # Changing.

    def put(self, block: int, place: int) -> None:
        """Set the place of a block of the machine."""
        self._note(block)
        self.place[block - self.first] = place

    def mark(self, block: int, flag: int, wanted: bool) -> None:
        """Set or clear a flag of a block of the machine."""
        self._note(block)
        index = block - self.first
        self.flags[index] = self.flags[index] | flag if wanted else self.flags[index] & ~flag

    def become(self, other: Blocks) -> None:
        """Copy everything from `other`, which is of the same machine."""
        pairs = zip(self.place, other.place, self.flags, other.flags, strict=True)
        for index, (place, new_place, flags, new_flags) in enumerate(pairs):
            if (place, flags) != (new_place, new_flags):
                self._note(index + self.first)
        self.place, self.flags = other.place, other.flags

    def _note(self, block: int) -> None:
        index = block - self.first
        self._changed.setdefault(block, (self.place[index], self.flags[index]))

    def take_changed(self) -> Mapping[int, tuple[int, int]]:
        """For the blocks changed since the last call, their place and flags before."""
        changed, self._changed = self._changed, {}
        return changed
