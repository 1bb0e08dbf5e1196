"""A simulated machine in a directory of plain files.

The directory `sys` has the files of the machine's /sys, which any program can read. The directory
`.memsim` has what only the machine's kernel knows:

    machine.json   the mark: the machine at boot, as description.py describes it, with a checksum
    blocks         two bytes for each block number: its place, and its flags
    live.json      everything else that changes: spans, counts, the pool, parameters, faults
    journal.json   only during a write: all its effects
    lock           locked (flock) during a write
    new, old       files and directories before and after they are renamed

A write holds the lock, as the kernel holds its hotplug lock. It first writes its effects into the
journal and renames that into place: then the write has happened. If a writer is killed, the next
one that opens the machine completes what the journal says. Every file, link and directory of the
tree is made elsewhere and renamed into place, so that a reader never sees one that is not
complete. This holds if writers are killed; after a power failure it depends on the file system.

The cost of a write depends on what it changes and not on the size of the machine, except for
reading `blocks`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from memsim.description import MachineError, dump, parse
from memsim.kernel import Kernel
from memsim.kernel.state import Uevent
from memsim.machine import Machine
from memsim.records import live, restored
from memsim.sysfs import NODE, Changes, Sysfs

__all__ = [
    "MARK",
    "PRIVATE",
    "DamagedError",
    "Directory",
    "create",
    "is_marked",
    "write",
]

PRIVATE: Final = ".memsim"
MARK: Final = f"{PRIVATE}/machine.json"
"""The file that marks a tree as a simulated machine."""


class DamagedError(OSError):
    """The records in `.memsim` are damaged; the tree can still be read."""


def is_marked(root: str | os.PathLike[str]) -> bool:
    """Whether a tree is a simulated machine, even a damaged one. Costs one stat()."""
    return os.path.lexists(f"{os.fspath(root)}/{PRIVATE}")


def create(path: str | os.PathLike[str], kernel: Kernel) -> None:
    """Put a machine into a new directory, which appears complete or not at all.

    Raises FileExistsError if the path exists and is not an empty directory, and FileNotFoundError
    if its parent does not exist.
    """
    sysfs = Sysfs(kernel)
    final = Path(path).absolute()
    if final.is_symlink() or (final.exists() and not (final.is_dir() and not any(final.iterdir()))):
        raise FileExistsError(17, os.strerror(17), str(path))
    made = final.with_name(f".{final.name}.{os.getpid()}.new")
    if not final.parent.is_dir():
        raise FileNotFoundError(2, f"there is no directory {final.parent}", str(path))
    try:
        made.mkdir()
        _make_tree(sysfs, "", made)
        private = made / PRIVATE
        private.mkdir()
        machine = json.dumps(dump(kernel.machine))
        (private / "machine.json").write_text(f"{_checksum(machine)}\n{machine}\n")
        (private / "blocks").write_bytes(kernel.blocks.content())
        (private / "live.json").write_text(json.dumps(live(kernel)))
        (private / "lock").touch()
        made.chmod(0o755)
        made.rename(final)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    sysfs.take_changes()


def write(root: str | os.PathLike[str], path: str, data: bytes) -> int:
    """Do one write() to an attribute of the machine below ROOT; return the number of bytes taken.

    Raises the OSError of a real kernel. During a delay of the transition the lock is held: other
    writers wait, as for the kernel's hotplug lock, and readers see the state `going-offline`. If a
    signal handler raises an exception then, nothing is changed.
    """
    return Directory(root).write(path, data)


class Directory:
    """A machine in a directory. It keeps nothing open between calls, so there can be many."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Raises FileNotFoundError if there is no simulated machine in ROOT."""
        self.root = os.path.abspath(root)
        self._private = f"{self.root}/{PRIVATE}"
        if not is_marked(root):
            raise FileNotFoundError(2, "not a simulated machine", os.fspath(root))

    def write(
        self,
        path: str,
        data: bytes,
        *,
        wait: Callable[[float], None] = time.sleep,
        listener: Callable[[Uevent, str], None] | None = None,
    ) -> int:
        """Like the function `write`. WAIT is called for a delay, LISTENER for each uevent."""
        with self._locked() as sysfs:

            def wait_shown(seconds: float) -> None:
                with self._shown(sysfs):
                    wait(seconds)

            sysfs.kernel.wait = wait_shown
            if listener:
                sysfs.listeners.append(listener)
            with self._kept(sysfs):
                return sysfs.write(path, data)

    def change(self, how: Callable[[Kernel], None]) -> None:
        """Change the machine in another way than by a write, such as a reboot or a fault."""
        with self._locked() as sysfs, self._kept(sysfs):
            how(sysfs.kernel)

    def kernel(self) -> Kernel:
        """The machine in its present condition, to read; changes of it are not stored."""
        with self._locked() as sysfs:
            return sysfs.kernel

    def settle(self) -> None:
        """Complete the write of a killed writer. Costs one stat() if there is none."""
        if os.path.exists(f"{self._private}/journal.json"):
            with self._locked():
                pass

    # The private files.

    @contextmanager
    def _locked(self) -> Iterator[Sysfs]:
        with self._damage():
            lock = os.open(f"{self._private}/lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._damage():
                machine = self._machine()
                self._complete(machine)
                sysfs = self._load(machine, self._read("blocks"), self._read_json("live.json"))
            yield sysfs
        finally:
            os.close(lock)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, FileNotFoundError) as error:
            raise DamagedError(
                5,
                f"the simulated machine's own records in {PRIVATE} are damaged, so it can only "
                "be read; make a new one with memsim create",
                self.root,
            ) from error

    def _machine(self) -> Machine:
        checksum, text, rest = self._read("machine.json").decode().split("\n")
        if checksum != _checksum(text) or rest:
            raise MachineError("wrong checksum")
        return parse(json.loads(text))

    @staticmethod
    def _load(machine: Machine, blocks: bytes, live: Any) -> Sysfs:
        return Sysfs(restored(machine, blocks, live))

    def _read_json(self, name: str) -> Any:
        return json.loads(self._read(name))

    def _read(self, name: str) -> bytes:
        with open(f"{self._private}/{name}", "rb") as file:
            return file.read()

    # Writing.

    @contextmanager
    def _kept(self, sysfs: Sysfs) -> Iterator[None]:
        """A context that stores all changes of the kernel at its end, also after an OSError."""
        try:
            yield
        finally:
            changes = sysfs.take_changes()
            if changes.live:
                self._replace("journal.json", json.dumps(_journal(sysfs.kernel, changes)))
                self._carry_out(sysfs, changes)

    @contextmanager
    def _shown(self, sysfs: Sysfs) -> Iterator[None]:
        """A context in which attributes show other values; a kill does not make them stay."""
        texts = sysfs.meanwhile()
        if not texts:
            yield
            return
        before = {path: Path(self.root, path).read_bytes() for path in texts}
        shown = {"show": {path: text.decode() for path, text in before.items()}}
        self._replace("journal.json", json.dumps(shown))
        try:
            for path, text in texts.items():
                self._show(path, text, 0o644)
            yield
        finally:
            for path, text in before.items():
                self._show(path, text, 0o644)
            os.unlink(f"{self._private}/journal.json")

    def _complete(self, machine: Machine) -> None:
        """Carry out the journal; to do it twice does no harm."""
        try:
            journal = self._read_json("journal.json")
        except FileNotFoundError:
            return
        if "show" in journal:
            for path, text in journal["show"].items():
                self._show(path, text.encode(), 0o644)
            os.unlink(f"{self._private}/journal.json")
            return
        content = bytearray(self._read("blocks"))
        blocks = {int(index): (place, flags) for index, (place, flags) in journal["blocks"].items()}
        for index, (place, flags) in blocks.items():
            content[index], content[index + len(content) // 2] = place, flags
        sysfs = self._load(machine, bytes(content), journal["live"])
        self._carry_out(sysfs, Changes(blocks, tuple(journal["paths"]), live=True))

    def _carry_out(self, sysfs: Sysfs, changes: Changes) -> None:
        blocks = os.open(f"{self._private}/blocks", os.O_WRONLY | os.O_CLOEXEC)
        try:
            for index, (place, flags) in changes.blocks.items():
                os.pwrite(blocks, bytes([place]), index)
                os.pwrite(blocks, bytes([flags]), index + len(sysfs.kernel.blocks.place))
        finally:
            os.close(blocks)
        self._replace("live.json", json.dumps(live(sysfs.kernel)))
        # A directory is made before the links to it, and removed after them.
        for path in sorted(changes.paths, key=lambda path: path.startswith(NODE)):
            if sysfs.kind(path):
                self._match(sysfs, path)
        for path in sorted(changes.paths, key=lambda path: not path.startswith(NODE)):
            if not sysfs.kind(path):
                self._remove(path)
        os.unlink(f"{self._private}/journal.json")

    def _match(self, sysfs: Sysfs, path: str) -> None:
        """Make the file, link or directory at a path what the kernel shows there."""
        target = f"{self.root}/{path}"
        kind = sysfs.kind(path)
        if kind == "file":
            self._show(path, sysfs.read(path), sysfs.mode(path))
        elif kind == "link":
            if not os.path.islink(target):
                os.symlink(sysfs.readlink(path), target)
        elif os.path.isdir(target):
            for name in sysfs.listdir(path):
                self._match(sysfs, f"{path}/{name}")
        else:
            self._discard("new")
            new = Path(self._private, "new")
            _make_tree(sysfs, path, new)
            new.rename(target)

    def _show(self, path: str, text: bytes, mode: int) -> None:
        self._put(f"{self.root}/{path}", text, mode)

    def _replace(self, name: str, text: str) -> None:
        self._put(f"{self._private}/{name}", text.encode(), 0o644)

    def _put(self, target: str, content: bytes, mode: int) -> None:
        new = f"{self._private}/new"
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            self._discard("new")
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.write(file, content)
        finally:
            os.close(file)
        os.rename(new, target)

    def _remove(self, path: str) -> None:
        self._discard("old")
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{self.root}/{path}", f"{self._private}/old")
        self._discard("old")

    def _discard(self, name: str) -> None:
        path = f"{self._private}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _journal(kernel: Kernel, changes: Changes) -> dict[str, Any]:
    return {
        "blocks": {str(index): values for index, values in changes.blocks.items()},
        "live": live(kernel),
        "paths": changes.paths,
    }


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _make_tree(sysfs: Sysfs, path: str, target: Path) -> None:
    """Make a whole directory of the machine at TARGET, which does not exist or is empty."""
    linked: dict[tuple[str, bytes], str] = {}
    todo = [(path, str(target))]
    while todo:
        path, made = todo.pop()
        os.makedirs(made, exist_ok=True)
        for below, kind, content, mode in sysfs.entries(path):
            name = os.path.basename(below)
            if kind == "dir":
                todo.append((below, f"{made}/{name}"))
            elif kind == "link":
                os.symlink(content, f"{made}/{name}")
            else:
                _make_file(f"{made}/{name}", content, mode, linked)


def _make_file(made: str, content: bytes, mode: int, linked: dict[tuple[str, bytes], str]) -> None:
    # No program writes to a read-only attribute, so those with the same name and content can be
    # one file. On a machine of 65,536 blocks this saves half of the inodes, and gigabytes.
    same = (os.path.basename(made), content)
    if mode == 0o444 and same in linked:
        try:
            os.link(linked[same], made)
        except OSError:
            del linked[same]
        else:
            return
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    linked.setdefault(same, made)
