"""A client for the GDB remote protocol of QEMU's stub, for an s390 with one CPU."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 120.0
"""How long QEMU may take to answer, in seconds, even on a busy machine."""

PIECE: Final = 1024
"""The bytes of memory in one packet; a packet of QEMU has at most 4096 characters."""


class GdbError(Exception):
    """QEMU's stub refused a command."""


class GdbClosedError(GdbError):
    """QEMU has closed the connection, as it does when it ends."""


@dataclass(frozen=True, slots=True)
class Registers:
    """The two halves of the PSW, and the general registers 0 to 15."""

    mask: int
    address: int
    general: tuple[int, ...]


class Gdb:
    """A connection to the stub. While the guest runs, only `wait` may be called."""

    def __init__(self, connection: socket.socket) -> None:
        """QEMU stops the guest when it connects."""
        self._socket = connection
        self._buffer = b""
        self._physical: bool | None = None
        self.ask("qSupported")

    # Packets.

    def ask(self, text: str) -> str:
        """Send a packet; return the answer. Raises GdbClosedError if QEMU has ended."""
        self._send(text)
        answer = self._receive(PATIENCE)
        if answer[:1] in ("W", "X"):
            # It says so where the guest has just ended by itself, whatever it was asked.
            raise GdbClosedError("QEMU has ended")
        return answer

    def _send(self, text: str) -> None:
        data = text.encode()
        try:
            self._socket.sendall(b"$%b#%02x" % (data, sum(data) & 0xFF))
        except OSError as error:
            raise GdbClosedError(str(error)) from error

    def _receive(self, patience: float | None) -> str:
        """The next packet; acknowledgements are skipped."""
        self._socket.settimeout(patience)
        while True:
            _, begun, rest = self._buffer.partition(b"$")
            packet, ended, checksum = rest.partition(b"#")
            if begun and ended and len(checksum) >= 2:
                self._buffer = checksum[2:]
                self._socket.sendall(b"+")
                return packet.decode("latin-1")
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                raise GdbError(f"QEMU's gdb stub has not answered for {patience} s") from None
            except OSError as error:
                raise GdbClosedError(str(error)) from error
            if not more:
                raise GdbClosedError("QEMU has ended")
            self._buffer += more

    def _done(self, text: str, what: str) -> None:
        answer = self.ask(text)
        if answer != "OK":
            raise GdbError(f"QEMU's gdb stub: {what}: {answer or 'not known'}")

    # Registers and memory.

    def registers(self) -> Registers:
        """The registers of the stopped guest."""
        answer = self.ask("g")
        mask, address, *general = struct.unpack(">18Q", bytes.fromhex(answer[: 18 * 16]))
        return Registers(mask, address, tuple(general))

    def _choose(self, physical: bool) -> None:
        """Choose real addresses, or addresses that go through the guest's page tables."""
        if self._physical is not physical:
            self._done(f"Qqemu.PhyMemMode:{physical:d}", "physical addresses")
            self._physical = physical

    def read(self, address: int, size: int, *, physical: bool) -> bytes:
        """Read memory. Raises GdbError where there is none."""
        self._choose(physical)
        data = b""
        while len(data) < size:
            answer = self.ask(f"m{address + len(data):x},{min(PIECE, size - len(data)):x}")
            if answer.startswith("E"):
                raise GdbError(f"no memory to read at {address + len(data):#x}")
            data += bytes.fromhex(answer)
        return data

    def write(self, address: int, data: bytes, *, physical: bool) -> None:
        """Write to memory. Raises GdbError where there is none."""
        self._choose(physical)
        for at in range(0, len(data), PIECE):
            part = data[at : at + PIECE]
            self._done(f"M{address + at:x},{len(part):x}:{part.hex()}", f"write {address + at:#x}")

    def save_memory(self, address: int, size: int, path: Path) -> str:
        """Have QEMU write the guest's virtual memory to a file, up to its first hole. Returns
        QEMU's message, which does not matter if the file exists."""
        command = f'memsave {address:#x} {size} "{path}"'
        said = []
        answer = self.ask(f"qRcmd,{command.encode().hex()}")
        while answer.startswith("O") and answer != "OK":
            said.append(bytes.fromhex(answer[1:]).decode(errors="replace"))
            answer = self._receive(PATIENCE)
        return "".join(said).strip()

    # Execution.

    @contextlib.contextmanager
    def breakpoints(self, addresses: frozenset[int]) -> Iterator[None]:
        """A context in which the guest stops before the instructions at these virtual addresses."""
        for address in addresses:
            self._done(f"Z0,{address:x},2", f"breakpoint at {address:#x}")
        yield
        for address in addresses:
            self._done(f"z0,{address:x},2", f"breakpoint at {address:#x}")

    def step(self) -> None:
        """Execute one instruction; QEMU delivers interrupts with the next one."""
        self.ask("s")

    def go(self) -> None:
        """Let the guest run."""
        self._send("c")

    def wait(self) -> str:
        """Wait without limit until the guest stops. Raises GdbClosedError if QEMU ends."""
        return self._receive(None)
