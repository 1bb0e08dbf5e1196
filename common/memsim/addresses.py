"""Where memory is in the address space, and which devices brought it: /proc/iomem and ACPI.

Facts: kernel/resource.c (r_show), mm/memory_hotplug.c (register_memory_resource),
drivers/virtio/virtio_mem.c, drivers/dax/kmem.c, drivers/acpi/acpi_memhotplug.c and
drivers/acpi/glue.c (acpi_bind_one). A real ACPI device is elsewhere, and a link is in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from memsim.kernel import Kernel
from memsim.kernel.devices import Device

__all__ = ["ACPI", "IOMEM", "acpi_block", "acpi_names", "iomem"]

IOMEM: Final = "proc/iomem"
ACPI: Final = "sys/bus/acpi/devices"

_LINK: Final = re.compile(rf"{ACPI}/(PNP0C80:[0-9a-f]{{2,8}})/physical_node(\d{{0,9}})", re.ASCII)

_ABOVE: Final = {
    "dimm": (),
    "virtio-mem": (),
    "cxl": ("CXL Window {}", "region{}"),
}
"""Kind of device -> the regions that its own is in, the outermost first."""
_MEMORY: Final = {"virtio-mem": "System RAM (virtio_mem)", "cxl": "System RAM (kmem)"}


def iomem(kernel: Kernel) -> str:
    """The text of /proc/iomem, without a newline at its end."""
    return "\n".join(_lines(kernel))


def _lines(kernel: Kernel) -> Iterator[str]:
    size = kernel.machine.block_size

    def device_of(block: int) -> Device | None:
        return next((one for one in kernel.state.devices if block in one), None)

    present = list(filter(kernel.blocks.present, kernel.blocks))
    before: Device | None = None
    for (device, _), blocks in groupby(
        enumerate(present), lambda pair: (device_of(pair[1]), pair[1] - pair[0])
    ):
        numbers = [number for _, number in blocks]
        inner = f"{numbers[0] * size:08x}-{(numbers[-1] + 1) * size - 1:08x}"
        above: Sequence[str] = ()
        if device:
            above = [name.format(device.number) for name in _ABOVE[device.kind]]
            if device.kind in _MEMORY:
                above.append(device.name)
            outer = f"{device.first * size:08x}-{(device.last + 1) * size - 1:08x}"
        for depth, name in enumerate(above if device != before else ()):
            yield f"{'  ' * depth}{outer} : {name}"
        before = device
        memory = _MEMORY.get(device.kind, "System RAM") if device else "System RAM"
        yield f"{'  ' * len(above)}{inner} : {memory}"


def _dimms(kernel: Kernel) -> dict[str, Device]:
    devices = kernel.state.devices
    return {one.name: one for one in devices if one.kind == "dimm"}


def acpi_names(kernel: Kernel, directory: str) -> Sequence[str] | None:
    """The names in a directory of ACPI devices; None if there is none."""
    dimms = _dimms(kernel)
    if directory == ACPI:
        return list(dimms)
    device = dimms.get(directory.removeprefix(f"{ACPI}/"))
    if device is None:
        return None
    return [f"physical_node{at or ''}" for at in range(len(device))]


def acpi_block(kernel: Kernel, path: str) -> int | None:
    """The block that a link of an ACPI device leads to; None if there is no such link."""
    match = _LINK.fullmatch(path)
    device = _dimms(kernel).get(match[1]) if match else None
    if match is None or device is None or int(match[2] or 0) >= len(device):
        return None
    return device.first + int(match[2] or 0)
