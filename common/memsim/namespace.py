"""Run a command in a mount namespace whose /sys shows a simulated machine's memory.

Only the directories about memory are replaced; the rest of /sys, and everything else, is the
host's. Nothing outside the namespace changes, and it ends with its last process.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from memsim import mount, syscalls
from memsim.directory import Directory
from memsim.errors import MountError, NamespaceError, Obstacle
from memsim.fork import fork_and_wait
from memsim.surroundings import BUSES, MEMINFO
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS

__all__ = ["TREES", "run"]

TREES: Final = (MEMORY, NODE, FIRMWARE, PARAMETERS)
"""The directories that show the simulated machine, relative to its root."""

_PATIENCE: Final = 10.0
"""How long to wait until the file system is mounted, in seconds."""


def run(root: str, command: Sequence[str]) -> int:
    """Run a command on the machine in a directory; return its exit status (128 + n for signal n).

    The command gets the signals of the terminal; a signal that ends this process ends the command,
    too. Raises NamespaceError or MountError where this is not possible.
    """
    Directory(root).kernel()
    mount.fuse()
    work = tempfile.mkdtemp(prefix="memsim.")
    try:
        return fork_and_wait(lambda: _inside(os.path.abspath(root), work, command))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _inside(root: str, work: str, command: Sequence[str]) -> int:
    _enter()
    machine, empty = f"{work}/machine", f"{work}/empty"
    os.mkdir(machine)
    os.mkdir(empty)
    server = _serve(root, machine)
    program: subprocess.Popen[bytes] | None = None

    def end(number: int, _frame: object) -> NoReturn:
        if program:
            program.send_signal(signal.SIGHUP if number == signal.SIGHUP else signal.SIGTERM)
        os.kill(server, signal.SIGKILL)
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    try:
        for tree in (*TREES, *BUSES):
            source = f"{machine}/{tree}"
            there = os.path.isdir(source)
            if there or os.path.isdir(f"/{tree}"):
                _cover(f"/{tree}", source if there else empty, work)
        _bind(f"{machine}/{MEMINFO}", f"/{MEMINFO}")
        program = _started(command)
        code = program.wait()
        return code if code >= 0 else 128 - code
    finally:
        os.kill(server, signal.SIGKILL)


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    def as_usual() -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        syscalls.die_with_parent()

    # Between fork and exec there is only one thread, and it makes only system calls.
    program = subprocess.Popen(command, preexec_fn=as_usual)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    return program


def _serve(root: str, machine: str) -> int:
    """Start the file system in another process, and wait until it is mounted."""
    server = os.fork()
    if not server:
        try:
            syscalls.die_with_parent()
            os.setsid()
            mount.mount(root, machine, foreground=True, surroundings=True)
        except Exception:
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + _PATIENCE
    while not mount.is_mounted(machine):
        if time.monotonic() > end or os.waitpid(server, os.WNOHANG)[0]:
            raise MountError(Obstacle.FAILED)
        time.sleep(0.01)
    return server


def _enter() -> None:
    """A mount namespace of one's own; without root in a user namespace where one is root."""
    uid, gid = os.geteuid(), os.getegid()
    alone = syscalls.CLONE_NEWNS if uid == 0 else syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUSER
    try:
        syscalls.unshare(alone)
        if uid:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        # Nothing that is mounted from now on is seen outside.
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    except OSError as error:
        raise NamespaceError(error.strerror or str(error)) from None


def _cover(target: str, source: str, work: str) -> None:
    """Mount a directory in place of another one, which need not exist.

    No directory can be made in the real /sys. Where one is missing, its nearest existing parent is
    covered with a new directory that has the same entries.
    """
    if not os.path.isdir(target):
        above = os.path.dirname(target)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        _open_up(above, work)
        os.makedirs(target)
    _bind(source, target)


def _open_up(directory: str, work: str) -> None:
    old = tempfile.mkdtemp(dir=work)
    _bind(directory, old)
    syscalls.mount("memsim", directory, "tmpfs", 0, "mode=755")
    for entry in os.scandir(old):
        new = f"{directory}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), new)
            continue
        if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
            os.mkdir(new)
        else:
            Path(new).touch()
        _bind(entry.path, new)


def _bind(source: str, target: str) -> None:
    syscalls.mount(source, target, None, syscalls.MS_BIND | syscalls.MS_REC)
