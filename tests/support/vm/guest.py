"""A virtual machine with a real kernel: `with Guest(machine) as guest: guest.run("lsmem")`.

The kernel is Debian's, the file system is `initramfs`, and commands go to `agent` in the guest over
the second serial port: an ISA serial line works with any kernel, without a module.
"""

import base64
import contextlib
import functools
import json
import os
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vm import initramfs
from vm.agent import read_frame, write_frame
from vm.machines import Dimm, Machine

BOOT_SECONDS = 120
"""How long a guest may take to answer for the first time; about four are usual under emulation."""

KVM_SECONDS = 10
"""How long a kernel may take under KVM to find that it has no file system; about one is usual."""

CPU = "max,la57=off"
"""Whatever this environment's programs were built for; five-level page tables would only cost
time."""

OST_NO_REFUSAL = {0, 0x84}
"""What the guest's _OST method says of an ejection that is done, or in progress (ACPI 6.5, table
6.9)."""

DIMM_SECONDS = 20
"""How long the guest may take to take a DIMM in, or to let it go."""


class GuestError(Exception):
    """The machine did not boot, or stopped answering; the end of its console is in the message."""


class QmpError(Exception):
    """QEMU refused a command."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command in the guest gave; `status` is None when it was killed because its time was
    up."""

    status: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The memory sysfs of a guest: text of every file and target of every link, by absolute
    path."""

    files: dict[str, str]
    links: dict[str, str]

    def write(self, root: Path) -> None:
        """Put it below a directory of the host, as a captured tree for `--sysroot`."""
        for path, text in self.files.items():
            file = root / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode(errors="surrogateescape"))
        for path, target in self.links.items():
            link = root / path.removeprefix("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def blocks(self, attribute: str) -> dict[int, str]:
        """An attribute of every memory block, stripped, by block number."""
        prefix, suffix = "/sys/devices/system/memory/memory", f"/{attribute}"
        found = {
            int(path[len(prefix) : -len(suffix)]): text.strip()
            for path, text in self.files.items()
            if path.startswith(prefix) and path.endswith(suffix)
        }
        return dict(sorted(found.items()))


def cache_directory() -> Path:
    """Where the kernel and the file system are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "memory-hotplug-tools"


def find_kernel() -> Path | None:
    """The newest kernel image: one that tests/vm/fetch-kernel has unpacked, else one installed
    here."""
    for directory in (cache_directory() / "boot", Path("/boot")):
        images = [image for image in directory.glob("vmlinuz-*") if os.access(image, os.R_OK)]
        if images:
            return max(images, key=lambda image: image.stat().st_mtime)
    return None


class Guest:
    """A running virtual machine; a context manager. One command at a time."""

    def __init__(
        self,
        machine: Machine,
        accelerator: str | None = None,
        file_system: Callable[[], bytes] | None = None,
    ) -> None:
        self.machine = machine
        self._file_system = file_system or (lambda: initramfs.make(cache_directory()))
        self.accelerator = accelerator or best_accelerator()
        self.release = ""
        """The kernel's release, as uname says it."""
        self.boot_seconds = 0.0
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def _start(self) -> None:
        begun = time.monotonic()
        self._directory = Path(
            self._undo.enter_context(tempfile.TemporaryDirectory(prefix="guest-"))
        )
        image = self._directory / "initramfs"
        image.write_bytes(self._file_system())
        with contextlib.ExitStack() as listening:
            sockets = [
                listening.enter_context(socket.socket(socket.AF_UNIX)) for _ in ("agent", "qmp")
            ]
            for name, listener in zip(("agent", "qmp"), sockets, strict=True):
                listener.bind(str(self._directory / name))
                listener.listen()
                listener.settimeout(BOOT_SECONDS)
            self._process = subprocess.Popen(
                _command_line(self.machine, self.accelerator, self._directory),
                stdin=subprocess.DEVNULL,
                stdout=listening.enter_context((self._directory / "qemu.log").open("wb")),
                stderr=subprocess.STDOUT,
            )
            self._undo.callback(self._stop)
            agent, qmp = (self._accept(listener) for listener in sockets)
        self._agent = agent
        self._answers = self._undo.enter_context(agent.makefile("rb"))
        self._requests = self._undo.enter_context(agent.makefile("wb"))
        self._qmp = self._undo.enter_context(qmp.makefile("rwb"))
        self._events: list[dict[str, Any]] = []
        self._read_qmp()
        self.qmp("qmp_capabilities")
        self._agent.settimeout(BOOT_SECONDS)
        self.release = self._receive()["ready"]
        self.boot_seconds = time.monotonic() - begun

    def _accept(self, listener: socket.socket) -> socket.socket:
        """QEMU's connection; it makes them as soon as it starts, so a QEMU that ended has refused
        its options."""
        listener.settimeout(0.5)
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self._process.poll() is not None:
                    raise self._failure("QEMU ended") from None
            else:
                return self._undo.enter_context(connection)

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _failure(self, what: str) -> GuestError:
        tails = [
            log.read_text(errors="replace")[-3000:]
            for name in ("qemu.log", "console")
            if (log := self._directory / name).exists()
        ]
        return GuestError("\n".join([what, *tails]))

    def restart(self) -> None:
        """Boot again: everything is as at the beginning."""
        self._undo.close()
        self.__enter__()

    def console(self) -> str:
        """What the kernel has written on its console so far."""
        return (self._directory / "console").read_text(errors="replace")

    def _receive(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = read_frame(self._answers)
        except (OSError, EOFError) as error:
            raise self._failure(f"the guest does not answer ({error!r})") from error
        if "error" in answer:
            raise GuestError(answer["error"])
        return answer

    def _ask(self, patience: float, request: str, **message: Any) -> dict[str, Any]:
        self._agent.settimeout(patience)
        write_frame(self._requests, {"request": request, **message})
        return self._receive()

    def run(self, command: str | list[str], *, stdin: str = "", timeout: float = 60) -> Result:
        """Run a shell command, or a program with arguments, as root; killed after `timeout`
        seconds."""
        text = command if isinstance(command, str) else shlex.join(command)
        # The guest watches the time; this side allows for its being slow, and ends a guest that
        # hangs.
        answer = self._ask(timeout + 60, "run", command=text, stdin=stdin, timeout=timeout)
        return Result(**answer)

    def python(self, script: Path, stdin: str = "", *, timeout: float = 60) -> Result:
        """Run a Python file of the host in the guest."""
        path = f"/tmp/{script.name}"
        self.put(path, script.read_bytes())
        return self.run(["python3", path], stdin=stdin, timeout=timeout)

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file in the guest, and the directories above it."""
        self._ask(60, "put", path=path, data=base64.b64encode(data).decode(), mode=mode)

    def snapshot(self) -> Snapshot:
        """The guest's whole memory sysfs.

        Not while a block is on its way offline: reading its `online` waits for the end of that
        (drivers/base/core.c, online_show takes the device lock).
        """
        return Snapshot(**self._ask(60, "snapshot"))

    def tree(self, root: Path) -> Path:
        """The guest's memory sysfs as a directory of the host; `root` for use as --sysroot."""
        self.snapshot().write(root)
        return root

    def _read_qmp(self) -> dict[str, Any]:
        line = self._qmp.readline()
        if not line:
            raise self._failure("QEMU ended")
        message: dict[str, Any] = json.loads(line)
        return message

    def qmp(self, command: str, **arguments: Any) -> Any:
        """A command to QEMU; underscores in names of arguments stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._qmp.write(json.dumps({"execute": command, "arguments": named}).encode() + b"\n")
        self._qmp.flush()
        while "return" not in (answer := self._read_qmp()):
            if "error" in answer:
                raise QmpError(answer["error"]["desc"])
            self._events.append(answer)
        return answer["return"]

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
                raise self._failure(f"the blocks of {dimm.name} do not appear")
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
            self.qmp("query-status")  # collects the events that have come
            events, self._events = self._events, []
            for event in events:
                if event["data"].get("device") == dimm.name and event["event"] == "DEVICE_DELETED":
                    self.qmp("object-del", id=f"ram-{dimm.name}")
                    return
                status = event["data"].get("info", {})
                if status.get("device") == dimm.name and status.get("status") not in OST_NO_REFUSAL:
                    raise GuestError(f"the guest keeps {dimm.name}: _OST status {status['status']}")
            time.sleep(0.05)
        raise self._failure(f"nothing happened to {dimm.name}")


def _command_line(machine: Machine, accelerator: str, directory: Path) -> list[str]:
    """QEMU for a machine, its sockets and its console in a directory."""
    kernel = find_kernel()
    memory = sum(machine.nodes)
    parameters = [
        "console=ttyS0",
        "quiet",
        "panic=-1",
        "mitigations=off",
        "tsc=unstable",
        *machine.parameters,
    ]
    line = ["qemu-system-x86_64", "-accel", accelerator, "-machine", "pc", "-cpu", CPU]
    line += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    line += ["-m", f"{memory >> 20}M,slots={machine.slots},maxmem={machine.most >> 20}M"]
    line += [
        "-kernel",
        str(kernel),
        "-initrd",
        str(directory / "initramfs"),
        "-append",
        " ".join(parameters),
    ]
    line += ["-serial", f"file:{directory / 'console'}"]
    line += ["-chardev", f"socket,id=agent,path={directory / 'agent'}", "-serial", "chardev:agent"]
    line += [
        "-chardev",
        f"socket,id=qmp,path={directory / 'qmp'}",
        "-mon",
        "chardev=qmp,mode=control",
    ]
    for number, size in enumerate(machine.nodes):
        line += ["-object", f"memory-backend-ram,id=node{number},size={size}"]
        line += ["-numa", f"node,nodeid={number},memdev=node{number}"]
    for dimm in machine.dimms:
        line += ["-object", f"memory-backend-ram,id=ram-{dimm.name},size={dimm.size}"]
        line += ["-device", f"pc-dimm,id={dimm.name},memdev=ram-{dimm.name},node={dimm.node}"]
    return [*line, *machine.devices]


@functools.cache
def best_accelerator() -> str:
    """`kvm` where a kernel really gets to run under it, else `tcg`.

    That /dev/kvm opens says little: inside some containers and nested machines a virtual CPU is
    made and then never runs. So the kernel is started without a file system; it must find that out,
    panic and leave.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    line = [
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-cpu",
        CPU,
        "-m",
        "256M",
        "-nodefaults",
        "-no-reboot",
    ]
    line += ["-display", "none", "-kernel", str(find_kernel()), "-append", "panic=-1"]
    try:
        probe = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=KVM_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if probe.returncode == 0 else "tcg"
