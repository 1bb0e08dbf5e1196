"""What a change must leave of a machine: memory that is available, and zones of the kernel.

Memory is looked at before each block is taken away. What is so at that moment counts: memory that
was to come and failed to come is not there, and a block that was to come back and did not is gone.
"""

from collections.abc import Iterable, Sequence

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.outcome import Outcome
from memory_hotplug.change.plan import Change, Plan
from memory_hotplug.change.steps import OFFLINE, ONLINE
from memory_hotplug.checks import check_type, optional
from memory_hotplug.errors import BlockError
from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Policy

__all__ = ["GUARDED", "RATIO", "Guard", "ZoneBalance", "balanced", "ratio_of", "takes_memory"]

RATIO = 301
"""The kernel's default of auto_movable_ratio, in percent (mm/memory_hotplug.c)."""


def takes_memory(change: Change) -> bool:
    """Whether a block that is online is set offline, be it for a moment."""
    if change.block.state is not State.ONLINE:
        return False
    return any(after.state is not State.ONLINE for _, after in change.stages())


def ratio_of(machine: Machine, policy: "Policy | None" = None) -> int:
    """How much memory zone Movable may have, in percent of the kernel's zones: the parameter
    auto_movable_ratio of the machine, or the kernel's default. With POLICY, what it will be once
    that is set."""
    found = machine.parameter("auto_movable_ratio") or ""
    if found and policy and policy.auto_movable_ratio is not None:
        return policy.auto_movable_ratio
    return int(found) if found.isascii() and found.isdecimal() and len(found) < 10 else RATIO


class ZoneBalance:
    """The blocks in zone Movable and in the kernel's zones, and what may still go into Movable.

    What the kernel needs for itself fits into its own zones only. It sets memory online in Movable
    by itself only up to `ratio_of` (mm/memory_hotplug.c, auto_movable_can_online_movable); so does
    a layout or a total that asks for Movable. What may be in any zone is not bounded, as it is not
    for util-linux's chmem.
    """

    def __init__(
        self, table: BlockTable, ratio: int = RATIO, changes: Iterable[Change] = ()
    ) -> None:
        """TABLE has the attributes state and zones; without zones nothing is refused. CHANGES are
        those to `expect`."""
        self.ratio = ratio
        """In percent."""
        zones = [_side(block) for block in table.blocks()] if table.shows_zones else []
        self._movable = zones.count(True)
        self._kernel = zones.count(False)
        self._known = bool(zones)
        self.expect(changes)

    def expect(self, changes: Iterable[Change]) -> None:
        """What CHANGES are going to take from the kernel's zones is not theirs any more."""
        self._to_lose = {
            change.number
            for change in changes
            if change.is_ahead and _side(change.block) is False and not _stays_in_kernel(change)
        }

    def look(self, machine: Machine) -> None:
        """Look at the machine's ratio, which a policy may just have set, or failed to set."""
        self.ratio = ratio_of(machine)

    def refusal(self, change: Change) -> BlockError | None:
        """The reason not to set a block online in Movable; None if it may, or does not ask so."""
        asks = change.is_ahead and change.order.zone is Zone.MOVABLE and _comes_online(change)
        if not asks or self._has_room(change):
            return None
        return BlockError(change.number, ONLINE.name, Cause.KERNEL_ZONES, zone=Zone.MOVABLE)

    def _has_room(self, change: Change) -> bool:
        if not self._known:
            return True
        own = _side(change.block) is False and change.number not in self._to_lose
        kernel = self._kernel - len(self._to_lose) - own
        return (self._movable + 1) * 100 <= kernel * self.ratio

    @property
    def percent(self) -> int | None:
        """What Movable has, in percent of the kernel's zones; None if these have nothing."""
        return self._movable * 100 // self._kernel if self._kernel else None

    @property
    def excess(self) -> int:
        """How many blocks would have to leave Movable for the kernel's zones, so that Movable is no
        larger than it may be; 0 if it is not."""
        above = self._movable * 100 - self._kernel * self.ratio
        return max(-(-above // (100 + self.ratio)), 0)

    def count(self, before: MemoryBlock, after: MemoryBlock) -> None:
        """Count a block that has changed."""
        self._to_lose.discard(before.number)
        for block, step in ((before, -1), (after, 1)):
            if (side := _side(block)) is not None:
                self._movable += step * side
                self._kernel += step * (not side)


def _side(block: MemoryBlock) -> bool | None:
    """Whether a block is in Movable; None if it is in no zone, or in one that is not told."""
    zone = zone_of(block)
    return None if zone is None else zone is Zone.MOVABLE


def _comes_online(change: Change) -> bool:
    return zone_of(change.block) is not Zone.MOVABLE and change.after.state is State.ONLINE


def _stays_in_kernel(change: Change) -> bool:
    return change.after.state is State.ONLINE and change.order.zone is not Zone.MOVABLE


def balanced(changes: Sequence[Change], table: BlockTable, ratio: int) -> Sequence[Change]:
    """CHANGES, of which those are refused that would make zone Movable too large, if all others
    succeed."""
    balance, found = ZoneBalance(table, ratio, changes), []
    for change in changes:
        if refused := balance.refusal(change):
            found.append(change._replace(plan=Plan(refused=refused)))
            continue
        found.append(change)
        balance.count(change.block, change.after)
    return found


GUARDED = (Cause.KEPT_FREE, Cause.KERNEL_ZONES)
"""The causes for which a Guard lets no block go."""


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
        check_type("machine", machine, Machine)
        optional("keep_free", keep_free, int)
        optional("balance", balance, ZoneBalance)
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
        from memory_hotplug.seen.in_use import usage

        now = usage(self._machine, by_node=False)
        if now is None or now.most_to_take(self._keep_free) >= self._machine.block_size:
            return None
        return BlockError(change.number, OFFLINE.name, Cause.KEPT_FREE)

    def count(self, outcome: Outcome) -> None:
        """Count what became of a block."""
        if self._balance:
            self._balance.count(outcome.before, outcome.after)
