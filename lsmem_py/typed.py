"""The typed JSON document for scripts: numbers, booleans, arrays, and null for unknown values."""

from collections.abc import Iterator, Sequence
from typing import Any

from lsmem_py.columns import BY_NAME, COLUMNS, Column
from lsmem_py.formats import Listing
from lsmem_py.reports import BYTES, DIALECT, closed
from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable

__all__ = [
    "DEFAULT",
    "READS",
    "SCHEMA_VERSION",
    "format_document",
    "format_lines",
    "head",
    "schema",
    "with_nodes",
]

SCHEMA_VERSION = 1
"""The version of the document, which --diff checks.

It grows when a key changes its meaning or is removed, but not when a key is added.
"""

DEFAULT = tuple(
    column for column in COLUMNS if column.identifier != "phys_device" and not column.beside
)
"""All columns except PHYS_DEVICE, which on s390 makes every block a range of its own, and those for
which more must be read than blocks: a layout, devices, tiers, or pages."""

_TEXT = {"type": ["string", "null"]}
_NULLABLE_FLAG = {"type": ["boolean", "null"]}

_PARAMETERS: dict[str, dict[str, Any]] = {
    "memmap_on_memory": {**_TEXT, "description": "Y, N or force"},
    "online_policy": _TEXT,
    "auto_movable_ratio": {"type": ["integer", "null"], "description": "percent"},
    "auto_movable_numa_aware": _NULLABLE_FLAG,
}
_SUPPORTS = {
    "configure": "blocks must be configured before they can be online",
    "memmap_on_memory": "struct pages can live in the blocks themselves",
    "nodes": "blocks belong to NUMA nodes",
    "valid_zones": "blocks tell their zones",
}


def _parameter(machine: Machine, name: str) -> str | int | bool | None:
    text = machine.parameter(name)
    kinds = _PARAMETERS[name]["type"]
    if text is None or kinds[0] == "string":
        return text
    if kinds[0] == "boolean":
        return {"Y": True, "N": False}.get(text)
    return int(text) if text.isdecimal() else None


def head(machine: Machine, table: BlockTable) -> dict[str, Any]:
    """The document without its ranges. TABLE must have the attributes of READS."""
    return {
        "schema_version": SCHEMA_VERSION,
        "block_size": machine.block_size,
        "total_online": table.total(online=True),
        "total_offline": table.total(online=False),
        "total_not_configured": table.columns["configured"].count(False) * machine.block_size
        if machine.configurable
        else None,
        "auto_online_blocks": machine.auto_online_blocks,
        "memory_hotplug": {name: _parameter(machine, name) for name in _PARAMETERS},
        "supports": {
            "configure": machine.configurable,
            "memmap_on_memory": {"Y": True, "force": True, "N": False}.get(
                machine.parameter("memmap_on_memory") or ""
            ),
            "nodes": any(node is not None for node in table.columns["node"]),
            "valid_zones": any(zones is not None for zones in table.columns["zones"]),
        },
    }


READS = ("state", "configured", "node", "zones")
"""The attributes that the head of the document needs."""


def with_nodes(columns: Sequence[Column]) -> list[Column]:
    """The columns of the document: where NODE is asked for, NODES too, for a block can be in
    several of them."""
    if BY_NAME["nodes"] in columns:
        return list(columns)
    also = {"node": [BY_NAME["node"], BY_NAME["nodes"]]}
    return [one for column in columns for one in also.get(column.identifier, [column])]


def format_document(head: dict[str, Any], listing: Listing) -> Iterator[str]:
    """The document, with one range on each line."""
    import json

    yield json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "ranges": ['
    between = "\n    "
    for row in _objects(listing):
        yield between + row
        between = ",\n    "
    yield "\n  ]\n}\n"


def format_lines(listing: Listing) -> Iterator[str]:
    """The ranges, one object on each line."""
    return (f"{row}\n" for row in _objects(listing))


def _objects(listing: Listing) -> Iterator[str]:
    from json import dumps

    cells = [
        (column.identifier, column.typed, value)
        for column, value in zip(listing.columns, listing.values, strict=True)
    ]
    for found in listing.ranges:
        yield dumps({name: typed(value(found)) for name, typed, value in cells})


def schema(*, complete: bool = True) -> dict[str, Any]:
    """The JSON Schema of the document.

    With COMPLETE it requires all keys that this version writes. Without, it requires only the keys
    that every version wrote.
    """
    ranges = {
        column.identifier: {"description": column.help, **column.schema} for column in COLUMNS
    }
    properties = {
        "schema_version": {"const": SCHEMA_VERSION},
        "block_size": {"type": "integer", "minimum": 1, "description": "bytes"},
        "total_online": {**BYTES, "description": "bytes that are online"},
        "total_offline": {**BYTES, "description": "bytes that are not online"},
        "total_not_configured": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "bytes of that which are not configured",
        },
        "auto_online_blocks": _TEXT,
        "memory_hotplug": closed(_PARAMETERS, None if complete else ()),
        "supports": closed(
            {
                name: {**_NULLABLE_FLAG, "description": meaning}
                for name, meaning in _SUPPORTS.items()
            },
            None if complete else (),
        ),
        "ranges": {"type": "array", "items": closed(ranges, required=())},
    }
    return {
        "$schema": DIALECT,
        "title": "lsmem --json --typed",
        **closed(properties, None if complete else ("schema_version", "block_size", "ranges")),
    }
