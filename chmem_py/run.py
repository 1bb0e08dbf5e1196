"""Carry out a request, or the dry run of it."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal, NamedTuple

from chmem_py import messages
from chmem_py.advice import (
    format_cannot_write,
    format_doubts,
    format_interruption,
    format_refusal,
)
from chmem_py.foresight import forecast, kept_free, need_of, refuse, warn
from chmem_py.interrupts import Interrupts
from chmem_py.kept_storage import storage_before
from chmem_py.output import Output
from chmem_py.policies import take_back_settings, write_settings
from chmem_py.selection import Selection
from chmem_py.tally import Tally, Why
from chmem_py.text import Text, format_script
from hotplug_cli.exits import Exit
from hotplug_cli.progress import Progress
from memory_hotplug.attribute import Attribute, path_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.batch import carry_out_each
from memory_hotplug.change.guard import Guard
from memory_hotplug.change.lock import Held
from memory_hotplug.change.plan import Action, Change
from memory_hotplug.change.rehearsal import Rehearsal
from memory_hotplug.change.steps import OFFLINE
from memory_hotplug.change.transaction import NOT_MOVED, Patience, Terms
from memory_hotplug.change.undo import format_record
from memory_hotplug.errors import (
    BlockError,
    CannotWriteError,
    LayoutError,
    MemoryHotplugError,
)
from memory_hotplug.machine import Machine
from memory_hotplug.seen.in_use import usage
from memory_hotplug.seen.kernel_log import poisoned_on

NONE: Literal["none"] = "none"
KeepFree = int | Literal["none"] | None


@dataclass(frozen=True, slots=True)
class How:
    """The options about how to do it, and what to show."""

    dry_run: bool = False
    all_or_nothing: bool = False
    timeout: float | None = None
    """Time limit for setting one block offline, in seconds."""
    retry: int = 0
    """Number of times that a busy block is retried."""
    keep_free: KeepFree = None
    """Bytes that are to stay available; NONE takes memory however much of it is in use, and None
    leaves it to the layout or the default."""
    order: str = "auto"
    """In which order blocks are tried, if there is a choice."""
    verbose: bool = False
    json: bool = False
    """Whether a document is written."""
    persistent: bool = False
    """Whether more is written afterwards, to the layout."""
    said: Mapping[str, str] = field(default_factory=dict)
    """The options as they were given, for commands that are advised."""


class Done(NamedTuple):
    """The result of a run."""

    tally: Tally
    status: int
    signal: int | None = None
    """The signal that ended the work early."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the work is done."""

    machine: Machine
    output: Output
    interrupts: Interrupts
    held: Held | None = None
    """The machine held; None if nothing is to be written to it."""
    guard: Guard | None = None
    """What keeps memory available; None if no memory is taken, or all may be."""


def run_changes(site: Site, selection: Selection, how: How) -> Done:
    """Change the blocks of SELECTION, or rehearse that, and write what was done."""
    machine, output = site.machine, site.output
    tally = Tally(selection, all_or_nothing=how.all_or_nothing, said=how.said)
    if selection.impossible:
        return Done(tally, Exit.FAILURE)
    plain = not (how.json or how.dry_run)
    text = Text(
        tally,
        how.verbose and plain,
        plain,
        rehearsed=how.dry_run,
        persistent=how.persistent,
        advised=output.advice or how.json,
    )
    output.write(format_doubts(selection))
    need = need_of(machine, selection)
    if tally.refused:
        output.write(format_refusal(selection))
    elif how.keep_free != NONE:
        keep_free = None
        if need and need.takes:
            keep_free = _kept_free(site, selection, how.keep_free)
            if refusal := refuse(machine, tally, need, keep_free):
                output.say(refusal)
                return Done(tally, Exit.FAILURE)
        site = replace(site, guard=Guard(machine, keep_free, selection.balance))
    if need:
        output.write(warn(machine, need))
    choice = selection.by_size and selection.request.action is Action.DISABLE
    if not choice or how.order == "highest":
        return _carry_out(site, text, selection.changes, how)
    from chmem_py.best_first import arranged

    # A rehearsal has no pages.
    real = machine.tree.machine if isinstance(machine.tree, Rehearsal) else machine
    with arranged(real, selection, how.order) as changes:
        return _carry_out(site, text, changes, how)


def _kept_free(site: Site, selection: Selection, given: int | None) -> int | None:
    """The bytes that are to stay available. A broken layout is told, and does not keep memory from
    being taken."""
    try:
        # Nothing is written yet, and a layout may be long.
        with site.interrupts.during("layout"):
            return kept_free(site.machine, selection, given)
    except (LayoutError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        site.output.say(messages.LAYOUT_LEFT_OUT.of(reason=reason))
        return None


def _carry_out(site: Site, text: Text, changes: Iterable[Change], how: How) -> Done:
    """Make CHANGES in this order, or rehearse that."""
    machine, output, interrupts = site.machine, site.output, site.interrupts
    tally = text.tally
    selection = tally.selection
    if tally.refused:
        changes = ()
    writes: Sequence[tuple[str, str]] = ()
    # Before the rehearsal, which may be in the same tree.
    now = usage(machine) if how.dry_run else None
    if how.dry_run:
        writes = _rehearse(site, changes, how, text)
    else:
        try:
            _check_writable(machine, selection, changes)
        except CannotWriteError as error:
            output.say(format_cannot_write(error))
            return Done(tally, Exit.FAILURE)
        with _recorded(site.held, tally, changes):
            if not tally.refused and write_settings(machine.tree, tally):
                _change(site, changes, how, text)
                if tally.all_or_nothing and not tally.complete:
                    take_back_settings(machine.tree, tally)
    output.write(text.format_end(machine, interrupts.signal))
    if how.dry_run:
        tally.forecast = tuple(forecast(machine, tally, now))
        script = list(format_script(writes, tally, machine.tree))
        if not how.json:
            output.write(script)
        # The document has every comment that the script has, and the commands as steps.
        tally.forecast = [line.removeprefix("# ") for line in script if line.startswith("# ")]
    return Done(tally, tally.status(interrupts.signal), interrupts.signal)


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
        held.begin_undo(format_record(undoes.before, record.settings, record.layout, undone))
    else:
        held.begin(islice(ahead, selection.enough), selection.settings)
    try:
        yield
    finally:
        before = [tally.outcomes[number].before for number in tally.changed]
        if undoes:
            whole = undoes.whole(before, tally.settings)
            held.finish_undo(*whole, tally.still_to_undo)
        else:
            held.finish(before, tally.settings)


def gave_up(selection: Selection) -> Done:
    """The result if nothing was begun, and it is said why."""
    return Done(Tally(selection), Exit.FAILURE)


def interrupted(selection: Selection, signal: int | None, output: Output) -> Done:
    """The result if a signal came before anything was begun."""
    tally = Tally(selection)
    output.say(format_interruption(tally))
    return Done(tally, tally.status(signal), signal)


def _change(site: Site, changes: Iterable[Change], how: How, text: Text) -> None:
    tally = text.tally
    selection = tally.selection
    progress = Progress(selection.asked, selection.block_size)
    site.interrupts.last_words, site.interrupts.began = progress.abandon, progress.begin
    kept = storage_before(site.machine, selection)
    progress.start()
    try:
        for outcome in carry_out_each(
            site.machine,
            changes,
            replace(
                _terms(site, selection, how),
                patience=Patience(busy=how.retry, again=max(how.retry, Patience().again)),
                observe=how.json or selection.balance is not None,
                held=site.held,
            ),
        ):
            tally.add(outcome, _why(site.machine, outcome.error))
            site.output.write(text.format_outcome(outcome))
            progress.done(tally.done + tally.already)
    finally:
        progress.stop()
    tally.storage_kept = kept(tally)


def _terms(site: Site, selection: Selection, how: How) -> Terms:
    """The terms that hold for a dry run, too."""
    return Terms(
        enough=selection.enough,
        watch=site.interrupts,
        all_or_nothing=how.all_or_nothing,
        guard=site.guard,
    )


def _why(machine: Machine, error: BlockError | None) -> Why:
    """What the machine itself says about a failure."""
    if error is None:
        return Why()
    from chmem_py.best_first import staying

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


def _rehearse(
    site: Site, changes: Iterable[Change], how: How, text: Text
) -> Sequence[tuple[str, str]]:
    """The writes, path and word, that would be made."""
    tree = site.machine.tree
    # What a killed chmem left may be restored in it already.
    rehearsal = tree if isinstance(tree, Rehearsal) else Rehearsal(site.machine)
    selection = text.tally.selection
    if text.tally.refused or not write_settings(rehearsal, text.tally):
        return ()
    for outcome in carry_out_each(Machine(rehearsal), changes, _terms(site, selection, how)):
        text.tally.add(outcome)
        site.output.write(text.format_outcome(outcome))
    if text.tally.all_or_nothing and not text.tally.complete:
        take_back_settings(rehearsal, text.tally)
    return rehearsal.writes


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
