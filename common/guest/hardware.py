"""The machine of a guest: its memory at boot, and the devices that bring more."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guest import qemu
from guest.arch import Arch, host
from guest.machine import CommandLine

__all__ = ["CXL_MODULES", "Dimm", "Hardware", "accelerator", "command_line", "too_old"]

MIB: Final = 1 << 20
GIB: Final = 1 << 30

ROOM: Final = 16 * GIB
"""How much memory can be plugged in, and to what size a virtio-mem device can grow."""

SLOTS: Final = 16
"""How many DIMMs can be plugged in."""

VIRTIO_MEM: Final = "virtio-mem"
"""The name of the virtio-mem device in QEMU."""

CXL_MODULES: Final = (
    *("cxl_acpi", "cxl_pci", "cxl_mem", "cxl_port"),
    *("dax_cxl", "device_dax", "kmem", "dax_hmem"),
)
"""What the kernel needs to make memory of a CXL device its own."""

CXL_QEMU: Final = (8, 1)
"""QEMU's first version with volatile CXL memory (hw/mem/cxl_type3.c, volatile-memdev)."""

KVM_SECONDS: Final = 10
"""How long a kernel may take under KVM to find that it has no file system; about one is usual."""


@dataclass(frozen=True, slots=True)
class Dimm:
    """A memory module that can be plugged in and out: QEMU's pc-dimm."""

    name: str
    size: int
    node: int = 0


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine; sizes in bytes."""

    nodes: tuple[int, ...]
    """The memory of each node at boot."""
    dimms: tuple[Dimm, ...] = ()
    """Those that are there at boot."""
    virtio_mem: int = 0
    """How much a virtio-mem device on node 0 brings at boot."""
    cxl: int = 0
    """The memory of a CXL device."""
    cpus: int = 1
    more: tuple[str, ...] = ()
    """More arguments for QEMU."""
    room: int = ROOM
    """For DIMMs and virtio-mem, besides what is there at boot."""


def command_line(arch: Arch, hardware: Hardware, accelerator: str) -> CommandLine:
    """QEMU for a machine of an architecture, with `kvm` or `tcg`."""
    return CommandLine(arch.program, tuple(_arguments(arch, hardware, accelerator)))


def _arguments(arch: Arch, hardware: Hardware, accelerator: str) -> Iterator[str]:
    machine, cpu = arch.machine, arch.cpu if accelerator == "tcg" else "host"
    if hardware.cxl:
        window = -(-hardware.cxl // GIB)
        machine += f",cxl=on,cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size={4 * window}G"
        # Linux makes no region where it sees a hypervisor and the CPU cannot flush its caches
        # (drivers/cxl/core/region.c, cxl_region_invalidate_memregion).
        cpu += ",hypervisor=off"
    yield from ("-M", machine, "-cpu", cpu, "-accel", accelerator)
    yield from ("-smp", str(hardware.cpus))
    yield from ("-m", _memory(arch, hardware))
    if arch.firmware:
        yield from ("-bios", arch.firmware[0])
    yield from arch.consoles()
    for node, size in enumerate(hardware.nodes):
        yield from ("-object", f"memory-backend-ram,id=node{node},size={size}")
        yield from ("-numa", f"node,nodeid={node},memdev=node{node}")
    for dimm in hardware.dimms:
        yield from ("-object", f"memory-backend-ram,id=ram-{dimm.name},size={dimm.size}")
        device = f"pc-dimm,id={dimm.name},memdev=ram-{dimm.name},node={dimm.node}"
        yield from ("-device", device)
    if hardware.virtio_mem:
        most = max(hardware.room, hardware.virtio_mem)
        # Memory is not reserved: the device may grow beyond what this machine has.
        ram = f"memory-backend-ram,id=ram-{VIRTIO_MEM},size={most},reserve=off"
        device = f"virtio-mem-{arch.bus},id={VIRTIO_MEM},memdev=ram-{VIRTIO_MEM},node=0"
        yield from ("-object", ram, "-device", f"{device},requested-size={hardware.virtio_mem}")
    if hardware.cxl:
        ram = f"memory-backend-ram,id=ram-cxl0,size={hardware.cxl},share=on"
        yield from ("-object", ram)
        yield from ("-device", "pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.0")
        yield from ("-device", "cxl-rp,port=0,bus=cxl.0,id=cxl-port0,chassis=0,slot=2")
        yield from ("-device", "cxl-type3,bus=cxl-port0,volatile-memdev=ram-cxl0,id=cxl0")
    yield from hardware.more


def _memory(arch: Arch, hardware: Hardware) -> str:
    """The value of -m; with room for more where the architecture has any."""
    memory = sum(hardware.nodes)
    if "--dimm" in arch.lacks:
        return f"{memory // MIB}M"
    devices = sum(dimm.size for dimm in hardware.dimms) + hardware.virtio_mem
    most = memory + devices + 2 * hardware.room
    return f"{memory // MIB}M,slots={SLOTS + len(hardware.dimms)},maxmem={most // MIB}M"


def too_old(arch: Arch, hardware: Hardware) -> str | None:
    """Why this machine's QEMU cannot have such hardware; None if it can."""
    if not hardware.cxl:
        return None
    match = re.search(r"version (\d+)\.(\d+)", said := qemu.version(arch.program))
    if match and (int(match[1]), int(match[2])) < CXL_QEMU:
        wanted = ".".join(map(str, CXL_QEMU))
        return f"CXL memory needs QEMU {wanted} or later; this is {said.partition(' (')[0]}"
    return None


def accelerator(arch: Arch, kernel: Path, kept: Path) -> str:
    """`kvm` where the kernel really gets to run under it, else `tcg`.

    That /dev/kvm opens says little: inside some containers and nested machines a virtual CPU is
    made and then never runs. So the kernel is started without a file system; it must find that out,
    panic and leave. What came of it is kept in the directory `kept` until this machine is booted
    again.
    """
    if arch.name != host() or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    file = kept / f"accelerator-{boot}"
    if file.exists():
        return file.read_text()
    for old in kept.glob("accelerator-*"):
        old.unlink(missing_ok=True)
    found = "kvm" if _runs(arch, kernel) else "tcg"
    file.write_text(found)
    return found


def _runs(arch: Arch, kernel: Path) -> bool:
    line = [arch.program, "-accel", "kvm", "-cpu", "host", "-M", arch.machine, "-m", "256M"]
    line += ["-nodefaults", "-no-reboot", "-display", "none", "-kernel", str(kernel)]
    line += ["-append", "panic=-1", *(("-bios", arch.firmware[0]) if arch.firmware else ())]
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=KVM_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
