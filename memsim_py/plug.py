"""The commands memsim plug and memsim unplug, for simulated machines and for guests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from hotplug_cli.click_command import GetoptCommand, option
from hotplug_cli.getopt import UsageError
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

_EXTENT = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)


def _extent(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> range | None:
    """The blocks of FIRST-LAST."""
    if text is None:
        return None
    ends = _EXTENT.fullmatch(text)
    if ends is None or int(ends[1]) > int(ends[2]):
        raise UsageError(messages.BLOCKS_EXPECTED.of(text=text))
    return range(int(ends[1]), int(ends[2]) + 1)


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

    simulated = machine.kernel().machine
    # The device that DLPAR has brought is nowhere in sysfs.
    kind = kind or (None if simulated.dlpar else KINDS[0])
    if kind == KINDS[0] and memory and memory % simulated.block_size:
        _plug_in_vain(machine, memory, node)

    def change(kernel: Kernel, count: int) -> range | None:
        blocks = slots.free(kernel, count, node)
        if blocks:
            slots.plug(kernel, blocks, kind)
        return blocks

    _change(machine, memory, node, change, messages.NO_ROOM)


def _plug_in_vain(machine: Directory, memory: int, node: int | None) -> NoReturn:
    """Plug a DIMM that the kernel does not add. Raises CommandError."""

    def change(kernel: Kernel) -> None:
        blocks = slots.free(kernel, -(-memory // kernel.machine.block_size), node)
        if blocks is None:
            where = "" if node is None else f" on node {node}"
            raise CommandError(messages.NO_ROOM.of(size=human(memory), where=where))
        slots.plug_refused(kernel, blocks[0], memory)

    machine.change(change)
    size = human(machine.kernel().machine.block_size)
    raise CommandError(messages.NOT_ADDED.of(size=size), *options.decimals())


@click.command("unplug", cls=GetoptCommand, help="Take plugged-in memory out of a machine.")
@running.argument
@_memory
@option("--device", metavar="NAME", help="this device, such as dax0.0, as lsmem -o DEVICE has it")
@option("--blocks", metavar="FIRST-LAST", callback=_extent, help="these memory blocks")
@_node
@_kind
def unplug_command(
    machine: Directory | Path,
    memory: int | None,
    device: str | None,
    blocks: range | None,
    node: int | None,
    kind: str | None,
) -> None:
    """The command memsim unplug."""
    named = [given for given in (device, blocks) if given is not None]
    if len(named) > 1 or (named and (memory, node, kind) != (None, None, None)):
        raise UsageError(messages.HOW_TO_UNPLUG.of())
    if isinstance(machine, Path):
        if named:
            raise CommandError(messages.BY_SIZE_ONLY.of())
        running.unplug(machine, memory, node, kind)
    elif named:
        _take_out(machine, blocks or device or "")
    else:

        def change(kernel: Kernel, count: int) -> range | None:
            found = slots.removable(kernel, count, node, kind)
            if found:
                slots.unplug(kernel, found)
            return found

        _change(machine, memory, node, change, messages.NOT_PLUGGED)


def _take_out(machine: Directory, which: range | str) -> None:
    """Take out a device, by its name, or blocks, and write which ones."""
    taken: list[range] = []

    def change(kernel: Kernel) -> None:
        blocks = which
        if isinstance(blocks, str):
            named = (one for one in kernel.state.devices if one.name == blocks)
            device = next(named, None)
            if device is None:
                quoted = shlex.quote(machine.root)
                raise CommandError(messages.NO_DEVICE.of(device=blocks, directory=quoted))
            blocks = range(device.first, device.last + 1)
        if reason := _obstacle(kernel, blocks):
            raise CommandError(messages.NOT_TAKEN.of(blocks=_ends(blocks), reason=reason))
        slots.unplug(kernel, blocks)
        taken.append(blocks)

    _carry_out(machine, change)
    click.echo(f"memory blocks {_ends(taken[0])}")


def _carry_out(machine: Directory, change: Callable[[Kernel], None]) -> None:
    """Change a machine. What the kernel does before it refuses to take a block out stays done."""
    try:
        machine.change(change)
    except slots.StaysError as error:
        raise CommandError(messages.STAYS.of(block=error.block, reason=error.strerror)) from error


def _obstacle(kernel: Kernel, blocks: range) -> str | None:
    """Why these blocks cannot be taken out; None if they can."""
    if not slots.plugged_in(kernel, blocks):
        return "not all of them were plugged in"
    online = next((block for block in blocks if not slots.can_go(kernel, block)), None)
    if online is not None:
        return f"block {online} is online"
    if not slots.can_be_cut(kernel, blocks):
        return "a DIMM and CXL memory go as a whole, and a device of virtio-mem from its end"
    return None


def _ends(blocks: range) -> str:
    return f"{blocks[0]}-{blocks[-1]}"


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

    _carry_out(machine, change)
    click.echo(f"memory blocks {_ends(found[0])}")
