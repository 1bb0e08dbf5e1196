"""A booted guest: a real kernel in QEMU.

with Guest(line) as guest:
    guest.run(["lsmem"])
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from guest.channel import PATIENCE, Channel, ChannelError, Ended, Program
from guest.qemu import Qemu, QemuError

BOOT_SECONDS: Final = 600.0
"""How long a guest may take to boot, even on a busy machine; 15 seconds are usual."""


class GuestError(Exception):
    """The guest did not boot, or has ended; the text says why."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What QEMU is started with: a program and its arguments for the machine and the devices."""

    program: str
    arguments: tuple[str, ...]
    sockets: tuple[str, ...] = ()
    """The chardevs that are sockets, besides those for the agent and the monitor."""

    def boots(self, kernel: Path, initrd: Path | None, parameters: str) -> CommandLine:
        """The command line with a kernel to boot."""
        words = ["-kernel", str(kernel.absolute()), "-append", parameters]
        words += ["-initrd", str(initrd.absolute())] if initrd else []
        return CommandLine(self.program, (*self.arguments, *words), self.sockets)


class Guest:
    """A running guest; a context manager.

    A subclass that plays a part of the machine overrides `_play` and `_failed`.
    """

    def __init__(
        self, line: CommandLine, state: Path | None = None, directory: Path | None = None
    ) -> None:
        """Boot, or restore a guest of the same command line that was saved. Its sockets are in
        `directory`, or in one of its own.

        Raises GuestError if the agent does not answer.
        """
        begun = time.monotonic()
        try:
            self.qemu = Qemu(line.program, line.arguments, state, line.sockets, directory)
        except QemuError as error:
            raise GuestError(str(error)) from error
        self.release = ""
        """The release of the kernel, as uname has it, if this object has booted it."""
        try:
            self._play()
            self.channel = Channel(self.qemu.sockets["agent"])
            if state is None:
                self._wait_for_agent()
        except BaseException:
            self.close()
            raise
        self.seconds = time.monotonic() - begun
        """How long it took until the agent answered."""

    def _play(self) -> None:
        """Called when QEMU runs, before the agent is awaited."""

    def _failed(self) -> BaseException | None:
        """Why the guest has ended, if more is known than what QEMU says."""
        return None

    def _wait_for_agent(self) -> None:
        with self.answering():
            try:
                self.release = self.channel.receive(0, BOOT_SECONDS)["ready"]
            except TimeoutError:
                raise ChannelError(f"it did not boot in {BOOT_SECONDS:.0f} s") from None

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """A context that turns errors after the end of the guest into GuestError with the
        reason."""
        try:
            yield
        except (ChannelError, QemuError) as error:
            reason = self._failed() or error
            raise GuestError(f"{reason}; last output: {self.qemu.last_words()}") from reason

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the guest, and remove its files."""
        self.qemu.close()

    # Using the guest.

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        terminal: tuple[int, int] | None = None,
    ) -> Program:
        """Start a program as root; see `Channel.start`."""
        with self.answering():
            return self.channel.start(command, environment=environment, terminal=terminal)

    def run(
        self, command: Sequence[str] | str, *, stdin: str = "", patience: float = PATIENCE
    ) -> Ended:
        """Run a program, or a line of shell. It is killed after `patience` seconds."""
        words = ["sh", "-c", command] if isinstance(command, str) else command
        program = self.start(words)
        with self.answering():
            if stdin:
                program.input(stdin.encode(errors="surrogateescape"))
            program.input(None)
            return program.finish(patience)

    def call(self, source: str, function: str, **arguments: Any) -> Any:
        """Call a function of a Python source in the guest; return its value."""
        with self.answering():
            return self.channel.call(source, function, **arguments)

    def console(self) -> str:
        """The kernel's console since this process booted or restored the guest."""
        return self.qemu.console()

    def cpu_seconds(self) -> float:
        """The CPU time that QEMU has used."""
        return self.qemu.cpu_seconds()
