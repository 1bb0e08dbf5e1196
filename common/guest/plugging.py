"""Plug memory into a running guest and out of it again, through QEMU's monitor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from guest.channel import Channel
from guest.qmp import Monitor, QmpError, QmpEvent

__all__ = ["DeviceError", "dimms", "plug", "resize", "take_cxl", "unplug", "virtio_mem"]

SECONDS: Final = 60.0
"""How long the guest may take to take memory in, or to let it go; a second is usual."""

PAUSE: Final = 0.2

DONE: Final = frozenset({0, 0x84})
"""What the guest's _OST method says of an ejection that is done, or in progress (ACPI 6.5, table
6.9)."""

TAKE_CXL: Final = ("cxl", "create-region", "-m", "-t", "ram", "-d", "decoder0.0", "-w", "1", "mem0")
"""Runs in the guest."""

_PRESENT: Final = """\
import os

def block_size():
    with open("/sys/devices/system/memory/block_size_bytes") as file:
        return int(file.read(), 16)

def present(numbers):
    return [number for number in numbers
            if os.path.exists(f"/sys/devices/system/memory/memory{number}")]

def numbers():
    return [int(name[6:]) for name in os.listdir("/sys/devices/system/memory")
            if name[:6] == "memory" and name[6:].isdigit()]

def settle(numbers):
    # A write to a state waits for the device hotplug lock, under which blocks that were added come
    # online, if they are to. This one changes nothing: the block is online.
    for name in os.listdir("/sys/devices/system/memory"):
        path = f"/sys/devices/system/memory/{name}/state"
        if not name[6:].isdigit() or int(name[6:]) in numbers or open(path).read() != "online\\n":
            continue
        try:
            with open(path, "w") as file:
                file.write("online")
        except OSError:
            return
"""
"""Runs in the guest."""

DeviceInfo = dict[str, Any]
"""A device as QEMU's query-memory-devices has it."""


class DeviceError(Exception):
    """Memory could not be plugged in or out; the text is the message for the user."""


def dimms(monitor: Monitor) -> list[DeviceInfo]:
    """The DIMMs, in the order in which they came."""
    return [each["data"] for each in monitor.do("query-memory-devices") if each["type"] == "dimm"]


def virtio_mem(monitor: Monitor) -> DeviceInfo:
    """The virtio-mem device. Raises DeviceError if the guest has none."""
    for each in monitor.do("query-memory-devices"):
        if each["type"] == "virtio-mem":
            found: DeviceInfo = each["data"]
            return found
    raise DeviceError("the guest has no virtio-mem device: memsim boot --virtio-mem SIZE")


def plug(monitor: Monitor, channel: Channel, size: int, node: int) -> range:
    """Plug in a DIMM; return its memory blocks, when the guest has them, as they are to be. Raises
    DeviceError."""
    block = _block_size(channel)
    if size <= 0 or size % block:
        raise DeviceError(f"a DIMM is of whole memory blocks of {block >> 20}M")
    taken = {each["id"] for each in dimms(monitor)}
    name = next(name for number in range(len(taken) + 1) if (name := f"dimm{number}") not in taken)
    ram = f"ram-{name}"
    try:
        monitor.do("object-add", qom_type="memory-backend-ram", id=ram, size=size)
        try:
            monitor.do("device_add", driver="pc-dimm", id=name, memdev=ram, node=node)
        except QmpError:
            monitor.do("object-del", id=ram)
            raise
    except QmpError as error:
        raise DeviceError(str(error)) from error
    (address,) = (each["addr"] for each in dimms(monitor) if each["id"] == name)
    blocks = range(address // block, (address + size) // block)

    def here() -> bool:
        present: list[int] = channel.call(_PRESENT, "present", numbers=list(blocks))
        return len(present) == len(blocks)

    if not _in_time(here):
        raise DeviceError(f"the guest has not taken in {name} within {SECONDS:.0f} s")
    channel.call(_PRESENT, "settle", numbers=list(blocks))
    return blocks


def take_cxl(channel: Channel, size: int) -> None:
    """Make memory of the guest's CXL device, which has so many bytes; return when the guest has its
    memory blocks. Raises DeviceError."""
    before = channel.call(_PRESENT, "numbers")
    done = channel.start(TAKE_CXL).finish()
    if done.status:
        raise DeviceError(done.stderr.strip())
    count = size // _block_size(channel)

    # The kernel looks for the drivers of a region's dax device in the background.
    def here() -> bool:
        return len(channel.call(_PRESENT, "numbers")) == len(before) + count

    if not _in_time(here):
        raise DeviceError(f"the guest has not taken in the CXL memory within {SECONDS:.0f} s")


def unplug(monitor: Monitor, channel: Channel, size: int, node: int | None) -> range:
    """Take out the DIMM of this size that came last, on a node or on any; return the blocks that it
    had. Raises DeviceError."""
    block = _block_size(channel)
    found = [
        each
        for each in dimms(monitor)
        if each["size"] == size and (node is None or each["node"] == node)
    ]
    if not found:
        raise DeviceError("the guest has no DIMM of that size" + _all(dimms(monitor)))
    dimm = found[-1]
    monitor.taken()
    try:
        monitor.do("device_del", id=dimm["id"])
    except QmpError as error:
        raise DeviceError(str(error)) from error
    end = time.monotonic() + SECONDS
    while event := monitor.event(max(0.0, end - time.monotonic())):
        if _is_out(event, dimm["id"]):
            # Its memory is QEMU's again; on some architectures QEMU needs a moment for it.
            with contextlib.suppress(QmpError):
                monitor.do("object-del", id=f"ram-{dimm['id']}")
            return range(dimm["addr"] // block, (dimm["addr"] + size) // block)
    raise DeviceError(
        f"the guest has not let {dimm['id']} go within {SECONDS:.0f} s; chmem --disable in it says "
        "what keeps a block"
    )


def _is_out(event: QmpEvent, name: str) -> bool:
    """Whether an event says that a device is out. Raises DeviceError where the guest keeps it."""
    data = event.get("data", {})
    info = data.get("info", {})
    kept = event["event"] in ("MEM_UNPLUG_ERROR", "DEVICE_UNPLUG_GUEST_ERROR")
    if kept and data.get("device") == name:
        raise DeviceError(f"the guest keeps {name}: a block of it cannot be set offline")
    if info.get("device") == name and info.get("status") not in DONE:
        raise DeviceError(
            f"the guest keeps {name}: a block of it cannot be set offline (_OST status "
            f"{info['status']})"
        )
    return bool(event["event"] == "DEVICE_DELETED" and data.get("device") == name)


def resize(monitor: Monitor, change: int) -> tuple[int, int]:
    """Ask the guest to take more memory of its virtio-mem device, or to give some back.

    `change` is in bytes. Returns the size that was asked for, and the size that the device has
    when nothing changes any more. Raises DeviceError.
    """
    device = virtio_mem(monitor)
    wanted = device["requested-size"] + change
    if not 0 <= wanted <= device["max-size"]:
        raise DeviceError(
            f"the virtio-mem device can have 0 to {device['max-size'] >> 20}M, not {wanted >> 20}M"
        )
    try:
        monitor.do(
            "qom-set",
            path=f"/machine/peripheral/{device['id']}",
            property="requested-size",
            value=wanted,
        )
    except QmpError as error:
        raise DeviceError(str(error)) from error
    _in_time(lambda: virtio_mem(monitor)["size"] == wanted)
    return wanted, virtio_mem(monitor)["size"]


def _block_size(channel: Channel) -> int:
    size: int = channel.call(_PRESENT, "block_size")
    return size


def _all(devices: list[DeviceInfo]) -> str:
    sizes = ", ".join(f"{each['id']} of {each['size'] >> 20}M" for each in devices)
    return f"; it has {sizes}" if sizes else ", nor of any other"


def _in_time(done: Callable[[], bool]) -> bool:
    """Wait until something is done; whether it was in time."""
    end = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE)
    return True
