"""A view of a machine, a listing or a picture, that can be written again and again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence

from lsmem_py import formats, summary
from lsmem_py.columns import BY_NAME, COLUMNS, DEFAULT, FIRMWARE_ONLY, WHY, Column
from lsmem_py.options import Options, columns_of, on_terminal
from lsmem_py.sources import Sources
from memory_hotplug.block import Zone
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.table import BlockTable, MemoryRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

__all__ = ["View", "wanted_view"]


class View(NamedTuple):
    """What to show, as the command line asks for it.

    A named tuple because every run makes the class, and a dataclass takes longer to make.
    """

    format_size: Callable[[int], str]
    size_width: int = 5
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
    room: int = 0
    """The width of the terminal that a table is shown on; 0 elsewhere."""
    summary: str = "never"
    """``never``, ``always``, or ``only`` without the ranges."""
    short: bool = False
    """Whether a column about pages is left out where nothing is known for it."""
    whole: bool = False
    """Whether all pages are read for the columns about them, and not a sample."""

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
    def needs(self) -> set[str]:
        """What the columns need beside the table of blocks, by the names of Sources."""
        return {column.beside for column in (*self.columns, *self._split)} - {""}

    @property
    def _split(self) -> Sequence[Column]:
        return self.split or ()

    def sources(
        self, machine: Machine, table: BlockTable, *, show_progress: bool = False
    ) -> Sources:
        """The machine with all that the columns need. TABLE must have `attributes`."""
        found = Sources(machine, table, whole=self.whole, show_progress=show_progress)
        found.read(self.needs)
        return found

    def ranges(self, sources: Sources) -> Iterator[MemoryRange]:
        """The ranges that are listed, ascending."""
        table = sources.table
        if self.split is None:
            return table.each()
        names = dict.fromkeys(name for column in self.split for name in column.splits)
        beside = [
            list(map(sources.value(column), table.each()))
            for column in self.split
            if column.beside and not column.number
        ]
        if not self.typed:
            names, as_shown = _as_shown(names, table)
            beside += as_shown
        return table.ranges(names, beside)

    def shown(self, sources: Sources) -> list[Column]:
        """The columns that have values on this machine."""
        empty: set[str] = set() if sources.machine.configurable else {*FIRMWARE_ONLY}
        if self.short:
            empty |= sources.pages.empty
        return [column for column in self.columns if column.identifier not in empty]

    def lists_nothing(self, sources: Sources) -> bool:
        """Whether ranges are asked for, but none of the columns has values on this machine."""
        wanted = not self.picture and not self.typed and self.summary != "only"
        return wanted and not self.shown(sources)

    def listing(self, sources: Sources, columns: Sequence[Column]) -> formats.Listing:
        """The listing of COLUMNS for an output format."""
        paint = None
        if self.colour:
            from lsmem_py import colour

            paint = colour.painter()
        return formats.Listing(
            columns,
            [sources.value(column) for column in columns],
            self.ranges(sources),
            self.number_only,
            self.headings,
            self.annotate,
            paint,
            self.room,
        )

    def write(self, sources: Sources, out: IO[str]) -> None:
        """Write the view to OUT."""
        if self.picture:
            from lsmem_py.picture import Picture, window, write_picture

            lines = Picture(sources.table, self.picture, *window(), self.format_size).lines()
            write_picture(lines, out, self.colour)
        else:
            out.writelines(self._pieces(sources))

    def _pieces(self, sources: Sources) -> Iterator[str]:
        """The text of a listing, in pieces."""
        if self.summary != "only":
            if self.typed:
                yield from self._typed(sources)
            elif columns := self.shown(sources):
                yield from self.format(self.listing(sources, columns))
            if self.summary == "always":
                yield "\n"
        if self.summary != "never":
            yield from self.summary_lines(sources)

    def summary_lines(self, sources: Sources) -> Iterator[str]:
        """The lines of the summary, with newlines."""
        return summary.format_summary(
            sources.machine, sources.table, self.format_size, self.size_width
        )

    def _typed(self, sources: Sources) -> Iterator[str]:
        from lsmem_py import typed

        listing = self.listing(sources, self.columns)
        if self.format is formats.format_json_lines:
            return typed.format_lines(listing)
        return typed.format_document(typed.head(sources.machine, sources.table), listing)


def _as_shown(names: dict[str, None], table: BlockTable) -> tuple[dict[str, None], list[list[Any]]]:
    """NAMES, the attributes that split ranges, as util-linux has them: a block without `removable`
    is not removable, and no block is in the same unknown zone as another. The second value has what
    splits ranges in their place."""
    more: list[list[Any]] = []
    if "removable" in names and None in table.columns["removable"]:
        names = {name: None for name in names if name != "removable"}
        more.append([bool(flag) for flag in table.columns["removable"]])
    if "zones" in names:
        zones = table.columns["zones"]
        # Blocks with the same text share a tuple.
        if any(
            Zone.UNKNOWN in some for some in {id(some): some for some in zones}.values() if some
        ):
            pairs = zip(table.numbers, zones, strict=True)
            more.append(
                [number if Zone.UNKNOWN in (some or ()) else None for number, some in pairs]
            )
    return names, more


def wanted_view(options: Options, format_: formats.Format) -> View:
    """The view that the options ask for."""
    colour = options.format_name == "table" and on_terminal(options.color, "NO_COLOR")
    if options.map:
        return View(options.format_size, colour=colour, picture=options.map)
    if options.summary == "only" and not options.typed:
        # Like util-linux, read no list of columns.
        return View(options.format_size, 15 if options.bytes else 5, summary="only")
    columns = _columns(options)
    split: Sequence[Column] | None = columns
    if options.all:
        split = None
    elif options.split is not None:
        merged = options.split.lower() == "none"
        split = () if merged else _typed(columns_of(options.split, ()), options)
    return View(
        options.format_size,
        15 if options.bytes else 5,
        colour,
        columns=columns,
        split=split,
        number_only=options.bytes,
        short=bool(options.why and options.format_name == "table" and not _asked(options)),
        whole=options.why not in (None, "all"),
        format=format_,
        typed=options.typed,
        headings=not options.noheadings,
        annotate=options.watch is None and on_terminal(options.annotate),
        room=_terminal_width() if options.format_name == "table" and options.watch is None else 0,
        summary=options.summary,
    )


def _terminal_width() -> int:
    """The width of the terminal that is standard output; 0 if it is none."""
    if not sys.stdout.isatty():
        return 0
    columns = os.get_terminal_size(sys.stdout.fileno()).columns
    return columns or int(os.environ.get("COLUMNS") or 80)


def _asked(options: Options) -> str | None:
    """The columns that a person asks for."""
    if options.output is not None or options.typed:
        return options.output
    return os.environ.get("LSMEM_COLUMNS") or None


def _columns(options: Options) -> list[Column]:
    default = [BY_NAME[name] for name in (WHY if options.why else DEFAULT)]
    if options.typed:
        from lsmem_py import typed

        default = list(typed.DEFAULT)
    if options.output_all:
        default = [column for column in COLUMNS if not column.extra]
    asked = _asked(options)
    found = default if asked is None else columns_of(asked, default)
    return _typed(found, options)


def _typed(columns: Sequence[Column], options: Options) -> list[Column]:
    """The columns, with what typed JSON has besides."""
    if not options.typed:
        return list(columns)
    from lsmem_py import typed

    return typed.with_nodes(columns)
