"""What a layout or a request asks for, and the machine does not have."""

from __future__ import annotations

from collections.abc import Sequence

from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.runs import Run, length

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Entry

__all__ = ["Absence", "absence_of"]


class Absence(NamedTuple):
    """Blocks that are asked for, and that the machine does not have."""

    entry: Entry | None
    """The entry of a layout that asks for them."""
    blocks: int
    """The number of these blocks."""
    ranges: Sequence[tuple[int, int]] = ()
    """Block numbers, the last one inclusive; empty for an amount of memory."""
    holders: Sequence[Entry] = ()
    """Entries that have memory which could serve this one."""
    zone: bool = False
    """Whether there is memory that no entry has, and that may not come into the zone that is asked
    for."""


def absence_of(ranges: Sequence[Run], entry: Entry | None = None) -> Absence:
    """The absence of all blocks in RANGES."""
    return Absence(entry, length(ranges), ranges)
