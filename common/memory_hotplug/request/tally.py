"""Count the outcomes of blocks and of settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memory_hotplug.block import MemoryBlock, State, Zone, same_condition, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.guard import ZoneBalance
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import Action
from memory_hotplug.change.undo import format_record
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.selection import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.change.plan import Change
    from memory_hotplug.change.removal import Emptied
    from memory_hotplug.change.targets import Targets
    from memory_hotplug.layout.settings import Setting
    from memory_hotplug.request.best_first import Staying


__all__ = ["Tally", "Why"]


class Why(NamedTuple):
    """What the machine itself says about a failure."""

    page: Staying | None = None
    """The page that kept the block online."""
    poisoned: Sequence[int] = ()
    """The addresses of its pages that are poisoned, if the block is not set online for them."""
    not_removable: bool = False
    """Whether `removable` is 0: Linux before 5.8 says so of a block that cannot be set offline."""
    nowhere_else: bool = False
    """Whether struct pages cannot be in the block itself, so that memory for them must be free."""


_NOTHING = Why()


class Tally:
    """The outcomes of a selection so far."""

    def __init__(self, selection: Selection, *, all_or_nothing: bool = False) -> None:
        self.selection = selection
        self.all_or_nothing = all_or_nothing
        self.outcomes: dict[int, Outcome] = {}
        """Block number -> its latest outcome, without the blocks that were already as requested."""
        self.as_wanted: list[int] = []
        """The blocks that were already as requested."""
        self.done = 0
        """The number of blocks that were changed as requested, and not taken back."""
        self.elsewhere: dict[Zone, list[int]] = {}
        """The blocks that were online already, but in another zone than the one asked for."""
        self.why: dict[int, Why] = {}
        """Block that failed -> what the machine says about it, if it says something."""
        self.not_tried: dict[Cause, list[int]] = {}
        """Cause -> the blocks that were not tried, to keep the machine alive."""
        self.settings: Sequence[Setting] = ()
        """The settings that were written, and not taken back."""
        self.settings_failed: Sequence[tuple[Setting, OSError]] = ()
        self.storage_kept: Sequence[int] = ()
        """The deconfigured blocks of which the hypervisor has kept storage."""
        self._offline: list[int] = []
        """The numbers of blocks that were already offline, and configured."""

    @property
    def already(self) -> int:
        """The number of blocks that were already as requested."""
        return len(self.as_wanted)

    @property
    def too_few(self) -> bool:
        """Whether not all that is asked for can be made, as far as is known now, and nothing else
        will do. Before the work nothing is begun then; a layout that learns it takes all back."""
        return self.all_or_nothing and self.selection.possible < self.selection.asked

    def add(self, outcome: Outcome, why: Why = _NOTHING) -> None:
        """Count the outcome of one more block, or another outcome of a block; and WHY it failed."""
        if outcome.result is Result.NOT_TRIED:
            assert outcome.error
            self.not_tried.setdefault(outcome.error.cause, []).append(outcome.number)
            return
        if outcome.result is Result.ALREADY:
            self.as_wanted.append(outcome.number)
            if outcome.before.configured and outcome.before.state is State.OFFLINE:
                self._offline.append(outcome.number)
            zone, wanted = zone_of(outcome.before), self.selection.request.zone
            if wanted and zone not in (None, wanted):
                self.elsewhere.setdefault(zone, []).append(outcome.number)
            return
        known = self.outcomes.get(outcome.number)
        if known is not None and known.result is Result.DONE:
            self.done -= 1
        self.outcomes[outcome.number] = outcome
        if why != _NOTHING:
            self.why[outcome.number] = why
        if outcome.result is Result.DONE:
            self.done += 1

    @property
    def configured(self) -> set[int]:
        """The numbers of the blocks that were not configured before, and are now."""
        done = self.outcomes.values()
        return {
            one.number for one in done if one.before.configured is False and one.after.configured
        }

    def go_on(self, targets: Targets) -> list[Change]:
        """Go on to TARGETS, once all that was selected is so; the changes that are left."""
        known = {*self.outcomes, *self.as_wanted}
        left = [one for one in targets.changes if not one.plan.already or one.number not in known]
        self.selection = self.selection.with_targets(*targets)
        wanted = {change.number for change in targets.changes}
        self.done = len(wanted.intersection(self.numbers(Result.DONE)))
        wanted -= {change.number for change in left}
        self.as_wanted = [number for number in self.as_wanted if number in wanted]
        return left

    def ascend(self) -> None:
        """Have the blocks ascend, whatever the order of the work was."""
        self.outcomes = dict(sorted(self.outcomes.items()))
        self.why = dict(sorted(self.why.items()))
        self.as_wanted.sort()

    def add_storage_kept(self, blocks: Iterable[int]) -> None:
        """Count deconfigured BLOCKS of which the hypervisor has kept storage."""
        self.storage_kept = (*self.storage_kept, *blocks)

    def add_setting(self, setting: Setting, error: OSError | None) -> None:
        """Count a setting that was written, or failed with ERROR."""
        if error:
            self.settings_failed = (*self.settings_failed, (setting, error))
        else:
            self.settings = (*self.settings, setting)

    def add_setting_back(self, setting: Setting, error: OSError | None) -> None:
        """Count a setting that was taken back, or failed to be with ERROR."""
        if error:
            self.settings_failed = (*self.settings_failed, (setting.back, error))
        else:
            self.settings = tuple(one for one in self.settings if one is not setting)

    def numbers(self, result: Result) -> list[int]:
        """The numbers of the blocks with that result."""
        return [n for n, outcome in self.outcomes.items() if outcome.result is result]

    @property
    def still_configured(self) -> Sequence[int]:
        """The numbers of the blocks to disable that are offline, but still configured."""
        if self.selection.request.action is not Action.DISABLE:
            return ()
        return sorted([*self._offline, *self.left_configured])

    @property
    def left_configured(self) -> Sequence[int]:
        """The numbers of the blocks that were set offline, and could not be deconfigured."""
        return [n for n, outcome in self.outcomes.items() if _stays_configured(outcome)]

    @property
    def _not_given_back(self) -> bool:
        """Whether the hypervisor has not got what it was to get. Of a total, only what is online
        counts."""
        kept = (*self.left_configured, *self.storage_kept)
        return any(not self.outcomes[number].change.plan.suffices for number in kept)

    @property
    def _left_between(self) -> bool:
        """Whether a block is neither as requested nor as it was. For a size another one may have
        taken its place."""
        return any(outcome.stuck for outcome in self.outcomes.values())

    @property
    def emptied(self) -> Sequence[Emptied]:
        """The devices of which memory was set offline."""
        if self.selection.removal is None:
            return ()
        from memory_hotplug.change.removal import emptied

        return emptied(self.selection.removal, self.outcomes.values())

    def crowded(self, ratio: int) -> ZoneBalance | None:
        """The zones afterwards, if memory was set online in Movable, which has more than RATIO
        percent of all others then; else None. What may be in any zone is not bounded."""
        zones, outcomes = self.selection.zones, self.outcomes
        done = outcomes.values()
        if zones is None:
            return None
        if not any(zone_of(one.after) is Zone.MOVABLE is not zone_of(one.before) for one in done):
            return None
        try:
            table = zones()
        except MemoryHotplugError:
            # Not read before the change, they cannot be read now; the change itself is done.
            return None
        found = ZoneBalance(table, ratio)
        for block in table.blocks():
            if block.number in outcomes:
                found.count(block, outcomes[block.number].after)
        return found if found.excess else None

    @property
    def set_online(self) -> dict[Zone | None, list[int]]:
        """The configured blocks, by zone, that the kernel itself set online."""
        found: dict[Zone | None, list[int]] = {}
        for number, outcome in self.outcomes.items():
            if came_online(outcome):
                found.setdefault(zone_of(outcome.after), []).append(number)
        return found

    @property
    def changed(self) -> Sequence[int]:
        """The numbers of the blocks whose condition is not what it was before."""
        return [n for n, outcome in self.outcomes.items() if _differs(outcome)]

    @property
    def before_change(self) -> list[MemoryBlock]:
        """These blocks as they were before."""
        return [self.outcomes[number].before for number in self.changed]

    @property
    def bytes_done(self) -> int:
        return self.done * self.selection.block_size

    @property
    def reached(self) -> int:
        """The number of blocks and settings that are as requested; of a size, those changed."""
        already = 0 if self.selection.by_size else self.already
        return self.done + already + len(self.settings)

    @property
    def all_made(self) -> bool:
        """Whether all that is on the machine is as requested, and nothing else was done; not of a
        size."""
        selection = self.selection
        all_reached = self.reached >= len(selection.changes) + len(selection.settings)
        return all_reached and not self._left_between

    @property
    def complete(self) -> bool:
        """Whether all that was requested is so."""
        selection = self.selection
        asked = selection.asked + len(selection.settings)
        if not asked and selection.request.action is Action.APPLY:
            return True
        if not selection.by_size and (self.not_tried or not asked):
            # What was changed, and could not be changed once more, counts as reached.
            return False
        return self.reached >= asked and not (self._not_given_back or self._left_between)

    @property
    def still_to_undo(self) -> bytes | None:
        """The record of what an undoing has left, the layout included, which comes last; None if
        nothing is left, or nothing is undone."""
        undoes = self.selection.undoes
        if undoes is None or (self.complete and not undoes.layout):
            return None
        undone = undoes.whole(self.before_change, self.settings)
        done = {*self.numbers(Result.DONE), *self.as_wanted}
        blocks = [before for before in undoes.before if before.number not in done]
        written = {setting.key for setting in self.settings}
        left = {setting.key for setting in self.selection.settings} - written
        settings = {key: word for key, word in undoes.record.settings.items() if key in left}
        layout = undoes.record.layout
        # The layout, which comes last, does not wait for memory that may never come back.
        absent = () if layout else undoes.absent
        return format_record(blocks, settings, layout, undone, absent)


def _stays_configured(outcome: Outcome) -> bool:
    """Whether a block was set offline, but could not be deconfigured."""
    failed = outcome.error is not None and outcome.error.step == "deconfigure"
    taken = any(write.step == "offline" and write.happened for write in outcome.writes)
    return failed and taken and not outcome.undone and outcome.stuck is None


def came_online(outcome: Outcome) -> bool:
    """Whether the kernel set a block online that was configured, and nobody asked it to."""
    steps = {write.step for write in outcome.writes}
    return (
        outcome.result is Result.DONE
        and outcome.after.state is State.ONLINE
        and "configure" in steps
        and steps.isdisjoint({"online", "offline"})
    )


def _differs(outcome: Outcome) -> bool:
    """Whether the block is not as it was. Its zone counts where all was done: what was undone may
    be in another one, which is told."""
    zones = zone_of(outcome.before), zone_of(outcome.after)
    moved = outcome.result is Result.DONE and zones[0] is not zones[1]
    return moved or not same_condition(outcome.before, outcome.after)
