"""Sizes as people write and read them, with the units B, K, M, G, T, P and E."""

from memory_hotplug.checks import check_type, whole_number
from memory_hotplug.errors import SizeSyntaxError, SizeTooLargeError

__all__ = ["SIZE_LIMIT", "SUFFIXES", "human", "parse_size"]

SUFFIXES = "BKMGTPE"

SIZE_LIMIT = 1 << 64

_SIZE = (
    r"[ \t\n\v\f\r]*(?P<sign>\+?)(?P<whole>0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
    r"(?:(?P<fraction>\.[0-9]*)?(?P<unit>[kmgtpezyKMGTPEZY])(?P<bytes>[iI]?[bB])?)?"
)
_UNITS = "KMGTPEZY"
_DIGITS = 64
"""A number with more digits is refused: Python takes long to convert very many."""


def human(size: int) -> str:
    """SIZE, in bytes, as text with a unit and at most one decimal: 1.75 GiB is ``1.8G``.

    The unit is the largest that is not larger than SIZE. Like util-linux, cut the number off after
    three decimals, then round it half up to one.
    """
    size = whole_number("size", size)
    exponent = min(max(size.bit_length() - 1, 0) // 10, len(SUFFIXES) - 1)
    whole, rest = divmod(size, 1 << 10 * exponent)
    thousandths = rest * 1000 >> 10 * exponent
    tenths = (thousandths + 50) // 100
    if tenths == 10:
        whole, tenths = whole + 1, 0
    return f"{whole}.{tenths}{SUFFIXES[exponent]}" if tenths else f"{whole}{SUFFIXES[exponent]}"


def parse_size(text: str, *, plus: bool = False) -> int:
    """The size that TEXT says, in bytes; a number without a unit is a number of MiB.

    The number is decimal, hexadecimal (0x) or octal (0). A number with a unit may have a fraction;
    a fraction of a byte is cut off. K, M, ... and KiB, MiB, ... are powers of 1024, KB, MB, ...
    powers of 1000, in upper or lower case. Only with PLUS may a plus sign come first, as for
    util-linux's chmem: elsewhere it would look like so much more. Raises SizeSyntaxError, and
    SizeTooLargeError for 2**64 and more.
    """
    check_type("text", text, str)
    number, letter = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "M")
    if number.isascii() and number.isdigit() and number[0] != "0" and letter in _UNITS:
        # Most sizes are so plain that the module re, which takes long to import, is not needed.
        whole, fraction, base, factor = number, "", 10, _factor(letter)
    else:
        whole, fraction, base, factor = _parts(text, plus=plus)
    if max(len(whole), len(fraction)) > _DIGITS:
        raise SizeTooLargeError(text)
    size: int = int(whole, base) * factor + int(fraction or 0) * factor // 10 ** len(fraction)
    if size >= SIZE_LIMIT:
        raise SizeTooLargeError(text)
    return size


def _parts(text: str, *, plus: bool) -> tuple[str, str, int, int]:
    """The number, its fraction, its base and what it is multiplied by. Raises SizeSyntaxError."""
    import re

    found = re.fullmatch(_SIZE, text)
    if not found or (found["sign"] and not plus):
        raise SizeSyntaxError(text)
    whole = found["whole"]
    base = 8 if whole[0] == "0" and whole.isdigit() else 0
    factor = _factor((found["unit"] or "M").upper(), decimal=len(found["bytes"] or "") == 1)
    return whole, (found["fraction"] or ".")[1:], base, factor


def _factor(unit: str, *, decimal: bool = False) -> int:
    factor: int = (1000 if decimal else 1024) ** (_UNITS.index(unit) + 1)
    return factor
