"""`lsmem --watch`: on a terminal show the view again and again, else a line for each change."""

import gc
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import FrameType
from typing import Any, Self

from hotplug_cli.documents import TEXT, Key, described, filled, object_of, version_of
from hotplug_cli.program import complain
from hotplug_cli.remarks import sentence_of
from lsmem_py import messages
from lsmem_py.alarm import ENDING, Alarm, end_by
from lsmem_py.changes import (
    ATTRIBUTES,
    CHANGE,
    Difference,
    compare,
    format_news,
    format_stamped,
    snapshot,
)
from lsmem_py.view import View
from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable, Remark

__all__ = ["run_watch", "schema"]


def run_watch(view: View, root: str, seconds: float, json: bool, live: bool) -> int:
    """Show the machine below ROOT again after each change. Returns never; an exception ends it.

    With LIVE the view is a screen, with changes marked for SECONDS. Else each change is a line or,
    with JSON, an object. A tree that does not announce its changes is read every SECONDS.
    """
    gc.enable()
    attributes = view.attributes if live else ()
    with Alarm(root, seconds) as alarm, _Reading(root, attributes) as reader:
        if live:
            from lsmem_py.screen import run_screen

            noted = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGINT, *ENDING)
            with _handled(_noted, *noted):
                run_screen(view, reader, seconds, alarm)
        else:
            with _handled(_end, *ENDING):
                _write_changes(reader, json, alarm)
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


class _Reading:
    """Reads the machine below a root, which may be another one each time."""

    def __init__(self, root: str, attributes: Collection[str] = ()) -> None:
        self._root = root
        self._attributes = {*attributes, *ATTRIBUTES}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self) -> tuple[Machine, BlockTable]:
        """The machine, open until the next call, and its blocks as they are now."""
        self._open.close()
        machine = self._open.enter_context(Machine.at(self._root))
        return machine, machine.read(self._attributes)


def _write_changes(reader: _Reading, json: bool, alarm: Alarm) -> None:
    """Write one line for each change and, on standard error, what could not be read."""
    before = snapshot(reader()[1])
    _write_remarks(before.remarks)
    if not json:
        # Without this line nobody could tell that an empty log is being written.
        count = before.count
        blocks = f"{count} memory block{'s' * (count != 1)}"
        start = messages.WATCH_STARTED.of(blocks=blocks, source=alarm.source)
        sys.stdout.write(format_stamped(f"{start}\n", datetime.now()))
        sys.stdout.flush()
    while True:
        alarm.wait()
        after = snapshot(reader()[1])
        _write_remarks(remark for remark in after.remarks if remark not in before.remarks)
        now = datetime.now().astimezone()
        sys.stdout.writelines(map(_formatter(json, now), compare(before, after)))
        sys.stdout.flush()
        before = after


def _write_remarks(remarks: Iterable[Remark]) -> None:
    for remark in remarks:
        complain("lsmem", sentence_of(remark))


def _formatter(json: bool, now: datetime) -> Callable[[Difference], str]:
    if not json:
        return lambda change: f"{format_news(change, now)}\n"
    from json import dumps

    return lambda change: dumps(filled(_LINE, (now, change))) + "\n"


def _of_change(row: Key) -> Key:
    return row._replace(value=lambda pair: row.value(pair[1]))


_LINE = (
    version_of(1),
    Key(
        "time",
        "when it was seen, with the offset from UTC (ISO 8601)",
        TEXT,
        lambda pair: pair[0].isoformat(timespec="milliseconds"),
    ),
    *map(_of_change, CHANGE),
)
"""A line with --json, from the time and the change."""


def schema() -> dict[str, Any]:
    """The JSON Schema of a line."""
    return described("a line of lsmem --watch --json", object_of(_LINE))
