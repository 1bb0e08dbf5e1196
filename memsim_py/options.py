"""Options that several commands of memsim have."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hotplug_cli import offers
from hotplug_cli.getopt import GetoptCommand, UsageError
from hotplug_cli.program import CommandError
from memsim import profile
from memsim.directory import Directory
from memsim.machine import TRANSITIONS, Fault
from memsim.machine import fault as fault_of
from memsim.schema import seconds as seconds_of
from memsim_py import messages

__all__ = [
    "OTHER_ARCHIVES",
    "Command",
    "delay",
    "fault",
    "machine_argument",
    "open_machine",
    "profiles",
    "size",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

OTHER_ARCHIVES = (".tar", ".xz", ".bz2", ".zst", ".zip", ".gz", ".7z", ".cpio")
"""What ends the name of an archive, unless it is .tar.gz."""


class Command(GetoptCommand):
    """A command that takes a program to run and its arguments after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["command"] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)


def machine_argument(function: _Function) -> _Function:
    """The argument DIR; the command gets the machine that is there."""
    return click.argument(
        "machine", metavar="DIR", callback=_machine, shell_complete=offers.directories
    )(function)


def _machine(_ctx: click.Context, _parameter: click.Parameter, path: str) -> Directory:
    return open_machine(path)


def open_machine(path: str) -> Directory:
    """The machine in a directory. Raises CommandError if there is none."""
    try:
        return Directory(path)
    except FileNotFoundError:
        quoted = shlex.quote(path)
        raise CommandError(messages.NOT_SIMULATED.of(directory=path, quoted=quoted)) from None


def size(_ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """The size in bytes of a number with a suffix of B, K, M, G, T, P or E, or none."""
    if text is None:
        return None
    digits, suffix = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "B")
    if not _is_number(digits) or suffix not in "BKMGTPE":
        raise UsageError(messages.SIZE_EXPECTED.of(option=parameter.opts[0], text=text))
    return int(digits) << 10 * "BKMGTPE".index(suffix)


def fault(option: str, text: str) -> tuple[int, Fault | None]:
    """A block and how a transition of it fails, None: no more; from BLOCK=ERRNO[:TIMES]."""
    block, _, rest = text.partition("=")
    name, colon, times = rest.partition(":")
    try:
        if not _is_number(block) or (colon and not _is_number(times)):
            raise ValueError
        if rest == "none":
            return int(block), None
        return int(block), fault_of({"errno": name, "times": int(times) if colon else None})
    except ValueError:
        raise UsageError(messages.FAULT_EXPECTED.of(option=option, text=text)) from None


def delay(text: str) -> tuple[str, int, float]:
    """A transition, a block and the seconds it takes; from TRANSITION:BLOCK=SECONDS."""
    transition, _, rest = text.partition(":")
    block, _, number = rest.partition("=")
    try:
        if transition not in TRANSITIONS or not _is_number(block):
            raise ValueError
        return transition, int(block), seconds_of(number)
    except ValueError:
        known = ", ".join(TRANSITIONS)
        raise UsageError(messages.DELAY_EXPECTED.of(text=text, transitions=known)) from None


def _is_number(text: str) -> bool:
    """Whether a text is a number, and not one that takes long to read."""
    return text.isascii() and text.isdecimal() and len(text) <= 20


def profiles() -> list[tuple[str, str]]:
    """The built-in machines: names and descriptions."""
    return [(name, described["description"]) for name, described in profile.PROFILES.items()]
