"""Carry out a request, or the dry run of it."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from chmem_py.advice import (
    format_cannot_write,
    format_doubts,
    format_interruption,
    format_refusal,
)
from chmem_py.foresight import format_forecast, need_of, refuse, warn
from chmem_py.interrupts import Interrupts
from chmem_py.output import Output
from chmem_py.record import Record
from chmem_py.selection import Selection, takes_struct_pages
from chmem_py.settings import take_back_settings, write_settings
from chmem_py.tally import Tally
from chmem_py.text import Text, format_script
from hotplug_cli.exits import Exit
from hotplug_cli.progress import Progress
from memory_hotplug.attribute import Attribute, path_of
from memory_hotplug.block import MemoryBlock
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BlockError, CannotWriteError, MemoryHotplugError
from memory_hotplug.hold import Held
from memory_hotplug.machine import Machine
from memory_hotplug.outcome import Outcome
from memory_hotplug.plan import OFFLINE, Action
from memory_hotplug.rehearsal import Rehearsal
from memory_hotplug.simulated import is_simulated
from memory_hotplug.transaction import Patience, carry_out
from memory_hotplug.usage import usage

_NOT_MOVED = (errno.EBUSY, errno.EAGAIN, errno.EINTR)
"""What the kernel says of a block that it could not empty: it does not say why."""


@dataclass(frozen=True, slots=True)
class How:
    """The options about how to do it, and what to show."""

    dry_run: bool = False
    all_or_nothing: bool = False
    timeout: float | None = None
    """Time limit for setting one block offline, in seconds."""
    retry: int = 0
    """Number of times that a busy block is retried."""
    force: bool = False
    """Whether memory is taken however much is in use."""
    order: str = "auto"
    """In which order blocks are tried, if there is a choice."""
    keep_free: int | None = None
    """Bytes that are to stay available; None is the layout's or the default."""
    verbose: bool = False
    json: bool = False
    """Whether a document is written."""


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


def run(site: Site, selection: Selection, how: How) -> Done:
    """Change the blocks of SELECTION, or rehearse that, and write what was done."""
    machine, output = site.machine, site.output
    tally = Tally(selection, all_or_nothing=how.all_or_nothing)
    if selection.impossible:
        return Done(tally, Exit.FAILURE)
    plain = not (how.json or how.dry_run)
    text = Text(tally, how.verbose and plain, plain, rehearsed=how.dry_run)
    output.write(format_doubts(selection))
    need = need_of(machine, selection)
    if tally.refused:
        output.write(format_refusal(selection))
    elif need and not how.force and (refusal := refuse(machine, selection, need, how.keep_free)):
        output.say(refusal)
        return Done(tally, Exit.FAILURE)
    if need:
        output.write(warn(machine, need))
    choice = selection.by_size and selection.order.action is Action.DISABLE
    if not choice or how.order == "highest":
        return _carry_out(site, text, selection.blocks, how)
    from chmem_py.pages import arranged

    with arranged(machine, selection, how.order) as blocks:
        return _carry_out(site, text, blocks, how)


def _carry_out(site: Site, text: Text, blocks: Iterable[MemoryBlock], how: How) -> Done:
    """Change BLOCKS in this order, or rehearse that."""
    machine, output, interrupts = site.machine, site.output, site.interrupts
    tally = text.tally
    selection = tally.selection
    if tally.refused:
        blocks = ()
    writes: Sequence[tuple[str, str]] = ()
    if how.dry_run:
        writes = _rehearse(site, blocks, how, text)
    else:
        try:
            _check_writable(machine, selection, blocks)
        except CannotWriteError as error:
            output.say(format_cannot_write(error))
            return Done(tally, Exit.FAILURE)
        record = _record_of(site)
        ahead = islice(blocks, selection.enough)
        record.keep((block for block in ahead if _is_ahead(block, selection)), selection.settings)
        if write_settings(machine.tree, tally):
            _change(site, blocks, how, text)
            if tally.all_or_nothing and not tally.complete:
                take_back_settings(machine.tree, tally)
        record.finish([tally.outcomes[number].before for number in tally.changed], tally.settings)
    output.write(text.format_end(machine, interrupts.signal))
    if how.dry_run and not how.json:
        forecast = format_forecast(machine, tally)
        output.write(format_script(writes, tally, machine.tree, forecast))
    return Done(tally, tally.status(interrupts.signal), interrupts.signal)


def gave_up(selection: Selection) -> Done:
    """The result if nothing was begun, and it is said why."""
    return Done(Tally(selection), Exit.FAILURE)


def interrupted(selection: Selection, signal: int | None, output: Output) -> Done:
    """The result if a signal came before anything was begun."""
    tally = Tally(selection)
    output.say(format_interruption(tally))
    return Done(tally, tally.status(signal), signal)


def _change(site: Site, blocks: Iterable[MemoryBlock], how: How, text: Text) -> None:
    tally = text.tally
    selection = tally.selection
    progress = Progress(selection.asked, selection.block_size)
    site.interrupts.last_words = progress.abandon
    progress.start()
    try:
        for outcome in carry_out(
            site.machine,
            selection.orders or selection.order,
            _watched(_to_try(blocks, tally), progress),
            enough=selection.enough,
            watch=site.interrupts,
            patience=Patience(busy=how.retry, again=max(how.retry, Patience().again)),
            all_or_nothing=how.all_or_nothing,
            observe=how.json,
            held=site.held,
        ):
            if outcome.error:
                _look_why(site.machine, tally, outcome.error)
            _take(outcome, text, site.output)
            progress.done(tally.done + tally.already)
    finally:
        progress.stop()


def _record_of(site: Site) -> Record:
    """The record of the change to come; a tree that is only files has none."""
    tree, held = site.machine.tree, site.held
    lives = tree.is_this_machine or is_simulated(tree.root)
    return Record(tree.root if held and held.recording and lives else None)


def _is_ahead(block: MemoryBlock, selection: Selection) -> bool:
    planned = selection.plan_for(block)
    return not (planned.already or planned.refused)


def _look_why(machine: Machine, tally: Tally, error: BlockError) -> None:
    """Read what the machine itself says about a failure."""
    from chmem_py.pages import staying

    with contextlib.suppress(OSError, MemoryHotplugError):
        if error.step == OFFLINE.name and error.errno in _NOT_MOVED:
            now = usage(machine)
            if now is not None and now.available < machine.block_size:
                error.cause = Cause.NO_MEMORY
            elif page := staying(machine, error.number):
                tally.staying[error.number] = page
        if error.cause is Cause.UNMOVABLE:
            # Linux before 5.8 says whether a block could be set offline, as far as it knows.
            if machine.tree.read(path_of(Attribute.REMOVABLE, error.number)).strip() == b"0":
                tally.not_removable.add(error.number)
        elif error.cause is Cause.NO_STRUCT_PAGES:
            tally.no_memmap_on_memory = machine.parameter("memmap_on_memory") in (None, "N")
        elif error.cause is Cause.STORAGE_REFUSED and tally.without_struct_pages:
            # The kernel says the same where it has no page left to ask the hypervisor with
            # (drivers/s390/char/sclp_mem.c, do_assign_storage).
            error.cause = Cause.NO_MEMORY


def _take(outcome: Outcome, text: Text, output: Output) -> None:
    text.tally.add(outcome)
    output.write(text.format_outcome(outcome))


def _rehearse(
    site: Site, blocks: Iterable[MemoryBlock], how: How, text: Text
) -> Sequence[tuple[str, str]]:
    """The writes, path and word, that would be made."""
    rehearsal = Rehearsal(site.machine)
    selection = text.tally.selection
    if not write_settings(rehearsal, text.tally):
        return ()
    for outcome in carry_out(
        Machine(rehearsal),
        selection.orders or selection.order,
        _to_try(blocks, text.tally),
        enough=selection.enough,
        watch=site.interrupts,
        all_or_nothing=how.all_or_nothing,
    ):
        _take(outcome, text, site.output)
    return rehearsal.writes


def _to_try(blocks: Iterable[MemoryBlock], tally: Tally) -> Iterator[MemoryBlock]:
    """BLOCKS, and after each that failed another one in its place, if there is one.

    Once no memory is left for struct pages, blocks that need it are left out: for each of them the
    kernel might kill a process before it fails (mm/oom_kill.c).
    """
    selection = tally.selection
    for block in blocks:
        if tally.exhausted and takes_struct_pages(block, selection.order_for(block.number)):
            tally.not_tried.append(block.number)
            continue
        yield block
        failed = block.number
        for spare in selection.spares.get(failed, ()):
            if not tally.failed(failed):
                break
            number = spare.block.number
            in_vain = tally.exhausted and takes_struct_pages(spare.block, spare.order)
            if number not in selection.orders and not in_vain:
                failed = number
                selection.orders[number] = spare.order
                yield spare.block


def _watched(blocks: Iterable[MemoryBlock], progress: Progress) -> Iterator[MemoryBlock]:
    for block in blocks:
        progress.begin(block.number)
        yield block


def _check_writable(machine: Machine, selection: Selection, blocks: Iterable[MemoryBlock]) -> None:
    """Check that the tree can be written to before anything is changed. Raises CannotWriteError.

    Only the first block is checked: usually a tree is protected as a whole.
    """
    for path in _paths(selection, blocks):
        refusal = machine.tree.refusal(path)
        if refusal and refusal.errno in CannotWriteError.OF_THE_WHOLE_TREE:
            root = os.path.abspath(machine.tree.root).rstrip("/")
            raise CannotWriteError(f"{root}/{path}", refusal)
        return


def _paths(selection: Selection, blocks: Iterable[MemoryBlock]) -> Iterator[str]:
    """What would be written first."""
    yield from (setting.path for setting in selection.settings)
    for block in blocks:
        for step in selection.plan_for(block).steps[:1]:
            yield step.path(block.number)
