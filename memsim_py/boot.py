"""memsim boot: a real kernel in QEMU, with memory that comes and goes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import click

from hotplug_cli.program import CommandError
from memsim_py import messages, options
from memsim_py.boot_needs import STANDBY, as_sentences
from memsim_py.guest_options import arch_of, check, with_guest_options

__all__ = ["boot_command"]


@click.command(
    "boot",
    cls=options.ProgramCommand,
    short_help="Boot a real kernel in QEMU, with memory that comes and goes.",
    help="Run a shell, or the command after --, in a real kernel that QEMU runs: x86_64, aarch64, "
    "ppc64le or riscv64; or s390x with standby memory, for which memsim plays the machine's "
    "service element, which QEMU has not.",
)
@with_guest_options()
@click.pass_context
def boot_command(ctx: click.Context, /, arch_name: str | None, **given: Any) -> int:
    """The command memsim boot."""
    if find_spec("guest") is None:
        raise CommandError(messages.BOOT_NOT_HERE.of())
    from memsim_py import boot_hardware, boot_standby

    arch = arch_of(arch_name or STANDBY)
    check(arch, given)
    command = ctx.meta.get("command")
    with as_sentences():
        boot = boot_standby.boot if arch.name == STANDBY else boot_hardware.boot
        return boot(arch, command, **given)
