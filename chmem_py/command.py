"""What is special about the command: its errors as a document, its --help, its completions."""

from __future__ import annotations

from collections.abc import Sequence

from chmem_py import actions
from chmem_py.jobs import JOBS, Asked
from chmem_py.options import ZONES, Options
from chmem_py.output import NAME, Output
from hotplug_cli import offers, program
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import Command, Line
from hotplug_cli.message import Sentence
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.face import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def schema_text(_: Line) -> str:
    """The text of --json-schema."""
    import json

    from chmem_py.document import schema

    return json.dumps(schema(), indent=2)


def offer_operands(
    ctx: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem[str]]:
    """Offer what the options before ask for: numbers of blocks, files of a layout, or keys of a
    policy. Nothing is offered for a size or an address."""
    row = actions.ACTIONS.get(ctx.params.get("action") or "")
    if row and row.operands is actions.FILE:
        return offers.files(ctx, parameter, typed)
    if row and row.operands is actions.SETTINGS:
        from memory_hotplug.layout.settings import ATTRIBUTES

        return offers.words(lambda: [f"{key}=" for key in ATTRIBUTES])(ctx, parameter, typed)
    return _offer_blocks(ctx, typed) if ctx.params.get("blocks") else []


def _offer_blocks(ctx: click.Context, typed: str) -> list[CompletionItem[str]]:
    """Offer the block numbers; after ``5-``, those that can end the range."""
    from click.shell_completion import CompletionItem

    first, dash, last = typed.rpartition("-")
    try:
        with _machine(ctx) as machine:
            table = machine.read(("state", "configured"))
    except MemoryHotplugError:
        return []
    return [
        CompletionItem(f"{first}{dash}{block.number}", help=block.status)
        for block in table.blocks()
        if str(block.number).startswith(last)
        and not (first.isdecimal() and block.number < int(first))
    ]


def offer_nodes(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """Offer the nodes of the machine."""
    from click.shell_completion import CompletionItem

    try:
        with _machine(ctx) as machine:
            nodes = sorted(machine.nodes)
    except MemoryHotplugError:
        return []
    return [CompletionItem(f"{node}") for node in nodes if f"{node}".startswith(typed)]


def offer_devices(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """Offer the devices that brought memory."""
    from click.shell_completion import CompletionItem

    from memory_hotplug.seen.owners import owners_of

    try:
        with _machine(ctx) as machine:
            names = owners_of(machine, machine.read(()).numbers).names
    except MemoryHotplugError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(typed)]


def _machine(ctx: click.Context) -> Machine:
    return Machine.at(ctx.params.get("sysroot") or "/")


class _Line(Line):
    """A command line, and the output that its options want."""

    def __init__(self) -> None:
        super().__init__()
        self.output = Output()


class Chmem(Command):
    """The command; its --help ends with the zones, and with --json its errors are a document."""

    def clash(self, before: str, name: str) -> Sentence | None:
        """What the table of actions says."""
        return actions.clash(before, name)

    def goes_with(self, before: str, name: str) -> bool:
        """What the table of actions says."""
        return actions.goes_with(before, name)

    def meant_by(self, option: str, argument: str) -> Sentence | None:
        """What a total with a sign is meant as; which machine it is for is not known yet."""
        from chmem_py.hints import signed

        return signed(argument) if option == "--total" else None

    def line(self) -> Line:
        """A command line that is yet to be read."""
        return _Line()

    def run(self, line: Line) -> int:
        """Do what is asked for; the exit status."""
        said = dict(word[2:].partition("=")[::2] for word in line.given)
        options = Options(**line.values, said=said)
        output = self._prepared(line)
        does = JOBS[actions.check(options, line.operands)]
        return does(Asked(options, line.operands, output))

    def write_error(self, line: Line, error: Exception) -> int:
        """Write an error as a message and, if --json was read before it, as a document."""
        output = self._prepared(line)
        program.complain_of(NAME, error, output.say)
        if "--json" in line.given:
            from chmem_py.document import failure

            output.write([failure(Exit.FAILURE, output.messages)])
        output.finish(Exit.FAILURE)
        return Exit.FAILURE

    def _prepared(self, line: Line) -> Output:
        """The output, as the options want it that were read so far."""
        assert isinstance(line, _Line)
        output = line.output
        output.advice = program.wants_advice(line.given, "CHMEM_ADVICE")
        output.document = "--json" in line.given
        output.own = bool({word.partition("=")[0] for word in line.given} & self._own_options)
        return output

    @property
    def _own_options(self) -> set[str]:
        """The names of the options that change what is done and that util-linux does not have."""
        return {one.long for one in self.options if one.own} - {"--advice", "--json"}

    def usages(self, given: Sequence[str]) -> Sequence[str]:
        """A line for the actions that take the same operands."""
        shown = {one.long[2:]: one.names[0] for one in self.options if self.fits(one, given)}
        return [f"[options] {usage}" for usage in actions.usages(shown)]

    def write_epilog(self, formatter: click.HelpFormatter) -> None:
        """Write the zones, what operands are, and an example."""
        from hotplug_cli.click_command import write_example

        with formatter.section("Supported zones"):
            formatter.write_text(", ".join(zone.value for zone in ZONES))
        formatter.write_paragraph()
        formatter.write_text(
            "A SIZE is in MiB, or with a suffix: 512m, 4g, 1t. A RANGE is 0x<start>-0x<end>, a "
            "BLOCKRANGE the number of a block, or <first>-<last>."
        )
        write_example(formatter, "chmem(8)", "chmem --enable 4g --zone Movable --dry-run")
