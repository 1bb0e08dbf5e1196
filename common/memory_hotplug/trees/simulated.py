"""Trees of simulated machines. Only this module of the library uses memsim."""

import errno
import os
import time
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Self

from memory_hotplug.attribute import ACPI, MEMORY, TIERS
from memory_hotplug.errors import BadMachineError
from memory_hotplug.trees.files import IOMEM, LOG, FileTree, names_one_by_one
from memory_hotplug.trees.many import or_error
from safe_files.beneath import os_error

if TYPE_CHECKING:
    from memsim.directory import Directory
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
        raise BadMachineError(f"{os.fsdecode(profile)}: {error.strerror}") from None
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
        self._known: tuple[object, Kernel] | None = None
        """The simulated kernel, and the revision of the machine that it is of."""

    @cached_property
    def _directory(self) -> "Directory":
        from memsim.directory import Directory

        return Directory(self.root)

    def read(self, path: str) -> bytes:
        """See FileTree.read. Memory in use, if the machine has any, where memory is, and which
        devices brought it, only the simulated kernel knows: no file of the directory says it."""
        if path.rpartition("/")[2] == "meminfo":
            from memsim.shell_files import meminfo

            kernel = self._kernel()
            text = meminfo(kernel, path) if kernel.machine.used else None
        elif path == LOG:
            text = "".join(f"{line}\n" for line in self._kernel().state.log)
        elif path == IOMEM:
            from memsim.addresses import iomem

            text = iomem(self._kernel())
        elif path.startswith(ACPI):
            from memsim.addresses import acpi_block

            link, _, name = path.rpartition("/")
            block = acpi_block(self._kernel(), link)
            return super().read(f"{MEMORY}/memory{-1 if block is None else block}/{name}")
        elif path.startswith(TIERS):
            from memsim.tiers import tier_files

            text = tier_files(self._kernel()).get(path)
        else:
            return super().read(path)
        if text is None:
            raise os_error(errno.ENOENT, path)
        return text.encode()

    def names(self, directory: str) -> list[str]:
        if directory.startswith(TIERS):
            from memsim.tiers import tier_files

            return sorted(
                path.split("/")[TIERS.count("/") + 1] for path in tier_files(self._kernel())
            )
        if not directory.startswith(ACPI):
            return super().names(directory)
        from memsim.addresses import acpi_names

        found = acpi_names(self._kernel(), directory)
        if found is None:
            raise os_error(errno.ENOENT, directory)
        return list(found)

    def _kernel(self) -> "Kernel":
        revision = self.revision()
        if self._known is None or self._known[0] != revision:
            self._known = revision, self._directory.kernel()
        return self._known[1]

    def write(self, path: str, word: str) -> None:
        try:
            self._directory.write(path, word.encode())
        except OSError:
            raise
        except BaseException:
            # An exception from a signal handler may have interrupted the simulated kernel.
            self._directory.settle()
            raise

    def revision(self) -> object:
        """Costs one stat(). Two changes within one tick of the file system's clock can have the
        same revision."""
        # Each change of the machine renames files into this directory.
        return os.stat(MARK, dir_fd=self._root, follow_symlinks=False).st_mtime_ns

    def refusal(self, path: str) -> OSError | None:
        from memsim.directory import DamagedError

        # The simulated kernel replaces files, so their other names keep the old content.
        refused = self._refusal(path, shared=True)
        if refused:
            return refused
        if not os.access(MARK, os.W_OK, dir_fd=self._root):
            return os_error(errno.EACCES, path)
        if not self._sound:
            try:
                self._directory.kernel()
            except DamagedError as error:
                return OSError(errno.EROFS, error.strerror, path)
            except OSError as error:
                return error
            self._sound = True
        return None


class KernelTree:
    """A simulated machine in memory."""

    root = system = "/"
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
        def text(number: int) -> bytes:
            return self.read(f"{directory}/memory{number}/{attribute}")

        return [or_error(text, number) for number in numbers]

    def names_each(
        self, directory: str, numbers: Iterable[int], prefix: str
    ) -> list[bytes | OSError]:
        return names_one_by_one(self, directory, numbers, prefix)

    def write(self, path: str, word: str) -> None:
        self.sysfs.write(path, word.encode())

    def refusal(self, path: str) -> OSError | None:
        return None
