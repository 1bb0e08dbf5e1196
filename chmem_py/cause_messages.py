"""chmem's message for each cause for which changing a block can fail.

The text is the reason in a few words; the advice is the likely cause and what to do. The fields are
REASON, the text of the kernel's error number; ZONE, the requested zone; ZONES, those of the block;
FILE, the file that was written to; SIZE, that of the struct pages of a block; and PROGRAM.
"""

from chmem_py import messages
from hotplug_cli.message import Message
from memory_hotplug.causes import Cause


def _row(advice: str = "", text: str = "{reason}") -> Message:
    return Message(text, advice, messages.STEP_FAILED.entry)


BY_CAUSE = {
    # Found before anything is written.
    Cause.NO_SUCH_BLOCK: _row(text="not on this machine"),
    Cause.NOT_CONFIGURABLE: _row(text=Cause.NOT_CONFIGURABLE.value),
    Cause.NOT_OFFLINE: _row(
        "chmem --disable sets it offline and deconfigures it",
        "must be offline before deconfiguration",
    ),
    Cause.NOT_DECONFIGURED: _row(
        "chmem --reconfigure -m 0|1 changes a block in any state",
        "must be deconfigured before using -m option",
    ),
    Cause.WRONG_ZONE: _row("zone {zone} was asked for, but it is in zone {zones}", "Zone mismatch"),
    Cause.ZONE_NOT_VALID: _row(
        "zone {zone} was asked for, but it can go to {zones}", "Zone mismatch"
    ),
    Cause.KEPT_FREE: _row(text=Cause.KEPT_FREE.value),
    Cause.KERNEL_ZONES: _row(text=Cause.KERNEL_ZONES.value),
    Cause.STOPPED: _row(text=Cause.STOPPED.value),
    # What the tree answers, at any step.
    Cause.DENIED: _row("the permissions of the tree forbid it"),
    Cause.READ_ONLY: _row("the tree is read-only"),
    Cause.LINK: _row(
        "the attribute is a symbolic link, which can lead out of the tree; none is followed"
    ),
    Cause.NO_DIRECTORY: _row(
        "a symbolic link or a file stands in for a directory; none is followed"
    ),
    Cause.NO_FILE: _row("{file} is not a regular file, but a FIFO, a device or a directory"),
    Cause.NO_ATTRIBUTE: _row("there is no {file}: the block is gone, or the tree is incomplete"),
    Cause.GONE: _row("the block is gone"),
    Cause.DISK_FULL: _row("the file system that holds the tree is full"),
    # What the kernel answers, at any step.
    Cause.HARDWARE: _row(
        "the hardware or the hypervisor failed; the kernel log (dmesg) may say more"
    ),
    Cause.BUSY: _row("something else is using it; --retry N retries a busy block"),
    Cause.NO_MEMORY: _row("the machine is short of memory; free some, or enable more first"),
    Cause.AGAIN: _row("the kernel could not finish it now; --retry N retries more often"),
    Cause.SIGNAL: _row(
        "a signal or the timeout ended the attempt; the same command may succeed later"
    ),
    Cause.POISONED: _row(
        "a page of it failed and is poisoned, so the kernel does not set it online again: leave it "
        "offline, and have the memory replaced (lsmem --at ADDRESS names the device that brought "
        "it); the kernel forgets it when it boots, or when the memory is taken out and comes again"
    ),
    Cause.OTHER: _row(),
    # What the kernel answers at one step.
    Cause.STORAGE_REFUSED: _row("the hypervisor refused to assign the storage"),
    Cause.STORAGE_KEPT: _row("the hypervisor refused to take the storage back"),
    Cause.STILL_HELD: _row(
        "the kernel or the hypervisor still holds the block; try again later (--retry N)"
    ),
    Cause.NO_STRUCT_PAGES: _row(
        "there is no memory for its struct pages ({size}); with -m 1 they are in the block itself, "
        "and the block takes a fraction of that; or free some memory and repeat the command"
    ),
    Cause.NO_PAGE_TABLES: _row(
        "the kernel has no memory left for its page tables; free some first"
    ),
    Cause.MEMMAP_WHILE_CONFIGURED: _row(
        "memmap-on-memory can be changed only while a block is not configured"
    ),
    Cause.MEMMAP_NOT_SUPPORTED: _row(
        "the kernel runs without memory_hotplug.memmap_on_memory=1, or its block size does not "
        "allow it"
    ),
    Cause.HOLES_OR_ZONES: _row(
        "it has memory holes or spans several zones, and so cannot be set offline"
    ),
    Cause.BOOT_MEMORY: _row(
        "the kernel of this architecture keeps it: the machine has booted on it, or it holds its "
        "own struct pages (memory_hotplug.memmap_on_memory); choose memory that was added later, "
        "or boot without that parameter"
    ),
    Cause.PAGES_MOVING: _row(
        "the kernel was still moving its pages when a signal or the timeout ended the attempt; "
        "give it more time (--timeout), or choose another block: some kernels go on for ever where "
        "a page cannot be moved (lsmem --why says what the block holds)"
    ),
    Cause.UNMOVABLE: _row(
        "it is in zone {zones}, not Movable: it can hold memory of the kernel, which cannot be "
        "moved; choose another block, or try again later (--retry N); blocks enabled with --zone "
        "Movable can be disabled again"
    ),
    Cause.MOVABLE_BUSY: _row(
        "some of its pages cannot be moved now, though it is in zone Movable: a device uses them, "
        "they are huge pages, or too little memory is free elsewhere; try again later (--retry N)"
    ),
    Cause.ONLINE_REFUSED: _row(
        "the kernel does not set it online in this way; lsmem -o BLOCK,STATE,ZONES shows the zones "
        "that are valid, and the kernel log (dmesg) may say more"
    ),
}

NOT_REMOVABLE = _row(
    "the kernel says that it is not removable (lsmem -o BLOCK,REMOVABLE); choose another block"
)
"""Instead of UNMOVABLE, of a block whose removable was 0 (Linux before 5.8)."""
UNMOVABLE_ANYWHERE = _row(
    "it may not be in zone Movable: it can hold memory of the kernel, which cannot be moved; "
    "choose another block, or try again later (--retry N); blocks enabled with --zone Movable "
    "can be disabled again"
)
"""In place of UNMOVABLE, for a block whose zone is not known."""
NO_STRUCT_PAGES_BUT_ELSEWHERE = _row(
    "there is no memory for its struct pages ({size}); free some memory and repeat the command; "
    "with the kernel parameter memory_hotplug.memmap_on_memory=1 and -m 1 they would be in the "
    "block itself"
)
"""In place of NO_STRUCT_PAGES, where the kernel does not support memmap on memory."""
DENIED_TO_USER = _row("only root can change memory: run this as root (sudo {program})")
DENIED_TO_ROOT = _row(
    "root may not do it either: a container or a security module forbids it (see dmesg)"
)
"""In place of DENIED, for this machine's own /sys."""
