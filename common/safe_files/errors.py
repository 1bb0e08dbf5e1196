"""The error about something else in the place of a file or directory. It can be pickled."""

from __future__ import annotations

import errno

__all__ = ["IrregularError"]


class IrregularError(OSError):
    """Something else is in the place of a file or directory."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        number = errno.ENOTDIR if expected == "a directory" else errno.ENXIO
        number = errno.ELOOP if found == "a symbolic link" else number
        super().__init__(number, f"expected {expected}, not {found}", path)
        self.expected, self.found = expected, found

    def __reduce__(self) -> tuple[type[IrregularError], tuple[str, str, str]]:
        return type(self), (str(self.filename), self.expected, self.found)
