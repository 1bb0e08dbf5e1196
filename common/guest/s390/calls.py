"""Intercept the service calls of a guest, so that the service element answers them.

The guest stops at every SERVC. QEMU executes it, writes "invalid command" into the SCCB if it does
not know the command, and makes the interrupt pending that announces the answer. Then the answer is
rewritten, and the guest runs on.

The decompressor makes service calls, too: it asks which increments are assigned, so that the kernel
boots with those only. Its last jump leads to the kernel, which is then searched for its own calls.
"""

from __future__ import annotations

import struct
from pathlib import Path

from guest.s390 import servc
from guest.s390.gdb import Gdb, GdbError
from guest.s390.service_element import ServiceElement

SCCB_HEADER = 8
SCCB_MOST = 4096


class ServiceCalls:
    """Serves the service calls of a guest; `serve` runs in a thread of its own."""

    def __init__(
        self,
        gdb: Gdb,
        element: ServiceElement,
        image: bytes,
        scratch: Path,
        kernel: frozenset[int] = frozenset(),
    ) -> None:
        """`image` is the file of the kernel. `kernel` has the addresses of its service calls, if
        they are known: for a restored guest."""
        self.kernel = kernel
        """The addresses of the kernel's SERVC instructions; empty before the kernel is entered."""
        self.stops = 0
        """How often the guest was stopped."""
        self.leaving = False
        """Set before the guest is stopped for good: the next stop is not a service call."""
        self._gdb, self._element, self._image, self._scratch = gdb, element, image, scratch

    def serve(self) -> None:
        """Answer service calls until the guest is stopped for good.

        Raises GdbClosedError if QEMU ends, and NoServiceCallError if the kernel has none.
        """
        if not self.kernel:
            self.kernel = self._find(self._through_decompressor())
        with self._gdb.breakpoints(self.kernel):
            while self._run_to_stop():
                self._answer(self._gdb.registers().address)

    def _run_to_stop(self) -> bool:
        """Let the guest run until it stops; return whether it stopped at a breakpoint."""
        self._gdb.go()
        stop = self._gdb.wait()
        self.stops += 1
        if self.leaving:
            return False
        if stop[:1] not in ("T", "S"):
            raise GdbError(f"the guest did not stop but ended ({stop})")
        return True

    def _through_decompressor(self) -> int:
        """Answer the decompressor's calls; return the address at which it enters the kernel."""
        calls, jumps = servc.service_calls(self._image), servc.jumps(self._image)
        with self._gdb.breakpoints(calls | jumps):
            while self._run_to_stop():
                address = self._gdb.registers().address
                if address not in jumps:
                    self._answer(address)
                    continue
                entry = self._execute(address)
                if entry >= servc.IDENTITY:
                    return entry
        raise GdbError("the guest was stopped before its kernel was entered")

    def _find(self, entry: int) -> frozenset[int]:
        """The addresses of the kernel's service calls. Raises NoServiceCallError."""
        start = entry & ~0xFFF  # the entry stands in the first page of the kernel's image
        file = self._scratch / "kernel.memory"
        said = self._gdb.save_memory(start, servc.KERNEL, file)
        if not file.exists():
            raise GdbError(f"QEMU did not save the kernel's memory at {start:#x}: {said}")
        try:
            return servc.service_calls(file.read_bytes(), start)
        finally:
            file.unlink()

    def _execute(self, address: int) -> int:
        """Execute the instruction at which the guest stands; the address of the next one.

        Now and then QEMU stops after a step without having begun the instruction.
        """
        while True:
            self._gdb.step()
            next_address = self._gdb.registers().address
            if next_address != address:
                return next_address

    def _answer(self, address: int) -> None:
        """Execute the SERVC at which the guest stopped, and rewrite its answer."""
        general = self._gdb.registers().general
        registers = servc.operands(self._gdb.read(address, 4, physical=False))
        if registers is None:
            raise GdbError(f"the guest has no SERVC at {address:#x}, where one was found")
        command, sccb = (general[register] & 0xFFFFFFFF for register in registers)
        self._execute(address)
        (length,) = struct.unpack_from(">H", self._gdb.read(sccb, SCCB_HEADER, physical=True))
        before = self._gdb.read(sccb, min(max(length, SCCB_HEADER), SCCB_MOST), physical=True)
        after = self._element.answer(command, before)
        if after is not None and after != before:
            self._gdb.write(sccb, after, physical=True)
