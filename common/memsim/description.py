"""Parse the description of a machine, and make a description of a machine.

A description is a JSON object. memsim(1) says in MACHINE DESCRIPTIONS what its keys mean. Most of
them are fields of Machine and Group (machine.py); the others are here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

from memsim.errors import MachineError, wrong
from memsim.machine import GROUP_VALUES, MACHINE_VALUES, MAX_BLOCKS, ZONES, Group, Machine, since
from memsim.schema import LIMIT, Value, checked, number, one_of, text

__all__ = ["GROUP_KEYS", "MACHINE_KEYS", "MachineError", "dump", "parse"]


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


MACHINE_KEYS: Final = {
    "block_size": MACHINE_VALUES["block_size"],
    "blocks": Value("a list of groups of blocks, one or more", _list, needed=True),
    **MACHINE_VALUES,
    "description": Value("a text", text),
    "zone_limits": Value('{"DMA": bytes, "DMA32": bytes}, either or both, rising', _limits),
}

GROUP_KEYS: Final = {
    "range": Value("[first, last] with first <= last", _range, needed=True),
    **GROUP_VALUES,
    "state": Value('"online" or "offline"', one_of("online", "offline")),
    "zones": Value(f"one of {', '.join(ZONES)}", one_of(*ZONES)),
    "nodes": Value("a list of nodes' numbers, 0 to 1023, each once", _node_list),
}


def parse(description: Any, name: str = "machine") -> Machine:
    """The machine of a description. Raises MachineError, which says where it is wrong."""
    where = f"{name}: "
    values = checked(where, MACHINE_KEYS, description)
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
    values.setdefault("auto_online_blocks", auto_online(values.get("release")))
    values.setdefault("online_policy", "contig-zones" if values.get("memmap_param") else None)
    groups: list[tuple[str, Group]] = []
    for index, given in enumerate(description["blocks"]):
        place = f"{where}blocks[{index}]."
        group = checked(place, GROUP_KEYS, given)
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


_OF_DEBIAN: Final = re.compile(r"\+deb(\d+)")


def auto_online(release: str | None) -> str | None:
    """The auto_online_blocks of a kernel whose command line does not say it; None: it has no such
    file, as before Linux 4.6 (commit 31bc3858ea3e).

    It is the same on all architectures. mm/Kconfig has offline as the default. The kernels of
    Debian 13 and later are configured with MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO, those of Debian 12
    without MEMORY_HOTPLUG_DEFAULT_ONLINE (their /boot/config).
    """
    if not since(release, 4, 6):
        return None
    debian = _OF_DEBIAN.search(release or "")
    return "online" if debian and int(debian[1]) >= 13 else "offline"


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
    shown = {
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
    }
    return shown | {name: getattr(machine, name) for name in MACHINE_VALUES if name not in shown}


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
    others = [name for name in GROUP_VALUES if name not in (*values, "straddles", "node")]
    return values | {name: getattr(group, name) for name in others}
