"""Work in another process; its result and its failure come back in one place."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import NoReturn

from memsim.syscalls import die_with_parent

__all__ = ["exit_status", "fork_and_wait"]


def fork_and_wait(work: Callable[[], int]) -> int:
    """Run WORK in another process and wait for it; return the exit status that WORK returns.

    An exception of WORK is raised here. SIGINT and SIGQUIT, the signals of the terminal, are
    ignored here meanwhile, because the other process gets them itself. SIGTERM and SIGHUP end the
    other process, and then this one (SystemExit).
    """
    report, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(report)
        _do(work, told)
    os.close(told)
    with os.fdopen(report, "rb") as failures:
        status = _wait(child)
        failure = failures.read()
    if failure:
        raise pickle.loads(failure)
    return exit_status(status)


def exit_status(wait_status: int) -> int:
    """The exit status a shell would give for what waitpid() says: 128 + n after signal n."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _do(work: Callable[[], int], told: int) -> NoReturn:
    status = 1
    try:
        die_with_parent()
        status = work()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except Exception as failure:
        os.write(told, pickle.dumps(failure))
    finally:
        os._exit(status)


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
