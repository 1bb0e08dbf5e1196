"""A booted LPAR: a real kernel in QEMU with a simulated service element.

    with Lpar(partition, kernel, initrd) as lpar:
        lpar.run(["lsmem"])

A guest can be saved, which ends it. Then it can be restored any number of times.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from lpar.calls import ServiceCalls
from lpar.channel import PATIENCE, Channel, ChannelError, Ended, Program
from lpar.gdb import Gdb, GdbClosedError, GdbError
from lpar.parameters import Partition
from lpar.qemu import Qemu, QemuError
from lpar.servc import NoServiceCallError
from lpar.service_element import ServiceElement

BOOT_SECONDS: Final = 600.0
"""How long a guest may take to boot, even on a busy machine; 15 seconds are usual."""

CONSOLE: Final = "console=hvc0 panic=-1"


class LparError(Exception):
    """The LPAR did not boot, or has ended; the text says why."""


class Lpar:
    """A running guest; a context manager."""

    def __init__(
        self, partition: Partition, kernel: Path, initrd: Path | None, state: Path | None = None
    ) -> None:
        """Boot a kernel with a file system, or restore a guest of the same partition and kernel
        that `save` has written.

        Raises LparError if the agent does not answer.
        """
        begun = time.monotonic()
        self.partition, self.kernel, self.state = partition, kernel, state
        self.element = ServiceElement(partition.storage)
        for change, number, refusal in partition.refusals:
            self.element.refuse(change, [number], refusal)
        known: frozenset[int] = frozenset()
        if state is not None:
            record = json.loads(state.with_suffix(".json").read_text())
            known = frozenset(record["service_calls"])
            self.element.assigned = set(record["assigned"])
        self._failure: BaseException | None = None
        try:
            self._qemu = Qemu(
                partition.storage.size,
                kernel,
                initrd,
                " ".join((CONSOLE, *partition.parameters)),
                state,
            )
        except QemuError as error:
            raise LparError(str(error)) from error
        try:
            gdb = Gdb(self._qemu.gdb)
            image = b"" if known else kernel.read_bytes()
            self._calls = ServiceCalls(gdb, self.element, image, self._qemu.directory, known)
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
            self.channel = Channel(self._qemu.agent)
            if state is None:
                self._wait_for_agent()
        except BaseException:
            self.close()
            raise
        self.seconds = time.monotonic() - begun
        """How long it took until the agent answered."""

    def _serve(self) -> None:
        """The thread of the service element. If it fails, it ends the guest, which would wait for
        an answer forever, or have no standby memory."""
        try:
            self._calls.serve()
        except GdbClosedError:
            return
        except (GdbError, NoServiceCallError, OSError) as error:
            self._failure = error
            self._qemu.kill()

    def _wait_for_agent(self) -> None:
        with self.answering():
            try:
                self.channel.receive(0, BOOT_SECONDS)
            except TimeoutError:
                raise ChannelError(f"it did not boot in {BOOT_SECONDS:.0f} s") from None
        if not self._calls.kernel:
            raise LparError("the kernel was not seen to be entered: no service call was played")

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """A context that turns errors after the end of the guest into LparError with the reason."""
        try:
            yield
        except (ChannelError, QemuError) as error:
            self._thread.join(5)
            reason = self._failure or error
            raise LparError(f"{reason}; last output: {self._qemu.last_words()}") from reason

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the guest, and remove its files."""
        self._qemu.close()

    def save(self, path: Path) -> None:
        """Write the guest's state to a file, with more facts in a file .json beside it; then end
        the guest. Raises LparError."""
        record = {
            "service_calls": sorted(self._calls.kernel),
            "assigned": sorted(self.element.assigned),
        }
        with self.answering():
            self._qemu.settle()
            self._calls.leaving = True
            self._qemu.qmp("stop")
            path.with_suffix(".json").write_text(json.dumps(record))
            self._qemu.write_state(path)
        self.close()

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
        return self._qemu.console()

    @property
    def stops(self) -> int:
        """How often the guest was stopped for a service call."""
        return self._calls.stops

    def cpu_seconds(self) -> float:
        """The CPU time that QEMU has used."""
        return self._qemu.cpu_seconds()
