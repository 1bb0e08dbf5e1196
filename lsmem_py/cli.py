"""The command line of lsmem: read options, check them, read the machine, write the view."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence

from hotplug_cli import offers
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import Command, Line, Option
from hotplug_cli.program import CommandError, complain, complain_of, run, version, wants_advice
from lsmem_py import formats
from lsmem_py.columns import COLUMNS, PICTURED
from lsmem_py.options import (
    METRICS,
    SUMMARY,
    TERMINAL,
    Options,
    check,
    clash,
    on_terminal,
    wanted,
)
from lsmem_py.view import View, wanted_view
from memory_hotplug.errors import BrokenTreeError, NoRootError
from memory_hotplug.machine import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

    from hotplug_cli.message import Sentence
    from lsmem_py.reports import Report

__all__ = ["lsmem", "main"]

NAME = "lsmem"


def _schema(line: Line) -> str:
    import json

    from lsmem_py.schemas import schema_beside

    options = _checked(line)
    names = {word.removeprefix("--").partition("=")[0] for word in line.given}
    format_name = options.format_name
    report = _report({*names, format_name})
    if not report and options.diff is None:
        wanted_view(options, formats.named(format_name))
    return json.dumps(schema_beside(names, format_name, report), indent=2)


def _checked(line: Line) -> Options:
    """The options of a command line. Raises UsageError."""
    root = line.values["sysroot"] or "/"
    options = Options(**{**line.values, "summary": wanted(line.given), "sysroot": root})
    check(options, line.operands, line.given)
    return options


def _report(names: Collection[str]) -> Report | None:
    """The report that one of these options or formats asks for."""
    if "policy" in names:
        from lsmem_py.policy import REPORT
    elif "explain" in names:
        from lsmem_py.explain import REPORT
    elif "holes" in names:
        from lsmem_py.holes import REPORT
    elif "at" in names:
        from lsmem_py.at import REPORT
    elif METRICS in names:
        from lsmem_py.metrics import REPORT
    else:
        return None
    return REPORT


def _column_names() -> list[tuple[str, str]]:
    return [(column.heading, column.help) for column in COLUMNS]


def _split_names() -> list[tuple[str, str]]:
    return [*_column_names(), ("none", "merge all contiguous blocks")]


_WHAT, _HOW, _FORMAT = "What to list", "How to show it", "Output formats"
_VIEWS = "Other views"


OPTIONS = (
    Option("-a", "--all", section=_WHAT, help="list each memory block instead of merged ranges"),
    Option(
        "-o",
        "--output",
        metavar="LIST",
        offers=offers.lists(_column_names, extends=True),
        section=_WHAT,
        help="columns to show; +LIST adds to the default",
    ),
    Option("--output-all", section=_WHAT, help="show all columns of util-linux's lsmem"),
    Option(
        "-S",
        "--split",
        metavar="LIST",
        offers=offers.lists(_split_names),
        section=_WHAT,
        help="split ranges by these columns, or by none",
    ),
    Option(
        "-s",
        "--sysroot",
        metavar="DIR",
        offers=offers.directories,
        default="/",
        section=_WHAT,
        help="list the machine whose sys is in DIR",
    ),
    Option(
        "--summary",
        metavar="WHEN",
        offers=offers.words(lambda: SUMMARY),
        bare="only",
        section=_WHAT,
        help="show the totals: " + ", ".join(SUMMARY),
    ),
    Option("-b", "--bytes", section=_HOW, help="show sizes in bytes"),
    Option("-n", "--noheadings", section=_HOW, help="do not print headings"),
    Option(
        "--annotate",
        metavar="WHEN",
        offers=offers.words(lambda: TERMINAL),
        bare="auto",
        default="auto",
        section=_HOW,
        help="add tooltips to headings: " + ", ".join(TERMINAL),
    ),
    Option(
        "--color",
        metavar="WHEN",
        offers=offers.words(lambda: TERMINAL),
        bare="always",
        default="auto",
        own=True,
        section=_HOW,
        help="use colour: " + ", ".join(TERMINAL),
    ),
    Option(
        "--map",
        metavar="BY",
        offers=offers.words(lambda: PICTURED),
        bare="status",
        own=True,
        section=_VIEWS,
        help="the address space as a picture, by " + " or ".join(PICTURED),
    ),
    Option(
        "--watch",
        metavar="SECONDS",
        bare="2",
        own=True,
        section=_VIEWS,
        help="show it again on changes, marked; -J: a line each",
    ),
    Option(
        "--diff",
        metavar="FILE",
        offers=offers.files,
        own=True,
        section=_VIEWS,
        help="what changed since FILE, made by -J --typed",
    ),
    Option(
        "--policy",
        own=True,
        section=_VIEWS,
        help="what becomes of memory that is added",
    ),
    Option(
        "--why",
        metavar="BLOCKS",
        bare="all",
        own=True,
        section=_VIEWS,
        help="which blocks can go offline; what keeps the others",
    ),
    Option(
        "--holes",
        own=True,
        section=_VIEWS,
        help="what has no block, and what is there instead",
    ),
    Option(
        "--at",
        metavar="ADDRESS",
        own=True,
        section=_VIEWS,
        help="the block that holds an address; -: those of a log",
    ),
    Option(
        "--explain",
        own=True,
        section=_VIEWS,
        help="why the total is not MemTotal",
    ),
    Option("-J", "--json", section=_FORMAT, help="JSON as util-linux writes it"),
    Option("-P", "--pairs", section=_FORMAT, help='cells as NAME="value"'),
    Option("-r", "--raw", section=_FORMAT, help="cells separated by one space"),
    Option(
        "--format",
        metavar="NAME",
        offers=offers.words(lambda: [*formats.names(), METRICS]),
        own=True,
        section=_FORMAT,
        help="table, raw, jsonl, csv, html, prometheus and more",
    ),
    Option(
        "--output-file",
        metavar="FILE",
        offers=offers.files,
        own=True,
        section=_FORMAT,
        help="write to FILE, which changes at once or not at all",
    ),
    Option("--typed", own=True, section=_FORMAT, help="with -J: a document for scripts"),
    Option(
        "--json-schema",
        own=True,
        section=_FORMAT,
        help="the JSON Schema of what the other options write",
        answer=_schema,
        follow=True,
    ),
    Option(
        "--advice",
        metavar="WHEN",
        offers=offers.words(lambda: TERMINAL),
        own=True,
        section="General",
        help="say what to do about failures: " + ", ".join(TERMINAL),
    ),
    Option(
        "-V",
        "--version",
        section="General",
        help="display the version",
        answer=lambda _: version(NAME),
    ),
)


class Lsmem(Command):
    """The command; its --help ends with the columns and an example."""

    def clash(self, before: str, name: str) -> Sentence | None:
        """What the table of views says."""
        return clash(before, name)

    def check_value(self, option: str) -> None:
        """Like util-linux, refuse a wrong argument of --summary before all that follows."""
        wanted([option])

    def run(self, line: Line) -> int:
        """Write what is asked for; the exit status."""
        options = _checked(line)
        if options.output_file is None:
            return _show(options, line.given)
        from contextlib import redirect_stdout

        from hotplug_cli.output_file import open_output

        with open_output(options.output_file) as file, redirect_stdout(file):
            return _show(options, line.given)

    def write_error(self, line: Line, error: Exception) -> int:
        """Write what is wrong. The status is that of diff(1) where --diff is given, because 1 means
        there that something has changed."""
        if isinstance(error, NoRootError) and error.root in SUMMARY:
            from lsmem_py import messages

            sentence = messages.SYSROOT_FOR_SUMMARY.of(root=error.root, reason=error.reason)
            error = CommandError(sentence)
        complain_of(NAME, error, _message_writer(line.given))
        # Another option may have been refused before --diff was read.
        words = [word.partition("=")[0] for word in sys.argv[1:]]
        compares = any(len(word) > 4 and "--diff".startswith(word) for word in words)
        return Exit.TROUBLE if compares else Exit.FAILURE

    def write_epilog(self, formatter: click.HelpFormatter) -> None:
        """Write the columns and an example."""
        from hotplug_cli.click_command import write_example

        with formatter.section("Columns"):
            formatter.write_dl([(column.heading, column.help) for column in COLUMNS])
        write_example(formatter, "lsmem(1)", "lsmem -o BLOCK,SIZE,STATUS,NODE,ZONES")


lsmem = Lsmem(
    NAME, "List the memory of a machine: ranges of memory blocks with their state.", OPTIONS
)


def _show(options: Options, given: Sequence[str]) -> int:
    """Write the view that is asked for; the exit status."""
    write_message = _message_writer(given)
    if options.diff is not None:
        from lsmem_py.diff import run_diff

        return run_diff(
            options.diff, options.sysroot, options.json, options.format_size, write_message
        )
    names = [name for name in ("policy", "explain", "holes", "at") if getattr(options, name)]
    if report := _report([*names, options.format_name]):
        with Machine.at(options.sysroot) as machine:
            pieces, unknown = report.pieces(machine, options)
            sys.stdout.writelines(pieces)
        sys.stdout.flush()
        for sentence in unknown:
            write_message(sentence)
        return Exit.SUCCESS
    format_ = formats.named(options.format_name)
    # Like util-linux, say first that there is no memory, then what is wrong with the columns.
    try:
        machine = Machine.at(options.sysroot)
    except BrokenTreeError:
        wanted_view(options, format_)
        raise
    with machine:
        view = wanted_view(options, format_)
        if options.watch is not None:
            from lsmem_py.watch import run_watch

            live = not options.json and on_terminal("auto")
            return run_watch(view, options.sysroot, float(options.watch), options.json, live)
        _list(view, machine, options, write_message)
    return Exit.SUCCESS


def _list(
    view: View, machine: Machine, options: Options, write_message: Callable[[Sentence], None]
) -> None:
    """Write a listing, and what is to be said about it."""
    table = machine.read(view.attributes, options.blocks)
    sources = view.sources(machine, table, show_progress=True)
    view.write(sources, sys.stdout)
    if "pages" in view.needs and view.whole and options.format_name == "table":
        from lsmem_py.block_contents import format_log

        sys.stdout.writelines(format_log(sources.pages, table))
    sys.stdout.flush()
    for sentence in sources.unknown:
        write_message(sentence)
    if view.lists_nothing(sources):
        from lsmem_py import messages

        headings = ", ".join(column.heading for column in view.columns)
        write_message(messages.NOTHING_TO_LIST.of(columns=headings))
    if table.remarks:
        from hotplug_cli.remarks import sentence_of

        for remark in table.remarks:
            write_message(sentence_of(remark))


def _message_writer(given: Sequence[str]) -> Callable[[Sentence], None]:
    """What writes a message, with advice if the options GIVEN or a terminal want it."""

    def write_message(sentence: Sentence) -> None:
        shown = wants_advice(given, "LSMEM_ADVICE")
        complain(NAME, sentence if shown else sentence._replace(advice=""))

    return write_message


def main() -> None:
    """The console script."""
    run(lsmem, NAME)
