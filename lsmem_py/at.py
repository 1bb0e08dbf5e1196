"""`lsmem --at`: which memory block holds an address, and what it is; or what is there instead."""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from hotplug_cli.documents import Key, array_of, filled, object_of
from hotplug_cli.program import standard_input
from lsmem_py import formats
from lsmem_py.columns import BY_NAME, Column, plain
from lsmem_py.options import Options
from lsmem_py.reports import Pieces, Report, document, schema_of
from lsmem_py.sources import Sources
from memory_hotplug.block import MemoryBlock
from memory_hotplug.machine import Machine
from memory_hotplug.seen.error_log import MOST, Mentioned, addresses_in
from memory_hotplug.seen.iomem import Region
from memory_hotplug.seen.pages import page_size_of
from memory_hotplug.table import MemoryRange

__all__ = ["REPORT"]

_LONGEST = 1 << 16
"""Bytes of a line of standard input; the rest of a longer one counts as another line."""
_ATTRIBUTES = ("state", "configured", "node", "nodes", "zones")


class FoundAt(NamedTuple):
    """An address, and what is there."""

    address: int
    mentioned: Mentioned | None
    """Where standard input names it."""
    found: MemoryRange | None
    """The block that holds it."""
    device: str | None
    tier: int | None
    there: Sequence[str]
    """The regions of the map of the address space, the outermost first; none if not known."""


def _of_block(name: str) -> Column:
    """A column of the listing, empty where there is no block."""
    column = BY_NAME[name]
    return column._replace(
        value=lambda place: place.found and column.value(place.found),
        text=lambda value: "" if value is None else column.text(value),
        typed=lambda value: None if value is None else column.typed(value),
        schema={"anyOf": [column.schema, {"type": "null"}]},
        right=True,
    )


def _beside(name: str) -> Column:
    """A column of the listing whose value is a field of FoundAt."""
    return BY_NAME[name]._replace(value=attrgetter(name), beside="")


def _mentioned(field: str, heading: str, help_: str, schema: dict[str, Any]) -> Column:
    return Column(
        heading,
        help_,
        lambda place: getattr(place.mentioned, field, None),
        plain,
        schema,
        extra=True,
    )


_NUMBER = {"type": ["integer", "null"], "minimum": 1}
_COLUMNS = (
    BY_NAME["start"]._replace(
        heading="ADDRESS", help="physical address", value=attrgetter("address")
    ),
    _of_block("block")._replace(
        help="number of the memory block that holds it",
        value=lambda place: place.found and place.found.first,
        text=plain,
        typed=lambda number: number,
        schema={"type": ["integer", "null"], "minimum": 0},
    ),
    _of_block("range")._replace(help="start and end address of the block"),
    _of_block("status"),
    _of_block("node"),
    _of_block("zones"),
    _beside("device"),
    _beside("tier"),
    Column(
        "THERE",
        "what is at the address, the outermost region first (root)",
        attrgetter("there"),
        "/".join,
        {"type": "array", "items": {"type": "string"}},
        typed=list,
        right=False,
    ),
)
_OF_LOG = (
    _mentioned(
        "event",
        "EVENT",
        "what the log says has happened at the address",
        {"type": ["string", "null"]},
    ),
    _mentioned("line", "LINE", "number of the first line that names it", _NUMBER),
    _mentioned("times", "COUNT", "how many lines name it", _NUMBER),
)
"""The columns of --at -, before the others."""


def _key(column: Column) -> Key:
    """The key of a column in the object of an address."""

    def value(place: FoundAt) -> Any:
        return column.typed(column.value(place))

    return Key(column.identifier, column.help, column.schema, value)


_KEYS = [_key(column) for column in (*_COLUMNS, *_OF_LOG)]
_ROWS = (
    Key(
        "addresses",
        "the addresses that were asked for, or that standard input names",
        array_of(object_of(_KEYS)),
        lambda places: [filled(_KEYS, place) for place in places],
    ),
)


def _pieces(machine: Machine, options: Options) -> Pieces:
    page_size = page_size_of(machine.tree)
    asked: list[tuple[int, Mentioned | None]] = [
        (number * page_size if is_page else number, None) for number, is_page in options.addresses
    ]
    from_log = options.at == "-"
    if from_log:
        asked = [(one.address, one) for one in addresses_in(_standard_input(), page_size)]
    too_many = len(asked) > MOST
    del asked[MOST:]
    numbers = {address // machine.block_size for address, _ in asked}
    table = machine.read(_ATTRIBUTES, numbers.intersection(machine.read(()).numbers))
    sources = Sources(machine, table)
    blocks = {block.number: block for block in table.blocks()}
    places = [
        _place(address, said, blocks.get(address // machine.block_size), sources)
        for address, said in asked
    ]
    unknown = list(sources.unknown)
    if not sources.regions and any(place.found is None for place in places):
        from lsmem_py import messages

        unknown.append(messages.HOLES_UNKNOWN.of())
    if from_log and (too_many or not places):
        from lsmem_py import messages

        unknown.append(
            messages.MANY_ADDRESSES.of(count=MOST) if too_many else messages.NO_ADDRESS.of()
        )
    if options.json:
        return [_document(places)], unknown
    columns = (*(_OF_LOG if from_log else ()), *_COLUMNS)
    values = [column.value for column in columns]
    listing = formats.Listing(columns, values, places, options.bytes, not options.noheadings)
    return formats.named(options.format_name)(listing), unknown


def _standard_input() -> Iterator[str]:
    log = standard_input()
    while line := log.readline(_LONGEST):
        yield line.decode(errors="replace")


def _place(
    address: int, said: Mentioned | None, block: MemoryBlock | None, sources: Sources
) -> FoundAt:
    there = _innermost(address, sources.regions)
    if block is None:
        return FoundAt(address, said, None, None, None, there)
    found = MemoryRange(block.number, block.number, sources.table.block_size, block)
    tier = None if block.node is None else sources.tiers.get(block.node)
    return FoundAt(address, said, found, sources.devices.get(block.number), tier, there)


def _innermost(address: int, regions: Sequence[Region]) -> Sequence[str]:
    # Each region comes before those that are in it.
    inside = [region.names for region in regions if region.start <= address <= region.end]
    return inside[-1] if inside else ()


def _document(places: Sequence[FoundAt]) -> str:
    return document(_ROWS, places)


def _schema() -> dict[str, Any]:
    return schema_of("lsmem --at --json", _ROWS)


REPORT = Report(_pieces, _schema)
