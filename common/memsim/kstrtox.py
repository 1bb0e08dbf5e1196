"""Parse the text of a write (lib/kstrtox.c, and sysfs_streq of lib/string_helpers.c)."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from typing import Final

from safe_files.errno_names import error_of

__all__ = ["boolean", "unsigned", "word"]


def word(text: str, words: Iterable[str]) -> str:
    """TEXT without one trailing newline (sysfs_streq). Raises EINVAL if it is none of WORDS."""
    found = text.removesuffix("\n")
    if found not in words:
        raise error_of(errno.EINVAL)
    return found


def boolean(text: str) -> bool:
    """The value that the first characters of a write have (kstrtobool); else EINVAL.

    `e` and `d`, for enable and disable, are accepted since Linux 6.6.
    """
    for length in (1, 2):
        if (value := _BOOLEANS.get(text[:length].lower())) is not None:
            return value
    raise error_of(errno.EINVAL)


def unsigned(text: str, bits: int = 32) -> int:
    """An unsigned number in any base that C knows (kstrtouint, kstrtoull), else EINVAL; more than
    so many bits: ERANGE."""
    match = _UNSIGNED.fullmatch(text)
    if not match or match.lastgroup is None:
        raise error_of(errno.EINVAL)
    number = int(match[match.lastgroup], {"hex": 16, "oct": 8, "dec": 10}[match.lastgroup])
    if number >= 1 << bits:
        raise error_of(errno.ERANGE)
    return number


_BOOLEANS: Final = dict.fromkeys(("y", "t", "1", "e", "on"), True) | dict.fromkeys(
    ("n", "f", "0", "d", "of"), False
)
_UNSIGNED: Final = re.compile(
    r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<oct>0[0-7]+)|(?P<dec>[1-9][0-9]*|0))\n?", re.ASCII
)
