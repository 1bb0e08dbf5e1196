"""Trees of simulated machines: all that is asked of memsim is asked here."""

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
"""What a directory made by memsim holds besides the tree: what the kernel keeps to itself."""


def is_simulated(root: str) -> bool:
    """Whether a directory was made by memsim, damaged or not; costs one stat()."""
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
        # A path that no file can have.
        raise BadMachineError(f"{os.fsdecode(profile)}: {error}") from None


class SimulatedTree(FileTree):
    """A directory made by memsim: it is read as any other, and the simulated kernel answers to
    what is written."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._sound = False
        """Whether the machine's own records were found to be whole."""

    def write(self, path: str, word: str) -> None:
        from memsim import directory

        try:
            directory.write(self.root, path, word.encode())
        except OSError:
            raise
        except BaseException:
            # What a signal handler raised may have cut the simulated kernel short.
            directory.Directory(self.root).settle()
            raise

    def revision(self) -> object:
        """Costs one stat(). Two changes within a tick of the file system's clock can share one."""
        # Every change of the machine renames files into this directory.
        return os.stat(MARK, dir_fd=self._root, follow_symlinks=False).st_mtime_ns

    def refusal(self, path: str) -> OSError | None:
        from memsim import directory

        # The simulated kernel replaces files: their other names keep what they hold.
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
        # The kernel has no clock; what a transition takes is spent here, as by a real one.
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
