"""A view of a machine, a listing or a picture, that can be written again and again."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

from lsmem_py import formats, summary
from lsmem_py.columns import DEVICE, FIRMWARE_ONLY, HELD, PERSISTENT, TIER, Column
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable, MemoryRange

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence
    from lsmem_py.holdings import Holdings

__all__ = ["View"]


class View(NamedTuple):
    """What to show, as the command line asks for it.

    A named tuple because every run makes the class, and a dataclass takes longer to make.
    """

    format_size: Callable[[int], str]
    size_width: int
    """The width of a size in the summary."""
    colour: bool = False
    picture: str | None = None
    """The column that a picture is drawn by. None is a listing; the fields below belong to it."""
    columns: Sequence[Column] = ()
    split: Sequence[Column] | None = ()
    """The columns that split ranges; None lists each block."""
    number_only: bool = False
    """Whether sizes are plain numbers of bytes (--bytes)."""
    format: formats.Format = formats.format_table
    typed: bool = False
    """Whether JSON is the typed document or, with the format jsonl, its ranges."""
    headings: bool = True
    annotate: bool = False
    """Whether the headings of a table have tooltips."""
    summary: str = "never"
    """``never``, ``always``, or ``only`` without the ranges."""
    short: bool = False
    """Whether a column about pages is left out where nothing is known for it."""
    whole: bool = False
    """Whether all pages are read for the columns about them, and not a sample."""
    marks: Sequence[Sequence[str]] = ()
    """Of each column that is filled in and splits ranges, the cell for each block."""
    filled: bool = False
    """Whether the columns have all values, for one machine and table."""
    holdings: "Holdings | None" = None
    """What the blocks hold, where a filled column tells it."""
    unknown: "Sequence[Sentence]" = ()
    """Messages about what the columns cannot tell here."""

    @property
    def attributes(self) -> set[str]:
        """The attributes of blocks that must be read."""
        if self.picture:
            from lsmem_py import picture

            return picture.reads(self.picture)
        columns = (*self.columns, *self._split)
        names = {name for column in columns for name in (*column.splits, *column.reads)}
        if self.typed:
            from lsmem_py import typed

            names.update(typed.READS)
        if self.colour:
            from lsmem_py import colour

            names.update(colour.READS)
        if self.summary != "never":
            names.update(summary.READS)
        return names

    @property
    def _splits(self) -> list[str]:
        """The attributes that split ranges, each once."""
        return list(dict.fromkeys(name for column in self._split for name in column.splits))

    def of(self, machine: Machine, table: BlockTable, *, show_progress: bool = False) -> "View":
        """The view with the values of columns that are not attributes of a block."""
        if self.filled:
            return self
        names = {column.identifier for column in (*self.columns, *self._split)}
        unknown: list[Sentence] = []
        values = _values(machine, table, names, unknown)
        columns = [_filled(column, table, values) for column in self.columns]
        marks = [
            [*map(_text, values[column.identifier])]
            for column in self._split
            if column.identifier in values
        ]
        found = None
        if names & set(HELD):
            from lsmem_py import holdings

            found = holdings.read(machine, table, whole=self.whole, show_progress=show_progress)
            columns = [found.fill(column) for column in columns]
            more = [found.marks(column, table) for column in self._split]
            marks += [mark for mark in more if mark is not None]
            if not found.known:
                from lsmem_py import messages

                unknown.append(messages.PAGES_UNKNOWN.of())
                if self.short:
                    columns = [one for one in columns if one.identifier not in found.empty]
        if self.number_only:
            columns = [column.in_bytes() for column in columns]
        return self._replace(
            columns=columns, marks=marks, holdings=found, unknown=unknown, filled=True
        )

    @property
    def _split(self) -> Sequence[Column]:
        return self.split or ()

    def ranges(self, table: BlockTable) -> Iterator[MemoryRange]:
        """The ranges of TABLE that are listed, ascending."""
        if self.split is None:
            return table.each()
        return table.ranges(self._splits, self.marks)

    def shown(self, machine: Machine) -> list[Column]:
        """The columns that have values on this machine."""
        return [
            column
            for column in self.columns
            if machine.configurable or column.identifier not in FIRMWARE_ONLY
        ]

    def lists_nothing(self, machine: Machine) -> bool:
        """Whether ranges are asked for, but none of the columns has values on this machine."""
        wanted = not self.picture and not self.typed and self.summary != "only"
        return wanted and not self.shown(machine)

    def listing(self, machine: Machine, table: BlockTable) -> formats.Listing:
        """The listing for an output format."""
        paint = None
        if self.colour:
            from lsmem_py import colour

            paint = colour.painter()
        return formats.Listing(
            self.shown(machine), self.ranges(table), self.headings, self.annotate, paint
        )

    def write(self, machine: Machine, table: BlockTable, out: IO[str]) -> None:
        """Write the view to OUT. TABLE must have ``attributes``."""
        if self.picture:
            from lsmem_py.picture import Picture, window, write_picture

            lines = Picture(table, self.picture, *window(), self.format_size).lines()
            write_picture(lines, out, self.colour)
        else:
            out.writelines(self.of(machine, table)._pieces(machine, table))

    def _pieces(self, machine: Machine, table: BlockTable) -> Iterator[str]:
        """The text of a listing, in pieces."""
        if self.summary != "only":
            if self.typed:
                yield from self._typed(machine, table)
            elif self.shown(machine):
                yield from self.format(self.listing(machine, table))
            if self.summary == "always":
                yield "\n"
        if self.summary != "never":
            yield from self.summary_lines(machine, table)

    def summary_lines(self, machine: Machine, table: BlockTable) -> Iterator[str]:
        """The lines of the summary, with newlines."""
        return summary.format_summary(machine, table, self.format_size, self.size_width)

    def _typed(self, machine: Machine, table: BlockTable) -> Iterator[str]:
        from lsmem_py import typed

        if self.format is formats.format_json_lines:
            return typed.format_lines(self.columns, self.ranges(table))
        head = typed.head(machine, table)
        return typed.format_document(head, self.columns, self.ranges(table))


Values = Mapping[str, Sequence[str | int | None]]
"""Identifier of a column -> its value for each block of a table."""


def _values(
    machine: Machine, table: BlockTable, names: Collection[str], unknown: "list[Sentence]"
) -> Values:
    """The values of those columns among NAMES that have one for each block.

    Messages about what is not known are added to UNKNOWN.
    """
    values: dict[str, Sequence[str | int | None]] = {}
    if PERSISTENT in names:
        from lsmem_py import layouts

        values[PERSISTENT] = layouts.persistence(machine, table)
    if DEVICE in names:
        from memory_hotplug.owners import owners

        found = owners(machine, table.numbers)
        values[DEVICE] = [found.devices.get(number) for number in table.numbers]
        if not found.known:
            from lsmem_py import messages

            unknown.append(messages.DEVICES_UNKNOWN.of())
    if TIER in names:
        from memory_hotplug.owners import tiers

        by_node = tiers(machine.tree)
        values[TIER] = [by_node.get(node) for node in table.columns["node"]]
    return values


def _filled(column: Column, table: BlockTable, values: Values) -> Column:
    """COLUMN with its VALUES, if it has any: that of a range is that of its first block."""
    if column.identifier not in values:
        return column
    by_number = dict(zip(table.numbers, values[column.identifier], strict=True))
    return column._replace(
        text=lambda found: _text(by_number[found.first]),
        typed=lambda found: by_number[found.first],
    )


def _text(value: str | int | None) -> str:
    return "" if value is None else str(value)
