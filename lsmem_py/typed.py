"""The typed JSON document for scripts: numbers, booleans, arrays, and null for unknown values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hotplug_cli.documents import (
    BYTES,
    FLAG,
    TEXT,
    Key,
    array_of,
    closed,
    described,
    filled,
    nullable,
    object_of,
    version_of,
)
from lsmem_py.columns import BY_NAME, COLUMNS, Column
from lsmem_py.formats import Listing
from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable

__all__ = [
    "DEFAULT",
    "READS",
    "SCHEMA_VERSION",
    "format_document",
    "format_lines",
    "head",
    "line_schema",
    "schema",
    "settings",
    "with_nodes",
]

SCHEMA_VERSION = 1
"""The version of the document, which --diff checks."""

DEFAULT = tuple(
    column for column in COLUMNS if column.identifier != "phys_device" and not column.beside
)
"""All columns except PHYS_DEVICE, which on s390 makes every block a range of its own, and those for
which more must be read than blocks: a layout, devices, tiers, or pages."""

_Seen = tuple[Machine, BlockTable]


def _text(name: str) -> Callable[[_Seen], str | None]:
    return lambda seen: seen[0].parameter(name)


def _number(name: str) -> Callable[[_Seen], int | None]:
    def value(seen: _Seen) -> int | None:
        text = seen[0].parameter(name)
        return int(text) if text and text.isdecimal() else None

    return value


def _flag(name: str, words: Mapping[str, bool]) -> Callable[[_Seen], bool | None]:
    return lambda seen: words.get(seen[0].parameter(name) or "")


_YES = {"Y": True, "N": False}

_PARAMETERS = (
    Key("memmap_on_memory", "Y, N or force", nullable(TEXT), _text("memmap_on_memory")),
    Key("online_policy", "how a zone is chosen", nullable(TEXT), _text("online_policy")),
    Key(
        "auto_movable_ratio",
        "percent",
        nullable({"type": "integer"}),
        _number("auto_movable_ratio"),
    ),
    Key(
        "auto_movable_numa_aware",
        "whether that ratio also counts for each node",
        nullable(FLAG),
        _flag("auto_movable_numa_aware", _YES),
    ),
)


def _any_known(name: str) -> Callable[[_Seen], bool]:
    return lambda seen: any(value is not None for value in seen[1].columns[name])


_SUPPORTS = (
    Key(
        "configure",
        "blocks must be configured before they can be online",
        nullable(FLAG),
        lambda seen: seen[0].configurable,
    ),
    Key(
        "memmap_on_memory",
        "struct pages can live in the blocks themselves",
        nullable(FLAG),
        _flag("memmap_on_memory", {**_YES, "force": True}),
    ),
    Key("nodes", "blocks belong to NUMA nodes", nullable(FLAG), _any_known("node")),
    Key("valid_zones", "blocks tell their zones", nullable(FLAG), _any_known("zones")),
)
_BLOCK_SIZE = Key(
    "block_size",
    "bytes of a memory block",
    {"type": "integer", "minimum": 1},
    lambda seen: seen[0].block_size,
)
_AUTO_ONLINE = Key(
    "auto_online_blocks",
    "what the kernel does with memory that is added",
    nullable(TEXT),
    lambda seen: seen[0].auto_online_blocks,
)


def _not_configured(seen: _Seen) -> int | None:
    machine, table = seen
    count = table.columns["configured"].count(False)
    return count * machine.block_size if machine.configurable else None


_HEAD = (
    version_of(SCHEMA_VERSION),
    _BLOCK_SIZE,
    Key("total_online", "bytes that are online", BYTES, lambda seen: seen[1].total(online=True)),
    Key(
        "total_offline",
        "bytes that are not online",
        BYTES,
        lambda seen: seen[1].total(online=False),
    ),
    Key(
        "total_not_configured",
        "bytes of that which are not configured; null where memory is never configured",
        nullable(BYTES),
        _not_configured,
    ),
    _AUTO_ONLINE,
    Key(
        "memory_hotplug",
        "parameters of the kernel's module; null if it has none of this name",
        object_of(_PARAMETERS),
        lambda seen: filled(_PARAMETERS, seen),
    ),
    Key(
        "supports",
        "what the machine can do; null if it is not known",
        object_of(_SUPPORTS),
        lambda seen: filled(_SUPPORTS, seen),
    ),
)


def head(machine: Machine, table: BlockTable) -> dict[str, Any]:
    """The document without its ranges. TABLE must have state, node and zones."""
    return filled(_HEAD, (machine, table))


def settings() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each setting of the machine as a whole, by its name."""
    return {row.key: row.schema for row in (_BLOCK_SIZE, _AUTO_ONLINE, *_PARAMETERS)}


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
    keys = {row.key: row.schema for row in _HEAD}
    keys["ranges"] = {**array_of(_range_schema()), "description": "ranges of blocks that agree"}
    needed = list(keys)
    if not complete:
        needed = ["schema_version", "block_size", "ranges"]
        for name in ("memory_hotplug", "supports"):
            keys[name] = {**keys[name], "required": []}
    return described("lsmem --json --typed", closed(keys, needed))


def line_schema() -> dict[str, Any]:
    """The JSON Schema of a line of the ranges."""
    return described("a line of lsmem --format jsonl --typed", _range_schema())


def _range_schema() -> dict[str, Any]:
    """That of a range, which has the columns that are asked for."""
    return closed(
        {one.identifier: {"description": one.help, **one.schema} for one in COLUMNS}, required=()
    )
