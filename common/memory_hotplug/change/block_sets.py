"""Sets of blocks: an integer with a bit for each block, in the order of a table."""

from collections.abc import Iterable, Iterator

__all__ = ["bits_of", "ends_of", "set_of"]


def set_of(indexes: Iterable[int], count: int) -> int:
    """The set of INDEXES, which are below COUNT."""
    found = bytearray(count // 8 + 1)
    for index in indexes:
        found[index >> 3] |= 1 << (index & 7)
    return int.from_bytes(found, "little")


def bits_of(blocks: int) -> Iterator[int]:
    """The indexes in a set, ascending."""
    at = 0
    while blocks:
        gap = (blocks & -blocks).bit_length() - 1
        blocks >>= gap
        run = (~blocks & (blocks + 1)).bit_length() - 1
        blocks >>= run
        yield from range(at + gap, at + gap + run)
        at += gap + run


def ends_of(blocks: int, count: int, *, highest: bool) -> int:
    """COUNT of a set, or all if it has no more, from its lowest or its HIGHEST end."""
    if blocks.bit_count() <= count:
        return blocks
    if highest:
        return blocks ^ ends_of(blocks, blocks.bit_count() - count, highest=False)
    low, high = 0, blocks.bit_length()
    while low < high:
        middle = (low + high) // 2
        if (blocks & ((1 << middle) - 1)).bit_count() < count:
            low = middle + 1
        else:
            high = middle
    return blocks & ((1 << low) - 1)
