"""Read, write and list attributes below a root: the only module that touches files.

Paths are relative to the root and use no leading slash: ``sys/devices/system/memory``.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import tarfile

    from memsim.kernel import Kernel

_PAGE = 4096
"""A sysfs attribute never holds more (fs/sysfs/file.c)."""

_SHORT = 128
"""More than the kernel has to say of a block; to make room for a page takes longer than to read."""

_WRITING = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree(Protocol):
    """What a machine is read from and written to. All errors are OSError, as the kernel's."""

    root: str

    def names(self, directory: str) -> list[str]:
        """The names in a directory, in no order."""

    def read(self, path: str) -> bytes:
        """The text of an attribute."""

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        """An attribute of the directories memoryN below one, for each N; or why it has none."""

    def write(self, path: str, word: str) -> None:
        """Write one word to an attribute, in a single write, and without a newline."""

    def refusal(self, path: str) -> OSError | None:
        """Why a write to the attribute could not even be tried; None where it can."""


class FileTree:
    """A tree of files: the machine's own /sys, a captured one, or one made by memsim."""

    def __init__(self, root: str) -> None:
        self.root = root or "/"
        self._writable: dict[str, tuple[int, frozenset[str]]] = {}
        """Directory -> its descriptor, and the symbolic links in it."""
        self._simulated: bool | None = None
        self._sound = False
        """Whether a simulated machine's own records were found to be whole."""

    def __del__(self) -> None:
        for directory, _ in self._writable.values():
            os.close(directory)

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}"

    def names(self, directory: str) -> list[str]:
        return os.listdir(self._path(directory))

    def read(self, path: str) -> bytes:
        return _read(self._path(path))

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        # On a large machine this loop is most of lsmem: three system calls, and nothing else.
        # Paths of bytes spare it the encoding.
        path = b"memory%d/" + os.fsencode(attribute)
        open_, read, close, flags = os.open, os.read, os.close, os.O_RDONLY | os.O_CLOEXEC
        values: list[bytes | OSError] = []
        append = values.append
        at = open_(self._path(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for number in numbers:
                try:
                    file = open_(path % number, flags, dir_fd=at)
                    try:
                        text = read(file, _SHORT)
                        append(text if len(text) < _SHORT else text + read(file, _PAGE))
                    finally:
                        close(file)
                except OSError as error:
                    append(error)
        finally:
            close(at)
        return values

    def write(self, path: str, word: str) -> None:
        """Write WORD as the whole of the attribute, in one write.

        Below a root made by memsim the simulated kernel answers. Elsewhere no symbolic link is
        followed on the way from the root to the attribute: what a captured tree links to may be
        this machine's own /sys. Raises OSError, ELOOP or ENOTDIR where there is such a link.
        """
        if self._is_simulated():
            from memsim import directory

            try:
                directory.write(self.root, path, word.encode())
            except OSError:
                raise
            except BaseException:
                # What a signal handler raised may have cut the simulated kernel short.
                directory.Directory(self.root).settle()
                raise
            return
        at, way = self._place(path)
        file = os.open(way, _WRITING, dir_fd=at)
        data = word.encode()
        try:
            os.write(file, data)
            if self.root != "/":
                # A captured file must hold the word and no more. To truncate it at the opening
                # would cost as much as the rest: file systems then flush it when it is closed.
                os.ftruncate(file, len(data))
        finally:
            os.close(file)

    def revision(self) -> object:
        """For a machine made by memsim, something that differs once it has changed; else None.

        Costs one stat(). Two changes within a tick of the file system's clock can share one.
        """
        if not self._is_simulated():
            return None
        from memsim import directory

        # Every change of the machine renames files into this directory.
        return os.stat(self._path(directory.PRIVATE)).st_mtime_ns

    def refusal(self, path: str) -> OSError | None:
        """Why `write` could not be tried, found out without opening the attribute.

        A file that nobody may write to counts as such for root, too: a tree of a read-only
        medium, or one that its owner protected.
        """
        try:
            at, way = self._place(path)
            mode = os.stat(way, dir_fd=at, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                return _error(errno.ELOOP, path)
            allowed = os.access(way, os.W_OK, dir_fd=at)
            read_only = bool(os.fstatvfs(at).f_flag & os.ST_RDONLY)
            if self._is_simulated():
                from memsim import directory

                allowed = allowed and os.access(f"{self.root}/{directory.PRIVATE}", os.W_OK)
                if allowed and not self._sound:
                    try:
                        directory.Directory(self.root).kernel()
                        self._sound = True
                    except directory.DamagedError as error:
                        return OSError(errno.EROFS, error.strerror, path)
        except OSError as error:
            return error
        if read_only:
            return _error(errno.EROFS, path)
        return None if allowed and mode & 0o222 else _error(errno.EACCES, path)

    def _is_simulated(self) -> bool:
        if self._simulated is None:
            self._simulated = self.root != "/" and _is_simulated(self.root)
        return self._simulated

    def _place(self, path: str) -> tuple[int, str]:
        """A kept descriptor, and the way from there to the attribute, by no symbolic link.

        Only the attribute itself may still be one. Links among the blocks are looked for once:
        to open each block's directory for itself would cost as much as the write.
        """
        block, _, name = path.rpartition("/")
        above, _, block = block.rpartition("/")
        if above not in self._writable:
            at = self._directory(above)
            with os.scandir(at) as entries:
                links = frozenset(entry.name for entry in entries if entry.is_symlink())
            self._writable[above] = at, links
        at, links = self._writable[above]
        if block in links:
            raise _error(errno.ELOOP, path)
        return at, f"{block}/{name}"

    def _directory(self, path: str) -> int:
        """A new descriptor of a directory below the root, reached through no symbolic link."""
        at = os.open(self.root, os.O_DIRECTORY | os.O_CLOEXEC)
        for name in path.split("/"):
            try:
                below = os.open(name, _BELOW, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at


class KernelTree:
    """A simulated machine in memory."""

    def __init__(self, kernel: "Kernel") -> None:
        from memsim.sysfs import Sysfs

        self.root = "/"
        self.kernel = kernel
        self.sysfs = Sysfs(kernel)
        # The kernel has no clock; what a transition takes is spent here, as by a real one.
        kernel.wait = time.sleep

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


class ArchiveTree:
    """A tree in a tar archive, compressed or not, as ``memsim capture`` writes; read-only."""

    def __init__(self, path: str) -> None:
        """Raises OSError where the file cannot be read, or is no whole archive."""
        import tarfile
        import zlib

        self.root = path
        self._files: dict[str, bytes] = {}
        self._names: dict[str, set[str]] = {}
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    self._add(archive, member)
        except (tarfile.TarError, EOFError, zlib.error):
            raise OSError(errno.EINVAL, "not an archive, or a damaged one", path) from None

    def _add(self, archive: "tarfile.TarFile", member: "tarfile.TarInfo") -> None:
        name = _below_root(member.name)
        if member.isfile():
            content = archive.extractfile(member)
            self._files[name] = content.read(_PAGE) if content else b""
        elif member.islnk() and (target := _below_root(member.linkname)) in self._files:
            self._files[name] = self._files[target]
        while name and name not in self._names.get(os.path.dirname(name), ()):
            above, last = os.path.split(name)
            self._names.setdefault(above, set()).add(last)
            name = above

    def names(self, directory: str) -> list[str]:
        try:
            return list(self._names[directory])
        except KeyError:
            kind = errno.ENOTDIR if directory in self._files else errno.ENOENT
            raise _error(kind, f"{self.root}/{directory}") from None

    def read(self, path: str) -> bytes:
        try:
            return self._files[path]
        except KeyError:
            raise _error(errno.ENOENT, f"{self.root}/{path}") from None

    def read_each(
        self, directory: str, numbers: Iterable[int], attribute: str
    ) -> list[bytes | OSError]:
        missing = _error(errno.ENOENT, f"{self.root}/{directory}")
        return [
            self._files.get(f"{directory}/memory{number}/{attribute}", missing)
            for number in numbers
        ]

    def write(self, path: str, word: str) -> None:
        raise _error(errno.EROFS, f"{self.root}/{path}")

    def refusal(self, path: str) -> OSError | None:
        return _error(errno.EROFS, f"{self.root}/{path}")


def tree_at(root: str) -> Tree:
    """The tree below a directory, or in an archive; OSError where it is a file and no archive."""
    return ArchiveTree(root) if os.path.isfile(root) else FileTree(root)


def _below_root(name: str) -> str:
    """The path of an archive's member from the root, which may be a directory in the archive."""
    found = re.search(r"(?:^|/)(sys/.+)", os.path.normpath(name))
    return found[1] if found else ""


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def gone(error: OSError) -> bool:
    """Whether the error says that the file does not exist, now or at all."""
    return error.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _PAGE)
    finally:
        os.close(file)


def _is_simulated(root: str) -> bool:
    from memsim import directory

    return directory.is_marked(root)
