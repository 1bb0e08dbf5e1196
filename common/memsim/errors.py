"""The errors of memsim, with the fields of which the command line makes its messages.

`str` of an error is one short sentence without advice. Errors can be pickled, so that they can
cross a fork.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable
from enum import Enum

__all__ = [
    "DamagedError",
    "MachineError",
    "MountError",
    "NamespaceError",
    "NoBlocksError",
    "NoParentError",
    "NotACaptureError",
    "Obstacle",
    "UnknownProfileError",
    "shortened",
    "wrong",
]


class MachineError(ValueError):
    """A description or record is wrong: the value at `where` is not the `expected` one."""

    def __init__(self, where: str, expected: str, found: str) -> None:
        """FOUND continues the sentence: "not 3", or "but it is missing"."""
        super().__init__(where, expected, found)
        self.where, self.expected, self.found = where, expected, found

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, {self.found}"


def wrong(where: str, expected: str, value: object) -> MachineError:
    """The error for a value that is not what was expected at this place."""
    try:
        shown = json.dumps(value, default=str)
    except (RecursionError, ValueError):
        shown = "something deep"
    return MachineError(where, expected, f"not {shortened(shown)}")


def shortened(text: str) -> str:
    """TEXT, or its beginning if it is too long for a message."""
    return text if len(text) < 80 else text[:76] + " ..."


class UnknownProfileError(MachineError):
    """No built-in machine has this name."""

    def __init__(self, name: str, profiles: Iterable[str]) -> None:
        self.name, self.profiles = name, tuple(profiles)
        super().__init__("profile", f"one of {', '.join(self.profiles)}", f"not {name}")

    def __reduce__(self) -> tuple[type[UnknownProfileError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.name, self.profiles)


class _MissingError(FileNotFoundError):
    """A path lacks something; `filename2` is the directory that is missing."""

    reason: str

    def __init__(self, path: str, missing: str) -> None:
        super().__init__(errno.ENOENT, self.reason, path, None, missing)

    def __reduce__(self) -> tuple[type[_MissingError], tuple[str, str]]:
        return type(self), (str(self.filename), str(self.filename2))


class NoParentError(_MissingError):
    """There is no directory to make a machine in."""

    reason = "there is no directory above it"


class NoBlocksError(_MissingError):
    """A tree has no memory blocks."""

    reason = "no memory blocks here"


class NotACaptureError(OSError):
    """A file is no archive that `capture` made, or not all of one."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EINVAL, "not an archive that memsim capture made", path)

    def __reduce__(self) -> tuple[type[NotACaptureError], tuple[str]]:
        return type(self), (str(self.filename),)


class DamagedError(OSError):
    """A record in `.memsim` is damaged; the tree can still be read.

    `record` is the path of the file in the machine's directory, `reason` what is wrong with it.
    """

    def __init__(self, root: str, record: str, reason: str) -> None:
        text = f"the simulated machine's records are damaged ({record}: {reason}), so it can only"
        super().__init__(errno.EROFS, f"{text} be read", root)
        self.record, self.reason = record, reason

    def __reduce__(self) -> tuple[type[DamagedError], tuple[str, str, str]]:
        return type(self), (str(self.filename), self.record, self.reason)


class Obstacle(Enum):
    """The reason why a mount fails."""

    NO_MFUSEPY = "mfusepy is not installed"
    NO_LIBFUSE = "libfuse 3 is not installed"
    NO_DEVICE = "there is no /dev/fuse"
    DENIED = "/dev/fuse may not be opened"
    NOT_A_DIRECTORY = "the mount point is no directory"
    ITSELF = "the mount point is the machine's own directory"
    OCCUPIED = "something is mounted there"
    FAILED = "the file system could not be mounted"


class MountError(Exception):
    """A machine cannot be mounted."""

    def __init__(self, obstacle: Obstacle, mountpoint: str = "") -> None:
        super().__init__(obstacle, mountpoint)
        self.obstacle, self.mountpoint = obstacle, mountpoint

    def __str__(self) -> str:
        return f"{self.mountpoint}: {self.obstacle.value}".removeprefix(": ")


class NamespaceError(Exception):
    """A mount namespace cannot be made here; `reason` is the kernel's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
