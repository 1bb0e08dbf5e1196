"""A QEMU process for an s390: its command line, its sockets and its monitor."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

QEMU: Final = "qemu-system-s390x"

CONNECT_SECONDS: Final = 60.0
"""How long QEMU may take to start, even on a busy machine; 0.2 seconds are usual."""

SETTLE_SECONDS: Final = 120.0

_ENABLED_WAIT: Final = 0x0302 << 48
"""Bits of the PSW: I/O and external interrupts are enabled, and the CPU waits for one."""

_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "SIGKILL", "--")
"""Starts a program that ends with its parent (PR_SET_PDEATHSIG of prctl(2)). A preexec_fn would run
Python in a copy of this process, in which another guest may have its thread."""


class QemuError(Exception):
    """QEMU did not start, has ended, or refused a command; the text has its last output."""


def missing() -> str | None:
    """A text that says what to install if QEMU is missing, else None."""
    for program, package in ((QEMU, "qemu-system-misc"), (_WITH_PARENT[0], "util-linux")):
        if not shutil.which(program):
            return f"{program} is not installed here: apt-get install {package}"
    return None


def version() -> str:
    """The version that QEMU prints."""
    done = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0]


class Qemu:
    """A running QEMU. The guest is stopped before its first instruction, or where it was saved."""

    def __init__(
        self,
        memory: int,
        kernel: Path,
        initrd: Path | None,
        parameters: str,
        state: Path | None = None,
    ) -> None:
        """`memory` is the size of all increments, assigned or not, in bytes. With `state` a guest
        is restored that was saved with the same arguments, and has the file system in its memory.
        Raises QemuError if QEMU does not start.
        """
        self._undo = contextlib.ExitStack()
        try:
            self.directory = Path(
                self._undo.enter_context(tempfile.TemporaryDirectory(prefix="lpar-"))
            )
            self._start(
                [
                    *_machine(memory),
                    *("-kernel", str(kernel), "-append", parameters),
                    *(("-initrd", str(initrd)) if initrd else ()),
                    *(("-incoming", "defer") if state else ()),
                ]
            )
            self.qmp("qmp_capabilities")
            if state:
                self.qmp("migrate-incoming", uri=f"exec:exec cat {_quoted(state)}")
                self._migrated()
        except BaseException:
            self.close()
            raise

    def _start(self, arguments: list[str]) -> None:
        names = ("agent", "qmp", "gdb")
        with contextlib.ExitStack() as listening:
            listeners = []
            for name in names:
                listener = listening.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(str(self.directory / name))
                listener.listen()
                listeners.append(listener)
            with (self.directory / "qemu.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [*_WITH_PARENT, QEMU, *arguments],
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is this process's alone.
                    process_group=0,
                )
            self._undo.callback(self._kill)
            self.agent, qmp, self.gdb = (self._accept(listener) for listener in listeners)
        self._qmp = self._undo.enter_context(qmp.makefile("rwb"))
        self._read_qmp()

    def _accept(self, listener: socket.socket) -> socket.socket:
        """Accept the connection that QEMU makes when it starts."""
        listener.settimeout(0.2)
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise QemuError(f"QEMU did not start: {self.last_words()}") from None
            else:
                return self._undo.enter_context(connection)

    def last_words(self) -> str:
        """The last output of QEMU and of the guest's kernel."""
        tails = []
        for name in ("qemu.log", "console"):
            with contextlib.suppress(OSError):
                tails.append((self.directory / name).read_text(errors="replace")[-2000:])
        return "\n".join(tail.strip() for tail in tails if tail.strip()) or "nothing was said"

    def console(self) -> str:
        """The kernel's console since QEMU started."""
        return (self.directory / "console").read_text(errors="replace")

    def _read_qmp(self) -> dict[str, Any]:
        line = self._qmp.readline()
        if not line:
            raise QemuError(f"QEMU has ended: {self.last_words()}")
        message: dict[str, Any] = json.loads(line)
        return message

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Send a command to QEMU; underscores in the names of arguments stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self._qmp.write(json.dumps({"execute": command, "arguments": named}).encode() + b"\n")
            self._qmp.flush()
        except OSError:
            raise QemuError(f"QEMU has ended: {self.last_words()}") from None
        while "return" not in (answer := self._read_qmp()):
            if "error" in answer:
                raise QemuError(f"QEMU refuses {command}: {answer['error']['desc']}")
        return answer["return"]

    def settle(self) -> None:
        """Wait until the guest's CPU is idle and no interrupt is pending.

        QEMU does not save a pending interrupt (hw/intc/s390_flic.c). A device whose interrupt is
        lost never sends another one.
        """
        idle, end = 0, time.monotonic() + SETTLE_SECONDS
        while idle < 4:
            time.sleep(0.05)
            words = self.qmp("human-monitor-command", command_line="info registers").split()
            mask = int(words[words.index("PSW=mask") + 1], 16)
            idle = idle + 1 if mask & _ENABLED_WAIT == _ENABLED_WAIT else 0
            if time.monotonic() > end:
                raise QemuError(f"the guest has not been idle for {SETTLE_SECONDS:.0f} s")

    def write_state(self, path: Path) -> None:
        """Write the state of the stopped guest to a new file, which is complete or not there."""
        part = path.with_suffix(".part")
        self.qmp("migrate-set-parameters", max_bandwidth=1 << 40)
        self.qmp("migrate", uri=f"exec:exec cat > {_quoted(part)}")
        try:
            self._migrated()
        except QemuError:
            part.unlink(missing_ok=True)
            raise
        part.rename(path)

    def _migrated(self) -> None:
        """Wait until a migration to or from a file is complete."""
        while (status := self.qmp("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise QemuError(f"the guest's state: migration {status}: {self.last_words()}")
            time.sleep(0.01)

    def cpu_seconds(self) -> float:
        """The CPU time that QEMU has used."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """Kill QEMU; threads that wait for its connections see that they are closed."""
        self._process.kill()

    def close(self) -> None:
        """End QEMU, and remove its files."""
        self._undo.close()


def _machine(memory: int) -> Iterator[str]:
    """Arguments for an s390 with one CPU, all the memory it may get, and only two consoles."""
    size = f"{memory >> 20}M"
    yield from ("-M", "s390-ccw-virtio,memory-backend=ram", "-cpu", "max", "-accel", "tcg")
    yield from ("-smp", "1", "-m", size)
    # Memory is not reserved: a guest may have more standby memory than this machine has.
    yield from ("-object", f"memory-backend-ram,id=ram,size={size},reserve=off")
    yield from ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S")
    yield from ("-chardev", "socket,id=qmp,path=qmp", "-mon", "chardev=qmp,mode=control")
    yield from ("-chardev", "socket,id=gdb,path=gdb", "-gdb", "chardev:gdb")
    yield from ("-device", "virtio-serial-ccw")
    # The number of the port is part of its name in the guest.
    yield from ("-chardev", "socket,id=agent,path=agent")
    yield from ("-device", "virtserialport,nr=1,chardev=agent,name=agent")
    # Not the SCLP console: each line on it would be a service call, and stop the guest.
    yield from ("-chardev", "file,id=console,path=console")
    yield from ("-device", "virtconsole,nr=2,chardev=console")


def _quoted(path: Path) -> str:
    return "'" + str(path.absolute()).replace("'", "'\\''") + "'"
