"""An x86 guest for tests: `with Guest(machine) as guest: guest.run("lsmem")`."""

import contextlib
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from guest import fetch, hardware, machine, modules, userland
from guest.arch import ARCHES
from guest.channel import Ended as Result
from guest.hardware import Hardware
from guest.judge import real
from guest.judge.comparison import Answer
from guest.judge.real import GuestSnapshot
from guest.judge.writes import JudgedWrite
from guest.machine import GuestError
from guest.plugging import DONE
from guest.qemu import QemuError as QmpError
from vm.machines import Dimm, Machine

__all__ = ["NEWEST", "Guest", "GuestError", "GuestSnapshot", "QmpError", "Result", "fetched"]

ARCH: Final = ARCHES["x86_64"]

NEWEST: Final = "sid"
"""The release of Debian whose kernel the tests boot."""

SOURCE: Final = Path(__file__).with_name("in_guest.py").read_text()

FORKED: Final = ("lsmem ", "chmem ")
"""Our commands, which the agent has imported: alone in a line they need no shell."""

SHELL: Final = frozenset(";|&$<>()*?`\"'\\\n")
"""With one of these characters, the shell must carry out a command."""

LIMIT: Final = 3.0
"""How long a write may take before a signal ends it; on Linux 7.2 some would never return."""

DIMM_SECONDS: Final = 60
"""How long the guest may take to take a DIMM in, or to let it go."""


def fetched(release: str) -> tuple[fetch.KernelPackage, fetch.Userland] | None:
    """What the guests are made of; None if it is not here."""
    kernel, programs = fetch.kernel(ARCH, release), fetch.userland(ARCH)
    return (kernel, programs) if kernel and programs else None


class Guest:
    """A running virtual machine; a context manager. One command at a time."""

    def __init__(
        self,
        described: Machine,
        file_system: Callable[[], bytes] | None = None,
        release: str = NEWEST,
    ) -> None:
        """`file_system` makes another one than memsim boot has."""
        self.machine = described
        self._file_system = file_system
        self._release = release
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _start(self) -> None:
        there = fetched(self._release)
        assert there is not None
        kernel, programs = there
        described = self.machine
        with tempfile.TemporaryDirectory(prefix="initrd-") as temporary:
            initrd = Path(temporary, "initrd")
            if self._file_system:
                initrd.write_bytes(self._file_system())
            else:
                wanted = (*ARCH.modules, *described.modules)
                found, _ = modules.in_order(kernel.modules or Path(), wanted)
                userland.file_system(ARCH, programs, fetch.cache(), found).write(initrd)
            accelerator = hardware.accelerator(ARCH, kernel.image, fetch.cache())
            wanted_hardware = Hardware(
                described.nodes, described.dimms, more=described.devices, room=described.most
            )
            line = hardware.command_line(ARCH, wanted_hardware, accelerator)
            words = [f"console={ARCH.console}", "quiet", "panic=-1", "memhp_default_state=offline"]
            words += [*ARCH.parameters, *described.parameters]
            booted = line.boots(kernel.image, initrd, " ".join(words))
            self._guest = self._undo.enter_context(machine.Guest(booted))
        self.release = self._guest.release
        """The kernel's release, as uname says it."""

    def restart(self) -> None:
        """Boot again: everything is as at the beginning."""
        self._undo.close()
        self.__enter__()

    def run(self, command: str | list[str], *, stdin: str = "", timeout: float = 60) -> Result:
        """Run a shell command, or a program with arguments, as root; killed after `timeout`
        seconds."""
        text = command if isinstance(command, str) else shlex.join(command)
        alone = text.startswith(FORKED) and SHELL.isdisjoint(text) and not self._file_system
        return self._guest.run(text.split() if alone else text, stdin=stdin, patience=timeout)

    def python(self, script: Path, stdin: str = "", *, timeout: float = 60) -> Result:
        """Run a Python file of the host in the guest."""
        path = f"/tmp/{script.name}"
        self.put(path, script.read_bytes())
        return self.run(["python3", path], stdin=stdin, timeout=timeout)

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file in the guest, and the directories above it."""
        self._guest.call(SOURCE, "put", path=path, data=data.decode("latin-1"), mode=mode)

    def snapshot(self) -> GuestSnapshot:
        """The guest's whole memory sysfs; not while a block is on its way offline."""
        return real.snapshot(self._guest)

    def replayed(self, writes: Sequence[JudgedWrite], limit: float = LIMIT) -> list[Answer]:
        """What the kernel makes of these writes; before them the condition at the start."""
        return real.replayed(self._guest, writes, limit)

    def tree(self, root: Path) -> Path:
        """The guest's memory sysfs as a directory of the host; `root` for use as --sysroot."""
        self.snapshot().write(root)
        return root

    def qmp(self, command: str, **arguments: Any) -> Any:
        """A command to QEMU; underscores in names of arguments stand for hyphens."""
        return self._guest.qemu.qmp(command, **arguments)

    def plug(self, dimm: Dimm) -> None:
        """Add a DIMM to the running machine; returns when its blocks are there, as they are to
        be."""
        before = self.snapshot()
        self.qmp("object-add", qom_type="memory-backend-ram", id=f"ram-{dimm.name}", size=dimm.size)
        self.qmp(
            "device_add", driver="pc-dimm", id=dimm.name, memdev=f"ram-{dimm.name}", node=dimm.node
        )
        size = int(before.files["/sys/devices/system/memory/block_size_bytes"], 16)
        expected = len(before.blocks("state")) + dimm.size // size
        end = time.monotonic() + DIMM_SECONDS
        while len(self.snapshot().blocks("state")) < expected:
            if time.monotonic() > end:
                raise GuestError(f"the blocks of {dimm.name} do not appear")
            time.sleep(0.05)
        # Adding goes on under the device hotplug lock until the blocks are online, if they are to
        # be; a write to a state waits for it. This one changes nothing: block 0 is online.
        self.run("echo online > /sys/devices/system/memory/memory0/state")

    def unplug(self, dimm: Dimm) -> None:
        """Ask the guest to let a DIMM go; it sets the blocks offline itself. Returns when it is
        out.

        Raises GuestError when the guest refuses, as it does where a block cannot go offline.
        """
        self.qmp("device_del", id=dimm.name)
        end = time.monotonic() + DIMM_SECONDS
        while time.monotonic() < end:
            for event in self._guest.qemu.events():
                if event["data"].get("device") == dimm.name and event["event"] == "DEVICE_DELETED":
                    self.qmp("object-del", id=f"ram-{dimm.name}")
                    return
                status = event["data"].get("info", {})
                if status.get("device") == dimm.name and status.get("status") not in DONE:
                    raise GuestError(f"the guest keeps {dimm.name}: _OST status {status['status']}")
            time.sleep(0.05)
        raise GuestError(f"nothing happened to {dimm.name}")
