"""What columns need to know beside the table of blocks, such as a layout, devices and pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable, MemoryRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hotplug_cli.message import Sentence
    from lsmem_py.columns import Column
    from memory_hotplug.seen.findings import BlockContents
    from memory_hotplug.seen.iomem import Region

__all__ = ["Sources"]


class Sources:
    """A machine and its table of blocks, with what columns need beside it.

    Each property is read when it is first asked for, and once.
    """

    def __init__(
        self,
        machine: Machine,
        table: BlockTable,
        *,
        whole: bool = False,
        show_progress: bool = False,
    ) -> None:
        """With WHOLE all pages are read, and not a sample of them."""
        self.machine = machine
        self.table = table
        self.unknown: list[Sentence] = []
        """Messages about what could not be read."""
        self._whole = whole
        self._show_progress = show_progress

    def read(self, names: Collection[str]) -> None:
        """Read the properties with these NAMES, so that nothing fails halfway through a listing."""
        for name in sorted(names):
            getattr(self, name)

    def value(self, column: Column) -> Callable[[MemoryRange], Any]:
        """The function that gives the value of a range in COLUMN."""
        if not column.beside:
            return column.value
        of, known = column.value, getattr(self, column.beside)
        return lambda found: of(known, found)

    @cached_property
    def layout(self) -> Mapping[int, str | None]:
        """Block -> whether it is as the memory layout says.

        Raises LayoutError, and OSError if the layout cannot be read.
        """
        from lsmem_py.layout_targets import persistence

        return persistence(self.machine, self.table).words

    @cached_property
    def devices(self) -> Mapping[int, str]:
        """Block -> the device that brought it."""
        from memory_hotplug.seen.owners import owners_of

        found = owners_of(self.machine, self.table.numbers)
        if not found.known:
            from lsmem_py import messages

            self.unknown.append(messages.DEVICES_UNKNOWN.of())
        return found.devices

    @cached_property
    def tiers(self) -> Mapping[int, int]:
        """Node -> its memory tier."""
        from memory_hotplug.seen.owners import tiers

        return tiers(self.machine.tree)

    @cached_property
    def _contents(self) -> BlockContents:
        from lsmem_py.block_contents import read_contents

        return read_contents(
            self.machine, self.table, whole=self._whole, show_progress=self._show_progress
        )

    @cached_property
    def pages(self) -> BlockContents:
        """What the blocks hold."""
        if not self._contents.known:
            from lsmem_py import messages

            self.unknown.append(messages.PAGES_UNKNOWN.of())
        return self._contents

    @cached_property
    def poisoned(self) -> BlockContents:
        """The same, of which only the poisoned pages matter."""
        found = self._contents
        if found.unplaced or len(found.poisoned) < len(self.table.numbers):
            from lsmem_py import messages

            self.unknown.append(messages.POISONED_UNKNOWN.of())
        return found

    @cached_property
    def regions(self) -> Sequence[Region]:
        """The map of the address space."""
        from memory_hotplug.seen.iomem import read_iomem

        return read_iomem(self.machine.tree)

    @cached_property
    def beyond(self) -> Sequence[Region]:
        """Memory beyond the last block."""
        from memory_hotplug.seen.beyond import memory_beyond

        end = (self.table.numbers[-1] + 1) * self.table.block_size
        return memory_beyond(self.machine.tree, self.regions, end)

    @cached_property
    def in_holes(self) -> Sequence[Region]:
        """What can be where no block is: the map, and what only the firmware tells."""
        from memory_hotplug.seen.beyond import FROM_FIRMWARE

        return [*self.regions, *(one for one in self.beyond if one.name == FROM_FIRMWARE)]
