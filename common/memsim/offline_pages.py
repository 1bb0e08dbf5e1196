"""How much of each online block a driver keeps from the kernel, for a capture of the real machine.

The flags of all pages would be 2 MiB for each GiB of memory; these are some numbers.

Facts: fs/proc/page.c (kpageflags), include/uapi/linux/kernel-page-flags.h (KPF_OFFLINE). The
drivers are those of virtio-mem, whose memory /proc/iomem names, and of balloons, which take it
anywhere.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from memsim.paths import MEMORY
from safe_files.linkless import Beneath, close

__all__ = ["offline_bytes"]

_FLAGS: Final = 8
"""The bytes of the flags of a page; the offline ones have the highest bit of one of them."""
_BYTE: Final = 2 if sys.byteorder == "little" else 5
_WITHOUT: Final = bytes(range(128))

_OF_VIRTIO: Final = re.compile(
    rb"^ *([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM \(virtio_mem\)$", re.M
)
_BALLOONS: Final = (
    "sys/bus/virtio/drivers/virtio_balloon",
    "sys/bus/vmbus/drivers/hv_balloon",
    "sys/devices/system/xen_memory",
)
_MOST: Final = 1 << 20
"""The maximum size of the files that are read, in bytes, but for the flags."""
_MOST_BLOCKS: Final = 1 << 14
"""Of more blocks, the numbers would be too long for the file that they are in."""


def offline_bytes(files: Beneath, page_size: int) -> dict[int, int] | None:
    """Block -> how much of it is kept, in bytes; None if the kernel does not tell this user."""
    try:
        block_size = int(files.read(f"{MEMORY}/block_size_bytes", _MOST), 16)
        blocks = list(_blocks(files, block_size))
        file = files.open("proc/kpageflags", os.O_RDONLY)
    except (OSError, ValueError):
        return None
    size = block_size // page_size * _FLAGS
    found = {}
    try:
        for block in blocks:
            flags = os.pread(file, size, block * size)
            if kept := len(flags[_BYTE::_FLAGS].translate(None, _WITHOUT)) * page_size:
                found[block] = kept
    except OSError:
        return None
    finally:
        close(file)
    return found if len(found) <= _MOST_BLOCKS else None


def _blocks(files: Beneath, size: int) -> Iterator[int]:
    """The online blocks in which a driver can keep memory."""
    parts = _OF_VIRTIO.findall(files.read("proc/iomem", _MOST))
    of_virtio = [range(int(low, 16) // size, int(high, 16) // size + 1) for low, high in parts]
    anywhere = any(_has_balloon(files, driver) for driver in _BALLOONS)
    for name in files.listdir(MEMORY):
        match = re.fullmatch(r"memory(\d{1,18})", name)
        if match is None or not (anywhere or any(int(match[1]) in one for one in of_virtio)):
            continue
        with suppress(FileNotFoundError):
            if files.read(f"{MEMORY}/{name}/state", _MOST) == b"online\n":
                yield int(match[1])


def _has_balloon(files: Beneath, driver: str) -> bool:
    try:
        return any(re.search(r"\d", name) for name in files.listdir(driver))
    except OSError:
        return False
