"""The storage of blocks, and the memory for their struct pages.

The hypervisor's side is drivers/s390/char/sclp_mem.c of Linux 6.19 (sclp_cmd.c before), the
struct pages are mm/sparse-vmemmap.c and mhp_supports_memmap_on_memory of mm/memory_hotplug.c.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from memsim.kernel.blocks import ABSENT, HOLE, MEMMAP, OFFLINE, ONLINE, PRESENT, Blocks
from memsim.machine import Machine

__all__ = ["STRUCT_PAGE_SHARE", "Hypervisor", "StructPages"]

STRUCT_PAGE_SHARE: Final = 64
"""Struct pages take 1/64 of a block: 64 bytes for each page of 4 KiB."""


class Hypervisor:
    """A hypervisor, and the storage that it can still give, in bytes."""

    __slots__ = ("_block_size", "pool")

    def __init__(self, machine: Machine, pool: int) -> None:
        self._block_size, self.pool = machine.block_size, pool

    @classmethod
    def at_boot(cls, machine: Machine, blocks: Blocks) -> Hypervisor:
        """Unless the machine says how much, it can give what all blocks without storage need."""
        if not machine.assigned_by:
            return cls(machine, 0)
        if machine.hypervisor is not None:
            return cls(machine, machine.hypervisor)
        without = [ABSENT] if machine.assigned_by == "config" else [ABSENT, OFFLINE]
        first, last = machine.groups[0].first, machine.groups[-1].last
        count = sum(blocks.count(place, first, last) for place in without)
        return cls(machine, count * machine.block_size)

    def assign(self) -> None:
        """Assign storage for a block (sclp_assign_storage); EIO if there is not enough left."""
        if self.pool < self._block_size:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.pool -= self._block_size

    def unassign(self) -> None:
        """Unassign the storage of a block (sclp_unassign_storage)."""
        self.pool += self._block_size


class StructPages:
    """How many blocks hold their own struct pages, and how many do not.

    The blocks are counted when this is first needed; after that the counts are kept up to date.
    """

    __slots__ = ("_blocks", "_counts", "_machine", "size")

    def __init__(self, machine: Machine, blocks: Blocks) -> None:
        self._machine, self._blocks = machine, blocks
        self._counts: tuple[int, int] | None = None
        self.size = machine.block_size // STRUCT_PAGE_SHARE
        """The size of the struct pages of one block, in bytes."""

    @property
    def own(self) -> int:
        """The number of online blocks that hold their own struct pages."""
        return self._counted()[0]

    @property
    def outside(self) -> int:
        """The number of present blocks whose struct pages are in other memory."""
        return self._counted()[1]

    def _counted(self) -> tuple[int, int]:
        if self._counts is None:
            blocks = self._blocks
            first, last = self._machine.groups[0].first, self._machine.groups[-1].last
            absent = sum(blocks.count(place, first, last) for place in (HOLE, ABSENT))
            inside = blocks.count_flagged(MEMMAP, PRESENT, first, last)
            own = blocks.count_flagged(MEMMAP, ONLINE, first, last)
            self._counts = own, last + 1 - first - absent - inside
        return self._counts

    def add(self, *, own: int = 0, outside: int = 0) -> None:
        """Add COUNT blocks of this kind, or remove them if it is negative."""
        if self._counts is not None:
            self._counts = self._counts[0] + own, self._counts[1] + outside
