"""Run a command in a mount namespace whose /sys shows a simulated machine's memory.

Only the directories about memory are replaced; the rest of /sys, and everything else, is the
host's. Nothing outside the namespace changes, and it ends with its last process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from memsim import mount
from memsim.directory import Directory
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS

TREES: Final = (MEMORY, NODE, FIRMWARE, PARAMETERS)
"""The directories that show the simulated machine, relative to its root."""

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 0x40000
_SET_PDEATHSIG: Final = 1
_PATIENCE: Final = 10.0
"""How long to wait until the file system is mounted, in seconds."""

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(Exception):
    """A namespace cannot be made here; the text is the message for the user."""


def run(root: str, command: Sequence[str]) -> int:
    """Run a command on the machine in a directory; return its exit status (128 + n for signal n).

    The command gets the signals of the terminal; a signal that ends this process ends the command,
    too. Raises NamespaceError or MountError where this is not possible.
    """
    Directory(root).kernel()
    mount.fuse()
    work = tempfile.mkdtemp(prefix="memsim.")
    report, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(report)
        _child(lambda: _inside(os.path.abspath(root), work, command), told)
    os.close(told)
    try:
        status = _wait(child)
        with os.fdopen(report, errors="replace") as reasons:
            if reason := reasons.read():
                raise NamespaceError(reason)
        return status
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _child(inside: Callable[[], int], told: int) -> NoReturn:
    """Run the command in the process inside the namespace; send an error to the process outside."""
    status = 1
    try:
        _die_with_parent()
        status = inside()
    except (NamespaceError, mount.MountError) as error:
        os.write(told, str(error).encode())
    except OSError as error:
        os.write(told, f"{error.filename or 'namespace'}: {error.strerror}".encode())
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    finally:
        os._exit(status)


def _wait(child: int) -> int:
    """Wait for the process inside, and end it if this process ends.

    Signals of the terminal are ignored here, because the command gets them itself.
    """

    def end(number: int, _frame: object) -> NoReturn:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise SystemExit(128 + number)

    handlers = {signal.SIGTERM: end, signal.SIGHUP: end}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    before |= {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGQUIT)}
    try:
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _inside(root: str, work: str, command: Sequence[str]) -> int:
    _unshare()
    _mount(None, "/", None, _REC | _PRIVATE)
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
        for tree in TREES:
            source = f"{machine}/{tree}"
            there = os.path.isdir(source)
            if there or os.path.isdir(f"/{tree}"):
                _cover(f"/{tree}", source if there else empty, work)
        program = _started(command)
        code = program.wait()
        return code if code >= 0 else 128 - code
    finally:
        os.kill(server, signal.SIGKILL)


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    def as_usual() -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _die_with_parent()

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
            _die_with_parent()
            os.setsid()
            mount.mount(root, machine, foreground=True)
        except Exception:
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + _PATIENCE
    while not mount.is_mounted(machine):
        if time.monotonic() > end or os.waitpid(server, os.WNOHANG)[0]:
            raise NamespaceError(
                "the simulated machine could not be mounted (is fuse3 installed?); " + mount.INSTEAD
            )
        time.sleep(0.01)
    return server


def _unshare() -> None:
    """Enter a new mount namespace; without root, also a new user namespace."""
    uid, gid = os.geteuid(), os.getegid()
    flags = _NEWNS if uid == 0 else _NEWNS | _NEWUSER
    if _libc.unshare(flags):
        number = ctypes.get_errno()
        raise NamespaceError(
            f"no namespace of one's own can be made here ({os.strerror(number)}): run memsim "
            "shell as root, or allow user namespaces (sysctl user.max_user_namespaces, "
            f"kernel.unprivileged_userns_clone); {mount.INSTEAD}"
        )
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


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
    _mount(source, target, None, _BIND | _REC)


def _open_up(directory: str, work: str) -> None:
    old = tempfile.mkdtemp(dir=work)
    _mount(directory, old, None, _BIND | _REC)
    _mount("memsim", directory, "tmpfs", 0, "mode=755")
    for entry in os.scandir(old):
        new = f"{directory}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), new)
            continue
        if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
            os.mkdir(new)
        else:
            Path(new).touch()
        _mount(entry.path, new, None, _BIND | _REC)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), options.encode() if options else None):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount here: {os.strerror(number)}", target)


def _die_with_parent() -> None:
    parent = os.getppid()
    if _libc.prctl(_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), "prctl")
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)
