"""One table with a row for each column: its heading, help, alignment and values."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hotplug_cli.getopt import UsageError
from hotplug_cli.sizes import human
from memory_hotplug.block import NUMA_NO_NODE, Zone
from memory_hotplug.ranges import MemoryRange

__all__ = [
    "BY_NAME",
    "COLUMNS",
    "DEFAULT",
    "DEVICE",
    "FIRMWARE_ONLY",
    "HELD",
    "PERSISTENT",
    "PICTURED",
    "STATUS",
    "TIER",
    "WHY",
    "ZONES",
    "Column",
    "named",
    "parse",
]


class Column(NamedTuple):
    """A column of lsmem.

    A named tuple, as in the other tables, because every start of lsmem makes the class, and a
    dataclass takes several times as long.
    """

    heading: str
    help: str
    text: Callable[[MemoryRange], str]
    """The cell of a range in every text format; "" if the value is not known."""
    typed: Callable[[MemoryRange], Any]
    """The value in typed JSON; None if it is not known."""
    schema: dict[str, Any]
    """JSON Schema of the typed value."""
    json: Callable[[MemoryRange], Any] | None = None
    """The value in util-linux's JSON; without it, the text, or null for an empty text."""
    number: Callable[[MemoryRange], int | None] | None = None
    """The value of a size or an address, in bytes."""
    splits: tuple[str, ...] = ()
    """Attributes of a block that split ranges if this column is shown."""
    reads: tuple[str, ...] = ()
    """More attributes that the column needs."""
    right: bool = True
    """Whether the column is aligned to the right."""
    width: int = 0
    """The minimum width of the column without headings."""
    extra: bool = False
    """Whether util-linux does not have the column, so that --output-all does not show it."""

    @property
    def key(self) -> str:
        """The name in util-linux's JSON."""
        return self.heading.lower()

    @property
    def identifier(self) -> str:
        """The name in typed JSON."""
        return self.key.replace("-", "_")

    def in_bytes(self) -> "Column":
        """The column with --bytes: a size or an address is a plain number, also in JSON."""
        number = self.number
        if number is None:
            return self
        return self._replace(text=lambda found: _plain(number(found)), json=number)


_STATES = {"offline": "offline", "online": "online", "going-offline": "on->off", "unknown": "?"}
_ADDRESS = {"type": "integer", "minimum": 0}
_BYTES = {"type": "integer", "minimum": 1}


def _nullable(*types: str) -> dict[str, Any]:
    return {"type": [*types, "null"]}


def _state(found: MemoryRange) -> str:
    return _STATES[found.block.state.value] if found.block.state else ""


def _removable(found: MemoryRange) -> str:
    if _state(found) != "online":
        return ""
    return "yes" if found.block.removable else "no"


def _block(found: MemoryRange) -> str:
    if found.first == found.last:
        return str(found.first)
    return f"{found.first}-{found.last}"


def _plain(value: int | None) -> str:
    return "" if value is None else str(value)


def _yes(flag: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[flag]


def _zones(found: MemoryRange) -> str:
    return "/".join(zone.value for zone in found.block.zones or ())


def _typed_zones(found: MemoryRange) -> list[str | None] | None:
    zones = found.block.zones
    if zones is None:
        return None
    return [None if zone is Zone.UNKNOWN else zone.value for zone in zones]


def _typed_status(status: str | None) -> str | None:
    return None if status == "unknown" else status


def _range(found: MemoryRange) -> str:
    return f"0x{found.start:016x}-0x{found.end:016x}"


def _address(value: int) -> str:
    return f"0x{value:016x}"


_HOLDINGS = ("state", "zones", "removable")
"""What the columns about the pages of a block need besides."""


def _held(heading: str, help_: str) -> Column:
    """A column with a size that holdings.py fills in."""
    return Column(
        heading,
        help_,
        lambda found: "",
        lambda found: None,
        _nullable("integer"),
        number=lambda found: None,
        reads=_HOLDINGS,
        extra=True,
    )


COLUMNS = (
    Column(
        "RANGE",
        "start and end address of the memory range",
        _range,
        _range,
        {"type": "string", "pattern": "^0x[0-9a-f]{16}-0x[0-9a-f]{16}$"},
        right=False,
    ),
    Column(
        "SIZE",
        "size of the memory range",
        lambda found: human(found.size),
        lambda found: found.size,
        _BYTES,
        number=lambda found: found.size,
        width=5,
    ),
    Column(
        "STATE",
        "online status of the memory range",
        _state,
        lambda found: _typed_status(found.block.state.value) if found.block.state else None,
        {"enum": ["online", "offline", "going-offline", None]},
        splits=("state",),
    ),
    Column(
        "REMOVABLE",
        "whether the memory is removable",
        _removable,
        lambda found: None if found.block.configured is False else found.block.removable,
        _nullable("boolean"),
        json=lambda found: _removable(found) == "yes",
        splits=("removable",),
        reads=("state",),
    ),
    Column(
        "BLOCK",
        "number of the memory block, or of the first and last",
        _block,
        lambda found: {"first": found.first, "last": found.last},
        {
            "type": "object",
            "properties": {"first": _ADDRESS, "last": _ADDRESS},
            "required": ["first", "last"],
            "additionalProperties": False,
        },
    ),
    Column(
        "NODE",
        "NUMA node of the memory",
        lambda found: _plain(found.block.node),
        lambda found: None if found.block.node == NUMA_NO_NODE else found.block.node,
        _nullable("integer"),
        json=lambda found: found.block.node,
        splits=("node",),
    ),
    Column(
        "NODES",
        "all NUMA nodes of the memory",
        lambda found: "/".join(map(str, found.block.nodes or ())),
        lambda found: list(found.block.nodes) if found.block.nodes else None,
        {"type": ["array", "null"], "items": {"type": "integer"}},
        splits=("nodes",),
        extra=True,
    ),
    Column(
        "ZONES",
        "valid zones for the memory range",
        _zones,
        _typed_zones,
        {"type": ["array", "null"], "items": _nullable("string")},
        splits=("zones",),
    ),
    Column(
        "CONFIGURED",
        "whether the memory is configured",
        lambda found: _yes(found.block.configured),
        lambda found: found.block.configured,
        _nullable("boolean"),
        splits=("configured",),
    ),
    Column(
        "MEMMAP-ON-MEMORY",
        "whether the memory's struct pages live in it",
        lambda found: _yes(found.block.memmap_on_memory),
        lambda found: found.block.memmap_on_memory,
        _nullable("boolean"),
        splits=("memmap_on_memory",),
    ),
    Column(
        "STATUS",
        "the state, or disabled for memory not configured",
        lambda found: {"unknown": "?", None: ""}.get(found.block.status, found.block.status or ""),
        lambda found: _typed_status(found.block.status),
        {"enum": ["online", "offline", "going-offline", "disabled", None]},
        splits=("state", "configured"),
        extra=True,
    ),
    Column(
        "START",
        "address of the first byte",
        lambda found: _address(found.start),
        lambda found: found.start,
        _ADDRESS,
        json=lambda found: found.start,
        number=lambda found: found.start,
        extra=True,
    ),
    Column(
        "END",
        "address of the last byte",
        lambda found: _address(found.end),
        lambda found: found.end,
        _ADDRESS,
        json=lambda found: found.end,
        number=lambda found: found.end,
        extra=True,
    ),
    Column(
        "PHYS_DEVICE",
        "physical device; on s390 the storage increment",
        lambda found: _plain(found.block.phys_device),
        lambda found: found.block.phys_device,
        _nullable("integer"),
        json=lambda found: found.block.phys_device,
        splits=("phys_device",),
        extra=True,
    ),
    Column(
        "MEMMAP-SIZE",
        "size of the struct pages of the range",
        lambda found: human(found.memmap_size),
        lambda found: found.memmap_size,
        _ADDRESS,
        number=lambda found: found.memmap_size,
        extra=True,
    ),
    Column(
        "PERSISTENT",
        "as the memory layout says: yes, differs, or no entry",
        lambda found: "",
        lambda found: None,
        {"enum": ["yes", "differs", "no", None]},
        reads=("state", "zones", "configured", "memmap_on_memory", "nodes"),
        extra=True,
    ),
    Column(
        "DEVICE",
        "device that brought the memory (root)",
        lambda found: "",
        lambda found: None,
        _nullable("string"),
        extra=True,
    ),
    Column(
        "TIER",
        "memory tier of the node",
        lambda found: "",
        lambda found: None,
        _nullable("integer"),
        reads=("node",),
        extra=True,
    ),
    _held("FREE", "free memory of the range (root)"),
    _held("MOVABLE", "memory of the range that can be moved (root)"),
    _held("UNMOVABLE", "memory of the range that cannot be moved (root)"),
    _held("HUGETLB", "huge pages of the range (root)"),
    Column(
        "CANDIDATE",
        "whether it can be set offline: yes, maybe, no",
        lambda found: "",
        lambda found: None,
        {"enum": ["yes", "maybe", "no", None]},
        reads=_HOLDINGS,
        extra=True,
    ),
    Column(
        "BLOCKERS",
        "what keeps it online, or may (root)",
        lambda found: "",
        lambda found: None,
        {"type": ["array", "null"], "items": {"type": "string"}},
        reads=_HOLDINGS,
        extra=True,
    ),
)

HEADINGS = [column.heading for column in COLUMNS]
BY_NAME = {column.identifier: column for column in COLUMNS}

HELD = ("free", "movable", "unmovable", "hugetlb", "candidate", "blockers")
"""The identifiers of the columns that holdings.py fills in."""
WHY = ("block", "state", "zones", "candidate", *HELD[:4], "blockers")
"""The columns of --why."""
DEFAULT = ("range", "size", "state", "removable", "block")
PERSISTENT, DEVICE, TIER = "persistent", "device", "tier"
"""The identifiers of the columns that view.py fills in: one value for each block."""
FIRMWARE_ONLY = ("configured", "memmap_on_memory")
"""Like util-linux, do not show these columns on a machine whose memory is never configured."""

STATUS, ZONES = PICTURED = ("status", "zones")
"""The columns that --map can draw memory by."""


def parse(text: str, default: Sequence[Column]) -> list[Column]:
    """The columns of a comma-separated list; those of a list with ``+`` follow the DEFAULT ones.

    Raises UsageError.
    """
    extends = text.startswith("+")
    names = text.removeprefix("+").split(",")
    return [*(default if extends else ()), *map(named, names)]


def named(name: str) -> Column:
    """The column of that name, in any case and with hyphens or underscores.

    Raises UsageError where there is none.
    """
    column = BY_NAME.get(name.lower().replace("-", "_"))
    if column is None:
        from lsmem_py.suggestions import unknown_column

        raise UsageError(unknown_column(name, HEADINGS))
    return column
