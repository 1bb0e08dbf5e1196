"""Carry out what is asked for, or rehearse it: the one way for programs and for chmem."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import islice

from memory_hotplug.attribute import Attribute, path_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.absence import Absence
from memory_hotplug.change.batch import carry_out_each, take_back
from memory_hotplug.change.guard import Guard
from memory_hotplug.change.lock import Held
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import Action, Change
from memory_hotplug.change.steps import DECONFIGURE, OFFLINE
from memory_hotplug.change.transaction import NOT_MOVED, Terms
from memory_hotplug.change.undo import format_record
from memory_hotplug.errors import (
    BadOrderError,
    BlockError,
    CannotWriteError,
    InUseError,
    LayoutError,
    MemoryHotplugError,
    TooFewError,
)
from memory_hotplug.machine import Machine
from memory_hotplug.request.how import Manner
from memory_hotplug.request.mending import mended_ahead
from memory_hotplug.request.need import Need, need_of
from memory_hotplug.request.selection import Selection
from memory_hotplug.request.tally import Tally, Why
from memory_hotplug.trees.files import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.settings import Setting

__all__ = ["Work"]


class Work:
    """A change of a machine that is carried out while this is iterated over.

    Iterate once: it yields an `Outcome` as soon as a block has one, and another one if the block is
    changed once more, or back. Before the first, the machine is held, read and looked at; the
    errors are raised then, and nothing is written. Who leaves the loop ends the work after that
    block.

    It has more, for chmem's reports, that is not public.
    """

    def __init__(
        self,
        machine: Machine,
        select: Callable[[Machine], Selection],
        manner: Manner,
        hold: Callable[[Manner], AbstractContextManager[Held | None]],
    ) -> None:
        """SELECT reads what is to be changed, once HOLD holds the machine."""
        self.machine = machine
        """The machine that is read; in a dry run, what it would be."""
        self.manner = manner
        self.need: Need | None = None
        """Not public: what the change needs of the memory in use; None if nothing, or not known."""
        self.left_out: LayoutError | OSError | None = None
        """Why the layout of the machine could not be read, so that its keep_free does not count."""
        self.writes: Sequence[tuple[str, str]] = ()
        """The writes, path and word, that a dry run expects."""
        self._select, self._hold, self._given = select, hold, machine
        self._guard: Guard | None = None
        self._touched = self._looked = self._begun = False
        if manner.dry_run:
            from memory_hotplug.change.rehearsal import Rehearsal

            if not isinstance(machine.tree, Rehearsal):
                self.machine = Machine(mended_ahead(machine).tree)

    def __del__(self) -> None:
        if not getattr(self, "_touched", True):
            said = "a change was never iterated over: nothing was done"
            import warnings

            warnings.warn(said, RuntimeWarning, stacklevel=2)

    # What is to be done, and was

    @cached_property
    def selection(self) -> Selection:
        """Not public: what is selected. Read once, when it is first asked for."""
        self._touched = True
        return self._select(self.machine)

    @cached_property
    def tally(self) -> Tally:
        """Not public: what came of it so far."""
        return Tally(self.selection, all_or_nothing=self.manner.all_or_nothing)

    @property
    def absences(self) -> Sequence[Absence]:
        """What is asked for and the machine does not have: by a layout, by an undoing, or where
        `What.absent_ok` is given."""
        return tuple(self.tally.selection.absences) if self._begun else ()

    @property
    def changed(self) -> tuple[int, ...]:
        """The numbers of the blocks whose condition is not what it was before."""
        return tuple(self.tally.changed) if self._begun else ()

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is so."""
        return self._begun and self.tally.complete

    @property
    def errors(self) -> list[MemoryHotplugError]:
        """Why something is not as it was asked for: of each setting and each block that failed.
        What is not there is in `absences`."""
        if not self._begun:
            return []
        tally = self.tally
        failed = (CannotWriteError(f"/{one.path}", error) for one, error in tally.settings_failed)
        return [*failed, *(one.error for one in tally.outcomes.values() if one.error)]

    def rehearsal(self, machine: Machine) -> Work:
        """Not public: the same, as a dry run. Raises BadOrderError for what was begun already, and
        for work on another MACHINE."""
        self._touched = True
        if self._begun or machine is not self._given:
            whose = "was begun already" if self._begun else "is about another machine"
            raise BadOrderError(f"this change {whose}")
        return Work(machine, self._select, self.manner._replace(dry_run=True), self._hold)

    # Before anything is written

    def look(self) -> None:
        """Look at the memory in use, and whether there is enough of what is asked for. Raises
        InUseError and TooFewError."""
        if self._looked:
            return
        self._touched = self._looked = True
        machine, selection, manner = self.machine, self.selection, self.manner
        self.need = need_of(machine, selection)
        if self.tally.too_few and not selection.learns:
            size = selection.block_size
            possible = selection.bytes_possible
            raise TooFewError(Cause.NO_SUCH_BLOCK, asked=selection.asked * size, possible=possible)
        if manner.force:
            return
        keep_free = None
        if self.need and (self.need.takes or selection.again):
            keep_free = self._kept_free()
            self._check_in_use(self.need, keep_free)
        self._guard = Guard(machine, keep_free, selection.balance)

    def _kept_free(self) -> int | None:
        """The bytes that are to stay available: by the caller, by the layout that is applied, or by
        that of the machine; None if none says so. A broken layout does not keep memory from being
        taken."""
        for given in (self.manner.keep_free, self.selection.keep_free):
            if given is not None:
                return given
        from memory_hotplug.layout.places import find_layout

        try:
            # Nothing is written yet, and a layout may be long.
            with self.manner.watch.during("layout"):
                found = find_layout(self.machine.tree.system)
            return found.keep_free if found else None
        except (LayoutError, OSError) as error:
            self.left_out = error
            return None

    def _check_in_use(self, need: Need, keep_free: int | None) -> None:
        selection = self.selection
        size = selection.block_size
        possible = need.now.most_to_take(keep_free) // size
        if need.blocks > possible:
            asked = selection.asked if selection.by_size else need.blocks
            raise InUseError(
                Cause.KEPT_FREE,
                asked=asked * size,
                possible=possible * size,
                used=need.now.used,
            )

    # The work

    def __iter__(self) -> Iterator[Outcome]:
        self._touched = True
        if self._begun:
            raise RuntimeError("this change was begun already")
        with self._hold(self.manner) as held:
            self.look()
            self._begun = True
            try:
                with self._in_order() as changes:
                    if self.manner.dry_run:
                        yield from self._rehearse(changes)
                    else:
                        yield from self._do(changes, held)
            finally:
                if self.selection.descends:
                    self.tally.ascend()

    def _in_order(self) -> AbstractContextManager[Iterable[Change]]:
        """The changes in the order of trying."""
        selection = self.selection
        choice = selection.by_size and selection.request.action is Action.DISABLE
        if not choice or self.manner.prefer == "highest":
            return contextlib.nullcontext(selection.changes)
        from memory_hotplug.change.rehearsal import Rehearsal
        from memory_hotplug.request.best_first import arranged

        # A rehearsal has no pages.
        tree = self.machine.tree
        real = tree.machine if isinstance(tree, Rehearsal) else self.machine
        return arranged(real, selection, self.manner.prefer)

    def _terms(self) -> Terms:
        return Terms(
            enough=self.selection.enough,
            watch=self.manner.watch,
            all_or_nothing=self.manner.all_or_nothing,
            guard=self._guard,
        )

    def _settings_written(self) -> bool:
        """Write the settings; whether the blocks may be changed then."""
        written = write_settings(self.machine.tree, self.tally)
        if self.selection.balance:
            self.selection.balance.look(self.machine)
        return written

    def _rehearse(self, changes: Iterable[Change]) -> Iterator[Outcome]:
        from memory_hotplug.change.rehearsal import Rehearsal

        tree, tally = self.machine.tree, self.tally
        assert isinstance(tree, Rehearsal)
        if not self._settings_written():
            return
        try:
            for outcome in carry_out_each(self.machine, changes, self._terms()):
                tally.add(outcome)
                yield outcome
        finally:
            if tally.all_or_nothing and not tally.complete:
                take_back_settings(tree, tally)
            self.writes = tree.writes

    def _going_on(self, changes: Iterable[Change]) -> Iterator[Change]:
        """CHANGES and, once all of them are made, what a layout asks for then: of memory that was
        not configured the node is known only now."""
        yield from changes
        tally, again, known = self.tally, self.selection.again, set[int]()
        while again and tally.all_made:
            found = tally.configured - known
            if not found:
                return
            known |= found
            left = tally.go_on(again())
            if tally.too_few:
                return
            if tally.selection.balance:
                tally.selection.balance.expect(left)
            yield from left

    def _do(self, changes: Iterable[Change], held: Held | None) -> Iterator[Outcome]:
        machine, tally = self.machine, self.tally
        _check_writable(machine, self.selection, changes)
        kept = self._storage_before()
        observe = self.manner.observe or self.selection.balance is not None
        terms = self._terms()._replace(patience=self.manner.patience, observe=observe, held=held)
        with _recorded(held, tally, changes):
            if not self._settings_written():
                return
            for outcome in carry_out_each(machine, self._going_on(changes), terms):
                tally.add(outcome, _why(machine, outcome.error))
                yield outcome
            if tally.too_few:
                done = [one for one in tally.outcomes.values() if one.result is Result.DONE]
                for outcome in take_back(machine, done, terms):
                    tally.add(outcome)
                    yield outcome
            if kept:
                tally.add_storage_kept(kept(tally))
            if tally.all_or_nothing and not tally.complete:
                take_back_settings(machine.tree, tally)

    def _storage_before(self) -> Callable[[Tally], Sequence[int]] | None:
        """What says after the work of which blocks an s390 has kept storage; None if no block is
        to be deconfigured."""
        changes, again = self.selection.changes, self.selection.again is not None
        if not changes or not (again or any(DECONFIGURE in one.plan.steps for one in changes)):
            return None
        from memory_hotplug.request.kept_storage import storage_before

        return storage_before(self.machine, changes)


@contextlib.contextmanager
def _recorded(held: Held | None, tally: Tally, changes: Iterable[Change]) -> Iterator[None]:
    """A context after which the journal says what can be undone, whatever ended it."""
    selection = tally.selection
    if held is None:
        yield
        return
    undoes = selection.undoes
    ahead = (change for change in changes if change.is_ahead)
    if undoes:
        undone = undoes.whole((change.block for change in ahead), selection.settings)
        record = undoes.record
        words, layout, absent = record.settings, record.layout, undoes.absent
        held.begin_undo(format_record(undoes.before, words, layout, undone, absent))
    else:
        held.begin(islice(ahead, selection.enough), selection.settings)
    try:
        yield
    finally:
        before = tally.before_change
        if undoes:
            whole = undoes.whole(before, tally.settings)
            held.finish_undo(*whole, tally.still_to_undo)
        else:
            held.finish(before, tally.settings)


def _why(machine: Machine, error: BlockError | None) -> Why:
    """What the machine itself says about a failure."""
    if error is None:
        return Why()
    from memory_hotplug.request.best_first import staying
    from memory_hotplug.seen.kernel_log import poisoned_on

    page, not_removable, nowhere_else = None, False, False
    poisoned: Sequence[int] = ()
    with contextlib.suppress(OSError, MemoryHotplugError):
        moved = error.step != OFFLINE.name or error.errno not in NOT_MOVED
        if not moved and error.cause is not Cause.NO_MEMORY:
            page = staying(machine, error.number)
        if error.cause is Cause.POISONED:
            poisoned = (poisoned_on(machine) or {}).get(error.number, ())
        if error.cause is Cause.UNMOVABLE:
            # Linux before 5.8 says whether a block could be set offline, as far as it knows.
            removable = machine.tree.read(path_of(Attribute.REMOVABLE, error.number))
            not_removable = removable.strip() == b"0"
        if error.cause is Cause.NO_STRUCT_PAGES:
            nowhere_else = machine.parameter("memmap_on_memory") in (None, "N")
    return Why(page, poisoned, not_removable, nowhere_else)


def _check_writable(machine: Machine, selection: Selection, changes: Iterable[Change]) -> None:
    """Check that the tree can be written to before anything is changed. Raises CannotWriteError.

    Only the first block is checked: usually a tree is protected as a whole.
    """
    for path in _paths(selection, changes):
        refusal = machine.tree.refusal(path)
        if refusal and refusal.errno in CannotWriteError.OF_THE_WHOLE_TREE:
            root = os.path.abspath(machine.tree.root).rstrip("/")
            raise CannotWriteError(f"{root}/{path}", refusal)
        return


def _paths(selection: Selection, changes: Iterable[Change]) -> Iterator[str]:
    """What would be written first."""
    yield from (setting.path for setting in selection.settings)
    for change in changes:
        if change.is_ahead:
            yield from (step.path(change.number) for step, _ in change.stages())


def write_settings(tree: Tree, tally: Tally) -> bool:
    """Write the settings of the selection; whether the blocks may be changed then."""
    for setting in tally.selection.settings:
        error = _write(tree, setting)
        tally.add_setting(setting, error)
        if error and tally.all_or_nothing:
            take_back_settings(tree, tally)
            return False
    return True


def take_back_settings(tree: Tree, tally: Tally) -> None:
    """Bring the settings back that were written."""
    for setting in reversed(tally.settings):
        tally.add_setting_back(setting, _write(tree, setting.back))


def _write(tree: Tree, setting: Setting) -> OSError | None:
    try:
        tree.write(setting.path, setting.word)
    except OSError as error:
        return error
    return None
