"""Descriptions of machines: built in, from a file, or made from a few sizes.

A description is a JSON object. Sizes are bytes; yes and no are true, false, 1 or 0.

    block_size          bytes of a memory block, a power of two
    firmware            has /sys/firmware/memory: configure and deconfigure (false)
    memmap_param        the memmap_on_memory parameter: Y, N or force; null: no such file (null)
    memmap_supported    writing 1 to a block's memmap_on_memory is accepted (true)
    valid_zones         blocks have that attribute; null kernels before 3.18 have not (true)
    blocks              list of groups of blocks, below
    faults              {transition: {block: errno name}}, or {"errno": ..., "times": n} for the
                        first n times; transitions are offline, online, config, deconfig ({})
    delays              {transition: {block: seconds}} ({})
    description         a sentence for people
    contiguous_zones    zones follow the kernel's rules of spans; false: `online` puts a block into
                        the first of its off_zones, `online_kernel` into Normal, `online_movable`
                        into Movable (false)
    zone_limits         {zone: exclusive end in bytes}: where DMA and DMA32 end, for groups that
                        do not say their zones; a block across an end is in zone none ({})
    movable_node        the boot parameter (false)
    auto_online_blocks  offline, online, online_kernel or online_movable; null: no such file
                        ("offline")
    online_policy       contig-zones or auto-movable; null: neither it nor auto_movable_* are there
                        (contig-zones where there is a memmap_param, else null)
    auto_movable_ratio  percent (301)
    auto_movable_numa_aware  (true)
    assigned_by         what takes a block's storage from the hypervisor: "config", or "online" as
                        on s390 up to Linux 6.18, or null ("config" with firmware, else null)
    hypervisor          bytes of storage that the hypervisor can still give at boot (as much as
                        the blocks need that are without)
    used                bytes of online memory in use, beside struct pages (0)
    increment           bytes of an s390 storage increment, which phys_device counts (null: 0)

A group:

    range               [first, last] block numbers, both inclusive
    config              whether the block is there at boot; false only with firmware (true)
    state               "online" or "offline" ("online")
    zones               the zone while online, or none: in several zones, cannot be set offline
                        (by zone_limits where there are any, else Normal)
    straddles           the zones that a block in zone none lies in (by zone_limits)
    off_zones           valid_zones while offline, without contiguous_zones ("Normal Movable")
    node, has_node      the node's number (0), and whether there is a link to it (true)
    removable           (true)
    memmap              memmap_on_memory (false where config is true, else memmap_supported)
    holes               has memory holes, so that it cannot be set offline (false)
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from memsim.capture import read_tree
from memsim.kernel import (
    FIRMWARE,
    MAX_BLOCKS,
    MEMORY,
    ONLINE_POLICIES,
    ONLINE_WORDS,
    PARAMETERS,
    TRANSITIONS,
    ZONES,
    Fault,
    Group,
    Kernel,
    Machine,
)

MIB: Final = 1 << 20
GIB: Final = 1 << 30


class MachineError(ValueError):
    """A description is wrong; its text says where, and what was expected."""


@dataclass(frozen=True, slots=True)
class _Value:
    """What a key may hold: `read` gives the value, or raises ValueError or TypeError."""

    expected: str
    read: Callable[[Any], Any]
    needed: bool = False


def _yes_no(value: Any) -> bool:
    if value not in (0, 1) or isinstance(value, float):
        raise ValueError
    return bool(value)


def _number(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError
        return value

    return read


def _power_of_two(value: Any) -> int:
    if (size := _number(MIB)(value)) & (size - 1):
        raise ValueError
    return size


def _one_of(*words: str | None) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if (value is not None and not isinstance(value, str)) or value not in words:
            raise ValueError
        return value

    return read


def _or_null(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _zone_words(value: Any) -> tuple[str, ...]:
    words = tuple(_text(value).split())
    if not words or not set(words) <= set(ZONES):
        raise ValueError
    return words


def _range(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple):
        raise ValueError
    first, last = (_number(0)(end) for end in value)
    if first > last:
        raise ValueError
    return first, last


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError
    return value


def _limits(value: Any) -> dict[str, int]:
    limits = {zone: _number(0)(value[zone]) for zone in ("DMA", "DMA32") if zone in value}
    if len(limits) != len(dict(value)) or sorted(limits.values()) != list(limits.values()):
        raise ValueError
    return limits


def _by_block(read: Callable[[Any], Any]) -> Callable[[Any], dict[str, dict[int, Any]]]:
    def by_block(value: Any) -> dict[str, dict[int, Any]]:
        if not set(dict(value)) <= set(TRANSITIONS):
            raise ValueError
        return {
            transition: {_number(0)(int(block)): read(of) for block, of in blocks.items()}
            for transition, blocks in value.items()
        }

    return by_block


def fault(value: str | Mapping[str, Any]) -> Fault:
    """An errno name, or a mapping with `errno` and `times`; else ValueError or TypeError."""
    name, times = (value, None) if isinstance(value, str) else (value["errno"], value.get("times"))
    if not isinstance(getattr(errno, _text(name), None), int):
        raise ValueError
    return Fault(name, None if times is None else _number(1)(times))


def seconds(value: float | str) -> float:
    """A finite number of seconds, not negative; else ValueError."""
    if isinstance(value, bool) or not 0 <= (number := float(value)) < float("inf"):
        raise ValueError
    return number


_YES_NO: Final = _Value("true or false", _yes_no)
_BYTES: Final = _Value("a number of bytes", _number(0))

_MACHINE_KEYS: Final = {
    "block_size": _Value("a power of two, 1048576 or more", _power_of_two, needed=True),
    "blocks": _Value("a list of groups of blocks, one or more", _list, needed=True),
    "firmware": _YES_NO,
    "memmap_param": _Value('"Y", "N", "force" or null', _one_of("Y", "N", "force", None)),
    "memmap_supported": _YES_NO,
    "valid_zones": _YES_NO,
    "faults": _Value(
        f'{{transition: {{block: "EBUSY" or {{"errno": "EBUSY", "times": 1 or more}}}}}} with the '
        f"transitions {', '.join(TRANSITIONS)}",
        _by_block(fault),
    ),
    "delays": _Value(
        f"{{transition: {{block: seconds}}}} with the transitions {', '.join(TRANSITIONS)}",
        _by_block(seconds),
    ),
    "description": _Value("a text", _text),
    "contiguous_zones": _YES_NO,
    "zone_limits": _Value('{"DMA": bytes, "DMA32": bytes}, either or both, rising', _limits),
    "movable_node": _YES_NO,
    "auto_online_blocks": _Value(
        "offline, online, online_kernel, online_movable or null",
        _one_of("offline", *ONLINE_WORDS, None),
    ),
    "online_policy": _Value("contig-zones, auto-movable or null", _one_of(*ONLINE_POLICIES, None)),
    "auto_movable_ratio": _Value("a percentage, 0 or more", _number(0)),
    "auto_movable_numa_aware": _YES_NO,
    "assigned_by": _Value('"config", "online" or null', _one_of("config", "online", None)),
    "hypervisor": _Value("a number of bytes, or null", _or_null(_number(0))),
    "used": _BYTES,
    "increment": _Value("a number of bytes, 1 or more, or null", _or_null(_number(1))),
}

_ZONE_LIST: Final = f"zones of {', '.join(ZONES[1:])}, separated by spaces"

_GROUP_KEYS: Final = {
    "range": _Value("[first, last] with first <= last", _range, needed=True),
    "config": _YES_NO,
    "state": _Value('"online" or "offline"', _one_of("online", "offline")),
    "zones": _Value(f"one of {', '.join(ZONES)}", _one_of(*ZONES)),
    "straddles": _Value(_ZONE_LIST, _zone_words),
    "off_zones": _Value(_ZONE_LIST, _zone_words),
    "node": _Value("a node's number, 0 to 1023", lambda value: range(1024).index(value)),
    "has_node": _YES_NO,
    "removable": _YES_NO,
    "memmap": _YES_NO,
    "holes": _YES_NO,
}


def _wrong(where: str, expected: str, value: object) -> MachineError:
    shown = json.dumps(value, default=str)
    return MachineError(
        f"{where}: expected {expected}, not {shown if len(shown) < 80 else shown[:76] + ' ...'}"
    )


def _checked(where: str, keys: Mapping[str, _Value], given: Any) -> dict[str, Any]:
    """The values of an object by the table of its keys; MachineError names the first wrong one."""
    if not isinstance(given, Mapping):
        raise _wrong(where.rstrip(". :"), "an object", given)
    for key in given:
        if key not in keys:
            raise MachineError(f"{where}{key}: expected only {', '.join(keys)}")
    values = {}
    for key, allowed in keys.items():
        if key not in given:
            if allowed.needed:
                raise MachineError(f"{where}{key}: expected {allowed.expected}, but it is missing")
            continue
        try:
            values[key] = allowed.read(given[key])
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise _wrong(where + key, allowed.expected, given[key]) from None
    return values


def parse(description: Any, name: str = "machine") -> Machine:
    """The machine that a description is about; MachineError says where it is wrong."""
    where = f"{name}: "
    values = _checked(where, _MACHINE_KEYS, description)
    del values["blocks"]
    values.pop("description", None)
    limits = values.pop("zone_limits", {})
    firmware = values.get("firmware", False)
    values.setdefault("assigned_by", "config" if firmware else None)
    if (values["assigned_by"] == "config") != firmware:
        raise _wrong(
            where + "assigned_by",
            "config where there is firmware, and only there",
            values["assigned_by"],
        )
    values.setdefault("online_policy", "contig-zones" if values.get("memmap_param") else None)
    groups: list[tuple[str, Group]] = []
    for number, given in enumerate(description["blocks"]):
        place = f"{where}blocks[{number}]."
        checked = _checked(place, _GROUP_KEYS, given)
        if not checked.get("config", True) and not firmware:
            raise _wrong(place + "config", "true on a machine without firmware", given["config"])
        made = _groups(checked, values["block_size"], limits, values.get("memmap_supported", True))
        groups += ((place, group) for group in made)
    groups.sort(key=lambda item: item[1].first)
    _check_order(groups)
    machine = Machine(groups=tuple(group for _, group in groups), **values)
    for key, table in (("faults", machine.faults), ("delays", machine.delays)):
        _check_blocks(where + key, machine, table)
    return machine


def _check_order(groups: Sequence[tuple[str, Group]]) -> None:
    first = groups[0][1].first
    last = first - 1
    for place, group in groups:
        ends = [group.first, group.last]
        if group.first <= last:
            raise _wrong(place + "range", "blocks that no other group has", ends)
        if group.last - first >= MAX_BLOCKS:
            raise _wrong(place + "range", f"at most {MAX_BLOCKS} block numbers in all", ends)
        last = group.last


def _check_blocks(where: str, machine: Machine, table: Mapping[str, Mapping[int, object]]) -> None:
    ranges = [(group.first, group.last) for group in machine.groups]
    for transition, blocks in table.items():
        for block in blocks:
            if not any(first <= block <= last for first, last in ranges):
                raise _wrong(f"{where}.{transition}", "blocks that the machine has", block)


def _groups(
    checked: dict[str, Any], block_size: int, limits: Mapping[str, int], memmap_supported: bool
) -> Iterable[Group]:
    """The groups one entry stands for: several where zones end within it."""
    first, last = checked.pop("range")
    config = checked.get("config", True)
    online = config and checked.pop("state", "online") == "online"
    checked.pop("state", None)
    checked.setdefault("memmap", not config and memmap_supported)
    zone, straddles = checked.pop("zones", None), checked.pop("straddles", ())
    if zone or not limits:
        yield Group(
            first, last, online=online, zone=zone or "Normal", straddles=straddles, **checked
        )
        return
    ends = [(name, end) for name, end in limits.items()] + [("Normal", (last + 1) * block_size)]
    # A block that a limit falls within is a piece of its own.
    cuts = {first, last + 1} | {end // block_size for _, end in ends}
    cuts |= {-(-end // block_size) for _, end in ends}
    edges = sorted(cut for cut in cuts if first <= cut <= last + 1)
    for start, stop in pairwise(edges):
        below, within = 0, []
        for name, end in ends:
            if below < stop * block_size and start * block_size < end and below < end:
                within.append(name)
            below = max(below, end)
        several = len(within) > 1
        yield Group(
            start,
            stop - 1,
            online=online,
            zone="none" if several else within[0],
            straddles=tuple(within) if several and online else (),
            **checked,
        )


def dump(machine: Machine) -> dict[str, Any]:
    """A description that `parse` makes the same machine of."""
    return {
        "block_size": machine.block_size,
        "blocks": [_dump_group(group) for group in machine.groups],
        "faults": {
            transition: {
                str(block): fault.errno if fault.times is None else asdict(fault)
                for block, fault in blocks.items()
            }
            for transition, blocks in machine.faults.items()
        },
        "delays": {
            transition: {str(block): seconds for block, seconds in blocks.items()}
            for transition, blocks in machine.delays.items()
        },
        **{name: getattr(machine, name) for name in _PLAIN},
    }


_PLAIN: Final = tuple(
    key
    for key in _MACHINE_KEYS
    if key not in ("block_size", "blocks", "faults", "delays", "description", "zone_limits")
)


def _dump_group(group: Group) -> dict[str, Any]:
    values: dict[str, Any] = {
        "range": [group.first, group.last],
        "config": group.config,
        "state": "online" if group.online else "offline",
        "zones": group.zone,
        "off_zones": " ".join(group.off_zones),
    }
    if group.straddles:
        values["straddles"] = " ".join(group.straddles)
    names = ("node", "has_node", "removable", "memmap", "holes")
    return values | {name: getattr(group, name) for name in names}


def load(name: str | os.PathLike[str]) -> Machine:
    """A built-in profile's machine, or a JSON file's; MachineError, or OSError for the file."""
    if isinstance(name, str) and name in PROFILES:
        return parse(PROFILES[name], name)
    path = Path(name)
    if isinstance(name, str) and path.suffix != ".json" and "/" not in name and not path.exists():
        raise MachineError(f"no profile is named {name}; the profiles are {', '.join(PROFILES)}")
    try:
        description = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise MachineError(
            f"{name}: line {error.lineno}, column {error.colno}: expected JSON: {error.msg}"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise MachineError(f"{name}: expected JSON, not something else") from None
    return parse(description, str(name))


def boot(machine: str | os.PathLike[str] | Mapping[str, Any] | Machine) -> Kernel:
    """Boot a profile by its name, a JSON file, or a description."""
    if isinstance(machine, Machine):
        return Kernel(machine)
    if isinstance(machine, Mapping):
        return Kernel(parse(machine))
    return Kernel(load(machine))


def layout(
    block_size: int, memory: int, *, standby: int = 0, added: int = 0, nodes: int = 1, used: int = 0
) -> Machine:
    """A machine from a few sizes, each node having its share of each.

    Standby memory makes it an s390 with /sys/firmware/memory, deconfigured; added memory is there
    and offline, as after plugging in. MachineError for sizes that do not come out even.
    """
    if block_size < MIB or block_size & (block_size - 1):
        raise _wrong("block size", "a power of two, 1048576 or more", block_size)
    blocks: list[dict[str, Any]] = []
    kinds: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("memory", memory, {}),
        ("added memory", added, {"state": "offline"}),
        ("standby memory", standby, {"config": False}),
    )
    if nodes < 1:
        raise _wrong("nodes", "1 or more", nodes)
    first = 0
    for what, size, how in kinds:
        if size % (block_size * nodes) or size < 0 or not (size or how):
            each = f"a multiple of the block size ({block_size} bytes) for each of {nodes} nodes"
            raise _wrong(what, each, size)
        share = size // block_size // nodes
        for node in range(nodes if share else 0):
            blocks.append({"range": [first, first + share - 1], "node": node, **how})
            first += share
    limits = S390_LIMITS if standby else X86_LIMITS
    return parse(
        {
            "block_size": block_size,
            "firmware": bool(standby),
            "memmap_param": "Y" if standby else "N",
            "contiguous_zones": True,
            "zone_limits": limits,
            "used": used,
            "increment": block_size if standby else None,
            "blocks": blocks,
        }
    )


S390_LIMITS: Final = {"DMA": 2 * GIB}
X86_LIMITS: Final = {"DMA": 16 * MIB, "DMA32": 4 * GIB}

_S390: Final = {
    "firmware": True,
    "memmap_param": "Y",
    "contiguous_zones": True,
    "zone_limits": S390_LIMITS,
}
_X86: Final = {
    "block_size": 128 * MIB,
    "memmap_param": "N",
    "contiguous_zones": True,
    "zone_limits": X86_LIMITS,
}

PROFILES: Final[dict[str, dict[str, Any]]] = {
    "s390-lpar": {
        "description": "An s390 LPAR on Linux 6.19: 2 GiB online, 2 GiB standby, 128 MiB blocks.",
        **_S390,
        "block_size": 128 * MIB,
        "increment": 128 * MIB,
        "used": 256 * MIB,
        "blocks": [{"range": [0, 15]}, {"range": [16, 31], "config": 0}],
    },
    "s390-zvm": {
        "description": "A z/VM guest on Linux 6.19: 4 GiB online, 12 GiB standby, 256 MiB blocks, "
        "no memmap on memory.",
        **_S390,
        "memmap_param": "N",
        "memmap_supported": False,
        "block_size": 256 * MIB,
        "increment": 16 * MIB,
        "used": GIB,
        "blocks": [{"range": [0, 15]}, {"range": [16, 63], "config": 0}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "s390-pre-6.19": {
        "description": "An s390 LPAR on Linux up to 6.18: 4 GiB online, 4 GiB standby that is "
        "offline since boot; online takes it from the hypervisor.",
        **_S390,
        "firmware": False,
        "assigned_by": "online",
        "memmap_param": "N",
        "block_size": 256 * MIB,
        "increment": 256 * MIB,
        "used": GIB,
        "blocks": [{"range": [0, 15]}, {"range": [16, 31], "state": "offline"}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "s390-imbalance": {
        "description": "An s390 LPAR with little memory and much standby: 512 MiB online, 64 GiB "
        "standby; struct pages run out.",
        **_S390,
        "block_size": 128 * MIB,
        "increment": 128 * MIB,
        "used": 256 * MIB,
        "blocks": [{"range": [0, 3]}, {"range": [4, 515], "config": 0}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "x86-laptop": {
        "description": "An x86 laptop with 8 GiB and the hole below 4 GiB; a few blocks are busy.",
        **_X86,
        "used": 3 * GIB,
        "blocks": [{"range": [0, 23]}, {"range": [32, 71]}],
        "faults": {"offline": {"1": "EBUSY", "32": "EBUSY", "71": "EBUSY"}},
    },
    "x86-two-nodes": {
        "description": "An x86 server with two nodes of 8 GiB; the end of the second is movable "
        "(1 GiB) and offline (1 GiB).",
        **_X86,
        "used": 2 * GIB,
        "blocks": [
            {"range": [0, 23]},
            {"range": [32, 71]},
            {"range": [72, 119], "node": 1},
            {"range": [120, 127], "node": 1, "zones": "Movable"},
            {"range": [128, 135], "node": 1, "state": "offline"},
        ],
        "faults": {"offline": {"1": "EBUSY", "72": "EBUSY"}},
    },
    "x86-dimm-slots": {
        "description": "An x86 virtual machine with 4 GiB and two DIMMs of 4 GiB plugged in, "
        "still offline.",
        **_X86,
        "used": GIB,
        "blocks": [
            {"range": [0, 23]},
            {"range": [32, 39]},
            {"range": [40, 71], "state": "offline"},
            {"range": [72, 103], "state": "offline"},
        ],
        "faults": {"offline": {"1": "EBUSY"}},
    },
    "arm64-offset": {
        "description": "An arm64 server whose memory begins at 1 TiB (block 8192): 14 GiB online, "
        "2 GiB offline.",
        "block_size": 128 * MIB,
        "memmap_param": "N",
        "contiguous_zones": True,
        "used": 2 * GIB,
        "blocks": [
            {"range": [8192, 8303], "zones": "DMA"},
            {"range": [8304, 8319], "state": "offline"},
        ],
        "faults": {"offline": {"8192": "EBUSY"}},
    },
    "ppc64-large": {
        "description": "A ppc64 LPAR with 1 TiB in 4,096 blocks of 256 MiB on four nodes.",
        "block_size": 256 * MIB,
        "memmap_param": "N",
        "contiguous_zones": True,
        "used": 64 * GIB,
        "blocks": [
            {"range": [0, 1023], "node": 0},
            {"range": [1024, 2047], "node": 1},
            {"range": [2048, 3071], "node": 16},
            {"range": [3072, 3967], "node": 17},
            {"range": [3968, 4095], "node": 17, "state": "offline"},
        ],
        "faults": {"offline": {"0": "EBUSY"}},
    },
    "huge": {
        "description": "An s390 with 65,536 blocks of 256 MiB: 8 TiB online, 8 TiB standby.",
        **_S390,
        "block_size": 256 * MIB,
        "increment": 256 * MIB,
        "used": 1024 * GIB,
        "blocks": [{"range": [0, 32767]}, {"range": [32768, 65535], "config": 0}],
        "faults": {"offline": {"0": "EBUSY"}},
    },
}
"""The built-in machines, each with a sentence in its `description`."""


def from_tree(root: str | os.PathLike[str]) -> Kernel:
    """Boot a machine like the one whose /sys is below a root; raises as `seen_in`."""
    return Kernel(seen_in(root))


def seen_in(root: str | os.PathLike[str]) -> Machine:
    """The machine whose /sys is below a root (or captured there), as if it had booted so.

    MachineError when the tree is not that of a machine; OSError when it cannot be read. What no
    attribute tells is assumed: the rules of contiguous zones, x86's limits where there is DMA32
    or a first block in several zones, nothing in use but struct pages, no faults.
    """
    files = {
        path: content if isinstance(content, str) else content.decode(errors="replace").strip()
        for path, content in read_tree(root)
    }
    blocks: dict[int, dict[str, str]] = {}
    for path, text in files.items():
        if match := _TREE_BLOCK.fullmatch(path):
            blocks.setdefault(int(match["block"]), {})[match["name"]] = text
    if not blocks:
        raise MachineError(f"{os.fspath(root)}: expected memory blocks, but there are none")
    groups = [_seen_group(root, block, seen) for block, seen in sorted(blocks.items())]
    _straddle(groups)
    block_size = _hexadecimal(root, files[f"{MEMORY}/block_size_bytes"])
    firmware = any("config" in seen for seen in blocks.values())
    increments = {
        block_size * block // int(seen["phys_device"])
        for block, seen in blocks.items()
        if seen.get("phys_device", "0").isdecimal() and int(seen.get("phys_device", 0))
    }
    described = {
        "block_size": block_size,
        "blocks": _joined(groups),
        "firmware": firmware,
        "contiguous_zones": True,
        "valid_zones": any("valid_zones" in seen for seen in blocks.values()),
        "memmap_param": files.get(f"{PARAMETERS}/memmap_on_memory"),
        "memmap_supported": files.get(f"{PARAMETERS}/memmap_on_memory") != "N",
        "auto_online_blocks": files.get(f"{MEMORY}/auto_online_blocks"),
        "online_policy": files.get(f"{PARAMETERS}/online_policy"),
        "increment": max(increments, default=None),
    }
    ratio = files.get(f"{PARAMETERS}/auto_movable_ratio")
    if ratio is not None:
        described["auto_movable_ratio"] = int(ratio) if ratio.isdecimal() else ratio
        aware = files.get(f"{PARAMETERS}/auto_movable_numa_aware")
        described["auto_movable_numa_aware"] = aware != "N"
    return parse(described, os.fspath(root))


_TREE_BLOCK: Final = re.compile(
    rf"(?:{MEMORY}|{FIRMWARE})/memory(?P<block>\d+)/(?P<name>[a-z_]+?)\d*"
)


def _hexadecimal(root: str | os.PathLike[str], text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        place = f"{os.fspath(root)}: block_size_bytes"
        raise _wrong(place, "a hexadecimal number", text) from None


def _seen_group(
    root: str | os.PathLike[str], block: int, seen: Mapping[str, str]
) -> dict[str, Any]:
    """A block as its attributes tell, as a group of its own."""
    config = "state" in seen
    group: dict[str, Any] = {"range": [block, block], "config": config}
    group["memmap"] = seen.get("memmap_on_memory") == "1"
    link = seen.get("node")
    group["has_node"] = not config or link is not None
    if link is not None:
        group["node"] = int(link.rpartition("node")[2])
    if config:
        group["removable"] = seen.get("removable") != "0"
        group["state"] = "offline" if seen["state"] == "offline" else "online"
        zones = seen.get("valid_zones", "Normal").split() or ["none"]
        group["zones" if group["state"] == "online" else "off_zones"] = (
            zones[0] if group["state"] == "online" else " ".join(zones)
        )
    return group


def _straddle(groups: list[dict[str, Any]]) -> None:
    """Say for blocks in zone none which zones they lie in: those of their neighbours."""
    named = [
        (group["range"][0], group.get("node", 0), group["zones"])
        for group in groups
        if group.get("zones", "none") != "none"
    ]
    for group in groups:
        if group.get("zones") != "none":
            continue
        block, node = group["range"][0], group.get("node", 0)
        below = [zone for other, of, zone in named if other < block and of == node]
        above = [zone for other, of, zone in named if other > block and of == node]
        # Nothing is below block 0 but x86's first 16 MiB, which are DMA.
        zones = [*(below[-1:] or ["DMA"]), *above[:1]]
        group["straddles"] = " ".join(dict.fromkeys(zones))


def _joined(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours that are alike, as one group each."""
    joined: list[dict[str, Any]] = []
    for group in groups:
        first, last = group["range"]
        if (
            joined
            and joined[-1]["range"][1] == first - 1
            and joined[-1] | {"range": 0} == group | {"range": 0}
        ):
            joined[-1]["range"][1] = last
        else:
            joined.append(group)
    return joined
