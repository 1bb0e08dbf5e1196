"""What is asked for: an amount of memory, certain blocks, or a state of the whole machine."""

from __future__ import annotations

from collections.abc import Sequence

from memory_hotplug.block import Zone
from memory_hotplug.change.plan import Action, Order
from memory_hotplug.condition import Condition
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.runs import Run

__all__ = ["Request"]


class Request(NamedTuple):
    """An amount of memory, or certain blocks; and what is to be done to them."""

    text: str = ""
    """The words of a person for it, for reports."""
    size: int | None = None
    """Bytes, a multiple of the block size."""
    first: int = 0
    last: int = 0
    """Block numbers, both inclusive."""
    action: Action = Action.APPLY
    """APPLY if each block is to become something of its own."""
    zone: Zone | None = None
    memmap_on_memory: bool | None = None
    node: int | None = None
    """Only blocks of this node are meant."""
    device: str | None = None
    """Only blocks that this device brought are meant."""
    movable: bool = True
    """As in an order."""
    condition: Condition | None = None
    """As in an order."""
    runs: Sequence[Run] = ()
    """First and last numbers of the blocks, where these are not all from FIRST to LAST."""
    whole: bool = False
    """Whether all blocks of the node or of the device are meant, so that none is missing."""

    def order(self, *, zones: bool) -> Order:
        """The order for each block; ZONES is whether the machine has zones at all."""
        return Order(
            self.action,
            self.zone,
            self.memmap_on_memory,
            self.movable and zones,
            self.condition,
        )
