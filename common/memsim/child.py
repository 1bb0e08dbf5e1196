"""Work in another process; its result and its failure come back in one place."""

from __future__ import annotations

import errno
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import BinaryIO, NoReturn

from memsim.syscalls import die_with_parent
from safe_files.fork import started

__all__ = ["beside", "exit_status", "fork_and_wait"]


def fork_and_wait(work: Callable[[], int]) -> int:
    """Run WORK in another process and wait for it; return the exit status that WORK returns.

    The caller has one thread: in a copy of a process with several, WORK could wait forever for a
    lock that another thread held, and Python 3.12 and later warn of that.

    An exception of WORK is raised here. SIGINT and SIGQUIT, the signals of the terminal, are
    ignored here meanwhile, because the other process gets them itself. SIGTERM and SIGHUP end the
    other process, and then this one (SystemExit).
    """
    with _started(work) as (child, failures):
        status = _wait(child)
        failure = failures.read()
    if failure:
        raise pickle.loads(failure)
    return exit_status(status)


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """A context during which another process does WORK; at its end it waits for that process.

    The caller has one thread, as for `fork_and_wait`: `processors` says so.

    An exception of WORK is raised at the end of the context, and ChildProcessError if the other
    process was killed. An exception in the context kills the other process.
    """

    def done() -> int:
        work()
        return 0

    with _started(done) as (child, failures):
        try:
            yield
            failure = failures.read()
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            status = os.waitpid(child, 0)[1]
    if failure:
        raise pickle.loads(failure)
    if status:
        raise ChildProcessError(errno.ECHILD, "a process that did a part of the work was killed")


@contextmanager
def _started(work: Callable[[], int]) -> Iterator[tuple[int, BinaryIO]]:
    """A context with a new process that does WORK, and the pipe with its exception.

    Where SIGCHLD is ignored, the kernel keeps no exit status (wait(2), NOTES); here it does.
    """
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        child, report = started(partial(_do, work))
        with os.fdopen(report, "rb") as failures:
            yield child, failures
    finally:
        signal.signal(signal.SIGCHLD, before)


def exit_status(wait_status: int) -> int:
    """The exit status a shell would give for what waitpid() says: 128 + n after signal n."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _do(
    work: Callable[[], int], told: int, disturbed: Callable[[], AbstractContextManager[None]]
) -> int:
    try:
        die_with_parent()
        with disturbed():
            return work()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as failure:
        os.write(told, pickle.dumps(failure))
        return 1


def _wait(child: int) -> int:
    def end(number: int, _frame: object) -> NoReturn:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise SystemExit(128 + number)

    handlers = {signal.SIGTERM: end, signal.SIGHUP: end}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    before |= {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGQUIT)}
    try:
        return os.waitpid(child, 0)[1]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
