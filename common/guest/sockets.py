"""Sockets at paths of any length: the kernel takes 107 bytes, and a directory may be deep."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

__all__ = ["connection", "listener"]


def connection(path: Path) -> socket.socket:
    """A connection to the socket at a path. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as short:
            made.connect(short)
    except OSError:
        made.close()
        raise
    return made


def listener(path: Path) -> socket.socket:
    """A new socket at a path, which listens. Raises OSError."""
    made = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as short:
            made.bind(short)
        made.listen()
    except OSError:
        made.close()
        raise
    return made


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
