"""The live screen of `lsmem --watch`: the listing or the picture, with changes marked."""

import os
import signal
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from textwrap import wrap

from rich.console import Console
from rich.live import Live
from rich.text import Text

from hotplug_cli.remarks import sentence_of
from lsmem_py import formats, messages
from lsmem_py.alarm import ENDING, Alarm, end_by
from lsmem_py.changes import Difference, compare, format_news, numbers, snapshot
from lsmem_py.sources import Sources
from lsmem_py.view import View
from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable

__all__ = ["run_screen"]

_BESIDE_A_PICTURE = 14
"""The lines of the screen that are not rows of cells."""


def run_screen(
    view: View, read: Callable[[], tuple[Machine, BlockTable]], seconds: float, alarm: Alarm
) -> None:
    """Show the view again after each change, and mark changes for SECONDS.

    Returns never: an exception ends it, and restores the terminal.
    """
    console = Console(
        file=sys.stdout,
        force_terminal=True,
        color_system="standard" if view.colour else None,
        # Rich 13.3 takes an empty NO_COLOR for one that is set.
        no_color=not view.colour,
        highlight=False,
    )
    machine, table = read()
    before = snapshot(table)
    marked: dict[int, float] = {}
    news = messages.NO_CHANGE_YET.of().text
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            heading = messages.WATCH_HEADING.of(source=alarm.source).text
            lines = [*_lines(view, machine, table, marked, console)]
            prose = [heading, news, *(sentence_of(remark).text for remark in table.remarks)]
            if not view.picture and any(line.cell_len > console.width for line in lines):
                prose.append(messages.TOO_NARROW.of().text)
            above = [Text(line) for text in prose for line in wrap(text, max(console.width, 1))]
            screen.update(_fitted([*above, Text(), *lines], console), refresh=True)
            signals = alarm.wait(min(marked.values(), default=1e9) - time.monotonic())
            for number in signals:
                if number in (signal.SIGINT, *ENDING):
                    end_by(number)
            if signal.SIGTSTP in signals:
                screen.stop()
                os.kill(os.getpid(), signal.SIGSTOP)
                screen.start()
            machine, table = read()
            after = snapshot(table)
            found = compare(before, after)
            now = time.monotonic()
            marked = {number: end for number, end in marked.items() if end > now}
            marked.update(dict.fromkeys(numbers(found), now + seconds))
            if found:
                news = _news(found)
            before = after


def _news(found: Sequence[Difference]) -> str:
    """A text with the first change, and the number of changes."""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return format_news(found[0], datetime.now()) + more


def _lines(
    view: View, machine: Machine, table: BlockTable, marked: Collection[int], console: Console
) -> Iterator[Text]:
    """The lines of the picture, or of the listing, with changes marked."""
    if view.picture:
        from lsmem_py.picture import Picture

        width, height = console.size
        rows = max(height - _BESIDE_A_PICTURE, 4)
        changed = frozenset(marked)
        yield from Picture(table, view.picture, width, rows, view.format_size, changed).lines()
        return
    sources = view.sources(machine, table)
    if view.summary != "only":
        yield from _listed(view, sources, sorted(marked))
        yield Text()
    if view.summary != "never":
        for line in view.summary_lines(sources):
            yield Text("  " + line.rstrip("\n"))


def _listed(view: View, sources: Sources, changed: Sequence[int]) -> Iterator[Text]:
    """The lines of the table. CHANGED has the numbers of the blocks to mark, ascending."""
    ranges = list(view.ranges(sources))
    pieces = formats.format_table(view.listing(sources, view.shown(sources)))
    if view.headings:
        yield Text("  " + next(pieces).rstrip("\n"))
    for found, line in zip(ranges, pieces, strict=True):
        text = Text.from_ansi(line.rstrip("\n"))
        at = bisect_left(changed, found.first)
        is_changed = at < len(changed) and changed[at] <= found.last
        mark = Text("* ", style="bold red") if is_changed else Text("  ")
        yield mark.append_text(text)


def _fitted(lines: Sequence[Text], console: Console) -> Text:
    """The lines that fit the height of the screen, each cut off at its width."""
    width, height = console.size
    if len(lines) > height:
        left = len(lines) - height + 1
        lines = [*lines[: height - 1], Text(messages.TOO_SMALL.of(count=left).text)]
    whole = Text(no_wrap=True, overflow="crop")
    for index, line in enumerate(lines):
        line.truncate(width)
        whole.append_text(line)
        if index < len(lines) - 1:
            whole.append("\n")
    return whole
