"""What is asked for: an amount of memory, certain blocks, or a state of the whole machine."""

from __future__ import annotations

from collections.abc import Sequence

from memory_hotplug.block import Zone
from memory_hotplug.change.plan import Action, Order
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.runs import Run

__all__ = ["Request"]


class Request(NamedTuple):
    """An amount of memory, or certain blocks; and what is to be done to them."""

    text: str = ""
    """The words of a person for it, for reports."""
    size: int | None = None
    """Bytes, a multiple of the block size."""
    runs: Sequence[Run] = ()
    """First and last numbers of the blocks, both inclusive, ascending. None where a size is
    requested, or each block is to become something of its own, or the machine has still to tell
    which blocks a node or a device has."""
    order: Order | None = None
    """The order for each block; None if each is to become something of its own."""
    node: int | None = None
    """Only blocks of this node are meant."""
    device: str | None = None
    """Only blocks that this device brought are meant."""
    whole: bool = False
    """Whether all blocks of the node or of the device are meant, so that none is missing."""
    total: bool = False
    """Whether the size is what is to be online in the end."""
    absent_ok: bool = True
    """Whether the machine may lack some of the blocks, or the node."""

    @property
    def action(self) -> Action:
        return self.order.action if self.order else Action.APPLY

    @property
    def zone(self) -> Zone | None:
        return self.order.zone if self.order else None
