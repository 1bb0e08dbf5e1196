"""Hold a machine while it is changed, and record what a killed process leaves half done.

    with hold(tree) as held:
        if held.left: ...          # a block that a killed process left between two conditions
        held.note(block, "enable") # before the first of several writes to a block
        held.clear()               # after the last

The lock is advisory (flock). Only one program that uses this library changes a machine at a time;
readers do not wait. The record is one line about one block. For this machine both are in
/run/memory-hotplug, to which only root can write, and which is empty after a boot. For any other
tree the lock is on its root directory, and the record is a file there. Where neither is possible,
as in a read-only tree, the work goes on without them.

This module opens files itself, because they are not part of sysfs.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from memory_hotplug.attribute import MEMORY
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.errors import HeldError

__all__ = ["RECORD", "RUN", "Held", "Holder", "Left", "hold"]

RUN = "/run/memory-hotplug"
"""The directory for this machine; it belongs to root."""
RECORD = ".memory-hotplug-block"
"""The name of the record in the root of any other tree."""

_LOOK_AGAIN = 0.05
_WONDER = 0.5
"""Seconds."""
_LONGEST = 4096
"""The maximum size of a record in bytes; this module writes much shorter ones."""


class Holder(NamedTuple):
    """The process that holds a machine."""

    pid: int | None
    """None if /proc does not tell."""
    since: float | None
    """When that process began, in seconds since the epoch."""


class Left(NamedTuple):
    """A block that a process was changing when it was killed."""

    before: MemoryBlock
    """The block before that change."""
    action: str
    pid: int


def hold(
    tree_root: str,
    *,
    this_machine: bool,
    timeout: float | None = None,
    waiting: Callable[[Holder], None] = lambda holder: None,
) -> "Held":
    """Wait until no other process changes the machine whose /sys is below TREE_ROOT, and hold it.

    After half a second WAITING is called once with the holder. Raises HeldError after TIMEOUT
    seconds. An exception from a signal handler ends the waiting.
    """
    lock, directory, name = _places(tree_root, this_machine)
    if lock is None:
        return Held(None, None, name)
    began, told = time.monotonic(), False
    try:
        while not _taken(lock):
            waited = time.monotonic() - began
            if timeout is not None and waited >= timeout:
                raise HeldError(*_holder(lock))
            if waited >= _WONDER and not told:
                told = True
                waiting(_holder(lock))
            time.sleep(_LOOK_AGAIN)
    except BaseException:
        os.close(lock)
        if directory is not None:
            os.close(directory)
        raise
    return Held(lock, directory, name)


class Held:
    """A machine that is held, until it is closed."""

    def __init__(self, lock: int | None, directory: int | None, name: str) -> None:
        self._lock = lock
        self._directory = directory
        self._name = name
        self._record: int | None = None
        self._kept = False
        self.left = self._read()
        """The block that a killed process left; None if there is none, or the record is damaged."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the machine, and remove an empty record."""
        if self._record is not None and os.fstat(self._record).st_size == 0:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        for descriptor in (self._record, self._directory, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._record = self._directory = self._lock = None

    @property
    def recording(self) -> bool:
        """Whether there is a place for records of this machine."""
        return self._directory is not None

    def keep(self) -> None:
        """Leave the record of a block that could not be brought back as it is, for the next time.
        No other block is recorded meanwhile."""
        if self._record is not None:
            os.close(self._record)
        self._record = None
        self._kept = True

    def note(self, before: MemoryBlock, action: str) -> None:
        """Record the block that is about to be changed, in its present condition."""
        if self._record is None:
            self._record = self._open(os.O_RDWR | os.O_CREAT)
        if self._record is not None:
            # One write. An older record may be longer, so only the first line counts.
            self._write(self._record, _line(before, action))

    def clear(self) -> None:
        """Clear the record: no block is half changed any more."""
        self.left = None
        if self._record is None:
            self._record = self._open(os.O_RDWR)
        if self._record is not None:
            os.ftruncate(self._record, 0)

    @staticmethod
    def _write(record: int, line: bytes) -> None:
        try:
            if os.pwrite(record, line, 0) != len(line):
                os.ftruncate(record, 0)
        except OSError:
            # The work goes on, even on a full disk.
            os.ftruncate(record, 0)

    def _open(self, flags: int) -> int | None:
        if self._directory is None or self._kept:
            return None
        try:
            found = os.open(
                self._name,
                flags | os.O_NOFOLLOW | os.O_NONBLOCK,
                0o600,
                dir_fd=self._directory,
            )
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(found).st_mode) or os.fstat(found).st_nlink > 1:
            os.close(found)
            return None
        return found

    def _read(self) -> Left | None:
        self._record = self._open(os.O_RDWR)
        if self._record is None:
            return None
        return _parse(os.pread(self._record, _LONGEST, 0))


_WORDS = re.compile(
    rb"block=(?P<block>[0-9]{1,18}) state=(?P<state>online|offline)"
    rb" zone=(?P<zone>[A-Za-z0-9]+|-) configured=(?P<configured>[01-])"
    rb" memmap_on_memory=(?P<memmap>[01-]) action=(?P<action>[a-z-]{1,20})"
    rb" pid=(?P<pid>[0-9]{1,9})\n"
)
_FLAGS = {b"1": True, b"0": False, b"-": None}
_WRITTEN = {flag: text.decode() for text, flag in _FLAGS.items()}


def _line(before: MemoryBlock, action: str) -> bytes:
    zone = zone_of(before)
    return (
        f"block={before.number} state={'offline' if before.state is State.OFFLINE else 'online'}"
        f" zone={zone.value if zone else '-'} configured={_WRITTEN[before.configured]}"
        f" memmap_on_memory={_WRITTEN[before.memmap_on_memory]} action={action}"
        f" pid={os.getpid()}\n"
    ).encode()


def _parse(text: bytes) -> Left | None:
    found = _WORDS.match(text)
    if not found:
        return None
    zone = found["zone"].decode()
    before = MemoryBlock(
        int(found["block"]),
        State(found["state"].decode()),
        zones=None if zone == "-" else (Zone.named(zone),),
        configured=_FLAGS[found["configured"]],
        memmap_on_memory=_FLAGS[found["memmap"]],
    )
    return Left(before, found["action"].decode(), int(found["pid"]))


# Where the lock and the record are, and who holds the lock.


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def _places(root: str, this_machine: bool) -> tuple[int | None, int | None, str]:
    """Descriptors of the lock and of the directory of the record, and the name of the record."""
    try:
        memory = os.open(f"{root}/{MEMORY}", _DIRECTORY)
        if not this_machine:
            os.close(memory)
            return os.open(root, _DIRECTORY), os.open(root, _DIRECTORY), RECORD
        if not _is_sysfs(os.fstat(memory).st_dev):
            # A simulated machine is mounted over this one's /sys; ROOT is not its directory.
            return memory, None, RECORD
        os.close(memory)
        directory = _run_directory()
        lock = os.open("lock", _CREATING, 0o600, dir_fd=directory)
    except OSError:
        return None, None, RECORD
    return lock, directory, "block"


_CREATING = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


def _run_directory() -> int:
    """A descriptor of RUN. Raises OSError if the directory is missing, or not only root's."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(RUN, 0o700)
    found = os.open(RUN, _DIRECTORY | os.O_NOFOLLOW)
    status = os.fstat(found)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(found)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), RUN)
    return found


def _is_sysfs(device: int) -> bool:
    """Whether the file system with that device number is sysfs, by /proc/self/mountinfo."""
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        with open("/proc/self/mountinfo", "rb") as mounts:
            for line in mounts:
                fields, _, kinds = line.partition(b" - ")
                if fields.split()[2] == wanted:
                    return kinds.split()[0] == b"sysfs"
    except (OSError, IndexError):
        pass
    return False


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # The file system has no locks, so no process can hold one.
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            return True
        raise
    return True


def _holder(lock: int) -> Holder:
    """The holder of a lock, from /proc/locks (fs/locks.c, lock_get_status) and /proc/PID/stat."""
    status = os.fstat(lock)
    numbers = os.major(status.st_dev), os.minor(status.st_dev), status.st_ino
    try:
        with open("/proc/locks", "rb") as locks:
            pid = next(
                int(words[4])
                for words in map(bytes.split, locks)
                if words[1] == b"FLOCK" and words[5] == b"%02x:%02x:%d" % numbers
            )
    except (OSError, StopIteration, ValueError, IndexError):
        return Holder(None, None)
    return Holder(pid, _began(pid)) if pid > 0 else Holder(None, None)


def _began(pid: int) -> float | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")
