"""The group of memsim's commands: how one is found, and what becomes of its errors."""

from __future__ import annotations

from typing import Any

import click

from hotplug_cli import messages as shared
from hotplug_cli import spelling
from hotplug_cli.click_command import GetoptCommand, write_example
from hotplug_cli.getopt import GetoptUsageError, did_you_mean
from hotplug_cli.program import CommandError
from memsim_py import messages
from memsim_py.error_messages import sentence_of

__all__ = ["Commands"]


_OTHER_WORDS = {
    "help": "--help",
    "version": "--version",
    "list": "profiles",
    "ls": "profiles",
    "new": "create",
    "make": "create",
    "info": "show",
    "status": "show",
    "run": "shell",
    "exec": "shell",
    "start": "boot",
    "echo": "write",
    "add": "plug",
    "remove": "unplug",
}
"""What other programs call a command -> what it is called here."""


class Commands(click.Group):
    """The group of commands. An error of any of them becomes one message."""

    command_class = GetoptCommand

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_example(formatter, "memsim(1)", "memsim shell --profile x86-two-nodes")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            raise CommandError(sentence) from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not (args or ctx.resilient_parsing):
            raise GetoptUsageError(messages.WHAT_TO_DO.of(commands=", ".join(self.commands)))
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            said = shared.UNRECOGNIZED_OPTION.of(option=error.option_name)
            raise GetoptUsageError(said.advising(messages.OPTION_BEFORE_COMMAND.of())) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in self.commands or args[0].startswith("-")
        if not (known or ctx.resilient_parsing):
            known_ones = ", ".join(self.commands)
            said = messages.UNKNOWN_COMMAND.of(name=args[0], commands=known_ones)
            meant = _OTHER_WORDS.get(args[0]) or spelling.nearest(args[0], self.commands)
            raise GetoptUsageError(did_you_mean(said, [meant] if meant else []))
        return super().resolve_command(ctx, args)
