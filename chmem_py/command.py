"""What is special about the command: its errors as a document, its --help, its completions."""

from typing import TYPE_CHECKING

import click

from chmem_py.options import ZONES
from chmem_py.output import NAME, Output
from hotplug_cli import advice, program
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import GIVEN, GetoptCommand, GetoptOption, write_example
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.machine import Machine

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def schema_text() -> str:
    import json

    from chmem_py.document import schema

    return json.dumps(schema(), indent=2)


def offer_blocks(ctx: click.Context, _: click.Parameter, typed: str) -> "list[CompletionItem[str]]":
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


def offer_devices(
    ctx: click.Context, _: click.Parameter, typed: str
) -> "list[CompletionItem[str]]":
    """Offer the devices that brought memory."""
    from click.shell_completion import CompletionItem

    from memory_hotplug.owners import owners

    try:
        with Machine.at(ctx.params.get("sysroot") or "/") as machine:
            names = owners(machine, machine.read(()).numbers).names
    except MemoryHotplugError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(typed)]


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
