"""`lsmem --watch`: on a terminal show the view again and again, else a line for each change."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from hotplug_cli.messages import lsmem as messages
from lsmem_py import changes as changes_
from lsmem_py.alarm import ENDING, Alarm, end_by
from lsmem_py.changes import Change
from lsmem_py.view import View
from memory_hotplug.errors import NoBlocksError
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable

__all__ = ["run_watch"]


def run_watch(view: View, root: str, seconds: float, json: bool, live: bool) -> int:
    """Show the machine below ROOT again after each change. Returns never; an exception ends it.

    With LIVE the view is a screen, with changes marked for SECONDS. Else each change is a line or,
    with JSON, an object. A tree that does not announce its changes is read every SECONDS.
    """

    def read() -> tuple[Machine, BlockTable]:
        return _read(root, view.attributes)

    with Alarm(root, seconds) as alarm:
        if live:
            from lsmem_py.screen import show_live

            noted = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGINT, *ENDING)
            with _handled(_noted, *noted):
                show_live(view, read, seconds, alarm)
        else:
            with _handled(_end, *ENDING):
                _write_changes(root, json, alarm)
    return 0


def _end(number: int, _: FrameType | None) -> None:
    end_by(number)


def _noted(_: int, __: FrameType | None) -> None:
    """A signal handler that does nothing: the pipe of the alarm has the signal. An exception in
    the middle of drawing would leave rich unable to restore the terminal."""


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


def _read(root: str, attributes: set[str]) -> tuple[Machine, BlockTable]:
    machine = Machine.at(root)
    table = machine.read({*attributes, *changes_.ATTRIBUTES})
    if not table.numbers:
        raise NoBlocksError(machine.tree.root)
    return machine, table


def _write_changes(root: str, json: bool, alarm: Alarm) -> None:
    """Write one line for each change."""
    before = changes_.snapshot(_read(root, set())[1])
    if not json:
        # Without this line nobody could tell that an empty log is being written.
        count = before.count
        blocks = f"{count} memory block{'s' * (count != 1)}"
        start = messages.WATCH_STARTED.of(blocks=blocks, source=alarm.source)
        sys.stdout.write(changes_.format_stamped(f"{start}\n", datetime.now()))
        sys.stdout.flush()
    while True:
        alarm.wait()
        after = changes_.snapshot(_read(root, set())[1])
        now = datetime.now().astimezone()
        sys.stdout.writelines(map(_formatter(json, now), changes_.compare(before, after)))
        sys.stdout.flush()
        before = after


def _formatter(json: bool, now: datetime) -> Callable[[Change], str]:
    if not json:
        return lambda change: f"{changes_.format_news(change, now)}\n"
    from json import dumps

    time = now.isoformat(timespec="milliseconds")
    return lambda change: dumps({"time": time, **changes_.record(change)}) + "\n"
