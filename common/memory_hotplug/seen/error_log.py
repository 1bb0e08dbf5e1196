"""Addresses of memory that a log names: of the kernel, of mcelog, of rasdaemon.

Where Linux writes them: mm/memory-failure.c, drivers/ras/cec.c and include/ras/ras_event.h (page
frames); arch/x86/kernel/cpu/mce/core.c and mcelog (ADDR); drivers/edac/edac_mc.c (page and offset);
drivers/firmware/efi/cper.c and cper-arm.c (physical addresses); arch/powerpc/kernel/mce.c and
platforms/powernv/opal.c. A machine check of s390 names no address (arch/s390/kernel/nmi.c).
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["MOST", "Mentioned", "addresses_in"]

MOST = 100_000
"""So many addresses are kept; a log that names more is not one of broken memory."""


class Mentioned(NamedTuple):
    """An address that lines of a log name, for one kind of event."""

    address: int
    """Of a byte, or of the first byte of a page."""
    event: str
    """A word of EVENTS."""
    line: int
    """The number of the first of these lines, from 1."""
    times: int
    """How many lines there are."""


_REST = r".{0,500}?"
"""What is before the number of an event of a tracepoint. It has an end, because the text of a line
could name the event very often, and the rest of the line would be searched each time."""
_HEX = r"(?:0x)?([0-9a-f]{1,16})(?![\w:])"
_EVENTS = (
    (
        "memory-failure",
        r"(?:Memory failure:|[Ss]oft[ _]offline(?:_page)?:|MCE:?) 0x([0-9a-f]{1,16}): ",
        "page",
    ),
    ("memory-failure", rf"Injecting memory failure{_REST} pfn 0x([0-9a-f]{{1,16}})\b", "page"),
    ("memory-failure", rf"memory_failure_event:{_REST}\bpfn[ =:]+0x([0-9a-f]{{1,16}})\b", "page"),
    ("soft-offline", r"Soft-offlining pfn: 0x([0-9a-f]{1,16})\b", "page"),
    ("edac", r"\bpage:0x([0-9a-f]{1,16}) offset:0x([0-9a-f]{1,8})\b", "page"),
    ("edac", rf"\bmc_event:{_REST}\baddress: ?{_HEX}", "byte"),
    ("apei", rf"\bphysical(?:_| fault )address: {_HEX}", "byte"),
    ("cxl", rf"\bhpa[=:] ?{_HEX}", "byte"),
    ("mce", rf"\bADDR(?:/MISC(?:/SYND)?:)? {_HEX}", "byte"),
    ("mce", rf"\bhardware memory error in user-access at {_HEX}", "byte"),
    ("mce", rf"\bmce_record:{_REST}\baddr= ?{_HEX}", "byte"),
    ("mce", rf"\b(?:paddr|Physical address): +{_HEX}", "byte"),
)
"""Event -> what a line about it has, and whether the number is that of a page or of a byte."""
_PATTERNS = [(event, re.compile(text), unit == "page") for event, text, unit in _EVENTS]


def addresses_in(lines: Iterable[str], page_size: int) -> list[Mentioned]:
    """The addresses that LINES name, as they come first; each once for each kind of event.

    MOST of them, and one more where there are others.
    """
    found: dict[tuple[int, str], Mentioned] = {}
    for number, line in enumerate(lines, 1):
        for event, address in dict.fromkeys(_named(line, page_size)):
            before = found.get((address, event))
            if before is None and len(found) > MOST:
                continue
            before = before or Mentioned(address, event, number, 0)
            found[address, event] = before._replace(times=before.times + 1)
    return list(found.values())


def _named(line: str, page_size: int) -> Iterator[tuple[str, int]]:
    for event, pattern, is_page in _PATTERNS:
        for match in pattern.finditer(line):
            first, *offset = (int(digits, 16) for digits in match.groups())
            yield event, first * page_size + sum(offset) if is_page else first
