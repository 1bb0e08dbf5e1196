"""Names of memory blocks in sentences."""

from collections.abc import Iterable, Sequence

from memory_hotplug.runs import runs_of

__all__ = ["named", "named_runs", "ranges_named", "some"]

MOST = 8
"""The maximum of ranges of blocks that a sentence names."""


def ranges_named(numbers: Iterable[int]) -> list[str]:
    """The numbers as arguments of the command line: ``0-3`` and ``7``."""
    return [_run(*run) for run in runs_of(sorted(numbers))]


def _run(first: int, last: int) -> str:
    return f"{first}-{last}" if last > first else str(first)


def some(texts: Sequence[str]) -> Sequence[str]:
    """As many texts as a sentence has room for."""
    return texts if len(texts) <= MOST else [*texts[:MOST], "..."]


def named(numbers: Iterable[int]) -> str:
    """Names the blocks in a sentence: ``memory block 5``, ``memory blocks 0-3, 7``."""
    return _named(ranges_named(numbers))


def named_runs(ends: Iterable[tuple[int, int]]) -> str:
    """Names the blocks from the first to the last of each pair, both inclusive, in a sentence."""
    return _named([_run(first, last) for first, last in ends])


def _named(texts: Sequence[str]) -> str:
    shown = ", ".join(some(texts))
    return f"memory block{'' if shown.isdecimal() else 's'} {shown}"
