"""Options -> what to list -> print it; nothing else."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hotplug_cli.getopt import BadUsageError, GetoptCommand, answer, flag, option
from hotplug_cli.program import complain, run, version
from lsmem_py import columns as columns_
from lsmem_py import formats
from lsmem_py.columns import Column
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable, MemoryRange
from memory_hotplug.size import human

WHEN = ("never", "always", "only")
TERMINAL_WHEN = ("always", "never", "auto")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, as click hands it over."""

    all: bool
    bytes: bool
    json: bool
    noheadings: bool
    output: str | None
    output_all: bool
    pairs: bool
    raw: bool
    split: str | None
    sysroot: str
    summary: str | None
    annotate: str
    format: str | None
    typed: bool
    color: str

    @property
    def format_name(self) -> str:
        for name in ("json", "pairs", "raw"):
            if getattr(self, name):
                return name
        return (self.format or "table").lower()


def _schema() -> str:
    import json

    from lsmem_py.typed import schema

    return json.dumps(schema(), indent=2)


class Lsmem(GetoptCommand):
    """The command; its --help ends in the columns."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Columns"):
            formatter.write_dl([(column.heading, column.help) for column in columns_.COLUMNS])
        formatter.write_paragraph()
        formatter.write_text("For more details see lsmem(1).")


_WHAT, _HOW, _FORMAT = "What to list", "How to show it", "Output formats"


@click.command(
    cls=Lsmem,
    exclusive=[("json", "pairs", "raw", "format"), ("all", "split")],
    options_metavar="[options]",
)
@flag("-a", "--all", section=_WHAT, help="list each memory block instead of merged ranges")
@option("-o", "--output", metavar="LIST", section=_WHAT, help="columns; +LIST adds to the default")
@flag("--output-all", section=_WHAT, help="all columns that lsmem of util-linux has")
@option("-S", "--split", metavar="LIST", section=_WHAT, help="split ranges by columns, or none")
@option(
    "-s", "--sysroot", metavar="DIR", default="/", section=_WHAT, help="the tree that holds /sys"
)
@option("--summary", metavar="WHEN", bare="only", section=_WHAT, help=", ".join(WHEN))
@flag("-b", "--bytes", section=_HOW, help="sizes in bytes")
@flag("-n", "--noheadings", section=_HOW, help="no line of headings")
@option(
    "--annotate",
    metavar="WHEN",
    bare="auto",
    default="never",
    section=_HOW,
    help="headings with tooltips: " + ", ".join(TERMINAL_WHEN),
)
@option(
    "--color",
    metavar="WHEN",
    bare="always",
    default="auto",
    own=True,
    section=_HOW,
    help=", ".join(TERMINAL_WHEN),
)
@flag("-J", "--json", section=_FORMAT, help="JSON as util-linux writes it")
@flag("-P", "--pairs", section=_FORMAT, help='NAME="value"')
@flag("-r", "--raw", section=_FORMAT, help="cells separated by one space")
@option(
    "--format",
    metavar="NAME",
    own=True,
    section=_FORMAT,
    help="table, raw, pairs, json, jsonl, csv, tsv, github, html, ...",
)
@flag("--typed", own=True, section=_FORMAT, help="with JSON: a document for scripts")
@answer(
    _schema, "--json-schema", own=True, section=_FORMAT, help="the JSON Schema of that document"
)
@answer(lambda: version("lsmem"), "-V", "--version", section="General", help="display the version")
@click.argument("extra", nargs=-1, type=click.UNPROCESSED, metavar="")
def lsmem(extra: Sequence[str], **given: Any) -> int:
    """List the memory of a machine: ranges of memory blocks with their state."""
    options = Options(**given)
    _check(options, extra)
    write = None if options.typed else formats.writer(options.format_name)
    machine = Machine.at(options.sysroot)
    columns = _columns(options)
    attributes, split = _attributes(columns, options)
    summary = options.summary or ("always" if options.format_name == "table" else "never")
    paint = None
    if options.format_name == "table" and _on_terminal(options.color, "NO_COLOR"):
        from lsmem_py import colour

        paint = colour.painter()
        attributes.update(colour.READS)
    if summary != "never":
        attributes.add("state")
    table = machine.read(attributes)
    if not table.numbers:
        raise MemoryHotplugError("no memory blocks in /sys/devices/system/memory")
    ranges = table.each() if options.all else table.ranges(split)
    out = sys.stdout
    if summary != "only":
        if options.typed:
            out.writelines(_typed(machine, table, columns, ranges, options))
        else:
            shown = [
                column
                for column in columns
                if machine.configurable or column.identifier not in columns_.FIRMWARE_ONLY
            ]
            if not shown:
                machine.remarks.append("this machine has none of the columns asked for")
            elif write:
                listing = formats.Listing(
                    shown,
                    ranges,
                    options.bytes,
                    not options.noheadings,
                    _on_terminal(options.annotate),
                    paint,
                )
                out.writelines(write(listing))
        if summary == "always":
            out.write("\n")
    if summary != "never":
        out.writelines(_summary(machine, table, options.bytes))
    out.flush()
    for remark in machine.remarks:
        complain("lsmem", remark)
    return 0


def _check(options: Options, extra: Sequence[str]) -> None:
    """What the reference refuses before it looks at the machine, in its order."""
    if options.summary not in (None, *WHEN):
        raise click.UsageError("unsupported --summary argument")
    for name in ("annotate", "color"):
        if getattr(options, name) not in TERMINAL_WHEN:
            raise click.UsageError(f"invalid argument of --{name}: {getattr(options, name)}")
    if extra:
        raise BadUsageError
    if options.summary == "only" and options.format_name != "table":
        asked = "--{raw,json,pairs}" if options.format is None else "--format"
        raise click.UsageError(f"options {asked} and --summary=only are mutually exclusive")
    if options.typed and options.format_name not in ("json", "jsonl"):
        raise click.UsageError("option --typed goes with --json or --format jsonl")


def _columns(options: Options) -> list[Column]:
    default = [columns_.BY_NAME[name] for name in columns_.DEFAULT]
    if options.typed:
        from lsmem_py import typed

        default = list(typed.DEFAULT)
    if options.output_all:
        default = [column for column in columns_.COLUMNS if not column.extra]
    asked = options.output
    if asked is None and not options.typed:
        asked = os.environ.get("LSMEM_COLUMNS") or None
    return default if asked is None else columns_.parse(asked, default)


def _attributes(columns: Sequence[Column], options: Options) -> tuple[set[str], list[str]]:
    """The attributes to be read, and those to split by."""
    splitting = columns
    if options.split is not None:
        splitting = []
        if options.split.lower() != "none":
            splitting = columns_.parse(options.split, ())
    split = list(dict.fromkeys(name for column in splitting for name in column.splits))
    reads = {name for column in columns for name in (*column.splits, *column.reads)}
    if options.typed:
        from lsmem_py import typed

        reads.update(typed.READS)
    return reads.union(split), split


def _on_terminal(when: str, unless: str | None = None) -> bool:
    if when != "auto":
        return when == "always"
    if os.environ.get("TERM") == "dumb" or (unless and os.environ.get(unless)):
        return False
    return sys.stdout.isatty()


def _typed(
    machine: Machine,
    table: BlockTable,
    columns: Sequence[Column],
    ranges: Iterator[MemoryRange],
    options: Options,
) -> Iterator[str]:
    from lsmem_py import typed

    if options.format_name == "jsonl":
        return typed.write_lines(columns, ranges)
    return typed.write_document(typed.head(machine, table), columns, ranges)


def _summary(machine: Machine, table: BlockTable, bytes: bool) -> Iterator[str]:
    def size(value: int) -> str:
        return str(value) if bytes else human(value)

    lines = [
        ("Memory block size:", size(machine.block_size)),
        ("Total online memory:", size(table.total(online=True))),
        ("Total offline memory:", size(table.total(online=False))),
    ]
    memmap = {"Y": "yes", "N": "no", "force": "force"}.get(
        machine.parameter("memmap_on_memory") or ""
    )
    if memmap:
        lines.append(("Memmap on memory parameter:", memmap))
    width = 15 if bytes else 5
    return (f"{label:<32} {value:>{width}}\n" for label, value in lines)


def main() -> None:
    """The console script."""
    run(lsmem, "lsmem")
