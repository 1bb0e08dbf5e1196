"""Commands in a terminal, and what a person sees there."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pexpect
import pyte

from commands import SCRIPTS, starts_a_process

PATIENCE = 60
"""Seconds until a test gives up on something that should have appeared."""


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of a terminal, without what a person may have set for these commands."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    path = f"{SCRIPTS}:{os.environ['PATH']}"
    return kept | {"PATH": path, "TERM": "xterm-256color", **more}


class Terminal:
    """A program in a pseudo-terminal of a given size."""

    def __init__(
        self,
        *words: str | Path,
        columns: int = 80,
        lines: int = 40,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        starts_a_process()
        self.columns = columns
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.process: pexpect.spawn[bytes] = pexpect.spawn(
            str(SCRIPTS / str(words[0])),
            list(map(str, words[1:])),
            env=dict(environment or clean_environment()),
            dimensions=(lines, columns),
            timeout=PATIENCE,
        )

    def text(self) -> list[str]:
        """The lines of the screen, without blanks at their ends and without empty ones below."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def colours(self) -> set[str]:
        """The background colours on the screen."""
        return {cell.bg for row in self.screen.buffer.values() for cell in row.values()} - {
            "default"
        }

    def read_until(self, seen: Callable[[], bool]) -> None:
        """Take what is written until the screen satisfies; fails when it never does."""
        while not seen():
            try:
                self._feed(self.process.read_nonblocking(65536, timeout=PATIENCE))
            except (pexpect.EOF, pexpect.TIMEOUT) as error:
                shown = "\n".join(self.text())
                raise AssertionError(
                    f"{type(error).__name__}, and the screen shows:\n{shown}"
                ) from None

    def shows(self, text: str) -> Callable[[], bool]:
        return lambda: any(text in line for line in self.text())

    def finish(self) -> int:
        """Take the rest; the exit status, or 128 and the number of the signal that ended it."""
        while True:
            try:
                self._feed(self.process.read_nonblocking(65536, timeout=PATIENCE))
            except pexpect.EOF:
                break
        self.process.wait()
        self.process.close()
        if self.process.signalstatus is not None:
            return 128 + int(self.process.signalstatus)
        assert self.process.exitstatus is not None
        return int(self.process.exitstatus)

    def _feed(self, data: bytes) -> None:
        self.written += data
        self._stream.feed(data)


def see(*words: str | Path, columns: int = 80, **environment: str) -> Terminal:
    """A command that ends, in a terminal; its status must be 0."""
    terminal = Terminal(*words, columns=columns, environment=clean_environment(**environment))
    assert terminal.finish() == 0, terminal.text()
    return terminal
