"""Parse the description of a machine, and make a description of a machine.

A description is a JSON object. Sizes are in bytes. A key that answers yes or no takes true or
false, 1 or 0. A value in parentheses is the default; a key without one must be given.

    block_size          size of a memory block, a power of two
    firmware            whether the machine has /sys/firmware/memory, so that memory can be
                        configured (false)
    memmap_param        the memmap_on_memory parameter: Y, N, force, or null for no such file (null)
    memmap_supported    whether 1 may be written to a block's memmap_on_memory (true where
                        memmap_param is Y or force)
    valid_zones         whether blocks have valid_zones; before Linux 3.18 they do not (true)
    blocks              a list of groups of blocks, see below
    faults              {transition: {block: errno}}, where errno is a name such as "EBUSY", or
                        {"errno": name, "times": n} for a fault of the first n times; a transition
                        is offline, online, config or deconfig ({})
    delays              {transition: {block: seconds}} ({})
    description         a sentence about the machine (none)
    contiguous_zones    true: the kernel's rule of zone spans chooses the zone of a block; false:
                        `online` puts a block into the first of its off_zones, `online_kernel`
                        into Normal, `online_movable` into Movable (false)
    zone_limits         {zone: end}: the address at which DMA or DMA32 ends (exclusive), for groups
                        without zones; a block across an end is in zone none ({})
    movable_node        the boot parameter movable_node (false)
    auto_online_blocks  offline, online, online_kernel, online_movable, or null for no such file
                        ("offline")
    online_policy       contig-zones, auto-movable, or null for no such parameter and no
                        auto_movable_* (contig-zones where memmap_param is not null, else null)
    auto_movable_ratio  the parameter, in percent (301)
    auto_movable_numa_aware  the parameter (true)
    assigned_by         which write takes a block's storage from the hypervisor: "config";
                        "online", as on s390 up to Linux 6.18; or null for none ("config" with
                        firmware, else null)
    hypervisor          how much storage the hypervisor can still give at boot (enough for all
                        blocks)
    used                how much online memory is in use, not counting struct pages (0)
    large_pages         whether the kernel maps memory with large pages; without, as in QEMU on
                        s390, the page tables of a block that is added take 1/256 of its size from
                        online memory, also with memmap on memory (true)
    increment           size of an s390 storage increment, which phys_device counts; without it
                        phys_device is 0 (null)
    probe               whether writing an address to the file probe adds the block there, as on
                        POWER; only without firmware (false)

A group of blocks:

    range               the numbers of the first and the last block: [first, last]
    config              whether the blocks are configured at boot; without firmware, false is room
                        for memory that can be plugged in (true)
    state               "online" or "offline" at boot ("online")
    zones               the zone while online; none for blocks in several zones, which cannot be
                        set offline (what zone_limits says, else Normal)
    straddles           the zones that a block in zone none is in (what zone_limits says)
    off_zones           valid_zones while offline, where contiguous_zones is false
                        ("Normal Movable")
    node, has_node      the number of the node (0), and whether blocks have a link to it (true)
    nodes               in place of node, for blocks that lie in several nodes: the numbers of all;
                        such blocks are in zone none (none)
    removable           the attribute removable (true)
    memmap              the attribute memmap_on_memory at boot (false where config is true, else
                        memmap_supported)
    holes               whether the blocks have memory holes, so that they cannot be set offline
                        (false)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

from memsim.errors import MachineError, wrong
from memsim.machine import (
    MAX_BLOCKS,
    ONLINE_POLICIES,
    ONLINE_WORDS,
    TRANSITIONS,
    ZONES,
    Group,
    Machine,
)
from memsim.schema import (
    LIMIT,
    Value,
    by_transition,
    checked,
    fault,
    number,
    one_of,
    or_null,
    seconds,
    text,
    yes_no,
)

__all__ = ["MIB", "MachineError", "dump", "fault", "parse", "seconds"]

MIB: Final = 1 << 20


def _power_of_two(value: Any) -> int:
    if (size := number(MIB)(value)) & (size - 1):
        raise ValueError
    return size


def _zone_words(value: Any) -> tuple[str, ...]:
    words = tuple(text(value).split())
    if not words or not set(words) <= set(ZONES):
        raise ValueError
    return words


def _range(value: Any) -> tuple[int, int]:
    if not isinstance(value, list | tuple):
        raise ValueError
    first, last = (number(0)(end) for end in value)
    if first > last:
        raise ValueError
    return first, last


_NODES: Final = range(1024)


def _node_list(value: Any) -> tuple[int, ...]:
    nodes = [_NODES.index(node) for node in _list(value)]
    if len(set(nodes)) != len(nodes):
        raise ValueError
    return tuple(sorted(nodes))


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError
    return value


def _limits(value: Any) -> dict[str, int]:
    limits = {zone: number(0)(value[zone]) for zone in ("DMA", "DMA32") if zone in value}
    if len(limits) != len(dict(value)) or sorted(limits.values()) != list(limits.values()):
        raise ValueError
    return limits


_YES_NO: Final = Value("true or false", yes_no)
_BYTES: Final = Value("a number of bytes", number(0))

_MACHINE_KEYS: Final = {
    "block_size": Value("a power of two, 1048576 or more", _power_of_two, needed=True),
    "blocks": Value("a list of groups of blocks, one or more", _list, needed=True),
    "firmware": _YES_NO,
    "memmap_param": Value('"Y", "N", "force" or null', one_of("Y", "N", "force", None)),
    "memmap_supported": _YES_NO,
    "valid_zones": _YES_NO,
    "faults": Value(
        f'{{transition: {{block: "EBUSY" or {{"errno": "EBUSY", "times": 1 or more}}}}}} with the '
        f"transitions {', '.join(TRANSITIONS)}",
        by_transition(fault),
    ),
    "delays": Value(
        f"{{transition: {{block: seconds}}}} with the transitions {', '.join(TRANSITIONS)}",
        by_transition(seconds),
    ),
    "description": Value("a text", text),
    "contiguous_zones": _YES_NO,
    "zone_limits": Value('{"DMA": bytes, "DMA32": bytes}, either or both, rising', _limits),
    "movable_node": _YES_NO,
    "auto_online_blocks": Value(
        "offline, online, online_kernel, online_movable or null",
        one_of("offline", *ONLINE_WORDS, None),
    ),
    "online_policy": Value("contig-zones, auto-movable or null", one_of(*ONLINE_POLICIES, None)),
    "auto_movable_ratio": Value("a percentage, 0 or more", number(0, 1 << 32)),
    "auto_movable_numa_aware": _YES_NO,
    "assigned_by": Value('"config", "online" or null', one_of("config", "online", None)),
    "hypervisor": Value("a number of bytes, or null", or_null(number(0))),
    "used": _BYTES,
    "large_pages": _YES_NO,
    "increment": Value("a number of bytes, 1 or more, or null", or_null(number(1))),
    "probe": _YES_NO,
}

_ZONE_LIST: Final = f"zones of {', '.join(ZONES[1:])}, separated by spaces"

_GROUP_KEYS: Final = {
    "range": Value("[first, last] with first <= last", _range, needed=True),
    "config": _YES_NO,
    "state": Value('"online" or "offline"', one_of("online", "offline")),
    "zones": Value(f"one of {', '.join(ZONES)}", one_of(*ZONES)),
    "straddles": Value(_ZONE_LIST, _zone_words),
    "off_zones": Value(_ZONE_LIST, _zone_words),
    "node": Value("a node's number, 0 to 1023", _NODES.index),
    "nodes": Value("a list of nodes' numbers, 0 to 1023, each once", _node_list),
    "has_node": _YES_NO,
    "removable": _YES_NO,
    "memmap": _YES_NO,
    "holes": _YES_NO,
}


def parse(description: Any, name: str = "machine") -> Machine:
    """The machine of a description. Raises MachineError, which says where it is wrong."""
    where = f"{name}: "
    values = checked(where, _MACHINE_KEYS, description)
    del values["blocks"]
    values.pop("description", None)
    limits = values.pop("zone_limits", {})
    firmware = values.get("firmware", False)
    values.setdefault("assigned_by", "config" if firmware else None)
    if (values["assigned_by"] == "config") != firmware:
        raise wrong(
            where + "assigned_by",
            "config where there is firmware, and only there",
            values["assigned_by"],
        )
    if firmware and values.get("probe"):
        raise wrong(where + "probe", "false where there is firmware", values["probe"])
    values.setdefault("memmap_supported", values.get("memmap_param") in ("Y", "force"))
    values.setdefault("online_policy", "contig-zones" if values.get("memmap_param") else None)
    groups: list[tuple[str, Group]] = []
    for index, given in enumerate(description["blocks"]):
        place = f"{where}blocks[{index}]."
        group = checked(place, _GROUP_KEYS, given)
        if "node" in group and "nodes" in group:
            raise wrong(place + "nodes", "no node beside it", given["node"])
        made = _groups(group, values["block_size"], limits, values["memmap_supported"])
        groups += ((place, of) for of in made)
    groups.sort(key=lambda item: item[1].first)
    _check_order(groups, values["block_size"])
    machine = Machine(groups=tuple(group for _, group in groups), **values)
    for key, table in (("faults", machine.faults), ("delays", machine.delays)):
        _check_blocks(where + key, machine, table)
    return machine


def _check_order(groups: Sequence[tuple[str, Group]], block_size: int) -> None:
    first = groups[0][1].first
    last = first - 1
    for place, group in groups:
        ends = [group.first, group.last]
        if group.first <= last:
            raise wrong(place + "range", "blocks that no other group has", ends)
        if (group.last + 1) * block_size > LIMIT:
            raise wrong(place + "range", "blocks below address 2**64", ends)
        if group.last - first >= MAX_BLOCKS:
            raise wrong(place + "range", f"at most {MAX_BLOCKS} block numbers in all", ends)
        last = group.last


def _check_blocks(where: str, machine: Machine, table: Mapping[str, Mapping[int, object]]) -> None:
    firsts = [group.first for group in machine.groups]
    for transition, blocks in table.items():
        for block in blocks:
            at = bisect_right(firsts, block) - 1
            if at < 0 or block > machine.groups[at].last:
                raise wrong(f"{where}.{transition}", "blocks that the machine has", block)


def _groups(
    values: dict[str, Any], block_size: int, limits: Mapping[str, int], memmap_supported: bool
) -> Iterable[Group]:
    """The groups of one entry: there are several if a zone ends within its blocks."""
    first, last = values.pop("range")
    config = values.get("config", True)
    online = config and values.pop("state", "online") == "online"
    values.pop("state", None)
    values.setdefault("memmap", not config and memmap_supported)
    zone, straddles = values.pop("zones", None), values.pop("straddles", ())
    node, *more_nodes = values.pop("nodes", (values.get("node", 0),))
    values |= {"node": node, "more_nodes": tuple(more_nodes)}
    if more_nodes and zone is None and not limits:
        # A zone is one node's, so these blocks are in a zone of each.
        zone, straddles = "none", straddles or ("Normal",)
    if zone or not limits:
        yield Group(
            first, last, online=online, zone=zone or "Normal", straddles=straddles, **values
        )
        return
    ends = [(name, end) for name, end in limits.items()] + [("Normal", (last + 1) * block_size)]
    # A block with a limit within it is a piece of its own.
    cuts = {first, last + 1} | {end // block_size for _, end in ends}
    cuts |= {-(-end // block_size) for _, end in ends}
    edges = sorted(cut for cut in cuts if first <= cut <= last + 1)
    for start, stop in pairwise(edges):
        below, within = 0, []
        for name, end in ends:
            if below < stop * block_size and start * block_size < end and below < end:
                within.append(name)
            below = max(below, end)
        several = len(within) > 1 or bool(more_nodes)
        yield Group(
            start,
            stop - 1,
            online=online,
            zone="none" if several else within[0],
            straddles=tuple(within) if several and online else (),
            **values,
        )


def dump(machine: Machine) -> dict[str, Any]:
    """The description of a machine, from which `parse` makes an equal machine."""
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
    if group.more_nodes:
        values["nodes"] = [group.node, *group.more_nodes]
    else:
        values["node"] = group.node
    names = ("has_node", "removable", "memmap", "holes")
    return values | {name: getattr(group, name) for name in names}
