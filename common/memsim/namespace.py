"""Enter a simulated machine: a private mount namespace whose /sys is the machine's.

Only what is about memory is covered; the rest of /sys, and everything else, is the host's. Nobody
outside the namespace sees any of it, and with its last process all of it is gone.
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
from memsim.machine import FIRMWARE, MEMORY, NODE, PARAMETERS

TREES: Final = (MEMORY, NODE, FIRMWARE, PARAMETERS)
"""What of /sys is the simulated machine's."""

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 0x40000
_SET_PDEATHSIG: Final = 1
_PATIENCE: Final = 10.0
"""Seconds to wait for the file system to be there."""

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(Exception):
    """A namespace cannot be made here; the text is a sentence for people."""


def run(root: str, command: Sequence[str]) -> int:
    """Run a command on the machine in a directory; its exit status (128 + n for a signal).

    NamespaceError or MountError when that is not possible. The command gets the signals of the
    terminal; one that ends this process ends it too.
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
    """Be the process inside; what keeps it from beginning is told to the one outside."""
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
    """Wait for a process, ending it with this one; a signal of the terminal is for the command."""

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

    # Between fork and exec there is one thread only, and nothing but system calls is done.
    program = subprocess.Popen(command, preexec_fn=as_usual)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    return program


def _serve(root: str, machine: str) -> int:
    """Start the file system in a process of its own, and wait until it is mounted."""
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
    """A mount namespace of one's own; without root in a user namespace where one is root."""
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
    """Put a directory in place of another, which need not be there.

    Nothing can be made in the real /sys. Where a directory is missing, the nearest one above it
    is covered with a new one that has everything the old one has.
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
