"""Sizes as lsmem and chmem print and read them: with the decimal separator of the locale.

memory_hotplug.size has the rest; the library ignores the locale.
"""

import os
from functools import cache
from typing import TYPE_CHECKING

from memory_hotplug import size
from memory_hotplug.errors import SizeSyntaxError

if TYPE_CHECKING:
    from hotplug_cli.message import Wording

__all__ = ["alike", "binary", "decimal_point", "exact", "human", "parse", "rounded"]


@cache
def decimal_point() -> str:
    """The decimal separator by LC_ALL, LC_NUMERIC or LANG (setlocale(3)); else a dot."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_NUMERIC", "LANG"))
    if next(filter(None, names), "C") in ("C", "C.UTF-8", "C.utf8", "POSIX"):
        return "."
    # The module locale, which wraps this one, takes as long to import as lsmem takes to list a
    # small machine.
    import _locale

    try:
        _locale.setlocale(_locale.LC_NUMERIC, "")
    except _locale.Error:  # type: ignore[attr-defined]  # typeshed does not know it
        return "."
    return str(_locale.localeconv()["decimal_point"]) or "."


def rounded(bytes_: int) -> str:
    """The size in the largest unit that fits, with at most one decimal, rounded: ``4.3G``."""
    return size.human(bytes_).replace(".", decimal_point())


def human(bytes_: int) -> "Wording":
    """`rounded`, for a sentence, which knows the bytes as well."""
    return _worded(rounded(bytes_), bytes_)


def _worded(text: str, bytes_: int) -> "Wording":
    from hotplug_cli.message import Wording

    return Wording(text, bytes_)


def exact(bytes_: int) -> "Wording":
    """The size without rounding, which `parse` reads back: ``1280M``, and not ``1.3G``."""
    exponent = min(max(bytes_.bit_length() - 1, 0) // 10, len(size.SUFFIXES) - 1)
    if bytes_ * 10 % (1 << 10 * exponent) == 0:
        return human(bytes_)
    while bytes_ % (1 << 10 * exponent):
        exponent -= 1
    return _worded(f"{bytes_ >> 10 * exponent}{size.SUFFIXES[exponent]}", bytes_)


def alike(*sizes: int) -> "list[Wording]":
    """Sizes without rounding, in the largest unit in which all of them are whole."""
    exponent = len(size.SUFFIXES) - 1
    while any(bytes_ % (1 << 10 * exponent) for bytes_ in sizes):
        exponent -= 1
    suffix = size.SUFFIXES[exponent]
    return [_worded(f"{bytes_ >> 10 * exponent}{suffix}", bytes_) for bytes_ in sizes]


def binary(text: str) -> tuple[str, str] | None:
    """For a size in powers of 1000, ``8gb``, the same number in powers of 1024: as a person would
    type it, ``8g``, and in words, ``8 GiB``. None for any other text."""
    import re

    found = re.fullmatch(r"\s*\+?([0-9.,]+)([kmgtpezy])b", text, re.IGNORECASE)
    return (found[1] + found[2], f"{found[1]} {found[2].upper()}iB") if found else None


def parse(text: str, *, plus: bool = False) -> int:
    """The size of TEXT in bytes; see memory_hotplug.size.parse_size. Raises BadSizeError.

    Like util-linux, accept only the separator of the locale.
    """
    point = decimal_point()
    if point == ".":
        return size.parse_size(text, plus=plus)
    if "." in text:
        raise SizeSyntaxError(text)
    return size.parse_size(text.replace(point, "."), plus=plus)
