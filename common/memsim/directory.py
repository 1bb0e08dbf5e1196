"""A simulated machine kept as a directory of plain files.

The directory holds the files of the machine's /sys below `sys`, for any reader, and in
`.memsim` what its kernel keeps to itself:

    machine.json   the mark: the machine at boot, as description.py describes it, with a checksum
    blocks         two bytes for each block number: what is there, and its flags
    live.json      everything else that changes: spans, counts, the pool, parameters, faults
    journal.json   only while a write is being carried out: all of its effects
    lock           held (flock) by whoever writes
    new, old       files and directories on their way in and out

A write is carried out under the lock, as the kernel holds its hotplug lock. Its effects go into
the journal first, which is renamed into place: from then on it has happened, and whoever opens
the machine next completes what a killed writer left. Every file, link and directory of the tree
is made beside it and renamed into place, so that no reader meets an empty or half-written one.
What is promised holds when writers are killed; after a power failure the file system decides.

The cost of a write grows with what it changes and not with the machine, but for the read of
`blocks`.
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
from memsim.kernel import Changes, Kernel
from memsim.machine import NODE, Live, Machine

PRIVATE: Final = ".memsim"
MARK: Final = f"{PRIVATE}/machine.json"
"""The file below a root that tells a simulated machine from any other tree."""


class DamagedError(OSError):
    """What the kernel keeps to itself cannot be made sense of; the tree can still be read."""


def is_marked(root: str | os.PathLike[str]) -> bool:
    """Whether a tree is a simulated machine, damaged or not; costs one stat()."""
    return os.path.lexists(f"{os.fspath(root)}/{PRIVATE}")


def create(path: str | os.PathLike[str], kernel: Kernel) -> None:
    """Keep a machine in a new directory, which appears whole or not at all.

    FileExistsError when there is something at the path already, but for an empty directory;
    FileNotFoundError when there is no directory above it.
    """
    final = Path(path).absolute()
    if final.is_symlink() or (final.exists() and not (final.is_dir() and not any(final.iterdir()))):
        raise FileExistsError(17, os.strerror(17), str(path))
    made = final.with_name(f".{final.name}.{os.getpid()}.new")
    if not final.parent.is_dir():
        raise FileNotFoundError(2, f"there is no directory {final.parent}", str(path))
    try:
        made.mkdir()
        _make_tree(kernel, "", made)
        private = made / PRIVATE
        private.mkdir()
        machine = json.dumps(dump(kernel.machine))
        (private / "machine.json").write_text(f"{_checksum(machine)}\n{machine}\n")
        (private / "blocks").write_bytes(kernel.place + kernel.flags)
        (private / "live.json").write_text(json.dumps(kernel.live.to_json()))
        (private / "lock").touch()
        made.chmod(0o755)
        made.rename(final)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    kernel.take_changes()


def write(root: str | os.PathLike[str], path: str, data: bytes) -> None:
    """One write() to an attribute of the machine at a root; OSError as a kernel would answer.

    Takes as long as the transition does (its delay), holding the lock: other writers wait as
    they do for the kernel's hotplug lock, readers see the state `going-offline`. An exception
    that a signal handler raises meanwhile ends the wait, and nothing has happened.
    """
    Directory(root).write(path, data)


class Directory:
    """A machine in a directory. Holds nothing between calls: any number of them can be open."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """FileNotFoundError when there is no simulated machine at the root."""
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
        listener: Callable[[str, str], None] | None = None,
    ) -> None:
        """As the function `write`; `wait` spends a delay, `listener` hears of the uevents."""
        with self._locked() as kernel:
            if seconds := kernel.delay(path, data):
                with self._shown(kernel.meanwhile(path, data)):
                    wait(seconds)
            if listener:
                kernel.listeners.append(listener)
            with self._kept(kernel):
                kernel.write(path, data)

    def change(self, how: Callable[[Kernel], None]) -> None:
        """Do something else to the machine, such as a reboot or setting a fault."""
        with self._locked() as kernel, self._kept(kernel):
            how(kernel)

    def kernel(self) -> Kernel:
        """The machine as it is now, to look at; what is done to it is not kept."""
        with self._locked() as kernel:
            return kernel

    def settle(self) -> None:
        """Complete what a killed writer left undone; costs one stat() when there is nothing."""
        if os.path.exists(f"{self._private}/journal.json"):
            with self._locked():
                pass

    # The private files.

    @contextmanager
    def _locked(self) -> Iterator[Kernel]:
        with self._damage():
            lock = os.open(f"{self._private}/lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._damage():
                machine = self._machine()
                self._complete(machine)
                kernel = self._load(machine)
            yield kernel
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

    def _load(self, machine: Machine) -> Kernel:
        blocks = self._read("blocks")
        place, flags = blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]
        return Kernel.restored(
            machine, place, flags, Live.from_json(json.loads(self._read("live.json")))
        )

    def _read(self, name: str) -> bytes:
        with open(f"{self._private}/{name}", "rb") as file:
            return file.read()

    # Writing.

    @contextmanager
    def _kept(self, kernel: Kernel) -> Iterator[None]:
        """Keep what is done to the kernel within, also when it ends with an OSError of its own."""
        try:
            yield
        finally:
            changes = kernel.take_changes()
            if changes.live:
                self._replace("journal.json", json.dumps(_journal(kernel, changes)))
                self._carry_out(kernel, changes)

    @contextmanager
    def _shown(self, texts: dict[str, bytes]) -> Iterator[None]:
        """Show other texts in files for a while, also over a kill."""
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
        """Do again what the journal says; doing it twice changes nothing."""
        try:
            journal = json.loads(self._read("journal.json"))
        except FileNotFoundError:
            return
        if "show" in journal:
            for path, text in journal["show"].items():
                self._show(path, text.encode(), 0o644)
            os.unlink(f"{self._private}/journal.json")
            return
        kernel = self._load(machine)
        blocks = {int(index): (place, flags) for index, (place, flags) in journal["blocks"].items()}
        for index, (place, flags) in blocks.items():
            kernel.place[index], kernel.flags[index] = place, flags
        kernel.live = Live.from_json(journal["live"])
        self._carry_out(kernel, Changes(blocks, tuple(journal["paths"]), live=True))

    def _carry_out(self, kernel: Kernel, changes: Changes) -> None:
        blocks = os.open(f"{self._private}/blocks", os.O_WRONLY | os.O_CLOEXEC)
        try:
            for index, (place, flags) in changes.blocks.items():
                os.pwrite(blocks, bytes([place]), index)
                os.pwrite(blocks, bytes([flags]), index + len(kernel.place))
        finally:
            os.close(blocks)
        self._replace("live.json", json.dumps(kernel.live.to_json()))
        # A directory appears before, and goes after, the links that lead to it.
        for path in sorted(changes.paths, key=lambda path: path.startswith(NODE)):
            if kernel.kind(path):
                self._match(kernel, path)
        for path in sorted(changes.paths, key=lambda path: not path.startswith(NODE)):
            if not kernel.kind(path):
                self._remove(path)
        os.unlink(f"{self._private}/journal.json")

    def _match(self, kernel: Kernel, path: str) -> None:
        """Make what is at a path read as the kernel has it."""
        target = f"{self.root}/{path}"
        kind = kernel.kind(path)
        if kind == "file":
            self._show(path, kernel.read(path), kernel.mode(path))
        elif kind == "link":
            if not os.path.islink(target):
                os.symlink(kernel.readlink(path), target)
        elif os.path.isdir(target):
            for name in kernel.listdir(path):
                self._match(kernel, f"{path}/{name}")
        else:
            self._discard("new")
            new = Path(self._private, "new")
            _make_tree(kernel, path, new)
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
        "live": kernel.live.to_json(),
        "paths": changes.paths,
    }


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _make_tree(kernel: Kernel, path: str, target: Path) -> None:
    """Make a directory of the machine, whole, at a target that is not there or is empty."""
    linked: dict[tuple[str, bytes], str] = {}
    todo = [(path, str(target))]
    while todo:
        path, made = todo.pop()
        os.makedirs(made, exist_ok=True)
        for name in kernel.listdir(path):
            _make(kernel, f"{path}/{name}".lstrip("/"), f"{made}/{name}", linked, todo)


def _make(
    kernel: Kernel,
    path: str,
    made: str,
    linked: dict[tuple[str, bytes], str],
    todo: list[tuple[str, str]],
) -> None:
    kind = kernel.kind(path)
    if kind == "dir":
        todo.append((path, made))
        return
    if kind == "link":
        os.symlink(kernel.readlink(path), made)
        return
    content, mode = kernel.read(path), kernel.mode(path)
    # Nothing writes into a read-only attribute, so that those of the same name and content can
    # be one file; on a machine of 65,536 blocks that is half of its inodes and gigabytes.
    same = (os.path.basename(path), content)
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
