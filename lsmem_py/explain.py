"""`lsmem --explain`: why the total of all blocks is not MemTotal, and not what was paid for."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from memory_hotplug.block import State
from memory_hotplug.iomem import Region, read_iomem
from memory_hotplug.machine import Machine
from memory_hotplug.ranges import MEMMAP_FRACTION
from memory_hotplug.tree import Tree
from memory_hotplug.usage import usage

__all__ = ["SCHEMA_VERSION", "Figure", "figures", "format_document", "format_text"]

SCHEMA_VERSION = 1
"""The version of the document."""

_BALLOONS = ("sys/bus/virtio/drivers/virtio_balloon", "sys/bus/vmbus/drivers/hv_balloon")
"""Drivers of balloons. The directory of a driver has a link to each of its devices."""
_DEVICE = re.compile(r"virtio\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_MEMORY = re.compile(r"System RAM( \(.+\))?")
_IMAGE = re.compile(r"Kernel (code|rodata|data|bss)")
_CRASH = re.compile(r"Crash kernel")

Runs = Sequence[tuple[int, int]]
"""Parts of the address space: the first and the last byte of each, both inclusive."""


class Figure(NamedTuple):
    """A line of the account."""

    key: str
    """The name in the document."""
    label: str
    bytes: int
    remark: str = ""
    part: bool = False
    """Whether it is a part of the total above it."""


def figures(machine: Machine) -> list[Figure]:
    """The account, from all blocks down to what new programs can have.

    What the tree does not tell has no line. Raises the errors of Machine.
    """
    table = machine.read(("state",))
    regions = read_iomem(machine.tree)
    online = [block.number for block in table.blocks() if block.state is State.ONLINE]
    every, there = (count * machine.block_size for count in (len(table.numbers), len(online)))
    account = [
        Figure("blocks", "All memory blocks", every),
        Figure("not_online", "not online", every - there, "offline, or deconfigured", part=True),
        Figure("online", "Online memory blocks", there),
        Figure("memmap", "struct pages", there // MEMMAP_FRACTION, "1/64 of them", part=True),
    ]
    runs = _runs(online, machine.block_size)
    memory = _within(runs, regions, _MEMORY)
    if regions:
        holes = there - memory
        account += (
            Figure("no_memory", "no memory there", holes, "holes, firmware, devices", part=True),
            Figure("memory", "Memory in these blocks", memory, "System RAM of /proc/iomem"),
        )
    found = usage(machine)
    if found is None:
        return account
    if regions:
        balloon = _balloon(machine.tree)
        by = f"at boot, or by the balloon {balloon}" if balloon else "at boot"
        taken = max(memory - found.total, 0)
        account.append(Figure("reserved", "kept from MemTotal", taken, by, part=True))
        for key, label, pattern in (
            ("kernel_image", "kernel image", _IMAGE),
            ("crash_kernel", "crash kernel", _CRASH),
        ):
            size = _within(runs, regions, pattern)
            account += [Figure(key, label, size, "part of that", part=True)] if size else []
    return [
        *account,
        Figure("mem_total", "MemTotal", found.total, "what the kernel can give"),
        Figure("in_use", "in use", found.used, part=True),
        Figure("mem_available", "MemAvailable", found.available, "what new programs can have"),
    ]


def _runs(numbers: Iterable[int], block_size: int) -> Runs:
    """The bytes of blocks that ascend, contiguous ones together."""
    runs = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        blocks = [number for _, number in group]
        runs.append((blocks[0] * block_size, (blocks[-1] + 1) * block_size - 1))
    return runs


def _within(runs: Runs, regions: Iterable[Region], name: re.Pattern[str]) -> int:
    """The bytes of the regions with such a name that are in RUNS."""
    return sum(
        max(min(last, region.end) + 1 - max(first, region.start), 0)
        for region in regions
        if name.fullmatch(region.name)
        for first, last in runs
    )


def _balloon(tree: Tree) -> str | None:
    """A device that can take memory from the kernel and give it back."""
    for driver in _BALLOONS:
        try:
            names = tree.names(driver)
        except OSError:
            continue
        for name in filter(_DEVICE.fullmatch, sorted(names)):
            return name
    return None


def format_text(
    account: Sequence[Figure], format_size: Callable[[int], str], width: int | None
) -> Iterator[str]:
    """The lines, with newlines; without remarks if they do not fit into WIDTH columns."""
    labels = [f"{'  ' if figure.part else ''}{figure.label}" for figure in account]
    sizes = [format_size(figure.bytes) for figure in account]
    label_width, size_width = (max(map(len, texts)) for texts in (labels, sizes))
    lines = [
        f"{label:<{label_width}}  {size:>{size_width}}  {figure.remark}".rstrip()
        for label, size, figure in zip(labels, sizes, account, strict=True)
    ]
    narrow = label_width + size_width + 2
    if width is not None and max(map(len, lines)) > width:
        lines = [line[:narrow] for line in lines]
    return (f"{line}\n" for line in lines)


def format_document(account: Sequence[Figure]) -> str:
    """The JSON document, with a newline."""
    import json

    sizes = {figure.key: figure.bytes for figure in account}
    return json.dumps({"schema_version": SCHEMA_VERSION, **sizes}, indent=2) + "\n"
