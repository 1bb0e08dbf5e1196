"""A view of a machine, a listing or a picture, that can be written again and again."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

from lsmem_py import formats, summary
from lsmem_py.columns import FIRMWARE_ONLY, Column
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable, MemoryRange

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
    format: formats.Format = formats.format_table
    typed: bool = False
    """Whether JSON is the typed document or, with the format jsonl, its ranges."""
    headings: bool = True
    annotate: bool = False
    """Whether the headings of a table have tooltips."""
    summary: str = "never"
    """``never``, ``always``, or ``only`` without the ranges."""

    @property
    def attributes(self) -> set[str]:
        """The attributes of blocks that must be read."""
        if self.picture:
            from lsmem_py import picture

            return picture.reads(self.picture)
        names = {name for column in self.columns for name in (*column.splits, *column.reads)}
        names.update(self._splits)
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
        return list(dict.fromkeys(name for column in self.split or () for name in column.splits))

    def ranges(self, table: BlockTable) -> Iterator[MemoryRange]:
        """The ranges of TABLE that are listed, ascending."""
        return table.each() if self.split is None else table.ranges(self._splits)

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
            out.writelines(self._pieces(machine, table))

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
