"""Has the service element answer a guest's service calls.

The guest stops at every SERVC. QEMU executes it, answers "invalid command" in the SCCB where it
does not know the command, and makes the interrupt pending that announces the answer; then the
answer is rewritten before the guest runs on.

The decompressor makes service calls too: it asks which increments are assigned, so that the kernel
boots with those alone. Where its last jump leads, the kernel's own are looked for.
"""

from __future__ import annotations

import struct
from pathlib import Path

from lpar import servc
from lpar.gdb import Gdb, GdbError
from lpar.service_element import ServiceElement

SCCB_HEADER = 8
SCCB_MOST = 4096


class ServiceCalls:
    """The guest's side of the service element; `serve` runs in a thread of its own."""

    def __init__(
        self,
        gdb: Gdb,
        element: ServiceElement,
        image: bytes,
        scratch: Path,
        kernel: frozenset[int] = frozenset(),
    ) -> None:
        """`image` is the kernel's file. `kernel` is where its service calls are, once that is
        known: of a guest that goes on."""
        self.kernel = kernel
        """Addresses of the running kernel's SERVC instructions; none before it is entered."""
        self.stops = 0
        """How often the guest was stopped."""
        self.leaving = False
        """Set before the guest is stopped for good: the next stop is no service call."""
        self._gdb, self._element, self._image, self._scratch = gdb, element, image, scratch

    def serve(self) -> None:
        """Answer until the guest is stopped for good.

        GdbClosedError when QEMU ends, NoServiceCallError when the kernel turns out to have none.
        """
        if not self.kernel:
            self.kernel = self._find(self._through_decompressor())
        with self._gdb.breakpoints(self.kernel):
            while self._run_to_stop():
                self._answer(self._gdb.registers().address)

    def _run_to_stop(self) -> bool:
        """Let the guest run; whether it was stopped at a breakpoint, and not for good."""
        self._gdb.go()
        stop = self._gdb.wait()
        self.stops += 1
        if self.leaving:
            return False
        if stop[:1] not in ("T", "S"):
            raise GdbError(f"the guest did not stop but ended ({stop})")
        return True

    def _through_decompressor(self) -> int:
        """Answer the decompressor's calls; the address at which it enters the kernel."""
        calls, jumps = servc.service_calls(self._image), servc.jumps(self._image)
        with self._gdb.breakpoints(calls | jumps):
            while self._run_to_stop():
                address = self._gdb.registers().address
                if address not in jumps:
                    self._answer(address)
                    continue
                self._gdb.step()
                entry = self._gdb.registers().address
                if entry >= servc.IDENTITY:
                    return entry
        raise GdbError("the guest was stopped before its kernel was entered")

    def _find(self, entry: int) -> frozenset[int]:
        """Where the kernel's service calls are, once it is entered; NoServiceCallError."""
        start = entry & ~0xFFF  # the entry stands in the first page of the kernel's image
        file = self._scratch / "kernel.memory"
        said = self._gdb.save_memory(start, servc.KERNEL, file)
        if not file.exists():
            raise GdbError(f"QEMU did not save the kernel's memory at {start:#x}: {said}")
        try:
            return servc.service_calls(file.read_bytes(), start)
        finally:
            file.unlink()

    def _answer(self, address: int) -> None:
        """Execute the SERVC at which the guest stands, and rewrite what came of it."""
        general = self._gdb.registers().general
        registers = servc.operands(self._gdb.read(address, 4, physical=False))
        if registers is None:
            raise GdbError(f"the guest has no SERVC at {address:#x}, where one was found")
        command, sccb = (general[register] & 0xFFFFFFFF for register in registers)
        self._gdb.step()
        (length,) = struct.unpack_from(">H", self._gdb.read(sccb, SCCB_HEADER, physical=True))
        before = self._gdb.read(sccb, min(max(length, SCCB_HEADER), SCCB_MOST), physical=True)
        after = self._element.answer(command, before)
        if after is not None and after != before:
            self._gdb.write(sccb, after, physical=True)
