"""What tests need beside Python: how it is found, and what brings it where it is missing.

A test asks with `@pytest.mark.needs(...)`, by names of the table NEEDS. conftest.py skips it where
one of them is missing, and says at the end of the run what would have run it.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "CHROOT",
    "NEEDS",
    "PACKAGE_EXTRA",
    "S390_GUEST",
    "X86_GUEST",
    "arch_guest",
    "missing",
    "told",
]

_PACKAGE: Final = "left out: {count} that need `apt-get install {what}`"
_COMMAND: Final = "left out: {count} that need this before: {what}"
_MACHINE: Final = "left out: {count} that need {what}"
"""How the end of the run says what was left out, by what would bring it; a line for each."""

PACKAGE_EXTRA: Final = "pip install '.[package]'"


class Need(NamedTuple):
    found: Callable[[], bool]
    sentence: str
    what: str


def _program(name: str, package: str | None = None) -> Need:
    return Need(lambda: shutil.which(name) is not None, _PACKAGE, package or name)


def _module(name: str) -> Need:
    return Need(lambda: importlib.util.find_spec(name) is not None, _COMMAND, PACKAGE_EXTRA)


def _files(package: str, *paths: str) -> Need:
    return Need(lambda: all(map(os.path.exists, paths)), _PACKAGE, package)


@cache
def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True).returncode == 0


def _diverts() -> bool:
    # In a process of its own: it forks.
    program = (
        "import sys; from memsim import divert, namespace;"
        "sys.exit(not (divert.available() and namespace._can_divert()))"
    )
    return _succeeds(sys.executable, "-c", program)


def _x86_guest() -> bool:
    from vm.guest import NEWEST, fetched

    return fetched(NEWEST) is not None


def _debian_guest() -> bool:
    from vm import debian

    return debian.fetched().exists()


def _guest(name: str) -> bool:
    from guest import fetch
    from guest.arch import ARCHES

    arch = ARCHES[name]
    return fetch.userland(arch) is not None and fetch.kernel(arch, "sid") is not None


NEEDS: Final = {
    # Packages of Debian
    **{name: _program(name) for name in ("bash", "daxctl", "fish", "mandoc", "numactl", "zsh")},
    "apt-get": _program("apt-get", "apt"),
    # In the package ndctl until Debian 12.
    "cxl": _program("cxl"),
    "fuse3": _program("fusermount3", "fuse3"),
    "groff": _program("groff", "groff-base"),
    "locales": _files("locales", "/usr/share/i18n/locales/de_DE"),
    "translations": _files("libc-l10n", "/usr/share/locale/pl/LC_MESSAGES/libc.mo"),
    "lstopo": _program("lstopo", "hwloc-nox"),
    "mmdebstrap": _program("mmdebstrap"),
    "debian-archive-keyring": _files(
        "debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"
    ),
    "prometheus-node-exporter": _program("prometheus-node-exporter"),
    "promtool": _program("promtool", "prometheus"),
    "systemd-analyze": _program("systemd-analyze", "systemd"),
    "ps": _program("ps", "procps"),
    "qemu-system-s390x": _program("qemu-system-s390x", "qemu-system-misc"),
    "qemu-system-x86_64": _program("qemu-system-x86_64", "qemu-system-x86"),
    "qemu-system-aarch64": _program("qemu-system-aarch64", "qemu-system-arm qemu-efi-aarch64"),
    "qemu-system-ppc64": _program("qemu-system-ppc64", "qemu-system-ppc"),
    "qemu-system-riscv64": _program("qemu-system-riscv64", "qemu-system-misc"),
    # In the package util-linux itself until Debian 13.
    "util-linux": _files("util-linux-extra", "/usr/bin/lsmem", "/usr/sbin/chmem"),
    # What this machine is
    "root": Need(lambda: os.geteuid() == 0, _MACHINE, "root"),
    "/dev/fuse": Need(
        lambda: os.access("/dev/fuse", os.R_OK | os.W_OK),
        _MACHINE,
        "a /dev/fuse that may be opened",
    ),
    "user namespaces": Need(
        lambda: _succeeds("unshare", "--user", "--map-root-user", "--net", "--mount", "true"),
        _MACHINE,
        "user namespaces",
    ),
    "memory blocks": Need(
        lambda: os.path.exists("/sys/devices/system/memory/block_size_bytes"),
        _MACHINE,
        "memory blocks in /sys/devices/system/memory",
    ),
    "diverted writes": Need(_diverts, _MACHINE, "Linux 5.9, which tells of system calls"),
    # Commands that bring something
    **{name: _module(name) for name in ("furo", "sphinx")},
    "ansible": Need(
        lambda: Path(sys.executable).with_name("ansible-playbook").exists(),
        _COMMAND,
        PACKAGE_EXTRA,
    ),
    "x86 guest": Need(
        _x86_guest,
        _COMMAND,
        "memsim boot --fetch --arch x86_64 -- true",
    ),
    "Debian guest": Need(_debian_guest, _COMMAND, "tests/debian/fetch"),
    "s390 guest": Need(lambda: _guest("s390x"), _COMMAND, "memsim boot --fetch -- true"),
    **{
        f"{name} guest": Need(
            partial(_guest, name), _COMMAND, f"memsim boot --fetch --arch {name} -- true"
        )
        for name in ("x86_64", "aarch64", "ppc64le", "riscv64")
    },
}
"""What tests ask for, by name."""

CHROOT: Final = ("root", "mmdebstrap", "debian-archive-keyring")
X86_GUEST: Final = ("qemu-system-x86_64", "x86 guest")
S390_GUEST: Final = ("qemu-system-s390x", "s390 guest")


def arch_guest(name: str) -> tuple[str, ...]:
    """What a guest of an architecture needs."""
    return f"qemu-system-{name.removesuffix('le')}", f"{name} guest"


def missing(names: Collection[str]) -> list[str]:
    """Those of the names that this machine has not. Raises KeyError for one that is not in the
    table."""
    return [name for name in names if not NEEDS[name].found()]


def told(absent: Collection[Collection[str]]) -> Iterator[str]:
    """The lines that say what was left out, from the names that each test missed."""
    wanted = [[NEEDS[name] for name in names] for names in absent]
    for sentence in (_PACKAGE, _COMMAND, _MACHINE):
        tests = [{need.what for need in each if need.sentence == sentence} for each in wanted]
        if count := sum(map(bool, tests)):
            what = (" " if sentence == _PACKAGE else ", ").join(sorted(set().union(*tests)))
            yield sentence.format(count=f"{count} test{'s' * (count > 1)}", what=what)
