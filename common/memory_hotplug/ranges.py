"""Contiguous memory blocks that agree, merged into ranges."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from typing import Any

from memory_hotplug.block import NOT_READ, MemoryBlock, State

ATTRIBUTES = tuple(field.name for field in fields(MemoryBlock) if field.name != "number")
"""Names of what can be read of a block."""

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


@dataclass(frozen=True, slots=True)
class BlockTable:
    """The blocks of a machine as columns, which on 65,536 blocks costs a fraction of objects."""

    block_size: int
    """Bytes."""
    numbers: Sequence[int]
    """Block numbers, ascending."""
    columns: Mapping[str, Sequence[Any]]
    """Attribute name -> one value a block, for the attributes that were read."""

    def blocks(self) -> Iterator[MemoryBlock]:
        columns = [self.columns.get(name, repeat(NOT_READ)) for name in ATTRIBUTES]
        return map(MemoryBlock, self.numbers, *columns)

    def block(self, index: int) -> MemoryBlock:
        """The block at a position of the table; what was not read is None."""
        return MemoryBlock(
            self.numbers[index], **{name: column[index] for name, column in self.columns.items()}
        )

    def ranges(self, split: Collection[str]) -> Iterator[MemoryRange]:
        """Contiguous blocks that agree in each attribute of SPLIT, merged; ascending.

        Raises KeyError for an attribute that was not read.
        """
        columns = [self.columns[name] for name in split]
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
        """Bytes of the blocks that are online, or of all others. Needs the attribute ``state``."""
        online_blocks = self.columns["state"].count(State.ONLINE)
        blocks = online_blocks if online else len(self.numbers) - online_blocks
        return blocks * self.block_size
