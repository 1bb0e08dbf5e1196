"""Work in a copy of this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from safe_files.signals import undisturbed

__all__ = ["end", "processors", "started", "threads"]

_TASKS = "/proc/self/task"


def processors() -> int:
    """How many processes can work at the same time; 1 where forking is not safe, which it is in a
    process with one thread only: a copy has one thread, and the locks of all."""
    try:
        return 1 if threads() > 1 else len(os.sched_getaffinity(0))
    except OSError:
        return 1


def threads() -> int:
    """The number of threads of this process, whoever made them."""
    return len(os.listdir(_TASKS))


def started(
    work: Callable[[int, Callable[[], AbstractContextManager[None]]], int],
) -> tuple[int, int]:
    """Begin WORK in a copy of this process; return its id, and the end of a pipe to read from.

    WORK gets the other end of the pipe, and a context in which signal handlers run, because outside
    of it none does; it returns the exit status. Nothing of this process is written or ended twice:
    not its buffers, not its exit handlers. Raises OSError.
    """
    ours, theirs = os.pipe()
    child = None
    try:
        # The exception of a signal handler must not leave this process's contexts in the copy.
        with undisturbed() as disturbed:
            child = os.fork()
            if not child:
                status = 1
                try:
                    os.close(ours)
                    status = work(theirs, disturbed)
                finally:
                    os._exit(status)
    except BaseException:
        os.close(ours)
        if child:
            end(child)
        raise
    finally:
        os.close(theirs)
    return child, ours


def end(child: int) -> None:
    """Wait until a process is gone; one that is still at work is killed."""
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ChildProcessError, ProcessLookupError):
        pass  # where SIGCHLD is ignored, the kernel has waited
