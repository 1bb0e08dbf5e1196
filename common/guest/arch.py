"""The architectures that a guest can have: one row each."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ARCHES", "RELEASES", "Arch", "host"]

RELEASES: Final = ("sid", "trixie", "bookworm")
"""The releases of Debian that kernels are taken from, newest first."""


@dataclass(frozen=True, slots=True)
class Arch:
    """What QEMU and Debian call an architecture, and what its machines have."""

    name: str
    """As uname -m has it."""
    debian: str
    emulator: str
    """The end of the name of QEMU's program."""
    package: str
    """Debian's package with that program."""
    machine: str
    """QEMU's -M."""
    cpu: str
    """QEMU's -cpu under emulation."""
    triplet: str
    """The name of the directory with libraries."""
    loader: str
    """The ELF interpreter, as in PT_INTERP."""
    console: str
    """The kernel's console, which QEMU writes to a file."""
    flavours: Mapping[str, str]
    """The end of the name of Debian's package with the kernel, by release."""
    userland: str = "bookworm"
    """The release of Debian that Python is taken from."""
    bus: str = "pci"
    """The bus of virtio devices."""
    parameters: tuple[str, ...] = ()
    """For the kernel's command line, under emulation."""
    firmware: tuple[str, str] | None = None
    """A file that QEMU needs, and the package that has it."""
    modules: tuple[str, ...] = ("virtio_pci", "virtio_console", "virtio_mem")
    """The kernel's modules that are loaded at boot, where they are not built in."""
    block: int = 128 << 20
    """The size of a memory block."""
    tools: tuple[str, ...] = ()
    """More packages, of sid, with programs for the guest."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """The options of memsim boot, and the releases, that mean what the architecture has not; the
    reasons."""

    @property
    def program(self) -> str:
        """QEMU's program."""
        return f"qemu-system-{self.emulator}"

    def consoles(self) -> Iterator[str]:
        """QEMU's arguments for the port of the agent and for the kernel's console."""
        yield from ("-device", f"virtio-serial-{self.bus}")
        # The number of the port is part of its name in the guest.
        yield from ("-device", "virtserialport,nr=1,chardev=agent,name=agent")
        if self.bus == "ccw":
            # Not the SCLP console: each line on it would be a service call, and stop the guest.
            yield from ("-device", "virtconsole,nr=2,chardev=console")
        else:
            yield from ("-serial", "chardev:console")


_NO_HOTPLUG: Final = "QEMU has no hot-plugged memory for {}"
_NO_CXL: Final = "memsim boot has CXL memory on x86_64 only"
_ONE_NODE: Final = "an s390 has one node"
_STANDBY: Final = "; standby memory is what an s390 has in its place"

_ROWS: Final = (
    Arch(
        name="x86_64",
        debian="amd64",
        emulator="x86_64",
        package="qemu-system-x86",
        machine="q35",
        # Five-level page tables would only cost time.
        cpu="max,la57=off",
        triplet="x86_64-linux-gnu",
        loader="/lib64/ld-linux-x86-64.so.2",
        console="ttyS0",
        flavours={"sid": "amd64", "trixie": "cloud-amd64", "bookworm": "cloud-amd64"},
        # On a busy machine the kernel finds that an emulated timer does not tick in time, and
        # panics; no_timer_check keeps it from looking (arch/x86/kernel/apic/io_apic.c).
        parameters=("tsc=unstable", "no_timer_check", "mitigations=off"),
        tools=(
            *("cxl", "daxctl", "libcxl1", "libdaxctl1", "libndctl6"),
            *("libiniparser4", "libjson-c5", "libtraceevent1", "libtracefs1", "libudev1"),
        ),
    ),
    Arch(
        name="aarch64",
        debian="arm64",
        emulator="aarch64",
        package="qemu-system-arm",
        machine="virt,gic-version=max",
        # The architected algorithm of pointer authentication takes most of an emulated CPU's time.
        cpu="max,pauth-impdef=on",
        triplet="aarch64-linux-gnu",
        loader="/lib/ld-linux-aarch64.so.1",
        console="ttyAMA0",
        flavours=dict.fromkeys(RELEASES, "cloud-arm64"),
        # With a device tree alone, the kernel has no DIMMs that can be hot-plugged.
        firmware=("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "qemu-efi-aarch64"),
        lacks={"--cxl": _NO_CXL},
    ),
    Arch(
        name="ppc64le",
        debian="ppc64el",
        emulator="ppc64",
        package="qemu-system-ppc",
        machine="pseries",
        cpu="power10",
        triplet="powerpc64le-linux-gnu",
        loader="/lib64/ld64.so.2",
        console="hvc0",
        flavours=dict.fromkeys(RELEASES, "powerpc64le"),
        block=256 << 20,
        lacks={
            "--virtio-mem": "neither QEMU nor Linux has virtio-mem for ppc64le",
            "--cxl": _NO_CXL,
        },
    ),
    Arch(
        name="riscv64",
        debian="riscv64",
        emulator="riscv64",
        package="qemu-system-misc",
        machine="virt",
        # QEMU has "max" since 8.2 only.
        cpu="rv64",
        triplet="riscv64-linux-gnu",
        loader="/lib/ld-linux-riscv64-lp64d.so.1",
        console="ttyS0",
        flavours=dict.fromkeys(("sid", "trixie"), "riscv64"),
        userland="trixie",
        lacks={
            **dict.fromkeys(("--dimm", "--virtio-mem"), _NO_HOTPLUG.format("riscv64")),
            "--cxl": _NO_CXL,
            "bookworm": "Debian bookworm has no riscv64",
        },
    ),
    Arch(
        name="s390x",
        debian="s390x",
        emulator="s390x",
        package="qemu-system-misc",
        machine="s390-ccw-virtio",
        cpu="max",
        triplet="s390x-linux-gnu",
        loader="/lib/ld64.so.1",
        console="hvc0",
        flavours={"sid": "s390x"},
        bus="ccw",
        modules=(),
        lacks={
            **dict.fromkeys(
                ("--dimm", "--virtio-mem", "--cxl"), _NO_HOTPLUG.format("s390x") + _STANDBY
            ),
            **{
                release: f"memory is configured since Linux 6.19; that of {release} is older"
                for release in ("trixie", "bookworm")
            },
            "--nodes": _ONE_NODE,
            "--cpus": "the service element is played for one processor",
        },
    ),
)

ARCHES: Final[Mapping[str, Arch]] = {row.name: row for row in _ROWS}


def host() -> str:
    """The architecture of this machine, as uname -m has it."""
    return platform.machine()
