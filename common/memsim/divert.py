"""Divert what opens a file for writing in one place to the same file in another place.

A process and all that it starts read files as ever, at full speed. When one of them opens a file
for writing, or asks whether it may, another process answers (SECCOMP_RET_USER_NOTIF, seccomp(2)):
it lets the call go on, or it opens the file elsewhere and puts the descriptor into the process.

This is no protection: what escapes the filter, such as io_uring, meets the file itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from memsim import syscalls

__all__ = ["answer_all", "available", "listen"]


class _Processor(NamedTuple):
    """What a kernel calls a processor, and the numbers of its system calls."""

    audit: int
    """AUDIT_ARCH (include/uapi/linux/audit.h)"""
    seccomp: int
    calls: dict[str, int]


_SINCE_5_6: Final = {"openat2": 437, "faccessat2": 439}
"""They have one number everywhere."""
_PROCESSORS: Final = {
    "x86_64": _Processor(
        0xC000003E,
        317,
        {"open": 2, "access": 21, "truncate": 76, "creat": 85, "openat": 257, "faccessat": 269}
        | _SINCE_5_6,
    ),
    "aarch64": _Processor(
        0xC00000B7, 277, {"truncate": 45, "faccessat": 48, "openat": 56} | _SINCE_5_6
    ),
    "s390x": _Processor(
        0x80000016,
        348,
        {"open": 5, "creat": 8, "access": 33, "truncate": 92, "openat": 288, "faccessat": 300}
        | _SINCE_5_6,
    ),
}
"""arch/*/entry/syscalls of Linux."""


class _Call(NamedTuple):
    """Which arguments of a system call mean what. The last but the path are not always there."""

    path: int
    directory: int | None = None
    how: int | None = None
    """The flags of an open, or the mode of an access."""


_CALLS: Final = {
    "open": _Call(0, how=1),
    "creat": _Call(0),
    "openat": _Call(1, 0, 2),
    "openat2": _Call(1, 0, 2),
    "access": _Call(0, how=1),
    "faccessat": _Call(1, 0, 2),
    "faccessat2": _Call(1, 0, 2),
    "truncate": _Call(0),
}

# include/uapi/linux/{seccomp,filter,bpf_common,prctl}.h
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_CONTINUE = 1
_LOAD, _EQUALS, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_RECEIVE, _SEND, _IS_VALID, _ADD = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103
_NOTICE: Final = struct.Struct("=QII iIQ6Q")
"""struct seccomp_notif: id, pid, flags, and struct seccomp_data: nr, arch, instruction, args."""
_LONGEST: Final = 4096
_WRITING: Final = os.O_WRONLY | os.O_RDWR
_AT_FDCWD: Final = -100


def available() -> bool:
    """Whether this processor is known. The kernel can still refuse; see `listen`."""
    return platform.machine() in _PROCESSORS


def listen() -> int:
    """Divert this process and all that it will start; return the descriptor for `answer_all`.

    It has to be answered from another process. Raises OSError where the kernel refuses: before
    Linux 5.9, or without CAP_SYS_ADMIN in the user namespace.
    """
    processor = _PROCESSORS[platform.machine()]
    program = b"".join(_filter(processor))
    buffer = ctypes.create_string_buffer(program, len(program))

    class FilterProgram(ctypes.Structure):
        """struct sock_fprog"""

        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    described = FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    return syscalls.seccomp(processor.seccomp, _SET_MODE_FILTER, _NEW_LISTENER, described)


def _filter(processor: _Processor) -> Iterator[bytes]:
    """The program that picks the calls: instructions of classic BPF on struct seccomp_data."""

    def instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("=HBBI", code, then, otherwise, value)

    def argument(number: int) -> int:
        """Where the lower half of an argument is."""
        return 16 + 8 * number + (4 if sys.byteorder == "big" else 0)

    yield instruction(_LOAD, 4)
    yield instruction(_EQUALS, processor.audit, 1, 0)
    yield instruction(_RETURN, _ALLOW)
    yield instruction(_LOAD, 0)
    for name, number in processor.calls.items():
        how = _CALLS[name].how
        if name == "openat2" or how is None:
            # The flags of openat2 are in memory, where a filter cannot look.
            yield instruction(_EQUALS, number, 0, 1)
            yield instruction(_RETURN, _NOTIFY)
        else:
            bits = os.W_OK if "access" in name else _WRITING
            yield instruction(_EQUALS, number, 0, 4)
            yield instruction(_LOAD, argument(how))
            yield instruction(_ANY_BIT, bits, 0, 1)
            yield instruction(_RETURN, _NOTIFY)
            yield instruction(_RETURN, _ALLOW)
    yield instruction(_RETURN, _ALLOW)


@dataclass(frozen=True, slots=True)
class _Request:
    """A call that waits for its answer."""

    id: int
    pid: int
    name: str
    arguments: tuple[int, ...]

    def text(self, address: int) -> bytes:
        """The string at an address of the process. Raises OSError, ValueError."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            found = memory.read(_LONGEST - address % _LONGEST)
            if b"\0" not in found:
                found += memory.read(_LONGEST)
        return found[: found.index(b"\0")]

    def number(self, address: int) -> int:
        """The 64-bit number at an address of the process."""
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return int.from_bytes(memory.read(8), sys.byteorder)

    def path(self) -> str:
        """The file that is meant, without symbolic links. Raises OSError, ValueError."""
        call = _CALLS[self.name]
        path = os.fsdecode(self.text(self.arguments[call.path]))
        if not path.startswith("/"):
            number = _AT_FDCWD
            if call.directory is not None:
                number = ctypes.c_int(self.arguments[call.directory]).value
            at = "cwd" if number == _AT_FDCWD else f"fd/{number}"
            path = f"{os.readlink(f'/proc/{self.pid}/{at}')}/{path}"
        if os.readlink(f"/proc/{self.pid}/root") != "/":
            raise ValueError("another root")
        return os.path.realpath(path)

    def how(self) -> int:
        """The flags of an open, or the mode of an access."""
        call = _CALLS[self.name]
        if self.name == "creat":
            return os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        if call.how is None:
            return 0
        value = self.arguments[call.how]
        return self.number(value) if self.name == "openat2" else value & 0xFFFFFFFF


def answer_all(listener: int, elsewhere: Callable[[str], str | None]) -> None:
    """Answer the calls of the diverted processes until the last of them has ended.

    ELSEWHERE gets an absolute path without symbolic links, and returns the path of the file that is
    opened in its place; None lets the call go on.
    """
    names = {number: name for name, number in _PROCESSORS[platform.machine()].calls.items()}
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    while any(event & select.POLLIN for _, event in poller.poll()):
        buffer = bytearray(_NOTICE.size)
        # A process that was killed while it waited gets no answer.
        with suppress(OSError):
            fcntl.ioctl(listener, _RECEIVE, buffer)
            identity, pid, _, number, _, _, *arguments = _NOTICE.unpack(buffer)
            asked = _Request(identity, pid, names[number], tuple(arguments))
            target = _target(asked, elsewhere)
            if target is None:
                _send(listener, identity, flags=_CONTINUE)
            else:
                _answer(listener, asked, target)


def _target(asked: _Request, elsewhere: Callable[[str], str | None]) -> str | None:
    """The file in the place of the one that was meant; None if the call may go on."""
    try:
        writes = "access" in asked.name or asked.name == "truncate" or asked.how() & _WRITING
        return elsewhere(asked.path()) if writes else None
    except (OSError, ValueError):
        # The kernel knows better what is wrong with it.
        return None


def _answer(listener: int, asked: _Request, target: str) -> None:
    """Do the call with another file. Raises OSError if the process has gone."""
    try:
        how = asked.how()
        if "access" in asked.name:
            allowed = os.access(target, how)
            _send(listener, asked.id, error=0 if allowed else _refusal(target))
        elif asked.name == "truncate":
            os.truncate(target, asked.arguments[1])
            _send(listener, asked.id)
        else:
            file = os.open(target, how, 0o666)
            try:
                _give(listener, asked.id, file, how)
            finally:
                os.close(file)
    except OSError as error:
        _send(listener, asked.id, error=error.errno or errno.EIO)


def _refusal(target: str) -> int:
    return errno.EACCES if os.path.lexists(target) else errno.ENOENT


def _give(listener: int, identity: int, file: int, flags: int) -> None:
    """Put an open file into the process, and answer with its number there."""
    new = flags & os.O_CLOEXEC
    asked = bytearray(struct.pack("=QIIII", identity, 0, file, 0, new))
    _send(listener, identity, value=fcntl.ioctl(listener, _ADD, asked))


def _send(listener: int, identity: int, *, value: int = 0, error: int = 0, flags: int = 0) -> None:
    """struct seccomp_notif_resp"""
    answer = bytearray(struct.pack("=QqiI", identity, value, -error, flags))
    fcntl.ioctl(listener, _SEND, answer)
