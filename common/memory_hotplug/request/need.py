"""What a change needs of the memory that is online, before it is begun."""

from __future__ import annotations

from itertools import chain, islice

from memory_hotplug.block import State
from memory_hotplug.change.guard import takes_memory
from memory_hotplug.change.plan import Change
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.selection import Selection
from memory_hotplug.table import MEMMAP_FRACTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.seen.in_use import Usage

__all__ = ["Need", "need_of"]


class Need(NamedTuple):
    """What a change needs at most, at one time, of the memory that is online."""

    blocks: int
    """The number of blocks that are taken, less those that were given before."""
    struct_pages: int
    """Bytes for the struct pages of blocks that do not hold their own, less the memory that the
    blocks before have given."""
    takes: bool
    """Whether any block is taken at all."""
    now: Usage
    """What there is before the change."""


def need_of(machine: Machine, selection: Selection) -> Need | None:
    """What SELECTION needs, if no block fails; None where that is nothing, or nobody tells how much
    memory is in use.

    The blocks are changed one after the other.
    """
    if not any(map(_may_need, selection.changes)):
        return None
    from memory_hotplug.seen.in_use import usage

    now = usage(machine)
    if now is None:
        return None
    size = selection.block_size
    taken = most_taken = room = most_room = 0
    takes = False
    ahead = (change for change in selection.changes if change.is_ahead)
    for change in islice(ahead, selection.enough):
        was = change.block
        for _, block in change.stages():
            if was.state is State.ONLINE and block.state is not State.ONLINE:
                takes = True
                taken += 1
                most_taken = max(most_taken, taken)
            if block.configured and not was.configured and not block.memmap_on_memory:
                room += size // MEMMAP_FRACTION
                most_room = max(most_room, room)
            if block.state is State.ONLINE and was.state is not State.ONLINE:
                taken -= 1
            was = block
        if was.state is State.ONLINE and change.block.state is not State.ONLINE:
            room -= size
    # All blocks of an entry have the same spares.
    spares = {id(change.spares): change.spares for change in selection.changes}
    takes = takes or any(map(takes_memory, chain.from_iterable(spares.values())))
    return Need(most_taken, most_room, takes, now)


def _may_need(change: Change) -> bool:
    """Whether a change may need memory that is online; a block that is only set online does not."""
    block = change.block
    return block.state is State.ONLINE or block.configured is not None or bool(change.spares)
