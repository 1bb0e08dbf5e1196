"""Options that several commands of memsim have."""

from __future__ import annotations

import click

from hotplug_cli.getopt import GetoptCommand
from memsim import profile


class Command(GetoptCommand):
    """A command that takes a program to run and its arguments after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["command"] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


def size(_ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """The size in bytes of a number with a suffix of B, K, M, G, T, P or E, or none."""
    if text is None:
        return None
    digits, suffix = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "B")
    if not (digits.isascii() and digits.isdecimal()) or suffix not in "BKMGTPE":
        raise click.UsageError(f"{parameter.opts[0]}: expected a size such as 128M, not {text}")
    return int(digits) << 10 * "BKMGTPE".index(suffix)


def profiles() -> list[tuple[str, str]]:
    """The built-in machines: names and descriptions."""
    return [(name, described["description"]) for name, described in profile.PROFILES.items()]
