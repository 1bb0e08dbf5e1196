"""Carry out a request, or the dry run of it."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chmem_py.advice import (
    format_cannot_write,
    format_doubts,
    format_interruption,
    format_refusal,
)
from chmem_py.interrupts import Interrupts
from chmem_py.output import Output
from chmem_py.progress import Progress
from chmem_py.selection import Selection
from chmem_py.tally import Tally
from chmem_py.text import Text, format_script
from hotplug_cli.exits import Exit
from memory_hotplug.attribute import Attribute, path_of
from memory_hotplug.block import MemoryBlock
from memory_hotplug.causes import Cause
from memory_hotplug.errors import CannotWriteError
from memory_hotplug.hold import Held
from memory_hotplug.machine import Machine
from memory_hotplug.outcome import Outcome
from memory_hotplug.plan import plan
from memory_hotplug.rehearsal import Rehearsal
from memory_hotplug.transaction import Patience, carry_out

LEAST_AGAIN = 3
"""A write that the kernel answers with EAGAIN is retried at least so many times."""


@dataclass(frozen=True, slots=True)
class How:
    """The options about how to do it, and what to show."""

    dry_run: bool = False
    all_or_nothing: bool = False
    timeout: float | None = None
    """Time limit for setting one block offline, in seconds."""
    retry: int = 0
    """Number of times that a busy block is retried."""
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
    machine, output, interrupts = site.machine, site.output, site.interrupts
    tally = Tally(selection, all_or_nothing=how.all_or_nothing)
    if selection.impossible:
        return Done(tally, Exit.FAILURE)
    plain = not (how.json or how.dry_run)
    text = Text(tally, verbose=how.verbose and plain, plain=plain)
    output.write(format_doubts(selection))
    blocks = selection.blocks
    if tally.refused:
        output.write(format_refusal(selection))
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
        _change(site, blocks, how, text)
    output.write(text.format_end(machine, interrupts.signal))
    if how.dry_run and not how.json:
        output.write(format_script(writes, tally, machine.tree))
    return Done(tally, tally.status(interrupts.signal), interrupts.signal)


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
            selection.order,
            _watched(blocks, progress),
            enough=selection.enough,
            watch=site.interrupts,
            patience=Patience(busy=how.retry, again=max(how.retry, LEAST_AGAIN)),
            all_or_nothing=how.all_or_nothing,
            observe=how.json,
            held=site.held,
        ):
            if outcome.error and outcome.error.cause is Cause.UNMOVABLE:
                _note_removable(site.machine, tally, outcome.number)
            _take(outcome, text, site.output)
            progress.done(tally.done + tally.already)
    finally:
        progress.stop()


def _note_removable(machine: Machine, tally: Tally, number: int) -> None:
    """Linux before 5.8 says of a block whether it could be set offline, as far as it knows."""
    with contextlib.suppress(OSError):
        if machine.tree.read(path_of(Attribute.REMOVABLE, number)).strip() == b"0":
            tally.not_removable.add(number)


def _take(outcome: Outcome, text: Text, output: Output) -> None:
    text.tally.add(outcome)
    output.write(text.format_outcome(outcome))


def _rehearse(
    site: Site, blocks: Iterable[MemoryBlock], how: How, text: Text
) -> Sequence[tuple[str, str]]:
    """The writes, path and word, that would be made."""
    rehearsal = Rehearsal(site.machine)
    selection = text.tally.selection
    for outcome in carry_out(
        Machine(rehearsal),
        selection.order,
        blocks,
        enough=selection.enough,
        watch=site.interrupts,
        all_or_nothing=how.all_or_nothing,
    ):
        _take(outcome, text, site.output)
    return rehearsal.writes


def _watched(blocks: Iterable[MemoryBlock], progress: Progress) -> Iterator[MemoryBlock]:
    for block in blocks:
        progress.begin(block.number)
        yield block


def _check_writable(machine: Machine, selection: Selection, blocks: Iterable[MemoryBlock]) -> None:
    """Check that the tree can be written to before anything is changed. Raises CannotWriteError.

    Only the first block is checked: usually a tree is protected as a whole.
    """
    for block in blocks:
        for step in plan(block, selection.order).steps[:1]:
            path = step.path(block.number)
            refusal = machine.tree.refusal(path)
            if refusal and refusal.errno in CannotWriteError.OF_THE_WHOLE_TREE:
                root = os.path.abspath(machine.tree.root).rstrip("/")
                raise CannotWriteError(f"{root}/{path}", refusal)
            return
