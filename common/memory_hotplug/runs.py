"""Runs of numbers that follow each other, and the gaps between them. Both ends are inclusive."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Run", "gaps", "gaps_between", "length", "runs_of"]

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


def length(runs: Iterable[Run]) -> int:
    """The count of numbers in RUNS, which do not overlap."""
    return sum(last - first + 1 for first, last in runs)


def gaps(numbers: Sequence[int], first: int, last: int) -> Iterator[Run]:
    """The runs from FIRST to LAST that are not among NUMBERS, which ascend."""
    among = numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]
    return gaps_between(runs_of(among), first, last)


def gaps_between(runs: Sequence[Run], first: int, last: int) -> Iterator[Run]:
    """The runs from FIRST to LAST that are not in RUNS, which ascend."""
    at = first
    for one, end in runs[bisect_left(runs, first, key=_end) : bisect_right(runs, last, key=_first)]:
        if one > at:
            yield at, one - 1
        at = end + 1
    if at <= last:
        yield at, last


def _first(run: Run) -> int:
    return run[0]


def _end(run: Run) -> int:
    return run[1]
