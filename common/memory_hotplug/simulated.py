"""Trees of simulated machines. Only this module of the library uses memsim."""

import errno
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from memory_hotplug.beneath import os_error
from memory_hotplug.errors import BadMachineError
from memory_hotplug.tree import FileTree

if TYPE_CHECKING:
    from memsim.kernel import Kernel

__all__ = ["MARK", "KernelTree", "SimulatedTree", "booted", "is_simulated"]

MARK = ".memsim"
"""The directory, beside the tree, for what only the simulated kernel knows."""


def is_simulated(root: str) -> bool:
    """Whether a directory is a simulated machine, even a damaged one. Costs one stat()."""
    return os.path.lexists(f"{root}/{MARK}")


def booted(profile: str | os.PathLike[str]) -> "KernelTree":
    """A simulated machine in memory. Raises BadMachineError."""
    from memsim.description import MachineError
    from memsim.profile import boot

    try:
        return KernelTree(boot(profile))
    except MachineError as error:
        raise BadMachineError(str(error)) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadMachineError(f"{os.fsdecode(profile)}: {reason}") from None
    except ValueError as error:
        # No file can have this path.
        raise BadMachineError(f"{os.fsdecode(profile)}: {error}") from None


class SimulatedTree(FileTree):
    """The directory of a simulated machine. It is read as any other tree; writes go to the
    simulated kernel."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._sound = False
        """Whether the records of the machine were checked and are not damaged."""

    def read(self, path: str) -> bytes:
        """See FileTree.read. The directory has no file about memory in use: the simulated kernel
        counts it, if the machine has any."""
        if path.rpartition("/")[2] == "meminfo":
            from memsim import directory
            from memsim.surroundings import meminfo

            kernel = directory.Directory(self.root).kernel()
            text = meminfo(kernel, path) if kernel.machine.used else None
            if text is None:
                raise os_error(errno.ENOENT, path)
            return text.encode()
        return super().read(path)

    def write(self, path: str, word: str) -> None:
        from memsim import directory

        try:
            directory.write(self.root, path, word.encode())
        except OSError:
            raise
        except BaseException:
            # An exception from a signal handler may have interrupted the simulated kernel.
            directory.Directory(self.root).settle()
            raise

    def revision(self) -> object:
        """Costs one stat(). Two changes within one tick of the file system's clock can have the
        same revision."""
        # Each change of the machine renames files into this directory.
        return os.stat(MARK, dir_fd=self._root, follow_symlinks=False).st_mtime_ns

    def refusal(self, path: str) -> OSError | None:
        from memsim import directory

        # The simulated kernel replaces files, so their other names keep the old content.
        refused = self._refusal(path, shared=True)
        if refused:
            return refused
        if not os.access(MARK, os.W_OK, dir_fd=self._root):
            return os_error(errno.EACCES, path)
        if not self._sound:
            try:
                directory.Directory(self.root).kernel()
            except directory.DamagedError as error:
                return OSError(errno.EROFS, error.strerror, path)
            except OSError as error:
                return error
            self._sound = True
        return None


class KernelTree:
    """A simulated machine in memory."""

    root = "/"
    is_this_machine = False

    def __init__(self, kernel: "Kernel") -> None:
        from memsim.sysfs import Sysfs

        self.kernel = kernel
        self.sysfs = Sysfs(kernel)
        # The simulated kernel has no clock, so the delay of a transition is spent here.
        kernel.wait = time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""

    def revision(self) -> object:
        return None

    def names(self, directory: str) -> list[str]:
        return self.sysfs.listdir(directory)

    def read(self, path: str) -> bytes:
        return self.sysfs.read(path)

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        values: list[bytes | OSError] = []
        for number in numbers:
            try:
                values.append(self.sysfs.read(f"{directory}/memory{number}/{attribute}"))
            except OSError as error:
                values.append(error)
        return values

    def write(self, path: str, word: str) -> None:
        self.sysfs.write(path, word.encode())

    def refusal(self, path: str) -> OSError | None:
        return None
