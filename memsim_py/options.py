"""Options that several commands of memsim have."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hotplug_cli import offers, sizes
from hotplug_cli.click_command import Function, GetoptCommand
from hotplug_cli.getopt import UsageError
from hotplug_cli.program import CommandError
from memsim import profile
from memsim.directory import Directory
from memsim.errors import MachineError
from memsim.machine import TRANSITIONS, Fault
from memsim.machine import fault as fault_of
from memsim.schema import seconds as seconds_of
from memsim.sysfs import MEMORY
from memsim_py import messages

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence

__all__ = [
    "OTHER_ARCHIVES",
    "ProgramCommand",
    "address",
    "checked_sizes",
    "decimals",
    "delay",
    "directory_argument",
    "fault",
    "machine_argument",
    "open_machine",
    "profiles",
    "size",
    "sizes_of",
]

OTHER_ARCHIVES = (".tar", ".xz", ".bz2", ".zst", ".zip", ".gz", ".7z", ".cpio")
"""What ends the name of an archive, unless it is .tar.gz."""


class ProgramCommand(GetoptCommand):
    """A command that takes a program to run and its arguments after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["command"] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """click's, with the program."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


def directory_argument(opened: Callable[[str], object]) -> Callable[[Function], Function]:
    """The argument DIR; the command gets what it is OPENED as."""

    def machine(_ctx: click.Context, _parameter: click.Parameter, path: str) -> object:
        return opened(path)

    return click.argument(
        "machine", metavar="DIR", callback=machine, shell_complete=offers.directories
    )


def open_machine(path: str) -> Directory:
    """The machine in a directory. Raises CommandError if there is none."""
    try:
        return Directory(path)
    except FileNotFoundError:
        quoted = shlex.quote(path)
        raise CommandError(messages.NOT_SIMULATED.of(directory=path, quoted=quoted)) from None


machine_argument = directory_argument(open_machine)
"""The argument DIR; the command gets the simulated machine that is there."""


def sizes_of(
    ctx: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> list[int | None]:
    """The sizes of an option that may be given several times."""
    return [size(ctx, parameter, text) for text in texts]


_DECIMALS = "memsim.decimals"
"""Key in the context's meta: the sentences about sizes in powers of 1000."""


def size(ctx: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """The size in bytes, from a text as chmem takes it; a number without a unit is one of MiB."""
    if text is None:
        return None
    try:
        found = sizes.parse(text)
    except ValueError:
        raise UsageError(messages.SIZE_EXPECTED.of(option=parameter.opts[0], text=text)) from None
    if meant := sizes.binary(text):
        sentence = messages.DECIMAL_SIZE.of(text=text, bytes=found, binary=meant[0], size=meant[1])
        ctx.meta.setdefault(_DECIMALS, []).append(sentence)
    return found


def decimals() -> Iterator[Sentence]:
    """Advice about sizes that were given in powers of 1000: few are whole memory blocks."""
    yield from click.get_current_context().meta.get(_DECIMALS, ())


@contextmanager
def checked_sizes() -> Iterator[None]:
    """A context that turns a MachineError about sizes of the command line into a message."""
    try:
        yield
    except MachineError as error:
        wrong = messages.WRONG_MACHINE.of(
            where=error.where, expected=error.expected, found=error.found
        )
        raise CommandError(wrong, *decimals()) from error


def path_meant(machine: Directory, path: str) -> str | None:
    """The attribute that may be meant by a PATH that is none: one below the directory of memory, or
    one with the machine's own directory before it."""
    below = os.path.abspath(path).removeprefix(os.path.abspath(machine.root))
    for meant in (f"/{MEMORY}/{path.lstrip('/')}", below):
        if os.path.isfile(machine.root + meant):
            return meant
    return None


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


def address(text: str) -> int:
    """The physical address of 0x..."""
    if not _ADDRESS.fullmatch(text):
        raise UsageError(messages.ADDRESS_OF_PAGE.of(text=text))
    return int(text, 16)


_ADDRESS = re.compile(r"0x[0-9a-fA-F]{1,16}")


def _is_number(text: str) -> bool:
    """Whether a text is a number, and not one that takes long to read."""
    return text.isascii() and text.isdecimal() and len(text) <= 20


def profiles() -> list[tuple[str, str]]:
    """The built-in machines: names and descriptions."""
    return [(name, described["description"]) for name, described in profile.PROFILES.items()]
