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
from memsim.kernel import Kernel, slots, virtio_mem
from memsim.kernel.devices import KINDS, Device
from memsim_py import messages, options, running

__all__ = ["plug_command", "unplug_command"]

_memory = option(
    "--memory",
    metavar="SIZE",
    callback=options.size,
    help="how much, in whole memory blocks; of virtio-mem, in multiples of 2M",
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
@option("--device", metavar="NAME", help="let this device of virtio-mem, such as virtio0, grow")
def plug_command(
    machine: Directory | Path,
    memory: int | None,
    node: int | None,
    kind: str | None,
    device: str | None,
) -> None:
    """The command memsim plug."""
    if device is not None and (node, kind) != (None, None):
        raise UsageError(messages.HOW_TO_RESIZE.of(option="--as" if node is None else "--node"))
    if isinstance(machine, Path):
        if device is not None:
            raise CommandError(messages.BY_SIZE_ONLY.of())
        running.plug(machine, memory, node, kind)
        return

    if device is not None:
        _resize(machine, device, memory, virtio_mem.grow)
        return

    simulated = machine.kernel().machine
    # The device that DLPAR has brought is nowhere in sysfs.
    kind = kind or (None if simulated.dlpar else KINDS[0])
    if kind == KINDS[0] and memory and memory % simulated.block_size:
        _plug_in_vain(machine, memory, node)

    def change(kernel: Kernel, size: int) -> range | None:
        blocks = slots.free(kernel, -(-size // simulated.block_size), node)
        if blocks:
            unplugged = len(blocks) * simulated.block_size - size
            slots.plug(kernel, blocks, kind, unplugged=unplugged)
        return blocks

    parts = kind == "virtio-mem"
    _change(machine, memory, node, change, messages.NO_ROOM, parts=parts)


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
@option(
    "--device",
    metavar="NAME",
    help="this device, such as dax0.0, as lsmem -o DEVICE has it; with --memory, a part of it",
)
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
    parts = device is not None and blocks is None and memory is not None
    others = (node, kind) if parts else (memory, node, kind)
    if len(named) > 1 or (named and any(given is not None for given in others)):
        raise UsageError(messages.HOW_TO_UNPLUG.of())
    if isinstance(machine, Path):
        if named:
            raise CommandError(messages.BY_SIZE_ONLY.of())
        running.unplug(machine, memory, node, kind)
    elif parts and device is not None:
        _resize(machine, device, memory, virtio_mem.shrink)
    elif named:
        _take_out(machine, blocks or device or "")
    else:

        def change(kernel: Kernel, size: int) -> range | None:
            found = slots.removable(kernel, size // kernel.machine.block_size, node, kind)
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
            blocks = _device(machine, kernel, blocks).blocks
        if reason := _obstacle(kernel, blocks):
            raise CommandError(messages.NOT_TAKEN.of(blocks=_ends(blocks), reason=reason))
        slots.unplug(kernel, blocks)
        taken.append(blocks)

    _carry_out(machine, change)
    click.echo(f"memory blocks {_ends(taken[0])}")


def _device(machine: Directory, kernel: Kernel, name: str) -> Device:
    """The device with a name. Raises CommandError."""
    found = next((one for one in kernel.state.devices if one.name == name), None)
    if found is None:
        quoted = shlex.quote(machine.root)
        raise CommandError(messages.NO_DEVICE.of(device=name, directory=quoted))
    return found


def _resize(
    machine: Directory,
    name: str,
    memory: int | None,
    do: Callable[[Kernel, Device, int], int],
) -> None:
    """Have a device of virtio-mem grow or shrink, and write what it has then."""
    has = missing = 0

    def change(kernel: Kernel) -> None:
        nonlocal has, missing
        device = _device(machine, kernel, name)
        if device.whole:
            raise CommandError(messages.NOT_IN_PARTS.of(device=name))
        size = _checked(kernel, memory, parts=True)
        missing = size - do(kernel, device, size)
        there = (one for one in kernel.state.devices if one.name == name)
        has = sum(virtio_mem.plugged(kernel, one) for one in there)

    machine.change(change)
    if missing:
        asked = messages.NOT_ALL_RESIZED.of(device=name, size=human(has), missing=human(missing))
        raise CommandError(asked)
    click.echo(f"{name}: {human(has)}")


def _checked(kernel: Kernel, memory: int | None, *, parts: bool) -> int:
    """A size of whole blocks, or of whole PARTS of blocks. Raises CommandError."""
    unit = virtio_mem.sub_block(kernel.machine) if parts else kernel.machine.block_size
    if memory and memory % unit == 0:
        return memory
    message = messages.HOW_MUCH_OF_PARTS if parts else messages.HOW_MUCH_MEMORY
    raise CommandError(message.of(size=human(unit)), *options.decimals())


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
    *,
    parts: bool = False,
) -> None:
    """Have DO change so many blocks, and write which ones."""
    found: list[range] = []

    def change(kernel: Kernel) -> None:
        size = _checked(kernel, memory, parts=parts)
        blocks = do(kernel, size)
        if blocks is None:
            where = "" if node is None else f" on node {node}"
            raise CommandError(missing.of(size=human(size), where=where))
        found.append(blocks)

    _carry_out(machine, change)
    click.echo(f"memory blocks {_ends(found[0])}")
