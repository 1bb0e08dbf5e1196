"""Error numbers: their names, also those that Python may lack, and the errors of system calls."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["EHWPOISON", "error_of", "name_of", "number_of"]

EHWPOISON: Final = 133
"""include/uapi/asm-generic/errno.h; Python has it since 3.14."""


def name_of(number: int) -> str | None:
    """The name of an error number, such as EBUSY; None if it is not known."""
    return "EHWPOISON" if number == EHWPOISON else errno.errorcode.get(number)


def number_of(name: str) -> int | None:
    """The error number of a name; None if it has none."""
    number = EHWPOISON if name == "EHWPOISON" else getattr(errno, name, None)
    return number if isinstance(number, int) else None


def error_of(number: int, path: str | None = None) -> OSError:
    """The error that a system call ends with, about PATH if there is one."""
    return OSError(number, os.strerror(number), path)
