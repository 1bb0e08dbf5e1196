"""Memory that comes into a running machine, and goes.

Room for it are the blocks that a machine without firmware does not have at boot.

Facts: add_memory_resource and try_remove_memory (mm/memory_hotplug.c), probe_store
(drivers/base/memory.c). All blocks of a device are added before the first is set online.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from memsim.kernel.blocks import ABSENT, HOLE
from memsim.kernel.devices import Device, free_number
from memsim.kernel.transitions import Kernel
from memsim.machine import Group
from safe_files.errno_names import error_of

__all__ = [
    "StaysError",
    "blocks_there",
    "can_be_cut",
    "can_go",
    "cut_device",
    "free",
    "keep_unplugged",
    "plug",
    "plug_refused",
    "plugged_in",
    "probe",
    "put_device",
    "removable",
    "unplug",
]


class StaysError(OSError):
    """A block that is to be taken out cannot be set offline."""

    def __init__(self, block: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.block = block


def free(kernel: Kernel, count: int, node: int | None = None) -> range | None:
    """The lowest COUNT neighbouring blocks, of a node or (None) of any, that can be plugged in."""
    for group in _slots(kernel, node):
        low = group.first
        while (first := kernel.blocks.find(ABSENT, low, group.last, count)) is not None:
            blocks = range(first, first + count)
            taken = _devices_in(kernel, blocks)
            if not taken:
                return blocks
            # A device of virtio-mem can take again what it has given back.
            low = taken[-1].last + 1
    return None


def removable(
    kernel: Kernel, count: int, node: int | None = None, kind: str | None = None
) -> range | None:
    """The highest COUNT neighbouring blocks that can go: offline ones that were plugged in, as KIND
    if that is given. They are whole devices, or the end of one of virtio-mem. DLPAR takes online
    ones, too.
    """
    for group in reversed(list(_slots(kernel, node))):
        for first in reversed(range(group.first, group.last + 2 - count)):
            blocks = range(first, first + count)
            if all(can_go(kernel, block) for block in blocks) and can_be_cut(kernel, blocks, kind):
                return blocks
    return None


def can_go(kernel: Kernel, block: int) -> bool:
    """Whether a block is there, and offline where nothing sets it offline when it is to go."""
    return kernel.blocks.present(block) and (
        kernel.machine.dlpar or not kernel.blocks.online(block)
    )


def plugged_in(kernel: Kernel, blocks: range) -> bool:
    """Whether these blocks are there now and were plugged in, with a device or without one."""
    inside = any(blocks[0] in of and blocks[-1] in of for of in map(_blocks, _slots(kernel, None)))
    given_back = {
        block for one in _devices_in(kernel, blocks) for block in _given_back(kernel, one)
    }
    return inside and all(kernel.blocks.present(one) or one in given_back for one in blocks)


def _given_back(kernel: Kernel, device: Device) -> list[int]:
    """The blocks that a device of virtio-mem had and can take again."""
    return [one for one in device.blocks if not kernel.blocks.present(one)]


def _blocks(group: Group) -> range:
    return range(group.first, group.last + 1)


def can_be_cut(kernel: Kernel, blocks: range, kind: str | None = None) -> bool:
    """Whether these blocks are whole devices (of KIND), or the end of one of virtio-mem."""
    devices = _devices_in(kernel, blocks)
    if kind and not all(any(block in one for one in devices) for block in blocks):
        return False
    return all(
        kind in (None, device.kind)
        and device.last in blocks
        and (device.first in blocks or not device.whole)
        for device in devices
    )


def _devices_in(kernel: Kernel, blocks: range) -> list[Device]:
    return [
        device
        for device in kernel.state.devices
        if device.first <= blocks[-1] and blocks[0] <= device.last
    ]


def _slots(kernel: Kernel, node: int | None) -> Iterator[Group]:
    if not kernel.machine.firmware:
        for group in kernel.machine.groups:
            if not group.config and node in (None, group.node):
                yield group


def plug(kernel: Kernel, blocks: range, kind: str | None = "dimm", *, unplugged: int = 0) -> None:
    """Add these blocks, which are `free`, as a device or (None) without one.

    UNPLUGGED bytes of the last block stay unplugged. The driver of virtio-mem adds each block for
    itself (virtio_mem_sbm_plug_and_add_mb).

    auto_online_blocks and online_policy say what becomes of them; on a machine with DLPAR they come
    online in any case (dlpar_add_lmb, arch/powerpc/platforms/pseries/hotplug-memory.c).
    """
    whole = True
    if kind:
        number = free_number(kernel.state.devices, kind)
        put_device(kernel, device := Device(kind, blocks[0], blocks[-1], number))
        whole = device.whole
    keep_unplugged(kernel, blocks[-1], unplugged)
    for added in [blocks] if whole else [[block] for block in blocks]:
        kernel.add(added)
    if kernel.machine.dlpar:
        _set_online(kernel, blocks)


def _set_online(kernel: Kernel, blocks: Sequence[int]) -> None:
    for block in blocks:
        with suppress(OSError):
            kernel.online(block)


def blocks_there(kernel: Kernel, device: Device) -> list[int]:
    """The blocks of a device that it has now."""
    return list(filter(kernel.blocks.present, device.blocks))


def put_device(kernel: Kernel, device: Device) -> None:
    """Let a device be there, in place of what it was."""
    kernel.set("devices", tuple(sorted((*_others(kernel, device), device), key=_first)))


def cut_device(kernel: Kernel, device: Device) -> None:
    """Let a device end at its last block that is there; without any, it goes."""
    there = blocks_there(kernel, device)
    if there:
        put_device(kernel, replace(device, last=there[-1]))
    else:
        kernel.set("devices", tuple(_others(kernel, device)))


def _others(kernel: Kernel, device: Device) -> list[Device]:
    own = device.kind, device.number
    return [one for one in kernel.state.devices if (one.kind, one.number) != own]


def _first(device: Device) -> int:
    return device.first


def keep_unplugged(kernel: Kernel, block: int, size: int) -> None:
    """Let SIZE bytes at the end of a block be not plugged."""
    others = {one: of for one, of in kernel.state.unplugged.items() if one != block}
    kernel.set("unplugged", {**others, block: size} if size else others)


def plug_refused(kernel: Kernel, first: int, size: int) -> None:
    """A DIMM of SIZE bytes comes at block FIRST, and is not added, as it is no whole blocks.

    check_hotplug_memory_range (mm/memory_hotplug.c), acpi_memory_enable_device
    (drivers/acpi/acpi_memhotplug.c).
    """
    block_size = kernel.machine.block_size
    name = f"PNP0C80:{free_number(kernel.state.devices, 'dimm'):02x}"
    for line in (
        f"Block size [{block_size:#x}] unaligned hotplug range: "
        f"start {first * block_size:#x}, size {size:#x}",
        f"acpi {name}: add_memory failed",
        f"acpi {name}: acpi_memory_enable_device() error",
    ):
        kernel.report(line)


def probe(kernel: Kernel, address: int) -> None:
    """Add the block at an address, without a device.

    EINVAL for an address that is not the start of a block, EEXIST for a block that is there, and
    E2BIG where the machine has no room; a real kernel believes what it is told.
    """
    block, rest = divmod(address, kernel.machine.block_size)
    if rest:
        raise error_of(errno.EINVAL)
    if kernel.blocks.present(block):
        raise error_of(errno.EEXIST)
    if kernel.blocks.at(block) == HOLE:
        raise error_of(errno.E2BIG)
    kernel.add([block])


def unplug(kernel: Kernel, blocks: range) -> None:
    """Remove blocks that are `removable`. EBUSY, and nothing has changed, if one is online.

    On a machine with DLPAR each is set offline first. If that fails with an error of
    `Kernel.offline`, the blocks before it are added again, and come online; raises StaysError
    (dlpar_memory_remove_by_ic, arch/powerpc/platforms/pseries/hotplug-memory.c).
    """
    there = list(filter(kernel.blocks.present, blocks))
    if not all(can_go(kernel, block) for block in there):
        raise error_of(errno.EBUSY)
    for number, block in enumerate(there):
        try:
            kernel.offline(block)
        except OSError as error:
            taken = there[:number]
            kernel.add(taken)
            _set_online(kernel, taken)
            raise StaysError(block, error) from error
        kernel.remove(block)
    for device in _devices_in(kernel, blocks):
        cut_device(kernel, device)
