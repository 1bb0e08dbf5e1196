"""A booted LPAR: a guest whose service element is played on QEMU's gdb stub.

    with Lpar(partition, kernel, initrd) as lpar:
        lpar.run(["lsmem"])

A guest can be saved, which ends it. Then it can be restored any number of times.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from guest.arch import ARCHES
from guest.machine import CommandLine, Guest, GuestError
from guest.qemu import QemuError
from guest.s390.calls import ServiceCalls
from guest.s390.gdb import Gdb, GdbClosedError, GdbError
from guest.s390.parameters import Partition
from guest.s390.servc import NoServiceCallError
from guest.s390.service_element import ServiceElement

ARCH: Final = ARCHES["s390x"]

CONSOLE: Final = "console=hvc0 panic=-1"

SETTLE_SECONDS: Final = 120.0

_ENABLED_WAIT: Final = 0x0302 << 48
"""Bits of the PSW: I/O and external interrupts are enabled, and the CPU waits for one."""


class Lpar(Guest):
    """A running LPAR."""

    def __init__(
        self,
        partition: Partition,
        kernel: Path,
        initrd: Path | None,
        state: Path | None = None,
        directory: Path | None = None,
    ) -> None:
        """Boot a kernel with a file system, or restore a guest of the same partition and kernel
        that `save` has written.

        Raises GuestError if the agent does not answer.
        """
        self.partition, self.kernel, self.state = partition, kernel, state
        self.element = ServiceElement(partition.storage)
        for change, number, refusal in partition.refusals:
            self.element.refuse(change, [number], refusal)
        self._known: frozenset[int] = frozenset()
        if state is not None:
            record = json.loads(state.with_suffix(".json").read_text())
            self._known = frozenset(record["service_calls"])
            self.element.assigned = set(record["assigned"])
        self._failure: BaseException | None = None
        line = CommandLine(ARCH.program, tuple(_machine(partition.storage.size)), ("gdb",))
        parameters = " ".join((CONSOLE, *partition.parameters))
        super().__init__(line.boots(kernel, initrd, parameters), state, directory)

    def _play(self) -> None:
        gdb = Gdb(self.qemu.sockets["gdb"])
        image = b"" if self._known else self.kernel.read_bytes()
        self._calls = ServiceCalls(gdb, self.element, image, self.qemu.directory, self._known)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """The thread of the service element. If it fails, it ends the guest, which would wait for
        an answer forever, or have no standby memory."""
        try:
            self._calls.serve()
        except GdbClosedError:
            return
        except (GdbError, NoServiceCallError, OSError) as error:
            self._failure = error
            self.qemu.kill()

    def _failed(self) -> BaseException | None:
        self._thread.join(5)
        return self._failure

    def _wait_for_agent(self) -> None:
        super()._wait_for_agent()
        if not self._calls.kernel:
            raise GuestError("the kernel was not seen to be entered: no service call was played")

    def save(self, path: Path) -> None:
        """Write the guest's state to a file, with more facts in a file .json beside it; then end
        the guest. Raises GuestError."""
        record = {
            "service_calls": sorted(self._calls.kernel),
            "assigned": sorted(self.element.assigned),
        }
        with self.answering():
            self._settle()
            self._calls.leaving = True
            self.qemu.qmp("stop")
            path.with_suffix(".json").write_text(json.dumps(record))
            self.qemu.write_state(path)
        self.close()

    def _settle(self) -> None:
        """Wait until the guest's CPU is idle and no interrupt is pending.

        QEMU does not save a pending interrupt (hw/intc/s390_flic.c). A device whose interrupt is
        lost never sends another one.
        """
        idle, end = 0, time.monotonic() + SETTLE_SECONDS
        while idle < 4:
            time.sleep(0.05)
            words = self.qemu.qmp("human-monitor-command", command_line="info registers").split()
            mask = int(words[words.index("PSW=mask") + 1], 16)
            idle = idle + 1 if mask & _ENABLED_WAIT == _ENABLED_WAIT else 0
            if time.monotonic() > end:
                raise QemuError(f"the guest has not been idle for {SETTLE_SECONDS:.0f} s")

    @property
    def stops(self) -> int:
        """How often the guest was stopped for a service call."""
        return self._calls.stops


def _machine(memory: int) -> Iterator[str]:
    """Arguments for an s390 with one CPU, all the memory it may get, and only two consoles.

    `memory` is the size of all increments, assigned or not, in bytes. The guest is stopped before
    its first instruction, or where it was saved.
    """
    size = f"{memory >> 20}M"
    yield from ("-M", f"{ARCH.machine},memory-backend=ram", "-cpu", ARCH.cpu, "-accel", "tcg")
    yield from ("-smp", "1", "-m", size)
    # Memory is not reserved: a guest may have more standby memory than this machine has.
    yield from ("-object", f"memory-backend-ram,id=ram,size={size},reserve=off")
    yield from ("-S", "-gdb", "chardev:gdb")
    yield from ARCH.consoles()
