"""`lsmem --holes`: what has no memory block, between the blocks and beyond the last one."""

from collections.abc import Iterator, Sequence

from hotplug_cli.sizes import rounded
from lsmem_py import formats, listings
from lsmem_py.columns import BY_NAME, Column
from lsmem_py.options import Options
from lsmem_py.reports import Pieces, Report
from lsmem_py.sources import Sources
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.machine import Machine
from memory_hotplug.runs import gaps
from memory_hotplug.seen.iomem import Region
from memory_hotplug.table import BlockTable, MemoryRange

__all__ = ["REPORT"]


def _holes(table: BlockTable) -> list[MemoryRange]:
    """The numbers between blocks that have no block, as ranges, ascending."""
    runs = gaps(table.numbers, 0, table.numbers[-1])
    return [_hole(first, last, table.block_size) for first, last in runs]


def _hole(first: int, last: int, block_size: int) -> MemoryRange:
    block = MemoryBlock(first, State.UNKNOWN, zones=None, configured=None, memmap_on_memory=None)
    return MemoryRange(first, last, block_size, block)


_COLUMNS = (
    *(BY_NAME[name] for name in ("range", "size", "block")),
    Column(
        "THERE",
        "what is there instead, and how much of it (root)",
        lambda regions, hole: _contents(hole, regions),
        ", ".join,
        {"type": ["array", "null"], "items": {"type": "string"}},
        beside="in_holes",
        right=False,
    ),
)


def _pieces(machine: Machine, options: Options) -> Pieces:
    format_ = formats.named(options.format_name)
    table = machine.read(())
    sources = Sources(machine, table)
    found = _holes(table)
    if sources.beyond:
        last = max(region.end for region in sources.beyond) // table.block_size
        found.append(_hole(table.numbers[-1] + 1, last, table.block_size))
    values = [sources.value(column) for column in _COLUMNS]
    listing = formats.Listing(_COLUMNS, values, found, options.bytes, not options.noheadings)
    unknown = []
    if found and not sources.regions:
        from lsmem_py import messages

        unknown.append(messages.HOLES_UNKNOWN.of())
    return format_(listing), unknown


REPORT = Report(
    _pieces,
    lambda: listings.schema("lsmem --holes --json", _COLUMNS),
    lambda: listings.line_schema("a line of lsmem --holes --format jsonl", _COLUMNS),
)


def _contents(hole: MemoryRange, regions: Sequence[Region]) -> list[str]:
    """The regions in a hole, the one with the most bytes first; empty where nothing is known."""
    sizes: dict[str, int] = {}
    for name, size in _parts(hole, regions):
        sizes[name] = sizes.get(name, 0) + size
    descending = sorted(sizes.items(), key=lambda item: -item[1])
    return [f"{name} {rounded(size)}" for name, size in descending]


def _parts(hole: MemoryRange, regions: Sequence[Region]) -> Iterator[tuple[str, int]]:
    """The outermost regions that reach into a hole, and how many bytes of each are in it."""
    for region in regions:
        size = min(region.end, hole.end) + 1 - max(region.start, hole.start)
        if len(region.names) == 1 and size > 0:
            yield region.name, size
