"""The options that say which guest to boot, for the commands that do, and what they refuse."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hotplug_cli import offers
from hotplug_cli.click_command import Function, option
from hotplug_cli.getopt import UsageError, either
from hotplug_cli.program import CommandError
from memsim import profile
from memsim.machine import ONLINE_WORDS
from memsim_py import messages, options
from memsim_py.boot_needs import STANDBY, refusal

if TYPE_CHECKING:
    from guest.arch import Arch

__all__ = ["ONLY_STANDBY", "arch_of", "check", "with_guest_options"]

_MACHINE: Final = "The machine"
_DEVICES: Final = "Devices that bring memory; not on s390x"
_S390: Final = "On s390x: which machine (one of these; else s390-lpar)"
_SIZES: Final = "On s390x, with --memory"
_KERNEL: Final = "The kernel"


def _profiles() -> list[tuple[str, str]]:
    return [
        (name, text) for name, text in options.profiles() if profile.PROFILES[name].get("firmware")
    ]


def _arches() -> list[str]:
    from guest.arch import ARCHES

    return list(ARCHES)


def _releases() -> tuple[str, ...]:
    from guest.arch import RELEASES

    return RELEASES


def _named(*names: str, **given: Any) -> tuple[str, Callable[[Function], Function]]:
    """An option with its name."""
    return names[0], option(*names, **given)


_OPTIONS: Final = (
    _named(
        "--arch",
        "arch_name",
        metavar="ARCH",
        shell_complete=offers.words(_arches),
        section=_MACHINE,
        help="x86_64, aarch64, ppc64le, riscv64 or s390x (s390x)",
    ),
    _named(
        "--memory",
        metavar="SIZE",
        callback=options.size,
        section=_MACHINE,
        help="memory that is online at boot (1G)",
    ),
    _named("--nodes", metavar="N", type=int, section=_MACHINE, help="NUMA nodes that share it (1)"),
    _named("--cpus", metavar="N", type=int, section=_MACHINE, help="processors (1)"),
    _named(
        "--dimm",
        "dimms",
        metavar="SIZE",
        multiple=True,
        callback=options.sizes_of,
        section=_DEVICES,
        help="a DIMM; may be given several times, for the nodes in turn",
    ),
    _named(
        "--virtio-mem",
        metavar="SIZE",
        callback=options.size,
        section=_DEVICES,
        help="a virtio-mem device that brings SIZE, and can grow",
    ),
    _named(
        "--cxl",
        metavar="SIZE",
        callback=options.size,
        section=_DEVICES,
        help="a CXL device with SIZE of memory; on x86_64, with QEMU 8.1 or later",
    ),
    _named(
        "--profile",
        "name",
        metavar="NAME",
        shell_complete=offers.words(_profiles),
        section=_S390,
        help="a built-in machine (see memsim profiles)",
    ),
    _named(
        "--from",
        "file",
        metavar="FILE",
        shell_complete=offers.files,
        section=_S390,
        help="a description in JSON",
    ),
    _named(
        "--standby",
        metavar="SIZE",
        callback=options.size,
        section=_SIZES,
        help="standby memory (as much again)",
    ),
    _named(
        "--increment",
        metavar="SIZE",
        callback=options.size,
        section=_SIZES,
        help="size of a storage increment (128M)",
    ),
    _named(
        "--release",
        metavar="NAME",
        shell_complete=offers.words(_releases),
        section=_KERNEL,
        help="that of this release of Debian: sid, trixie or bookworm (sid)",
    ),
    _named(
        "--kernel",
        metavar="FILE",
        shell_complete=offers.files,
        section=_KERNEL,
        help="this one: a vmlinuz or bzImage of the architecture; Linux 6.19 or later on s390x",
    ),
    _named(
        "--modules",
        metavar="DIR",
        shell_complete=offers.directories,
        section=_KERNEL,
        help="with --kernel: its modules, as in /lib/modules/RELEASE (all is built in)",
    ),
    _named(
        "--auto-online",
        metavar="WORD",
        type=click.Choice(("offline", *ONLINE_WORDS)),
        section=_KERNEL,
        help="what becomes of added memory: offline, online, online_kernel or online_movable "
        "(offline)",
    ),
    _named(
        "--append",
        metavar="TEXT",
        section=_KERNEL,
        help="more parameters for the kernel's command line",
    ),
    _named("--kaslr", section=_KERNEL, help="on s390x: let the kernel choose its own address"),
    _named(
        "--directory",
        metavar="DIR",
        help="the name of the guest: a new directory, through which memsim plug and others reach "
        "it",
    ),
    _named("--fetch", help="first fetch what is missing from Debian's archive, into the cache"),
    _named(
        "--mirror",
        metavar="URL",
        help="with --fetch: the mirror of Debian's archive (one of apt's sources)",
    ),
)


def with_guest_options(*without: str) -> Callable[[Function], Function]:
    """Decorate a command's function with all of these options but some."""

    def decorate(function: Function) -> Function:
        for name, decorator in reversed(_OPTIONS):
            if name not in without:
                function = decorator(function)
        return function

    return decorate


def arch_of(name: str) -> Arch:
    from guest.arch import ARCHES

    if name not in ARCHES:
        raise UsageError(
            messages.WORD_EXPECTED.of(option="--arch", words=either(ARCHES), text=name)
        )
    return ARCHES[name]


ONLY_STANDBY: Final = {
    "--profile": "name",
    "--from": "file",
    "--standby": "standby",
    "--increment": "increment",
    "--kaslr": "kaslr",
}
"""Options that describe a machine with standby memory, and the names of their values."""

_NEEDS: Final = (("--modules", "--kernel"), ("--mirror", "--fetch"))


def check(arch: Arch, given: Mapping[str, Any]) -> None:
    """Refuse what cannot be meant, and what the architecture has not."""
    for name, needed in _NEEDS:
        if given[name[2:]] is not None and not given[needed[2:]]:
            raise UsageError(messages.OPTION_NEEDS.of(option=name, needed=needed))
    if given["mirror"] is not None:
        from guest.apt import is_address

        if not is_address(given["mirror"]):
            raise UsageError(messages.ADDRESS_EXPECTED.of(text=given["mirror"]))
    if given["kernel"] and given["release"]:
        raise UsageError(messages.WHICH_KERNEL.of())
    _check_arch(arch, given)
    if given["release"] not in (None, *arch.flavours):
        _check_release(arch, given["release"])
    for name in ("kernel", "modules"):
        if given[name] and not os.access(given[name], os.R_OK):
            raise CommandError(refusal(f"{given[name]}: no such file to read"))
    if directory := given.get("directory"):
        above = Path(directory).absolute().parent
        if not above.is_dir():
            raise CommandError(messages.NO_PARENT.of(file=Path(directory), directory=above))


def _check_arch(arch: Arch, given: Mapping[str, Any]) -> None:
    meant = {"--dimm": "dimms", "--virtio-mem": "virtio_mem", "--cxl": "cxl"}
    for name, key in meant.items():
        if given.get(key) and name in arch.lacks:
            raise CommandError(refusal(arch.lacks[name]))
    for name in ("--nodes", "--cpus"):
        number = given[name[2:]]
        if number is not None and number < 1:
            raise UsageError(messages.NUMBER_EXPECTED.of(option=name, text=number))
        if number not in (None, 1) and name in arch.lacks:
            raise CommandError(refusal(arch.lacks[name]))
    if arch.name != STANDBY:
        for name, key in ONLY_STANDBY.items():
            if (value := given.get(key)) is not None and value is not False:
                raise UsageError(messages.ONLY_STANDBY.of(option=name, arch=arch.name))


def _check_release(arch: Arch, release: str) -> None:
    from guest.arch import RELEASES

    if release not in RELEASES:
        words = either(RELEASES)
        raise UsageError(messages.WORD_EXPECTED.of(option="--release", words=words, text=release))
    raise CommandError(refusal(arch.lacks[release]))
