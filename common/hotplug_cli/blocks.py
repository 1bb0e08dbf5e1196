"""Names of memory blocks in sentences, and the message about those that a layout misses."""

from collections.abc import Iterable, Sequence

from hotplug_cli import sizes
from hotplug_cli.messages import Sentence, reading
from memory_hotplug.runs import runs as runs_of
from memory_hotplug.targets import Absence

__all__ = ["absent", "named", "named_run", "runs", "some"]

MOST = 8
"""The maximum of ranges of blocks that a sentence names."""


def runs(numbers: Iterable[int]) -> list[str]:
    """The numbers as arguments of the command line: ``0-3`` and ``7``."""
    return [_run(*run) for run in runs_of(sorted(numbers))]


def _run(first: int, last: int) -> str:
    return f"{first}-{last}" if last > first else str(first)


def some(texts: Sequence[str]) -> Sequence[str]:
    """As many texts as a sentence has room for."""
    return texts if len(texts) <= MOST else [*texts[:MOST], "..."]


def named(numbers: Iterable[int]) -> str:
    """Names the blocks in a sentence: ``memory block 5``, ``memory blocks 0-3, 7``."""
    return _blocks(", ".join(some(runs(numbers))))


def named_run(first: int, last: int) -> str:
    """Names the blocks FIRST to LAST, both inclusive, in a sentence."""
    return _blocks(_run(first, last))


def _blocks(shown: str) -> str:
    return f"memory block{'' if shown.isdecimal() else 's'} {shown}"


def absent(absence: Absence, block_size: int) -> Sentence:
    """The message about memory that a layout names, and that the machine does not have. BLOCK_SIZE
    is in bytes."""
    entry = absence.entry
    assert entry is not None
    where = entry.where
    place = where.file if where.line is None else f"{where.file}:{where.line}"
    if absence.ranges:
        what = _blocks(", ".join(some([_run(*ends) for ends in absence.ranges])))
    elif entry.size is None:
        what = f"memory of node {entry.node}"
    else:
        what = f"{sizes.exact(absence.blocks * block_size)} more to choose from"
    return reading.ABSENT.of(where=place, what=what)
