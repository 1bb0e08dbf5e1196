"""A described machine as an LPAR: memsim's description in, storage and kernel parameters out.

What is said of blocks, increments, the hypervisor and the parameters is played. The rest (zones,
memory in use, faults of online and offline, delays) is the booted kernel's own affair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from lpar.service_element import MIB, Change, Refusal, Storage
from memsim.machine import Machine

BLOCK: Final = 128 * MIB
"""The least size of a memory block: a section's since Linux 6.16 (arch/s390/include/asm/
sparsemem.h); a larger increment makes larger blocks (arch/s390/mm/init.c)."""


class DescriptionError(Exception):
    """A machine that cannot be booted as it is described; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Partition:
    """What an LPAR boots with."""

    storage: Storage
    parameters: tuple[str, ...] = ()
    """For the kernel's command line."""
    refusals: tuple[tuple[Change, int, Refusal], ...] = ()
    """What the hypervisor refuses from the beginning: an increment, and how."""

    @property
    def block_size(self) -> int:
        """Bytes of a memory block."""
        return max(BLOCK, self.storage.increment)

    @property
    def key(self) -> str:
        """All of it as text, the same for the same partition."""
        values = asdict(self.storage) | {"assigned": sorted(self.storage.assigned)}
        refusals = [(change.name, number, asdict(how)) for change, number, how in self.refusals]
        return json.dumps([values, self.parameters, refusals])


def partition(machine: Machine, *, listed: bool = True, kaslr: bool = False) -> Partition:
    """The LPAR that a machine describes; DescriptionError says why it cannot be one.

    `listed` says whether the kernel finds standby increments in storage elements, `kaslr` whether
    it chooses its own address.
    """
    increment = machine.increment or machine.block_size
    size = max(BLOCK, increment)
    if machine.block_size != size:
        raise DescriptionError(
            f"blocks are of {size // MIB} MiB on s390 with increments of {increment // MIB} MiB,"
            f" not of {machine.block_size // MIB} MiB"
        )
    if not machine.firmware:
        raise DescriptionError("only a machine with firmware, that is an s390, can be booted")
    _check_groups(machine)
    each = machine.block_size // increment
    storage = Storage(
        increment=increment,
        increments=(machine.groups[-1].last + 1) * each,
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
        for transition, change in (("config", Change.ASSIGN), ("deconfig", Change.UNASSIGN))
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
        if group.node:
            raise DescriptionError(f"block {group.first} is on node {group.node}; the s390 has one")
        expected = group.last + 1
    if not machine.groups[0].config:
        raise DescriptionError("block 0 is not configured; the kernel is loaded there")


def _increments(first: int, last: int, each: int) -> range:
    """The increments of blocks, both ends inclusive, `each` of them in a block."""
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
