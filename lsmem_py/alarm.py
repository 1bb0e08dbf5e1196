"""When to read a machine again: after uevents, changes of a simulated machine, or some time."""

import os
import select
import signal
import sys
import time
from typing import NoReturn

from hotplug_cli.exits import by_signal
from memory_hotplug.machine import open_tree
from memory_hotplug.seen.uevents import Uevents

__all__ = ["ENDING", "UNANNOUNCED", "Alarm", "end_by"]

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end --watch, besides Ctrl-C."""

_GLANCE = 0.1
"""How often the revision of a simulated machine is checked, in seconds."""
_DAY = 86400.0
"""Seconds; poll(2) cannot wait for more than 24 days."""
_SETTLE = 0.05
"""Seconds to wait for more events: setting a large machine's blocks online sends thousands."""
UNANNOUNCED = 30.0
"""Seconds after which a machine is read again without an event: some changes send none, and no
event reaches a container."""


def end_by(number: int) -> NoReturn:
    """Raise the exception that ends the process for this signal, so that contexts are left."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(int(by_signal(number)))


class Alarm:
    """Waits until a machine should be read again."""

    def __init__(self, root: str, seconds: float) -> None:
        self._seconds = seconds
        self._tree = open_tree(root)
        self._revision = self._tree.revision()
        self._again = False
        self._events: Uevents | None = None
        if self._tree.is_this_machine:
            try:
                self._events = Uevents()
            except OSError:
                self._events = None
        # A signal ends the wait through this pipe: it cannot be missed, and cannot interrupt the
        # drawing of the screen.
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._woken, select.POLLIN)
        if self._events:
            self._poll.register(self._events, select.POLLIN)
        if sys.stdout.isatty() is False:
            # Without a requested event, poll still reports errors, such as a reader that is gone.
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
        self._tree.close()

    @property
    def source(self) -> str:
        """What the alarm waits for, as words for a message."""
        if self._events:
            return "the kernel's events"
        if self._revision is not None:
            return "the simulated machine's changes"
        return f"reading again every {self._seconds:g}s"

    def wait(self, at_most: float = float("inf")) -> list[int]:
        """Wait until the machine should be read again, AT_MOST so many seconds; return the numbers
        of signals that came."""
        announced = self._events or self._revision is not None
        end = time.monotonic() + min(UNANNOUNCED if announced else self._seconds, at_most)
        while (left := end - time.monotonic()) > 0:
            glance = _GLANCE if self._revision is not None else _DAY
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
        """Whether the simulated machine has a new revision now, or had one at the last check.

        A second change within one tick of the clock does not show in the revision.
        """
        revision = self._tree.revision()
        changed, again = revision != self._revision, self._again
        self._revision, self._again = revision, changed
        return changed or again
