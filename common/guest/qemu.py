"""A QEMU process: its start, its sockets and its monitor."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from guest import sockets
from guest.qmp import Monitor, QmpClosedError, QmpError

__all__ = ["Qemu", "QemuError", "missing", "version"]

CONNECT_SECONDS: Final = 60.0
"""How long QEMU may take to start, even on a busy machine; 0.2 seconds are usual."""

_WITH_PARENT: Final = ("setpriv", "--pdeathsig", "SIGKILL", "--")
"""Starts a program that ends with its parent (PR_SET_PDEATHSIG of prctl(2)). A preexec_fn would run
Python in a copy of this process, in which another guest may have its thread."""

MONITOR: Final = "monitor"
"""The socket of a second monitor, for other processes, in QEMU's directory."""


class QemuError(Exception):
    """QEMU did not start, has ended, or refused a command; the text has its last output."""


def missing(program: str, package: str) -> str | None:
    """A text that says what to install if QEMU's program is missing, else None."""
    for name, what in ((program, package), (_WITH_PARENT[0], "util-linux")):
        if not shutil.which(name):
            return f"{name} is not installed here: apt-get install {what}"
    return None


def version(program: str) -> str:
    """The version that QEMU prints."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


class Qemu:
    """A running QEMU, with sockets to the agent, to its monitor and to others that are wanted."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        state: Path | None = None,
        more_sockets: Sequence[str] = (),
        directory: Path | None = None,
    ) -> None:
        """`arguments` name the chardevs agent and console, and those in `more_sockets`. With
        `state` a guest is restored that was saved with the same arguments. `directory` is empty;
        the files of this QEMU go there, which otherwise has a directory of its own.

        Raises QemuError if QEMU does not start.
        """
        self._undo = contextlib.ExitStack()
        try:
            self.directory = directory or Path(
                self._undo.enter_context(tempfile.TemporaryDirectory(prefix="guest-"))
            )
            names = ("agent", "qmp", *more_sockets)
            self._start(
                [
                    *_WITH_PARENT,
                    program,
                    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
                    *(word for name in names for word in ("-chardev", _socket(name))),
                    *("-mon", "chardev=qmp,mode=control"),
                    *("-chardev", f"socket,id={MONITOR},path={MONITOR},server=on,wait=off"),
                    *("-mon", f"chardev={MONITOR},mode=control"),
                    *("-chardev", "file,id=console,path=console"),
                    *arguments,
                    *(("-incoming", "defer") if state else ()),
                ],
                names,
            )
            if state:
                self.qmp("migrate-incoming", uri=f"exec:exec cat {_quoted(state)}")
                self._migrated()
        except BaseException:
            self.close()
            raise

    def _start(self, line: Sequence[str], names: Sequence[str]) -> None:
        with contextlib.ExitStack() as listening:
            listeners = {}
            for name in names:
                listeners[name] = listening.enter_context(sockets.listener(self.directory / name))
            with (self.directory / "qemu.log").open("wb") as log:
                self._process = subprocess.Popen(
                    line,
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is this process's alone.
                    process_group=0,
                )
            self._undo.callback(self._kill)
            self.sockets = {name: self._accept(listener) for name, listener in listeners.items()}
            """The connections, by the names of the chardevs."""
        try:
            self.monitor = self._undo.enter_context(Monitor(self.sockets["qmp"]))
            """For commands, whose errors `qmp` turns into those of QEMU, and for events."""
        except QmpClosedError:
            raise self._ended() from None

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

    def _ended(self) -> QemuError:
        return QemuError(f"QEMU has ended: {self.last_words()}")

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

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Send a command to QEMU; underscores in the names of arguments stand for hyphens."""
        try:
            return self.monitor.do(command, **arguments)
        except QmpClosedError:
            raise self._ended() from None
        except QmpError as error:
            raise QemuError(str(error)) from None

    def events(self) -> list[dict[str, Any]]:
        """The events that came since the last call, oldest first."""
        self.qmp("query-status")  # reads what has come
        return self.monitor.taken()

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


def _socket(name: str) -> str:
    return f"socket,id={name},path={name}"


def _quoted(path: Path) -> str:
    return "'" + str(path.absolute()).replace("'", "'\\''") + "'"
