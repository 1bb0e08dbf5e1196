"""Options -> request -> run -> exit status."""

import contextlib
import gc
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from chmem_py.causes import cannot_write
from chmem_py.interrupts import Interrupts
from chmem_py.progress import Progress
from chmem_py.report import FAILURE, NAME, Lines, Report, say, script
from chmem_py.request import Request, RequestError, Selection, parse, select
from hotplug_cli import offers
from hotplug_cli.getopt import (
    BadUsageError,
    GetoptCommand,
    GetoptUsageError,
    answer,
    flag,
    option,
    write_example,
)
from hotplug_cli.messages import chmem as messages
from hotplug_cli.program import run, version
from memory_hotplug.block import MemoryBlock, Zone
from memory_hotplug.errors import BadSizeError, CannotWriteError, MemoryHotplugError, printable
from memory_hotplug.machine import Machine
from memory_hotplug.plan import NEEDED, Action, Order, plan
from memory_hotplug.ranges import BlockTable
from memory_hotplug.rehearsal import Rehearsal
from memory_hotplug.transaction import Outcome, Patience, carry_out

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ZONES = (Zone.DMA, Zone.DMA32, Zone.NORMAL, Zone.HIGHMEM, Zone.MOVABLE, Zone.DEVICE)
"""The zones that can be named."""

AGAIN = 3
"""How often at least EAGAIN is tried again."""

_YES_NO = {"1": True, "yes": True, "on": True, "0": False, "no": False, "off": False}

_NEEDS_CONFIGURING = {
    Action.CONFIGURE: "Cannot configure. Use -e instead.",
    Action.DECONFIGURE: "Cannot deconfigure. Use -d instead.",
    Action.RECONFIGURE: "Cannot reconfigure. Memory is not configured on this machine.",
}
"""What is said where memory is there without configuring."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, as click hands it over."""

    action: str | None
    blocks: bool
    verbose: bool
    zone: str | None
    sysroot: str
    memmap_on_memory: bool | None
    node: int | None
    dry_run: bool
    json: bool
    all_or_nothing: bool
    timeout: float | None
    retry: int


def _memmap(_: click.Context, __: click.Parameter, text: str | None) -> bool | None:
    if text is None:
        return None
    if text.lower() not in _YES_NO:
        raise click.UsageError(
            f"invalid argument of --memmap-on-memory: '{printable(text)}'; it takes 0 or 1"
        )
    return _YES_NO[text.lower()]


def _seconds(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # A million seconds are eleven days; setitimer(2) takes no infinity.
    if not 0.001 <= seconds <= 1e6:
        raise click.UsageError(
            f"invalid argument of --timeout: '{printable(text)}'; it takes seconds, 0.001 or more"
        )
    return seconds


def _count(_: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) <= 9):
        raise click.UsageError(
            f"invalid argument of --{parameter.name}: '{printable(text)}'; it takes a number"
        )
    return int(text)


def _schema() -> str:
    import json

    from chmem_py.document import schema

    return json.dumps(schema(), indent=2)


def _offer_blocks(
    ctx: click.Context, _: click.Parameter, typed: str
) -> "list[CompletionItem[str]]":
    """With --blocks, the numbers of the blocks; after ``5-``, those that can end a range."""
    from click.shell_completion import CompletionItem

    if not ctx.params.get("blocks"):
        return []
    first, dash, last = typed.rpartition("-")
    try:
        table = Machine.at(ctx.params.get("sysroot") or "/").read(("state", "configured"))
    except MemoryHotplugError:
        return []
    return [
        CompletionItem(f"{first}{dash}{block.number}", help=block.status)
        for block in table.blocks()
        if str(block.number).startswith(last)
        and not (first.isdecimal() and block.number < int(first))
    ]


class Chmem(GetoptCommand):
    """The command; its --help ends in the zones."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Supported zones"):
            formatter.write_text(", ".join(zone.value for zone in ZONES))
        formatter.write_paragraph()
        formatter.write_text(
            "A SIZE is in MiB, or with a suffix: 512m, 4g, 1t. A RANGE is 0x<start>-0x<end>, a "
            "BLOCKRANGE the number of a block, or <first>-<last>."
        )
        write_example(formatter, "chmem(8)", "chmem --enable 4g --zone Movable --dry-run")


_WHAT, _HOW, _OUTPUT = "What to do", "How to do it", "What to show"
_ACTIONS = tuple(action.value for action in Action)


@click.command(
    cls=Chmem,
    exclusive=[
        ("enable", "disable", "deconfigure", "reconfigure"),
        ("configure", "reconfigure"),
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
@flag("-b", "--blocks", section=_WHAT, help="the argument is of block numbers")
@option(
    "-m",
    "--memmap-on-memory",
    metavar="0|1",
    shell_complete=offers.words(lambda: ["0", "1"]),
    callback=_memmap,
    section=_WHAT,
    help="struct pages in the block itself, when configuring",
)
@option(
    "-z",
    "--zone",
    metavar="NAME",
    shell_complete=offers.words(lambda: [zone.value for zone in ZONES]),
    section=_WHAT,
    help="into, or only from, this zone",
)
@option(
    "--node", metavar="N", callback=_count, own=True, section=_WHAT, help="blocks of this node only"
)
@option(
    "-s",
    "--sysroot",
    metavar="DIR",
    shell_complete=offers.directories,
    default="/",
    section=_WHAT,
    help="the tree that holds /sys",
)
@flag("--dry-run", own=True, section=_HOW, help="write nothing; show the commands that would")
@flag(
    "--all-or-nothing",
    own=True,
    section=_HOW,
    help="take everything back when a block fails, or too little memory is to be had",
)
@option(
    "--timeout",
    metavar="SECONDS",
    callback=_seconds,
    own=True,
    section=_HOW,
    help="what setting one block offline may take",
)
@option(
    "--retry",
    metavar="N",
    callback=_count,
    default="0",
    own=True,
    section=_HOW,
    help="try again so often what is busy",
)
@flag("-v", "--verbose", section=_OUTPUT, help="say what becomes of each block")
@flag("--json", own=True, section=_OUTPUT, help="a document for scripts, and nothing else")
@answer(
    _schema, "--json-schema", own=True, section=_OUTPUT, help="the JSON Schema of that document"
)
@answer(lambda: version(NAME), "-V", "--version", section="General", help="display the version")
@click.argument(
    "operands",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[SIZE|RANGE|BLOCKRANGE]",
    shell_complete=_offer_blocks,
)
def chmem(operands: Sequence[str], **given: Any) -> int:
    """Set memory online or offline, and configure or deconfigure it."""
    options = Options(**given)
    action = _action(options, operands)
    machine = Machine.at(options.sysroot)
    request = _request(operands[0], machine, options)
    attributes = NEEDED if options.node is None else (*NEEDED, "node")
    table = machine.read(attributes)
    for remark in machine.remarks:
        say(remark)
    zones = _has_zones(table)
    order = Order(action, _zone(options.zone, zones), options.memmap_on_memory, movable=zones)
    plain = not (options.json or options.dry_run)
    unable = _unable(machine, action, options)
    if unable:
        if plain and action in _NEEDS_CONFIGURING and action is not Action.RECONFIGURE:
            lines = Lines()
            lines.write(unable)
            lines.flush()
        else:
            say(unable)
    selection = select(request, machine, table, order, options.node)
    if unable:
        selection = Selection((), selection.asked or 1, 0, selection.enough)
        if not options.json:
            return FAILURE
    report = Report(
        machine,
        order,
        request,
        selection,
        options.verbose and plain,
        plain,
        options.all_or_nothing,
        options.node,
    )
    report.messages.extend([unable] if unable else ())
    try:
        status, signal = _work(report, options)
    except CannotWriteError as error:
        report.say(cannot_write(error))
        status, signal = FAILURE, None
    if options.json:
        from chmem_py.document import document

        report.lines.write(document(report, status, signal, _shown(options)))
        report.lines.flush()
    return _status(report, status)


def _action(options: Options, operands: Sequence[str]) -> Action:
    """What is to be done, of a command line that makes sense so far; else raises UsageError."""
    if options.action is None:
        *most, last = (f"--{action}" for action in _ACTIONS)
        raise BadUsageError(messages.WHAT_TO_DO.of(actions=f"{', '.join(most)} or {last}"))
    if len(operands) != 1:
        given = f"not {len(operands)} of them" if operands else "and none is given"
        raise BadUsageError(messages.ONE_OPERAND.of(given=given))
    if not options.sysroot:
        raise click.UsageError("option --sysroot needs a directory; / is this machine")
    action = Action(options.action)
    if action is Action.RECONFIGURE and options.memmap_on_memory is None:
        raise click.UsageError("option --reconfigure needs --memmap-on-memory")
    return action


def _request(text: str, machine: Machine, options: Options) -> Request:
    """What is asked for; to an error of `parse` it adds what may have been meant."""
    try:
        return parse(text, machine.block_size, blocks=options.blocks)
    except (RequestError, BadSizeError) as error:
        if "," in text:
            error.add_note("no list is taken, but one SIZE, RANGE or BLOCKRANGE at a time")
        if not options.blocks and re.fullmatch("[0-9]+(-[0-9]+)?", text):
            error.add_note(f"for memory block {text} give --blocks, for a size a unit, as in 16g")
        raise


def _status(report: Report, status: int) -> int:
    """A closed pipe is no failure of the work; output that was lost otherwise is one to tell."""
    lost = report.lines.error
    if lost is None or isinstance(lost, BrokenPipeError):
        return status
    say(f"write error: {lost.strerror}")
    return status or FAILURE


def _has_zones(table: BlockTable) -> bool:
    """Whether zones are heeded at all. Of that the reference asks the first block alone, so that
    where it is deconfigured the kernel chooses all zones."""
    return bool(table.numbers) and table.columns["zones"][0] is not None


def _zone(name: str | None, zones: bool) -> Zone | None:
    if name is None:
        return None
    if not zones:
        say("zone ignored, no valid_zones sysfs attribute present")
        return None
    zone = Zone.named(name)
    if zone not in ZONES:
        zones_ = ", ".join(zone.value for zone in ZONES)
        raise GetoptUsageError(messages.UNKNOWN_ZONE.of(name=name, zones=zones_))
    return zone


def _unable(machine: Machine, action: Action, options: Options) -> str | None:
    """Why this machine cannot do what is asked at all."""
    if machine.configurable:
        return None
    if action in _NEEDS_CONFIGURING:
        return _NEEDS_CONFIGURING[action]
    if options.memmap_on_memory is not None:
        return "option --memmap-on-memory needs memory that can be configured, as on s390"
    return None


def _shown(options: Options) -> dict[str, Any]:
    names = ("node", "dry_run", "all_or_nothing", "timeout", "retry")
    return {
        **{name: getattr(options, name) for name in names},
        "sysroot": os.path.abspath(options.sysroot),
    }


def _work(report: Report, options: Options) -> tuple[int, int | None]:
    """Do it, or rehearse it; the exit status, and the signal that ended it early."""
    selection, machine = report.selection, report.machine
    report.before()
    blocks: Sequence[MemoryBlock] = selection.blocks
    if options.all_or_nothing and selection.possible < selection.asked:
        report.say("nothing is changed (--all-or-nothing)")
        report.refused = True
        blocks = ()
    if options.dry_run:
        return _rehearse(report, blocks, options), None
    _check_writable(machine, report.order, blocks)
    progress = Progress(selection.asked, machine.block_size)
    patience = Patience(busy=options.retry, again=max(options.retry, AGAIN))
    with Interrupts(options.timeout, lambda: _last_words(progress)) as interrupts:
        progress.start()
        try:
            for outcome in carry_out(
                machine,
                report.order,
                _watched(blocks, progress),
                enough=selection.enough,
                watch=interrupts,
                patience=patience,
                all_or_nothing=options.all_or_nothing,
                observe=options.json,
            ):
                report.tell(outcome)
                progress.done(report.changed + report.already)
        finally:
            progress.stop()
        status = report.finish(interrupts.signal)
        return status, interrupts.signal


def _rehearse(report: Report, blocks: Iterable[MemoryBlock], options: Options) -> int:
    rehearsal = Rehearsal(report.machine.tree)
    outcomes: Iterable[Outcome] = carry_out(
        Machine(rehearsal),
        report.order,
        blocks,
        enough=report.selection.enough,
        all_or_nothing=options.all_or_nothing,
    )
    for outcome in outcomes:
        report.tell(outcome)
    status = report.finish(None)
    if not options.json:
        for line in script(report.machine, rehearsal.writes, report):
            report.lines.write(line)
        report.lines.flush()
    return status


def _watched(blocks: Iterable[MemoryBlock], progress: Progress) -> Iterable[MemoryBlock]:
    for block in blocks:
        progress.begin(block.number)
        yield block


def _check_writable(machine: Machine, order: Order, blocks: Iterable[MemoryBlock]) -> None:
    """Refuse before anything is tried what no write could do; raises CannotWriteError.

    The first block to be written to speaks for all: a tree is protected as a whole.
    """
    for block in blocks:
        for step in plan(block, order).steps[:1]:
            path = step.path(block.number)
            refusal = machine.tree.refusal(path)
            if refusal and refusal.errno in CannotWriteError.OF_THE_WHOLE_TREE:
                root = os.path.abspath(machine.tree.root).rstrip("/")
                raise CannotWriteError(f"{root}/{path}", refusal)
            return


def _last_words(progress: Progress) -> None:
    """By the second signal. Nothing that may wait for a lock: the process is in the middle."""
    text = b"chmem: ended at once; the block at work may be half done\n"
    with contextlib.suppress(OSError):
        os.write(2, progress.abandon() + text)


def main() -> None:
    """The console script."""
    # The process is over soon, and on a large machine all its objects live until then.
    gc.disable()
    run(chmem, NAME)
