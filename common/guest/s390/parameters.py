"""Make storage and kernel parameters of an LPAR from a machine of memsim.

The blocks, increments, hypervisor and parameters of the machine are used. The rest (zones, memory
in use, faults of online and offline, delays) has no effect on a real kernel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from guest.s390.service_element import MAX_INCREMENTS, MIB, Refusal, Storage, StorageChange
from memsim.machine import Machine

BLOCK: Final = 128 * MIB
"""The smallest size of a memory block: that of a section since Linux 6.16 (arch/s390/include/asm/
sparsemem.h). With larger increments blocks are larger (arch/s390/mm/init.c)."""


class DescriptionError(Exception):
    """The machine cannot be booted as described; the text is the message for the user."""


@dataclass(frozen=True, slots=True)
class Partition:
    """The storage and the parameters of an LPAR at boot."""

    storage: Storage
    parameters: tuple[str, ...] = ()
    """Words for the kernel's command line."""
    refusals: tuple[tuple[StorageChange, int, Refusal], ...] = ()
    """The increments that the hypervisor refuses from the beginning, and how."""

    @property
    def block_size(self) -> int:
        """Bytes of a memory block."""
        return max(BLOCK, self.storage.increment)

    @property
    def key(self) -> str:
        """All fields as text; equal partitions have equal texts."""
        values = asdict(self.storage) | {"assigned": sorted(self.storage.assigned)}
        refusals = [(change.name, number, asdict(how)) for change, number, how in self.refusals]
        return json.dumps([values, self.parameters, refusals])


def partition(machine: Machine, *, listed: bool = True, kaslr: bool = False) -> Partition:
    """The LPAR for a machine. Raises DescriptionError, which says why there can be none.

    `listed` says whether storage elements list the standby increments, `kaslr` whether the kernel
    chooses a random address.
    """
    increment = machine.increment or machine.block_size
    size = max(BLOCK, increment)
    if increment & (increment - 1):
        raise DescriptionError(
            f"the size of an increment is a power of two on s390, not {increment} bytes"
        )
    if machine.block_size != size:
        raise DescriptionError(
            f"blocks are of {size // MIB} MiB on s390 with increments of {increment // MIB} MiB,"
            f" not of {machine.block_size // MIB} MiB"
        )
    if not machine.firmware:
        raise DescriptionError("only a machine with firmware, that is an s390, can be booted")
    _check_groups(machine)
    each = machine.block_size // increment
    increments = (machine.groups[-1].last + 1) * each
    if increment < MIB or increments > MAX_INCREMENTS:
        raise DescriptionError(
            f"an s390 has at most {MAX_INCREMENTS} increments, each of 1 MiB or more; these are"
            f" {increments} of {increment} bytes"
        )
    storage = Storage(
        increment=increment,
        increments=increments,
        assigned=frozenset(
            number
            for group in machine.groups
            if group.config
            for number in _increments(group.first, group.last, each)
        ),
        listed=listed,
        spare=None if machine.hypervisor is None else machine.hypervisor // increment,
    )
    refusals = tuple(
        (change, block * each + 1, Refusal(times=fault.times))
        for transition, change in (
            ("config", StorageChange.ASSIGN),
            ("deconfig", StorageChange.UNASSIGN),
        )
        for block, fault in machine.faults.get(transition, {}).items()
    )
    return Partition(storage, tuple(_parameters(machine, kaslr)), refusals)


def _check_groups(machine: Machine) -> None:
    expected = 0
    for group in machine.groups:
        if group.first != expected:
            raise DescriptionError(
                f"blocks {expected} to {group.first - 1} are not described; on s390 a gap in the"
                " memory at boot is standby memory: say so (config 0)"
            )
        if group.config and not group.online:
            raise DescriptionError(
                f"block {group.first} is configured and offline at boot; a kernel sets the memory"
                " that it boots with online"
            )
        if group.node or group.more_nodes:
            raise DescriptionError(f"block {group.first} is on node {group.node}; the s390 has one")
        expected = group.last + 1
    if not machine.groups[0].config:
        raise DescriptionError("block 0 is not configured; the kernel is loaded there")


def _increments(first: int, last: int, each: int) -> range:
    """The increments of blocks, both ends inclusive; a block has `each` of them."""
    return range(first * each + 1, (last + 1) * each + 1)


def _parameters(machine: Machine, kaslr: bool) -> Iterator[str]:
    if not kaslr:
        yield "nokaslr"
    if machine.memmap_param is not None:
        yield f"memory_hotplug.memmap_on_memory={machine.memmap_param}"
    if machine.auto_online_blocks is not None:
        yield f"memhp_default_state={machine.auto_online_blocks}"
    if machine.online_policy is not None:
        yield f"memory_hotplug.online_policy={machine.online_policy}"
        yield f"memory_hotplug.auto_movable_ratio={machine.auto_movable_ratio}"
