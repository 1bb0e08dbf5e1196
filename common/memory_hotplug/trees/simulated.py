"""Trees of simulated machines. Only this module of the library uses memsim."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from memory_hotplug.attribute import ACPI, MEMORY, TIERS
from memory_hotplug.errors import BadMachineError
from memory_hotplug.trees import MARK
from memory_hotplug.trees.files import ABOUT, IOMEM, LOG, FileTree, read_one_by_one
from memory_hotplug.trees.many import Links
from safe_files.beneath import os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from memsim.directory import Directory
    from memsim.kernel import Kernel
    from memsim.machine import Machine as MachineAtBoot

__all__ = ["KernelTree", "SimulatedTree", "booted"]


def booted(
    profile: str | os.PathLike[str] | Mapping[str, Any] | None,
    sizes: Mapping[str, int] = MappingProxyType({}),
    faults: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
) -> KernelTree:
    """A simulated machine in memory, from a PROFILE or from SIZES; see `Machine.simulated`. Raises
    BadMachineError."""
    from memsim.description import MachineError, dump, parse
    from memsim.profile import boot

    if (profile is None) == (not sizes):
        raise BadMachineError("either a profile or sizes must be given")
    try:
        kernel = boot(_of_sizes(sizes) if profile is None else profile)
        if faults:
            described = dump(kernel.machine)
            described["faults"] = _with_faults(described["faults"], faults)
            kernel = boot(parse(described))
        return KernelTree(kernel)
    except BadMachineError:
        raise
    except MachineError as error:
        raise BadMachineError(str(error)) from None
    except OSError as error:
        raise BadMachineError(f"{error.filename}: {error.strerror}") from None
    except ValueError as error:
        # No file can have this path.
        raise BadMachineError(f"{profile}: {error}") from None


def _of_sizes(sizes: Mapping[str, int]) -> MachineAtBoot:
    from memsim.profile import layout

    for name, size in sizes.items():
        if type(size) is not int or size < 0:
            raise BadMachineError(f"{name}: expected a size in bytes, not {size!r}")
    if "memory" not in sizes:
        raise BadMachineError("memory: expected a size in bytes, but it is missing")
    memory = sizes["memory"]
    block_size = sizes.get("block_size", 128 << 20)
    if block_size < 1 << 20 or block_size & (block_size - 1):
        raise BadMachineError(
            f"block_size: expected a power of two from 1 MiB on, not {block_size}"
        )
    return layout(block_size, memory, standby=sizes.get("standby", 0), used=memory // 8)


def _with_faults(
    known: Mapping[str, Mapping[str, Any]], faults: Mapping[int, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The faults of a description, by transition and block, with FAULTS, by block and transition.
    What is wrong with them is found when the description is parsed."""
    found = {transition: dict(blocks) for transition, blocks in known.items()}
    if not isinstance(faults, Mapping):
        raise BadMachineError(f"faults: expected transitions by block, not {faults!r}")
    for block, transitions in faults.items():
        if type(block) is not int:
            raise BadMachineError(f"faults: expected the number of a block, not {block!r}")
        if not isinstance(transitions, Mapping):
            raise BadMachineError(
                f"faults[{block}]: expected {{transition: error}}, not {transitions!r}"
            )
        for transition, fault in transitions.items():
            found.setdefault(transition, {})[f"{block}"] = fault
    return found


def _read(path: str, kernel: Callable[[], Kernel], read: Callable[[str], bytes]) -> bytes:
    """The text of a file. Memory in use, if the machine has any, where memory is, and which devices
    brought it, only KERNEL knows; all else is READ."""
    if path.rpartition("/")[2] == "meminfo":
        from memsim.shell_files import MEMINFO, corrupted, meminfo

        now = kernel()
        text = corrupted(now) if path == MEMINFO else None
        text = meminfo(now, path) if now.machine.used else text
    elif path == LOG:
        text = "".join(f"{line}\n" for line in kernel().state.log)
    elif path == ABOUT:
        # What the pages of a real machine tell.
        import json

        now = kernel()
        about = {"page_size": now.machine.page_size, "offline_bytes": now.state.unplugged}
        text = json.dumps(about)
    elif path == IOMEM:
        from memsim.addresses import iomem

        text = iomem(kernel())
    elif path.startswith(ACPI):
        from memsim.addresses import acpi_block

        link, _, name = path.rpartition("/")
        block = acpi_block(kernel(), link)
        return read(f"{MEMORY}/memory{-1 if block is None else block}/{name}")
    elif path.startswith(TIERS):
        from memsim.tiers import tier_files

        text = tier_files(kernel()).get(path)
    else:
        return read(path)
    if text is None:
        raise os_error(errno.ENOENT, path)
    return text.encode()


def _names(
    directory: str, kernel: Callable[[], Kernel], names: Callable[[str], list[str]]
) -> list[str]:
    if directory.startswith(TIERS):
        from memsim.tiers import tier_files

        return sorted(path.split("/")[TIERS.count("/") + 1] for path in tier_files(kernel()))
    if not directory.startswith(ACPI):
        return names(directory)
    from memsim.addresses import acpi_names

    found = acpi_names(kernel(), directory)
    if found is None:
        raise os_error(errno.ENOENT, directory)
    return list(found)


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
    def _directory(self) -> Directory:
        from memsim.directory import Directory

        return Directory(self.root)

    def read(self, path: str) -> bytes:
        """See FileTree.read. No file of the directory has what only the simulated kernel knows."""
        return _read(path, self._kernel, super().read)

    def names(self, directory: str) -> list[str]:
        return _names(directory, self._kernel, super().names)

    def _kernel(self) -> Kernel:
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


def _remove(place: str, owner: int) -> None:
    """Remove a temporary directory, but not at the end of a copy of the process that made it."""
    import shutil

    if os.getpid() == owner:
        shutil.rmtree(place, ignore_errors=True)


class KernelTree:
    """A simulated machine in memory.

    Its lock and journal, and the layouts and rules that somebody puts there, are in a temporary
    directory, which is made when it is asked for and goes with this object.
    """

    root = "/"
    is_this_machine = False

    def __init__(self, kernel: Kernel) -> None:
        import threading

        from memsim.sysfs import Sysfs

        self._making = threading.Lock()
        self._place = ""
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

    @property
    def place(self) -> str:
        # Threads that ask at once must get the same one, or each would hold a lock of its own.
        with self._making:
            self._place = self._place or self._make_place()
            return self._place

    def _make_place(self) -> str:
        # Commands import this module, and would start later.
        import tempfile
        import weakref

        found = tempfile.mkdtemp(prefix="memory-hotplug-")
        weakref.finalize(self, _remove, found, os.getpid())
        # As the directory of a simulated machine has it.
        os.makedirs(f"{found}/{MEMORY}")
        os.mkdir(f"{found}/{MARK}")
        return found

    @property
    def system(self) -> str:
        return self.place

    def revision(self) -> object:
        return None

    def names(self, directory: str) -> list[str]:
        return _names(directory, self._kernel, self.sysfs.listdir)

    def read(self, path: str) -> bytes:
        return _read(path, self._kernel, self.sysfs.read)

    def _kernel(self) -> Kernel:
        return self.kernel

    def read_each(
        self,
        directory: str,
        numbers: Iterable[int],
        *attributes: str,
        links: Links | None = None,
    ) -> list[bytes | OSError]:
        return read_one_by_one(self, directory, numbers, *attributes, links=links)

    def write(self, path: str, word: str) -> None:
        self.sysfs.write(path, word.encode())

    def refusal(self, path: str) -> OSError | None:
        return None
