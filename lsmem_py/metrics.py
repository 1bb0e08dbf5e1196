"""`lsmem --format prometheus`: metrics in Prometheus' text exposition format.

They are for the textfile collector of node_exporter, which adds the name of the host:
https://prometheus.io/docs/instrumenting/exposition_formats.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lsmem_py.layout_targets import Persistence, persistence
from lsmem_py.options import Options
from lsmem_py.reports import Pieces, Report
from memory_hotplug.block import MemoryBlock, zone_of
from memory_hotplug.machine import Machine
from memory_hotplug.seen.kernel_log import failures_counted, log_of, poisoned_on
from memory_hotplug.seen.pages import page_size_of
from memory_hotplug.table import BlockTable

__all__ = ["REPORT"]

_ATTRIBUTES = ("state", "zones", "node", "nodes", "configured", "memmap_on_memory")
"""The attributes of blocks that are read."""

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels."""

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Measured(NamedTuple):
    """What the metrics are counted from."""

    table: BlockTable
    configurable: bool
    blocks: Counter[Labels]
    layout: Counter[str | None]
    """How many blocks are as the layout says; of None, if there is no layout."""
    persistence: Persistence
    poisoned: Mapping[int, Sequence[int]]
    """Block -> the addresses of its poisoned pages, by the kernel log."""
    failures: Mapping[int, int]
    """Block -> how often a page kept it online, by the kernel log."""


class Metric(NamedTuple):
    """A gauge, with a value for each combination of labels."""

    name: str
    help: str
    values: Callable[[Measured], Mapping[Labels, int]]
    """Nothing for a machine that does not have what is measured."""


def _count(measured: Measured, attribute: str) -> Mapping[Labels, int]:
    if not measured.configurable:
        return {}
    return {(): measured.table.columns[attribute].count(True)}


def _missing(measured: Measured) -> Mapping[Labels, int]:
    if None in measured.layout:
        return {}
    return {(): measured.persistence.missing * measured.table.block_size}


def _as_wanted(measured: Measured) -> Mapping[Labels, int]:
    if None in measured.layout:
        return {}
    # A layout that has become true has a 0, and not no value.
    return {
        (("as_wanted", word),): measured.layout[known]
        for known, word in (("yes", "yes"), ("differs", "differs"), ("no", "unlisted"))
    }


_METRICS = (
    Metric("block_size_bytes", "Size of a memory block.", lambda m: {(): m.table.block_size}),
    Metric("blocks", "Memory blocks by status, zone and node.", lambda m: m.blocks),
    Metric(
        "bytes",
        "Memory in blocks by status, zone and node.",
        lambda m: {labels: count * m.table.block_size for labels, count in m.blocks.items()},
    ),
    Metric(
        "configured_blocks", "Memory blocks that are configured.", lambda m: _count(m, "configured")
    ),
    Metric(
        "not_configured_bytes",
        "Memory that is not configured.",
        lambda m: {
            labels: m.table.columns["configured"].count(False) * m.table.block_size
            for labels in _count(m, "configured")
        },
    ),
    Metric(
        "memmap_on_memory_blocks",
        "Memory blocks with memmap on memory, configured or not.",
        lambda m: _count(m, "memmap_on_memory"),
    ),
    Metric(
        "layout_blocks", "Memory blocks by whether they are as the memory layout says.", _as_wanted
    ),
    Metric(
        "layout_missing_bytes",
        "Memory that the memory layout wants and the machine does not have.",
        _missing,
    ),
    Metric(
        "poisoned_pages",
        "Pages that failed, by the kernel log; of blocks that have some.",
        lambda m: {_block(number): len(pages) for number, pages in m.poisoned.items()},
    ),
    Metric(
        "failures_to_offline",
        "How often a page kept a block online, by the kernel log; of blocks that have failed.",
        lambda m: {_block(number): count for number, count in m.failures.items()},
    ),
)


def _block(number: int) -> Labels:
    return (("block", str(number)),)


def _labels(block: MemoryBlock) -> Labels:
    zone = zone_of(block)
    known = {
        "status": block.status,
        "zone": zone.value if zone else None,
        "node": str(block.node) if block.nodes else None,
    }
    return tuple((name, value) for name, value in known.items() if value is not None)


def _lines(metric: Metric, values: Mapping[Labels, int]) -> Iterator[str]:
    name = f"memory_hotplug_{metric.name}"
    yield f"# HELP {name} {metric.help}\n# TYPE {name} gauge\n"
    for labels, value in sorted(values.items()):
        pairs = ",".join(f'{label}="{text.translate(_ESCAPED)}"' for label, text in labels)
        yield f"{name}{f'{{{pairs}}}' if pairs else ''} {value}\n"


def _pieces(machine: Machine, _: Options) -> Pieces:
    table = machine.read(_ATTRIBUTES)
    blocks = Counter(_labels(block) for block in table.blocks())
    said = persistence(machine, table)
    layout = Counter(said.words.values())
    log, sizes = log_of(machine), (machine.block_size, page_size_of(machine.tree))
    measured = Measured(
        table,
        machine.configurable,
        blocks,
        layout,
        said,
        poisoned_on(machine) or {},
        failures_counted(log, *sizes),
    )
    found = ((metric, metric.values(measured)) for metric in _METRICS)
    return [line for metric, values in found if values for line in _lines(metric, values)], ()


REPORT = Report(_pieces)
