"""The attributes of /sys that are about memory: what a read shows, and what a write does.

Facts: drivers/base/memory.c, drivers/base/node.c, mm/memory_hotplug.c (the parameters) and
drivers/s390/char/sclp_mem.c of Linux 6.19.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from memsim.kernel.blocks import MEMMAP
from memsim.kernel.memory_failure import hard_offline, soft_offline
from memsim.kernel.slots import probe
from memsim.kernel.transitions import Kernel
from memsim.kernel.zones import HIGHMEM, KERNEL_ZONES, MOVABLE, NONE
from memsim.kstrtox import boolean, unsigned, word
from memsim.machine import ONLINE_POLICIES, ONLINE_WORDS
from safe_files.errno_names import error_of

__all__ = [
    "BLOCK",
    "FIRMWARE",
    "KERNEL",
    "MEMORY",
    "NODE",
    "PARAMETERS",
    "UEVENT",
    "SysfsAttribute",
    "nodes_with_memory",
    "number_list",
]


@dataclass(frozen=True, slots=True)
class SysfsAttribute:
    """A file. `show` returns its text without the newline, `store` carries out a write.

    Both take the number of the block that has the attribute, or -1 for other attributes. `show`
    returns None if the machine does not have the attribute. `store` raises OSError if the write
    fails; without `store` the file is read-only, and with `write_only` it cannot be read.
    """

    show: Callable[[Kernel, int], str | None]
    store: Callable[[Kernel, int, str], None] | None = None
    write_only: bool = False


# Of a block below /sys/devices/system/memory.


def _show_state(kernel: Kernel, block: int) -> str:
    if block == kernel.going_offline:
        return "going-offline"
    return "online" if kernel.blocks.online(block) else "offline"


def _store_state(kernel: Kernel, block: int, text: str) -> None:
    """EINVAL also if the block already has this state (state_store)."""
    wanted = word(text, (*ONLINE_WORDS, "offline"))
    if wanted == "offline":
        changed = kernel.offline(block)
    else:
        kernel.set_online_type(block, wanted)
        changed = kernel.online(block)
    if not changed:
        raise error_of(errno.EINVAL)


def _show_online(kernel: Kernel, block: int) -> str:
    return str(int(kernel.blocks.online(block)))


def _store_online(kernel: Kernel, block: int, text: str) -> None:
    """Not an error if the block already has this state (online_store, drivers/base/core.c)."""
    switch = kernel.online if boolean(text) else kernel.offline
    switch(block)


def _show_removable(kernel: Kernel, block: int) -> str:
    return str(int(kernel.removable(block)))


def _show_valid_zones(kernel: Kernel, block: int) -> str | None:
    return " ".join(kernel.zones.valid(block)) if kernel.machine.valid_zones else None


def _show_phys_index(_kernel: Kernel, block: int) -> str:
    return f"{block:08x}"


def _show_phys_device(kernel: Kernel, block: int) -> str:
    """On s390 the storage increment of the first byte (arch_get_memory_phys_device), else 0."""
    increment = kernel.machine.increment
    return str(block * kernel.machine.block_size // increment if increment else 0)


def check_uevent(text: str) -> None:
    """Raises OSError for a TEXT that does not begin with the action of an event; more may follow
    after a space (kobject_synth_uevent, lib/kobject_uevent.c)."""
    if text.split()[:1] not in ([known] for known in _UEVENTS):
        raise error_of(errno.EINVAL)


_UEVENTS: Final = ("add", "remove", "change", "move", "online", "offline", "bind", "unbind")

UEVENT: Final = SysfsAttribute(
    lambda _kernel, _block: "", lambda _kernel, _block, text: check_uevent(text)
)

BLOCK: Final = {
    "online": SysfsAttribute(_show_online, _store_online),
    "phys_device": SysfsAttribute(_show_phys_device),
    "phys_index": SysfsAttribute(_show_phys_index),
    "removable": SysfsAttribute(_show_removable),
    "state": SysfsAttribute(_show_state, _store_state),
    "uevent": UEVENT,
    "valid_zones": SysfsAttribute(_show_valid_zones),
}

# Of a block below /sys/firmware/memory.


def _show_config(kernel: Kernel, block: int) -> str:
    return str(int(kernel.blocks.present(block)))


def _store_config(kernel: Kernel, block: int, text: str) -> None:
    """Not an error if the block already has this value (config_mem_store)."""
    switch = kernel.configure if boolean(text) else kernel.deconfigure
    switch(block)


def _show_memmap(kernel: Kernel, block: int) -> str:
    return str(int(kernel.blocks.flag(block, MEMMAP)))


def _store_memmap(kernel: Kernel, block: int, text: str) -> None:
    kernel.set_memmap_on_memory(block, boolean(text))


FIRMWARE: Final = {
    "config": SysfsAttribute(_show_config, _store_config),
    "memmap_on_memory": SysfsAttribute(_show_memmap, _store_memmap),
}

# Of all blocks.


def _store_setting(name: str, read: Callable[[str], object]) -> Callable[[Kernel, int, str], None]:
    """A write that sets a field of the kernel's state to what READ makes of the text."""

    def store(kernel: Kernel, _block: int, text: str) -> None:
        kernel.set(name, read(text))

    return store


def _store_probe(kernel: Kernel, _block: int, text: str) -> None:
    probe(kernel, unsigned(text, 64))


def _store_hard_offline_page(kernel: Kernel, _block: int, text: str) -> None:
    hard_offline(kernel, unsigned(text, 64))


def _store_soft_offline_page(kernel: Kernel, _block: int, text: str) -> None:
    soft_offline(kernel, unsigned(text, 64))


def _show_page_offline(kernel: Kernel, _block: int) -> str | None:
    return "" if kernel.machine.page_offline else None


def _show_crash_hotplug(kernel: Kernel, _block: int) -> str | None:
    value = kernel.machine.crash_hotplug
    return None if value is None else str(value)


MEMORY: Final = {
    "block_size_bytes": SysfsAttribute(lambda kernel, _: f"{kernel.machine.block_size:x}"),
    "auto_online_blocks": SysfsAttribute(
        lambda kernel, _: kernel.state.auto_online_blocks,
        _store_setting("auto_online_blocks", lambda text: word(text, ("offline", *ONLINE_WORDS))),
    ),
    "probe": SysfsAttribute(
        lambda kernel, _: "" if kernel.machine.probe else None, _store_probe, write_only=True
    ),
    "soft_offline_page": SysfsAttribute(
        _show_page_offline, _store_soft_offline_page, write_only=True
    ),
    "hard_offline_page": SysfsAttribute(
        _show_page_offline, _store_hard_offline_page, write_only=True
    ),
    "crash_hotplug": SysfsAttribute(_show_crash_hotplug),
    "uevent": UEVENT,
}

# Of the kernel (kernel/utsname_sysctl.c).

KERNEL: Final = {"osrelease": SysfsAttribute(lambda kernel, _: kernel.machine.release)}

# Of all nodes.


def _show_nodes(kernel: Kernel, _block: int) -> str | None:
    return number_list(kernel.nodes) if kernel.nodes else None


def _nodes_with(zones: tuple[int, ...], kernel: Kernel) -> list[int]:
    """The nodes with online memory in one of these zones, ascending."""
    counts = kernel.zones.online.items()
    online = {node for (node, zone), count in counts if count and zone in zones}
    # A block in several nodes is counted for one of them, and stays online.
    online |= {
        node
        for group in kernel.machine.groups
        if group.more_nodes and group.online and NONE in zones
        for node in group.nodes
    }
    return [node for node in kernel.nodes if node in online]


def _show_nodes_with(nodes: Callable[[Kernel], list[int]]) -> Callable[[Kernel, int], str | None]:
    return lambda kernel, _: number_list(nodes(kernel)) if kernel.nodes else None


nodes_with_memory: Final = partial(_nodes_with, (*KERNEL_ZONES, HIGHMEM, MOVABLE))
"""The nodes of a kernel that have online memory, ascending."""


def number_list(numbers: Iterable[int]) -> str:
    """Ascending numbers as the kernel prints a list: 0-2,5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


NODE: Final = {
    "online": SysfsAttribute(_show_nodes),
    "possible": SysfsAttribute(_show_nodes),
    "has_memory": SysfsAttribute(_show_nodes_with(nodes_with_memory)),
    "has_normal_memory": SysfsAttribute(_show_nodes_with(partial(_nodes_with, KERNEL_ZONES))),
}

# The parameters of memory_hotplug.


def _show_ratio(kernel: Kernel, _block: int) -> str | None:
    state = kernel.state
    return None if state.online_policy is None else str(state.auto_movable_ratio)


def _show_numa_aware(kernel: Kernel, _block: int) -> str | None:
    """Only kernels with NUMA have it (CONFIG_NUMA); these have a node, too."""
    state = kernel.state
    if state.online_policy is None or not kernel.nodes:
        return None
    return "Y" if state.auto_movable_numa_aware else "N"


PARAMETERS: Final = {
    "memmap_on_memory": SysfsAttribute(lambda kernel, _: kernel.machine.memmap_param),
    "online_policy": SysfsAttribute(
        lambda kernel, _: kernel.state.online_policy,
        _store_setting("online_policy", lambda text: word(text, ONLINE_POLICIES)),
    ),
    "auto_movable_ratio": SysfsAttribute(
        _show_ratio, _store_setting("auto_movable_ratio", unsigned)
    ),
    "auto_movable_numa_aware": SysfsAttribute(
        _show_numa_aware, _store_setting("auto_movable_numa_aware", boolean)
    ),
}
