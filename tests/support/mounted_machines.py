"""One FUSE mount for many simulated machines, which any program can change there."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memsim.directory import Directory
from memsim.mount import Attributes, fuse

PATIENCE = 30
"""Seconds until a mount must be there, or gone."""


class _Machines:
    """The operations of mfusepy for a directory of machines; each is below its name."""

    use_ns = True

    def __init__(self, machines: Path, interrupted: Any) -> None:
        self._machines, self._interrupted = machines, interrupted
        self._open: dict[str, Attributes] = {}

    def _at(self, path: str) -> tuple[Attributes, str]:
        """The machine that PATH is in, and the path there."""
        name, _, rest = path.lstrip("/").partition("/")
        if name not in self._open:
            root = self._machines / name
            if not name or not root.is_dir():
                raise FileNotFoundError(2, os.strerror(2))
            # Only those of one sequence are used at a time.
            self._open = {name: Attributes(Directory(str(root)), self._interrupted)}
        return self._open[name], f"/{rest}"

    def init_with_config(self, _connection: Any, config: Any) -> None:
        if config is not None:
            for name in ("attr_timeout", "entry_timeout", "negative_timeout"):
                setattr(config, name, 0)

    def destroy(self, _path: str) -> None:
        """Do nothing: no resource is held between two calls."""

    def getattr(self, path: str, file: Any = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": 0o40755, "st_nlink": 2}
        machine, rest = self._at(path)
        return machine.getattr(rest, file)

    def readdir(self, path: str, file: Any) -> list[str]:
        machine, rest = self._at(path)
        return machine.readdir(rest, file)

    def readlink(self, path: str) -> str:
        machine, rest = self._at(path)
        return machine.readlink(rest)

    def open(self, path: str, flags: int) -> int:
        machine, rest = self._at(path)
        return machine.open(rest, flags)

    def read(self, path: str, size: int, offset: int, file: Any) -> bytes:
        machine, rest = self._at(path)
        return machine.read(rest, size, offset, file)

    def write(self, path: str, data: bytes, offset: int, file: Any) -> int:
        machine, rest = self._at(path)
        return machine.write(rest, data, offset, file)

    def truncate(self, path: str, length: int, file: Any = None) -> None:
        machine, rest = self._at(path)
        machine.truncate(rest, length, file)


@contextmanager
def mounted(machines: Path, mountpoint: Path) -> Iterator[Path]:
    """Mount the machines in a directory, also those that are made later; yields the mountpoint.

    Another process serves the mount until the end.
    """
    module = fuse()
    machines.mkdir()
    mountpoint.mkdir()
    server = os.fork()
    if not server:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        operations = _Machines(machines, module._libfuse.fuse_interrupted)
        options = {"foreground": True, "direct_io": True, "nothreads": True}
        try:
            module.FUSE(operations, str(mountpoint), fsname="memsim", **options)
        finally:
            # Also where it raises an error, as after a signal: the rest is for the other process.
            os._exit(0)
    try:
        _await(lambda: os.path.ismount(mountpoint))
        yield mountpoint
    finally:
        os.spawnlp(os.P_WAIT, "fusermount3", "fusermount3", "-u", str(mountpoint))
        os.waitpid(server, 0)


def _await(holds: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("FUSE does not mount: root, fuse3 and /dev/fuse are needed")
        time.sleep(0.01)
