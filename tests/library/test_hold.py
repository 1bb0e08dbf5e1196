"""One at a time changes a machine, and what a killed process left is brought back."""

import os
import signal
import time
from pathlib import Path

import pytest

import static_tree
from commands import start_python
from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.errors import HeldError
from memory_hotplug.hold import RECORD, Holder, hold
from memory_hotplug.machine import Machine
from memory_hotplug.outcome import Result
from memory_hotplug.plan import Action, Order
from memory_hotplug.transaction import bring_back, carry_out
from memsim import directory
from memsim.machine import Fault
from memsim.profile import boot
from simulated import s390
from static_tree import MEMORY

HOLDING = """
import sys, time
from memory_hotplug.hold import hold
with hold(sys.argv[1], this_machine=False):
    print("held", flush=True)
    time.sleep(600)
"""

DYING = """
import os, signal, sys
from memory_hotplug import Machine
from memory_hotplug.hold import hold
from memory_hotplug.plan import Action, Order
from memory_hotplug.transaction import carry_out

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
    list(carry_out(machine, Order(Action.RECONFIGURE, memmap_on_memory=True), [number], held=held))
"""


READ_ONLY = """
import sys
from memory_hotplug import Machine
from memory_hotplug.hold import hold
with hold(sys.argv[1], this_machine=False) as held:
    held.note(Machine.at(sys.argv[1]).block(1), "enable")
    print("held")
"""


@pytest.fixture
def lpar(tmp_path: Path) -> Path:
    directory.create(tmp_path / "m", boot(s390()))
    return tmp_path / "m"


def test_who_waits_is_told_for_whom_and_gives_up_after_the_timeout(lpar: Path) -> None:
    other = start_python(HOLDING, str(lpar))
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    told: list[Holder] = []
    try:
        with pytest.raises(HeldError) as caught:
            hold(str(lpar), this_machine=False, timeout=0.7, waiting=told.append)
    finally:
        other.kill()
        other.wait()
    assert [holder.pid for holder in told] == [other.pid]
    assert told[0].since is not None
    assert abs(time.time() - told[0].since) < 60
    assert caught.value.pid == other.pid
    with hold(str(lpar), this_machine=False, timeout=0):
        pass


def test_nothing_stays_in_the_tree(lpar: Path) -> None:
    machine = Machine.at(lpar)
    order = Order(Action.RECONFIGURE, memmap_on_memory=True)
    with hold(str(lpar), this_machine=False) as held:
        (outcome,) = carry_out(machine, order, [1], held=held)
        assert (lpar / RECORD).read_bytes() == b""
    assert outcome.result is Result.DONE
    assert not (lpar / RECORD).exists()


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
    assert not (lpar / RECORD).exists()


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
    assert not (lpar / RECORD).exists()


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
        b"block=1",
        b"\0" * 5000,
        b"block=99999 state=online zone=- configured=1 memmap_on_memory=0 action=enable pid=1\n",
        b"block=1/../2 state=online zone=- configured=1 memmap_on_memory=0 action=enable pid=1\n",
    ],
)
def test_a_record_that_makes_no_sense_changes_nothing(lpar: Path, record: bytes) -> None:
    (lpar / RECORD).write_bytes(record)
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
    place = lpar / RECORD
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
        (outcome,) = carry_out(Machine.at(lpar), order, [1], held=held)
    assert outcome.result is Result.DONE
    assert outside.read_text() == "precious"
    assert place.exists()


def test_a_tree_that_is_read_only_is_held_without_a_record(tmp_path: Path) -> None:
    root = static_tree.make(tmp_path / "t", s390())
    (tmp_path / "ro").mkdir()
    mount = "mount -t tmpfs none {1} && cp -r {0}/sys {1} && mount -o remount,ro {1} && "
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
