"""The lines below a listing: block size and totals."""

from collections.abc import Callable, Iterator

from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable

__all__ = ["READS", "format_summary"]

READS = ("state",)
"""The attributes that the totals need."""


def format_summary(
    machine: Machine, table: BlockTable, format_size: Callable[[int], str], width: int
) -> Iterator[str]:
    """The lines of the summary, with newlines, and sizes right-aligned to WIDTH.

    TABLE must have the attributes of READS.
    """
    summed = [
        ("Memory block size:", format_size(machine.block_size)),
        ("Total online memory:", format_size(table.total(online=True))),
        ("Total offline memory:", format_size(table.total(online=False))),
    ]
    found = machine.parameter("memmap_on_memory") or ""
    # Like util-linux, look at how the word begins.
    for word, memmap in (("Y", "yes"), ("N", "no"), ("force", "force")):
        if found.startswith(word):
            summed.append(("Memmap on memory parameter:", memmap))
    return (f"{label:<32} {value:>{width}}\n" for label, value in summed)
