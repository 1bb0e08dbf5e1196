"""System calls that Python has no function for (unshare of Python 3.12 apart), by way of libc."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

from safe_files.errno_names import error_of

__all__ = [
    "CLONE_NEWNS",
    "CLONE_NEWUSER",
    "MS_BIND",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "die_with_parent",
    "mount",
    "seccomp",
    "unshare",
]

# include/uapi/linux/sched.h, include/uapi/linux/mount.h, include/uapi/linux/prctl.h
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT = 0x1, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """New namespaces for this process (unshare(2)); OSError."""
    if _libc.unshare(flags):
        raise _error("unshare")


def mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    """Mount something on a directory or file (mount(2)); OSError about the target."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), options.encode() if options else None):
        raise _error(target)


def die_with_parent() -> None:
    """End this process with SIGTERM as soon as its parent ends (PR_SET_PDEATHSIG of prctl(2))."""
    parent = os.getppid()
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise _error("prctl")
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)


def seccomp(number: int, operation: int, flags: int, arguments: ctypes.Structure) -> int:
    """Call seccomp(2), which has this NUMBER here; a descriptor, or 0. Raises OSError."""
    found: int = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_ulong(operation),
        ctypes.c_ulong(flags),
        ctypes.byref(arguments),
    )
    if found < 0:
        raise _error("seccomp")
    return found


def _error(about: str) -> OSError:
    return error_of(ctypes.get_errno(), about)
