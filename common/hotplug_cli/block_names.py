"""Names of memory blocks in sentences."""

from collections.abc import Iterable, Sequence

from hotplug_cli.message import Wording
from memory_hotplug.runs import runs_of

__all__ = ["named", "named_one", "named_runs", "ranges_named", "some", "worded"]

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


def named(numbers: Iterable[int]) -> Wording:
    """Names the blocks in a sentence: ``memory block 5``, ``memory blocks 0-3, 7``."""
    return named_runs(runs_of(sorted(numbers)))


def named_one(number: int) -> Wording:
    """Names a block in a sentence about no more than one."""
    return Wording(named([number]), number)


def named_runs(ends: Iterable[tuple[int, int]]) -> Wording:
    """Names the blocks from the first to the last of each pair, both inclusive, in a sentence."""
    runs = list(ends)
    shown = ", ".join(some([_run(*run) for run in runs]))
    return worded(f"memory block{'' if shown.isdecimal() else 's'} {shown}", runs)


def worded(text: str, runs: Iterable[tuple[int, int]]) -> Wording:
    """A text that names the blocks from the first to the last of each pair."""
    return Wording(text, [{"first": first, "last": last} for first, last in runs])
