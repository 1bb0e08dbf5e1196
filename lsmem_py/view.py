"""What of a machine is shown: once, or again and again."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from lsmem_py.columns import FIRMWARE_ONLY, Column
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable, MemoryRange


class View(NamedTuple):
    """A listing or a map, as the command line asks for it.

    A named tuple because every run makes the class, and a dataclass takes longer to make.
    """

    bytes: bool
    colour: bool
    attributes: Collection[str]
    """What must be read of each block."""
    map: str | None = None
    """What a map is coloured by; None for a listing, of which the rest speaks."""
    columns: Sequence[Column] = ()
    split: Collection[str] | None = ()
    """Attributes that ranges are split by; None for each block by itself."""
    headings: bool = True
    summary: str = "never"

    def ranges(self, table: BlockTable) -> Iterator[MemoryRange]:
        return table.each() if self.split is None else table.ranges(self.split)

    def shown(self, machine: Machine) -> list[Column]:
        """The columns that the machine can fill."""
        return [
            column
            for column in self.columns
            if machine.configurable or column.identifier not in FIRMWARE_ONLY
        ]

    def paint(self) -> Callable[[MemoryRange, str], str] | None:
        if not self.colour:
            return None
        from lsmem_py import colour

        return colour.painter()
