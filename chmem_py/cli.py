"""The command line of chmem: its options, and the action that they ask for."""

import gc
from collections.abc import Sequence
from typing import Any

import click

from chmem_py import options as options_
from chmem_py.actions import check
from chmem_py.command import Chmem, offer_devices, offer_nodes, offer_operands, schema_text
from chmem_py.jobs import Asked
from chmem_py.options import ORDERS, ZONES, Options
from chmem_py.output import NAME
from chmem_py.run import NONE
from hotplug_cli import advice_option, offers, program
from hotplug_cli.getopt import GIVEN, answer, flag, option

_WHAT, _HOW, _OUTPUT = "What to do", "How to do it", "What to show"


@click.command(
    cls=Chmem,
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
@flag("--persistent", own=True, section=_HOW, help="have the change made again at each boot")
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
@option(
    "--order",
    metavar="HOW",
    shell_complete=offers.words(lambda: ORDERS),
    callback=options_.order,
    own=True,
    section=_HOW,
    help="which blocks to take for a SIZE: " + ", ".join(ORDERS),
)
@option(
    "--keep-free",
    metavar="SIZE",
    shell_complete=offers.words(lambda: [NONE]),
    callback=options_.kept,
    own=True,
    section=_HOW,
    help="take only memory that leaves SIZE available",
)
@flag(
    "--force",
    "keep_free",
    flag_value=NONE,
    callback=options_.kept,
    own=True,
    section=_HOW,
    help="--keep-free none: take memory however much of it is in use",
)
@flag("-v", "--verbose", section=_OUTPUT, help="print what was done to each block")
@option(
    "--advice",
    metavar="WHEN",
    shell_complete=offers.words(lambda: advice_option.WHEN),
    callback=options_.when,
    own=True,
    section=_OUTPUT,
    help="say what to do about failures: " + ", ".join(advice_option.WHEN),
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
    context = click.get_current_context()
    said = dict(word[2:].partition("=")[::2] for word in context.meta[GIVEN])
    options = Options(**given, said=said)
    assert isinstance(context.command, Chmem)
    output = context.command.prepare(context)
    row = check(options, operands)
    return row.function(Asked(options, operands, output, row.takes))


def main() -> None:
    """The console script."""
    # The process ends soon, and most objects of a large machine live until then.
    gc.disable()
    program.run(chmem, NAME)
