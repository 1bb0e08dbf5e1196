"""Find the SERVC instructions of a kernel, with which it makes service calls.

An instruction has an even address. The opcode of SERVC occurs by chance at hundreds of other
places, and QEMU is slow on each page with a breakpoint. So the pattern includes the next
instructions: the kernel's inline assembler (arch/s390/include/asm/sclp.h, sclp_service_call) reads
the condition code right after SERVC.
"""

from __future__ import annotations

import re
from typing import Final

OPCODE: Final = b"\xb2\x20"

_SERVC: Final = re.compile(
    rb"\xb2\x20\x00."  # servc command,sccb
    rb"(?:\xa7.\x00\x00)?"  # lhi exception,0 (since 6.14)
    rb"\xb2\x22\x00.",  # ipm condition
    re.DOTALL,
)
_LPSWE: Final = re.compile(rb"\xb2\xb2..", re.DOTALL)

DECOMPRESSOR: Final = 1 << 20
"""The bytes at the start of an image that can have the decompressor's code."""

KERNEL: Final = 32 << 20
"""The bytes from the entry of a kernel that can have its code."""

IDENTITY: Final = 1 << 32
"""The decompressor runs below this address; since Linux 6.10 the kernel runs above it."""


class NoServiceCallError(Exception):
    """No SERVC was found, so that the kernel would have no standby memory."""


def service_calls(code: bytes, start: int = 0) -> frozenset[int]:
    """The addresses of SERVC in code that is loaded at `start`. Raises NoServiceCallError."""
    found = frozenset(start + at for at in _matches(_SERVC, code))
    if not found:
        raise NoServiceCallError(
            f"no SERVC instruction in the {len(code)} bytes at {start:#x}: not a kernel for s390x,"
            " or one built otherwise"
        )
    return found


def jumps(image: bytes) -> frozenset[int]:
    """The addresses of LPSWE in the decompressor of a kernel image; one of them enters the kernel.

    The image is loaded at address 0, so an offset in the file is an address.
    """
    return frozenset(_matches(_LPSWE, image[:DECOMPRESSOR]))


def operands(instruction: bytes) -> tuple[int, int] | None:
    """The registers that SERVC takes its command and SCCB from; None for another instruction."""
    if instruction[:2] != OPCODE:
        return None
    return instruction[3] >> 4, instruction[3] & 0xF


def _matches(pattern: re.Pattern[bytes], code: bytes) -> list[int]:
    return [match.start() for match in pattern.finditer(code) if match.start() % 2 == 0]
