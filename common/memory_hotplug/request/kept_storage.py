"""Which blocks were deconfigured, and the hypervisor of an s390 has kept storage of them."""

from collections.abc import Callable, Sequence

from memory_hotplug.attribute import TABLE, Attribute, path_of
from memory_hotplug.change.plan import Change
from memory_hotplug.machine import Machine
from memory_hotplug.request.tally import Tally

__all__ = ["storage_before"]


def storage_before(machine: Machine, changes: Sequence[Change]) -> Callable[[Tally], Sequence[int]]:
    """What says after the work which blocks are such ones: of what the kernel log did not have
    before it. The kernel takes such a block for deconfigured, and tells it nowhere else."""
    from memory_hotplug.seen.kernel_log import log_of, storage_kept

    increment = _increment(machine, max(change.number for change in changes))
    before = storage_kept(log_of(machine), machine.block_size, increment)

    def kept(tally: Tally) -> Sequence[int]:
        now = storage_kept(log_of(machine), machine.block_size, increment)
        gone = {n for n, one in tally.outcomes.items() if one.after.configured is False}
        return sorted(gone.intersection(now - before))

    return kept


def _increment(machine: Machine, number: int) -> int:
    """The size of a storage increment: phys_device is the number of a block's first one
    (drivers/s390/char/sclp_mem.c, arch_get_memory_phys_device)."""
    try:
        text = machine.tree.read(path_of(Attribute.PHYS_DEVICE, number))
    except OSError:
        return machine.block_size
    place = TABLE[Attribute.PHYS_DEVICE].parse(text)
    return number * machine.block_size // place if place else machine.block_size
