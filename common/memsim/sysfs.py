"""The kernel's tree: which files, links and directories there are, what they read, what they take.

Facts: drivers/base/memory.c, drivers/base/node.c, drivers/s390/char/sclp_mem.c, lib/kstrtox.c.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from memsim.machine import (
    DMA,
    DMA32,
    FIRMWARE,
    HIGHMEM,
    HOLE,
    IN_ZONE,
    MEMMAP,
    MEMORY,
    MOVABLE,
    NODE,
    NONE,
    NORMAL,
    OFFLINE,
    ONLINE_POLICIES,
    ONLINE_WORDS,
    PARAMETERS,
    ZONES,
)

if TYPE_CHECKING:
    from memsim.kernel import Kernel

Kind = Literal["dir", "file", "link"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a write asks for: a transition of a block, or a value for one attribute."""

    action: str
    block: int
    value: str | int


@dataclass(frozen=True, slots=True)
class Attribute:
    """A file: its text (None: not on this machine), and what a write to it asks for.

    A `plan` of None makes the file read-only; a plan that gives None has nothing to do.
    """

    show: Callable[[Kernel, int], str | None]
    plan: Callable[[Kernel, int, str], Step | None] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path."""

    kind: Kind
    names: Callable[[], list[str]] | None = None
    attribute: Attribute | None = None
    block: int = -1
    target: str = ""


# How a path is found.


def find(kernel: Kernel, path: str) -> Entry | None:
    """What is at a path below the root, links on the way followed; None: nothing is."""
    path = path.strip("/")
    if fixed := FIXED.get(path):
        return Entry("file", attribute=fixed) if fixed.show(kernel, -1) is not None else None
    if path in _SKELETON:
        exists = path == FIRMWARE and kernel.machine.firmware
        exists = exists or any(kernel.kind(child) for child in _SKELETON[path].values())
        return Entry("dir", names=lambda: _skeleton_names(kernel, path)) if exists else None
    if match := _BLOCK_PATH.fullmatch(path):
        return _find_block(kernel, match["below"], int(match["block"]), match["rest"])
    if match := _NODE_PATH.fullmatch(path):
        return _find_node(kernel, int(match["node"]), match["rest"])
    return None


def _find_block(kernel: Kernel, below: str, block: int, rest: str | None) -> Entry | None:
    attributes = _BLOCK_ATTRIBUTES[below]
    if below == MEMORY:
        if not kernel.present(block):
            return None
    elif not kernel.machine.firmware or kernel.place_of(block) == HOLE:
        return None
    group = kernel.group(block)
    node = f"node{group.node}" if below == MEMORY and group.has_node else None
    if not rest:
        names = [name for name, found in attributes.items() if found.show(kernel, block)]
        return Entry("dir", names=lambda: [*names, *([node] if node else [])])
    name, _, beyond = rest.partition("/")
    if node and name == node:
        link = Entry("link", target=f"../../node/{node}")
        return find(kernel, f"{NODE}/{node}/{beyond}") if beyond else link
    attribute = attributes.get(rest)
    if attribute is None or attribute.show(kernel, block) is None:
        return None
    return Entry("file", attribute=attribute, block=block)


def _find_node(kernel: Kernel, node: int, rest: str | None) -> Entry | None:
    if node not in kernel.nodes:
        return None
    if not rest:
        return Entry("dir", names=lambda: [f"memory{b}" for b in _blocks_of(kernel, node)])
    name, _, beyond = rest.partition("/")
    match = _BLOCK_NAME.fullmatch(name)
    if not match or not kernel.present(block := int(match["block"])):
        return None
    if (group := kernel.group(block)).node != node or not group.has_node:
        return None
    link = Entry("link", target=f"../../memory/{name}")
    return find(kernel, f"{MEMORY}/{name}/{beyond}") if beyond else link


def _skeleton_names(kernel: Kernel, path: str) -> list[str]:
    names = [name for name, child in _SKELETON[path].items() if kernel.kind(child)]
    if path == MEMORY:
        names += [f"memory{block}" for block in kernel.blocks() if kernel.present(block)]
    elif path == FIRMWARE and kernel.machine.firmware:
        names += [f"memory{block}" for block in kernel.blocks()]
    elif path == NODE:
        names += [f"node{node}" for node in kernel.nodes]
    return names


def _blocks_of(kernel: Kernel, node: int) -> Iterator[int]:
    for group in kernel.machine.groups:
        if group.node == node and group.has_node:
            yield from (b for b in range(group.first, group.last + 1) if kernel.present(b))


# What a write asks for.


def _plan_state(kernel: Kernel, block: int, text: str) -> Step:
    word = _word(text, (*ONLINE_WORDS, "offline"))
    step = _switch(kernel, block, None if word == "offline" else word)
    if step is None and word != "offline":
        return Step("word", block, word)
    if step is None:
        raise error(errno.EINVAL)
    return step


def _plan_online(kernel: Kernel, block: int, text: str) -> Step | None:
    return _switch(
        kernel, block, kernel.live.words.get(block, "online") if _boolean(text) else None
    )


def _switch(kernel: Kernel, block: int, online_as: str | None) -> Step | None:
    is_online = kernel.place_of(block) >= IN_ZONE
    if is_online == (online_as is not None):
        return None
    return Step("online", block, online_as) if online_as else Step("offline", block, "")


def _plan_config(kernel: Kernel, block: int, text: str) -> Step | None:
    wanted = _boolean(text)
    if wanted == kernel.present(block):
        return None
    if wanted:
        return Step("config", block, "")
    if kernel.place_of(block) != OFFLINE:
        raise error(errno.EBUSY)
    return Step("deconfig", block, "")


def _plan_memmap(kernel: Kernel, block: int, text: str) -> Step:
    wanted = _boolean(text)
    if wanted and not kernel.machine.memmap_supported:
        raise error(errno.EOPNOTSUPP)
    if kernel.present(block):
        raise error(errno.EBUSY)
    return Step("memmap", block, MEMMAP if wanted else 0)


def error(number: int, path: str | None = None) -> OSError:
    """The error that a system call ends with."""
    return OSError(number, os.strerror(number), path)


def _word(text: str, words: Iterable[str]) -> str:
    """The word a write names, one trailing newline ignored (sysfs_streq); else EINVAL."""
    word = text.removesuffix("\n")
    if word not in words:
        raise error(errno.EINVAL)
    return word


def _boolean(text: str) -> bool:
    """What a write of a boolean means: its first characters decide (lib/kstrtox.c), else EINVAL."""
    for length in (1, 2):
        if (value := _BOOLEANS.get(text[:length].lower())) is not None:
            return value
    raise error(errno.EINVAL)


_BOOLEANS: Final = dict.fromkeys(("y", "t", "1", "e", "on"), True) | dict.fromkeys(
    ("n", "f", "0", "d", "of"), False
)


def _number_list(numbers: Iterable[int]) -> str:
    """Numbers in order as the kernel lists them: 0-2,5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


# The attributes.


def _show_state(kernel: Kernel, block: int) -> str:
    return "online" if kernel.place_of(block) >= IN_ZONE else "offline"


def _show_online(kernel: Kernel, block: int) -> str:
    return str(int(kernel.place_of(block) >= IN_ZONE))


def _show_removable(kernel: Kernel, block: int) -> str:
    return str(int(kernel.group(block).removable))


def _show_valid_zones(kernel: Kernel, block: int) -> str | None:
    if not kernel.machine.valid_zones:
        return None
    place, group = kernel.place_of(block), kernel.group(block)
    if place >= IN_ZONE:
        return ZONES[place - IN_ZONE]
    if kernel.machine.contiguous_zones:
        return kernel.rules(group.node).valid_zones(block)
    return " ".join(group.off_zones)


def _show_phys_index(_kernel: Kernel, block: int) -> str:
    return f"{block:08x}"


def _show_phys_device(kernel: Kernel, block: int) -> str:
    increment = kernel.machine.increment
    return str(block * kernel.machine.block_size // increment if increment else 0)


def _show_config(kernel: Kernel, block: int) -> str:
    return str(int(kernel.present(block)))


def _show_memmap(kernel: Kernel, block: int) -> str:
    return str(int(bool(kernel.flags[block - kernel.first] & MEMMAP)))


def _show_block_size(kernel: Kernel, _block: int) -> str:
    return f"{kernel.machine.block_size:x}"


def _show_nodes(kernel: Kernel, _block: int) -> str | None:
    return _number_list(kernel.nodes) if kernel.nodes else None


def _show_nodes_with(zones: tuple[int, ...]) -> Callable[[Kernel, int], str | None]:
    def show(kernel: Kernel, _block: int) -> str | None:
        if not kernel.nodes:
            return None
        online = {
            node for (node, zone), count in kernel.live.online.items() if count and zone in zones
        }
        return _number_list(node for node in kernel.nodes if node in online)

    return show


def _parameter(
    name: str, to_value: Callable[[str], str | int], show: Callable[[Any], str] = str
) -> Attribute:
    """A value that is kept in `Live`, on a machine that has it at boot."""

    def show_value(kernel: Kernel, _block: int) -> str | None:
        value = getattr(kernel.live, name)
        if name.startswith("auto_movable") and kernel.live.online_policy is None:
            return None
        return None if value is None else show(value)

    def plan(_kernel: Kernel, _block: int, text: str) -> Step:
        return Step(name, -1, to_value(text))

    return Attribute(show_value, plan)


def _unsigned(text: str) -> int:
    """An unsigned int in any base that C knows, else EINVAL (lib/kstrtox.c); too large: ERANGE."""
    match = _UNSIGNED.fullmatch(text)
    if not match or match.lastgroup is None:
        raise error(errno.EINVAL)
    number = int(match[match.lastgroup], {"hex": 16, "oct": 8, "dec": 10}[match.lastgroup])
    if number >= 1 << 32:
        raise error(errno.ERANGE)
    return number


_UNSIGNED: Final = re.compile(
    r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<oct>0[0-7]+)|(?P<dec>[1-9][0-9]*|0))\n?"
)

FIRMWARE_ATTRIBUTES: Final = {
    "config": Attribute(_show_config, _plan_config),
    "memmap_on_memory": Attribute(_show_memmap, _plan_memmap),
}

_BLOCK_ATTRIBUTES: Final = {
    MEMORY: {
        "online": Attribute(_show_online, _plan_online),
        "phys_device": Attribute(_show_phys_device),
        "phys_index": Attribute(_show_phys_index),
        "removable": Attribute(_show_removable),
        "state": Attribute(_show_state, _plan_state),
        "valid_zones": Attribute(_show_valid_zones),
    },
    FIRMWARE: FIRMWARE_ATTRIBUTES,
}

PARAMETER_PATHS: Final = {
    "auto_online_blocks": f"{MEMORY}/auto_online_blocks",
    "online_policy": f"{PARAMETERS}/online_policy",
    "auto_movable_ratio": f"{PARAMETERS}/auto_movable_ratio",
    "auto_movable_numa_aware": f"{PARAMETERS}/auto_movable_numa_aware",
}

_KERNEL_ZONES: Final = (NONE, DMA, DMA32, NORMAL)

NODE_LISTS: Final = {
    f"{NODE}/has_memory": Attribute(_show_nodes_with((*_KERNEL_ZONES, HIGHMEM, MOVABLE))),
    f"{NODE}/has_normal_memory": Attribute(_show_nodes_with(_KERNEL_ZONES)),
}

FIXED: Final[dict[str, Attribute]] = {
    f"{MEMORY}/block_size_bytes": Attribute(_show_block_size),
    f"{NODE}/online": Attribute(_show_nodes),
    f"{NODE}/possible": Attribute(_show_nodes),
    **NODE_LISTS,
    f"{PARAMETERS}/memmap_on_memory": Attribute(lambda kernel, _: kernel.machine.memmap_param),
    PARAMETER_PATHS["auto_online_blocks"]: _parameter(
        "auto_online_blocks", lambda text: _word(text, ("offline", *ONLINE_WORDS))
    ),
    PARAMETER_PATHS["online_policy"]: _parameter(
        "online_policy", lambda text: _word(text, ONLINE_POLICIES)
    ),
    PARAMETER_PATHS["auto_movable_ratio"]: _parameter("auto_movable_ratio", _unsigned),
    PARAMETER_PATHS["auto_movable_numa_aware"]: _parameter(
        "auto_movable_numa_aware", _boolean, lambda value: "Y" if value else "N"
    ),
}


def _skeleton(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every directory above these paths, with the names in it and their paths."""
    tree: dict[str, dict[str, str]] = {FIRMWARE: {}}
    for path in paths:
        while path:
            above, _, name = path.rpartition("/")
            tree.setdefault(above, {})[name] = path
            path = above
    return tree


_SKELETON: Final = _skeleton([*FIXED, FIRMWARE])
_BLOCK_NAME: Final = re.compile(r"memory(?P<block>0|[1-9][0-9]{0,17})")
_BLOCK_PATH: Final = re.compile(
    rf"(?P<below>{MEMORY}|{FIRMWARE})/{_BLOCK_NAME.pattern}(?:/(?P<rest>.+))?"
)
_NODE_PATH: Final = re.compile(rf"{NODE}/node(?P<node>0|[1-9][0-9]{{0,8}})(?:/(?P<rest>.+))?")
