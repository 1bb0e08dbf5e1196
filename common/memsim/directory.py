"""A simulated machine kept as a directory of plain files.

The directory `sys` has the files of the machine's /sys, which any program can read. The directory
`.memsim` has what only the machine's kernel knows (records.py has the formats):

    machine.json   the machine at boot, as description.py describes it; marks the directory
    blocks         two bytes for each block number: what is there, and its flags
    live.json      everything else that changes: storage, parameters, faults; and checksums
    journal.json   only during a write: its effects
    lock           locked (flock) during a write
    next           only during a write: new files, before they are renamed

A write holds the lock, as the kernel holds its hotplug lock. It makes all new files, then writes
the journal, renames the new files into the tree, and renames the new live.json into place: now the
write has happened. Then it updates `blocks` and removes the journal. The next process that opens
the machine and finds a journal undoes the write, or completes it if it has happened. So a write
that fails, because a disk is full or a permission is missing, leaves the machine as it was, and no
program sees an empty or half-written file. This holds if a writer is killed. After a power failure
it depends on the file system: nothing is flushed to the disk (fsync), because a simulated machine
is not worth the wait.

The directory is not trusted. Records are checked before they are used, no path comes from a record,
and every file is opened and replaced below the directory and through no symbolic link (safe_files).

The cost of a write depends on what it changes, and not on the size of the machine, except for
reading `blocks`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from memsim import records
from memsim.errors import DamagedError, MachineError, wrong
from memsim.kernel import Kernel
from memsim.kernel.transitions import UeventAction
from memsim.machine import MAX_BLOCKS, Machine
from memsim.machine_files import (
    BLOCKS,
    JOURNAL,
    LIVE,
    LOCK,
    MARK,
    NEXT,
    PRIVATE,
    blocks_file,
    patch,
    staging,
)
from memsim.records import JournalRecord
from memsim.sysfs import Changes, Sysfs
from memsim.tree import create, put_in_place, stage
from safe_files.linkless import Beneath, close
from safe_files.signals import undisturbed

__all__ = [
    "MARK",
    "PRIVATE",
    "DamagedError",
    "Directory",
    "Look",
    "create",
    "is_marked",
    "write",
]


def is_marked(root: str | os.PathLike[str]) -> bool:
    """Whether a tree is a simulated machine, even a damaged one. Costs one stat()."""
    return os.path.lexists(f"{os.fspath(root)}/{PRIVATE}")


def write(root: str | os.PathLike[str], path: str, data: bytes) -> int:
    """Do one write() to an attribute of the machine below ROOT; return the number of bytes taken.

    Raises the OSError of a real kernel. During a delay of the transition the lock is held: other
    writers wait, as for the kernel's hotplug lock, and readers see the state `going-offline`. If a
    signal handler raises an exception then, nothing is changed.
    """
    return Directory(root).write(path, data)


class Look(NamedTuple):
    """A machine in its condition at some time, and the contents of LIVE and JOURNAL then."""

    kernel: Kernel
    live: bytes
    journal: bytes | None


class Directory:
    """A machine in a directory. It keeps nothing open between calls, so there can be many.

    After a write it remembers the machine; if the records are still the same at the next write,
    they are not parsed again.

    Every method raises DamagedError if a record is damaged, IrregularError if something else is in
    the place of a file or directory, and OSError.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Raises FileNotFoundError if there is no simulated machine in ROOT."""
        self.root = os.path.abspath(root)
        if not is_marked(root):
            raise FileNotFoundError(errno.ENOENT, "not a simulated machine", os.fspath(root))
        self._last: tuple[bytes, Sysfs] | None = None
        """The machine after the last write, and the content of its MARK."""

    def write(
        self,
        path: str,
        data: bytes,
        *,
        wait: Callable[[float], None] = time.sleep,
        listener: Callable[[UeventAction, str], None] | None = None,
    ) -> int:
        """Like the function `write`. WAIT is called for a delay, LISTENER for each uevent."""
        heard: list[tuple[UeventAction, str]] = []
        with self._locked() as (files, sysfs), undisturbed() as disturbed:

            def wait_shown(seconds: float) -> None:
                with _shown(files, sysfs), disturbed():
                    wait(seconds)

            sysfs.kernel.wait = wait_shown
            sysfs.listeners[:] = [lambda action, device: heard.append((action, device))]
            with self._kept(files, sysfs):
                taken = sysfs.write(path, data)
        if listener:
            for event in heard:
                listener(*event)
        return taken

    def change(self, how: Callable[[Kernel], None]) -> None:
        """Change the machine in another way than by a write, such as a fault."""
        with self._locked() as (files, sysfs), undisturbed(), self._kept(files, sysfs):
            how(sysfs.kernel)

    def reboot(self) -> None:
        """Boot the machine again. Its /run is empty then, as that of a real one."""
        with self._locked() as (files, sysfs), undisturbed(), self._kept(files, sysfs):
            files.remove_tree("run")
            sysfs.kernel.reboot()

    def kernel(self) -> Kernel:
        """The machine in its present condition, to read; changes of it are not stored.

        Takes no lock, and needs no permission to write.
        """
        return self.look().kernel

    def look(self) -> Look:
        """As `kernel`, with what the condition was read from."""
        with Beneath(self.root) as files:
            with self._damage(LOCK):
                close(files.open(LOCK, os.O_RDONLY))
            before = None
            while True:
                found = self._read(files)
                try:
                    return Look(self._state(found), found.live, found.raw)
                except DamagedError:
                    # Either a record is damaged, or a write came between the reads of two.
                    if found == before:
                        raise
                    before = found

    def settle(self) -> None:
        """Complete or undo the write of a killed writer. Costs one stat() if there is none."""
        if os.path.lexists(f"{self.root}/{JOURNAL}"):
            with self._locked():
                pass

    # Reading the records

    @contextmanager
    def _damage(self, record: str) -> Iterator[None]:
        """A context in which every error is one of this record."""
        try:
            yield
        except MachineError as error:
            reason = f"expected {error.expected}, {error.found}"
            if error.where == records.THE_BLOCKS and record == LIVE:
                raise DamagedError(self.root, BLOCKS, reason) from error
            raise DamagedError(self.root, record, f"{error.where}: {reason}") from error
        except FileNotFoundError as error:
            raise DamagedError(self.root, record, "there is no such file") from error

    def _machine(self, found: _Records) -> Machine:
        with self._damage(MARK):
            return records.machine_from(found.mark)

    def _read(self, files: Beneath) -> _Records:
        """Read live.json first, then the others: a write takes effect when it is replaced."""
        with self._damage(MARK):
            mark = files.read(MARK, records.MOST)
        with self._damage(LIVE):
            live = files.read(LIVE, records.MOST)
        with self._damage(BLOCKS):
            blocks = files.read(BLOCKS, 2 * MAX_BLOCKS)
        try:
            raw = files.read(JOURNAL, records.MOST_JOURNAL)
        except FileNotFoundError:
            return _Records(mark, live, blocks, None, None)
        with self._damage(JOURNAL):
            return _Records(mark, live, blocks, raw, records.journal_from(raw))

    def _state(self, found: _Records) -> Kernel:
        """The running kernel, without a write that has not happened."""
        machine = self._machine(found)
        journal, blocks = found.journal, found.blocks
        if journal and journal.live == found.live:
            with self._damage(JOURNAL):
                blocks = journal.patched(blocks)
        elif journal and journal.blocks is not None:
            self._after(found, journal)
        with self._damage(LIVE):
            kernel = records.restored(machine, blocks, found.live)
        if journal and journal.going_offline is not None:
            with self._damage(JOURNAL):
                if not kernel.blocks.online(journal.going_offline):
                    raise wrong("going_offline", "an online block", journal.going_offline)
            kernel.going_offline = journal.going_offline
        return kernel

    def _after(self, found: _Records, journal: JournalRecord) -> Kernel:
        """The kernel after the write of a journal."""
        machine = self._machine(found)
        with self._damage(JOURNAL):
            return records.restored(machine, journal.patched(found.blocks), journal.live)

    # Writing

    @contextmanager
    def _locked(self) -> Iterator[tuple[Beneath, Sysfs]]:
        """A context in which no other process changes the machine."""
        with Beneath(self.root) as files:
            with self._damage(LOCK):
                lock = files.open(LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                found = self._read(files)
                if found.journal:
                    self._recover(files, found, found.journal)
                    found = self._read(files)
                last, self._last = self._last, None
                if last and _records_of(*last) == found:
                    sysfs = last[1]
                else:
                    sysfs = Sysfs(self._state(found))
                yield files, sysfs
                self._last = found.mark, sysfs
            finally:
                close(lock)

    def _recover(self, files: Beneath, found: _Records, journal: JournalRecord) -> None:
        """Undo the write of a killed writer or, if it has taken effect, complete the files."""
        kernel = self._state(found)
        if journal.going_offline is not None:
            paths = tuple(Sysfs(kernel).meanwhile())
            kernel.going_offline = None
        elif journal.live != found.live:
            changed = Sysfs(self._state(found))
            changed.kernel.become(self._after(found, journal))
            paths = changed.take_changes().paths
        else:
            paths = ()
        with undisturbed(), staging(files), blocks_file(files, journal.blocks) as blocks:
            before = Sysfs(kernel)
            put_in_place(files, before, stage(files, before, paths, NEXT))
            if journal.live == found.live:
                patch(blocks, journal.blocks or {}, len(kernel.blocks.place))
            files.unlink(JOURNAL)

    @contextmanager
    def _kept(self, files: Beneath, sysfs: Sysfs) -> Iterator[None]:
        """A context that stores all changes of the kernel at its end, also after an OSError."""
        try:
            yield
        except OSError:
            self._keep(files, sysfs)
            raise
        self._keep(files, sysfs)

    def _keep(self, files: Beneath, sysfs: Sysfs) -> None:
        """Store the changes of the kernel: all of them, or none if this raises OSError."""
        changes = sysfs.take_changes()
        if not changes.live:
            return
        kernel = sysfs.kernel
        with staging(files), blocks_file(files, changes.blocks) as blocks:
            staged = stage(files, sysfs, changes.paths, NEXT)
            live = records.live_record(kernel)
            files.create(f"{NEXT}/live", live, 0o644)
            if changes.blocks or changes.paths:
                journal = records.journal_of_change(live, changes.blocks)
                files.create(f"{NEXT}/journal", journal, 0o644)
                files.rename(f"{NEXT}/journal", JOURNAL)
            try:
                put_in_place(files, sysfs, staged)
                files.rename(f"{NEXT}/live", LIVE)
            except OSError:
                self._take_back(files, changes)
                raise
            # The write has happened. If the rest fails, the next process completes it.
            with suppress(OSError):
                patch(blocks, changes.blocks, len(kernel.blocks.place))
                if changes.blocks or changes.paths:
                    files.unlink(JOURNAL)

    def _take_back(self, files: Beneath, changes: Changes) -> None:
        """Make the tree as before. If this fails, the next process does it."""
        with suppress(OSError):
            found = self._read(files)
            with staging(files):
                before = Sysfs(self._state(found))
                put_in_place(files, before, stage(files, before, changes.paths, NEXT))
            if found.journal:
                files.unlink(JOURNAL)


class _Records(NamedTuple):
    """The records as they were read."""

    mark: bytes
    live: bytes
    blocks: bytes
    raw: bytes | None
    """The content of the journal."""
    journal: JournalRecord | None


def _records_of(mark: bytes, sysfs: Sysfs) -> _Records:
    """The records that this machine has while nothing is written."""
    kernel = sysfs.kernel
    return _Records(mark, records.live_record(kernel), kernel.blocks.content(), None, None)


@contextmanager
def _shown(files: Beneath, sysfs: Sysfs) -> Iterator[None]:
    """A context in which a block that goes offline says so; a kill does not make that stay."""
    block, texts = sysfs.kernel.going_offline, sysfs.meanwhile()
    if block is None:
        yield
        return
    ((path, text),) = texts.items()
    mode = sysfs.entry(path).mode
    with staging(files):
        # The file for afterwards is made now, because the disk can be full then.
        files.expect("file", path)
        files.create(f"{NEXT}/before", b"online\n", mode)
        files.create(f"{NEXT}/state", text, mode)
        files.create(f"{NEXT}/journal", records.journal_of_offline(block), 0o644)
        files.rename(f"{NEXT}/journal", JOURNAL)
        try:
            files.rename(f"{NEXT}/state", path)
            yield
        finally:
            files.rename(f"{NEXT}/before", path)
            files.unlink(JOURNAL)
