"""A guest that memsim boot has booted, from another terminal: its DIR is its name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hotplug_cli.program import CommandError
from memory_hotplug.size import human
from memsim_py import messages, options

if TYPE_CHECKING:
    from guest.door import Reached

__all__ = ["archive", "argument", "is_guest", "plug", "shell", "unplug"]

FACTS: Final = "guest.json"
"""guest.door's name for the file that says what a guest is. It is in no simulated machine. The
single file of all commands has no guests, and must tell one from a machine all the same."""

CAPTURE: Final = """\
import sys, tempfile
from memsim.capture import capture_tree
with tempfile.TemporaryDirectory() as place:
    capture_tree(f"{place}/guest.tar.gz", "/")
    with open(f"{place}/guest.tar.gz", "rb") as file:
        sys.stdout.buffer.write(file.read())
"""
"""Runs in the guest."""


def is_guest(path: str) -> bool:
    """Whether a directory is, or was, that of a guest."""
    return os.path.exists(os.path.join(path, FACTS))


argument = options.directory_argument(
    lambda path: Path(path) if is_guest(path) else options.open_machine(path)
)
"""The argument DIR; the command gets the simulated machine that is there, or the path of a
guest."""


def plug(path: Path, memory: int | None, node: int | None, kind: str | None) -> None:
    """Plug a DIMM into a guest, or have its virtio-mem device bring more; write what has come."""
    from guest import plugging

    size = _size(memory)
    with _reached(path) as guest:
        _check(guest, kind)
        if kind == "virtio-mem":
            _resize(guest, size, node)
            return
        _write(plugging.plug(guest.monitor, guest.channel, size, node or 0))


def unplug(path: Path, memory: int | None, node: int | None, kind: str | None) -> None:
    """Take a DIMM out of a guest, or have its virtio-mem device take some back."""
    from guest import plugging

    size = _size(memory)
    with _reached(path) as guest:
        _check(guest, kind)
        if kind == "virtio-mem":
            _resize(guest, -size, node)
            return
        _write(plugging.unplug(guest.monitor, guest.channel, size, node))


def _size(memory: int | None) -> int:
    if not memory:
        raise CommandError(messages.HOW_MUCH_OF_A_GUEST.of(), *options.decimals())
    return memory


def _check(guest: Reached, kind: str | None) -> None:
    """Refuse what the guest's architecture has not."""
    from guest.arch import ARCHES

    if kind == "cxl":
        raise CommandError(messages.CANNOT_PLUG.of(reason=_CXL))
    option = "--virtio-mem" if kind == "virtio-mem" else "--dimm"
    if reason := ARCHES[guest.facts.arch].lacks.get(option):
        raise CommandError(messages.CANNOT_PLUG.of(reason=reason))


_CXL: Final = (
    "CXL memory comes with memsim boot --cxl; in the guest, cxl takes it and gives it back"
)


def _resize(guest: Reached, change: int, node: int | None) -> None:
    from guest import plugging

    if node:
        reason = "the virtio-mem device is on node 0"
        raise CommandError(messages.CANNOT_PLUG.of(reason=reason))
    wanted, has = plugging.resize(guest.monitor, change)
    if has != wanted:
        raise CommandError(messages.NOT_RESIZED.of(wanted=human(wanted), has=human(has)))
    click.echo(f"virtio-mem: {human(has)}")


def _write(blocks: range) -> None:
    click.echo(f"memory blocks {blocks[0]}-{blocks[-1]}")


def archive(path: str, target: Path) -> None:
    """Write an archive with the files about a guest's memory."""
    from guest.channel import Program

    def latin(program: Program) -> bytes:
        written = bytearray()

        def heard(message: dict[str, Any]) -> None:
            written.extend(message.get("out", "").encode("latin-1"))

        done = program.finish(heard=heard)
        if done.status != 0:
            raise CommandError(messages.CANNOT_CAPTURE.of(reason=done.stderr.strip()))
        return bytes(written)

    with _reached(Path(path)) as guest:
        target.write_bytes(latin(guest.channel.start(["python3", "-c", CAPTURE])))


def shell(path: str, command: Sequence[str]) -> int:
    """Run a shell or a command in a guest; return its status."""
    from guest import terminal

    with _reached(Path(path)) as guest:
        return terminal.run(guest.channel, command or ["sh"])


@contextmanager
def _reached(path: Path) -> Iterator[Reached]:
    from guest.door import GoneError, reach
    from guest.plugging import DeviceError

    try:
        with reach(path) as guest:
            yield guest
    except GoneError as error:
        raise CommandError(messages.GUEST_GONE.of(directory=path, reason=error)) from error
    except DeviceError as error:
        raise CommandError(messages.CANNOT_PLUG.of(reason=error)) from error
