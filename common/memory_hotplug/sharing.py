"""Reading the blocks of a large machine in several processes, for which one takes long.

Threads would be no faster: Python runs one at a time. A forked worker reads its part of the blocks
and answers over a pipe, in marshal's format, with the different results and, for each block, which
of them it has. The workers are this process's own copies, so their answers are trusted.
"""

from __future__ import annotations

import marshal
import os
import signal
from collections.abc import Callable, Sequence

__all__ = ["Result", "read_shared"]

Result = bytes | int
"""What came of a block: the text of its attribute, or the errno."""

_LEAST = 4096
"""From so many blocks on, work is shared: before that, forking takes longer than it saves."""
_MOST_WORKERS = 8
_MOST_DIFFERENT = 256
"""Up to so many different results, a block's is told by one byte."""
_TASKS = "/proc/self/task"
_SIZE = 8
"""Bytes of the length before an answer."""


def read_shared(
    read: Callable[[Sequence[int]], list[Result]], numbers: Sequence[int]
) -> list[Result]:
    """What READ gives for NUMBERS, in their order, read by as many processes as may run at once.

    A part whose worker cannot be started, or dies, is read by this process.
    """
    count = _workers(len(numbers))
    if count == 1:
        return read(numbers)
    size = -(-len(numbers) // count)
    parts = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    # This process reads the first part itself, meanwhile.
    workers = [_Worker.start(read, part) for part in parts[1:]]
    try:
        results = read(parts[0])
        for part, worker in zip(parts[1:], workers, strict=True):
            found = worker.answer(len(part)) if worker else None
            results += read(part) if found is None else found
    finally:
        for worker in workers:
            if worker:
                worker.end()
    return results


def _workers(blocks: int) -> int:
    """The number of processes for so many blocks, this one included; 1 where forking is not safe,
    which it is in a process with one thread only."""
    if blocks < _LEAST:
        return 1
    try:
        if _threads() > 1:
            return 1
        usable = len(os.sched_getaffinity(0))
    except OSError:
        return 1
    return min(usable, _MOST_WORKERS, blocks // (_LEAST // 2))


def _threads() -> int:
    return len(os.listdir(_TASKS))


class _Worker:
    """A process that reads a part of the blocks."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid, self._pipe = pid, pipe

    @classmethod
    def start(
        cls, read: Callable[[Sequence[int]], list[Result]], numbers: Sequence[int]
    ) -> _Worker | None:
        """Begin to read; None if there is no process or no descriptor left for that."""
        # A signal that comes before the worker has let go of this process's handlers would be
        # handled twice.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            ours, theirs = os.pipe()
            try:
                pid = os.fork()
            except OSError:
                os.close(ours)
                os.close(theirs)
                raise
            if pid == 0:
                _work(read, numbers, theirs, before)
            os.close(theirs)
            return cls(pid, ours)
        except OSError:
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def answer(self, count: int) -> list[Result] | None:
        """The results for COUNT blocks; None if the worker has died."""
        pieces = []
        while piece := os.read(self._pipe, 1 << 20):
            pieces.append(piece)
        data = b"".join(pieces)
        if len(data) < _SIZE or len(data) != int.from_bytes(data[:_SIZE]):
            return None
        different, which = marshal.loads(memoryview(data)[_SIZE:])
        found = list(map(different.__getitem__, which)) if which is not None else different
        return found if len(found) == count else None

    def end(self) -> None:
        """Wait until the process is gone; one that is still at work is killed."""
        os.close(self._pipe)
        try:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except (ChildProcessError, ProcessLookupError):
            pass  # where SIGCHLD is ignored, the kernel has waited


_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGWINCH)
"""Signals for which a command may have a handler."""


def _work(
    read: Callable[[Sequence[int]], list[Result]],
    numbers: Sequence[int],
    pipe: int,
    mask: set[int] | set[signal.Signals],
) -> None:
    """Be a worker. Never returns."""
    try:
        for number in _HANDLED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        data = _packed(read(numbers))
        data = (len(data) + _SIZE).to_bytes(_SIZE) + data
        while data:
            data = data[os.write(pipe, data) :]
    finally:
        # Nothing of this process may be written or ended twice: not its buffers, not its exit
        # handlers. What is missing in the pipe tells that the worker has failed.
        os._exit(0)


def _packed(results: list[Result]) -> bytes:
    different = list(dict.fromkeys(results))
    if len(different) > _MOST_DIFFERENT:
        return marshal.dumps((results, None))
    places = {result: place for place, result in enumerate(different)}
    return marshal.dumps((different, bytes(map(places.__getitem__, results))))
