"""Mount a simulated machine with FUSE, so that the writes of any program go to its kernel.

Needs mfusepy (the extra `fuse`) and libfuse 3. Reads come from the machine's directory and writes
go through its kernel, so that the directory and all its mounts always agree.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from memsim.directory import PRIVATE, Directory
from memsim.errors import MountError, Obstacle
from memsim.sysfs import PAGE_SIZE

__all__ = ["Attributes", "fuse", "is_mounted", "mount"]

_SLICE: Final = 0.05
"""How often a delayed write checks whether it was interrupted, in seconds."""


def fuse() -> Any:
    """The module mfusepy. Raises MountError if FUSE cannot be used."""
    try:
        import mfusepy  # type: ignore[import-untyped]  # it has hints, and no py.typed
    except ImportError:
        raise MountError(Obstacle.NO_MFUSEPY) from None
    except (OSError, RuntimeError, AttributeError):
        raise MountError(Obstacle.NO_LIBFUSE) from None
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        there = os.path.exists("/dev/fuse")
        raise MountError(Obstacle.DENIED if there else Obstacle.NO_DEVICE)
    return mfusepy


def mount(root: str, mountpoint: str, *, foreground: bool = False) -> None:
    """Mount the machine in the directory ROOT on MOUNTPOINT until it is unmounted.

    In the foreground this returns when it is unmounted. Otherwise another process serves the file
    system, and this process exits with status 0 once it is mounted. Raises MountError.
    """
    machine = Directory(root)
    machine.kernel()
    module = fuse()
    if not os.path.isdir(mountpoint):
        raise MountError(Obstacle.NOT_A_DIRECTORY, mountpoint)
    places = [os.path.realpath(place) for place in (root, mountpoint)]
    if os.path.commonpath(places) in places:
        # The server would read the machine through its own mount, and wait for itself forever.
        raise MountError(Obstacle.ITSELF, mountpoint)
    if os.path.ismount(mountpoint):
        raise MountError(Obstacle.OCCUPIED, mountpoint)
    try:
        module.FUSE(
            Attributes(machine, module._libfuse.fuse_interrupted),
            os.path.abspath(mountpoint),
            foreground=foreground,
            direct_io=True,
            fsname="memsim",
            subtype="memsim",
            **_threads(module),
        )
    except RuntimeError:
        raise MountError(Obstacle.FAILED, mountpoint) from None


def _threads(module: Any) -> dict[str, int]:
    """Options that limit the threads: some versions of libfuse print warnings without them."""
    version = (module.fuse_version_major, module.fuse_version_minor)
    return {"max_threads": 10, "max_idle_threads": 10} if version >= (3, 12) else {}


def is_mounted(mountpoint: str) -> bool:
    return os.path.ismount(mountpoint)


class Attributes:
    """The operations that mfusepy calls, on the /sys of a machine.

    Every file has a size of 4096 bytes, as in sysfs.
    """

    use_ns = True

    def __init__(self, machine: Directory, interrupted: Callable[[], int]) -> None:
        """INTERRUPTED says whether the process that waits for this request got a signal."""
        self._machine = machine
        self._interrupted = interrupted

    def init_with_config(self, _connection: Any, config: Any) -> None:
        # A write to one attribute can change others, and readers must see it at once.
        if config is not None:
            for name in ("attr_timeout", "entry_timeout", "negative_timeout"):
                setattr(config, name, 0)

    def destroy(self, _path: str) -> None:
        """Do nothing: no resource is held between two calls."""

    def getattr(self, path: str, _file: Any = None) -> dict[str, Any]:
        found = os.lstat(self._real(path))
        is_file = stat.S_ISREG(found.st_mode)
        return {
            "st_mode": found.st_mode,
            "st_nlink": 1 if is_file else found.st_nlink,
            "st_uid": found.st_uid,
            "st_gid": found.st_gid,
            "st_size": PAGE_SIZE if is_file else 0,
            "st_atime": found.st_atime_ns,
            "st_mtime": found.st_mtime_ns,
            "st_ctime": found.st_ctime_ns,
        }

    def readdir(self, path: str, _file: Any) -> list[str]:
        return [".", "..", *(name for name in os.listdir(self._real(path)) if name != PRIVATE)]

    def readlink(self, path: str) -> str:
        return os.readlink(self._real(path))

    def open(self, path: str, flags: int) -> int:
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if writes and not os.stat(self._real(path)).st_mode & 0o200:
            self._denied()
        return 0

    def read(self, path: str, size: int, offset: int, _file: Any) -> bytes:
        with open(self._real(path), "rb") as file:
            return file.read()[offset : offset + size]

    def write(self, path: str, data: bytes, _offset: int, _file: Any) -> int:
        return self._machine.write(path.lstrip("/"), data, wait=self._wait)

    def truncate(self, path: str, _length: int, _file: Any = None) -> None:
        """Do nothing: sysfs accepts O_TRUNC and does not change the attribute."""
        os.stat(self._real(path))

    def _denied(self, *_arguments: object) -> NoReturn:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    create = mknod = mkdir = unlink = rmdir = symlink = rename = link = _denied

    def _real(self, path: str) -> str:
        if path == f"/{PRIVATE}" or path.startswith(f"/{PRIVATE}/"):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._machine.root + path

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._interrupted():
                raise OSError(errno.EINTR, os.strerror(errno.EINTR))
            time.sleep(min(left, _SLICE))
