"""Make the job that a command line asks for, and do it while the machine is held."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial

from chmem_py import messages
from chmem_py.actions import ACTIONS
from chmem_py.interrupts import Interrupts
from chmem_py.job import Job
from chmem_py.operands import check_device, is_possible, requested, say_remarks, unable, zone_for
from chmem_py.options import NONE, Options
from chmem_py.output import NAME, Output
from chmem_py.recovery import after_recovery, holding, say_held
from chmem_py.run import Done, Workplace, gave_up, interrupted, run_changes
from hotplug_cli import program
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import UsageError
from hotplug_cli.message import Sentence
from hotplug_cli.program import CommandError
from memory_hotplug.change.lock import Held
from memory_hotplug.change.plan import Action, Order
from memory_hotplug.errors import HeldError, MemoryHotplugError, StoppedError
from memory_hotplug.face import Machine
from memory_hotplug.machine import open_tree
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.asked import Request
from memory_hotplug.request.how import How
from memory_hotplug.request.selection import select_nothing
from memory_hotplug.request.tally import Tally
from memory_hotplug.request.work import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from chmem_py.persistence import Contest
    from memory_hotplug.change.undo import Rewritten
    from memory_hotplug.layout.model import Policy


class Asked(NamedTuple):
    """A command line that was read."""

    options: Options
    operands: Sequence[str]
    output: Output

    @property
    def operand(self) -> str | None:
        return self.operands[0] if self.operands else None


Maker = Callable[[Machine, Asked], Job]
"""Makes a job. Raises the errors about a wrong operand or layout."""


def change(make: Maker, asked: Asked) -> int:
    """Do the job that MAKE makes; the exit status."""
    options, output = asked.options, asked.output
    with Machine.at(options.sysroot) as machine:
        _check_place(machine, options)
        if options.dry_run:
            machine = after_recovery(machine, output)
        job = make(machine, asked)
        with Interrupts(options.timeout) as interrupts:
            try:
                with _held(machine, job, options, interrupts, output) as held:
                    done = _do(Workplace(machine, output, interrupts, held), job, asked)
            except (StoppedError, HeldError) as error:
                nothing = select_nothing(job.request, machine)
                if isinstance(error, HeldError):
                    say_held(error, output)
                    done = gave_up(nothing)
                else:
                    done = interrupted(nothing, interrupts.signal, output)
            # A signal that comes now is too late, and must not keep the report back.
            if options.json:
                from chmem_py.document import document_of

                output.write([document_of(done, _shown(asked, job), output, machine.tree.root)])
            return output.finish(done.status)


def _check_place(machine: Machine, options: Options) -> None:
    """Check that what is to outlive a boot can do so. Raises UsageError, CommandError, LayoutError
    and OSError."""
    if options.persistent:
        from chmem_py.persistence import check_place

        check_place(machine)
    if options.install:
        from chmem_py.install import check_install
        from chmem_py.layouts import check_own

        check_own(machine)
        check_install(machine.tree)


def _do(site: Workplace, job: Job, asked: Asked) -> Done:
    """Do the job, and write what is to outlive a boot. If that fails, the memory is changed
    nevertheless."""
    options, output = asked.options, asked.output
    work = job.work(_manner(site, job, options))
    if work is None:
        return gave_up(select_nothing(job.request, site.machine))
    say_remarks(work.selection.remarks, output)
    contest = None
    if options.persistent:
        from chmem_py.persistence import contest_of

        contest = contest_of(site.machine)
        contest.check(job, work.selection)
    done = run_changes(site, work, options)
    try:
        return done._replace(status=_keep(site, job, done, contest, asked))
    except (MemoryHotplugError, OSError) as error:
        program.complain_of(NAME, error, output.say)
        return done._replace(status=_so_far(done, output))


def _so_far(done: Done, output: Output) -> int:
    """The exit status where an error ends what comes after the change of the memory."""
    changed = done.tally.changed or done.tally.settings or output.files
    return Exit.PARTLY if changed else Exit.FAILURE


def _manner(site: Workplace, job: Job, options: Options) -> How:
    """The options, as the library takes them."""
    return How(
        keep_free=None if options.keep_free == NONE else options.keep_free,
        force=options.force,
        all_or_nothing=options.all_or_nothing,
        retry=options.retry,
        prefer=options.prefer,
        held=site.held,
        watch=site.interrupts,
        observe=options.json,
        dry_run=options.dry_run,
        text=job.request.text,
    )


def _keep(site: Workplace, job: Job, done: Done, contest: Contest | None, asked: Asked) -> int:
    """Write what is to outlive a boot; the exit status."""
    options, output = asked.options, asked.output
    machine, held, status = site.machine, site.held, done.status
    selection = done.tally.selection
    if contest:
        from chmem_py.persistence import persist

        status = persist(machine, job, done, contest, held, output)
        if job.policy and held and status == Exit.SUCCESS:
            _note_too_late(machine, job.policy, options, output)
    elif selection.undoes and selection.undoes.layout and status == Exit.SUCCESS:
        status = _put_back(site, done, selection.undoes.layout)
    whole = status == Exit.SUCCESS or not options.all_or_nothing
    if options.install and done.signal is None and whole:
        from chmem_py.install import install_units
        from memory_hotplug.layout.places import read_layout

        install_units(machine, output, dry_run=options.dry_run)
        if output.files and held and not contest:
            _note_too_late(machine, read_layout(machine.tree.root).policy, options, output)
        if status == Exit.FAILURE and output.files:
            status = Exit.PARTLY
    if held and not contest and (output.advice or options.json):
        lasting = "persistent" in ACTIONS[options.action or ""].takes
        keeps = "--persistent keeps it" if lasting else "chmem --save keeps it"
        if sentence := _reverted(machine, done.tally, keeps):
            output.say(sentence)
    return status


def _put_back(site: Workplace, done: Done, layout: Rewritten) -> int:
    """Undo what was made of the layout, which comes last; the exit status."""
    from chmem_py.command_lines import command
    from chmem_py.persistence import put_back
    from memory_hotplug.layout.places import SAVED

    machine, output, held = site.machine, site.output, site.held
    try:
        is_ours = put_back(machine, layout, held, output)
    except CommandError:
        # It is put back, but nothing applies it.
        raise
    except (MemoryHotplugError, OSError) as error:
        # The record still has it as what is left to undo.
        reason = next(program.sentences_of(error)).text
        again = command("--undo", machine.tree)
        output.say(messages.LAYOUT_NOT_BACK.of(reason=reason, command=again))
        return _so_far(done, output)
    if held:
        held.finish_layout()
    if is_ours:
        return done.status
    output.say(messages.LAYOUT_KEPT.of(file=f"/{SAVED}"))
    return Exit.PARTLY


def _note_too_late(machine: Machine, policy: Policy, options: Options, output: Output) -> None:
    """Note that the kernel starts with another policy, where anybody reads it."""
    if output.advice or options.json:
        from chmem_py.to_tell import too_late

        output.note(too_late(machine, policy))


def _reverted(machine: Machine, tally: Tally, keeps: str) -> Sentence | None:
    """What the layout changes back at the next boot; None if nothing. KEEPS says what would make it
    stay."""
    from memory_hotplug.layout.at_boot import is_applied_at_boot

    try:
        if not (tally.changed or tally.settings) or not is_applied_at_boot(machine.tree.root):
            return None
    except OSError:
        return None
    from chmem_py.persistence import reverted

    return reverted(machine, tally, keeps)


def _held(
    machine: Machine, job: Job, options: Options, interrupts: Interrupts, output: Output
) -> AbstractContextManager[Held | None]:
    """The machine held, if anything is to be written to it."""
    if options.dry_run or unable(machine, job.request.action, options):
        return nullcontext()
    return holding(machine, interrupts, options.timeout, output, options.action)


def _shown(asked: Asked, job: Job) -> dict[str, Any]:
    """The action and the options about how to do it, for the document."""
    options = asked.options
    return {
        "action": options.action,
        "layout_files": job.layout_files,
        "dry_run": options.dry_run,
        "all_or_nothing": options.all_or_nothing,
        "timeout": options.timeout,
        "retry": options.retry,
        "force": options.force,
        "keep_free": None if options.force else options.keep_free,
        "order": options.prefer,
        "sysroot": os.path.abspath(options.sysroot),
    }


# The jobs. What is about layouts is imported only for these: a plain enable must start fast.


def to_memory(machine: Machine, asked: Asked) -> Job:
    """The job for an action on a SIZE, a RANGE, a BLOCKRANGE, or all blocks of a device or node."""
    options = asked.options
    check_device(machine, options.device)
    if asked.operand is not None:
        request = requested(asked.operand, machine, options)
    else:
        request = Request(options.device or f"node {options.node}", whole=True)
    if request.size is None and options.order is not None:
        raise UsageError(messages.ORDER_OF_WHAT.of(text=request.text))
    return _job(machine, request, Action(options.action), asked)


def to_online(machine: Machine, asked: Asked) -> Job:
    """The job for --total."""
    request = requested(asked.operands[0], machine, asked.options)
    if request.size is None:
        from chmem_py import hint_messages

        advice = hint_messages.RANGES_ELSEWHERE.of().advice
        raise UsageError(messages.TOTAL_OF_WHAT.of(text=request.text, advice=advice))
    return _job(machine, request._replace(total=True), Action.ENABLE, asked)


def _job(machine: Machine, request: Request, action: Action, asked: Asked) -> Job:
    """The job for ACTION on the memory of REQUEST, with what the options say of it."""
    options, output = asked.options, asked.output
    zone = zone_for(machine, action, options.zone, output)
    order = Order(action, zone, options.memmap_on_memory)
    request = request._replace(order=order, node=options.node, device=options.device)

    def work(how: How) -> Work | None:
        possible = is_possible(machine, action, options, output)
        return machine.carry_out(request, **how) if possible else None

    return Job(request, work)


def _to_apply(machine: Machine, asked: Asked) -> Job:
    from chmem_py.layouts import to_apply

    return to_apply(machine, asked.operand, asked.output)


def _to_undo(machine: Machine, asked: Asked) -> Job:
    from chmem_py.layouts import to_undo

    return to_undo(machine)


def _to_set(machine: Machine, asked: Asked) -> Job:
    from chmem_py.layouts import to_set

    return to_set(machine, asked.operands)


# What is no change of memory


def save_layout(asked: Asked) -> int:
    """Write the present layout; the exit status."""
    from chmem_py.layouts import save

    with Machine.at(asked.options.sysroot) as machine:
        return asked.output.finish(save(machine, asked.operand, asked.output))


def remove(asked: Asked) -> int:
    """Remove what --install made, also where no memory block is, as in a container; the exit
    status."""
    from chmem_py.install import uninstall

    options, output = asked.options, asked.output
    with closing(open_tree(options.sysroot)) as tree:
        return output.finish(uninstall(tree, output, dry_run=options.dry_run))


_of_memory = partial(change, to_memory)

JOBS: dict[str, Callable[[Asked], int]] = {
    "enable": _of_memory,
    "disable": _of_memory,
    "configure": _of_memory,
    "deconfigure": _of_memory,
    "reconfigure": _of_memory,
    "total": partial(change, to_online),
    "apply": partial(change, _to_apply),
    "save": save_layout,
    "undo": partial(change, _to_undo),
    "policy": partial(change, _to_set),
    "uninstall": remove,
}
"""An action -> what does it; returns the exit status."""
