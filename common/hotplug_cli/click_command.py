"""Commands of click from tables of options: for --help, for completion, and all of memsim's.

click converts and checks the values of memsim's options, and finds its subcommands. Words are read
by `getopt`, and rewritten to the form that click understands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hotplug_cli.getopt import HELP, Command, Line, Option, OptionTable, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "GetoptCommand",
    "GetoptOption",
    "answer",
    "command_of",
    "flag",
    "help_text",
    "option",
    "write_example",
]


class GetoptOption(click.Option):
    """An option of click, and its row."""

    def __init__(self, names: Sequence[str], *, row: Option, **kwargs: Any) -> None:
        # False would have click take no value that begins with a dash.
        is_flag = True if row.metavar is None else None
        super().__init__(names, help=row.help, metavar=row.metavar, is_flag=is_flag, **kwargs)
        self.row = row

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Offer nothing for the next word if the argument is optional: it can only follow ``=``."""
        if self.row.bare and not getattr(ctx.obj, "joined", True):
            return ctx.command.shell_complete(ctx, incomplete)
        return super().shell_complete(ctx, incomplete)


Function = TypeVar("Function", bound=Callable[..., Any])


def option(
    *names: str,
    help: str,
    metavar: str | None = None,
    section: str = "Options",
    **kwargs: Any,
) -> Callable[[Function], Function]:
    """Decorate a function of memsim with an option. The keywords are those of click.option, and
    the section in --help. A name without hyphens is that of the value."""
    dashed = [name for name in names if name.startswith("-")]
    row = Option(*dashed, help=help, metavar=metavar, section=section)
    return click.option(*names, cls=GetoptOption, row=row, **kwargs)


def flag(*names: str, help: str, **kwargs: Any) -> Callable[[Function], Function]:
    """Decorate a function of memsim with an option without an argument."""
    return option(*names, help=help, **kwargs)


def answer(text: Callable[[], str], *names: str, help: str) -> Callable[[Function], Function]:
    """Decorate a function of memsim with an option that prints a text and ends the command."""

    def show(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            click.echo(text())
            ctx.exit()

    return flag(*names, help=help, is_eager=True, expose_value=False, callback=show)


GIVEN = "hotplug_cli.given"
"""Key in the context's meta: the options in the order given, as ``--name`` or ``--name=VALUE``."""


class GetoptCommand(click.Command):
    """A command whose arguments are read as getopt_long reads them."""

    @cached_property
    def table(self) -> OptionTable:
        """The options, and how the usage names the operands."""
        rows = [one.row for one in self.params if isinstance(one, GetoptOption)]
        operands = [one.metavar or "" for one in self.params if isinstance(one, click.Argument)]
        return OptionTable(rows, " ".join(operands))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given: list[str] = []
        ctx.meta[GIVEN] = given
        words = self.table.spelled_out(args)
        try:
            for word in words:
                if word == "--":
                    break
                given.append(word)
        except UsageError:
            if not ctx.resilient_parsing:
                raise
            # A shell asks for completions, which may depend on the options that are there: errors
            # are reported when the command is run.
        return super().parse_args(ctx, [*given, "--", *words])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """click's completions, and those of a value in one word with its option: ``-oRANGE,S``."""
        from click.shell_completion import CompletionItem

        options = {
            name: one
            for one in self.get_params(ctx)
            if isinstance(one, GetoptOption)
            for name in one.opts
        }
        if not incomplete.startswith("--"):
            for at, letter in enumerate(incomplete[1:], 2):
                option = options.get(f"-{letter}")
                if option is None:
                    return []
                if not option.is_flag and incomplete[at:]:
                    items = option.shell_complete(ctx, incomplete[at:])
                    return [
                        CompletionItem(incomplete[:at] + item.value, item.type, item.help)
                        for item in items
                        if item.type == "plain"
                    ]
        return [
            item
            for item in super().shell_complete(ctx, incomplete)
            if item.value not in options or self._fits(ctx, options[item.value])
        ]

    def _fits(self, ctx: click.Context, option: GetoptOption) -> bool:
        return self.table.fits(option.row, ctx.meta.get(GIVEN, ()))

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """click's --help, as a GetoptOption."""
        return GetoptOption(
            HELP.names,
            row=HELP,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that go with those given, below the headings of their sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, GetoptOption) and self._fits(ctx, parameter):
                row = parameter.row
                sections.setdefault(row.section, []).append((row.usage, record[1]))
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=28)


def _show_help(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()


class _TableCommand(GetoptCommand):
    """A command of click that is made from one that needs no click, and only describes it."""

    def __init__(self, command: Command) -> None:
        words = click.Argument(
            ["operands"],
            nargs=-1,
            type=click.UNPROCESSED,
            metavar=command.operands,
            shell_complete=command.offers,
        )
        # The last option is --help, which is click's own.
        options = [_option_of(row) for row in command.options[:-1]]
        super().__init__(command.name, params=[*options, words], help=command.help)
        self._command = command

    @cached_property
    def table(self) -> OptionTable:
        return self._command

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        first, *others = self._command.usages(ctx.meta.get(GIVEN, ()))
        formatter.write_usage(ctx.command_path, first)
        for usage in others:
            formatter.write_usage(ctx.command_path, usage, prefix="       ")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self._command.write_epilog(formatter)


def _option_of(row: Option) -> GetoptOption:
    """The option of click from a row."""
    value = {"flag_value": row.value} if row.metavar is None and not row.answer else {}
    return GetoptOption(
        [*row.names, row.key],
        row=row,
        default=row.default,
        shell_complete=row.offers,
        expose_value=row.answer is None,
        **value,
    )


def command_of(command: Command | click.Command) -> click.Command:
    """The command of click from one that may need no click."""
    return _TableCommand(command) if isinstance(command, Command) else command


def help_text(command: Command, line: Line) -> str:
    """The text of --help, about the options that go with those in LINE."""
    made = _TableCommand(command)
    context = click.Context(made, info_name=command.name)
    context.meta[GIVEN] = line.given
    return made.get_help(context)


def write_example(formatter: click.HelpFormatter, manual: str, command: str) -> None:
    """Write the end of --help: an example, and the manual that has more."""
    with formatter.section(f"Example (for more see {manual})"):
        formatter.write_text(command)
