"""The directory of a running guest, through which other processes reach it.

    monitor     QEMU's monitor
    door        the agent: the process that has booted the guest passes messages on
    guest.json  what the guest is
    console     what the kernel writes

The directory is the guest's name on the command line. It goes when the guest ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from guest import qmp, sockets
from guest.channel import Channel, ChannelError
from guest.qemu import MONITOR

__all__ = ["Door", "GoneError", "GuestFacts", "Reached", "directory", "reach"]

DOOR: Final = "door"
FACTS: Final = "guest.json"

LAST: Final = ("status", "result", "error")
"""The keys of a message after which the agent sends no other one for a request."""

SECONDS: Final = 60.0
"""How long another process may take to take a message."""


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """What other processes must know of a guest."""

    arch: str
    release: str


class GoneError(Exception):
    """The guest of a directory has ended, or is another user's; the text has more."""


@contextlib.contextmanager
def directory(path: Path | None = None) -> Iterator[Path]:
    """A context with the new directory of a guest: `path`, or one below XDG_RUNTIME_DIR.

    Raises FileExistsError and other OSErrors.
    """
    if path is None:
        place = os.environ.get("XDG_RUNTIME_DIR")
        made = Path(
            tempfile.mkdtemp(prefix="guest-", dir=place if place and os.path.isdir(place) else None)
        )
    else:
        path.mkdir(mode=0o700)
        made = path.absolute()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class Door:
    """Passes the messages of other processes on to a guest's agent; a context manager.

    The process that owns the channel calls `serve` when one of `descriptors` can be read, and
    `answer` when the channel may have answers.
    """

    def __init__(self, place: Path, channel: Channel, facts: GuestFacts) -> None:
        self._channel = channel
        self._listener = sockets.listener(place / DOOR)
        self._visitors: dict[int, _Visitor] = {}
        (place / FACTS).write_text(json.dumps(asdict(facts)))

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for visitor in self._visitors.values():
            visitor.connection.close()

    @property
    def descriptors(self) -> list[int]:
        """What is to be watched for reading."""
        return [self._listener.fileno(), *self._visitors]

    def serve(self, ready: Collection[int]) -> None:
        """Let processes in, and pass on what they ask. Raises ChannelError."""
        if self._listener.fileno() in ready:
            connection, _ = self._listener.accept()
            connection.settimeout(SECONDS)
            self._visitors[connection.fileno()] = _Visitor(connection, self._channel)
        for number in [number for number in self._visitors if number in ready]:
            if not self._visitors[number].asks():
                self._leave(number)

    def answer(self) -> None:
        """Pass on what the agent has answered. Raises ChannelError."""
        for number, visitor in list(self._visitors.items()):
            try:
                visitor.hears()
            except OSError:
                self._leave(number)

    def _leave(self, number: int) -> None:
        self._visitors.pop(number).leave()


class _Visitor:
    """Another process, whose requests have ids of its own."""

    def __init__(self, connection: socket.socket, channel: Channel) -> None:
        self.connection = connection
        self._channel = channel
        self._buffer = b""
        self._numbers: dict[int, int] = {}
        """Its ids -> those on the channel, of requests that are not done."""

    def asks(self) -> bool:
        """Pass its requests on; return whether it is still there."""
        try:
            more = self.connection.recv(1 << 16)
        except OSError:
            more = b""
        *lines, self._buffer = (self._buffer + more).split(b"\n")
        for line in lines:
            request: dict[str, Any] = json.loads(line)
            number, what = request.pop("id"), request.pop("do")
            known = self._numbers.get(number)
            if known is not None or what in ("start", "call"):
                self._numbers[number] = self._channel.ask(what, known, **request)
        return bool(more)

    def hears(self) -> None:
        """Send it what the agent has answered. Raises OSError where it does not listen."""
        for number, known in list(self._numbers.items()):
            for message in self._channel.received(known):
                self.connection.sendall(json.dumps({**message, "id": number}).encode() + b"\n")
                if message.keys() & set(LAST):
                    self._numbers.pop(number, None)

    def leave(self) -> None:
        """End the programs that it has started."""
        self.connection.close()
        for known in self._numbers.values():
            self._channel.ask("signal", known, signal=int(signal.SIGKILL))


# For the other processes.


@dataclass(frozen=True, slots=True)
class Reached:
    """A running guest, reached from another process."""

    facts: GuestFacts
    monitor: qmp.Monitor
    channel: Channel


@contextlib.contextmanager
def reach(path: Path) -> Iterator[Reached]:
    """A context with the running guest of a directory. Raises GoneError, also where the guest ends
    meanwhile."""
    with contextlib.ExitStack() as opened:
        try:
            facts = GuestFacts(**json.loads((path / FACTS).read_text()))
            monitor = opened.enter_context(qmp.connect(path / MONITOR))
            door = opened.enter_context(sockets.connection(path / DOOR))
        except (OSError, ValueError, qmp.QmpClosedError) as error:
            raise GoneError(str(error)) from error
        try:
            yield Reached(facts, monitor, Channel(door))
        except (qmp.QmpClosedError, ChannelError) as error:
            raise GoneError(str(error)) from error
