"""The table of a machine's blocks, and ranges of contiguous blocks that agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import repeat

from memory_hotplug.attribute import Attribute, attributes_named
from memory_hotplug.block import NOT_READ, MemoryBlock, State
from memory_hotplug.checks import refuse
from memory_hotplug.errors import NotReadError, UnknownNameError
from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "MEMMAP_FRACTION",
    "MERGED_BY",
    "BlockTable",
    "MemoryRange",
    "Remark",
    "RemarkKind",
    "spread",
]

MERGED_BY: tuple[str, ...] = tuple(name for name in Attribute if name is not Attribute.PHYS_DEVICE)
"""The attributes that split ranges by default. phys_device is not one of them, because on s390 it
differs for each block."""

MEMMAP_FRACTION = 64
"""Struct pages take 64 bytes for each page of 4 KiB (include/linux/mm_types.h)."""


# Every start of lsmem makes these classes; dataclasses take several times as long to make.


class MemoryRange(NamedTuple):
    """Contiguous blocks that agree in the attributes that split ranges."""

    first: int
    """Number of the first block."""
    last: int
    """Number of the last block, inclusive."""
    block_size: int
    """Bytes."""
    block: MemoryBlock
    """The first block. All blocks of the range have its values of the attributes that split it."""

    @property
    def start(self) -> int:
        """Address of the first byte."""
        return self.first * self.block_size

    @property
    def end(self) -> int:
        """Address of the last byte, inclusive."""
        return (self.last + 1) * self.block_size - 1

    @property
    def size(self) -> int:
        """Bytes."""
        return (self.last - self.first + 1) * self.block_size

    @property
    def memmap_size(self) -> int:
        """The size of the struct pages of the range in bytes, wherever they are."""
        return self.size // MEMMAP_FRACTION


class RemarkKind(Enum):
    """The kind of a remark."""

    IMPOSSIBLE_NUMBER = "impossible number"
    """Blocks beyond the end of the address space were left out."""
    NOT_A_DIRECTORY = "not a directory"
    """A memoryN that is not a directory was left out."""
    UNREADABLE = "unreadable"
    """An attribute of blocks exists, but could not be read."""


class Remark(NamedTuple):
    """A remark about something that was left out of a table, or could not be read."""

    kind: RemarkKind
    blocks: tuple[int, ...] = ()
    """The numbers of the blocks, ascending; empty for all blocks."""
    attribute: Attribute | None = None
    """The one that could not be read."""
    reason: str = ""
    """Why the attribute cannot be read: the kernel's text for the error."""


class BlockTable(NamedTuple):
    """The blocks of a machine as columns, which is much faster than objects for 65,536 blocks."""

    block_size: int
    """Bytes."""
    numbers: Sequence[int]
    """Block numbers, ascending."""
    columns: Mapping[str, Sequence[Any]]
    """Attribute -> a list with its value for each block; only attributes that were read."""
    remarks: tuple[Remark, ...] = ()
    """Remarks about what was left out of the table, or could not be read."""

    @property
    def has_zones(self) -> bool:
        """Whether zones are used. Like util-linux, look only at the first block that has a memoryN,
        which is the first one that is not unconfigured. Raises NotReadError if ``zones`` or
        ``configured`` was not read."""
        zones, configured = self._column(Attribute.ZONES), self._column(Attribute.CONFIGURED)
        there = (known for known, flag in zip(zones, configured, strict=True) if flag is not False)
        return next(there, None) is not None

    @property
    def shows_zones(self) -> bool:
        """Whether any block tells its zones, which must have been read."""
        return any(zones is not None for zones in self.columns[Attribute.ZONES])

    def blocks(self) -> Iterator[MemoryBlock]:
        """All blocks, ascending. Attributes that were not read are NOT_READ."""
        columns = [self.columns.get(name, repeat(NOT_READ)) for name in Attribute]
        return map(MemoryBlock._make, zip(self.numbers, *columns, strict=False))

    def block(self, index: int) -> MemoryBlock:
        """The block at a position of the table, from 0. Raises UnknownNameError for a position that
        it does not have."""
        try:
            return MemoryBlock(
                self.numbers[index],
                **{name: column[index] for name, column in self.columns.items()},
            )
        except IndexError:
            raise UnknownNameError("position in the table", str(index)) from None
        except TypeError:
            raise refuse("index", "a whole number", index) from None

    def ranges(
        self, split: Iterable[str] = MERGED_BY, more: Iterable[Sequence[Any]] = ()
    ) -> Iterator[MemoryRange]:
        """Ranges of contiguous blocks that agree in each attribute of SPLIT, ascending.

        MORE are further columns that split ranges: a value for each block. Raises UnknownNameError,
        and NotReadError for an attribute that was not read.
        """
        return self._merged([*(self._column(name) for name in attributes_named(split)), *more])

    def _merged(self, columns: Collection[Sequence[Any]]) -> Iterator[MemoryRange]:
        agreeing = zip(*columns, strict=True) if columns else repeat(())
        start, after, values = 0, -1, None
        for index, (number, now) in enumerate(zip(self.numbers, agreeing, strict=False)):
            if number != after or now != values:
                if index:
                    yield self._range(start, index)
                start, values = index, now
            after = number + 1
        if self.numbers:
            yield self._range(start, len(self.numbers))

    def each(self) -> Iterator[MemoryRange]:
        """Each block as a range of its own, ascending."""
        return (
            MemoryRange(block.number, block.number, self.block_size, block)
            for block in self.blocks()
        )

    def _range(self, start: int, stop: int) -> MemoryRange:
        numbers = self.numbers
        return MemoryRange(numbers[start], numbers[stop - 1], self.block_size, self.block(start))

    def total(self, *, online: bool) -> int:
        """The size of all online blocks, or of all others, in bytes. Raises NotReadError if
        ``state`` was not read."""
        online_blocks = self._column(Attribute.STATE).count(State.ONLINE)
        blocks = online_blocks if online else len(self.numbers) - online_blocks
        return blocks * self.block_size

    def _column(self, name: Attribute) -> Sequence[Any]:
        try:
            return self.columns[name]
        except KeyError:
            raise NotReadError([name]) from None


def spread(
    values: list[Any], known: Sequence[int], numbers: Sequence[int], absent: Any = None
) -> list[Any]:
    """One value for each of NUMBERS: the one in VALUES for a KNOWN number, ABSENT for the others.

    Both sequences of block numbers ascend, and KNOWN is a subset of NUMBERS.
    """
    if len(known) == len(numbers):
        return values
    value = dict(zip(known, values, strict=True))
    return [value.get(number, absent) for number in numbers]
