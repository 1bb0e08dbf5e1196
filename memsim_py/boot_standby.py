"""memsim boot on s390x: a machine with standby memory, whose service element is played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hotplug_cli.getopt import UsageError
from memory_hotplug.size import human
from memsim import profile
from memsim.machine import Machine
from memsim_py import messages, options
from memsim_py.boot_needs import fetched, have_qemu, tell

if TYPE_CHECKING:
    from guest.arch import Arch
    from guest.s390.lpar import Lpar

MIB: Final = 1 << 20
BLOCK: Final = 128 * MIB


def boot(arch: Arch, command: Sequence[str] | None, **given: Any) -> int:
    """Boot, and run a shell or a command; return its status."""
    from guest import door, terminal

    where = Path(given["directory"]) if given["directory"] else None
    with door.directory(where) as its, booted(arch, given, its) as lpar:
        release = lpar.run("uname -r").stdout.strip()
        if not command:
            _greet(_machine(given), release)
        with (
            lpar.answering(),
            door.Door(its, lpar.channel, door.GuestFacts(arch.name, release)) as others,
        ):
            return terminal.run(lpar.channel, command or ["sh"], others)


def booted(arch: Arch, given: Mapping[str, Any], its: Path | None = None) -> Lpar:
    """A guest as the options describe it; its sockets are in the directory `its`, or in one of its
    own. Raises CommandError and what `as_sentences` knows."""
    from guest import fetch, userland
    from guest.s390 import states
    from guest.s390.parameters import partition

    machine = _machine(given)
    if given["auto_online"]:
        machine = replace(machine, auto_online_blocks=given["auto_online"])
    described = partition(machine, kaslr=given.get("kaslr", False))
    if given["append"]:
        described = replace(described, parameters=(*described.parameters, given["append"]))
    have_qemu(arch)
    programs, kernel = fetched(arch, given)
    image = kernel.image if kernel else Path(given["kernel"])
    files = userland.file_system(arch, programs, fetch.cache())
    return states.ready(described, image, files, fetch.cache() / "states", tell, its=its)


def _machine(given: Mapping[str, Any]) -> Machine:
    """The machine that the options describe."""
    name, file, memory = given["name"], given["file"], given["memory"]
    standby, increment = given["standby"], given["increment"]
    if sum(each is not None for each in (name, file, memory)) > 1:
        ways = "--profile, --from, --memory"
        raise UsageError(messages.WHICH_MACHINE.of(ways=ways))
    if memory is None and (standby is not None or increment is not None):
        raise UsageError(messages.ONLY_WITH_MEMORY.of())
    if memory is None:
        return profile.load(Path(file) if file else name or "s390-lpar")
    with options.checked_sizes():
        return _of_sizes(memory, memory if standby is None else standby, increment or BLOCK)


def _of_sizes(memory: int, standby: int, increment: int) -> Machine:
    block = max(BLOCK, increment)
    return replace(profile.layout(block, memory, standby=standby), increment=increment)


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
