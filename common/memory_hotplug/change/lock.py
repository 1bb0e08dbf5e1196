"""Hold a machine while it is changed.

    with hold(tree.root, this_machine=tree.is_this_machine) as held:
        if held.left: ...          # a block that a killed process left between two conditions

The lock is advisory (flock). Only one program that uses this library changes a machine at a time;
readers do not wait. For this machine the lock is a file in /run/memory-hotplug; for any other tree
it is on the root directory. Where that is not possible, as in a read-only tree, the work goes on
without it. journal.py has what is recorded meanwhile.

This module opens files itself, because they are not part of sysfs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from _thread import get_ident
from collections.abc import Callable

from memory_hotplug.attribute import MEMORY
from memory_hotplug.change.journal import HALF_DONE, RUN, Journal, Left, left_in
from memory_hotplug.change.outcome import Outcome
from memory_hotplug.errors import HeldError
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees import is_simulated
from memory_hotplug.trees.many import LISTING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["Held", "Holder", "Mended", "held_here", "hold", "is_own", "left_by", "this_thread"]

_RUN = f"/{RUN}"
"""The directory for this machine; it belongs to root."""
_LOOK_AGAIN = 0.05
_WONDER = 0.5
"""Seconds."""


_OPEN: dict[tuple[int, int], list[Held]] = {}
"""Thread -> what it holds."""


def this_thread() -> tuple[int, int]:
    """The process and the thread that run: a fork has the thread's number, and holds nothing."""
    return os.getpid(), get_ident()


class Holder(NamedTuple):
    """The process that holds a machine."""

    pid: int | None
    """None if /proc does not tell."""
    since: float | None
    """When that process began, in seconds since the epoch."""


def hold(
    tree_root: str,
    *,
    this_machine: bool,
    timeout: float | None = None,
    waiting: Callable[[Holder], None] = lambda holder: None,
    unrecorded: Callable[[OSError], None] = lambda error: None,
) -> Held:
    """Wait until no other process changes the machine whose /sys is below TREE_ROOT, and hold it.

    After half a second WAITING is called once with the holder. Raises HeldError after TIMEOUT
    seconds. An exception from a signal handler ends the waiting. UNRECORDED is called once if it
    cannot be recorded what can be undone.
    """
    # Only what lives can be undone: a tree that is only files takes any word.
    undoable = this_machine or is_simulated(tree_root)
    try:
        lock, directory, name = _places(tree_root, this_machine, _CREATING)
    except OSError as error:
        return Held(
            *(tree_root, None, None, HALF_DONE),
            undoable=undoable,
            missing=error,
            unrecorded=unrecorded,
        )
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
    return Held(tree_root, lock, directory, name, undoable=undoable, unrecorded=unrecorded)


def held_here(tree_root: str) -> bool:
    """Whether this thread holds the machine already, by whatever object: it would wait for itself
    for ever."""
    return any(one.holds(tree_root) for one in _OPEN.get(this_thread(), ()))


def left_by(tree_root: str, *, this_machine: bool) -> Left | None:
    """The block that a killed process left. Nothing is created, written or held for it.

    None also while another process holds the machine: that one has the block at work.
    """
    try:
        lock, directory, name = _places(tree_root, this_machine, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None if directory is None else left_in(directory, name)
    except OSError:
        return None
    finally:
        os.close(lock)
        if directory is not None:
            os.close(directory)


class Mended(NamedTuple):
    """A block that a killed process left half done."""

    left: Left
    outcome: Outcome
    """It was TAKEN_BACK, or FAILED to be."""


class Held(Journal):
    """A machine that is held, with its journal, until it is closed. A context manager that closes
    it; `Machine.hold` makes it."""

    def __init__(
        self,
        root: str,
        lock: int | None,
        directory: int | None,
        name: str,
        *,
        undoable: bool,
        missing: OSError | None = None,
        unrecorded: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._lock = lock
        self._thread = this_thread()
        self.closed = False
        self.mended: Mended | None = None
        """The block that was restored, or could not be, when the machine was held."""
        super().__init__(
            root, directory, name, undoable=undoable, missing=missing, unrecorded=unrecorded
        )
        _OPEN.setdefault(self._thread, []).append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def holds(self, place: str) -> bool:
        """Whether the machine that has its lock below PLACE is still held by this."""
        with contextlib.suppress(OSError):
            return not self.closed and os.path.samefile(self._root, place)
        return False

    def close(self) -> None:
        """Close the journal, and release the machine."""
        super().close()
        self._forget()
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def _forget(self) -> None:
        if not self.closed:
            self.closed = True
            rest = [one for one in _OPEN.pop(self._thread, ()) if one is not self]
            if rest:
                _OPEN[self._thread] = rest


# Where the lock and the line about a half changed block are, and who holds the lock.


def _places(root: str, this_machine: bool, flags: int) -> tuple[int, int | None, str]:
    """Descriptors of the lock and of the directory of the line about a block, and the name of that
    line's file. FLAGS are those of the lock's file on this machine. Raises OSError."""
    memory = os.open(f"{root}/{MEMORY}", LISTING)
    if this_machine and not _is_sysfs(os.fstat(memory).st_dev):
        # A simulated machine is mounted over this one's /sys; ROOT is not its directory.
        return memory, None, HALF_DONE
    os.close(memory)
    if not this_machine:
        return os.open(root, LISTING), _line_directory(root, flags), HALF_DONE
    directory = _run_directory(create=bool(flags & os.O_CREAT))
    try:
        return os.open("lock", flags, 0o600, dir_fd=directory), directory, "block"
    except OSError:
        os.close(directory)
        raise


_CREATING = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


def _line_directory(root: str, flags: int) -> int:
    """/run of a simulated machine, which is empty after a boot, as this machine's; a captured tree
    has none, and its line is in the root."""
    if is_simulated(root):
        with contextlib.suppress(OSError):
            if flags & os.O_CREAT:
                os.mkdir(f"{root}/run", 0o755)
        with contextlib.suppress(OSError):
            return os.open(f"{root}/run", LISTING | os.O_NOFOLLOW)
    return os.open(root, LISTING)


def _run_directory(*, create: bool) -> int:
    """A descriptor of _RUN. Raises OSError if the directory is missing, or not only root's."""
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(_RUN, 0o700)
    found = os.open(_RUN, LISTING | os.O_NOFOLLOW)
    status = os.fstat(found)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        os.close(found)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), _RUN)
    return found


def is_own(root: str) -> bool:
    """Whether /run and /etc below ROOT are those of the machine that its /sys shows. They are not
    where a simulated machine is mounted over this one's /sys."""
    try:
        return root != "/" or _is_sysfs(os.stat(f"/{MEMORY}").st_dev)
    except OSError:
        return True


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
