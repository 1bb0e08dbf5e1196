"""The command line of chmem: options -> request -> selection -> run -> exit status."""

import gc
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import click

from chmem_py import messages
from chmem_py import options as options_
from chmem_py.command import Chmem, offer_devices, offer_nodes, offer_operands, schema_text
from chmem_py.hints import requested
from chmem_py.holding import holding, say_held, say_left
from chmem_py.interrupts import Interrupts
from chmem_py.layouts import Job, persist, save, to_apply, to_set, to_total, to_undo
from chmem_py.options import ORDERS, ZONES, Options, check
from chmem_py.output import NAME, Output
from chmem_py.reading import owned_by, read_selection, unable, zone_named
from chmem_py.request import Request
from chmem_py.run import Done, Site, gave_up, interrupted, run
from chmem_py.selection import select_nothing
from hotplug_cli import advice, offers, program
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import (
    UsageError,
    answer,
    flag,
    option,
)
from memory_hotplug.errors import HeldError, MemoryHotplugError, StoppedError
from memory_hotplug.hold import Held
from memory_hotplug.machine import Machine, open_tree
from memory_hotplug.plan import Action

_WHAT, _HOW, _OUTPUT = "What to do", "How to do it", "What to show"


@click.command(
    cls=Chmem,
    exclusive=[
        (
            *("enable", "disable", "deconfigure", "reconfigure"),
            *("total", "apply", "save", "undo", "policy", "uninstall"),
        ),
        ("configure", "total", "apply", "save", "undo", "policy", "uninstall"),
        ("blocks", "total", "apply", "save", "undo", "policy", "uninstall"),
        ("zone", "apply", "save", "undo", "policy", "uninstall"),
        ("memmap-on-memory", "apply", "save", "undo", "policy", "uninstall"),
        ("node", "apply", "save", "undo", "policy", "uninstall"),
        ("device", "total", "apply", "save", "undo", "policy", "uninstall"),
        ("persistent", "total", "apply", "save", "undo", "uninstall"),
        ("dry-run", "save"),
        ("json", "save", "uninstall", "install"),
        ("configure", "reconfigure"),
        ("force", "keep-free"),
        ("zone", "reconfigure"),
        ("disable", "memmap-on-memory"),
        ("deconfigure", "memmap-on-memory"),
    ],
    options_metavar="[options]",
)
@flag("-e", "--enable", "action", flag_value="enable", section=_WHAT, help="set memory online")
@flag("-d", "--disable", "action", flag_value="disable", section=_WHAT, help="set memory offline")
@flag("-c", "--configure", "action", flag_value="configure", section=_WHAT, help="configure memory")
@flag(
    "-g",
    "--deconfigure",
    "action",
    flag_value="deconfigure",
    section=_WHAT,
    help="deconfigure memory",
)
@flag(
    "--reconfigure",
    "action",
    flag_value="reconfigure",
    own=True,
    section=_WHAT,
    help="change memmap-on-memory (-m) of memory in any state",
)
@flag(
    "--total",
    "action",
    flag_value="total",
    own=True,
    section=_WHAT,
    help="set memory online or offline until SIZE is online",
)
@flag(
    "--apply",
    "action",
    flag_value="apply",
    own=True,
    section=_WHAT,
    help="bring the memory to the layout in a file, in a directory, or in memory-layout.d",
)
@flag(
    "--save",
    "action",
    flag_value="save",
    own=True,
    section=_WHAT,
    help="write the present layout to a file, or to memory-layout.d",
)
@flag(
    "--undo",
    "action",
    flag_value="undo",
    own=True,
    section=_WHAT,
    help="undo the last change",
)
@flag(
    "--policy",
    "action",
    flag_value="policy",
    own=True,
    section=_WHAT,
    help="say what becomes of memory that is added later: KEY=VALUE...",
)
@flag(
    "--uninstall",
    "action",
    flag_value="uninstall",
    own=True,
    section=_WHAT,
    help="remove what --install made",
)
@flag("-b", "--blocks", section=_WHAT, help="the argument is a block number or range")
@option(
    "-m",
    "--memmap-on-memory",
    metavar="0|1",
    shell_complete=offers.words(lambda: ["0", "1"]),
    callback=options_.memmap,
    section=_WHAT,
    help="where struct pages go: 1 in the block itself, 0 in memory that is online",
)
@option(
    "-z",
    "--zone",
    metavar="NAME",
    shell_complete=offers.words(lambda: [zone.value for zone in ZONES]),
    section=_WHAT,
    help="enable into, or disable from, this zone",
)
@option(
    "--node",
    metavar="N",
    callback=options_.count,
    shell_complete=offer_nodes,
    own=True,
    section=_WHAT,
    help="only blocks of this node",
)
@option(
    "--device",
    metavar="NAME",
    shell_complete=offer_devices,
    own=True,
    section=_WHAT,
    help="only blocks that this device brought; without SIZE, all of them",
)
@option(
    "-s",
    "--sysroot",
    metavar="DIR",
    shell_complete=offers.directories,
    default="/",
    section=_WHAT,
    help="change the machine whose sys is in DIR",
)
@flag("--persistent", own=True, section=_HOW, help="write the change to the layout as well")
@flag(
    "--install",
    own=True,
    section=_HOW,
    help="with --apply, do so at each boot and to added memory, too",
)
@flag("--dry-run", own=True, section=_HOW, help="write nothing; print the commands for it")
@flag(
    "--all-or-nothing",
    own=True,
    section=_HOW,
    help="undo all changes if a block fails or there is too little memory",
)
@option(
    "--timeout",
    metavar="SECONDS",
    callback=options_.seconds,
    own=True,
    section=_HOW,
    help="time limit for setting one block offline",
)
@option(
    "--retry",
    metavar="N",
    callback=options_.count,
    default="0",
    own=True,
    section=_HOW,
    help="retry a busy block N times",
)
@flag("--force", own=True, section=_HOW, help="take memory however much of it is in use")
@option(
    "--order",
    metavar="HOW",
    shell_complete=offers.words(lambda: ORDERS),
    callback=options_.order,
    default="auto",
    own=True,
    section=_HOW,
    help="which blocks to take for a SIZE: " + ", ".join(ORDERS),
)
@option(
    "--keep-free",
    metavar="SIZE",
    callback=options_.size,
    own=True,
    section=_HOW,
    help="take only memory that leaves SIZE available",
)
@flag("-v", "--verbose", section=_OUTPUT, help="print what was done to each block")
@option(
    "--advice",
    metavar="WHEN",
    shell_complete=offers.words(lambda: advice.WHEN),
    callback=options_.when,
    own=True,
    section=_OUTPUT,
    help="say what to do about failures: " + ", ".join(advice.WHEN),
)
@flag("--json", own=True, section=_OUTPUT, help="write only a JSON document, for scripts")
@answer(
    schema_text, "--json-schema", own=True, section=_OUTPUT, help="the JSON Schema of that document"
)
@answer(
    lambda: program.version(NAME), "-V", "--version", section="General", help="display the version"
)
@click.argument(
    "operands",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[SIZE|RANGE|BLOCKRANGE|FILE|KEY=VALUE...]",
    shell_complete=offer_operands,
)
def chmem(operands: Sequence[str], **given: Any) -> int:
    """Set memory online or offline, and configure or deconfigure it."""
    options = Options(**given)
    context = click.get_current_context()
    assert isinstance(context.command, Chmem)
    output = context.command.prepare(context)
    check(options, operands)
    if options.action == "uninstall":
        # Also where no memory block is, as in a container.
        from chmem_py.install import uninstall

        tree = open_tree(options.sysroot)
        context.call_on_close(tree.close)
        return output.finish(uninstall(tree, output, dry_run=options.dry_run))
    machine = Machine.at(options.sysroot)
    context.call_on_close(machine.close)
    if options.action == "save":
        return output.finish(save(machine, operands[0] if operands else None, output))
    if options.install and machine.tree.is_this_machine:
        from chmem_py.install import check_program

        check_program()
    job = _job(machine, options, operands, output)
    with Interrupts(options.timeout) as interrupts:
        try:
            with _held(machine, job, options, interrupts, output) as held:
                done = run(Site(machine, output, interrupts, held), job.select(), options.how)
                done = _keep(machine, job, done, options, output, held)
        except (StoppedError, HeldError) as error:
            nothing = select_nothing(job.request, machine)
            if isinstance(error, HeldError):
                say_held(error, output)
                done = gave_up(nothing)
            else:
                done = interrupted(nothing, interrupts.signal, output)
        # A signal that comes now is too late, and must not keep the report back.
        if options.json:
            from chmem_py.document import document

            root = machine.tree.root
            output.write([document(*done, _shown(options), output.messages, root)])
        return output.finish(done.status)


def _keep(
    machine: Machine, job: Job, done: Done, options: Options, output: Output, held: Held | None
) -> Done:
    """Write what is to outlive a boot. If that fails, the memory is changed nevertheless."""
    try:
        if options.persistent and held is not None:
            persist(machine, job, done)
        if options.install and done.signal is None:
            from chmem_py.install import install

            install(machine, output, dry_run=options.dry_run)
    except (MemoryHotplugError, OSError) as error:
        program.complain_of(NAME, error, output.say)
        changed = bool(done.tally.changed or done.tally.settings)
        return done._replace(status=Exit.PARTLY if changed else Exit.FAILURE)
    return done


def _held(
    machine: Machine, job: Job, options: Options, interrupts: Interrupts, output: Output
) -> AbstractContextManager[Held | None]:
    """The machine held, if anything is to be written to it."""
    if options.dry_run:
        say_left(machine, output)
        return nullcontext()
    if unable(machine, job.request.action, options):
        return nullcontext()
    return holding(machine, interrupts, options.timeout, output)


def _job(machine: Machine, options: Options, operands: Sequence[str], output: Output) -> Job:
    """What the command line asks for. Raises the errors about a wrong operand or layout."""
    if options.action == "apply":
        return to_apply(machine, operands[0] if operands else None, force=options.force)
    if options.action == "undo":
        return to_undo(machine)
    if options.action == "policy":
        return to_set(machine, operands)
    total = options.action == "total"
    action = Action.ENABLE if total else Action(options.action)
    owned = owned_by(machine, options.device)
    if operands:
        request = requested(operands[0], machine, options)
    else:
        assert owned
        request = Request(owned.device, first=min(owned.numbers), last=max(owned.numbers))
    asked = replace(
        request,
        action=action,
        memmap_on_memory=options.memmap_on_memory,
        node=options.node,
        device=options.device,
    )
    if total and request.size is None:
        advice = messages.RANGES_ELSEWHERE.of().advice
        raise UsageError(messages.TOTAL_OF_WHAT.of(text=request.text, advice=advice))
    if total and not unable(machine, action, options):
        zone = zone_named(options.zone, machine.read(("zones",)).has_zones, output)
        return to_total(machine, replace(asked, zone=zone), force=options.force)
    return Job(asked, lambda: read_selection(machine, asked, options, owned, output))


def _shown(options: Options) -> dict[str, Any]:
    """The options about how to do it, for the document."""
    names = ("dry_run", "all_or_nothing", "timeout", "retry", "force", "keep_free", "order")
    how = {name: getattr(options, name) for name in names}
    return {**how, "sysroot": os.path.abspath(options.sysroot)}


def main() -> None:
    """The console script."""
    # The process ends soon, and most objects of a large machine live until then.
    gc.disable()
    program.run(chmem, NAME)
