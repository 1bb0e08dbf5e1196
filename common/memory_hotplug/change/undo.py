"""The record of a change, with which it can be undone; as data. Nothing is read or written here."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from memory_hotplug.block import MemoryBlock
from memory_hotplug.condition import parse_condition, settled_condition
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.runs import gaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "UNDO",
    "Before",
    "Record",
    "Rewritten",
    "Undone",
    "format_record",
    "format_row",
    "json_line",
    "parse_record",
]

UNDO = "run/memory-hotplug/undo.json"
"""The record of the last change, below the root of this machine and of simulated ones."""


class Before(NamedTuple):
    """Blocks in a row that had the same condition before they were changed."""

    first: int
    last: int
    """The numbers of the first block that was changed and of the last, both inclusive; the last may
    be the lower one."""
    block: MemoryBlock
    """The condition, as that of the first block."""

    @property
    def lowest(self) -> int:
        return min(self.first, self.last)

    @property
    def highest(self) -> int:
        return max(self.first, self.last)


class Rewritten(NamedTuple):
    """The text of the layout that chmem writes, of which a change has made another; empty for no
    file."""

    before: str
    after: str
    installed: bool | None = None
    """Whether the change has installed what applies the layout at boot, too; False if it has
    removed that, None if it was left alone."""


class Undone(NamedTuple):
    """What undoings that were not complete may have changed, as it was before the first of them:
    what is to be undone once the rest is undone, too."""

    rows: Sequence[Before] = ()
    settings: Mapping[str, str] = {}


class Record(NamedTuple):
    """The record of a change: what it changed, as it was before."""

    rows: Sequence[Before]
    """In the order of the change; no block is in two of them."""
    settings: Mapping[str, str] = {}
    """Key of a policy -> the word."""
    layout: Rewritten | None = None
    """Given if the change has written the layout."""
    undone: Undone = Undone()

    def present(self, blocks: Sequence[MemoryBlock]) -> list[tuple[MemoryBlock, MemoryBlock]]:
        """Those of BLOCKS, which ascend, that are in the record, in the order of the change: each
        as it was before, and as it is now."""
        return _present(self.rows, blocks)

    def absent(self, numbers: Sequence[int]) -> list[Before]:
        """The blocks of the record that are not among NUMBERS, which ascend."""
        return [
            Before(first, last, row.block)
            for row in self.rows
            for first, last in gaps(numbers, row.lowest, row.highest)
        ]

    def present_undone(self, blocks: Sequence[MemoryBlock]) -> list[MemoryBlock]:
        """Those of BLOCKS, which ascend, that an undoing may have changed, as they were before."""
        return [before for before, _ in _present(self.undone.rows, blocks)]


def _present(
    rows: Iterable[Before], blocks: Sequence[MemoryBlock]
) -> list[tuple[MemoryBlock, MemoryBlock]]:
    numbers = [block.number for block in blocks]
    found = []
    for row in rows:
        there = blocks[bisect_left(numbers, row.lowest) : bisect_right(numbers, row.highest)]
        for now in reversed(there) if row.last < row.first else there:
            found.append((row.block._replace(number=now.number), now))
    return found


def format_record(
    before: Iterable[MemoryBlock],
    settings: Mapping[str, str] = {},
    layout: Rewritten | None = None,
    undone: tuple[Iterable[MemoryBlock], Mapping[str, str]] = ((), {}),
    absent: Iterable[Before] = (),
) -> bytes:
    """The record of a change of blocks and settings that were as BEFORE and SETTINGS say, and of
    LAYOUT; None if that was not changed. UNDONE is what was undone of it already, likewise, and
    ABSENT are blocks of it that are not on the machine any more."""
    record = {
        "version": 1,
        "before": [*_rows(before), *map(_formatted, absent)],
        "settings": dict(settings),
        "layout": layout and layout._asdict(),
    }
    rows, words = _rows(undone[0]), dict(undone[1])
    if rows or words:
        record["undone"] = {"before": rows, "settings": words}
    return json_line(record)


def _rows(before: Iterable[MemoryBlock]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    condition, way = None, 0
    for block in before:
        number, found = block.number, settled_condition(block)
        step = number - rows[-1]["last"] if rows else 0
        if found == condition and step in ((1, -1) if way == 0 else (way,)):
            rows[-1]["last"], way = number, step
        else:
            rows.append({"first": number, "last": number, **found})
            condition, way = found, 0
    return rows


def format_row(before: MemoryBlock) -> bytes:
    """A block that is added to the end of a record."""
    return json_line(_formatted(Before(before.number, before.number, before)))


def _formatted(row: Before) -> dict[str, Any]:
    return {"first": row.first, "last": row.last, **settled_condition(row.block)}


def json_line(value: object) -> bytes:
    """VALUE as a line of JSON. Every change writes some: numbers, words, and what consists of them.
    The module json takes longer to import than chmem takes to set a block online."""
    return f"{_json(value)}\n".encode()


def _json(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_json(key)}: {_json(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, str):
        if value.isascii() and value.replace("-", "").replace("_", "").isalnum():
            return f'"{value}"'
        import json

        return json.dumps(value)
    return "null" if value is None else str(value).lower()


_KEYS = {"version", "before", "settings", "layout"}
_ROW = {"first", "last", "state", "zone", "configured", "memmap_on_memory"}


def parse_record(data: bytes) -> Record:
    """The record of a change. Raises ValueError if it is damaged.

    The first line is what `format_record` made, each other one a row that was added. What a killed
    process has not written to its end does not count.
    """
    head, newline, more = data.partition(b"\n")
    added = more.split(b"\n")[:-1] if newline else []
    import json

    try:
        found, *ends = map(json.loads, (head, *added))
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict) or found.keys() - {"undone"} != _KEYS or found["version"] != 1:
        raise ValueError("no record")
    return Record(
        _parsed_rows(found["before"], ends),
        _words(found["settings"]),
        _rewritten(found["layout"]),
        _undone(found["undone"]) if "undone" in found else Undone(),
    )


def _undone(found: Any) -> Undone:
    if not isinstance(found, dict) or found.keys() != {"before", "settings"}:
        raise ValueError("no record")
    return Undone(_parsed_rows(found["before"]), _words(found["settings"]))


def _parsed_rows(found: Any, more: Sequence[Any] = ()) -> list[Before]:
    if not isinstance(found, list):
        raise ValueError("no record")
    rows = [_row(row) for row in (*found, *more)]
    ascending = sorted(rows, key=lambda row: row.lowest)
    if any(row.highest >= after.lowest for row, after in pairwise(ascending)):
        raise ValueError("a block twice")
    return rows


def _words(found: Any) -> dict[str, str]:
    from memory_hotplug.layout.settings import ATTRIBUTES

    if not (
        isinstance(found, dict)
        and ATTRIBUTES.keys() >= found.keys()
        and all(map(_is_word, found.values()))
    ):
        raise ValueError("no settings")
    return found


def _is_word(found: Any) -> bool:
    import re

    return isinstance(found, str) and re.fullmatch("[A-Za-z0-9_-]{1,40}", found) is not None


def _rewritten(found: Any) -> Rewritten | None:
    if found is None:
        return None
    if not (
        isinstance(found, dict)
        and found.keys() == set(Rewritten._fields)
        and isinstance(found["before"], str)
        and isinstance(found["after"], str)
        and isinstance(found["installed"], bool | None)
    ):
        raise ValueError("no layout")
    if found["before"].strip():
        from memory_hotplug.layout.notation import parse_layout

        # Also a LayoutError is a ValueError.
        parse_layout(found["before"], f"/{UNDO}")
    return Rewritten(**found)


def _row(found: Any) -> Before:
    if not isinstance(found, dict) or found.keys() != _ROW:
        raise ValueError("no row")
    parse_condition(found["last"], found)
    return Before(found["first"], found["last"], parse_condition(found["first"], found))
