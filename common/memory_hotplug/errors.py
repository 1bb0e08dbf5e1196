"""Every error a caller can meet, each with the sentence a person reads."""

import errno
import os
from collections.abc import Iterable

from memory_hotplug.block import Zone
from memory_hotplug.causes import Cause

__all__ = [
    "BadMachineError",
    "BadOrderError",
    "BadSizeError",
    "BlockError",
    "BrokenTreeError",
    "CannotWriteError",
    "HeldError",
    "MemoryHotplugError",
    "NoBlocksError",
    "NoMemoryTreeError",
    "NoSuchBlockError",
    "NotReadError",
    "SizeSyntaxError",
    "SizeTooLargeError",
    "StoppedError",
    "StuckError",
    "UnknownNameError",
    "printable",
]


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
    """The bytes that a character stands for; a surrogate may be one of os.fsdecode's, or not."""
    try:
        return character.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return character.encode(errors="surrogatepass")


class MemoryHotplugError(Exception):
    """Base of all errors of this library; str() of it is one sentence for a person."""


class NoMemoryTreeError(MemoryHotplugError):
    """Below the root there is no /sys/devices/system/memory that could be listed."""

    def __init__(self, root: str, reason: str) -> None:
        self.root = root
        where = "" if root == "/" else f" below {printable(root)}"
        super().__init__(
            f"cannot open /sys/devices/system/memory{where}: {reason}"
            " (a kernel without memory hotplug or a container can be the cause;"
            " try --sysroot with a captured tree, or a simulated machine made by memsim)"
        )


class BrokenTreeError(MemoryHotplugError):
    """The tree exists, but holds something no kernel writes and no listing can do without."""


class UnknownNameError(MemoryHotplugError, LookupError):
    """A name (of a column, a zone, a profile, ...) that is not among the known ones."""

    def __init__(self, kind: str, name: str, known: list[str] | None = None) -> None:
        self.name = name
        hint = f" (known: {', '.join(known)})" if known else ""
        super().__init__(f"unknown {kind}: {printable(name)}{hint}")


class BadSizeError(MemoryHotplugError, ValueError):
    """A text that gives no size; REASON is the C library's for the same."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"Failed to parse size: '{printable(text)}': {reason}")


class SizeSyntaxError(BadSizeError):
    """Not a number, or an unknown unit."""

    def __init__(self, text: str) -> None:
        super().__init__(text, os.strerror(errno.EINVAL))


class SizeTooLargeError(BadSizeError):
    """2**64 bytes or more."""

    def __init__(self, text: str) -> None:
        super().__init__(text, os.strerror(errno.ERANGE))


class CannotWriteError(MemoryHotplugError):
    """The tree cannot be written to; found out before anything was tried."""

    OF_THE_WHOLE_TREE = (errno.EACCES, errno.EPERM, errno.EROFS)
    """Errors at one attribute that are no different at any other."""

    def __init__(self, where: str, error: OSError) -> None:
        self.where = where
        self.errno = error.errno
        self.reason = error.strerror or str(error)
        super().__init__(f"cannot write to {printable(where)}: {self.reason}")


class StoppedError(MemoryHotplugError):
    """Raised into a write under way by whoever wants the work to stop."""

    def __init__(self) -> None:
        super().__init__("interrupted")


class BadOrderError(MemoryHotplugError, ValueError):
    """What is asked for contradicts itself."""


class NotReadError(MemoryHotplugError, ValueError):
    """Attributes were asked for that had not been read."""

    def __init__(self, attributes: Iterable[str], number: int | None = None) -> None:
        self.attributes = tuple(attributes)
        self.number = number
        """The block, where it is a certain one."""
        whose = "of the memory blocks" if number is None else f"of memory block {number}"
        super().__init__(f"{', '.join(self.attributes)} {whose} must be read before")


class BadMachineError(MemoryHotplugError, ValueError):
    """There is no simulated machine of that name, or its description is wrong."""


class HeldError(MemoryHotplugError):
    """Somebody else was changing the machine for longer than was to be waited."""

    def __init__(self, pid: int | None, since: float | None) -> None:
        self.pid = pid
        """The process, or None where nothing tells."""
        self.since = since
        """When that process began, in seconds since the epoch."""
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{who} is changing the memory of this machine")


class NoSuchBlockError(MemoryHotplugError, LookupError):
    """The machine has no memory block with that number."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"memory block {number} is not on this machine")


class BlockError(MemoryHotplugError):
    """Why a block is not as it was asked to be: the step at which it failed, and the cause."""

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
        """The kernel's error number, where it refused a write."""
        self.zone = zone
        """The zone that was asked for."""
        self.zones = zones
        """The zone the block is in, or those that it can go to."""
        self.where = where
        """The file that was written to."""
        reason = os.strerror(errno) if errno else cause.value
        super().__init__(f"memory block {number}: {step} failed: {reason}")

    @property
    def errno_name(self) -> str | None:
        """The error number's name, such as EBUSY."""
        return None if self.errno is None else errno.errorcode.get(self.errno, str(self.errno))


class StuckError(BlockError):
    """What was done to a block could not be undone, because of CAUSED_BY."""

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
    """The tree can be listed, and there is no memory block in it."""

    def __init__(self, root: str) -> None:
        below = "" if root == "/" else f" below {printable(root)}"
        super().__init__(
            f"no memory blocks in /sys/devices/system/memory{below}: there is no directory"
            " memoryN (in a container look at the host; of a captured tree check what it holds)"
        )
