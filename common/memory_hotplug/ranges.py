"""The blocks of a machine as they were read, and contiguous ones that agree merged into ranges."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import repeat
from typing import Any, NamedTuple

from memory_hotplug.attribute import Attribute, attributes_named
from memory_hotplug.block import NOT_READ, MemoryBlock, State
from memory_hotplug.errors import NotReadError

__all__ = [
    "MEMMAP_FRACTION",
    "MERGED_BY",
    "BlockTable",
    "MemoryRange",
    "Remark",
    "RemarkKind",
]

MERGED_BY: tuple[str, ...] = tuple(name for name in Attribute if name is not Attribute.PHYS_DEVICE)
"""What ranges are split by unless a caller says otherwise. The physical device is left out: on
s390 every block has one of its own."""

MEMMAP_FRACTION = 64
"""Struct pages take 64 bytes for each page of 4 KiB (include/linux/mm_types.h)."""


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """Contiguous blocks that agree in what they were split by."""

    first: int
    """Number of the first block."""
    last: int
    """Number of the last block, inclusive."""
    block_size: int
    """Bytes."""
    block: MemoryBlock
    """The first block, which speaks for all of them in the attributes the ranges were split by."""

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
        """Bytes that the struct pages of the range take, wherever they live."""
        return self.size // MEMMAP_FRACTION


class RemarkKind(Enum):
    """What a reading left out, or could not know."""

    IMPOSSIBLE_NUMBER = "impossible number"
    """Blocks that would lie beyond the end of the address space are left out."""
    NOT_A_DIRECTORY = "not a directory"
    """A memoryN that is something else is left out."""
    UNREADABLE = "unreadable"
    """An attribute of blocks is not known, though it is there."""


class Remark(NamedTuple):
    """A thing that a reading left out, or could not know.

    A named tuple because every start of lsmem makes the class.
    """

    kind: RemarkKind
    blocks: tuple[int, ...] = ()
    """Numbers, ascending; none where the remark is on all blocks."""
    attribute: Attribute | None = None
    reason: str = ""
    """Why the attribute cannot be read, as the kernel says it."""


@dataclass(frozen=True, slots=True)
class BlockTable:
    """The blocks of a machine as columns, which on 65,536 blocks costs a fraction of objects."""

    block_size: int
    """Bytes."""
    numbers: Sequence[int]
    """Block numbers, ascending."""
    columns: Mapping[str, Sequence[Any]]
    """Attribute -> one value a block, for the attributes that were read."""
    remarks: tuple[Remark, ...] = ()
    """What was left out of the table, and what in it is not known."""

    def blocks(self) -> Iterator[MemoryBlock]:
        """Every block, ascending; what was not read is NOT_READ."""
        columns = [self.columns.get(name, repeat(NOT_READ)) for name in Attribute]
        return map(MemoryBlock, self.numbers, *columns)

    def block(self, index: int) -> MemoryBlock:
        """The block at a position of the table, from 0; IndexError beyond its end."""
        return MemoryBlock(
            self.numbers[index], **{name: column[index] for name, column in self.columns.items()}
        )

    def ranges(self, split: Iterable[str] = MERGED_BY) -> Iterator[MemoryRange]:
        """Contiguous blocks that agree in each attribute of SPLIT, merged; ascending.

        Raises UnknownNameError, and NotReadError for an attribute that was not read.
        """
        return self._merged([self._column(name) for name in attributes_named(split)])

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
        """Every block as a range of its own; ascending."""
        return (
            MemoryRange(block.number, block.number, self.block_size, block)
            for block in self.blocks()
        )

    def _range(self, start: int, stop: int) -> MemoryRange:
        numbers = self.numbers
        return MemoryRange(numbers[start], numbers[stop - 1], self.block_size, self.block(start))

    def total(self, *, online: bool) -> int:
        """Bytes of the blocks that are online, or of all others. Raises NotReadError where
        ``state`` was not read."""
        online_blocks = self._column(Attribute.STATE).count(State.ONLINE)
        blocks = online_blocks if online else len(self.numbers) - online_blocks
        return blocks * self.block_size

    def _column(self, name: Attribute) -> Sequence[Any]:
        try:
            return self.columns[name]
        except KeyError:
            raise NotReadError([name]) from None
