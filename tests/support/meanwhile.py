#!/usr/bin/env python3
"""What happens while chmem works, at an instant that is the same each time.

    python tests/support/meanwhile.py --at 12 --signal KILL -- chmem -s DIR ...
    python tests/support/meanwhile.py --at 2 --write PATH WORD -- chmem -s DIR ...

A signal comes before the Nth change of a file, and a write of another program before the Nth write
to the simulated kernel. Python tells of both (audit events); no code of the project is replaced.
"""

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Heard = Callable[[], None]

_CHANGES = {"os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "os.link"}
_ETC = re.compile("50-chmem.toml|memory-layout")
"""In the names of the files that chmem writes below /etc."""
_listening: list[Callable[[str, tuple[Any, ...]], None]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # What is done about an event has events of its own.
    if _listening:
        listener = _listening.pop()
        try:
            listener(event, arguments)
        finally:
            _listening.append(listener)


_hooked: list[bool] = []


@contextmanager
def _listen(listener: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    if not _hooked:
        # A hook stays until the process ends.
        sys.addaudithook(_hook)
        _hooked.append(True)
    _listening.append(listener)
    try:
        yield
    finally:
        _listening.clear()


@contextmanager
def before_changes(do: Heard) -> Iterator[None]:
    """A context in which DO is called before each change of a file."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and arguments[2] & os.O_CREAT):
            do()

    with _listen(heard):
        yield


@contextmanager
def before_writes(do: Heard) -> Iterator[None]:
    """A context in which DO is called before each write to a simulated kernel: when its lock is
    opened, so that DO can take it."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and arguments[0] == "lock" and arguments[2] & os.O_ACCMODE == os.O_RDWR:
            do()

    with _listen(heard):
        yield


@contextmanager
def no_room_for_layouts(instant: int) -> Iterator[None]:
    """A context in which each change of a file that chmem writes below /etc fails, as on a full
    disk, from the one with the number INSTANT on."""
    calls = iter(range(1, sys.maxsize))

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in _CHANGES or (event == "open" and arguments[2] & os.O_CREAT)
        if changes and _ETC.search(f"{arguments[0]}") and next(calls) >= instant:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with _listen(heard):
        yield


def at(instant: int, do: Heard) -> Heard:
    """What does DO at the call with the number INSTANT, from 1."""
    calls = iter(range(1, sys.maxsize))

    def called() -> None:
        if next(calls) == instant:
            do()

    return called


def send(name: str) -> Heard:
    """What sends this process the signal NAME."""
    number = signal.Signals[f"SIG{name}"]
    return lambda: os.kill(os.getpid(), number)


def main() -> None:
    from chmem_py import cli
    from memsim import directory

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--at", type=int, required=True)
    parser.add_argument("--signal")
    parser.add_argument("--write", nargs=2)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    sys.argv = given.command
    root = given.command[given.command.index("-s") + 1]

    def write() -> None:
        path, word = given.write
        try:
            directory.write(root, path, word.encode())
        except OSError as error:
            sys.stderr.write(f"{path}: {error.strerror}\n")

    if given.signal:
        with before_changes(at(given.at, send(given.signal))):
            cli.main()
    else:
        with before_writes(at(given.at, write)):
            cli.main()


if __name__ == "__main__":
    main()
