"""Sizes as people write and read them: powers of 1024, from B to E."""

import re

from memory_hotplug.errors import SizeSyntaxError, SizeTooLargeError

SUFFIXES = "BKMGTPE"

SIZE_LIMIT = 1 << 64

_SIZE = re.compile(
    r"[ \t\n\v\f\r]*\+?(?P<whole>0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
    r"(?:(?P<fraction>\.[0-9]*)?(?P<unit>[kmgtpezyKMGTPEZY])(?P<bytes>[iI]?[bB])?)?"
)
_UNITS = "KMGTPEZY"
_DIGITS = 64
"""More digits than this make no size; Python itself is slow to convert very many."""


def human(size: int) -> str:
    """SIZE, in bytes, in the largest unit of which there is at least one, with at most one decimal.

    Thousandths are cut off and tenths rounded half up, as util-linux does: 1.75 GiB is ``1.8G``.
    """
    exponent = min(max(size.bit_length() - 1, 0) // 10, len(SUFFIXES) - 1)
    whole, rest = divmod(size, 1 << 10 * exponent)
    thousandths = rest * 1000 >> 10 * exponent
    tenths = (thousandths + 50) // 100
    if tenths == 10:
        whole, tenths = whole + 1, 0
    return f"{whole}.{tenths}{SUFFIXES[exponent]}" if tenths else f"{whole}{SUFFIXES[exponent]}"


def parse_size(text: str) -> int:
    """The bytes that TEXT says; a number alone counts MiB.

    The number is decimal, hexadecimal (0x) or octal (0), with a fraction where a unit follows;
    a part of a byte is cut off. K, M, ... and KiB, MiB, ... are powers of 1024, KB, MB, ... of
    1000, in upper or lower case. Raises SizeSyntaxError, or SizeTooLargeError from 2**64 on.
    """
    found = _SIZE.fullmatch(text)
    if not found:
        raise SizeSyntaxError(text)
    whole, unit, fraction = found["whole"], found["unit"], (found["fraction"] or ".")[1:]
    if max(len(whole), len(fraction)) > _DIGITS:
        raise SizeTooLargeError(text)
    base = 8 if whole[0] == "0" and whole.isdigit() else 0
    decimal = len(found["bytes"] or "") == 1
    factor: int = (1000 if decimal else 1024) ** (_UNITS.index((unit or "M").upper()) + 1)
    size: int = int(whole, base) * factor + int(fraction or 0) * factor // 10 ** len(fraction)
    if size >= SIZE_LIMIT:
        raise SizeTooLargeError(text)
    return size
