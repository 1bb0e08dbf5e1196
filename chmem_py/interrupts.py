"""Interrupt a write that takes long, by a signal or a time limit.

Python restarts a system call that a signal interrupted, unless the signal handler raises. So the
handlers raise during a write that may be interrupted. At other times the first signal is only
recorded: no other write that may be interrupted is begun, and no other block.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from types import FrameType

from chmem_py import messages
from chmem_py.output import NAME
from hotplug_cli.exits import by_signal
from hotplug_cli.program import signal
from memory_hotplug.change.transaction import Watch
from memory_hotplug.errors import StoppedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDED = f"{NAME}: {messages.ENDED_AT_ONCE.text}\n".encode()


class Interrupts(Watch):
    """A context in which the first signal of STOPPING stops the work and the second the process."""

    def __init__(self, timeout: float | None) -> None:
        """TIMEOUT is the time limit for an offline, in seconds."""
        self.last_words: Callable[[], bytes] = lambda: b""
        """What to write to standard error at the second signal. Must not take a lock, which the
        interrupted code may hold."""
        self.began: Callable[[int], None] = lambda number: None
        """What is told of each block before it is changed."""
        self.waits: Callable[[str], None] = lambda step: None
        """What is told of each step before its write."""
        self.signal: int | None = None
        """The number of the first signal that came."""
        self._timeout = timeout
        self._armed = False
        self._counting = False
        self._stoppable = _Armed(self, None, stoppable=True)
        self._stoppable_offline = _Armed(self, timeout, stoppable=True)
        self._steady, self._steady_offline = _Armed(self, None), _Armed(self, timeout)
        self._before: dict[int, object] = {}

    @property
    def stopping(self) -> bool:  # type: ignore[override]  # the base class never stops
        return self.signal is not None

    def __enter__(self) -> Self:
        for number in STOPPING:
            # A shell starts background jobs with SIGINT ignored; it stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        if self._timeout is not None:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._time_is_up)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal() returned it

    def begin(self, number: int) -> None:
        self.began(number)

    def during(self, step: str) -> _Armed:
        self.waits(step)
        return self._stoppable_offline if step == "offline" else self._stoppable

    def limiting(self, step: str) -> _Armed:
        self.waits(step)
        return self._steady_offline if step == "offline" else self._steady

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            with contextlib.suppress(OSError):
                os.write(2, self.last_words() + _ENDED)
            os._exit(by_signal(number))
        self.signal = number
        if self._armed:
            self._armed = self._counting = False
            raise StoppedError

    def _time_is_up(self, _: int, __: FrameType | None) -> None:
        if self._counting:
            self._counting = False
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))


class _Armed:
    """A context in which a signal and the time limit, or only the time limit, may raise."""

    __slots__ = ("_interrupts", "_stoppable", "_timeout")

    def __init__(
        self, interrupts: Interrupts, timeout: float | None, *, stoppable: bool = False
    ) -> None:
        self._interrupts = interrupts
        self._timeout = timeout
        self._stoppable = stoppable

    def __enter__(self) -> None:
        self._interrupts._armed = self._stoppable
        if self._stoppable and self._interrupts.signal is not None:
            # It came just before, when it was only recorded. The write could take for ever.
            self._interrupts._armed = False
            raise StoppedError
        self._interrupts._counting = self._timeout is not None
        if self._timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, self._timeout)

    def __exit__(self, *_: object) -> None:
        self._interrupts._armed = self._interrupts._counting = False
        if self._timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
