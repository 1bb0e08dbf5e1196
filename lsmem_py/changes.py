"""The differences between two readings of a machine's memory, for --diff and --watch.

Both sides have the values of typed JSON, so that an old document can be compared with a machine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from hotplug_cli.documents import BYTES, COUNT, RUN, Key, closed, nullable
from lsmem_py.columns import BY_NAME
from memory_hotplug.block import DISABLED
from memory_hotplug.errors import printable
from memory_hotplug.table import MERGED_BY, BlockTable, Remark

__all__ = [
    "ATTRIBUTES",
    "CHANGE",
    "Difference",
    "Snapshot",
    "Span",
    "TypedValues",
    "compare",
    "format_change",
    "format_lines",
    "format_news",
    "format_stamped",
    "numbers",
    "snapshot",
]

ATTRIBUTES = MERGED_BY
"""The attributes that are compared, by their names in typed JSON."""

_LABELS = {"nodes": "node", "memmap_on_memory": "memmap-on-memory"}
"""What an attribute is called in text, where that is not its name."""

TypedValues = Mapping[str, Any]


class Span(NamedTuple):
    """Contiguous blocks with equal attributes."""

    first: int
    last: int
    """Inclusive."""
    values: TypedValues


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The memory blocks of a machine at one time."""

    block_size: int
    """Bytes."""
    spans: Sequence[Span]
    """Ascending; no block is in two of them."""
    head: Mapping[str, Any] = field(default_factory=dict)
    """The part of typed JSON about the machine as a whole."""
    remarks: Sequence[Remark] = ()
    """What the reading left out, or could not know."""

    @property
    def count(self) -> int:
        """The number of blocks."""
        return sum(span.last - span.first + 1 for span in self.spans)


@dataclass(frozen=True, slots=True)
class Difference:
    """Contiguous blocks that changed in the same way."""

    first: int
    last: int
    """Inclusive."""
    block_size: int
    before: TypedValues | None
    """None for blocks that did not exist before."""
    after: TypedValues | None
    """None for blocks that do not exist afterwards."""

    @property
    def kind(self) -> str:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def size(self) -> int:
        """Bytes."""
        return (self.last - self.first + 1) * self.block_size

    @property
    def name(self) -> str:
        """The name of the blocks: ``memory5`` or ``memory16-31``."""
        last = "" if self.first == self.last else f"-{self.last}"
        return f"memory{self.first}{last}"


def snapshot(table: BlockTable, head: Mapping[str, Any] | None = None) -> Snapshot:
    """The snapshot of TABLE, of which all ATTRIBUTES must have been read."""
    columns = {name: BY_NAME[name] for name in ATTRIBUTES}
    spans = [
        Span(
            found.first,
            found.last,
            {name: column.typed(column.value(found)) for name, column in columns.items()},
        )
        for found in table.ranges(ATTRIBUTES)
    ]
    return Snapshot(table.block_size, spans, head or {}, table.remarks)


def compare(before: Snapshot, after: Snapshot) -> list[Difference]:
    """The changes from one snapshot to another, ascending.

    An attribute of a block that only one side knows is not compared: a newer kernel may have more
    attributes. If the block size differs, all old blocks are removed and all new ones added.
    """
    if before.block_size != after.block_size:
        return [
            *compare(before, replace(before, spans=())),
            *compare(replace(after, spans=()), after),
        ]
    changes: list[Difference] = []
    for first, last, old, new in _pairs(before.spans, after.spans):
        if old is not None and new is not None:
            names = [name for name in old if name in new and _differ(name, old, new)]
            if not names:
                continue
            old, new = ({name: side[name] for name in names} for side in (old, new))
        previous = changes[-1] if changes else None
        if previous and (previous.last, previous.before, previous.after) == (first - 1, old, new):
            first = changes.pop().first
        changes.append(Difference(first, last, after.block_size, old, new))
    return changes


def _pairs(
    before: Sequence[Span], after: Sequence[Span]
) -> Iterator[tuple[int, int, TypedValues | None, TypedValues | None]]:
    """Runs of blocks that are in one span, or in none, of each side: the first and the last block,
    and the attributes on each side; None on a side that does not have the blocks."""
    edges = {edge for span in (*before, *after) for edge in (span.first, span.last + 1)}
    starts = sorted(edges)
    known = [_known_from(spans, starts) for spans in (before, after)]
    for first, end, old, new in zip(starts, starts[1:], *known, strict=False):
        if old is not None or new is not None:
            yield first, end - 1, old, new


def _known_from(spans: Sequence[Span], starts: Sequence[int]) -> Iterator[TypedValues | None]:
    """The attributes of the block at each of STARTS, which ascend."""
    at = 0
    for start in starts:
        while at < len(spans) and spans[at].last < start:
            at += 1
        yield spans[at].values if at < len(spans) and spans[at].first <= start else None


def _differ(name: str, old: TypedValues, new: TypedValues) -> bool:
    """Whether both sides know an attribute, and its values differ.

    An attribute that only configured memory has comes and goes with it. A state that cannot be read
    is compared, because the listing shows it, too.
    """
    if old[name] == new[name]:
        return False
    if name == "state" or None not in (old[name], new[name]):
        return True
    return {old.get("configured"), new.get("configured")} == {True, False}


_VALUES = nullable(
    closed(
        {name: {"description": BY_NAME[name].help, **BY_NAME[name].schema} for name in ATTRIBUTES},
        (),
    )
)

CHANGE = (
    Key(
        "change",
        "what became of the blocks",
        {"enum": ["added", "removed", "changed"]},
        lambda change: change.kind,
    ),
    Key(
        "block",
        "the blocks",
        RUN,
        lambda change: {"first": change.first, "last": change.last},
    ),
    Key("start", "the first address", COUNT, lambda change: change.first * change.block_size),
    Key(
        "end",
        "the last address, inclusive",
        COUNT,
        lambda change: (change.last + 1) * change.block_size - 1,
    ),
    Key("size", "bytes", BYTES, lambda change: change.size),
    Key(
        "before",
        "their attributes before, of blocks that changed only those that differ; null if they were "
        "not there",
        _VALUES,
        lambda change: change.before,
    ),
    Key(
        "after",
        "the same afterwards; null if they are not there any more",
        _VALUES,
        lambda change: change.after,
    ),
)
"""A change as JSON has it."""


def format_change(change: Difference) -> str:
    """The change as text: ``online -> offline, zones Normal -> Normal/Movable``."""
    old, new = change.before, change.after
    if old is None or new is None:
        said = [_status(new or old or {})]
        return f"{change.kind}, {said[0]}" if said[0] else change.kind
    told = []
    # The kernel has no state for a block that is not configured, so show the status instead.
    if {"configured", "state"} & old.keys():
        told.append(f"{_status(old, new)} -> {_status(new, old)}")
    # Where all nodes are known, the lowest one says nothing more.
    told_already = {"state", "configured", *({"node"} if "nodes" in old else ())}
    # An attribute that only configured memory has comes and goes with it.
    told += [
        f"{_LABELS.get(name, name)} {_text(old[name])} -> {_text(new[name])}"
        for name in ATTRIBUTES
        if name in old
        and name not in told_already
        and not ("configured" in old and None in (old[name], new[name]))
    ]
    return ", ".join(told)


def format_stamped(sentence: str, now: datetime) -> str:
    """A line of a log: the time of day, then SENTENCE."""
    return f"{now:%H:%M:%S} {sentence}"


def format_news(change: Difference, now: datetime) -> str:
    """The change as a line of a log: when it was seen, the blocks, and what changed."""
    return format_stamped(f"{change.name}: {format_change(change)}", now)


def _status(values: TypedValues, other: TypedValues | None = None) -> str:
    if values.get("configured") is False:
        return DISABLED
    if "state" in values:
        return values["state"] or "?"
    # The block was offline before and after: only its configuration changed.
    return "offline" if other else ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "/".join("?" if one is None else printable(str(one)) for one in value) or "-"
    if value is None:
        return "-"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def format_lines(changes: Sequence[Difference], format_size: Callable[[int], str]) -> Iterator[str]:
    """One line for each change, aligned, with newlines."""
    sizes = [format_size(change.size) for change in changes]
    name_width = max((len(change.name) for change in changes), default=0)
    size_width = max(map(len, sizes), default=0)
    for change, size in zip(changes, sizes, strict=True):
        yield f"{change.name:<{name_width}} {size:>{size_width}}  {format_change(change)}\n"


def numbers(changes: Iterable[Difference]) -> set[int]:
    """The numbers of the blocks that changed."""
    return {number for one in changes for number in range(one.first, one.last + 1)}
