"""The host's side of the agent's protocol (agent.py says what the messages are)."""

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
"""Seconds that the guest may keep silent, on a busy machine too."""

Message = dict[str, Any]


class ChannelError(Exception):
    """The guest does not answer, or is gone."""


class CallError(Exception):
    """A function that was called in the guest has failed; its traceback is the text."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a program left: status (128 + n for signal n; None when its time was up and it was
    killed) and what it wrote, a character for each byte that is not UTF-8."""

    status: int | None
    stdout: str
    stderr: str


class Channel:
    """A connection to the agent. Used by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        self._last = 0
        self._waiting: dict[int, list[Message]] = {}

    def fileno(self) -> int:
        """For select: something may have come."""
        return self._socket.fileno()

    def ask(self, what: str, number: int | None = None, **request: Any) -> int:
        """Send a request; its number, which is a new one unless it is given."""
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

    def receive(self, number: int, patience: float = PATIENCE) -> Message:
        """The next message with that number; TimeoutError after `patience` seconds, ChannelError
        when the guest is gone."""
        end = time.monotonic() + patience
        while not self._waiting.get(number):
            self._read(max(0.0, end - time.monotonic()))
        return self._waiting[number].pop(0)

    def received(self, number: int) -> list[Message]:
        """The messages with that number that are here, after waiting for nothing."""
        while select.select([self._socket], [], [], 0)[0]:
            self._read(PATIENCE)
        return self._waiting.pop(number, [])

    def _read(self, patience: float) -> None:
        """Take in what comes, waiting for it."""
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
        """What a function of a Python source returns in the guest; CallError when it fails."""
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
        """Start a program in the guest, on a terminal of (rows, columns) where that is given."""
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
        """Give it input, or (None) the end of it."""
        text = None if data is None else data.decode("latin-1")
        self.channel.ask("input", self.number, text=text)

    def resize(self, rows: int, columns: int) -> None:
        """Tell its terminal another size."""
        self.channel.ask("resize", self.number, rows=rows, columns=columns)

    def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        self.channel.ask("signal", self.number, signal=number)

    def finish(
        self, patience: float = PATIENCE, heard: Callable[[Message], object] | None = None
    ) -> Result:
        """Wait for its end; killed after `patience` seconds, which the host's clock counts.

        `heard` is given each message as it comes.
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
                return Result(status, *(_text(written[name]) for name in ("out", "err")))


def _text(latin: str) -> str:
    return latin.encode("latin-1").decode(errors="surrogateescape")
