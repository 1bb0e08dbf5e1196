"""The command line of lsmem: read options, check them, read the machine, write the view."""

import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import click

from hotplug_cli import offers
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import (
    GIVEN,
    GetoptCommand,
    answer,
    flag,
    option,
    write_example,
)
from hotplug_cli.program import CommandError, complain, complain_of, run, version
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
from lsmem_py.view import wanted_view
from memory_hotplug.errors import NoRootError
from memory_hotplug.machine import Machine

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence
    from lsmem_py.reports import Report

__all__ = ["lsmem", "main"]

NAME = "lsmem"


def _schema() -> str:
    import json

    given = click.get_current_context().meta[GIVEN]
    report = _report({word.removeprefix("--").partition("=")[0] for word in given})
    if report and report.schema:
        return json.dumps(report.schema(), indent=2)
    from lsmem_py.typed import schema

    return json.dumps(schema(), indent=2)


def _report(names: Collection[str]) -> "Report | None":
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


class Lsmem(GetoptCommand):
    """The command; its --help ends with the columns and an example."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Columns"):
            formatter.write_dl([(column.heading, column.help) for column in COLUMNS])
        write_example(formatter, "lsmem(1)", "lsmem -o BLOCK,SIZE,STATUS,NODE,ZONES")

    def clash(self, before: str, name: str) -> "Sentence | None":
        """What the table of views says."""
        return clash(before, name)

    def failure(self) -> int:
        """The status after an error: that of diff(1) where --diff is given, because 1 means there
        that something has changed. Another option may have been refused before --diff was read."""
        words = [word.partition("=")[0] for word in sys.argv[1:]]
        compares = any(len(word) > 4 and "--diff".startswith(word) for word in words)
        return Exit.TROUBLE if compares else Exit.FAILURE

    def write_error(self, error: Exception, ctx: click.Context | None) -> None:
        """Write what is wrong; `status_of` calls it."""
        if isinstance(error, NoRootError) and error.root in SUMMARY:
            from lsmem_py import messages

            sentence = messages.SYSROOT_FOR_SUMMARY.of(root=error.root, reason=error.reason)
            error = CommandError(sentence)
        complain_of(NAME, error, _message_writer(ctx.meta.get(GIVEN, ()) if ctx else ()))


_WHAT, _HOW, _FORMAT = "What to list", "How to show it", "Output formats"
_VIEWS = "Other views"


@click.command(
    cls=Lsmem,
    options_metavar="[options]",
)
@flag("-a", "--all", section=_WHAT, help="list each memory block instead of merged ranges")
@option(
    "-o",
    "--output",
    metavar="LIST",
    shell_complete=offers.lists(_column_names, extends=True),
    section=_WHAT,
    help="columns to show; +LIST adds to the default",
)
@flag("--output-all", section=_WHAT, help="show all columns of util-linux's lsmem")
@option(
    "-S",
    "--split",
    metavar="LIST",
    shell_complete=offers.lists(_split_names),
    section=_WHAT,
    help="split ranges by these columns, or by none",
)
@option(
    "-s",
    "--sysroot",
    metavar="DIR",
    shell_complete=offers.directories,
    default="/",
    section=_WHAT,
    help="list the machine whose sys is in DIR",
)
@option(
    "--summary",
    metavar="WHEN",
    shell_complete=offers.words(lambda: SUMMARY),
    bare="only",
    section=_WHAT,
    help="show the totals: " + ", ".join(SUMMARY),
)
@flag("-b", "--bytes", section=_HOW, help="show sizes in bytes")
@flag("-n", "--noheadings", section=_HOW, help="do not print headings")
@option(
    "--annotate",
    metavar="WHEN",
    shell_complete=offers.words(lambda: TERMINAL),
    bare="auto",
    default="never",
    section=_HOW,
    help="add tooltips to headings: " + ", ".join(TERMINAL),
)
@option(
    "--color",
    metavar="WHEN",
    shell_complete=offers.words(lambda: TERMINAL),
    bare="always",
    default="auto",
    own=True,
    section=_HOW,
    help="use colour: " + ", ".join(TERMINAL),
)
@option(
    "--map",
    metavar="BY",
    shell_complete=offers.words(lambda: PICTURED),
    bare="status",
    own=True,
    section=_VIEWS,
    help="the address space as a picture, by " + " or ".join(PICTURED),
)
@option(
    "--watch",
    metavar="SECONDS",
    bare="2",
    own=True,
    section=_VIEWS,
    help="show it again on changes, marked; -J: a line each",
)
@option(
    "--diff",
    metavar="FILE",
    shell_complete=offers.files,
    own=True,
    section=_VIEWS,
    help="what changed since FILE, made by -J --typed",
)
@flag(
    "--policy",
    own=True,
    section=_VIEWS,
    help="what becomes of memory that is added",
)
@option(
    "--why",
    metavar="BLOCKS",
    bare="all",
    own=True,
    section=_VIEWS,
    help="which blocks can go offline; what keeps the others",
)
@flag(
    "--holes",
    own=True,
    section=_VIEWS,
    help="what has no block, and what is there instead",
)
@option(
    "--at",
    metavar="ADDRESS",
    own=True,
    section=_VIEWS,
    help="the block that holds an address; -: those of a log",
)
@flag(
    "--explain",
    own=True,
    section=_VIEWS,
    help="why the total is not MemTotal",
)
@flag("-J", "--json", section=_FORMAT, help="JSON as util-linux writes it")
@flag("-P", "--pairs", section=_FORMAT, help='cells as NAME="value"')
@flag("-r", "--raw", section=_FORMAT, help="cells separated by one space")
@option(
    "--format",
    metavar="NAME",
    shell_complete=offers.words(lambda: [*formats.names(), METRICS]),
    own=True,
    section=_FORMAT,
    help="table, raw, jsonl, csv, html, prometheus and more",
)
@option(
    "--output-file",
    metavar="FILE",
    shell_complete=offers.files,
    own=True,
    section=_FORMAT,
    help="write to FILE, which changes at once or not at all",
)
@flag("--typed", own=True, section=_FORMAT, help="with -J: a document for scripts")
@answer(
    _schema,
    "--json-schema",
    own=True,
    section=_FORMAT,
    help="the JSON Schema of that, or of a report before it",
)
@option(
    "--advice",
    metavar="WHEN",
    shell_complete=offers.words(lambda: TERMINAL),
    own=True,
    section="General",
    help="say what to do about failures: " + ", ".join(TERMINAL),
)
@answer(lambda: version(NAME), "-V", "--version", section="General", help="display the version")
@click.argument("extra", nargs=-1, type=click.UNPROCESSED, metavar="")
def lsmem(extra: Sequence[str], **given: Any) -> int:
    """List the memory of a machine: ranges of memory blocks with their state."""
    context = click.get_current_context()
    words = context.meta[GIVEN]
    options = Options(**{**given, "summary": wanted(words)})
    check(options, extra, words)
    if options.output_file is None:
        return _show(context, options)
    from contextlib import redirect_stdout

    from hotplug_cli.output_file import open_output

    with open_output(options.output_file) as file, redirect_stdout(file):
        return _show(context, options)


def _show(context: click.Context, options: Options) -> int:
    """Write the view that is asked for; the exit status."""
    words = context.meta[GIVEN]
    write_message = _message_writer(words)
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
    # Like util-linux, before columns are checked.
    machine = Machine.at(options.sysroot)
    context.call_on_close(machine.close)
    view = wanted_view(options, format_)
    if options.watch is not None:
        from lsmem_py.watch import run_watch

        live = not options.json and on_terminal("auto")
        return run_watch(view, options.sysroot, float(options.watch), options.json, live)
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
    return Exit.SUCCESS


def _message_writer(given: Sequence[str]) -> "Callable[[Sentence], None]":
    """What writes a message, with advice if the options GIVEN or a terminal want it."""

    def write_message(sentence: "Sentence") -> None:
        from hotplug_cli import advice_option

        shown = advice_option.wanted(given, "LSMEM_ADVICE")
        complain(NAME, sentence if shown else sentence._replace(advice=""))

    return write_message


def main() -> None:
    """The console script."""
    run(lsmem, NAME)
