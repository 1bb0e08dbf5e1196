"""The commands memsim plug and memsim unplug, for simulated machines and for guests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from hotplug_cli.click_command import GetoptCommand, option
from hotplug_cli.message import Message
from hotplug_cli.program import CommandError
from memory_hotplug.size import human
from memsim.directory import Directory
from memsim.kernel import Kernel, slots
from memsim.kernel.devices import KINDS
from memsim_py import messages, options, running

__all__ = ["plug_command", "unplug_command"]

_memory = option(
    "--memory", metavar="SIZE", callback=options.size, help="how much, in whole memory blocks"
)
_node = option("--node", metavar="N", type=int, help="only on this node")

_kind = option(
    "--as", "kind", type=click.Choice(KINDS), metavar="|".join(KINDS), help="the kind of device"
)


@click.command("plug", cls=GetoptCommand, help="Plug memory into a running machine.")
@running.argument
@_memory
@_node
@_kind
def plug_command(
    machine: Directory | Path, memory: int | None, node: int | None, kind: str | None
) -> None:
    """The command memsim plug."""
    if isinstance(machine, Path):
        running.plug(machine, memory, node, kind)
        return

    def change(kernel: Kernel, count: int) -> range | None:
        blocks = slots.free(kernel, count, node)
        if blocks:
            # The device that DLPAR has brought is nowhere in sysfs.
            slots.plug(kernel, blocks, kind or (None if kernel.machine.dlpar else KINDS[0]))
        return blocks

    _change(machine, memory, node, change, messages.NO_ROOM)


@click.command(
    "unplug", cls=GetoptCommand, help="Take plugged-in memory that is offline out of a machine."
)
@running.argument
@_memory
@_node
@_kind
def unplug_command(
    machine: Directory | Path, memory: int | None, node: int | None, kind: str | None
) -> None:
    """The command memsim unplug."""
    if isinstance(machine, Path):
        running.unplug(machine, memory, node, kind)
        return

    def change(kernel: Kernel, count: int) -> range | None:
        blocks = slots.removable(kernel, count, node, kind)
        if blocks:
            slots.unplug(kernel, blocks)
        return blocks

    _change(machine, memory, node, change, messages.NOT_PLUGGED)


def _change(
    machine: Directory,
    memory: int | None,
    node: int | None,
    do: Callable[[Kernel, int], range | None],
    missing: Message,
) -> None:
    """Have DO change so many blocks, and write which ones."""
    found: list[range] = []

    def change(kernel: Kernel) -> None:
        size = kernel.machine.block_size
        if not memory or memory % size:
            how_much = messages.HOW_MUCH_MEMORY.of(size=human(size))
            raise CommandError(how_much, *options.decimals())
        blocks = do(kernel, memory // size)
        if blocks is None:
            where = "" if node is None else f" on node {node}"
            raise CommandError(missing.of(size=human(memory), where=where))
        found.append(blocks)

    machine.change(change)
    click.echo(f"memory blocks {found[0][0]}-{found[0][-1]}")
