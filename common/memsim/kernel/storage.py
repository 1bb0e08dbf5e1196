"""The storage of blocks, and the memory for their struct pages.

The hypervisor's side is drivers/s390/char/sclp_mem.c of Linux 6.19 (sclp_cmd.c before), the
struct pages are mm/sparse-vmemmap.c and mhp_supports_memmap_on_memory of mm/memory_hotplug.c.
"""

from __future__ import annotations

import errno
from typing import Final

from memsim.kernel.blocks import ABSENT, EARLY, HOLE, MEMMAP, ONLINE, PRESENT, Blocks
from memsim.kernel.state import KernelState
from memsim.machine import Machine
from safe_files.errno_names import error_of

__all__ = [
    "NO_PAGE_TABLES",
    "Hypervisor",
    "StructPages",
]

_ASSIGN, _UNASSIGN, _REFUSED = 0x000D0001, 0x000C0001, 0x0320
"""Commands for the service element, and its answer when it refuses one."""

NO_PAGE_TABLES: Final = (
    "no memory for its page tables; in place of this error, the kernel may end processes, or panic"
)

_STRUCT_PAGE: Final = 64
"""The size of a struct page: those of a block take 1/64 of it where pages are of 4 KiB."""

_PAGE_TABLE_SHARE: Final = 256
"""Without large pages, page tables take 1/256 of a block: on s390 a page of 4 KiB for each MiB
(arch/s390/mm/vmem.c)."""


class Hypervisor:
    """A hypervisor, which assigns storage in increments; a block has one or more.

    What it can still give and what blocks keep that they do not use is in the KernelState.
    """

    __slots__ = ("_block_size", "_increment", "_state", "_undoes")

    def __init__(self, machine: Machine, state: KernelState) -> None:
        size, increment = machine.block_size, machine.increment
        self._block_size, self._state = size, state
        self._increment = increment if increment and size % increment == 0 else size
        # Up to Linux 6.18, MEM_CANCEL_ONLINE gives everything back.
        self._undoes = machine.assigned_by == "online"

    def refusal(self, block: int, *, kept: bool = False) -> str:
        """The kernel's line about storage that was not assigned or is kept (do_assign_storage).

        The first increment of the block, counted from 1, stands for all that are refused.
        """
        command = _UNASSIGN if kept else _ASSIGN
        number = block * (self._block_size // self._increment) + 1
        return (
            f"sclp_mem: assign storage failed (cmd=0x{command:08x}, response=0x{_REFUSED:04x}, "
            f"rn=0x{number:04x})"
        )

    def assign(self, block: int, *, refused: bool = False) -> None:
        """Assign the increments of a block (sclp_mem_change_state).

        EIO if the hypervisor has too few, or refuses one. Those that it gave stay assigned, and
        are not taken from the pool again when all are asked for again.
        """
        missing = self._block_size - self._state.kept.pop(block, 0)
        wanted = max(missing - self._increment, 0) if refused else missing
        given = min(wanted, self._state.pool // self._increment * self._increment)
        if refused or given < missing:
            if not self._undoes:
                self._state.pool -= given
                if assigned := self._block_size - missing + given:
                    self._state.kept[block] = assigned
            raise error_of(errno.EIO)
        self._state.pool -= given

    def unassign(self, block: int, *, refused: bool = False) -> None:
        """Unassign the storage of a block (sclp_unassign_storage).

        If the hypervisor refuses one increment, that stays assigned; Linux ignores it.
        """
        if refused:
            self._state.kept[block] = self._increment
        self._state.pool += self._block_size - self._state.kept.get(block, 0)


class StructPages:
    """How many blocks hold their own struct pages, and how many do not; and page tables.

    The blocks are counted when this is first needed; after that the counts are kept up to date.
    """

    __slots__ = ("_blocks", "_counts", "_machine", "page_tables", "size")

    def __init__(self, machine: Machine, blocks: Blocks) -> None:
        self._machine, self._blocks = machine, blocks
        self._counts: tuple[int, int, int] | None = None
        self.size = machine.block_size // machine.page_size * _STRUCT_PAGE
        """The size of the struct pages of one block, in bytes."""
        self.page_tables = 0 if machine.large_pages else machine.block_size // _PAGE_TABLE_SHARE
        """The size of the page tables of one block, in bytes."""

    @property
    def own(self) -> int:
        """The number of online blocks that hold their own struct pages."""
        return self._counted()[0]

    @property
    def outside(self) -> int:
        """The number of present blocks whose struct pages are in other memory."""
        return self._counted()[1]

    @property
    def in_use(self) -> int:
        """Bytes of online memory that hold struct pages, or page tables of added blocks."""
        own, outside, added = self._counted()
        return (own + outside) * self.size + added * self.page_tables

    @property
    def in_other_blocks(self) -> int:
        """As `in_use`, without the struct pages that blocks hold themselves."""
        return self.in_use - self.own * self.size

    def _counted(self) -> tuple[int, int, int]:
        if self._counts is None:
            blocks = self._blocks
            first, last = self._machine.groups[0].first, self._machine.groups[-1].last
            absent = sum(blocks.count(place, first, last) for place in (HOLE, ABSENT))
            inside = blocks.count_flagged(MEMMAP, PRESENT, first, last)
            own = blocks.count_flagged(MEMMAP, ONLINE, first, last)
            present = last + 1 - first - absent
            added = present - blocks.count_flagged(EARLY, PRESENT, first, last)
            self._counts = own, present - inside, added
        return self._counts

    def add(self, *, own: int = 0, outside: int = 0, added: int = 0) -> None:
        """Add COUNT blocks of this kind, or remove them if it is negative."""
        if self._counts is not None:
            counts = self._counts
            self._counts = counts[0] + own, counts[1] + outside, counts[2] + added
