"""A QEMU process with an s390 in it: its command line, its sockets and its monitor."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

QEMU: Final = "qemu-system-s390x"

CONNECT_SECONDS: Final = 60.0
"""How long QEMU may take to start, on a busy machine too; 0.2 are usual."""

SETTLE_SECONDS: Final = 120.0

_ENABLED_WAIT: Final = 0x0302 << 48
"""Bits of the PSW: I/O and external interrupts are enabled, and the CPU waits for one."""

_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


class QemuError(Exception):
    """QEMU did not start, or has ended, or refused a command; its last words are in the text."""


def missing() -> str | None:
    """What to install where QEMU is missing; None where it is there."""
    if shutil.which(QEMU):
        return None
    return f"{QEMU} is not installed here: apt-get install qemu-system-misc"


def version() -> str:
    """QEMU's version, in its own words."""
    done = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0]


class Qemu:
    """A running QEMU, stopped before its first instruction, or where the saved guest stood."""

    def __init__(
        self,
        memory: int,
        kernel: Path,
        initrd: Path | None,
        parameters: str,
        state: Path | None = None,
    ) -> None:
        """`memory` is the bytes of all increments, assigned or not. With `state` a guest that was
        saved with the same arguments goes on, whose memory holds the file system already.
        QemuError when QEMU does not start.
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
                    [QEMU, *arguments],
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=_end_with_parent,
                )
            self._undo.callback(self._kill)
            self.agent, qmp, self.gdb = (self._accept(listener) for listener in listeners)
        self._qmp = self._undo.enter_context(qmp.makefile("rwb"))
        self._read_qmp()

    def _accept(self, listener: socket.socket) -> socket.socket:
        """QEMU's connection, which it makes as soon as it starts."""
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
        """The ends of what QEMU and the guest's kernel have written."""
        tails = []
        for name in ("qemu.log", "console"):
            with contextlib.suppress(OSError):
                tails.append((self.directory / name).read_text(errors="replace")[-2000:])
        return "\n".join(tail.strip() for tail in tails if tail.strip()) or "nothing was said"

    def console(self) -> str:
        """What the kernel has written on its console since QEMU started."""
        return (self.directory / "console").read_text(errors="replace")

    def _read_qmp(self) -> dict[str, Any]:
        line = self._qmp.readline()
        if not line:
            raise QemuError(f"QEMU has ended: {self.last_words()}")
        message: dict[str, Any] = json.loads(line)
        return message

    def qmp(self, command: str, **arguments: Any) -> Any:
        """A command to QEMU; underscores in names of arguments stand for hyphens."""
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
        """Wait until the guest's CPU waits, with its interrupts taken.

        QEMU does not save an interrupt that is pending (hw/intc/s390_flic.c): a device whose
        interrupt got lost would announce nothing ever again.
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
        """Write the stopped guest's whole state to a new file, in whole or not at all."""
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
        """Wait for the end of a migration, to or from a file."""
        while (status := self.qmp("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise QemuError(f"the guest's state: migration {status}: {self.last_words()}")
            time.sleep(0.01)

    def cpu_seconds(self) -> float:
        """What QEMU has used of this machine's CPUs."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """End QEMU at once; whoever waits for it hears that it has ended."""
        self._process.kill()

    def close(self) -> None:
        """End QEMU, and remove what it left."""
        self._undo.close()


def _machine(memory: int) -> Iterator[str]:
    """An s390 with one CPU and all the memory that it may get; no device but the two consoles."""
    size = f"{memory >> 20}M"
    yield from ("-M", "s390-ccw-virtio,memory-backend=ram", "-cpu", "max", "-accel", "tcg")
    yield from ("-smp", "1", "-m", size)
    # Not reserved: standby memory may be more than this machine has.
    yield from ("-object", f"memory-backend-ram,id=ram,size={size},reserve=off")
    yield from ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S")
    yield from ("-chardev", "socket,id=qmp,path=qmp", "-mon", "chardev=qmp,mode=control")
    yield from ("-chardev", "socket,id=gdb,path=gdb", "-gdb", "chardev:gdb")
    yield from ("-device", "virtio-serial-ccw")
    # The port's number is part of its name in the guest.
    yield from ("-chardev", "socket,id=agent,path=agent")
    yield from ("-device", "virtserialport,nr=1,chardev=agent,name=agent")
    # Not the SCLP console: each of its lines would be a service call, and a stop.
    yield from ("-chardev", "file,id=console,path=console")
    yield from ("-device", "virtconsole,nr=2,chardev=console")


def _quoted(path: Path) -> str:
    return "'" + str(path.absolute()).replace("'", "'\\''") + "'"


def _end_with_parent() -> None:
    """In QEMU's process before it is QEMU: end when the one that starts it ends, however it does;
    and leave Ctrl-C to that one."""
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setpgid(0, 0)
