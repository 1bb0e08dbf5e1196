"""One table with a row for each column: its heading, help, alignment and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter

from hotplug_cli.sizes import rounded
from memory_hotplug.block import NUMA_NO_NODE, MemoryBlock, State, Zone
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.table import MemoryRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "BY_NAME",
    "COLUMNS",
    "DEFAULT",
    "FIRMWARE_ONLY",
    "PICTURED",
    "STATUS",
    "WHY",
    "ZONES",
    "Column",
    "plain",
]


class Column(NamedTuple):
    """A column of lsmem.

    A named tuple, as in the other tables, because every start of lsmem makes the class, and a
    dataclass takes several times as long.
    """

    heading: str
    help: str
    value: Callable[..., Any]
    """What a range has in this column. With `beside`, it is given that before the range."""
    text: Callable[[Any], str]
    """The cell for a value in every text format; "" if the value is not known."""
    schema: dict[str, Any]
    """JSON Schema of the value in typed JSON."""
    typed: Callable[[Any], Any] = lambda value: value
    """The value in typed JSON; None if it is not known."""
    json: Callable[[Any], Any] | None = None
    """The value in util-linux's JSON; without it, the text, or null for an empty text."""
    beside: str = ""
    """What it needs to know beside the table of blocks, by its name in Sources.

    Such a column splits ranges by its value, unless that is a size.
    """
    splits: tuple[str, ...] = ()
    """Attributes of a block that split ranges if this column is shown."""
    reads: tuple[str, ...] = ()
    """More attributes that the column needs."""
    number: bool = False
    """Whether it is a size or an address, a plain number of bytes with --bytes, also in JSON."""
    right: bool = True
    """Whether the column is aligned to the right."""
    width: int = 0
    """The minimum width of the column without headings and, where there is room, on a terminal."""
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


_STATES = {"offline": "offline", "online": "online", "going-offline": "on->off", "unknown": "?"}
_ADDRESS = {"type": "integer", "minimum": 0}
_BYTES = {"type": "integer", "minimum": 1}


def _nullable(*types: str) -> dict[str, Any]:
    return {"type": [*types, "null"]}


def plain(value: object) -> str:
    """The text of a number or a word; "" if it is not known."""
    return "" if value is None else str(value)


def _same(value: Any) -> Any:
    return value


def _state(state: State | None) -> str:
    return _STATES[state.value] if state else ""


def _removable(block: MemoryBlock) -> str:
    if _state(block.state) != "online":
        return ""
    return "yes" if block.removable else "no"


def _block(found: MemoryRange) -> str:
    if found.first == found.last:
        return str(found.first)
    return f"{found.first}-{found.last}"


def _yes(flag: bool | None) -> str:
    return {True: "yes", False: "no", None: ""}[flag]


def _typed_zones(zones: Sequence[Zone] | None) -> list[str | None] | None:
    if zones is None:
        return None
    return [None if zone is Zone.UNKNOWN else zone.value for zone in zones]


def _typed_status(status: str | None) -> str | None:
    return None if status == "unknown" else status


def _address(value: int) -> str:
    return f"0x{value:016x}"


_JUDGED_BY = ("state", "zones", "removable")
"""What the columns about the pages of a block need besides."""


def _of_pages(
    heading: str, help_: str, value: Any, text: Any, schema: dict[str, Any], **more: Any
) -> Column:
    """A column about what the pages of a range hold."""
    named = {"beside": "pages", "reads": _JUDGED_BY, "extra": True, **more}
    return Column(heading, help_, value, text, schema, **named)


def _held(heading: str, help_: str) -> Column:
    """A column with the size of those pages of a range that have this name."""
    name = heading.lower()
    return _of_pages(
        heading,
        help_,
        lambda pages, found: pages.size(range(found.first, found.last + 1), name),
        lambda size: "" if size is None else rounded(size),
        _nullable("integer"),
        number=True,
    )


COLUMNS = (
    Column(
        "RANGE",
        "start and end address of the memory range",
        lambda found: f"0x{found.start:016x}-0x{found.end:016x}",
        str,
        {"type": "string", "pattern": "^0x[0-9a-f]{16}-0x[0-9a-f]{16}$"},
        right=False,
    ),
    Column(
        "SIZE",
        "size of the memory range",
        attrgetter("size"),
        rounded,
        _BYTES,
        number=True,
        width=5,
    ),
    Column(
        "STATE",
        "online status of the memory range",
        attrgetter("block.state"),
        _state,
        {"enum": ["online", "offline", "going-offline", None]},
        typed=lambda state: _typed_status(state.value) if state else None,
        splits=("state",),
    ),
    Column(
        "REMOVABLE",
        "whether the memory is removable",
        attrgetter("block"),
        _removable,
        _nullable("boolean"),
        typed=lambda block: None if block.configured is False else block.removable,
        json=lambda block: _removable(block) == "yes",
        splits=("removable",),
        reads=("state",),
    ),
    Column(
        "BLOCK",
        "number of the memory block, or of the first and last",
        _same,
        _block,
        {
            "type": "object",
            "properties": {
                "first": {**_ADDRESS, "description": "the number of the first block"},
                "last": {**_ADDRESS, "description": "the number of the last block, inclusive"},
            },
            "required": ["first", "last"],
            "additionalProperties": False,
        },
        typed=lambda found: {"first": found.first, "last": found.last},
    ),
    Column(
        "NODE",
        "NUMA node of the memory",
        attrgetter("block.node"),
        plain,
        _nullable("integer"),
        typed=lambda node: None if node == NUMA_NO_NODE else node,
        json=_same,
        splits=("node",),
    ),
    Column(
        "NODES",
        "all NUMA nodes of the memory",
        attrgetter("block.nodes"),
        lambda nodes: "/".join(map(str, nodes or ())),
        {"type": ["array", "null"], "items": {"type": "integer"}},
        typed=lambda nodes: list(nodes) if nodes else None,
        splits=("nodes",),
        extra=True,
    ),
    Column(
        "ZONES",
        "valid zones for the memory range",
        attrgetter("block.zones"),
        lambda zones: "/".join(zone.value for zone in zones or ()),
        {"type": ["array", "null"], "items": _nullable("string")},
        typed=_typed_zones,
        splits=("zones",),
    ),
    Column(
        "CONFIGURED",
        "whether the memory is configured",
        attrgetter("block.configured"),
        _yes,
        _nullable("boolean"),
        splits=("configured",),
    ),
    Column(
        "MEMMAP-ON-MEMORY",
        "whether the memory's struct pages live in it",
        attrgetter("block.memmap_on_memory"),
        _yes,
        _nullable("boolean"),
        splits=("memmap_on_memory",),
    ),
    Column(
        "STATUS",
        "the state, or disabled for memory not configured",
        attrgetter("block.status"),
        lambda status: "?" if status == "unknown" else plain(status),
        {"enum": ["online", "offline", "going-offline", "disabled", None]},
        typed=_typed_status,
        splits=("state", "configured"),
        extra=True,
    ),
    Column(
        "START",
        "address of the first byte",
        attrgetter("start"),
        _address,
        _ADDRESS,
        json=_same,
        number=True,
        extra=True,
    ),
    Column(
        "END",
        "address of the last byte",
        attrgetter("end"),
        _address,
        _ADDRESS,
        json=_same,
        number=True,
        extra=True,
    ),
    Column(
        "PHYS_DEVICE",
        "physical device; on s390 the storage increment",
        attrgetter("block.phys_device"),
        plain,
        _nullable("integer"),
        json=_same,
        splits=("phys_device",),
        extra=True,
    ),
    Column(
        "MEMMAP-SIZE",
        "size of the struct pages of the range",
        attrgetter("memmap_size"),
        rounded,
        _ADDRESS,
        number=True,
        extra=True,
    ),
    Column(
        "PERSISTENT",
        "as the memory layout says: yes, differs, or no entry",
        lambda words, found: words[found.first],
        plain,
        {"enum": ["yes", "differs", "no", None]},
        beside="layout",
        # NEEDED_FOR_LAYOUT of targets.py, which few listings import.
        reads=("state", "zones", "configured", "memmap_on_memory", "nodes", "node"),
        extra=True,
    ),
    Column(
        "DEVICE",
        "device that brought the memory (root)",
        lambda devices, found: devices.get(found.first),
        plain,
        _nullable("string"),
        beside="devices",
        extra=True,
    ),
    Column(
        "TIER",
        "memory tier of the node",
        lambda tiers, found: tiers.get(found.block.node),
        plain,
        _nullable("integer"),
        beside="tiers",
        reads=("node",),
        extra=True,
    ),
    _held("FREE", "free memory of the range (root)"),
    _held("MOVABLE", "memory of the range that can be moved (root)"),
    _held("UNMOVABLE", "memory of the range that cannot be moved (root)"),
    _held("HUGETLB", "huge pages of the range (root)"),
    _of_pages(
        "POISONED",
        "number of pages that failed (root)",
        lambda pages, found: pages.poisoned_pages(range(found.first, found.last + 1)),
        plain,
        _nullable("integer"),
        beside="poisoned",
    ),
    _of_pages(
        "CANDIDATE",
        "whether it can be set offline: yes, maybe, no",
        lambda pages, found: pages.candidate(found.first),
        plain,
        {"enum": ["yes", "maybe", "no", None]},
    ),
    _of_pages(
        "BLOCKERS",
        "what keeps it online, or may (root)",
        lambda pages, found: pages.blockers(found.first),
        ",".join,
        {"type": ["array", "null"], "items": {"type": "string"}},
        typed=lambda words: words or None,
    ),
)

HEADINGS = [column.heading for column in COLUMNS]
BY_NAME = {column.identifier: column for column in COLUMNS}

WHY = (
    *("block", "state", "zones", "candidate", "free", "movable", "unmovable", "hugetlb"),
    *("poisoned", "blockers"),
)
"""The columns of --why."""
DEFAULT = ("range", "size", "state", "removable", "block")
FIRMWARE_ONLY = ("configured", "memmap_on_memory")
"""Like util-linux, do not show these columns on a machine whose memory is never configured."""

STATUS, ZONES = PICTURED = ("status", "zones")
"""The columns that --map can draw memory by."""
