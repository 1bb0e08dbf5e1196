"""One at a time changes a machine, and what a killed process left is brought back."""

import errno
import fcntl
import io
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

import static_tree
from commands import start_python
from holding import held_by_another
from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.change import lock as module
from memory_hotplug.change.batch import bring_back, carry_out
from memory_hotplug.change.journal import HALF_DONE, Left
from memory_hotplug.change.lock import Holder, hold, left_by
from memory_hotplug.change.outcome import Result
from memory_hotplug.change.plan import Action, Order
from memory_hotplug.change.transaction import Terms
from memory_hotplug.errors import HeldError, StoppedError
from memory_hotplug.machine import Machine
from memsim import directory
from memsim.machine import Fault
from memsim.profile import boot
from simulated import half_done, leave_half_done, s390
from static_tree import MEMORY

DYING = """
import os, signal, sys
from memory_hotplug import Machine
from memory_hotplug.change.lock import hold
from memory_hotplug.change.plan import Action, Order
from memory_hotplug.change.batch import carry_out
from memory_hotplug.change.transaction import Terms

root, after, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
machine = Machine.at(root)
write = machine.tree.write
def counted(path, word):
    global after
    after -= 1
    if after < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, word)
machine.tree.write = counted
with hold(root, this_machine=False) as held:
    order = Order(Action.RECONFIGURE, memmap_on_memory=True)
    list(carry_out(machine, order, [number], Terms(held=held)))
"""


READ_ONLY = """
import sys
from memory_hotplug import Machine
from memory_hotplug.change.lock import hold
with hold(sys.argv[1], this_machine=False) as held:
    held.note(Machine.at(sys.argv[1]).block(1), "enable")
    print("held")
"""


@pytest.fixture
def lpar(tmp_path: Path) -> Path:
    directory.create(tmp_path / "m", boot(s390()))
    return tmp_path / "m"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of a clock that goes on when somebody sleeps, and not otherwise."""
    seconds = [100.0]

    def sleep(more: float) -> None:
        seconds[0] += more

    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    monkeypatch.setattr("time.sleep", sleep)
    return seconds


@pytest.mark.usefixtures("clock")
def test_who_waits_is_told_for_whom_and_gives_up_after_the_timeout(lpar: Path) -> None:
    began = time.time()
    told: list[Holder] = []
    with held_by_another(lpar) as other, pytest.raises(HeldError) as caught:
        hold(str(lpar), this_machine=False, timeout=0.7, waiting=told.append)
    assert [holder.pid for holder in told] == [other]
    assert told[0].since is not None
    # The clock may be set since boot.
    assert began - 60 < told[0].since < time.time() + 60
    assert caught.value.pid == other
    with hold(str(lpar), this_machine=False, timeout=0):
        pass


def test_the_lock_leaves_nothing_in_the_tree(lpar: Path) -> None:
    machine = Machine.at(lpar)
    order = Order(Action.RECONFIGURE, memmap_on_memory=True)
    with hold(str(lpar), this_machine=False) as held:
        (outcome,) = carry_out(machine, order, [1], Terms(held=held))
        assert (lpar / "run" / HALF_DONE).read_bytes() == b""
    assert outcome.result is Result.DONE
    assert not (lpar / "run" / HALF_DONE).exists()


@pytest.mark.parametrize("writes", range(1, 5))
@pytest.mark.parametrize("offline", [False, True])
def test_a_block_that_a_kill_left_half_done_is_brought_back(
    lpar: Path, writes: int, offline: bool
) -> None:
    if offline:
        directory.write(lpar, f"{MEMORY}/memory1/state", b"offline")
    before = Machine.at(lpar).block(1)
    process = start_python(DYING, str(lpar), str(writes), "1")
    process.communicate()
    ended = -signal.SIGKILL if writes < (3 if offline else 5) else 0
    assert process.returncode == ended
    machine = Machine.at(lpar)
    with hold(str(lpar), this_machine=False) as held:
        assert (held.left is None) == (ended == 0)
        outcome = bring_back(machine, held)
    if ended:
        assert outcome is not None
        assert outcome.result is Result.TAKEN_BACK
        assert machine.block(1) == before
    assert not (lpar / "run" / HALF_DONE).exists()


def test_what_cannot_be_brought_back_is_told(lpar: Path) -> None:
    start_python(DYING, str(lpar), "2", "1").communicate()
    change = directory.Directory(lpar).change
    change(lambda kernel: kernel.set_fault("config", 1, Fault("EIO")))
    with hold(str(lpar), this_machine=False) as held:
        outcome = bring_back(Machine.at(lpar), held)
    assert outcome is not None
    assert outcome.result is Result.FAILED
    assert outcome.stuck is not None
    assert outcome.after.configured is False
    # The record stays, whatever else is done, until the block is what it was.
    with hold(str(lpar), this_machine=False) as held:
        bring_back(Machine.at(lpar), held)
        held.note(outcome.after, "enable")
        held.clear()
    change(lambda kernel: kernel.clear_faults())
    with hold(str(lpar), this_machine=False) as held:
        again = bring_back(Machine.at(lpar), held)
    assert again is not None
    assert again.result is Result.TAKEN_BACK
    assert not (lpar / "run" / HALF_DONE).exists()


def test_a_block_that_somebody_brought_back_is_left_alone(lpar: Path) -> None:
    start_python(DYING, str(lpar), "1", "1").communicate()
    directory.write(lpar, f"{MEMORY}/memory1/state", b"online")
    with hold(str(lpar), this_machine=False) as held:
        assert held.left is not None
        assert held.left.before == MemoryBlock(
            1, State.ONLINE, zones=(Zone.NORMAL,), configured=True, memmap_on_memory=False
        )
        assert bring_back(Machine.at(lpar), held) is None


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b'{"block": 1',
        b"\0" * 5000,
        half_done(99999).encode(),
        half_done(1).replace('"block": 1', '"block": "1/../2"').encode(),
        half_done(1).replace('"pid": 7', '"pid": "7"').encode(),
        half_done(1).replace("reconfigure", "../").encode(),
        half_done(1).rstrip().encode(),
        b"[" * 4000 + b"\n",
        b"[1]\n",
    ],
)
def test_a_record_that_makes_no_sense_changes_nothing(lpar: Path, record: bytes) -> None:
    leave_half_done(lpar, record.decode())
    before = list(Machine.at(lpar).blocks())
    with hold(str(lpar), this_machine=False) as held:
        assert bring_back(Machine.at(lpar), held) is None
    assert list(Machine.at(lpar).blocks()) == before


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "hard link"])
def test_a_record_that_is_no_file_of_its_own_is_not_touched(
    lpar: Path, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (lpar / "run").mkdir()
    place = lpar / "run" / HALF_DONE
    if kind == "link":
        place.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.hardlink_to(outside)
    with hold(str(lpar), this_machine=False) as held:
        order = Order(Action.RECONFIGURE, memmap_on_memory=True)
        (outcome,) = carry_out(Machine.at(lpar), order, [1], Terms(held=held))
    assert outcome.result is Result.DONE
    assert outside.read_text() == "precious"
    assert place.exists()


@pytest.mark.needs("user namespaces")
def test_a_tree_that_is_read_only_is_held_without_a_record(tmp_path: Path) -> None:
    root = static_tree.make(tmp_path / "t", s390())
    (tmp_path / "ro").mkdir()
    mount = "mount -t tmpfs none {1} && cp -r {0}/sys {1} && mount -o remount,bind,ro {1} && "
    script = mount.format(root, tmp_path / "ro") + 'exec "$@"'
    process = start_python(
        READ_ONLY, tmp_path / "ro", within=("unshare", "-rm", "sh", "-c", script, "-")
    )
    assert process.communicate()[0] == "held\n"
    assert process.returncode == 0


def test_a_block_that_is_online_again_is_not_taken_offline_to_restore_it(lpar: Path) -> None:
    start_python(DYING, str(lpar), "4", "1").communicate()
    directory.write(lpar, "sys/devices/system/memory/memory1/state", b"online_movable")
    now = Machine.at(lpar).block(1)
    assert now.memmap_on_memory is True
    with hold(str(lpar), this_machine=False) as held:
        assert bring_back(Machine.at(lpar), held) is None
    assert Machine.at(lpar).block(1) == now


# In one process, for which a second descriptor is another holder.

BLOCK = MemoryBlock(1, State.ONLINE, zones=None, configured=True, memmap_on_memory=False)


@pytest.mark.usefixtures("clock")
@pytest.mark.needs("ps")
def test_the_holder_is_a_process_and_when_it_began(lpar: Path) -> None:
    earliest = time.time()
    age = int(subprocess.check_output(["ps", "-o", "etimes=", "-p", str(os.getpid())]))
    latest = time.time()
    told: list[Holder] = []
    with hold(str(lpar), this_machine=False), pytest.raises(HeldError) as caught:
        hold(str(lpar), this_machine=False, timeout=0.6, waiting=told.append)
    assert [holder.pid for holder in told] == [caught.value.pid] == [os.getpid()]
    assert told[0].since == caught.value.since
    # /proc/stat's btime and ps know whole seconds, and the clock may be set since boot.
    assert told[0].since is not None
    assert earliest - age - 5 < told[0].since < latest - age + 5


def test_nobody_is_told_of_a_wait_that_is_short(
    lpar: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds
        if len(slept) == 9:
            held.close()

    monkeypatch.setattr("time.sleep", sleep)
    told: list[Holder] = []
    held = hold(str(lpar), this_machine=False)
    with hold(str(lpar), this_machine=False, timeout=0.5, waiting=told.append):
        assert slept == [0.05] * 9
    assert told == []


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_an_exception_of_a_signal_ends_the_wait_and_leaves_nothing_open(
    lpar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: float) -> None:
        raise StoppedError

    monkeypatch.setattr("time.sleep", stop)
    with hold(str(lpar), this_machine=False):
        before = open_descriptors()
        with pytest.raises(StoppedError):
            hold(str(lpar), this_machine=False)
        assert open_descriptors() == before


def test_a_closed_one_leaves_nothing_open(lpar: Path) -> None:
    before = open_descriptors()
    with hold(str(lpar), this_machine=False) as held:
        held.note(BLOCK, "enable")
        held.clear()
    held.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("zone", [None, Zone.MOVABLE])
@pytest.mark.parametrize("state", [State.ONLINE, State.OFFLINE, State.GOING_OFFLINE])
@pytest.mark.parametrize("configured", [True, False, None])
def test_a_record_tells_the_next_one_what_the_block_was(
    lpar: Path, zone: Zone | None, state: State, configured: bool | None
) -> None:
    zones = (zone,) if zone else None
    before = MemoryBlock(7, state, zones=zones, configured=configured, memmap_on_memory=configured)
    with hold(str(lpar), this_machine=False) as held:
        assert held.left is None
        held.note(before, "reconfigure")
    with hold(str(lpar), this_machine=False) as held:
        if configured is False and state is not State.OFFLINE:
            # No kernel has such a block.
            assert held.left is None
            return
        known = State.OFFLINE if state is State.OFFLINE else State.ONLINE
        seen = zones if state is State.ONLINE else None
        assert held.left == Left(
            before._replace(state=known, zones=seen), "reconfigure", os.getpid()
        )
        held.clear()
        assert held.left is None
    assert not (lpar / "run" / HALF_DONE).exists()


def test_a_record_that_is_kept_is_neither_replaced_nor_cleared(lpar: Path) -> None:
    with hold(str(lpar), this_machine=False) as held:
        held.note(BLOCK, "enable")
        held.keep()
        held.keep()
        held.note(BLOCK._replace(number=2), "disable")
        held.clear()
    with hold(str(lpar), this_machine=False) as held:
        assert held.left is not None
        assert (held.left.before.number, held.left.action) == (1, "enable")


def test_a_shorter_record_after_a_longer_one_counts(lpar: Path) -> None:
    with hold(str(lpar), this_machine=False) as held:
        held.note(BLOCK._replace(number=123456), "reconfigure")
        held.note(BLOCK, "enable")
        line = lpar / "run" / HALF_DONE
        assert line.read_bytes().startswith(b'{"block": 1, "state": "online", ')
        assert stat_mode(line) == 0o600
    with hold(str(lpar), this_machine=False) as held:
        assert held.left is not None
        assert held.left.before == BLOCK


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("short", [True, False])
def test_a_record_that_could_not_be_written_whole_is_none(
    lpar: Path, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def refused(descriptor: int, line: bytes, place: int) -> int:
        written = write(descriptor, line[:-5], place)
        if short:
            return written
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.pwrite", refused)
    with hold(str(lpar), this_machine=False) as held:
        held.note(BLOCK, "enable")
        assert (lpar / "run" / HALF_DONE).read_bytes() == b""
    assert not (lpar / "run" / HALF_DONE).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_holds_nobody_up(
    lpar: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with hold(str(lpar), this_machine=False, timeout=0):
        pass


def test_another_failure_of_the_lock_is_not_taken_for_a_lock(
    lpar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="Input/output error"):
        hold(str(lpar), this_machine=False)


@dataclass
class Run:
    """A directory in the place of the one of this machine."""

    place: Path
    memory: Path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A tree that is taken for this machine's."""
    (tmp_path / MEMORY).mkdir(parents=True)
    monkeypatch.setattr(module, "_RUN", str(tmp_path / "run"))
    monkeypatch.setattr(module, "_is_sysfs", lambda device: True)
    return Run(tmp_path / "run", tmp_path)


def test_this_machine_is_held_in_a_directory_of_roots(run: Run) -> None:
    before = open_descriptors()
    with hold(str(run.memory), this_machine=True) as held:
        assert stat_mode(run.place) == 0o700
        assert stat_mode(run.place / "lock") == 0o600
        held.note(BLOCK, "enable")
        assert (run.place / "block").read_bytes().startswith(b'{"block": 1, ')
        with pytest.raises(HeldError):
            hold(str(run.memory), this_machine=True, timeout=0)
        held.clear()
    assert open_descriptors() == before
    assert os.listdir(run.place) == ["lock"]
    assert sorted(os.listdir(run.memory)) == ["run", "sys"]


def test_what_a_killed_process_left_is_read_without_a_trace(run: Run) -> None:
    root = str(run.memory)
    before = open_descriptors()
    assert left_by(root, this_machine=True) is None
    assert not run.place.exists()
    with hold(root, this_machine=True) as held:
        held.note(BLOCK, "enable")
        # It is the block at work of this process.
        assert left_by(root, this_machine=True) is None
    files = {path: path.stat() for path in run.place.iterdir()}
    left = left_by(root, this_machine=True)
    assert left is not None
    assert (left.before.number, left.action) == (BLOCK.number, "enable")
    assert {path: path.stat() for path in run.place.iterdir()} == files
    assert open_descriptors() == before


@pytest.mark.parametrize("how", ["others may write", "group may write", "another's", "a link"])
def test_a_directory_that_is_not_roots_alone_is_not_used(
    run: Run, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "a link":
        (run.memory / "other").mkdir(mode=0o700)
        run.place.symlink_to(run.memory / "other")
    else:
        run.place.mkdir()
        run.place.chmod({"others may write": 0o702, "group may write": 0o720}.get(how, 0o700))
    if how == "another's":
        monkeypatch.setattr("os.geteuid", lambda: run.place.stat().st_uid + 1)
    before = open_descriptors()
    with hold(str(run.memory), this_machine=True) as held:
        held.note(BLOCK, "enable")
        assert held.left is None
        with hold(str(run.memory), this_machine=True, timeout=0):
            pass
    assert open_descriptors() == before
    assert list(run.place.iterdir()) == []


def test_a_machine_that_is_mounted_over_sys_is_held_by_itself(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_is_sysfs", lambda device: False)
    with hold(str(run.memory), this_machine=True) as held:
        held.note(BLOCK, "enable")
        with pytest.raises(HeldError):
            hold(str(run.memory), this_machine=True, timeout=0)
    assert not run.place.exists()
    assert os.listdir(run.memory) == ["sys"]


def test_where_nothing_can_be_opened_the_work_goes_on(tmp_path: Path) -> None:
    with hold(str(tmp_path), this_machine=False) as held:
        held.note(BLOCK, "enable")
        held.clear()
    assert os.listdir(tmp_path) == []


MOUNTS = """\
22 28 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs none rw
23 28 0:22 / /proc rw shared:8 - proc sysfs rw
24 28 259:1 / / rw,relatime - ext4 /dev/root rw
"""


def with_files(monkeypatch: pytest.MonkeyPatch, files: dict[str, str | OSError]) -> None:
    """The module finds these texts in files."""

    def opened(path: str, mode: str = "r", **_: Any) -> IO[Any]:
        found = files[path]
        if isinstance(found, OSError):
            raise found
        return io.BytesIO(found.encode()) if "b" in mode else io.StringIO(found)

    monkeypatch.setattr(module, "open", opened, raising=False)


@pytest.mark.parametrize(
    ("mounts", "device", "is_sysfs"),
    [
        (MOUNTS, os.makedev(0, 21), True),
        (MOUNTS, os.makedev(0, 22), False),
        (MOUNTS, os.makedev(0, 210), False),
        (MOUNTS, os.makedev(259, 1), False),
        (MOUNTS.replace("0:21", "0:2"), os.makedev(0, 21), False),
        ("22 28\n" + MOUNTS, os.makedev(0, 21), False),
        ("", os.makedev(0, 21), False),
        (OSError(errno.ENOENT, "gone"), os.makedev(0, 21), False),
    ],
)
def test_sysfs_is_known_by_the_list_of_mounts(
    mounts: str | OSError, device: int, is_sysfs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_files(monkeypatch, {"/proc/self/mountinfo": mounts})
    assert module._is_sysfs(device) is is_sysfs


def test_who_holds_a_lock_is_not_known_where_proc_does_not_tell(
    lpar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = os.open(lpar, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    status = os.fstat(lock)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    line = f"1: FLOCK  ADVISORY  WRITE %s {device} 0 EOF\n"
    other = (
        "1: POSIX  ADVISORY  WRITE 77 " + device + " 0 EOF\n2: FLOCK ADVISORY WRITE 78 0:0:1 0\n"
    )
    stat = "12 (a) b) S " + " ".join(map(str, range(4, 53)))
    boot = "cpu 1 2\nbtime 1000\n"
    ticks = os.sysconf("SC_CLK_TCK")

    def holder(**files: str | OSError) -> Holder:
        names = {
            "locks": "/proc/locks",
            "stat": "/proc/12/stat",
            "boot": "/proc/stat",
        }
        with_files(monkeypatch, {names[name]: text for name, text in files.items()})
        return module._holder(lock)

    gone = OSError(errno.ENOENT, "gone")
    assert holder(locks=other + line % 12, stat=stat, boot=boot) == (12, 1000 + 22 / ticks)
    assert holder(locks=other) == (None, None)
    assert holder(locks="odd\n" + line % 12) == (None, None)
    assert holder(locks=line % "x") == (None, None)
    assert holder(locks=gone) == (None, None)
    # A process of another container has no number here.
    assert holder(locks=line % 0) == (None, None)
    with_files(monkeypatch, {"/proc/locks": line % 1, "/proc/1/stat": gone})
    assert module._holder(lock) == (1, None)
    for files in (
        {"stat": gone, "boot": boot},
        {"stat": stat, "boot": gone},
        {"stat": "12 (a) S 1", "boot": boot},
        {"stat": stat.replace(" 22 ", " x "), "boot": boot},
        {"stat": stat, "boot": "cpu 1\n"},
        {"stat": stat, "boot": "btime\n"},
    ):
        assert holder(locks=line % 12, **files) == (12, None)
    os.close(lock)
