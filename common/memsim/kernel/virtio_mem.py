"""A device of virtio-mem that grows and shrinks by less than a memory block.

Facts: drivers/virtio/virtio_mem.c of Linux 7.2, sub-block mode. The driver adds whole blocks, and
plugs as many sub-blocks of them as were asked for, from the first on; it gives them back from the
last on. Of a block that is online, the kernel takes what is not plugged out of MemTotal.

Not modelled: the driver adds no more than 1 GiB before some of it is set online.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from memsim.kernel.blocks import ABSENT
from memsim.kernel.devices import Device
from memsim.kernel.slots import blocks_there, cut_device, keep_unplugged, put_device
from memsim.kernel.transitions import Kernel
from memsim.machine import Machine

__all__ = ["grow", "plugged", "shrink", "sub_block"]

_PAGEBLOCK: Final = 2 << 20


def sub_block(machine: Machine) -> int:
    """The size of a sub-block: a pageblock, before Linux 5.19 the largest block of free pages."""
    return min(_PAGEBLOCK * (1 if machine.since(5, 19) else 2), machine.block_size)


def plugged(kernel: Kernel, device: Device) -> int:
    """The bytes of a device that the kernel has, online or not."""
    return sum(_plugged(kernel, block) for block in blocks_there(kernel, device))


def _plugged(kernel: Kernel, block: int) -> int:
    return kernel.machine.block_size - kernel.state.unplugged.get(block, 0)


def grow(kernel: Kernel, device: Device, size: int) -> int:
    """Plug SIZE bytes more of a device; return how many came, as there may be no more room. SIZE is
    of whole sub-blocks.

    Blocks that have a part get the rest first, online ones before others, as the driver does.
    """
    left = size
    partial = [block for block in blocks_there(kernel, device) if kernel.state.unplugged.get(block)]
    for block in sorted(partial, key=lambda one: not kernel.blocks.online(one)):
        more = min(kernel.state.unplugged[block], left)
        keep_unplugged(kernel, block, kernel.state.unplugged[block] - more)
        left -= more
    for block in _room(kernel, device):
        if not left:
            break
        more = min(kernel.machine.block_size, left)
        device = replace(device, last=max(device.last, block))
        put_device(kernel, device)
        keep_unplugged(kernel, block, kernel.machine.block_size - more)
        kernel.add([block])
        left -= more
    return size - left


def _room(kernel: Kernel, device: Device) -> Iterator[int]:
    """The blocks that a device can add: those that it has given back, and those that follow."""
    group = kernel.blocks.group(device.first)
    others = [one for one in kernel.state.devices if one.number != device.number or one.whole]
    for block in range(device.first, group.last + 1):
        if any(block in other for other in others):
            return
        if kernel.blocks.at(block) == ABSENT:
            yield block
        elif block > device.last:
            return


def shrink(kernel: Kernel, device: Device, size: int) -> int:
    """Take SIZE bytes of a device; return how many were given back, as memory in use stays. SIZE is
    of whole sub-blocks.

    The driver takes of offline blocks first, of those that have a part, and from the highest.
    """
    left = size

    def turn(block: int) -> tuple[bool, bool, int]:
        return kernel.blocks.online(block), not kernel.state.unplugged.get(block), -block

    for block in sorted(blocks_there(kernel, device), key=turn):
        less = min(_plugged(kernel, block), left, _movable(kernel, block))
        if not less:
            continue
        keep_unplugged(kernel, block, kernel.state.unplugged.get(block, 0) + less)
        left -= less
        if not _plugged(kernel, block):
            _take_out(kernel, block)
    cut_device(kernel, device)
    return size - left


def _movable(kernel: Kernel, block: int) -> int:
    """The bytes of a block that can be taken from it. A fault of its offline stands for a page
    that cannot be moved, in its first sub-block."""
    unit, there = sub_block(kernel.machine), _plugged(kernel, block)
    if not kernel.blocks.online(block):
        return there
    if block in kernel.state.faults.get("offline", {}):
        there = max(there - unit, 0)
    return min(there, max(kernel.free_memory(), 0) // unit * unit)


def _take_out(kernel: Kernel, block: int) -> None:
    # A block with nothing in it stays online where something else keeps it.
    with suppress(OSError):
        kernel.offline(block)
        kernel.remove(block)
