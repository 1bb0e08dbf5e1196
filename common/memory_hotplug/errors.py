"""Every error a caller can meet, each with the sentence a person reads."""

import errno
import os


def printable(text: str) -> str:
    r"""TEXT with control characters and undecodable bytes as ``\xNN``, safe for a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
        for character in text
    )


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


def denied(where: str) -> str:
    """What to do where writing to the file WHERE is not permitted."""
    if not where.startswith("/sys/"):
        return "the permissions of the tree forbid it"
    if os.geteuid():
        return "only root may change memory: run this as root (sudo)"
    return "root may not do it either: a container or a security module (dmesg) forbids it"


class CannotWriteError(MemoryHotplugError):
    """The tree cannot be written to; found out before anything was tried."""

    OF_THE_WHOLE_TREE = (errno.EACCES, errno.EPERM, errno.EROFS)
    """Errors at one attribute that are no different at any other."""

    def __init__(self, where: str, error: OSError) -> None:
        self.errno = error.errno
        said = f"cannot write to {printable(where)}: {error.strerror}; nothing was changed"
        if error.errno != errno.EROFS:
            said += f"; {denied(where)}"
        super().__init__(said)


class StoppedError(MemoryHotplugError):
    """Raised into a write under way by whoever wants the work to stop."""

    def __init__(self) -> None:
        super().__init__("interrupted")


class BlockError(MemoryHotplugError):
    """Why a block is not as it was asked to be.

    STEP is the step at which it failed, REASON what happened in a few words, and HINT a sentence
    (or nothing) on the likely cause and what to do now.
    """

    def __init__(self, number: int, step: str, reason: str, hint: str = "") -> None:
        self.number = number
        self.step = step
        self.reason = reason
        self.hint = hint
        super().__init__(f"memory block {number}: {step} failed: {reason}")


class ZoneMismatchError(BlockError):
    """The block is not in the zone that was named, or cannot be put into it."""

    def __init__(self, number: int, step: str, zone: str, zones: str) -> None:
        is_in = "it is in zone" if step == "offline" else "it can go to"
        hint = f"zone {zone} was asked for, but {is_in} {zones or 'none'}"
        super().__init__(number, step, "Zone mismatch", hint)


class NotOfflineError(BlockError):
    """Only an offline block can be deconfigured."""

    def __init__(self, number: int) -> None:
        hint = "chmem --disable sets it offline and deconfigures it in one go"
        super().__init__(number, "deconfigure", "must be offline before deconfiguration", hint)


class NotDeconfiguredError(BlockError):
    """memmap_on_memory can be changed for a block only while it is not configured."""

    def __init__(self, number: int) -> None:
        hint = "chmem --reconfigure -m 0|1 changes it for blocks in any state"
        reason = "must be deconfigured before using -m option"
        super().__init__(number, "memmap-on-memory", reason, hint)


class InterruptedStepError(BlockError):
    """The work was stopped while the kernel was at this block."""

    def __init__(self, number: int, step: str) -> None:
        super().__init__(number, step, "interrupted")


class StepError(BlockError):
    """The kernel refused a write."""

    def __init__(self, number: int, step: str, error: int, hint: str) -> None:
        self.errno = error
        super().__init__(number, step, os.strerror(error), hint)

    @property
    def name(self) -> str:
        """The errno's name, such as EBUSY."""
        return errno.errorcode.get(self.errno, str(self.errno))


class StuckError(BlockError):
    """What was done to a block could not be undone."""

    def __init__(self, number: int, cause: BlockError) -> None:
        self.cause = cause
        super().__init__(number, cause.step, f"could not be undone: {cause.reason}")


class NoBlocksError(MemoryHotplugError):
    """The tree can be listed, and there is no memory block in it."""

    def __init__(self, root: str) -> None:
        below = "" if root == "/" else f" below {printable(root)}"
        super().__init__(
            f"no memory blocks in /sys/devices/system/memory{below}: there is no directory"
            " memoryN (in a container look at the host; of a captured tree check what it holds)"
        )
