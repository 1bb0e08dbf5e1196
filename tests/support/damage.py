"""What somebody else can have done to a machine's directory, or to a file that memsim reads."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RECORDS = ("machine.json", "blocks", "live.json", "journal.json", "lock")

INSTANTS = ("open", "write", "pwrite", "rename", "unlink", "mkdir", "rmdir", "symlink", "close")
"""The functions of `os` that can fail while a write is stored."""


def damaged(content: bytes, step: int = 1) -> Iterator[bytes]:
    """The content cut at every length, and with each byte changed in two ways."""
    for at in range(0, len(content), step):
        yield content[:at]
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        yield content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :]


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _socket(path: Path) -> None:
    here = os.getcwd()
    # The name of a socket is short.
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


STRANGERS: dict[str, Callable[[Path], None]] = {
    "a symbolic link": _link,
    "a FIFO": lambda path: os.mkfifo(path),
    "a socket": _socket,
    "a directory": lambda path: path.mkdir(),
}
"""What can be in the place of a file, and how to put it there."""


def failing(number: int, at: int) -> dict[str, Any]:
    """The functions of INSTANTS, of which the call with this index fails with an errno.

    With 0 it is as on a full disk: a write() writes a part, and the next one to this file fails.
    """
    calls, full = [0], set[int]()

    def wrap(name: str) -> Any:
        function = getattr(os, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            calls[0] += 1
            if name == "write" and arguments[0] in full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if calls[0] - 1 != at:
                return function(*arguments, **keywords)
            if name == "close":
                function(*arguments)
            elif name == "write" and not number:
                full.add(arguments[0])
                return function(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise OSError(number or errno.ENOSPC, os.strerror(number or errno.ENOSPC), "here")

        return call

    return {name: wrap(name) for name in INSTANTS}
