"""When to read a machine again: the kernel's events, a simulated machine's changes, or the time."""

import os
import select
import signal
import sys
import time
from typing import NoReturn

import click

from hotplug_cli.exits import by_signal
from memory_hotplug.tree import FileTree
from memory_hotplug.uevents import Uevents

__all__ = ["ENDING", "UNANNOUNCED", "Alarm", "end_by"]

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a watch, besides Ctrl-C."""

_GLANCE = 0.1
"""Seconds between two looks at a simulated machine's revision."""
_SETTLE = 0.05
"""Seconds to let a burst of events pass: to online a large machine's blocks makes thousands."""
UNANNOUNCED = 30.0
"""Seconds after which a machine whose events are heard is read again nevertheless: not
everything is announced, and in a container nothing is."""


def end_by(number: int) -> NoReturn:
    """End the process as the signal asks: what is open is put in order first."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise click.exceptions.Exit(by_signal(number))


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
            glance = _GLANCE if self._revision is not None else left
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
        time.sleep(_SETTLE)
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
