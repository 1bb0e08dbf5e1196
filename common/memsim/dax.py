"""The dax devices of CXL memory, with their driver kmem, as daxctl and other programs read them.

Facts: drivers/dax/bus.c (attributes of a device and of its region), drivers/dax/kmem.c (the
driver); memsim.cxl has what they are below.
"""

from __future__ import annotations

from typing import Final

from memsim.cxl import CXL_PARENT, cxl_devices, link, region_of
from memsim.kernel import Kernel
from memsim.shown import Shown

__all__ = ["DAX_DEVICES", "DAX_TREES", "dax_files"]

_DAX: Final = "sys/bus/dax"
DAX_DEVICES: Final = f"{_DAX}/devices"
_DRIVER: Final = f"{_DAX}/drivers/kmem"
_MODULE: Final = "sys/module/kmem"
_NUMBER: Final = "sys/dev/char/0:0"
"""Of the files in /dev, which are plain ones: without root nothing else can be made there."""
_ALIGN: Final = 2 << 20

_NO_DEVICES: Final = {path: Shown(names=()) for path in (DAX_DEVICES, CXL_PARENT)}

DAX_TREES: Final = (_DAX, _MODULE, CXL_PARENT, _NUMBER)
"""The directories with all of them, relative to the root."""


def dax_files(kernel: Kernel) -> dict[str, Shown]:
    """Each file and link of the dax devices, by its path relative to the root."""
    files = {
        f"{_DRIVER}/module": link(_DRIVER, _MODULE),
        f"{_MODULE}/initstate": Shown(text="live"),
        f"{_NUMBER}/subsystem": link(_NUMBER, _DAX),
    }
    size = kernel.machine.block_size
    for device in cxl_devices(kernel):
        node = kernel.blocks.group(device.first).node
        start, length, number = device.first * size, len(device) * size, device.number
        region = f"{region_of(device)}/dax_region{number}"
        path = f"{region}/{device.name}"
        attributes = {
            f"{region}/dax_region/id": number,
            f"{region}/dax_region/size": length,
            f"{region}/dax_region/available_size": 0,
            f"{region}/dax_region/align": _ALIGN,
            f"{path}/align": _ALIGN,
            f"{path}/modalias": "dax:t0",
            f"{path}/numa_node": -1,
            f"{path}/resource": f"{start:#x}",
            f"{path}/size": length,
            f"{path}/target_node": node,
            f"{path}/mapping0/start": f"{start:#x}",
            f"{path}/mapping0/end": f"{start + length - 1:#x}",
            f"{path}/mapping0/page_offset": "0x0",
        }
        files |= {name: Shown(text=str(value)) for name, value in attributes.items()}
        files[f"{path}/driver"] = link(path, _DRIVER)
        files[f"{path}/subsystem"] = link(path, _DAX)
        for directory in (DAX_DEVICES, _DRIVER):
            files[f"{directory}/{device.name}"] = link(directory, path)
    return files if any(CXL_PARENT in path for path in files) else files | _NO_DEVICES
