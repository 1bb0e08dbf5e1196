"""The command line of chmem: options -> request -> selection -> run -> exit status."""

import gc
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from chmem_py import options as options_
from chmem_py.holding import holding, say_left
from chmem_py.interrupts import Interrupts
from chmem_py.options import ACTIONS, ZONES, Options
from chmem_py.output import NAME, Output
from chmem_py.request import Request, parse
from chmem_py.run import Site, interrupted, run
from chmem_py.selection import Selection, needed, select, select_nothing
from hotplug_cli import advice, offers, program
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import (
    GIVEN,
    GetoptCommand,
    GetoptOption,
    GetoptUsageError,
    UsageError,
    answer,
    flag,
    option,
    write_example,
)
from hotplug_cli.messages import Sentence
from hotplug_cli.messages import chmem as messages
from hotplug_cli.remarks import sentence_of
from memory_hotplug.attribute import Attribute
from memory_hotplug.block import Zone
from memory_hotplug.errors import MemoryHotplugError, StoppedError
from memory_hotplug.hold import Held
from memory_hotplug.machine import Machine
from memory_hotplug.plan import Action, Order
from memory_hotplug.ranges import BlockTable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_NEEDS_CONFIGURING = {
    Action.CONFIGURE: messages.CANNOT_CONFIGURE,
    Action.DECONFIGURE: messages.CANNOT_DECONFIGURE,
    Action.RECONFIGURE: messages.CANNOT_RECONFIGURE,
}
"""The message for each action where memory is never configured."""


def _schema() -> str:
    import json

    from chmem_py.document import schema

    return json.dumps(schema(), indent=2)


def _offer_blocks(
    ctx: click.Context, _: click.Parameter, typed: str
) -> "list[CompletionItem[str]]":
    """Offer the block numbers if --blocks is given; after ``5-``, those that can end the range."""
    from click.shell_completion import CompletionItem

    if not ctx.params.get("blocks"):
        return []
    first, dash, last = typed.rpartition("-")
    try:
        with Machine.at(ctx.params.get("sysroot") or "/") as machine:
            table = machine.read(("state", "configured"))
    except MemoryHotplugError:
        return []
    return [
        CompletionItem(f"{first}{dash}{block.number}", help=block.status)
        for block in table.blocks()
        if str(block.number).startswith(last)
        and not (first.isdecimal() and block.number < int(first))
    ]


class Chmem(GetoptCommand):
    """The command; its --help ends with the zones, and with --json its errors are a document."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = ctx.obj or Output()
        return super().parse_args(ctx, args)

    def write_error(self, error: Exception, ctx: click.Context | None) -> None:
        """Write an error as a message and, if --json was read before it, as a document."""
        if ctx is None:
            program.complain_of(NAME, error)
            return
        output = self.prepare(ctx)
        program.complain_of(NAME, error, output.say)
        if "--json" in ctx.meta[GIVEN]:
            from chmem_py.document import failure

            output.write([failure(Exit.FAILURE, output.messages)])
        output.finish(Exit.FAILURE)

    def prepare(self, ctx: click.Context) -> Output:
        """The output, as the options want it that were read so far."""
        output: Output = ctx.obj
        given = ctx.meta[GIVEN]
        output.advice = advice.wanted(given, "CHMEM_ADVICE")
        output.own = bool({word.partition("=")[0] for word in given} & self.own_options)
        return output

    @property
    def own_options(self) -> set[str]:
        """The names of the options that change what is done, and util-linux does not have."""
        options = [one for one in self.params if isinstance(one, GetoptOption) and one.own]
        return {name for one in options for name in one.opts} - {"--advice", "--json"}

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
@flag("-b", "--blocks", section=_WHAT, help="the argument is a block number or range")
@option(
    "-m",
    "--memmap-on-memory",
    metavar="0|1",
    shell_complete=offers.words(lambda: ["0", "1"]),
    callback=options_.memmap,
    section=_WHAT,
    help="configure blocks that hold their own struct pages",
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
    own=True,
    section=_WHAT,
    help="only blocks of this node",
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
    _schema, "--json-schema", own=True, section=_OUTPUT, help="the JSON Schema of that document"
)
@answer(
    lambda: program.version(NAME), "-V", "--version", section="General", help="display the version"
)
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
    context = click.get_current_context()
    assert isinstance(context.command, Chmem)
    output = context.command.prepare(context)
    action = _action(options, operands)
    machine = Machine.at(options.sysroot)
    context.call_on_close(machine.close)
    request = parse(operands[0], machine.block_size, blocks=options.blocks)
    with Interrupts(options.timeout) as interrupts:
        try:
            with _held(machine, options, action, interrupts, output) as held:
                selection = _select(machine, request, action, options, output)
                done = run(Site(machine, output, interrupts, held), selection, options.how)
        except StoppedError:
            order = Order(action, memmap_on_memory=options.memmap_on_memory)
            nothing = select_nothing(request, machine, order, options.node)
            done = interrupted(nothing, interrupts.signal, output)
        # A signal that comes now is too late, and must not keep the report back.
        if options.json:
            from chmem_py.document import document

            root = machine.tree.root
            output.write([document(*done, _shown(options), output.messages, root)])
        return output.finish(done.status)


def _held(
    machine: Machine, options: Options, action: Action, interrupts: Interrupts, output: Output
) -> AbstractContextManager[Held | None]:
    """The machine held, if anything is to be written to it."""
    if options.dry_run:
        say_left(machine, output)
        return nullcontext()
    if _unable(machine, action, options):
        return nullcontext()
    return holding(machine, interrupts, options.timeout, output)


def _select(
    machine: Machine, request: Request, action: Action, options: Options, output: Output
) -> Selection:
    """Read the machine and select the blocks that are meant."""
    table = machine.read(needed(options.node))
    for remark in table.remarks:
        output.say(sentence_of(remark))
    zones = _has_zones(table)
    zone = _zone(options.zone, zones, output)
    order = Order(action, zone, options.memmap_on_memory, movable=zones)
    unable = _unable(machine, action, options)
    if unable:
        plain = not (options.json or options.dry_run)
        output.write([unable.text if plain and unable.reference else unable])
        return select_nothing(request, machine, order, options.node)
    return select(request, machine, table, order, options.node)


def _action(options: Options, operands: Sequence[str]) -> Action:
    """The action that the options ask for. Raises UsageError if the command line is wrong."""
    if options.action is None:
        *most, last = (f"--{action}" for action in ACTIONS)
        raise GetoptUsageError(messages.WHAT_TO_DO.of(actions=f"{', '.join(most)} or {last}"))
    if len(operands) != 1:
        raise GetoptUsageError(messages.ONE_OPERAND.of(count=len(operands) or "none"))
    if not options.sysroot:
        raise UsageError(messages.NO_SYSROOT.of())
    action = Action(options.action)
    if action is Action.RECONFIGURE and options.memmap_on_memory is None:
        raise UsageError(messages.RECONFIGURE_WHAT.of())
    return action


def _has_zones(table: BlockTable) -> bool:
    """Whether zones are used. Like util-linux, look only at the first block: if that block is not
    configured, zones are ignored."""
    return bool(table.numbers) and table.columns[Attribute.ZONES][0] is not None


def _zone(name: str | None, zones: bool, output: Output) -> Zone | None:
    if name is None:
        return None
    if not zones:
        output.say(messages.ZONE_IGNORED.of())
        return None
    zone = Zone.named(name)
    if zone not in ZONES:
        known = ", ".join(zone.value for zone in ZONES)
        raise GetoptUsageError(messages.UNKNOWN_ZONE.of(name=name, zones=known))
    return zone


def _unable(machine: Machine, action: Action, options: Options) -> Sentence | None:
    """The reason why this machine cannot carry out the request at all; None if there is none."""
    if machine.configurable:
        return None
    if action in _NEEDS_CONFIGURING:
        return _NEEDS_CONFIGURING[action].of()
    if options.memmap_on_memory is not None:
        return messages.MEMMAP_NOT_HERE.of()
    return None


def _shown(options: Options) -> dict[str, Any]:
    """The options about how to do it, for the document."""
    names = ("dry_run", "all_or_nothing", "timeout", "retry")
    how = {name: getattr(options, name) for name in names}
    return {**how, "sysroot": os.path.abspath(options.sysroot)}


def main() -> None:
    """The console script."""
    # The process ends soon, and most objects of a large machine live until then.
    gc.disable()
    program.run(chmem, NAME)
