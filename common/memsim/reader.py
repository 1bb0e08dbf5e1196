"""Read a machine in a directory again and again, as a mounted file system does."""

from __future__ import annotations

import errno
import os
import stat

from memsim import records
from memsim.directory import Directory
from memsim.errors import DamagedError
from memsim.kernel import Kernel
from memsim.machine_files import JOURNAL, LIVE, PRIVATE
from memsim.sysfs import Sysfs
from safe_files.linkless import DIRECTORY, Beneath, close

__all__ = ["Reader"]


class Reader:
    """The /sys of a machine in a directory. It is loaded again only if the machine has changed.

    Every method raises the errors of Directory. Several threads may use it.
    """

    def __init__(self, machine: Directory) -> None:
        self._machine = machine
        with Beneath(machine.root) as files:
            # A descriptor of its own: those of Beneath are not for several threads.
            self._private = os.open(".", DIRECTORY, dir_fd=files.directory(PRIVATE))
        self._seen: tuple[bytes | None, bytes | None, Sysfs] = (None, None, Sysfs(machine.kernel()))

    @property
    def kernel(self) -> Kernel:
        """The machine in its present condition, to read."""
        return self.sysfs.kernel

    @property
    def sysfs(self) -> Sysfs:
        """The /sys of the machine in its present condition, to read."""
        seen = self._seen
        if seen[:2] != (self._record(LIVE), self._record(JOURNAL)):
            look = self._machine.look()
            self._seen = seen = look.live, look.journal, Sysfs(look.kernel)
        return seen[2]

    def _record(self, path: str) -> bytes | None:
        """The content of a record; None if it does not exist."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = os.open(os.path.basename(path), flags, dir_fd=self._private)
        except FileNotFoundError:
            return None
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > records.MOST_JOURNAL:
                raise DamagedError(self._machine.root, path, os.strerror(errno.EINVAL))
            return os.read(file, found.st_size)
        finally:
            close(file)
