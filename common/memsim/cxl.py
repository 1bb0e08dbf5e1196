"""The CXL devices of a machine, as `cxl list` and other programs read them: one host bridge with a
root port, a memory expander, a window and a region for each device that was plugged in.

Facts: Documentation/ABI/testing/sysfs-bus-cxl; drivers/cxl/core (memdev.c, port.c, hdm.c, region.c)
and drivers/cxl/cxl.h (the numbers in modalias) of Linux 6.18.

Not modelled: what can be written, such as the attributes that make a region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from memsim.kernel import Kernel
from memsim.kernel.devices import Device
from memsim.shown import Shown

__all__ = [
    "CXL_DEVICES",
    "CXL_PARENT",
    "CXL_TREES",
    "cxl_devices",
    "cxl_files",
    "link",
    "region_of",
]

CXL_PARENT: Final = "sys/devices/platform/ACPI0017:00"
_ROOT: Final = f"{CXL_PARENT}/root0"
_PORT: Final = f"{_ROOT}/port1"
_BRIDGE: Final = "sys/devices/pci0000:0c"
_BRIDGE_NUMBER: Final = 12
_BUS: Final = "sys/bus/cxl"
CXL_DEVICES: Final = f"{_BUS}/devices"

CXL_TREES: Final = (_BUS, _BRIDGE)
"""The directories with what is not below CXL_PARENT, relative to the root."""

_MAJOR: Final = 251
"""Of /dev/cxl/memN. The kernel takes one that is free."""

_Values = Mapping[str, object]


def cxl_devices(kernel: Kernel) -> list[Device]:
    return [one for one in kernel.state.devices if one.kind == "cxl"]


def region_of(device: Device) -> str:
    """The path of the region that a device's memory is in."""
    return f"{_ROOT}/decoder0.{device.number}/region{device.number}"


def link(directory: str, target: str) -> Shown:
    """A link in a directory, relative to it."""
    return Shown(target="../" * (directory.count("/") + 1) + target)


def cxl_files(kernel: Kernel) -> dict[str, Shown]:
    """Each file and link of the CXL devices, by its path relative to the root."""
    devices = cxl_devices(kernel)
    files: dict[str, Shown] = {}
    if not devices:
        return {CXL_DEVICES: Shown(names=())}
    for path, driver, kind, values in _objects(kernel, devices):
        name = path.rpartition("/")[2]
        for attribute, value in {"modalias": f"cxl:t{kind}", **values}.items():
            shown = value if isinstance(value, Shown) else Shown(text=str(value))
            files[f"{path}/{attribute}"] = shown
        files[f"{path}/subsystem"] = link(path, _BUS)
        files[f"{CXL_DEVICES}/{name}"] = link(CXL_DEVICES, path)
        if driver:
            place = f"{_BUS}/drivers/{driver}"
            files[f"{path}/driver"] = link(path, place)
            files[f"{place}/{name}"] = link(place, path)
    return files


def _objects(
    kernel: Kernel, devices: list[Device]
) -> Iterator[tuple[str, str | None, int, _Values]]:
    """The path of each object, its driver, the number of its type, and its files and links."""
    yield (
        _ROOT,
        None,
        4,
        _port(_ROOT, CXL_PARENT) | {f"dport{_BRIDGE_NUMBER}": link(_ROOT, _BRIDGE)},
    )
    root_ports = {f"dport{one.number}": link(_PORT, _root_port(one)) for one in devices}
    parent = {"parent_dport": link(_PORT, _BRIDGE)}
    yield _PORT, "cxl_port", 3, _port(_PORT, _BRIDGE) | parent | root_ports
    for one in devices:
        size = len(one) * kernel.machine.block_size
        yield from _of_device(one, one.first * kernel.machine.block_size, size)


def _of_device(
    one: Device, start: int, size: int
) -> Iterator[tuple[str, str | None, int, _Values]]:
    number, port = one.number, 2 + one.number
    expander, region = f"{_root_port(one)}/0000:{13 + number:02x}:00.0/mem{number}", region_of(one)
    endpoint = f"{_PORT}/endpoint{port}"
    interleave = {"interleave_ways": 1, "interleave_granularity": 256}
    decoder = interleave | {
        "start": f"{start:#x}",
        "size": f"{size:#x}",
        "locked": 0,
        "target_type": "expander",
    }
    in_region = decoder | {"region": f"region{number}"}
    capable = {f"cap_{what}": 1 for what in ("pmem", "ram", "type2", "type3")}
    yield (
        expander,
        "cxl_mem",
        5,
        {
            "dev": f"{_MAJOR}:{number}",
            "firmware_version": "1.0",
            "label_storage_size": 0,
            "numa_node": -1,
            "payload_max": 2048,
            "serial": f"{number:#x}",
            "ram/size": f"{size:#x}",
            "ram/qos_class": 0,
            "pmem/size": "0x0",
        },
    )
    parent = {"parent_dport": link(endpoint, _root_port(one))}
    yield endpoint, "cxl_port", 3, _port(endpoint, expander) | parent
    root_decoder = {"target_list": _BRIDGE_NUMBER, "qos_class": 0}
    yield f"{_ROOT}/decoder0.{number}", None, 0, decoder | capable | root_decoder
    yield f"{_PORT}/decoder1.{number}", None, 0, in_region | {"target_list": number}
    dpa = {"mode": "ram", "dpa_resource": "0x0", "dpa_size": f"{size:#x}"}
    yield f"{endpoint}/decoder{port}.0", None, 0, in_region | dpa
    mapped = {"commit": 1, "mode": "ram", "resource": f"{start:#x}", "size": f"{size:#x}"}
    target = {"target0": f"decoder{port}.0", "uuid": ""}
    yield region, "cxl_region", 6, interleave | mapped | target
    yield f"{region}/dax_region{number}", "cxl_dax_region", 8, {}


def _port(path: str, above: str) -> dict[str, object]:
    """What each port has: the device that it is a port of."""
    return {"uport": link(path, above), "decoders_committed": 1}


def _root_port(device: Device) -> str:
    return f"{_BRIDGE}/0000:0c:{device.number:02x}.0"
