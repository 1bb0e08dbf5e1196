"""Runs of numbers that follow each other, and the gaps between them. Both ends are inclusive."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Run", "gaps", "runs_of"]

Run = tuple[int, int]


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """The runs of NUMBERS, which ascend."""
    found: list[Run] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def gaps(numbers: Sequence[int], first: int, last: int) -> Iterator[Run]:
    """The runs from FIRST to LAST that are not among NUMBERS, which ascend."""
    at = first
    for number in numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]:
        if number > at:
            yield at, number - 1
        at = number + 1
    if at <= last:
        yield at, last
