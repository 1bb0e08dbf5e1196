"""QEMU's monitor: commands, and the events that come beside their answers.

docs/interop/qmp-spec of QEMU describes the protocol.
"""

from __future__ import annotations

import json
import select
import socket
import time
from pathlib import Path
from typing import Any, Final, Self

from guest import sockets

__all__ = ["Monitor", "QmpClosedError", "QmpError", "QmpEvent", "connect"]

QmpEvent = dict[str, Any]

PATIENCE: Final = 60.0
"""How long QEMU may take to answer, in seconds, even on a busy machine."""


class QmpError(Exception):
    """QEMU refused a command; the text says why."""


class QmpClosedError(Exception):
    """QEMU has ended, or takes no more commands."""


class Monitor:
    """A connection to a monitor; a context manager, which closes it."""

    def __init__(self, connection: socket.socket) -> None:
        """Read the greeting of a new connection. Raises QmpClosedError."""
        self._socket = connection
        self._buffer = b""
        self._events: list[QmpEvent] = []
        self._next(PATIENCE)
        self.do("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _next(self, patience: float) -> dict[str, Any] | None:
        """The next message; None if there is none within so many seconds."""
        end = time.monotonic() + patience
        while b"\n" not in self._buffer:
            left = max(0.0, end - time.monotonic())
            try:
                if not select.select([self._socket], [], [], left)[0]:
                    return None
                more = self._socket.recv(1 << 16)
            except OSError:
                more = b""
            if not more:
                raise QmpClosedError
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def do(self, command: str, **arguments: Any) -> Any:
        """Carry out a command; underscores in the names of arguments stand for hyphens.

        Raises QmpError and QmpClosedError.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        line = json.dumps({"execute": command, "arguments": named}).encode() + b"\n"
        try:
            self._socket.sendall(line)
        except OSError:
            raise QmpClosedError from None
        while True:
            answer = self._next(PATIENCE)
            if answer is None:
                raise QmpClosedError
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise QmpError(f"QEMU refuses {command}: {answer['error']['desc']}")
            self._events.append(answer)

    def taken(self) -> list[QmpEvent]:
        """The events that came beside answers since the last call."""
        events, self._events = self._events, []
        return events

    def event(self, patience: float) -> QmpEvent | None:
        """The next event; None if there is none within so many seconds."""
        return self._events.pop(0) if self._events else self._next(patience)


def connect(path: Path) -> Monitor:
    """A connection to the monitor that listens on a socket. Raises OSError, QmpClosedError."""
    return Monitor(sockets.connection(path))
