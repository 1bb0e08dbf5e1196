"""`lsmem --format prometheus`: metrics in Prometheus' text exposition format.

They are for the textfile collector of node_exporter, which adds the name of the host:
https://prometheus.io/docs/instrumenting/exposition_formats.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lsmem_py import layouts
from memory_hotplug.block import MemoryBlock, zone_of
from memory_hotplug.machine import Machine

__all__ = ["ATTRIBUTES", "Metric", "format_metrics", "metrics"]

ATTRIBUTES = ("state", "zones", "node", "nodes", "configured", "memmap_on_memory")
"""The attributes of blocks that are read."""

Labels = tuple[tuple[str, str], ...]
"""Names and values of labels."""

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Metric(NamedTuple):
    """A gauge, with a value for each combination of labels."""

    name: str
    help: str
    values: Mapping[Labels, int]


def metrics(machine: Machine) -> list[Metric]:
    """What is measured of a machine. What it does not have has no metric.

    Raises the errors of Machine and LayoutError, and OSError if the layout cannot be read.
    """
    table = machine.read(ATTRIBUTES)
    size = machine.block_size
    blocks = Counter(_labels(block) for block in table.blocks())
    found = [
        Metric("memory_hotplug_block_size_bytes", "Size of a memory block.", {(): size}),
        Metric("memory_hotplug_blocks", "Memory blocks by status, zone and node.", blocks),
        Metric(
            "memory_hotplug_bytes",
            "Memory in blocks by status, zone and node.",
            {labels: count * size for labels, count in blocks.items()},
        ),
    ]
    if machine.configurable:
        for name, help_ in (
            ("configured", "Memory blocks that are configured."),
            ("memmap_on_memory", "Memory blocks with memmap on memory, configured or not."),
        ):
            count = table.columns[name].count(True)
            found.append(Metric(f"memory_hotplug_{name}_blocks", help_, {(): count}))
    words = Counter(layouts.persistence(machine, table))
    if None not in words:
        # A layout that has become true has a 0, and not no value.
        found.append(
            Metric(
                "memory_hotplug_layout_blocks",
                "Memory blocks by whether they are as the memory layout says.",
                {(("as_wanted", str(word)),): words[word] for word in ("yes", "differs", "no")},
            )
        )
    return found


def _labels(block: MemoryBlock) -> Labels:
    zone = zone_of(block)
    known = {
        "status": block.status,
        "zone": zone.value if zone else None,
        "node": str(block.node) if block.nodes else None,
    }
    return tuple((name, value) for name, value in known.items() if value is not None)


def format_metrics(found: list[Metric]) -> Iterator[str]:
    """The lines, with newlines."""
    for metric in found:
        yield f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n"
        for labels, value in sorted(metric.values.items()):
            pairs = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels)
            yield f"{metric.name}{f'{{{pairs}}}' if pairs else ''} {value}\n"
