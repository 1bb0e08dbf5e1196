"""The causes for which changing a block can fail."""

import errno
from enum import Enum

from memory_hotplug.block import MemoryBlock, Zone
from safe_files.errno_names import EHWPOISON

__all__ = ["Cause", "cause_of"]


class Cause(Enum):
    """A cause of failure. The value is the text of the error.

    A program has its own messages and advice for each member.
    """

    # Found before anything is written.
    NO_SUCH_BLOCK = "there is no such memory block"
    NOT_CONFIGURABLE = "memory is not configured on this machine"
    NOT_OFFLINE = "the block is not offline"
    NOT_DECONFIGURED = "the block is configured"
    WRONG_ZONE = "the block is in another zone"
    ZONE_NOT_VALID = "the zone is not valid for the block"
    KEPT_FREE = "too little memory would stay available"
    KERNEL_ZONES = "the zones of the kernel would be too small against Movable"
    # From the caller.
    STOPPED = "interrupted"
    # Answers of the tree, at any step.
    DENIED = "permission denied"
    READ_ONLY = "the tree is read-only"
    LINK = "a symbolic link stands in for an attribute"
    NO_DIRECTORY = "something else stands in for a directory"
    NO_FILE = "a FIFO, a device or a directory stands in for an attribute"
    NO_ATTRIBUTE = "the attribute does not exist"
    GONE = "the block is gone"
    DISK_FULL = "the file system of the tree is full"
    # Answers of the kernel, at any step.
    HARDWARE = "the hardware or the hypervisor failed"
    BUSY = "something else uses the block"
    NO_MEMORY = "the machine is short of memory"
    AGAIN = "the kernel could not finish it for now"
    SIGNAL = "a signal or a timeout ended the attempt"
    POISONED = "a page of the block is poisoned"
    OTHER = "the kernel refused it"
    # Answers of the kernel at one step.
    STORAGE_REFUSED = "the hypervisor refused to assign the storage"
    STORAGE_KEPT = "the hypervisor refused to take the storage back"
    STILL_HELD = "the kernel or the hypervisor still holds the block"
    NO_STRUCT_PAGES = "no memory for the struct pages of the block"
    NO_PAGE_TABLES = "no memory for the page tables of the block"
    MEMMAP_WHILE_CONFIGURED = "memmap_on_memory changes only while a block is not configured"
    MEMMAP_NOT_SUPPORTED = "the kernel does not support memmap on memory"
    HOLES_OR_ZONES = "the block has memory holes or spans several zones"
    BOOT_MEMORY = (
        "the kernel of this architecture keeps memory of the boot, or with memmap on memory"
    )
    PAGES_MOVING = "the kernel was still moving pages when a signal or a timeout came"
    UNMOVABLE = "a page cannot be moved"
    MOVABLE_BUSY = "a page in zone Movable cannot be moved now"
    ONLINE_REFUSED = "the kernel does not set the block online in this way"


_EVERYWHERE = {
    errno.EACCES: Cause.DENIED,
    errno.EPERM: Cause.DENIED,
    errno.EROFS: Cause.READ_ONLY,
    errno.ELOOP: Cause.LINK,
    errno.ENOTDIR: Cause.NO_DIRECTORY,
    errno.EISDIR: Cause.NO_FILE,
    errno.EMEDIUMTYPE: Cause.NO_FILE,
    errno.ENOENT: Cause.NO_ATTRIBUTE,
    errno.ENODEV: Cause.GONE,
    errno.ENOSPC: Cause.DISK_FULL,
    errno.EIO: Cause.HARDWARE,
    errno.EBUSY: Cause.BUSY,
    errno.ENOMEM: Cause.NO_MEMORY,
    errno.EAGAIN: Cause.AGAIN,
    # Linux 6.2, memory_block_online (drivers/base/memory.c).
    EHWPOISON: Cause.POISONED,
    errno.EINTR: Cause.SIGNAL,
}

_AT_STEP = {
    ("configure", errno.EIO): Cause.STORAGE_REFUSED,
    ("configure", errno.ENOMEM): Cause.NO_STRUCT_PAGES,
    # Linux 6.19 ignores such a refusal (drivers/s390/char/sclp_mem.c); other kernels may not.
    ("deconfigure", errno.EIO): Cause.STORAGE_KEPT,
    ("deconfigure", errno.EBUSY): Cause.STILL_HELD,
    ("memmap-on-memory", errno.EBUSY): Cause.MEMMAP_WHILE_CONFIGURED,
    ("memmap-on-memory", errno.EOPNOTSUPP): Cause.MEMMAP_NOT_SUPPORTED,
    ("offline", errno.EINVAL): Cause.HOLES_OR_ZONES,
    # arm64 since Linux 5.7 (arch/arm64/mm/mmu.c, prevent_bootmem_remove_notifier); since 7.1 also
    # with memmap on memory (can_unmap_without_split).
    ("offline", errno.EPERM): Cause.BOOT_MEMORY,
    ("offline", errno.EINTR): Cause.PAGES_MOVING,
    ("offline", errno.EBUSY): Cause.UNMOVABLE,
    ("online", errno.EINVAL): Cause.ONLINE_REFUSED,
}


def cause_of(step: str, error: int, block: MemoryBlock) -> Cause:
    """The cause why STEP failed with the error number ERROR; BLOCK is in its present condition."""
    cause = _AT_STEP.get((step, error)) or _EVERYWHERE.get(error, Cause.OTHER)
    if cause is Cause.UNMOVABLE and block.zones and block.zones[0] is Zone.MOVABLE:
        return Cause.MOVABLE_BUSY
    if cause is Cause.NO_STRUCT_PAGES and block.memmap_on_memory is True:
        return Cause.NO_PAGE_TABLES
    return cause
