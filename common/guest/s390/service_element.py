"""The service element of an LPAR, which answers the kernel's requests about storage.

A request is a service call: a command, and a control block of at most a page, the SCCB. The answer
is written into the SCCB. The layouts are from drivers/s390/char/sclp.h, sclp_early.c and sclp_mem.c
of Linux 6.19. This module does no input or output: it makes an SCCB from an SCCB.

Storage consists of increments of one size, which are numbered from 1; increment n begins at the
real address (n - 1) * size. An increment is assigned to the LPAR, or it is standby.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

MIB: Final = 1 << 20

READ_SCP_INFO: Final = frozenset({0x00020001, 0x00120001})
"""The commands that read facts about the machine; kernels first use the second, forced form."""

FACILITIES: Final = 0xE000 << 32
"""Read storage information, attach element, assign and unassign increment (sclp.h)."""

ENTRIES: Final = 1020
"""The maximum of increments in one element: an SCCB of a page has 16 bytes, then 4 for each."""

MAX_INCREMENTS: Final = 0xFFFF
"""In the SCCB of assign and unassign the number of an increment has 16 bits."""


class SclpCommand(IntEnum):
    """The commands about storage. Bits 8 to 15 are the number of an element, if it takes one."""

    READ_STORAGE_INFO = 0x00040001
    ATTACH = 0x00080001
    UNASSIGN = 0x000C0001
    ASSIGN = 0x000D0001


class Response(IntEnum):
    """Response codes. For sclp_mem.c 0x0020 and 0x0120 to assign and unassign are success."""

    STORAGE_ASSIGNED = 0x0010
    DONE = 0x0020
    ALREADY = 0x0120
    REFUSED = 0x0320
    NO_ELEMENT = 0x0310
    STORAGE_STANDBY = 0x0410


SUCCESSES: Final = frozenset({Response.DONE, Response.ALREADY})


class StorageChange(Enum):
    """A change of an increment, which can be refused."""

    ASSIGN = SclpCommand.ASSIGN
    UNASSIGN = SclpCommand.UNASSIGN


@dataclass(frozen=True, slots=True)
class Storage:
    """The storage of an LPAR before it boots."""

    increment: int
    """The size of an increment in bytes, whole MiB."""
    increments: int
    """The number of increments, assigned and standby."""
    assigned: frozenset[int]
    """The numbers of the increments that are assigned at boot."""
    listed: bool = True
    """Whether storage elements list the standby increments; else the kernel only knows how many."""
    spare: int | None = None
    """How many increments the hypervisor can assign besides those assigned at boot; None for all
    that are standby."""

    def __post_init__(self) -> None:
        """Raises ValueError for storage that no machine can have."""
        if self.increment < MIB or self.increment % MIB:
            raise ValueError(f"an increment is of whole MiB, not of {self.increment} bytes")
        if not 1 <= self.increments <= MAX_INCREMENTS:
            raise ValueError(f"there are 1 to {MAX_INCREMENTS} increments, not {self.increments}")
        if not self.assigned or not self.assigned <= set(range(1, self.increments + 1)):
            raise ValueError(f"assigned increments are some of 1 to {self.increments}")

    @property
    def size(self) -> int:
        """The size of all increments in bytes."""
        return self.increment * self.increments


@dataclass(frozen=True, slots=True)
class Refusal:
    """The hypervisor refuses with this response code, `times` times or (None) always."""

    code: int = Response.REFUSED
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A row of the log: a request about storage, and its response code."""

    command: SclpCommand
    number: int
    """The number of the increment or, for READ_STORAGE_INFO and ATTACH, of the element."""
    code: int

    def __str__(self) -> str:
        return f"{self.command.name} {self.number} -> {self.code:#06x}"


@dataclass(slots=True)
class ServiceElement:
    """The service element of one LPAR. It knows which increments are assigned."""

    storage: Storage
    assigned: set[int] = field(default_factory=set)
    refusals: dict[tuple[StorageChange, int], Refusal] = field(default_factory=dict)
    log: list[Answered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.assigned = self.assigned or set(self.storage.assigned)

    def refuse(
        self, change: StorageChange, increments: Iterable[int], refusal: Refusal | None = None
    ) -> None:
        """Refuse a change of these increments from now on."""
        self.refusals |= dict.fromkeys(((change, n) for n in increments), refusal or Refusal())

    def permit(self) -> None:
        """Remove all refusals."""
        self.refusals.clear()

    def answer(self, command: int, sccb: bytes) -> bytes | None:
        """The SCCB with the answer to a command; None for a command that is not about storage.

        `sccb` is the answer of QEMU. Most of it stays for READ_SCP_INFO; QEMU does not know the
        other commands.
        """
        if command in READ_SCP_INFO:
            return self._scp_info(sccb)
        number = command >> 8 & 0xFF
        try:
            known = SclpCommand(command & ~0xFF00)
        except ValueError:
            return None
        if known is SclpCommand.READ_STORAGE_INFO:
            return self._storage_info(number, sccb)
        if known is SclpCommand.ATTACH:
            return self._attach(number, sccb)
        return self._change(StorageChange(known), sccb)

    def _scp_info(self, sccb: bytes) -> bytes:
        """The answer with sizes and facilities; an error, as for a short SCCB, is unchanged."""
        (code,) = struct.unpack_from(">H", sccb, 6)
        if code != Response.STORAGE_ASSIGNED or len(sccb) < 112:
            return sccb
        out = bytearray(sccb)
        mib, count = self.storage.increment // MIB, self.storage.increments
        struct.pack_into(">HB", out, 8, count, mib if mib < 256 else 0)
        struct.pack_into(">IQ", out, 100, mib, count)
        (facilities,) = struct.unpack_from(">Q", out, 48)
        struct.pack_into(">Q", out, 48, facilities | FACILITIES)
        return bytes(out)

    def elements(self) -> list[tuple[Response, list[int]]]:
        """The storage elements, assigned ones first: each a response code and its increments."""
        every = range(1, self.storage.increments + 1)
        made = [(Response.STORAGE_ASSIGNED, part) for part in _parts(sorted(self.assigned))]
        if self.storage.listed:
            standby = [number for number in every if number not in self.assigned]
            made += [(Response.STORAGE_STANDBY, part) for part in _parts(standby)]
        return made

    def _storage_info(self, number: int, sccb: bytes) -> bytes:
        elements = self.elements()
        if number >= len(elements):
            return self._answered(SclpCommand.READ_STORAGE_INFO, number, Response.NO_ELEMENT, sccb)
        code, increments = elements[number]
        out = bytearray(self._answered(SclpCommand.READ_STORAGE_INFO, number, code, sccb))
        standby = self.storage.increments - len(self.assigned)
        struct.pack_into(">HHHH", out, 8, len(elements) - 1, len(increments), standby, 0)
        struct.pack_into(f">{len(increments)}I", out, 16, *(entry << 16 for entry in increments))
        return bytes(out)

    def _attach(self, number: int, sccb: bytes) -> bytes:
        """Answer ATTACH, which does not assign the increments of the element."""
        out = bytearray(self._answered(SclpCommand.ATTACH, number, Response.DONE, sccb))
        struct.pack_into(">HHHH", out, 8, 0, 0, 0, 0)
        return bytes(out)

    def _change(self, change: StorageChange, sccb: bytes) -> bytes:
        (number,) = struct.unpack_from(">H", sccb, 8)
        code = self._refused(change, number)
        if code in SUCCESSES:
            move = self.assigned.add if change is StorageChange.ASSIGN else self.assigned.discard
            move(number)
        return self._answered(change.value, number, code, sccb)

    def _refused(self, change: StorageChange, number: int) -> int:
        """The response code for a change of an increment, if it is refused."""
        refusal = self.refusals.get((change, number))
        if refusal is not None:
            if refusal.times is not None:
                self.refusals[change, number] = Refusal(refusal.code, refusal.times - 1)
                if refusal.times <= 1:
                    del self.refusals[change, number]
            return refusal.code
        if not 1 <= number <= self.storage.increments:
            return Response.REFUSED
        if (number in self.assigned) == (change is StorageChange.ASSIGN):
            return Response.ALREADY
        if change is StorageChange.ASSIGN and self._spent():
            return Response.REFUSED
        return Response.DONE

    def _spent(self) -> bool:
        """Whether the hypervisor has no increment left to assign."""
        if self.storage.spare is None:
            return False
        return len(self.assigned) >= len(self.storage.assigned) + self.storage.spare

    def _answered(self, command: SclpCommand, number: int, code: int, sccb: bytes) -> bytes:
        """Add a row to the log; return the SCCB with a response code."""
        self.log.append(Answered(command, number, code))
        return sccb[:6] + struct.pack(">H", code) + sccb[8:]


def _parts(increments: list[int]) -> Iterator[list[int]]:
    """The increments in parts that one element can list."""
    for start in range(0, len(increments), ENTRIES):
        yield increments[start : start + ENTRIES]
