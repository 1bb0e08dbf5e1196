"""The listing or the map, live; or a line for each change."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from textwrap import wrap
from types import FrameType

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from lsmem_py import changes as changes_
from lsmem_py import formats, summary
from lsmem_py.changes import Change, Snapshot
from lsmem_py.view import View
from memory_hotplug.errors import NoBlocksError
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable
from memory_hotplug.tree import FileTree
from memory_hotplug.uevents import Uevents

GLANCE = 0.1
"""Seconds between two looks at a simulated machine's revision."""
SETTLE = 0.05
"""Seconds to let a burst of events pass: to online a large machine's blocks makes thousands."""
UNANNOUNCED = 30.0
"""Seconds after which a machine whose events are heard is read again nevertheless: not
everything is announced, and in a container nothing is."""

TOO_NARROW = "Lines are cut off: the window is too narrow. -o BLOCK,SIZE,STATE needs less."


def run(view: View, root: str, seconds: float, json: bool, live: bool) -> int:
    """Show the machine below ROOT again whenever it has changed; ends with an exception only."""
    with Alarm(root, seconds) as alarm:
        if live:
            with _handled(_noted, signal.SIGWINCH, signal.SIGTSTP, signal.SIGINT, *_ENDING):
                _show_live(view, root, seconds, alarm)
        else:
            with _handled(_end, *_ENDING):
                _write_changes(root, json, alarm)
    return 0


_ENDING = (signal.SIGTERM, signal.SIGHUP)


def _end(number: int, _: FrameType | None = None) -> None:
    """End the process as Ctrl-C does: what is open is put in order first."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise click.exceptions.Exit(128 + number)


def _noted(_: int, __: FrameType | None) -> None:
    """The alarm's pipe has the signal, for a moment when no screen is half drawn: an exception
    from anywhere within would leave rich unable to restore the terminal."""


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], *signals: signal.Signals
) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class Alarm:
    """Says when to read a machine again."""

    def __init__(self, root: str, seconds: float) -> None:
        self._seconds = seconds
        self._tree = FileTree(root)
        self._revision = self._tree.revision()
        self._again = False
        self._events: Uevents | None = None
        if root == "/":
            try:
                self._events = Uevents()
            except OSError:
                self._events = None
        # A signal ends the wait through this pipe, and can be neither missed nor meet a
        # half-drawn screen.
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        if self._events:
            self._poll.register(self._events, select.POLLIN)
        if sys.stdout.isatty() is False:
            # No events are asked for: of an error, such as a reader that is gone, poll tells
            # unasked.
            self._poll.register(sys.stdout.fileno(), 0)

    def __enter__(self) -> "Alarm":
        self._before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._woken)
        os.close(self._wake)
        if self._events:
            self._events.close()

    @property
    def source(self) -> str:
        """What the alarm listens to, for a person."""
        if self._events:
            return "the kernel's events"
        if self._revision is not None:
            return "the simulated machine's changes"
        return f"reading again every {self._seconds:g}s"

    def wait(self, least: float | None = None) -> list[int]:
        """Wait until the machine should be read again, LEAST seconds have passed, or signals have
        come, whose numbers are returned."""
        longest = self._seconds
        if self._events or self._revision is not None:
            longest = UNANNOUNCED
        end = time.monotonic() + min(longest, longest if least is None else least)
        while (left := end - time.monotonic()) > 0:
            glance = GLANCE if self._revision is not None else left
            ready = dict(self._poll.poll(min(left, glance) * 1000))
            if self._woken in ready:
                return list(os.read(self._woken, 4096))
            if (
                self._events
                and self._events.fileno() in ready
                and any(True for _ in self._events.pending())
            ):
                self._let_pass()
                break
            if ready.get(sys.stdout.fileno(), 0) & (select.POLLERR | select.POLLNVAL):
                raise BrokenPipeError
            if self._revision is not None and self._has_changed():
                break
        return []

    def _let_pass(self) -> None:
        time.sleep(SETTLE)
        if self._events:
            for _ in self._events.pending():
                pass

    def _has_changed(self) -> bool:
        """Whether the simulated machine has another revision, or had at the last look: a change
        may have followed within the same tick of the clock."""
        revision = self._tree.revision()
        changed, again = revision != self._revision, self._again
        self._revision, self._again = revision, changed
        return changed or again


def _read(root: str, attributes: Sequence[str]) -> tuple[Machine, BlockTable]:
    machine = Machine.at(root)
    table = machine.read({*attributes, *changes_.ATTRIBUTES})
    if not table.numbers:
        raise NoBlocksError(machine.tree.root)
    return machine, table


def _between(before: Snapshot, after: Snapshot) -> list[Change]:
    if before.block_size == after.block_size:
        return changes_.compare(before, after)
    # Another machine stands there now: nothing of the old one is left.
    return [
        *changes_.compare(before, replace(before, blocks={})),
        *changes_.compare(replace(after, blocks={}), after),
    ]


def _write_changes(root: str, json: bool, alarm: Alarm) -> None:
    """For a pipe: one line for each change."""
    before = changes_.snapshot(_read(root, ())[1])
    if not json:
        # Whoever looks at an empty log wants to know that something is being watched.
        count = len(before.blocks)
        blocks = f"{count} memory block{'s' * (count != 1)}"
        sys.stdout.write(_stamped(f"{blocks}, watched by {alarm.source}\n", datetime.now()))
        sys.stdout.flush()
    while True:
        alarm.wait()
        after = changes_.snapshot(_read(root, ())[1])
        now = datetime.now().astimezone()
        sys.stdout.writelines(map(_writer(json, now), _between(before, after)))
        sys.stdout.flush()
        before = after


def _stamped(sentence: str, now: datetime) -> str:
    return f"{now:%H:%M:%S} {sentence}"


def _told(change: Change, now: datetime) -> str:
    return _stamped(f"{change.name}: {changes_.sentences(change)}", now)


def _writer(json: bool, now: datetime) -> Callable[[Change], str]:
    if not json:
        return lambda change: f"{_told(change, now)}\n"
    from json import dumps

    time = now.isoformat(timespec="milliseconds")
    return lambda change: dumps({"time": time, **changes_.record(change)}) + "\n"


def _show_live(view: View, root: str, seconds: float, alarm: Alarm) -> None:
    """For a terminal: the view on a screen of its own, changes marked for SECONDS."""
    console = Console(
        file=sys.stdout,
        force_terminal=True,
        color_system="standard" if view.colour else None,
        highlight=False,
    )
    machine, table = _read(root, tuple(view.attributes))
    before = changes_.snapshot(table)
    marked: dict[int, float] = {}
    news = "no change yet"
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            heading = f"lsmem --watch, by {alarm.source}. Ctrl-C ends it."
            lines = [*_lines(view, machine, table, marked, console)]
            prose = [heading, news]
            if not view.map and any(line.cell_len > console.width for line in lines):
                prose.append(TOO_NARROW)
            above = [Text(line) for text in prose for line in wrap(text, max(console.width, 1))]
            screen.update(_fitted([*above, Text(), *lines], console), refresh=True)
            signals = alarm.wait(min(marked.values(), default=1e9) - time.monotonic())
            for number in signals:
                if number in (signal.SIGINT, *_ENDING):
                    _end(number)
            if signal.SIGTSTP in signals:
                screen.stop()
                os.kill(os.getpid(), signal.SIGSTOP)
                screen.start()
            machine, table = _read(root, tuple(view.attributes))
            after = changes_.snapshot(table)
            found = _between(before, after)
            now = time.monotonic()
            marked = {number: end for number, end in marked.items() if end > now}
            marked.update(dict.fromkeys(changes_.numbers(found), now + seconds))
            if found:
                news = _news(found)
            before = after


def _news(found: Sequence[Change]) -> str:
    """The last change, or how many there were."""
    return _told(found[0], datetime.now()) + (
        f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    )


def _lines(
    view: View, machine: Machine, table: BlockTable, marked: dict[int, float], console: Console
) -> Iterator[Text]:
    """The map, or the listing with changed ranges marked."""
    if view.map:
        from lsmem_py.map import Map

        width, height = console.size
        yield from Map(
            table, view.map, width, max(height - 14, 4), view.bytes, frozenset(marked)
        ).lines()
        return
    if view.summary != "only":
        ranges = list(view.ranges(table))
        listing = formats.Listing(
            view.shown(machine), ranges, view.bytes, view.headings, paint=view.paint()
        )
        pieces = formats.write_table(listing)
        if view.headings:
            yield Text("  " + next(pieces).rstrip("\n"))
        changed = sorted(marked)
        for found, line in zip(ranges, pieces, strict=True):
            text = Text.from_ansi(line.rstrip("\n"))
            if _any_within(changed, found.first, found.last):
                yield Text("* ", style="bold red").append_text(text)
            else:
                yield Text("  ").append_text(text)
        yield Text()
    for line in summary.lines(machine, table, view.bytes) if view.summary != "never" else ():
        yield Text("  " + line.rstrip("\n"))


def _any_within(numbers: Sequence[int], first: int, last: int) -> bool:
    from bisect import bisect_left

    at = bisect_left(numbers, first)
    return at < len(numbers) and numbers[at] <= last


def _fitted(lines: Sequence[Text], console: Console) -> Text:
    """As many lines as the screen has, each cut off at its width."""
    width, height = console.size
    if len(lines) > height:
        left = len(lines) - height + 1
        lines = [*lines[: height - 1], Text(f"... {left} more lines: window too small")]
    whole = Text(no_wrap=True, overflow="crop")
    for index, line in enumerate(lines):
        line.truncate(width)
        whole.append_text(line)
        if index < len(lines) - 1:
            whole.append("\n")
    return whole
