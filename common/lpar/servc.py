"""Where a kernel makes service calls: the addresses of its SERVC instructions.

Only instructions on even addresses count. SERVC's opcode alone stands at hundreds of other places
of a kernel by chance, and QEMU runs each page with a breakpoint in it slowly. So what follows is
part of the pattern: the kernel's inline assembler (arch/s390/include/asm/sclp.h,
sclp_service_call) reads the condition code right after it.
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
"""Bytes at the start of an image that hold the decompressor's code; the payload may follow."""

KERNEL: Final = 32 << 20
"""Bytes from a kernel's entry on that hold its code."""

IDENTITY: Final = 1 << 32
"""The decompressor runs below this address; since 6.10 the kernel it enters runs above."""


class NoServiceCallError(Exception):
    """No SERVC was found where one must be: the kernel would quietly have no standby memory."""


def service_calls(code: bytes, start: int = 0) -> frozenset[int]:
    """Addresses of SERVC in code that stands at `start`; NoServiceCallError when it has none."""
    found = frozenset(start + at for at in _matches(_SERVC, code))
    if not found:
        raise NoServiceCallError(f"no SERVC instruction in the {len(code)} bytes at {start:#x}")
    return found


def jumps(image: bytes) -> frozenset[int]:
    """Addresses of LPSWE in a kernel image's decompressor: by one of them it enters the kernel.

    The image is loaded at 0, so that an offset in the file is an address.
    """
    return frozenset(_matches(_LPSWE, image[:DECOMPRESSOR]))


def operands(instruction: bytes) -> tuple[int, int] | None:
    """The registers of a SERVC's command and SCCB; None for another instruction."""
    if instruction[:2] != OPCODE:
        return None
    return instruction[3] >> 4, instruction[3] & 0xF


def _matches(pattern: re.Pattern[bytes], code: bytes) -> list[int]:
    return [match.start() for match in pattern.finditer(code) if match.start() % 2 == 0]
