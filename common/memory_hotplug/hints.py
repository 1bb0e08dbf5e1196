"""What a kernel's error number means for a memory block: the likely cause, and what to do now."""

import errno

from memory_hotplug.block import MemoryBlock, Zone
from memory_hotplug.errors import denied
from memory_hotplug.ranges import MEMMAP_FRACTION
from memory_hotplug.size import human

_EVERYWHERE = {
    errno.EROFS: "the tree is read-only",
    errno.ELOOP: "the attribute is a symbolic link and may lead out of the tree; none is followed",
    errno.ENOTDIR: "a symbolic link or a file stands in for a directory; none is followed",
    errno.EIO: "the hardware or the hypervisor failed; the kernel log (dmesg) may say more",
    errno.ENODEV: "the block is gone",
    errno.ENOSPC: "the file system that holds the tree is full",
    errno.EINTR: "a signal or the timeout ended the attempt; the same command may succeed later",
    errno.EAGAIN: "the kernel could not finish it for now; --retry N tries more often",
    errno.EBUSY: "something else is using it; --retry N tries again",
    errno.ENOMEM: "the machine is short of memory; free some, or bring more online first",
}

_BY_STEP = {
    ("configure", errno.EIO): "the hypervisor refused to assign the storage",
    ("deconfigure", errno.EIO): "the hypervisor refused to take the storage back",
    ("deconfigure", errno.EBUSY): "the kernel or the hypervisor does not let go of it now; "
    "try again later (--retry N)",
    ("memmap-on-memory", errno.EBUSY): "this can be changed only while a block is not configured",
    ("memmap-on-memory", errno.EOPNOTSUPP): "the kernel runs without memory_hotplug."
    "memmap_on_memory=1, or its block size does not allow it",
    ("offline", errno.EINVAL): "the block has memory holes or spans several zones; such a block "
    "cannot be set offline",
    ("offline", errno.EINTR): "the kernel was still moving its pages when a signal or the "
    "timeout ended the attempt; give it more time (--timeout), or choose another block",
    ("online", errno.EINVAL): "the kernel does not take it online so; lsmem -o BLOCK,STATE,ZONES "
    "shows the zones that are valid, and the kernel log (dmesg) may say more",
}


def hint(step: str, error: int, where: str, block: MemoryBlock, block_size: int) -> str:
    """A sentence (or nothing) for a step of BLOCK, a write to the file WHERE, that failed so."""
    if error in (errno.EACCES, errno.EPERM):
        return denied(where)
    if error == errno.ENOENT:
        return f"there is no {where}: the block is gone, or the tree is incomplete"
    if step == "offline" and error == errno.EBUSY:
        return _busy(block)
    if step == "configure" and error == errno.ENOMEM:
        need = human(block_size // MEMMAP_FRACTION)
        if block.memmap_on_memory:
            return "the kernel has no memory left for it; free some first"
        return (
            f"there is no memory for its struct pages ({need}); with -m 1 they come out of the "
            "block itself"
        )
    return _BY_STEP.get((step, error)) or _EVERYWHERE.get(error, "")


def _busy(block: MemoryBlock) -> str:
    zone = block.zones[0] if block.zones else None
    if zone is Zone.MOVABLE:
        return (
            "some of its pages cannot be moved now, though it is in zone Movable (in use by a "
            "device, huge pages, or too little free memory elsewhere); try again later (--retry N)"
        )
    where = f"it is in zone {zone.value}, not Movable" if zone else "it may not be in zone Movable"
    return (
        f"{where}: it can hold memory of the kernel, which cannot be moved; "
        "choose another block, or try again later (--retry N); blocks enabled with --zone Movable "
        "can be disabled again"
    )
