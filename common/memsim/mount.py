"""Mount a simulated machine with FUSE, so that the writes of any program go to its kernel.

Needs mfusepy (the extra `fuse`) and libfuse 3. Reads and writes go through the kernel of the
machine's directory, so that the directory and all its mounts always agree.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from memsim.attributes import check_uevent
from memsim.directory import Directory
from memsim.errors import MountError, Obstacle
from memsim.reader import Reader
from memsim.shell_files import ShellFiles
from memsim.shown import Shown
from safe_files.errno_names import error_of

__all__ = ["Attributes", "Surrounded", "fuse", "is_mounted", "mount_machine"]

_FORMATS: Final = {"dir": stat.S_IFDIR, "file": stat.S_IFREG, "link": stat.S_IFLNK}

_SLICE: Final = 0.05
"""How often a delayed write checks whether it was interrupted, in seconds."""

_LONG: Final = 86400
"""How long the kernel may keep what cannot change, in seconds."""


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


def mount_machine(
    root: str, mountpoint: str, *, foreground: bool = False, shell_files: bool = False
) -> None:
    """Mount the machine in the directory ROOT on MOUNTPOINT until it is unmounted.

    With SHELL_FILES there are also the files that shell_files.py describes.

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
    operations = Surrounded if shell_files else Attributes
    try:
        module.FUSE(
            operations(machine, module._libfuse.fuse_interrupted),
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

    Every file has a size of 4096 bytes, as in sysfs. What there is and what a read returns comes
    from the machine's records, and not from the files of its tree.
    """

    use_ns = True

    def __init__(self, machine: Directory, interrupted: Callable[[], int]) -> None:
        """INTERRUPTED says whether the process that waits for this request got a signal."""
        self._machine = machine
        self._reader = Reader(machine)
        self._comes_and_goes = self._reader.kernel.machine.firmware
        self._interrupted = interrupted
        self._owner = os.stat(machine.root)

    def init_with_config(self, _connection: Any, config: Any) -> None:
        # Blocks come and go only where they are configured, and not only by writes to this mount.
        # Elsewhere every name and mode stays, so the kernel asks for each of them once.
        timeout = 0 if self._comes_and_goes else _LONG
        if config is not None:
            for name in ("attr_timeout", "entry_timeout", "negative_timeout"):
                setattr(config, name, timeout)

    def destroy(self, _path: str) -> None:
        """Do nothing: no resource is held between two calls."""

    def getattr(self, path: str, _file: Any = None) -> dict[str, Any]:
        entry = self._reader.sysfs.entry(path)
        return {
            "st_mode": _FORMATS[entry.kind] | entry.mode,
            "st_nlink": 2 if entry.kind == "dir" else 1,
            "st_uid": self._owner.st_uid,
            "st_gid": self._owner.st_gid,
            "st_size": self._page_size if entry.kind == "file" else 0,
            "st_atime": self._owner.st_atime_ns,
            "st_mtime": self._owner.st_mtime_ns,
            "st_ctime": self._owner.st_ctime_ns,
        }

    @property
    def _page_size(self) -> int:
        """What stat() says of the size of each file."""
        return self._reader.sysfs.kernel.machine.page_size

    def readdir(self, path: str, _file: Any) -> list[str]:
        return [".", "..", *self._reader.sysfs.listdir(path)]

    def readlink(self, path: str) -> str:
        return self._reader.sysfs.readlink(path)

    def open(self, path: str, flags: int) -> int:
        mode = self._reader.sysfs.entry(path).mode
        if flags & os.O_ACCMODE != os.O_RDONLY and not mode & 0o200:
            self._denied()
        return 0

    def read(self, path: str, size: int, offset: int, _file: Any) -> bytes:
        return self._reader.sysfs.read(path)[offset : offset + size]

    def write(self, path: str, data: bytes, _offset: int, _file: Any) -> int:
        return self._machine.write(path.lstrip("/"), data, wait=self._wait)

    def truncate(self, path: str, _length: int, _file: Any = None) -> None:
        """Do nothing: sysfs accepts O_TRUNC and does not change the attribute."""
        self._reader.sysfs.entry(path)

    def _denied(self, *_arguments: object) -> NoReturn:
        raise error_of(errno.EACCES)

    create = mknod = mkdir = unlink = rmdir = symlink = rename = link = _denied

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._interrupted():
                raise error_of(errno.EINTR)
            time.sleep(min(left, _SLICE))


class Surrounded(Attributes):
    """The machine's attributes, and the files around the machine. Its own files come first."""

    def __init__(self, machine: Directory, interrupted: Callable[[], int]) -> None:
        super().__init__(machine, interrupted)
        self._shell_files = ShellFiles(self._reader)
        self._began = time.time_ns()

    def getattr(self, path: str, file: Any = None) -> dict[str, Any]:
        shown = self._shown(path)
        if not shown:
            return super().getattr(path, file)
        mode, size = stat.S_IFREG | (0o644 if shown.writable else 0o444), self._page_size
        if shown.names is not None:
            mode, size = stat.S_IFDIR | 0o755, 0
        elif shown.target is not None:
            mode, size = stat.S_IFLNK | 0o777, 0
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._began)
        return {"st_mode": mode, "st_nlink": 1, "st_size": size, "st_uid": 0, "st_gid": 0, **times}

    def readdir(self, path: str, file: Any) -> list[str]:
        shown = self._shown(path)
        if shown:
            return [".", "..", *(shown.names or ())]
        names = (*super().readdir(path, file), *self._shell_files.names(path.strip("/")))
        return list(dict.fromkeys(names))

    def readlink(self, path: str) -> str:
        shown = self._shown(path)
        return shown.target or "" if shown else super().readlink(path)

    def open(self, path: str, flags: int) -> int:
        shown = self._shown(path)
        if not shown:
            return super().open(path, flags)
        if flags & os.O_ACCMODE != os.O_RDONLY and not shown.writable:
            self._denied()
        return 0

    def read(self, path: str, size: int, offset: int, file: Any) -> bytes:
        shown = self._shown(path)
        if not shown:
            return super().read(path, size, offset, file)
        data = (f"{shown.text}\n" if shown.text else "").encode()[offset : offset + size]
        return data[: data.find(b"\n") + 1] if shown.by_line else data

    def write(self, path: str, data: bytes, offset: int, file: Any) -> int:
        if self._shown(path) is None:
            return super().write(path, data, offset, file)
        check_uevent(data.decode("latin-1"))
        return len(data)

    def truncate(self, path: str, length: int, file: Any = None) -> None:
        if self._shown(path) is None:
            super().truncate(path, length, file)

    def _shown(self, path: str) -> Shown | None:
        return self._shell_files.find(path.strip("/"))
