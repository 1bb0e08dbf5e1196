"""The command line of chmem: options -> request -> selection -> run -> exit status."""

import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from chmem_py.output import NAME, Output
from chmem_py.request import parse
from chmem_py.run import Done, How, run
from chmem_py.selection import select, select_nothing
from chmem_py.tally import Tally
from hotplug_cli import offers, program
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import (
    GIVEN,
    GetoptCommand,
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
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.machine import Machine
from memory_hotplug.plan import NEEDED, Action, Order
from memory_hotplug.ranges import BlockTable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ZONES = (Zone.DMA, Zone.DMA32, Zone.NORMAL, Zone.HIGHMEM, Zone.MOVABLE, Zone.DEVICE)
"""The zones that --zone takes."""

_YES_NO = {"1": True, "yes": True, "on": True, "0": False, "no": False, "off": False}

_NEEDS_CONFIGURING = {
    Action.CONFIGURE: messages.CANNOT_CONFIGURE,
    Action.DECONFIGURE: messages.CANNOT_DECONFIGURE,
    Action.RECONFIGURE: messages.CANNOT_RECONFIGURE,
}
"""The message for each action where memory is never configured."""


@dataclass(frozen=True, slots=True)
class Options:
    """The values of the options."""

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

    @property
    def how(self) -> How:
        """The options about how to do it."""
        names = [field.name for field in fields(How)]
        return How(**{name: getattr(self, name) for name in names})


def _memmap(_: click.Context, option: click.Parameter, text: str | None) -> bool | None:
    if text is None:
        return None
    if text.lower() not in _YES_NO:
        raise _invalid(option, text, "0 or 1")
    return _YES_NO[text.lower()]


def _seconds(_: click.Context, option: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # A million seconds are eleven days; setitimer(2) takes no infinity.
    if not 0.001 <= seconds <= 1e6:
        raise _invalid(option, text, "seconds, 0.001 or more")
    return seconds


def _count(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) <= 9):
        raise _invalid(option, text, "a number, 0 or more")
    return int(text)


def _invalid(option: click.Parameter, text: str, allowed: str) -> UsageError:
    name = next(name for name in option.opts if name.startswith("--"))
    return UsageError(messages.INVALID_ARGUMENT.of(option=name, argument=text, allowed=allowed))


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
        output = ctx.obj if ctx else Output()
        program.complain_of(NAME, error, output.say)
        if ctx and "--json" in ctx.meta[GIVEN]:
            from chmem_py.document import failure

            output.write([failure(Exit.FAILURE, output.messages)])
            output.flush()

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
@flag("-b", "--blocks", section=_WHAT, help="the argument is a block number or range")
@option(
    "-m",
    "--memmap-on-memory",
    metavar="0|1",
    shell_complete=offers.words(lambda: ["0", "1"]),
    callback=_memmap,
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
    "--node", metavar="N", callback=_count, own=True, section=_WHAT, help="only blocks of this node"
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
    callback=_seconds,
    own=True,
    section=_HOW,
    help="time limit for setting one block offline",
)
@option(
    "--retry",
    metavar="N",
    callback=_count,
    default="0",
    own=True,
    section=_HOW,
    help="retry a busy block N times",
)
@flag("-v", "--verbose", section=_OUTPUT, help="print what was done to each block")
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
    output: Output = context.obj
    action = _action(options, operands)
    machine = Machine.at(options.sysroot)
    context.call_on_close(machine.close)
    request = parse(operands[0], machine.block_size, blocks=options.blocks)
    table = machine.read(NEEDED if options.node is None else (*NEEDED, Attribute.NODE))
    for remark in table.remarks:
        output.say(sentence_of(remark))
    zones = _has_zones(table)
    zone = _zone(options.zone, zones, output)
    order = Order(action, zone, options.memmap_on_memory, movable=zones)
    unable = _unable(machine, options, order)
    if unable:
        plain = not (options.json or options.dry_run)
        output.write([unable.text if plain and unable.reference else unable])
        nothing = select_nothing(request, machine, order, options.node)
        done = Done(Tally(nothing), Exit.FAILURE)
    else:
        selection = select(request, machine, table, order, options.node)
        done = run(machine, selection, options.how, output)
    if options.json:
        from chmem_py.document import document

        root = machine.tree.root
        output.write([document(*done, _shown(options), output.messages, root)])
    return done.status if output.flush() else done.status or Exit.FAILURE


def _action(options: Options, operands: Sequence[str]) -> Action:
    """The action that the options ask for. Raises UsageError if the command line is wrong."""
    if options.action is None:
        *most, last = (f"--{action}" for action in _ACTIONS)
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


def _unable(machine: Machine, options: Options, order: Order) -> Sentence | None:
    """The reason why this machine cannot carry out the request at all; None if there is none."""
    if machine.configurable:
        return None
    if order.action in _NEEDS_CONFIGURING:
        return _NEEDS_CONFIGURING[order.action].of()
    if order.memmap_on_memory is not None:
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
