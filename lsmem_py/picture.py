"""The physical address space as a picture: a cell for each memory block, or group of blocks."""

import os
import shutil
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from textwrap import wrap
from typing import IO, NamedTuple

from rich.console import Console
from rich.text import Text

from hotplug_cli.sizes import rounded
from lsmem_py.columns import BY_NAME, STATUS, ZONES
from memory_hotplug.block import NUMA_NO_NODE, MemoryBlock, State, Zone
from memory_hotplug.table import BlockTable

__all__ = ["KINDS", "Fill", "Picture", "reads", "window", "write_picture"]

ROWS_IN_A_PIPE = 24
"""The maximum of rows of cells if output is not a terminal."""


@dataclass(frozen=True, slots=True)
class Fill:
    """A kind of memory, and how its cells are drawn.

    Characters distinguish the kinds even without colour. They are ASCII, so that a serial console
    in the C locale shows them, and they can be quoted in a support case.
    """

    character: str
    mostly: str
    """The character of a cell of several kinds that has most blocks of this kind."""
    style: str
    name: str
    explanation: str = ""


HOLE = Fill("_", ",", "", "hole", "no memory here")
_OFFLINE = Fill("-", "=", "black on yellow", "offline")
_LEAVING = Fill("~", "s", "black on bright_red", "going offline")
_DISABLED = Fill(".", ":", "white on bright_black", "disabled", "not configured")
_UNKNOWN = Fill("?", "!", "white on red", "unknown")

_STATES = {
    "online": Fill("#", "+", "black on green", "online"),
    "offline": _OFFLINE,
    "going-offline": _LEAVING,
    "disabled": _DISABLED,
}
_ZONES = {
    Zone.DMA: Fill("D", "d", "black on cyan", "zone DMA"),
    Zone.DMA32: Fill("3", "2", "white on blue", "zone DMA32"),
    Zone.NORMAL: Fill("N", "n", "black on green", "zone Normal"),
    Zone.HIGHMEM: Fill("H", "h", "black on bright_green", "zone Highmem"),
    Zone.MOVABLE: Fill("M", "m", "black on bright_cyan", "zone Movable"),
    Zone.DEVICE: Fill("V", "v", "black on white", "zone Device"),
    Zone.NONE: Fill("*", "x", "white on magenta", "several zones"),
}
_ONLINE, *_REST = _STATES.values()
KINDS = (_ONLINE, *_ZONES.values(), *_REST, _UNKNOWN, HOLE)
"""All kinds, holes included, in the order of the legend."""

_CHANGED = "bold red"


class _Cell(NamedTuple):
    """A cell of the picture."""

    kind: Fill
    """The kind of most blocks of the cell."""
    mixed: bool

    @property
    def character(self) -> str:
        return self.kind.mostly if self.mixed else self.kind.character


def _by_status(block: MemoryBlock) -> Fill:
    return _STATES.get(block.status or "", _UNKNOWN)


def _by_zone(block: MemoryBlock) -> Fill:
    if block.status != State.ONLINE.value:
        return _by_status(block)
    zones = block.zones or ()
    return _ZONES.get(zones[0], _UNKNOWN) if len(zones) == 1 else _UNKNOWN


_KIND_OF: dict[str, Callable[[MemoryBlock], Fill]] = {STATUS: _by_status, ZONES: _by_zone}


def _merged_by(by: str) -> set[str]:
    """The attributes that decide the kind of a block."""
    return {*BY_NAME[STATUS].splits, *BY_NAME[by].splits}


def reads(by: str) -> set[str]:
    """The attributes that a picture needs. BY is a member of PICTURED."""
    return {"node", *_merged_by(by)}


def window() -> tuple[int, int]:
    """The columns of the terminal, and the rows that it has for cells."""
    if sys.stdout.isatty():
        columns, lines = shutil.get_terminal_size()
        return columns, max(lines - 10, 4)
    return int(os.environ.get("COLUMNS") or 80), ROWS_IN_A_PIPE


@dataclass(frozen=True)
class Picture:
    """The blocks of a machine in rows that fit a width."""

    table: BlockTable
    """Must have the attributes that ``reads`` returns."""
    by: str
    """The column that decides how memory is drawn, a member of PICTURED."""
    width: int
    rows: int
    """The maximum of rows of cells; many nodes may need more."""
    format_size: Callable[[int], str] = rounded
    changed: Collection[int] = ()
    """The numbers of blocks to mark in a line below their cells."""

    # Cells and rows hold powers of two of blocks, and a row begins at a multiple of what it holds.
    # So the addresses at the left are round, and a block keeps its place when others go.

    @cached_property
    def _kinds(self) -> dict[int, Fill]:
        """Block number -> its kind."""
        kind_of = _KIND_OF[self.by]
        return {
            number: kind
            for found in self.table.ranges(_merged_by(self.by))
            for kind in (kind_of(found.block),)
            for number in range(found.first, found.last + 1)
        }

    @cached_property
    def _nodes(self) -> dict[str, Sequence[int]]:
        """Heading of a node -> the numbers of its blocks, ascending."""
        nodes: dict[int | None, list[int]] = {}
        for number, node in zip(self.table.numbers, self.table.columns["node"], strict=True):
            nodes.setdefault(None if node == NUMA_NO_NODE else node, []).append(number)
        known = sorted(node for node in nodes if node is not None)
        without = nodes.get(None)
        if not known:
            return {"": self.table.numbers}
        if len(known) == 1:
            rest = ", or none yet" if without else ""
            return {f"Node {known[0]}{rest}": self.table.numbers}
        headed: dict[str, Sequence[int]] = {f"Node {node}": nodes[node] for node in known}
        return headed | ({"No node yet": without} if without else {})

    @cached_property
    def _address_digits(self) -> int:
        end = (self.table.numbers[-1] + 1) * self.table.block_size - 1
        return len(f"{end:x}")

    @cached_property
    def _cells(self) -> int:
        """The number of cells in a row, a power of two."""
        room = max(self.width - len("  0x ") - self._address_digits, 8)
        return 1 << room.bit_length() - 1

    @cached_property
    def _group(self) -> int:
        """The number of blocks in a cell, a power of two."""
        group, rows = 1, self._rows_with(1)
        # Each node needs at least a row, however many blocks a cell holds.
        while rows > max(self.rows, len(self._nodes)):
            group *= 2
            rows = self._rows_with(group)
        return group

    def _rows_with(self, group: int) -> int:
        per_row = group * self._cells
        return sum(
            len({number // per_row for number in numbers}) for numbers in self._nodes.values()
        )

    def lines(self) -> Iterator[Text]:
        """The lines of the picture."""
        mixed: set[Fill] = set()
        for heading, numbers in self._nodes.items():
            if heading:
                size = self._size(len(numbers))
                yield Text(f"{heading}: {size} in {_blocks(len(numbers))}", style="bold")
            yield from self._rows(numbers, mixed)
        yield Text()
        yield from self._legend(mixed)

    def _rows(self, numbers: Sequence[int], mixed: set[Fill]) -> Iterator[Text]:
        """The rows of a node. MIXED gets the kind of each cell that holds several."""
        per_row = self._group * self._cells
        before = None
        for row in dict.fromkeys(number // per_row for number in numbers):
            if before is not None and row > before + 1:
                yield self._fold((before + 1) * per_row, row * per_row)
            yield from self._row(row * per_row, numbers, mixed)
            before = row

    def _fold(self, first: int, after: int) -> Text:
        """The line in place of rows that have no block of the node."""
        others = _between(self.table.numbers, first, after)
        what = "other nodes" if others else f"{self._size(after - first)} of hole"
        return Text(f"  ... {what}", style=HOLE.style)

    def _row(self, first: int, numbers: Sequence[int], mixed: set[Fill]) -> Iterator[Text]:
        line = Text(f"  0x{first * self.table.block_size:0{self._address_digits}x} ")
        indent = len(line)
        starts = range(first, first + self._group * self._cells, self._group)
        cells = [self._cell(start, start + self._group, numbers) for start in starts]
        for cell, alike in groupby(cells):
            count = len(list(alike))
            if cell is None:
                line.append(" " * count)
            else:
                line.append(cell.character * count, style=cell.kind.style)
                if cell.mixed:
                    mixed.add(cell.kind)
        marks = "".join(
            "^" if self._is_changed(start, start + self._group, numbers) else " "
            for start in starts
        )
        line.rstrip()
        yield line
        if "^" in marks:
            yield Text(" " * indent + marks.rstrip(), style=_CHANGED)

    def _cell(self, first: int, after: int, numbers: Sequence[int]) -> _Cell | None:
        """The cell of blocks from FIRST to before AFTER; None if the node has no part in it."""
        held = Counter(self._kinds[number] for number in _between(numbers, first, after))
        everyone = self.table.numbers
        present = len(_between(everyone, first, after))
        missing = min(after, everyone[-1] + 1) - max(first, everyone[0]) - present
        if missing > 0 and (held or (not present and self._is_behind(first, numbers))):
            held[HOLE] = missing
        if not held:
            return None
        return _Cell(held.most_common(1)[0][0], len(held) > 1)

    def _is_behind(self, first: int, numbers: Sequence[int]) -> bool:
        """Whether the last block before FIRST is of this node, which then shows the hole."""
        everyone = self.table.numbers
        at, at_all = bisect_left(numbers, first), bisect_left(everyone, first)
        return at > 0 and numbers[at - 1] == everyone[at_all - 1]

    def _is_changed(self, first: int, after: int, numbers: Sequence[int]) -> bool:
        """Whether a block of the node changed in a cell, or a block in it has gone."""
        there = {number for number in self.changed if first <= number < after}
        return any(number not in self._kinds for number in there) or not there.isdisjoint(
            _between(numbers, first, after)
        )

    def _legend(self, mixed: Collection[Fill]) -> Iterator[Text]:
        counts = Counter(self._kinds.values())
        numbers = self.table.numbers
        counts[HOLE] = numbers[-1] - numbers[0] + 1 - len(numbers)
        shown = [(kind, counts[kind]) for kind in KINDS if counts[kind]]
        sizes = [self._size(count) for _, count in shown]
        blocks = [_blocks(count) for _, count in shown]
        size_width, blocks_width = max(map(len, sizes)), max(map(len, blocks))
        for (kind, _), size, count in zip(shown, sizes, blocks, strict=True):
            line = Text("  ").append(kind.character, style=kind.style)
            line.append(f" {size:>{size_width}} {count:>{blocks_width}}  {kind.name}")
            if kind.explanation and len(line) + 2 + len(kind.explanation) <= self.width:
                line.append(f": {kind.explanation}")
            yield line
        for kind, _ in shown:
            if kind in mixed:
                line = Text("  ").append(kind.mostly, style=kind.style)
                yield line.append(f" mixed, {kind.name} for the most part")
        if self.changed:
            yield Text("  ").append("^", style=_CHANGED).append(" changed just now")
        cell = _blocks(self._group)
        row = self._size(self._group * self._cells)
        scale = f"A cell is {cell} ({self._size(self._group)}), a row {row}."
        yield from map(Text, wrap(scale, max(self.width, 1)))

    def _size(self, blocks: int) -> str:
        return self.format_size(blocks * self.table.block_size)


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"


def _between(numbers: Sequence[int], first: int, after: int) -> Sequence[int]:
    """The members of NUMBERS, which ascend, from FIRST to before AFTER."""
    return numbers[bisect_left(numbers, first) : bisect_left(numbers, after)]


def write_picture(lines: Iterable[Text], out: IO[str], colour: bool) -> None:
    """Write the lines, with or without colour."""
    if not colour:
        out.writelines(f"{line.plain}\n" for line in lines)
        return
    console = Console(file=out, force_terminal=True, color_system="standard", no_color=False)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
