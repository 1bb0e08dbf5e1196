"""Run a program of the guest on the terminal or the pipes of this process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from typing import Final

from guest.channel import Channel, ChannelMessage, Program
from guest.door import Door

LEAVE: Final = b"\x1d"
"""Ctrl-] ends the guest at any time."""

PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run(channel: Channel, command: Sequence[str], door: Door | None = None) -> int:
    """Run a command in the guest with the input and output of this process; return its exit status.

    If this process has a terminal, the command has one of the same size. Signals to this process
    are passed on to it. The status after Ctrl-] is 0. `door` lets other processes speak to the
    agent meanwhile. Raises ChannelError if the guest ends.
    """
    interactive = os.isatty(0) and os.isatty(1)
    environment = {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}
    program = channel.start(
        command, environment=environment, terminal=_size() if interactive else None
    )
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    agent, inputs = channel.fileno(), [0]
    with _signals_to(wake), _raw() if interactive else contextlib.nullcontext():
        while True:
            visitors = door.descriptors if door else []
            ready, _, _ = select.select([agent, woken, *inputs, *visitors], [], [])
            if woken in ready:
                _pass_on(program, os.read(woken, 64))
            if 0 in ready:
                data = os.read(0, 1 << 15)
                if interactive and LEAVE in data:
                    return 0
                program.input(data or None)
                inputs = inputs if data else []
            messages = channel.received(program.number)
            if door:
                door.serve(ready)
                door.answer()
            for message in messages:
                _write(message)
                if "status" in message:
                    return int(message["status"])


def _pass_on(program: Program, signals: bytes) -> None:
    """Pass signals on to the program."""
    for number in signals:
        if number == signal.SIGWINCH:
            program.resize(*_size())
        else:
            program.signal(number)


def _write(message: ChannelMessage) -> None:
    """Write the output of the program."""
    for name, descriptor in (("out", 1), ("err", 2)):
        data = message.get(name, "").encode("latin-1")
        while data:
            data = data[os.write(descriptor, data) :]


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(1)
    return rows, columns


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """A context in which this terminal is in raw mode."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals_to(wake: int) -> Iterator[None]:
    """A context in which signals are bytes in a pipe."""
    numbers = (*PASSED_ON, signal.SIGWINCH)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    sys.stdout.flush()
    signal.set_wakeup_fd(wake)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
