"""What a change must leave of a machine: memory that is available, and zones of the kernel.

Memory is looked at before each block is taken away. What is so at that moment counts: memory that
was to come and failed to come is not there, and a block that was to come back and did not is gone.
"""

from collections.abc import Iterable, Sequence

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BlockError
from memory_hotplug.machine import Machine
from memory_hotplug.outcome import Outcome
from memory_hotplug.plan import Change, Plan
from memory_hotplug.ranges import BlockTable
from memory_hotplug.steps import OFFLINE, ONLINE
from memory_hotplug.usage import usage

__all__ = ["RATIO", "Guard", "ZoneBalance", "balanced", "ratio_of", "takes_memory"]

RATIO = 301
"""The kernel's default of auto_movable_ratio, in percent (mm/memory_hotplug.c)."""


def takes_memory(change: Change) -> bool:
    """Whether a block that is online is set offline, be it for a moment."""
    if change.block.state is not State.ONLINE:
        return False
    return any(after.state is not State.ONLINE for _, after in change.stages())


def ratio_of(machine: Machine) -> int:
    """How much memory zone Movable may have, in percent of the kernel's zones: the parameter
    auto_movable_ratio of the machine, or the kernel's default."""
    found = machine.parameter("auto_movable_ratio") or ""
    return int(found) if found.isascii() and found.isdecimal() and len(found) < 10 else RATIO


class ZoneBalance:
    """The blocks in zone Movable and in the kernel's zones, and what may still go into Movable.

    What the kernel needs for itself fits into its own zones only. It sets memory online in Movable
    by itself only up to `ratio_of` (mm/memory_hotplug.c, auto_movable_can_online_movable); so does
    whoever asks for a layout or a total.
    """

    def __init__(self, table: BlockTable, ratio: int = RATIO) -> None:
        """TABLE has the attributes state and zones; without zones nothing is refused."""
        self._ratio = ratio
        zones = [_side(block) for block in table.blocks()] if table.has_zones else []
        self.movable = zones.count(True)
        """The number of blocks in zone Movable."""
        self.kernel = zones.count(False)
        """The number of blocks in other zones."""
        self._known = bool(zones)

    def refusal(self, change: Change) -> BlockError | None:
        """The reason not to set a block online in Movable; None if it may, or does not ask so."""
        if not self._known or not change.is_ahead or not _asks_for_movable(change):
            return None
        kernel = self.kernel - (_side(change.block) is False)
        if (self.movable + 1) * 100 <= kernel * self._ratio:
            return None
        return BlockError(change.number, ONLINE.name, Cause.KERNEL_ZONES, zone=Zone.MOVABLE)

    def count(self, before: MemoryBlock, after: MemoryBlock) -> None:
        """Count a block that has changed."""
        for block, step in ((before, -1), (after, 1)):
            if (side := _side(block)) is not None:
                self.movable += step * side
                self.kernel += step * (not side)


def _side(block: MemoryBlock) -> bool | None:
    """Whether a block is in Movable; None if it is in no zone, or in one that is not told."""
    zone = zone_of(block)
    return None if zone is None else zone is Zone.MOVABLE


def _asks_for_movable(change: Change) -> bool:
    return (
        change.order.zone is Zone.MOVABLE
        and zone_of(change.block) is not Zone.MOVABLE
        and change.after.state is State.ONLINE
    )


def balanced(changes: Iterable[Change], table: BlockTable, ratio: int) -> Sequence[Change]:
    """CHANGES, of which those are refused that would make Movable too large against what all the
    others leave to the kernel's zones."""
    changes = list(changes)
    balance = ZoneBalance(table, ratio)
    for change in changes:
        if change.is_ahead and not _asks_for_movable(change):
            balance.count(change.block, change.after)
    found = []
    for change in changes:
        if refused := balance.refusal(change):
            change = change._replace(plan=Plan(refused=refused))
        elif change.is_ahead and _asks_for_movable(change):
            balance.count(change.block, change.after)
        found.append(change)
    return found


class Guard:
    """Takes care that memory remains available on MACHINE, and zones of the kernel remain."""

    def __init__(
        self,
        machine: Machine,
        keep_free: int | None = None,
        balance: ZoneBalance | None = None,
    ) -> None:
        """KEEP_FREE bytes are to stay available; None is the default of `Usage.most_to_take`.
        Without BALANCE any block may go into Movable."""
        self._machine = machine
        self._keep_free = keep_free
        self._balance = balance

    def refusal(self, change: Change) -> BlockError | None:
        """The reason not to begin CHANGE now; None if there is none, or nobody tells how much
        memory is in use."""
        if self._balance and (refused := self._balance.refusal(change)):
            return refused
        if not takes_memory(change):
            return None
        now = usage(self._machine)
        if now is None or now.most_to_take(self._keep_free) >= self._machine.block_size:
            return None
        return BlockError(change.number, OFFLINE.name, Cause.KEPT_FREE)

    def count(self, outcome: Outcome) -> None:
        """Count what became of a block."""
        if self._balance:
            self._balance.count(outcome.before, outcome.after)
