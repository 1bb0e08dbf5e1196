"""memsim boot: a real s390 kernel with standby memory, in QEMU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hotplug_cli import offers
from hotplug_cli.getopt import UsageError, flag, option
from hotplug_cli.program import CommandError
from memory_hotplug.size import human
from memsim import profile
from memsim.machine import Machine
from memsim_py import messages, options

if TYPE_CHECKING:
    from lpar.fetch import Artifacts

MIB: Final = 1 << 20
BLOCK: Final = 128 * MIB

_WHICH: Final = "Which machine (one of these; else s390-lpar)"
_SIZES: Final = "With --memory"


def _profiles() -> list[tuple[str, str]]:
    return [
        (name, text) for name, text in options.profiles() if profile.PROFILES[name].get("firmware")
    ]


@click.command(
    "boot",
    cls=options.Command,
    short_help="Boot a real s390 kernel with standby memory, in QEMU.",
    help="Run a shell, or the command after --, in a real s390 kernel with standby memory. QEMU "
    "runs it; memsim plays the machine's service element, which QEMU has not.",
)
@option(
    "--profile",
    "name",
    metavar="NAME",
    shell_complete=offers.words(_profiles),
    section=_WHICH,
    help="a built-in machine (see memsim profiles)",
)
@option(
    "--from",
    "file",
    metavar="FILE",
    shell_complete=offers.files,
    section=_WHICH,
    help="a description in JSON",
)
@option(
    "--memory",
    metavar="SIZE",
    callback=options.size,
    section=_WHICH,
    help="of this size, online at boot",
)
@option(
    "--standby",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="standby memory (as much again)",
)
@option(
    "--increment",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="size of a storage increment (128M)",
)
@option(
    "--kernel",
    metavar="FILE",
    shell_complete=offers.files,
    help="boot this kernel: a vmlinuz or bzImage for s390x, Linux 6.19 or later",
)
@option("--append", metavar="TEXT", help="more parameters for the kernel's command line")
@flag("--kaslr", help="let the kernel choose its own address")
@flag("--fetch", help="first fetch what is missing from Debian's archive, into the cache")
@option(
    "--mirror",
    metavar="URL",
    help="with --fetch: the mirror of Debian's archive (one of apt's sources)",
)
@click.pass_context
def boot_command(
    ctx: click.Context,
    name: str | None,
    file: str | None,
    memory: int | None,
    standby: int | None,
    increment: int | None,
    kernel: str | None,
    append: str | None,
    kaslr: bool,
    fetch: bool,
    mirror: str | None,
) -> int:
    """The command memsim boot."""
    if find_spec("lpar") is None:
        raise CommandError(messages.BOOT_NOT_HERE.of())
    if sum(given is not None for given in (name, file, memory)) > 1:
        ways = "--profile, --from, --memory"
        raise UsageError(messages.WHICH_MACHINE.of(ways=ways))
    if memory is None and (standby is not None or increment is not None):
        raise UsageError(messages.ONLY_WITH_MEMORY.of())
    if mirror is not None:
        _check_mirror(mirror, fetch)
    if memory is None:
        machine = profile.load(Path(file) if file else name or "s390-lpar")
    else:
        with options.checked_sizes():
            machine = _of_sizes(memory, memory if standby is None else standby, increment or BLOCK)
    if kernel and not os.access(kernel, os.R_OK):
        raise CommandError(messages.CANNOT_BOOT.of(reason=f"{kernel}: no such file to read"))
    with _as_sentences():
        from lpar import states, terminal, userland
        from lpar.fetch import cache
        from lpar.parameters import partition

        described = partition(machine, kaslr=kaslr)
        if append:
            described = replace(described, parameters=(*described.parameters, append))
        artifacts = _artifacts(fetch, mirror)
        image = Path(kernel) if kernel else artifacts.kernel
        files = userland.file_system(artifacts, cache())
        with states.ready(described, image, files, cache() / "states", _tell) as lpar:
            command = ctx.meta.get("command")
            if not command:
                _greet(machine, lpar.run("uname -r").stdout.strip())
            return terminal.run(lpar, command or ["sh"])


def _check_mirror(mirror: str, fetch: bool) -> None:
    from lpar.apt import is_address

    if not fetch:
        raise UsageError(messages.MIRROR_WITHOUT_FETCH.of())
    if not is_address(mirror):
        raise UsageError(messages.ADDRESS_EXPECTED.of(text=mirror))


def _of_sizes(memory: int, standby: int, increment: int) -> Machine:
    block = max(BLOCK, increment)
    return replace(profile.layout(block, memory, standby=standby), increment=increment)


def _artifacts(fetch: bool, mirror: str | None) -> Artifacts:
    """The kernel and programs. Raises CommandError if they or QEMU are missing."""
    from lpar import qemu
    from lpar.fetch import cache, fetch_kernel, fetched

    if reason := qemu.missing():
        raise CommandError(messages.CANNOT_BOOT.of(reason=reason))
    directory = cache() / "debian"
    found = fetch_kernel(directory, _tell, mirror) if fetch else fetched(directory)
    if found is None:
        raise CommandError(messages.NOT_FETCHED.of())
    return found


def _tell(line: str) -> None:
    click.echo(f"memsim: {line}", err=True)


def _greet(machine: Machine, release: str) -> None:
    counts = dict.fromkeys((True, False), 0)
    for group in machine.groups:
        counts[group.config] += (group.last - group.first + 1) * machine.block_size
    online, standby = (human(counts[configured]) for configured in (True, False))
    click.echo(
        f"This shell is on Linux {release} for s390x: {online} online, {standby} standby.\n"
        "The kernel is real, the hypervisor is played (try: lsmem; util-linux's is lsmem.ul).\n"
        "Leave with exit, Ctrl-D or Ctrl-]."
    )


@contextmanager
def _as_sentences() -> Iterator[None]:
    """A context that turns errors of booting into messages."""
    from lpar.apt import FetchError
    from lpar.machine import LparError
    from lpar.parameters import DescriptionError

    try:
        yield
    except (DescriptionError, FetchError, LparError) as error:
        reason = " | ".join(str(error).splitlines())
        raise CommandError(messages.CANNOT_BOOT.of(reason=reason)) from error
