"""Carry out a request, or the dry run of it, and tell what is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chmem_py import messages
from chmem_py.interrupts import Interrupts
from chmem_py.options import Options
from chmem_py.output import Output
from chmem_py.text import Text, format_script
from hotplug_cli.exits import Exit, by_signal
from hotplug_cli.message import Sentence
from hotplug_cli.progress import Progress
from memory_hotplug.change.lock import Held
from memory_hotplug.errors import CannotWriteError, InUseError, TooFewError
from memory_hotplug.face import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.selection import Selection
from memory_hotplug.request.tally import Tally
from memory_hotplug.request.work import Work


class Done(NamedTuple):
    """The result of a run."""

    tally: Tally
    status: int
    signal: int | None = None
    """The signal that ended the work early."""
    forecast: Sequence[Sentence] = ()
    """What a dry run finds: all comments of its script."""


class Workplace(NamedTuple):
    """Where the work is done."""

    machine: Machine
    output: Output
    interrupts: Interrupts
    held: Held | None = None
    """The machine held; None if nothing is to be written to it."""


def run_changes(site: Workplace, work: Work, options: Options) -> Done:
    """Do the work, or rehearse it, and write what was done."""
    machine, output, tally = site.machine, site.output, work.tally
    plain = not (options.json or options.dry_run)
    text = Text(
        tally,
        verbose=options.verbose and plain,
        plain=plain,
        rehearsed=options.dry_run,
        persistent=options.persistent,
        advised=output.advice or options.json,
        said=options.said,
    )
    # What a node lacks is known once its memory is configured.
    known = options.dry_run or work.selection.again is None
    if known:
        output.write(_doubts(work.selection))
    refused = False
    try:
        work.look()
    except TooFewError:
        from chmem_py.advice import format_refusal

        refused = True
        output.write(format_refusal(work.selection))
    except InUseError as error:
        from chmem_py.foresight import in_use

        _say_left_out(work, output)
        output.say(in_use(error, machine, work.selection, options.said))
        return Done(tally, Exit.FAILURE)
    _say_left_out(work, output)
    if work.need:
        from chmem_py.foresight import warn

        output.write(warn(machine, work.need))
    try:
        if not refused:
            _carry_out(site, work, text)
    except CannotWriteError as error:
        from chmem_py.advice import format_cannot_write

        output.say(format_cannot_write(error))
        return Done(tally, Exit.FAILURE)
    signal = site.interrupts.signal
    if not known and signal is None:
        output.write(_doubts(tally.selection))
    output.write(text.format_end(machine, signal))
    if text.advised and not options.dry_run:
        from chmem_py.to_tell import not_told

        output.note(not_told(tally, machine))
    return Done(tally, status_of(tally, signal), signal, _forecast(site, work, options))


def _doubts(selection: Selection) -> Iterator[Sentence]:
    """Messages before the work. What makes them is imported only where there may be any: a plain
    change must start fast."""
    too_large = selection.by_size and selection.bytes_asked > selection.machine_size
    if too_large or selection.absences or not selection.changes:
        from chmem_py.advice import format_doubts

        yield from format_doubts(selection)


def _say_left_out(work: Work, output: Output) -> None:
    """Say why a broken layout does not keep memory from being taken."""
    error = work.left_out
    if error is not None:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
        output.say(messages.LAYOUT_LEFT_OUT.of(reason=reason))


_WAITED_FOR = {"offline": "moving its pages"}
"""What a step takes long for."""


def _carry_out(site: Workplace, work: Work, text: Text) -> None:
    """Have the blocks changed, with a progress bar, or the change rehearsed."""
    tally, selection = work.tally, work.selection
    progress = Progress(selection.asked, selection.block_size)
    if not text.rehearsed:
        site.interrupts.last_words, site.interrupts.began = progress.abandon, progress.begin
        site.interrupts.waits = lambda step: progress.wait_for(_WAITED_FOR.get(step))
        progress.start()
    try:
        for outcome in work:
            site.output.write(text.format_outcome(outcome))
            if not text.rehearsed:
                progress.done(tally.done + tally.already)
    finally:
        progress.stop()


def _forecast(site: Workplace, work: Work, options: Options) -> Sequence[Sentence]:
    """Write the script of a dry run. The document has every comment that it has, and the commands
    as steps."""
    if not options.dry_run:
        return ()
    from chmem_py.forecast import format_forecast

    found = list(format_forecast(work))
    if not options.json:
        site.output.write(format_script(work.writes, found, site.machine.tree))
    return found


def status_of(tally: Tally, signal: int | None) -> int:
    """The exit status; SIGNAL is the one that ended the work early."""
    if signal is not None:
        return by_signal(signal)
    if tally.complete:
        return Exit.SUCCESS
    kept = tally.reached and not tally.all_or_nothing
    return Exit.PARTLY if kept or tally.changed or tally.settings else Exit.FAILURE


def gave_up(selection: Selection) -> Done:
    """The result if nothing was begun, and it is said why."""
    return Done(Tally(selection), Exit.FAILURE)


def interrupted(selection: Selection, signal: int | None, output: Output) -> Done:
    """The result if a signal came before anything was begun."""
    from chmem_py.after_signal import format_interruption

    tally = Tally(selection)
    output.say(format_interruption(tally))
    return Done(tally, status_of(tally, signal), signal)
