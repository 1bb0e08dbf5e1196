"""The command line of chmem: its options, and the action that they ask for."""

import gc

from chmem_py import options
from chmem_py.command import Chmem, offer_devices, offer_nodes, offer_operands, schema_text
from chmem_py.options import NONE, ORDERS, ZONES
from chmem_py.output import NAME
from hotplug_cli import offers, program
from hotplug_cli.getopt import Option

__all__ = ["chmem", "main"]

_WHAT, _HOW, _OUTPUT = "What to do", "How to do it", "What to show"

OPTIONS = (
    Option("-e", "--enable", key="action", value="enable", section=_WHAT, help="set memory online"),
    Option(
        "-d", "--disable", key="action", value="disable", section=_WHAT, help="set memory offline"
    ),
    Option(
        "-c", "--configure", key="action", value="configure", section=_WHAT, help="configure memory"
    ),
    Option(
        "-g",
        "--deconfigure",
        key="action",
        value="deconfigure",
        section=_WHAT,
        help="deconfigure memory",
    ),
    Option(
        "--reconfigure",
        key="action",
        value="reconfigure",
        own=True,
        section=_WHAT,
        help="change memmap-on-memory (-m) of memory in any state",
    ),
    Option(
        "--total",
        key="action",
        value="total",
        own=True,
        section=_WHAT,
        help="set memory online or offline until SIZE is online",
    ),
    Option(
        "--apply",
        key="action",
        value="apply",
        own=True,
        section=_WHAT,
        help="bring the memory to the layout in a file, in a directory, or in memory-layout.d",
    ),
    Option(
        "--save",
        key="action",
        value="save",
        own=True,
        section=_WHAT,
        help="write the present layout to a file, or to memory-layout.d",
    ),
    Option(
        "--undo",
        key="action",
        value="undo",
        own=True,
        section=_WHAT,
        help="undo the last change",
    ),
    Option(
        "--policy",
        key="action",
        value="policy",
        own=True,
        section=_WHAT,
        help="say what becomes of memory that is added later: KEY=VALUE...",
    ),
    Option(
        "--uninstall",
        key="action",
        value="uninstall",
        own=True,
        section=_WHAT,
        help="remove what --install made",
    ),
    Option("-b", "--blocks", section=_WHAT, help="the argument is a block number or range"),
    Option(
        "-m",
        "--memmap-on-memory",
        metavar="0|1",
        offers=offers.words(lambda: ["0", "1"]),
        parse=options.memmap,
        section=_WHAT,
        help="where struct pages go: 1 in the block itself, 0 in memory that is online",
    ),
    Option(
        "-z",
        "--zone",
        metavar="NAME",
        offers=offers.words(lambda: [zone.value for zone in ZONES]),
        section=_WHAT,
        help="enable into, or disable from, this zone",
    ),
    Option(
        "--node",
        metavar="N",
        parse=options.count,
        offers=offer_nodes,
        own=True,
        section=_WHAT,
        help="only blocks of this node",
    ),
    Option(
        "--device",
        metavar="NAME",
        offers=offer_devices,
        own=True,
        section=_WHAT,
        help="only blocks that this device brought; without SIZE, all of them",
    ),
    Option(
        "-s",
        "--sysroot",
        metavar="DIR",
        offers=offers.directories,
        default="/",
        section=_WHAT,
        help="change the machine whose sys is in DIR",
    ),
    Option("--persistent", own=True, section=_HOW, help="have the change made again at each boot"),
    Option(
        "--install",
        own=True,
        section=_HOW,
        help="with --apply, do so at each boot and to added memory, too",
    ),
    Option("--dry-run", own=True, section=_HOW, help="write nothing; print the commands for it"),
    Option(
        "--all-or-nothing",
        own=True,
        section=_HOW,
        help="undo all changes if a block fails or there is too little memory",
    ),
    Option(
        "--timeout",
        metavar="SECONDS",
        parse=options.seconds,
        own=True,
        section=_HOW,
        help="time limit for setting one block offline",
    ),
    Option(
        "--retry",
        metavar="N",
        parse=options.count,
        default=0,
        own=True,
        section=_HOW,
        help="retry a busy block N times",
    ),
    Option(
        "--order",
        metavar="HOW",
        offers=offers.words(lambda: ORDERS),
        parse=options.order,
        own=True,
        section=_HOW,
        help="which blocks to take for a SIZE: " + ", ".join(ORDERS),
    ),
    Option(
        "--keep-free",
        metavar="SIZE",
        offers=offers.words(lambda: [NONE]),
        parse=options.kept,
        own=True,
        section=_HOW,
        help="take only memory that leaves SIZE available",
    ),
    Option(
        "--force",
        key="keep_free",
        value=NONE,
        parse=options.kept,
        own=True,
        section=_HOW,
        help="--keep-free none: take memory however much of it is in use",
    ),
    Option("-v", "--verbose", section=_OUTPUT, help="print what was done to each block"),
    Option(
        "--advice",
        metavar="WHEN",
        offers=offers.words(lambda: program.ADVICE),
        parse=options.when,
        own=True,
        section=_OUTPUT,
        help="say what to do about failures: " + ", ".join(program.ADVICE),
    ),
    Option("--json", own=True, section=_OUTPUT, help="write only a JSON document, for scripts"),
    Option(
        "--json-schema",
        own=True,
        section=_OUTPUT,
        help="the JSON Schema of that document",
        answer=schema_text,
    ),
    Option(
        "-V",
        "--version",
        section="General",
        help="display the version",
        answer=lambda _: program.version(NAME),
    ),
)


chmem = Chmem(
    NAME,
    "Set memory online or offline, and configure or deconfigure it.",
    OPTIONS,
    operands="[SIZE|RANGE|BLOCKRANGE|FILE|KEY=VALUE...]",
    offers=offer_operands,
)


def main() -> None:
    """The console script."""
    # The process ends soon, and most objects of a large machine live until then.
    gc.disable()
    program.run(chmem, NAME)
