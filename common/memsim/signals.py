"""Delay signals until something is done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

__all__ = ["undisturbed"]

_HANDLED: Final = frozenset(
    {
        signal.SIGALRM,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
"""The signals for which a program can have a handler that raises an exception."""


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
