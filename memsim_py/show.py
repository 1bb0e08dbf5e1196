"""What `memsim show` says about a machine."""

from __future__ import annotations

from collections.abc import Iterator

from memory_hotplug.size import human
from memsim.kernel import Kernel
from memsim.kernel.state import PAGE
from memsim.machine import TRANSITIONS

__all__ = ["facts"]


def facts(kernel: Kernel) -> Iterator[tuple[str, str]]:
    """Rows with a heading and a value: what the kernel and the hypervisor know."""
    size = kernel.machine.block_size
    counts = {"online": kernel.online_blocks()}
    counts["offline"] = sum(map(kernel.blocks.present, kernel.blocks)) - counts["online"]
    absent = "deconfigured" if kernel.machine.firmware else "pluggable"
    counts[absent] = len(kernel.blocks) - sum(counts.values())
    yield "Block size", human(size)
    for what, count in counts.items():
        yield f"Blocks {what}", f"{count} ({human(count * size)})"
    yield "Memory in use", human(kernel.machine.used)
    yield "Memory free", human(max(kernel.free_memory(), 0))
    if kernel.machine.assigned_by:
        yield "Hypervisor can give", human(kernel.state.pool)
    if kernel.state.kept:
        yield "Only assigned", human(sum(kernel.state.kept.values()))
    for device in kernel.state.devices:
        yield "Plugged in", f"{device.name}, {device.kind}, blocks {device.first}-{device.last}"
    for block, unplugged in sorted(kernel.state.unplugged.items()):
        yield "Not plugged", f"{human(unplugged)} of block {block}"
    for frame in kernel.state.poisoned:
        block = frame * PAGE // size
        yield "Poisoned page", f"0x{frame * PAGE:x}, block {block}"
    if kernel.state.auto_online_blocks:
        yield "Added blocks become", kernel.state.auto_online_blocks
    for transition in TRANSITIONS:
        for block, failure in sorted(kernel.state.faults.get(transition, {}).items()):
            often = "always" if failure.times is None else f"{failure.times} times"
            yield f"Fault of {transition}", f"block {block}, {failure.errno}, {often}"
        for block, seconds in sorted(kernel.state.delays.get(transition, {}).items()):
            yield f"Delay of {transition}", f"block {block}, {seconds:g} seconds"
