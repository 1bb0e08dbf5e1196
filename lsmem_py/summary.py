"""The lines below a listing: block size and totals."""

from collections.abc import Iterator

from memory_hotplug.machine import Machine
from memory_hotplug.ranges import BlockTable
from memory_hotplug.size import human


def lines(machine: Machine, table: BlockTable, bytes: bool) -> Iterator[str]:
    """The summary, each line with its newline. TABLE must hold ``state``."""

    def size(value: int) -> str:
        return str(value) if bytes else human(value)

    summed = [
        ("Memory block size:", size(machine.block_size)),
        ("Total online memory:", size(table.total(online=True))),
        ("Total offline memory:", size(table.total(online=False))),
    ]
    memmap = {"Y": "yes", "N": "no", "force": "force"}.get(
        machine.parameter("memmap_on_memory") or ""
    )
    if memmap:
        summed.append(("Memmap on memory parameter:", memmap))
    width = 15 if bytes else 5
    return (f"{label:<32} {value:>{width}}\n" for label, value in summed)
