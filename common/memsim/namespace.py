"""Run a command in a mount namespace whose /sys shows a simulated machine's memory.

Only the directories about memory are replaced; the rest of /sys, and everything else, is the
host's. Nothing outside the namespace changes, and it ends with its last process.

The directories with a directory for each block are those of the machine itself, read-only, because
FUSE takes twenty times as long to read. What opens a file there for writing gets the file of the
FUSE mount. Where that cannot be arranged, all of it is the FUSE mount.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from memsim import divert, mount, syscalls
from memsim.addresses import IOMEM
from memsim.child import fork_and_wait
from memsim.cxl import CXL_DEVICES
from memsim.dax import DAX_DEVICES
from memsim.directory import Directory
from memsim.errors import MountError, NamespaceError, Obstacle
from memsim.shell_files import AROUND, KMSG, MEMINFO
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS

__all__ = ["TREES", "run"]

TREES: Final = (MEMORY, NODE, FIRMWARE, PARAMETERS)
"""The directories that show the simulated machine, relative to its root."""

_LARGE: Final = (MEMORY, FIRMWARE)
"""Those of them that are the machine's own."""

_HIDDEN: Final = (
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/sys/vm/min_free_kbytes",
)
"""What this machine's kernel says of its own memory, which has nothing to do with the simulated."""

_ENVIRONMENT: Final = {"HWLOC_ALLOW": "all"}
"""lstopo leaves out nodes on which it may not run, which are those that this machine lacks."""

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
    machine = f"{work}/machine"
    os.mkdir(machine)
    server = _serve(root, machine)
    program: subprocess.Popen[bytes] | None = None

    def end(number: int, _frame: object) -> NoReturn:
        if program:
            program.send_signal(signal.SIGHUP if number == signal.SIGHUP else signal.SIGTERM)
        os.kill(server, signal.SIGKILL)
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    diverted = _LARGE if _can_divert() else ()
    try:
        for tree in (*TREES, *AROUND):
            source = f"{root if tree in diverted else machine}/{tree}"
            if os.path.isdir(source):
                _cover(f"/{tree}", source)
                if tree in diverted:
                    _make_read_only(f"/{tree}")
            elif os.path.isdir(f"/{tree}"):
                _open_up(os.path.dirname(f"/{tree}"), without=os.path.basename(tree))
        _add_nodes(machine)
        for path in (MEMINFO, IOMEM, KMSG):
            _bind(f"{machine}/{path}", f"/{path}")
        for path in filter(os.path.exists, _HIDDEN):
            _bind(os.devnull, path)

        def elsewhere(path: str) -> str | None:
            below = any(f"{path}/".startswith(f"/{tree}/") for tree in diverted)
            return f"{machine}{path}" if below else None

        program = _started(command, elsewhere if diverted else None)
        code = program.wait()
        return code if code >= 0 else 128 - code
    finally:
        os.kill(server, signal.SIGKILL)


def _started(
    command: Sequence[str], elsewhere: Callable[[str], str | None] | None
) -> subprocess.Popen[bytes]:
    """Start the command. ELSEWHERE says of a path where a file is opened for writing instead."""
    here, there = socket.socketpair()

    def as_usual() -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        syscalls.die_with_parent()
        if elsewhere:
            socket.send_fds(there, [b"listener"], [divert.listen()])

    with here, there:
        # Between fork and exec there is only one thread, and it makes only system calls.
        environment = os.environ | _ENVIRONMENT
        program = subprocess.Popen(command, preexec_fn=as_usual, env=environment)
        if elsewhere:
            (listener,) = socket.recv_fds(here, 8, 1)[1]
            # The second thread of this process, after which nothing in it forks.
            answering = (listener, elsewhere)
            threading.Thread(target=divert.answer_all, args=answering, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    return program


def _can_divert() -> bool:
    if not divert.available():
        return False
    child = os.fork()
    if not child:
        try:
            divert.listen()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _serve(root: str, machine: str) -> int:
    """Start the file system in another process, and wait until it is mounted."""
    server = os.fork()
    if not server:
        try:
            syscalls.die_with_parent()
            os.setsid()
            mount.mount_machine(root, machine, foreground=True, shell_files=True)
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


def _cover(target: str, source: str) -> None:
    """Mount a directory in place of another one, which need not exist.

    No directory can be made in the real /sys. Where one is missing, its nearest existing parent is
    covered with a new directory that has the same entries.
    """
    if not os.path.isdir(target):
        above = os.path.dirname(target)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        _open_up(above)
        os.makedirs(target)
    _bind(source, target)


def _open_up(directory: str, without: str | None = None) -> None:
    """Cover a directory with a new one that has the same entries, but for one."""
    # Its path then leads to the new one, and so may that of any place for the old one.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.mount("memsim", directory, "tmpfs", 0, "mode=755")
        for entry in os.scandir(descriptor):
            if entry.name != without:
                _put(f"/proc/self/fd/{descriptor}/{entry.name}", f"{directory}/{entry.name}")
    finally:
        os.close(descriptor)


def _put(old: str, new: str) -> None:
    """Make what is at a path appear at another one, which does not exist."""
    mode = os.lstat(old).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(old), new)
        return
    if stat.S_ISDIR(mode):
        os.mkdir(new)
    else:
        Path(new).touch()
    _bind(old, new)


def _add_nodes(machine: str) -> None:
    """Put a file in /dev for each dax device and CXL memory device that is there now, because
    daxctl and cxl want to see one, and for the kernel log where there is none."""
    wanted = [f"/dev/{name}" for name in os.listdir(f"{machine}/{DAX_DEVICES}")]
    cxl = [name for name in os.listdir(f"{machine}/{CXL_DEVICES}") if name.startswith("mem")]
    wanted += [f"/dev/cxl/{name}" for name in cxl]
    wanted += [f"/{KMSG}"] if not os.path.exists(f"/{KMSG}") else []
    if wanted:
        _open_up("/dev", without="cxl")
    for path in wanted:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).touch()


def _make_read_only(target: str) -> None:
    """Make a mount read-only: writes that are not diverted must not reach it. Raises OSError."""
    flags = os.statvfs(target).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
    remount = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY
    # ST_NOSUID and the others have the values of MS_NOSUID and the others.
    syscalls.mount(None, target, None, remount | flags)


def _bind(source: str, target: str) -> None:
    syscalls.mount(source, target, None, syscalls.MS_BIND | syscalls.MS_REC)
