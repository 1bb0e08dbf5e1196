"""What the pages of a machine hold, as its /proc/kpageflags says."""

from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path

BLOCK = 2 << 20
"""The size of small blocks, for little of it."""
PAGES = BLOCK // 4096
FREE, LRU, SLAB, HUGE, POISONED = 1 << 10, 1 << 5, 1 << 7, 1 << 17, 1 << 19

BALLOONS = {
    "sys/bus/virtio/drivers/virtio_balloon": "virtio3",
    "sys/bus/vmbus/drivers/hv_balloon": "1eccfd72-4b41-45ef-b73a-4a6e44c12924",
    "sys/devices/system/xen_memory": "xen_memory0",
}
"""Drivers of balloons, each with the name of a device. The library and the simulator know them each
for itself, as all that is about memory."""


def show_flags(root: Path, flags: Iterable[int]) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/kpageflags").write_bytes(array("Q", flags).tobytes())


def show_pages(root: Path, blocks: Mapping[int, tuple[int, int]], count: int = 16) -> None:
    """Let a machine of COUNT blocks tell its pages: block -> flags, and how many pages have them.
    The others are free."""
    flags = array("Q", [FREE]) * (count * PAGES)
    for block, (flag, pages) in blocks.items():
        flags[block * PAGES : block * PAGES + pages] = array("Q", [flag]) * pages
    show_flags(root, flags)
