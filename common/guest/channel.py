"""The host's side of the protocol with the agent; agent.py describes the messages."""

from __future__ import annotations

import json
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PATIENCE: Final = 300.0
"""How long the guest may take to answer, in seconds, even on a busy machine."""

ChannelMessage = dict[str, Any]


class ChannelError(Exception):
    """The guest does not answer, or has ended."""


class CallError(Exception):
    """A function that was called in the guest has failed; the text is its traceback."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a program: its status (128 + n for signal n; None if it was killed after its
    time) and its output, with a character for each byte that is not UTF-8."""

    status: int | None
    stdout: str
    stderr: str


class Channel:
    """A connection to the agent, for one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        self._last = 0
        self._waiting: dict[int, list[ChannelMessage]] = {}

    def fileno(self) -> int:
        """The descriptor for select()."""
        return self._socket.fileno()

    def ask(self, what: str, number: int | None = None, **request: Any) -> int:
        """Send a request; return its id, which is new unless it is given."""
        if number is None:
            self._last += 1
            number = self._last
        line = json.dumps({"do": what, "id": number, **request}).encode() + b"\n"
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.sendall(line)
        except OSError as error:
            raise ChannelError(f"the guest takes nothing ({error})") from error
        return number

    def receive(self, number: int, patience: float = PATIENCE) -> ChannelMessage:
        """The next message with this id. Raises TimeoutError after `patience` seconds, and
        ChannelError if the guest has ended."""
        end = time.monotonic() + patience
        while not self._waiting.get(number):
            self._read(max(0.0, end - time.monotonic()))
        return self._waiting[number].pop(0)

    def received(self, number: int) -> list[ChannelMessage]:
        """The messages with this id that have arrived, without waiting."""
        while select.select([self._socket], [], [], 0)[0]:
            self._read(PATIENCE)
        return self._waiting.pop(number, [])

    def _read(self, patience: float) -> None:
        """Wait for messages, and read them."""
        if not select.select([self._socket], [], [], patience)[0]:
            raise TimeoutError(f"the guest has said nothing for {patience:.0f} s")
        try:
            more = self._socket.recv(1 << 20)
        except OSError as error:
            raise ChannelError(str(error)) from error
        if not more:
            raise ChannelError("the guest is gone")
        *lines, self._buffer = (self._buffer + more).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self._waiting.setdefault(message["id"], []).append(message)

    def call(self, source: str, function: str, patience: float = PATIENCE, **arguments: Any) -> Any:
        """Call a function of a Python source in the guest; return its value. Raises CallError."""
        number = self.ask("call", source=source, function=function, arguments=arguments)
        answer = self.receive(number, patience)
        if "error" in answer:
            raise CallError(answer["error"])
        return answer["result"]

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Program:
        """Start a program in the guest; with (rows, columns) on a terminal of this size."""
        number = self.ask(
            "start",
            arguments=list(arguments),
            environment=dict(environment or {}),
            terminal=terminal,
        )
        return Program(self, number, self.receive(number)["pid"])


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs in the guest."""

    channel: Channel
    number: int
    pid: int

    def input(self, data: bytes | None) -> None:
        """Send input to the program; None is its end."""
        text = None if data is None else data.decode("latin-1")
        self.channel.ask("input", self.number, text=text)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of its terminal."""
        self.channel.ask("resize", self.number, rows=rows, columns=columns)

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        self.channel.ask("signal", self.number, signal=number)

    def finish(
        self, patience: float = PATIENCE, heard: Callable[[ChannelMessage], object] | None = None
    ) -> Ended:
        """Wait for its end. After `patience` seconds of the host's clock the program is killed.

        `heard` is called with each message.
        """
        written = {"out": "", "err": ""}
        end, killed = time.monotonic() + patience, False
        while True:
            try:
                message = self.channel.receive(
                    self.number, PATIENCE if killed else max(0.0, end - time.monotonic())
                )
            except TimeoutError:
                if killed:
                    raise ChannelError("the guest does not answer") from None
                self.signal(signal.SIGKILL)
                killed = True
                continue
            if heard is not None:
                heard(message)
            for name in written.keys() & message.keys():
                written[name] += message[name]
            if "status" in message:
                status = None if killed else message["status"]
                return Ended(status, *(_text(written[name]) for name in ("out", "err")))


def _text(latin: str) -> str:
    return latin.encode("latin-1").decode(errors="surrogateescape")
