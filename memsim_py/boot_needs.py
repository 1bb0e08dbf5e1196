"""What every way of booting a guest needs: QEMU, what is fetched, and its errors as messages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from hotplug_cli.program import CommandError
from memsim_py import messages

if TYPE_CHECKING:
    from guest.arch import Arch
    from guest.fetch import KernelPackage, Userland
    from hotplug_cli.message import Sentence

STANDBY: Final = "s390x"
"""The architecture with standby memory, which is the default."""

RELEASE: Final = "sid"
"""The release of Debian whose kernel is the default."""


def refusal(reason: str) -> Sentence:
    """The sentence that says why a guest cannot be booted."""
    return messages.CANNOT_BOOT.of(reason=reason)


def have_qemu(arch: Arch) -> None:
    """Raises CommandError if QEMU, or the firmware that it needs, is not here."""
    from guest import qemu

    if reason := qemu.missing(arch.program, arch.package):
        raise CommandError(refusal(reason))
    if arch.firmware and not os.path.exists(arch.firmware[0]):
        file, package = arch.firmware
        raise CommandError(refusal(f"{file} is not here: apt-get install {package}"))


def fetched(arch: Arch, given: Mapping[str, Any]) -> tuple[Userland, KernelPackage | None]:
    """The programs, and the kernel of a release of Debian: None where --kernel names another one.

    They are fetched first, if that is wanted. Raises CommandError if they are not here.
    """
    from guest import fetch

    release = None if given["kernel"] else given["release"] or RELEASE
    if given["fetch"]:
        fetch.fetch_missing(arch, release, tell, given["mirror"])
    programs = fetch.userland(arch)
    kernel = fetch.kernel(arch, release) if release else None
    if programs is None or (release and kernel is None):
        words = "" if arch.name == STANDBY else f" --arch {arch.name}"
        words += f" --release {release}" if release not in (None, RELEASE) else ""
        name = "s390" if arch.name == STANDBY else arch.name
        raise CommandError(messages.NOT_FETCHED.of(arch=name, words=words))
    return programs, kernel


def tell(line: str) -> None:
    """Write a line about the progress."""
    click.echo(f"memsim: {line}", err=True)


@contextmanager
def as_sentences() -> Iterator[None]:
    """A context that turns errors of booting into messages."""
    from guest.apt import FetchError
    from guest.machine import GuestError
    from guest.modules import ModuleError
    from guest.s390.parameters import DescriptionError

    try:
        yield
    except (DescriptionError, FetchError, GuestError, ModuleError) as error:
        reason = " | ".join(str(error).splitlines())
        raise CommandError(refusal(reason)) from error
