"""All errors of the library. The text of an error is a short sentence without advice."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.block import Zone
    from memory_hotplug.causes import Cause

__all__ = [
    "BadBlockSizeError",
    "BadMachineError",
    "BadOrderError",
    "BadSizeError",
    "BlockError",
    "BrokenTreeError",
    "CannotWriteError",
    "HeldError",
    "InUseError",
    "LayoutError",
    "MemoryHotplugError",
    "NoBlockSizeError",
    "NoBlocksError",
    "NoMemoryTreeError",
    "NoRootError",
    "NoSuchBlockError",
    "NoUndoError",
    "NotReadError",
    "RefusedError",
    "SizeSyntaxError",
    "SizeTooLargeError",
    "StoppedError",
    "StuckError",
    "TooFewError",
    "UnknownNameError",
    "errno_name",
    "printable",
]


def errno_name(number: int) -> str | None:
    """The name of an error number, such as EBUSY; None if it is not known."""
    from safe_files.errno_names import name_of

    return name_of(number)


def printable(text: str) -> str:
    r"""TEXT with control characters and undecodable bytes as ``\xNN``, safe for a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in _bytes(character))
        for character in text
    )


def _bytes(character: str) -> bytes:
    """The bytes of a character; a surrogate may come from os.fsdecode, or not."""
    try:
        return character.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return character.encode(errors="surrogatepass")


class MemoryHotplugError(Exception):
    """The base of all errors of this library."""


class NoMemoryTreeError(MemoryHotplugError):
    """There is no /sys/devices/system/memory below the root, or it cannot be listed."""

    def __init__(self, root: str, error: OSError, *, is_this_machine: bool = False) -> None:
        self.root = root
        self.errno = error.errno
        self.reason = error.strerror or str(error)
        self.is_this_machine = is_this_machine
        """Whether the tree is that of the running kernel."""
        below = "" if is_this_machine else f" below {printable(root)}"
        super().__init__(f"cannot open /sys/devices/system/memory{below}: {self.reason}")


class NoRootError(NoMemoryTreeError):
    """The root is neither a directory nor an archive that can be opened."""

    def __init__(self, root: str, error: OSError) -> None:
        super().__init__(root, error)
        self.args = (f"cannot open {printable(root)}: {self.reason}",)


class BrokenTreeError(MemoryHotplugError):
    """A file or directory that is needed cannot be read, or has a value that no kernel writes."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        """Below the root, without a slash at its beginning."""
        self.reason = reason
        super().__init__(f"cannot read /{path}: {reason}")


class NoBlockSizeError(BrokenTreeError):
    """There is no block_size_bytes: a kernel without memory blocks."""

    def __init__(self, path: str) -> None:
        super().__init__(path, os.strerror(errno.ENOENT))


class BadBlockSizeError(BrokenTreeError):
    """block_size_bytes has FOUND, which is no size in hexadecimal."""

    def __init__(self, path: str, found: str) -> None:
        self.found = found
        super().__init__(path, f"no block size in hexadecimal, but {found}")


class UnknownNameError(MemoryHotplugError, LookupError):
    """The name of an attribute, a parameter, a profile or the like does not exist."""

    def __init__(self, kind: str, name: str, known: list[str] | None = None) -> None:
        self.name = name
        hint = f" (known: {', '.join(known)})" if known else ""
        super().__init__(f"unknown {kind}: {printable(name)}{hint}")


class BadSizeError(MemoryHotplugError, ValueError):
    """The text is not a size. REASON is the text that the C library has for this error."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"Failed to parse size: '{printable(text)}': {reason}")


class SizeSyntaxError(BadSizeError):
    """The text is not a number, or has an unknown unit."""

    def __init__(self, text: str) -> None:
        super().__init__(text, os.strerror(errno.EINVAL))


class SizeTooLargeError(BadSizeError):
    """The size is 2**64 bytes or more."""

    def __init__(self, text: str) -> None:
        super().__init__(text, os.strerror(errno.ERANGE))


class CannotWriteError(MemoryHotplugError):
    """The tree cannot be written to. Nothing was written."""

    OF_THE_WHOLE_TREE = (errno.EACCES, errno.EPERM, errno.EROFS)
    """If writing one attribute fails with one of these error numbers, nothing of the tree can be
    written."""

    def __init__(self, where: str, error: OSError) -> None:
        self.where = where
        self.errno = error.errno
        self.reason = error.strerror or str(error)
        super().__init__(f"cannot write to {printable(where)}: {self.reason}")


class RefusedError(MemoryHotplugError):
    """A change was not begun, because of CAUSE. Nothing was written."""

    def __init__(self, cause: Cause, text: str | None = None) -> None:
        self.cause = cause
        super().__init__(text or cause.value)


class InUseError(RefusedError):
    """More memory is to be set offline than can go, by what is in use; see `keep_free`."""

    def __init__(self, cause: Cause, *, asked: int, possible: int, used: int) -> None:
        self.asked = asked
        """Bytes, as are the others."""
        self.possible = possible
        """How much can be set offline; whole blocks."""
        self.used = used
        super().__init__(
            cause,
            f"{cause.value}: of {asked} bytes that are to be set offline, {possible} can go",
        )


class TooFewError(RefusedError):
    """There is less memory than is asked for, and all or nothing was to be changed."""

    def __init__(self, cause: Cause, *, asked: int, possible: int) -> None:
        self.asked = asked
        """Bytes, as is the other."""
        self.possible = possible
        super().__init__(cause, f"only {possible} of {asked} bytes can be changed")


class NoUndoError(MemoryHotplugError):
    """There is nothing that could be undone."""

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        self.damaged = damaged
        """Whether there is a record of the last change that nobody can read."""
        super().__init__(reason)


class StoppedError(MemoryHotplugError):
    """Raise this within a write to stop the work; see Watch."""

    def __init__(self) -> None:
        super().__init__("interrupted")


class BadOrderError(MemoryHotplugError, ValueError):
    """The fields of an order contradict each other."""


class NotReadError(MemoryHotplugError, ValueError):
    """Attributes are needed that were not read."""

    def __init__(self, attributes: Iterable[str], number: int | None = None) -> None:
        self.attributes = tuple(attributes)
        self.number = number
        """The number of the block; None for all blocks."""
        whose = "of the memory blocks" if number is None else f"of memory block {number}"
        super().__init__(f"{', '.join(self.attributes)} {whose} must be read before")


class BadMachineError(MemoryHotplugError, ValueError):
    """There is no built-in machine with this name, or a description is wrong."""


class LayoutError(MemoryHotplugError, ValueError):
    """A memory layout is wrong, or cannot be had on this machine. Nothing was changed."""

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        self.file = file
        self.line = line
        """From 1; None if it is not known, as in JSON."""
        self.reason = reason
        self.place = printable(file if line is None else f"{file}:{line}")
        super().__init__(f"{self.place}: {reason}")


class HeldError(MemoryHotplugError):
    """Another process was changing the machine for longer than the timeout, or this thread holds it
    already."""

    def __init__(self, pid: int | None, since: float | None) -> None:
        self.pid = pid
        """The number of the process; None if it is not known."""
        self.since = since
        """When that process began, in seconds since the epoch."""
        who = "another process" if pid is None else f"process {pid}"
        who = "this process" if pid == os.getpid() else who
        super().__init__(f"{who} is changing the memory of this machine")


class NoSuchBlockError(MemoryHotplugError, LookupError):
    """The machine has no memory block with that number."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"memory block {number} is not on this machine")


class BlockError(MemoryHotplugError):
    """The step at which changing a block failed, and the cause."""

    def __init__(
        self,
        number: int,
        step: str,
        cause: Cause,
        *,
        errno: int | None = None,
        zone: Zone | None = None,
        zones: tuple[Zone, ...] = (),
        where: str = "",
    ) -> None:
        self.number = number
        self.step = step
        self.cause = cause
        self.errno = errno
        """The kernel's error number; None if the kernel did not refuse a write."""
        self.zone = zone
        """The requested zone."""
        self.zones = zones
        """The zone that the block is in, or the zones that it can be set online in."""
        self.where = where
        """The file that was written to."""
        self.reason = os.strerror(errno) if errno else cause.value
        """What happened, in a few words."""
        super().__init__(f"memory block {number}: {step} failed: {self.reason}")

    @property
    def errno_name(self) -> str | None:
        """The error number's name, such as EBUSY."""
        return None if self.errno is None else errno_name(self.errno) or str(self.errno)


class StuckError(BlockError):
    """The change of a block could not be undone, because of CAUSED_BY."""

    def __init__(self, caused_by: BlockError) -> None:
        super().__init__(
            caused_by.number,
            caused_by.step,
            caused_by.cause,
            errno=caused_by.errno,
            zone=caused_by.zone,
            zones=caused_by.zones,
            where=caused_by.where,
        )


class NoBlocksError(MemoryHotplugError):
    """The tree can be listed, but has no memory blocks."""

    def __init__(self, root: str, *, is_this_machine: bool = False) -> None:
        self.root = root
        self.is_this_machine = is_this_machine
        below = "" if is_this_machine else f" below {printable(root)}"
        super().__init__(f"no memory blocks in /sys/devices/system/memory{below}")
