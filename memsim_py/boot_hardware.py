"""memsim boot of a machine whose memory is QEMU's: with DIMMs, virtio-mem and CXL devices."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hotplug_cli.program import CommandError
from memory_hotplug.size import human
from memsim_py import options
from memsim_py.boot_needs import fetched, have_qemu, refusal
from safe_files.signals import ended_in_order

if TYPE_CHECKING:
    from guest.arch import Arch
    from guest.hardware import Hardware
    from guest.machine import Guest

GIB: Final = 1 << 30


def boot(arch: Arch, command: Sequence[str] | None, **given: Any) -> int:
    """Boot, and run a shell or a command; return its status."""
    from guest import door, terminal

    where = Path(given["directory"]) if given["directory"] else None
    with (
        ended_in_order(),
        door.directory(where) as its,
        booted(arch, given, its) as guest,
    ):
        if not command:
            _greet(arch, described(arch, given), guest.release, its)
        with (
            guest.answering(),
            door.Door(its, guest.channel, door.GuestFacts(arch.name, guest.release)) as others,
        ):
            return terminal.run(guest.channel, command or ["sh"], others)


@contextmanager
def booted(arch: Arch, given: Mapping[str, Any], its: Path | None = None) -> Iterator[Guest]:
    """A guest as the options describe it; its sockets are in the directory `its`, or in one of its
    own. Raises CommandError and what `as_sentences` knows."""
    from guest import fetch, hardware, userland
    from guest.machine import Guest

    wanted = described(arch, given)
    have_qemu(arch)
    if reason := hardware.too_old(arch, wanted):
        raise CommandError(refusal(reason))
    programs, kernel = fetched(arch, given)
    image = kernel.image if kernel else Path(given["kernel"])
    directory = kernel.modules if kernel else given["modules"] and Path(given["modules"])
    files = userland.file_system(arch, programs, fetch.cache(), modules(arch, wanted, directory))
    accelerator = hardware.accelerator(arch, image, fetch.cache())
    line = hardware.command_line(arch, wanted, accelerator)
    words = parameters(arch, accelerator, given["auto_online"] or "offline", given["append"])
    with tempfile.TemporaryDirectory(prefix="initrd-") as temporary:
        initrd = Path(temporary, "initrd")
        files.write(initrd)
        with Guest(line.boots(image, initrd, words), directory=its) as guest:
            initrd.unlink()
            yield guest


def described(arch: Arch, given: Mapping[str, Any]) -> Hardware:
    """The hardware that the options describe. Raises CommandError."""
    from guest.hardware import Dimm, Hardware

    memory, nodes = given["memory"] or GIB, given["nodes"] or 1
    if memory % (nodes * arch.block) and not given["kernel"]:
        raise CommandError(
            refusal(f"each node has whole memory blocks, which are of {human(arch.block)}"),
            *options.decimals(),
        )
    for name in ("dimms", "virtio_mem", "cxl"):
        sizes = given[name] if name == "dimms" else [given.get(name) or 0]
        if any(size % arch.block or (name == "dimms" and not size) for size in sizes):
            whole = f"a device brings whole memory blocks, which are of {human(arch.block)}"
            raise CommandError(refusal(whole), *options.decimals())
    return Hardware(
        nodes=(memory // nodes,) * nodes,
        dimms=tuple(
            Dimm(f"dimm{number}", size, number % nodes)
            for number, size in enumerate(given["dimms"])
        ),
        virtio_mem=given["virtio_mem"] or 0,
        cxl=given.get("cxl") or 0,
        cpus=given["cpus"] or 1,
    )


def modules(arch: Arch, wanted: Hardware, directory: Path | None) -> dict[str, bytes]:
    """The modules to load at boot, in their order. Raises CommandError where the kernel lacks one
    that a device needs."""
    from guest.hardware import CXL_MODULES
    from guest.modules import in_order

    if directory is None:
        return {}
    needed = set(CXL_MODULES[:4] if wanted.cxl else ())
    needed |= {"virtio_mem"} if wanted.virtio_mem else set()
    more = CXL_MODULES if wanted.cxl else ()
    found, absent = in_order(directory, (*arch.modules, *more))
    if missing := sorted(needed & absent):
        raise CommandError(refusal(f"this kernel has no module {', '.join(missing)}"))
    return found


def parameters(arch: Arch, accelerator: str, auto_online: str, more: str | None) -> str:
    """The kernel's command line."""
    words = [f"console={arch.console}", "panic=-1", f"memhp_default_state={auto_online}"]
    words += arch.parameters if accelerator == "tcg" else ()
    return " ".join([*words, *([more] if more else [])])


def _greet(arch: Arch, wanted: Hardware, release: str, its: Path) -> None:
    parts = [f"{human(sum(wanted.nodes))} at boot"]
    parts += [f"{human(sum(each.size for each in wanted.dimms))} in DIMMs"] if wanted.dimms else []
    parts += [f"{human(wanted.virtio_mem)} of virtio-mem"] if wanted.virtio_mem else []
    parts += [f"{human(wanted.cxl)} of CXL"] if wanted.cxl else []
    plug = f"memsim plug {its} --memory {human(arch.block)}, memsim unplug, "
    click.echo(
        f"This shell is on Linux {release} for {arch.name}: {', '.join(parts)}.\n"
        "The kernel is real (try: lsmem; util-linux's is lsmem.ul). From another terminal:\n"
        f"{'' if '--dimm' in arch.lacks else plug}memsim capture -s {its}\n"
        "Leave with exit, Ctrl-D or Ctrl-]."
    )
