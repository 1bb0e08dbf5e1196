"""The output formats: name -> function that formats rows.

Each yields its text in pieces, so that the listing of a large machine is never in memory as a
whole. Only a table goes through its rows twice, first for the widths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from hotplug_cli.getopt import UsageError
from lsmem_py.columns import Column, plain
from lsmem_py.options import METRICS
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.table import MemoryRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "FORMATS",
    "Format",
    "Listing",
    "format_csv",
    "format_json",
    "format_json_lines",
    "format_pairs",
    "format_raw",
    "format_table",
    "format_tsv",
    "named",
    "names",
]


class Listing(NamedTuple):
    """The columns and rows to format, and options of the formats."""

    columns: Sequence[Column]
    values: Sequence[Callable[[Any], Any]]
    """For each column, the function that gives the value of a range."""
    ranges: Iterable[Any]
    """A MemoryRange for each row, or what else the values are of."""
    in_bytes: bool = False
    """Whether sizes and addresses are plain numbers (--bytes)."""
    headings: bool = True
    annotate: bool = False
    """Whether each heading of a table has the help of its column as a tooltip."""
    paint: Callable[[MemoryRange, str], str] | None = None
    """A function that colours a line of a table."""
    room: int = 0
    """The width of the terminal; 0 elsewhere."""

    def rows(self) -> Iterator[list[str]]:
        """The cells of each range."""
        texts = [plain if self._is_number(column) else column.text for column in self.columns]
        pairs = list(zip(texts, self.values, strict=True))
        return ([text(value(found)) for text, value in pairs] for found in self.ranges)

    def names(self) -> list[str]:
        return [column.heading for column in self.columns]

    def json(self) -> list[tuple[Callable[[Any], Any], Callable[[MemoryRange], Any]]]:
        """For each column, the function that gives a value as util-linux's JSON has it, and that
        which gives the value of a range."""
        forms = [
            _same if self._is_number(column) else column.json or _text_or_none(column.text)
            for column in self.columns
        ]
        return list(zip(forms, self.values, strict=True))

    def _is_number(self, column: Column) -> bool:
        return self.in_bytes and column.number


def _same(value: Any) -> Any:
    return value


def _text_or_none(text: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: text(value) or None


Format = Callable[[Listing], Iterator[str]]


def format_table(listing: Listing) -> Iterator[str]:
    """Aligned columns, one space apart; an empty or left-aligned last cell is not padded."""
    ranges = list(listing.ranges)
    columns = listing.columns
    rows = list(listing._replace(ranges=ranges).rows())
    lines = ([listing.names()] if listing.headings else []) + rows
    if not lines:
        return
    widths = [max(map(len, cells), default=0) for cells in zip(*lines, strict=True)]
    if not listing.headings:
        widths = [max(width, column.width) for width, column in zip(widths, columns, strict=True)]
    _widen(widths, columns, listing.room - sum(widths) - len(widths) + 1)
    if listing.headings:
        yield _aligned(columns, listing.names(), widths, listing.annotate) + "\n"
    for found, row in zip(ranges, rows, strict=True):
        line = _aligned(columns, row, widths)
        yield (listing.paint(found, line) if listing.paint else line) + "\n"


def _widen(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Bring columns to their least width as far as there is ROOM, the last column first."""
    for at in reversed(range(len(widths))):
        more = max(min(columns[at].width - widths[at], room), 0)
        widths[at] += more
        room -= more


def _aligned(
    columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], annotate: bool = False
) -> str:
    aligned = []
    for index, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        padding = " " * (width - len(cell))
        if index == len(columns) - 1 and not (column.right and cell):
            padding = ""
        if annotate:
            cell = f"\033]8;;{column.help}\033\\{cell}\033]8;;\033\\"
        aligned.append(padding + cell if column.right else cell + padding)
    return " ".join(aligned)


def format_raw(listing: Listing) -> Iterator[str]:
    """Cells one space apart; an empty cell leaves two spaces."""
    if listing.headings:
        yield " ".join(listing.names()) + "\n"
    for row in listing.rows():
        yield " ".join(row) + "\n"


def format_pairs(listing: Listing) -> Iterator[str]:
    """Cells as NAME="value"."""
    names = listing.names()
    for row in listing.rows():
        cells = zip(names, row, strict=True)
        yield " ".join([f'{name}="{cell}"' for name, cell in cells]) + "\n"


class _JsonLayout(NamedTuple):
    """The punctuation and white space of util-linux's JSON."""

    before: str
    row: str
    """The beginning of a row."""
    key: str
    """A template for the key; further keys follow a comma."""
    comma: str
    end: str
    """The end of a row."""
    between: str
    """The text between two rows."""
    after: str


_PRETTY = _JsonLayout(
    '{\n   "memory": [\n      ',
    "{\n         ",
    '"{}": ',
    ",\n         ",
    "\n      }",
    ",",
    "\n   ]\n}\n",
)
_COMPACT = _JsonLayout('{"memory":[\n', "{", '"{}":', ",", "}", ",\n", "\n]}\n")
_LINES = _JsonLayout("", "{", '"{}":', ",", "}", "\n", "\n")


def format_json(listing: Listing) -> Iterator[str]:
    """util-linux's JSON, in the layout that LIBSMARTCOLS_JSON asks for."""
    layouts = {"compact": _COMPACT, "lines": _LINES}
    return _format_json(listing, layouts.get(os.environ.get("LIBSMARTCOLS_JSON", ""), _PRETTY))


def format_json_lines(listing: Listing) -> Iterator[str]:
    """The objects of util-linux's JSON, one for each line."""
    return _format_json(listing, _LINES)


def _format_json(listing: Listing, layout: _JsonLayout) -> Iterator[str]:
    from json.encoder import encode_basestring_ascii as quoted

    def text(value: Any) -> str:
        if isinstance(value, str):
            return quoted(value)
        if value is None:
            return "null"
        return str(value) if type(value) is int else str(value).lower()

    keys = [layout.key.format(column.key) for column in listing.columns]
    cells = [(key, *functions) for key, functions in zip(keys, listing.json(), strict=True)]
    between = layout.before
    for found in listing.ranges:
        row = layout.comma.join([key + text(form(value(found))) for key, form, value in cells])
        yield f"{between}{layout.row}{row}{layout.end}"
        between = layout.between
    if between is layout.before:  # there was no row
        yield between
    if between:
        yield layout.after


def _format_separated(listing: Listing, delimiter: str) -> Iterator[str]:
    import csv

    class Line:
        """A file that keeps the last line, for csv's writer."""

        text = ""

        def write(self, text: str) -> None:
            self.text = text

    line = Line()
    writer = csv.writer(line, delimiter=delimiter, lineterminator="\n")
    rows = listing.rows()
    if listing.headings:
        writer.writerow(listing.names())
        yield line.text
    for row in rows:
        writer.writerow(row)
        yield line.text


def format_csv(listing: Listing) -> Iterator[str]:
    """Comma-separated values (RFC 4180, with plain newlines)."""
    return _format_separated(listing, ",")


def format_tsv(listing: Listing) -> Iterator[str]:
    """Tab-separated values."""
    return _format_separated(listing, "\t")


FORMATS: dict[str, Format] = {
    "table": format_table,
    "raw": format_raw,
    "pairs": format_pairs,
    "json": format_json,
    "jsonl": format_json_lines,
    "csv": format_csv,
    "tsv": format_tsv,
}


def named(name: str) -> Format:
    """The format of that name, in any case. Raises UsageError where there is none."""
    name = name.lower()
    if name in FORMATS:
        return FORMATS[name]
    if name in names():
        return lambda listing: _format_document(listing, name)
    from lsmem_py import messages

    raise UsageError(messages.UNKNOWN_FORMAT.of(name=name, known=", ".join([*names(), METRICS])))


def names() -> list[str]:
    """The names of all formats: ours, then tabulate's."""
    from tabulate import tabulate_formats

    return [*FORMATS, *(name for name in tabulate_formats if name not in FORMATS)]


def _format_document(listing: Listing, name: str) -> Iterator[str]:
    from tabulate import tabulate

    yield tabulate(
        list(listing.rows()),
        headers=listing.names() if listing.headings else (),
        tablefmt=name,
        disable_numparse=True,
        colalign=["right" if column.right else "left" for column in listing.columns],
    )
    yield "\n"
