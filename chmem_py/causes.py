"""The words for why a block is not as it was asked to be: the reason, and what to do now."""

import errno
import os

from memory_hotplug.block import Zone
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BlockError, CannotWriteError, StuckError
from memory_hotplug.ranges import MEMMAP_FRACTION
from memory_hotplug.size import human

_REASONS = {
    Cause.WRONG_ZONE: "Zone mismatch",
    Cause.ZONE_NOT_VALID: "Zone mismatch",
    Cause.NOT_OFFLINE: "must be offline before deconfiguration",
    Cause.NOT_DECONFIGURED: "must be deconfigured before using -m option",
}
"""The reference's words for what is found before a write."""

SKIPPED = (Cause.NOT_OFFLINE, Cause.NOT_DECONFIGURED)
"""Why a block is passed over when a size is made up, without anything being tried."""

_ADVICE = {
    Cause.NOT_OFFLINE: "chmem --disable sets it offline and deconfigures it in one go",
    Cause.NOT_DECONFIGURED: "chmem --reconfigure -m 0|1 changes it for blocks in any state",
    Cause.READ_ONLY: "the tree is read-only",
    Cause.LINK: "the attribute is a symbolic link and may lead out of the tree; none is followed",
    Cause.NO_DIRECTORY: "a symbolic link or a file stands in for a directory; none is followed",
    Cause.HARDWARE: "the hardware or the hypervisor failed; the kernel log (dmesg) may say more",
    Cause.GONE: "the block is gone",
    Cause.DISK_FULL: "the file system that holds the tree is full",
    Cause.SIGNAL: "a signal or the timeout ended the attempt; the same command may succeed later",
    Cause.AGAIN: "the kernel could not finish it for now; --retry N tries more often",
    Cause.BUSY: "something else is using it; --retry N tries again",
    Cause.NO_MEMORY: "the machine is short of memory; free some, or bring more online first",
    Cause.STORAGE_REFUSED: "the hypervisor refused to assign the storage",
    Cause.STORAGE_KEPT: "the hypervisor refused to take the storage back",
    Cause.STILL_HELD: "the kernel or the hypervisor does not let go of it now; "
    "try again later (--retry N)",
    Cause.MEMMAP_WHILE_CONFIGURED: "this can be changed only while a block is not configured",
    Cause.MEMMAP_NOT_SUPPORTED: "the kernel runs without memory_hotplug."
    "memmap_on_memory=1, or its block size does not allow it",
    Cause.HOLES_OR_ZONES: "the block has memory holes or spans several zones; such a block "
    "cannot be set offline",
    Cause.PAGES_MOVING: "the kernel was still moving its pages when a signal or the "
    "timeout ended the attempt; give it more time (--timeout), or choose another block",
    Cause.ONLINE_REFUSED: "the kernel does not take it online so; lsmem -o BLOCK,STATE,ZONES "
    "shows the zones that are valid, and the kernel log (dmesg) may say more",
    Cause.MOVABLE_BUSY: "some of its pages cannot be moved now, though it is in zone Movable (in "
    "use by a device, huge pages, or too little free memory elsewhere); try again later "
    "(--retry N)",
    Cause.NO_PAGE_TABLES: "the kernel has no memory left for it; free some first",
}


def reason_of(error: BlockError) -> str:
    """Why a step failed, in a few words."""
    reason = os.strerror(error.errno) if error.errno else _REASONS.get(error.cause)
    reason = reason or error.cause.value
    return f"could not be undone: {reason}" if isinstance(error, StuckError) else reason


def advice_on(error: BlockError, block_size: int) -> str:
    """A sentence (or nothing) on the likely cause, and on what to do now."""
    if isinstance(error, StuckError):
        return ""
    if error.cause is Cause.DENIED:
        return denied(error.where)
    if error.cause is Cause.NO_ATTRIBUTE:
        return f"there is no {error.where}: the block is gone, or the tree is incomplete"
    if error.cause in (Cause.WRONG_ZONE, Cause.ZONE_NOT_VALID) and error.zone:
        is_in = "it is in zone" if error.cause is Cause.WRONG_ZONE else "it can go to"
        zones = ", ".join(zone.value for zone in error.zones) or "none"
        return f"zone {error.zone.value} was asked for, but {is_in} {zones}"
    if error.cause is Cause.NO_STRUCT_PAGES:
        return (
            f"there is no memory for its struct pages ({human(block_size // MEMMAP_FRACTION)}); "
            "with -m 1 they come out of the block itself"
        )
    if error.cause is Cause.UNMOVABLE:
        return _unmovable(error.zones)
    return _ADVICE.get(error.cause, "")


def _unmovable(zones: tuple[Zone, ...]) -> str:
    zone = zones[0] if zones else None
    where = f"it is in zone {zone.value}, not Movable" if zone else "it may not be in zone Movable"
    return (
        f"{where}: it can hold memory of the kernel, which cannot be moved; "
        "choose another block, or try again later (--retry N); blocks enabled with --zone Movable "
        "can be disabled again"
    )


def denied(where: str) -> str:
    """What to do where writing to the file WHERE is not permitted."""
    if not where.startswith("/sys/"):
        return "the permissions of the tree forbid it"
    if os.geteuid():
        return "only root may change memory: run this as root (sudo)"
    return "root may not do it either: a container or a security module (dmesg) forbids it"


def cannot_write(error: CannotWriteError) -> str:
    """The sentence on a tree that cannot be written to, with what to do about it."""
    if error.errno == errno.EROFS:
        return f"{error}; nothing was changed"
    return f"{error}; nothing was changed; {denied(error.where)}"
