"""What signals do while something is half done, and in a process that is a copy of another."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, NoReturn

__all__ = ["ended_in_order", "undisturbed", "without_handlers"]

_HANDLED: Final = frozenset(
    {
        signal.SIGALRM,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
"""The signals for which a program can have a handler."""


@contextmanager
def undisturbed() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """A context in which no signal handler runs in this thread; it runs afterwards.

    Its value makes a context, for a part of it, in which signal handlers run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)

    @contextmanager
    def disturbed() -> Iterator[None]:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)

    try:
        yield disturbed
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """A context that SIGTERM and SIGHUP end by SystemExit, so that what is half done is removed.

    A signal that is ignored or has a handler is left alone. For the main thread only.
    """

    def end(number: int, _frame: object) -> NoReturn:
        # A terminal that closes can send SIGHUP twice; the second must not interrupt the removal.
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise SystemExit(128 + number)

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def without_handlers() -> None:
    """Let this process's handlers go: what is not ignored does what it does by default."""
    for number in _HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
