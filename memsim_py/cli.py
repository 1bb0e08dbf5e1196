"""The memsim command line."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from hotplug_cli import messages as shared
from hotplug_cli import offers
from hotplug_cli.click_command import answer, flag, option
from hotplug_cli.getopt import UsageError, either
from hotplug_cli.program import CommandError, complain, run, version
from hotplug_cli.progress import Progress
from memsim import directory, profile, tree
from memsim.description import dump
from memsim.directory import Directory
from memsim.errors import UnknownProfileError
from memsim.from_capture import like
from memsim.kernel import Kernel
from memsim.kernel.memory_failure import poison as poison_page
from memsim.machine import TRANSITIONS
from memsim_py import messages, options, running
from memsim_py.boot import boot_command
from memsim_py.group import Commands
from memsim_py.judge import judge_command
from memsim_py.plug import plug_command, unplug_command
from memsim_py.show import facts
from safe_files.signals import ended_in_order


@click.group(
    cls=Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate machines whose memory can be set online and offline, configured and "
    "deconfigured, and run programs on them.",
)
@answer(lambda: version("memsim"), "-V", "--version", help="display the version")
def commands() -> None:
    """The group of all commands."""


@commands.command("profiles", help="List the built-in machines.")
def profiles() -> None:
    for name, described in profile.PROFILES.items():
        click.echo(f"{name:16}{described['description']}")


_NOTED: Final = 64
"""The progress bar is told of so many directories at once."""


_WHICH: Final = "Which machine (one of these)"
_SIZES: Final = "With --memory"


@commands.command("create", help="Make a simulated machine in a new directory.")
@click.argument("path", metavar="DIR")
@option(
    "--profile",
    metavar="NAME",
    shell_complete=offers.words(options.profiles),
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
    "--capture",
    "tree",
    metavar="TREE",
    shell_complete=offers.directories,
    section=_WHICH,
    help="a machine like the one captured in TREE",
)
@option(
    "--memory",
    metavar="SIZE",
    callback=options.size,
    section=_WHICH,
    help="a machine with SIZE of memory online at boot",
)
@option(
    "--standby",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="standby memory, on an s390 (0)",
)
@option(
    "--added",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="memory that was plugged in and is offline (0)",
)
@option(
    "--slots",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="room for memory that can be plugged in (0)",
)
@option(
    "--used",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="how much online memory is in use (0)",
)
@option(
    "--block-size",
    metavar="SIZE",
    callback=options.size,
    section=_SIZES,
    help="size of a memory block (128M)",
)
@option("--nodes", metavar="N", type=int, section=_SIZES, help="number of NUMA nodes (1)")
def create(path: str, file: str | None, tree: str | None, **given: Any) -> None:
    name = given.pop("profile")
    sizes = {key: value for key, value in given.items() if value is not None}
    ways = {"--profile": name, "--from": file, "--capture": tree, "--memory": sizes or None}
    if sum(value is not None for value in ways.values()) != 1:
        taken = [way for way, value in ways.items() if value not in (None, sizes)]
        taken += [f"--{key.replace('_', '-')}" for key in sizes]
        if taken:
            raise UsageError(messages.WHICH_ONE_MACHINE.of(given=", ".join(taken)))
        raise UsageError(messages.WHICH_MACHINE.of(ways=either(ways)))
    if sizes:
        if "memory" not in sizes:
            raise UsageError(messages.MEMORY_NEEDED.of())
        with options.checked_sizes():
            kernel = Kernel(profile.layout(sizes.pop("block_size", 128 << 20), **sizes))
    elif tree is not None:
        kernel = _like(tree)
    elif file is not None:
        # An empty name is that of no file, where Path has the present directory.
        os.stat(file)
        kernel = profile.boot(Path(file))
    else:
        kernel = profile.boot(_known(name))
    _make(path, kernel)


def _known(name: str | None) -> str:
    """The NAME of a built-in machine. Raises UnknownProfileError."""
    if name not in profile.PROFILES:
        raise UnknownProfileError(str(name), profile.PROFILES)
    return name


def _like(tree: str) -> Kernel:
    kernel, differing = like(tree)
    if differing:
        count, example = len(differing), differing[0]
        complain("memsim", messages.NOT_ALIKE.of(count=count, tree=tree, example=example))
    return kernel


def _make(path: str, kernel: Kernel) -> None:
    blocks = len(kernel.blocks)
    if blocks >= tree.MANY and sys.stderr.isatty():
        complain("memsim", messages.MANY_BLOCKS.of(count=blocks, directory=path))
    machine, count = kernel.machine, 0
    # A block that can be configured has two directories, once it is.
    directories = sum(map(kernel.blocks.present, kernel.blocks)) + blocks * machine.firmware

    progress = Progress(blocks, machine.block_size)

    def made() -> None:
        nonlocal count
        if not count:
            # Not before: the bar has a thread, and a process with threads is not copied.
            progress.start()
        count += 1
        if count % _NOTED == 0:
            progress.done(min(count * blocks // directories, blocks))

    try:
        with ended_in_order():
            directory.create(path, kernel, made)
    finally:
        progress.stop()


@commands.command("write", help="Write a value to an attribute, as echo does on a real machine.")
@options.machine_argument
@click.argument("path", metavar="ATTRIBUTE")
@click.argument("value", metavar="VALUE")
def write(machine: Directory, path: str, value: str) -> None:
    below = os.path.normpath(path).lstrip("/")
    try:
        machine.write(below, os.fsencode(value) + b"\n")
    except OSError as error:
        if error.filename != below:
            raise
        if error.errno == errno.ENOENT:
            missing = messages.NO_ATTRIBUTE.of(attribute=path, root=machine.root)
            if meant := options.path_meant(machine, path):
                missing = missing.advising(messages.PATH_FROM_ROOT.of(path=meant))
            raise CommandError(missing) from None
        raise CommandError(shared.FILE_ERROR.of(file=path, reason=error.strerror)) from None


@commands.command("fault", help="Make changes of a block fail, or take time.")
@options.machine_argument
@option("--offline", metavar="BLOCK=ERRNO[:TIMES]", multiple=True, help="setting it offline fails")
@option("--online", metavar="BLOCK=ERRNO[:TIMES]", multiple=True, help="setting it online fails")
@option("--config", metavar="BLOCK=ERRNO[:TIMES]", multiple=True, help="configuring it fails")
@option("--deconfig", metavar="BLOCK=ERRNO[:TIMES]", multiple=True, help="deconfiguring it fails")
@option(
    "--delay",
    metavar="TRANSITION:BLOCK=SECONDS",
    multiple=True,
    help="it takes SECONDS; 0 removes the delay",
)
@flag("--clear", help="first remove all faults and delays")
def fault(machine: Directory, delay: Sequence[str], clear: bool, **faults: Sequence[str]) -> None:
    wanted = [(t, *options.fault(f"--{t}", text)) for t in TRANSITIONS for text in faults[t]]
    delays = [options.delay(text) for text in delay]
    if not (wanted or delays or clear):
        raise UsageError(messages.WHICH_FAULT.of())

    def change(kernel: Kernel) -> None:
        if clear:
            kernel.clear_faults()
        for transition, block, what in wanted:
            kernel.set_fault(transition, block, what)
        for transition, block, seconds in delays:
            kernel.set_delay(transition, block, seconds or None)

    try:
        machine.change(change)
    except KeyError as error:
        raise CommandError(messages.NO_BLOCK.of(block=error)) from None


@commands.command("poison", help="Let a page of memory fail, as broken hardware does.")
@options.machine_argument
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
def poison(machine: Directory, addresses: Sequence[str]) -> None:
    wanted = [options.address(text) for text in addresses]
    done: list[int] = []

    def change(kernel: Kernel) -> None:
        for address in wanted:
            try:
                done.append(poison_page(kernel, address))
            except OSError as error:
                reason = messages.NOT_POISONED.of(address=f"{address:#x}", reason=error.strerror)
                raise CommandError(reason) from None

    machine.change(change)
    for address, block in zip(wanted, done, strict=True):
        click.echo(f"memory block {block}: the page at 0x{address & -4096:016x} is poisoned")


@commands.command("show", help="Show what a machine's kernel and hypervisor know.")
@options.machine_argument
@flag("--json", "as_json", help="write JSON: the description of the machine at boot, and its state")
@flag("--log", "log", help="write the kernel log: what the hypervisor refused since boot")
def show(machine: Directory, as_json: bool, log: bool) -> None:
    kernel = machine.kernel()
    if log and not as_json:
        for line in kernel.state.log:
            click.echo(line)
        return
    if as_json:
        state = {"machine": dump(kernel.machine), "live": kernel.state.dumped()}
        click.echo(json.dumps(state, indent=2))
        return
    width = 24
    for heading, value in facts(kernel):
        click.echo(f"{heading + ':':{width}}{value}")


@commands.command("reboot", help="Boot a machine again.")
@options.machine_argument
def reboot(machine: Directory) -> None:
    machine.reboot()


@commands.command("capture", help="Copy this machine's memory files into FILE.tar.gz or DIR.")
@click.argument("target", metavar="FILE.tar.gz|DIR")
@option("-s", "--sysroot", metavar="DIR", default="/", help="capture the tree below DIR")
def capture(target: str, sysroot: str) -> None:
    from memsim.capture import capture_tree

    if target.endswith(options.OTHER_ARCHIVES) and not target.endswith(".tar.gz"):
        raise UsageError(messages.OTHER_ARCHIVE.of(file=target))
    with ended_in_order(), tempfile.TemporaryDirectory(prefix="memsim.") as temporary:
        if running.is_guest(sysroot):
            copy = Path(temporary, "guest.tar.gz")
            running.archive(sysroot, copy)
            sysroot = str(copy)
        capture_tree(target, sysroot)


@commands.command("mount", help="Mount a machine, so that any program can write to it.")
@options.machine_argument
@click.argument("mountpoint", metavar="MOUNTPOINT", shell_complete=offers.directories)
@flag("-f", "--foreground", help="stay until it is unmounted (fusermount3 -u MOUNTPOINT)")
def mount(machine: Directory, mountpoint: str, foreground: bool) -> None:
    from memsim.mount import mount_machine

    mount_machine(machine.root, mountpoint, foreground=foreground)


@commands.command(
    "shell",
    cls=options.ProgramCommand,
    short_help="Run a shell or a command on a machine.",
    help="Run a shell, or the command after --, whose /sys shows the memory of a machine. "
    "Without DIR the machine is a new one, which is removed afterwards.",
)
@click.argument("path", metavar="[DIR]", required=False, shell_complete=offers.directories)
@option(
    "--profile",
    metavar="NAME",
    shell_complete=offers.words(options.profiles),
    help="the new machine (s390-lpar)",
)
@click.pass_context
def shell(ctx: click.Context, path: str | None, profile: str | None) -> int:
    from memsim import namespace

    command = ctx.meta.get("command", [])
    if path is not None and profile is not None:
        raise UsageError(messages.DIR_OR_PROFILE.of())
    if path and running.is_guest(path):
        return running.shell(path, command)
    with _machine_or_new(path, profile) as (root, what):
        if not command:
            command = [os.environ.get("SHELL") or "/bin/sh"]
            click.echo(
                f"This shell is on {what.rstrip('.')}.\n"
                "Its memory is below /sys; everything else is as outside (try: lsmem).\n"
                "Leave with exit or Ctrl-D."
            )
        elif not shutil.which(command[0]):
            raise CommandError(messages.NO_COMMAND.of(command=command[0]))
        sys.stdout.flush()
        return namespace.run(root, command)


@contextmanager
def _machine_or_new(path: str | None, name: str | None) -> Iterator[tuple[str, str]]:
    """The root of a machine and its name in messages; a machine made here is removed afterwards."""
    if path is not None:
        yield options.open_machine(path).root, f"the simulated machine {path}"
        return
    name = _known("s390-lpar" if name is None else name)
    with tempfile.TemporaryDirectory(prefix="memsim.") as temporary:
        root = f"{temporary}/machine"
        _make(root, profile.boot(name))
        yield root, f"a new simulated machine: {profile.PROFILES[name]['description']}"


@commands.command(
    "demo",
    short_help="Play a session with standby memory of an s390.",
    help="Configure, use and deconfigure standby memory of an s390 that is not there: first by "
    "plain writes, then with chmem, with lsmem between.",
)
def demo() -> int:
    from memsim_py.demo import play

    return play()


commands.add_command(boot_command)
commands.add_command(judge_command)
commands.add_command(plug_command)
commands.add_command(unplug_command)


def main() -> None:
    """The console script."""
    # It may run long, as the server of a mount.
    gc.enable()
    run(commands, "memsim")
