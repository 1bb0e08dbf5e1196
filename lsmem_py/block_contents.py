"""What memory blocks hold: reading it, with progress, and a line for each block."""

from collections.abc import Iterator
from contextlib import nullcontext

from hotplug_cli.progress import Progress
from memory_hotplug.block import State
from memory_hotplug.machine import Machine
from memory_hotplug.seen.findings import BlockContents, contents_of
from memory_hotplug.table import BlockTable

__all__ = ["format_log", "read_contents"]


def read_contents(
    machine: Machine, table: BlockTable, *, whole: bool = False, show_progress: bool = False
) -> BlockContents:
    """Read what the online blocks of TABLE hold; WHOLE reads all pages however many there are."""
    online = sum(block.state is State.ONLINE for block in table.blocks())
    progress = Progress(online, machine.block_size)

    def began(count: int, number: int) -> None:
        progress.done(count)
        progress.begin(number)

    with progress if show_progress else nullcontext():
        return contents_of(machine, table, whole=whole, began=began)


def format_log(found: BlockContents, table: BlockTable) -> Iterator[str]:
    """What is known of single pages: a line for each block, with a newline."""
    for number in table.numbers:
        there, failed = found.contents.get(number), found.failed.get(number)
        if failed:
            yield f"memory block {number}: the kernel said: {failed.line}\n"
        for address in found.poisoned.get(number, ()):
            yield f"memory block {number}: the page at 0x{address:016x} is poisoned\n"
        if there and there.first:
            frame, kind = there.first
            address = frame * there.page_size
            yield f"memory block {number}: the page at 0x{address:016x} stays: {kind.value}\n"
