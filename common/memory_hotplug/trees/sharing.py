"""Reading the blocks of a large machine in several processes, for which one takes long.

Threads would be no faster: Python runs one at a time. A forked worker reads its part of the blocks
and answers over a pipe, in marshal's format, with the different results and, for each block, which
of them it has. The workers are this process's own copies, so their answers are trusted.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from safe_files.fork import end, processors, started
from safe_files.replace import write_all
from safe_files.signals import without_handlers

__all__ = ["TextOrErrno", "read_shared"]

TextOrErrno = bytes | int
"""What came of a block: the text of its attribute, or the errno."""

_LEAST = 2048
"""So many blocks have a process at least: with fewer, forking takes longer than it saves."""
_MOST_WORKERS = 8
_MOST_DIFFERENT = 256
"""Up to so many different results, a block's is told by one byte."""
_SIZE = 8
"""Bytes of the length before an answer."""


def read_shared(
    read: Callable[[Sequence[int]], list[TextOrErrno]], numbers: Sequence[int], each: int = 1
) -> list[TextOrErrno]:
    """What READ gives for NUMBERS, EACH results for a number in their order, read by as many
    processes as may run at once.

    A part whose worker cannot be started, or dies, is read by this process.
    """
    count = min(processors(), _MOST_WORKERS, len(numbers) // _LEAST)
    if count <= 1:
        return read(numbers)
    size = -(-len(numbers) // count)
    parts = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    # This process reads the first part itself, meanwhile.
    workers = [_Worker.start(read, part) for part in parts[1:]]
    try:
        results = read(parts[0])
        for part, worker in zip(parts[1:], workers, strict=True):
            found = worker.answer(each * len(part)) if worker else None
            results += read(part) if found is None else found
    finally:
        for worker in workers:
            if worker:
                worker.end()
    return results


class _Worker:
    """A process that reads a part of the blocks."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid, self._pipe = pid, pipe

    @classmethod
    def start(
        cls, read: Callable[[Sequence[int]], list[TextOrErrno]], numbers: Sequence[int]
    ) -> _Worker | None:
        """Begin to read; None if there is no process or no descriptor left for that."""
        try:
            return cls(*started(partial(_work, read, numbers)))
        except OSError:
            return None

    def answer(self, count: int) -> list[TextOrErrno] | None:
        """COUNT results; None if the worker has died, which what is missing in the
        pipe tells."""
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
        end(self._pid)


def _work(
    read: Callable[[Sequence[int]], list[TextOrErrno]],
    numbers: Sequence[int],
    pipe: int,
    disturbed: Callable[[], AbstractContextManager[None]],
) -> int:
    """Be a worker."""
    without_handlers()
    with disturbed():
        data = _packed(read(numbers))
        write_all(pipe, (len(data) + _SIZE).to_bytes(_SIZE) + data)
    return 0


def _packed(results: list[TextOrErrno]) -> bytes:
    different = list(dict.fromkeys(results))
    if len(different) > _MOST_DIFFERENT:
        return marshal.dumps((results, None))
    places = {result: place for place, result in enumerate(different)}
    return marshal.dumps((different, bytes(map(places.__getitem__, results))))
