"""Two that change a machine at once, and one that was killed while it did."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from chmem_py.interrupts import Interrupts
from chmem_py.output import Output
from chmem_py.recovery import holding, say_held
from commands import Command, start_program, start_python
from holding import held_by_another
from memory_hotplug.attribute import FIRMWARE, MEMORY
from memory_hotplug.change.journal import HALF_DONE
from memory_hotplug.errors import HeldError, StoppedError
from memory_hotplug.face import Machine
from paused import Paused
from simulated import MIB, Make, conditions, half_done, leave_half_done, make, online, s390, write
from told import said_in

DYING = """
import os, signal, sys
from memory_hotplug.trees.simulated import SimulatedTree
from hotplug_cli.program import status_of
from chmem_py.cli import chmem
after = int(sys.argv.pop(1))
write = SimulatedTree.write
def counted(self, path, word):
    global after
    if not after:
        os.kill(os.getpid(), signal.SIGKILL)
    after -= 1
    write(self, path, word)
SimulatedTree.write = counted
status_of(chmem, "chmem")
"""


def test_two_that_enable_at_once_enable_twice_as_much(tmp_path: Path) -> None:
    transitions = {name: {str(block): 0.05 for block in range(4, 12)} for name in ("config",)}
    root = make(tmp_path / "machine", s390(4, 12, delays=transitions))
    both = [start_program("chmem", "-s", root, "-e", "512m") for _ in range(2)]
    for one in both:
        one.communicate(timeout=60)
        assert one.returncode == 0
    assert online(root) == list(range(12))


def test_who_waits_says_for_whom_and_goes_on_afterwards(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    with held_by_another(root) as pid:
        waiting = start_program("chmem", "-s", root, "-e", "-b", "4")
        assert waiting.stderr
        line = waiting.stderr.readline()
        assert line.startswith(f"chmem: waiting for process {pid} (since ")
        assert line.endswith("), which is changing the memory of this machine\n")
        assert conditions(root)[4].state == "absent"
    waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert conditions(root)[4].state == "online"


def test_the_time_limit_holds_for_the_wait_too(chmem: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    with held_by_another(root) as pid:
        done = chmem("-s", root, "--timeout", "0.1", "-e", "-b", "4")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"chmem: process {pid} (since ")
    assert done.stderr.endswith(
        " is still changing the memory of this machine; nothing was changed\n"
    )


def test_the_document_of_one_who_waited_in_vain_has_the_whole_request(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390())
    with held_by_another(root):
        done = chmem("-s", root, "--timeout", "0.1", "--json", "-e", "512m", "-z", "Movable")
    request = json.loads(done.stdout)["request"]
    assert (request["size"], request["zone"]) == (512 << 20, "Movable")


def left_half_done(machine: Make, **more: Any) -> Path:
    """A machine of which a killed process has left block 1 offline."""
    root = machine(s390(**more))
    write(root, f"{MEMORY}/memory1/state", "offline")
    leave_half_done(root, half_done(1, pid=77))
    return root


KILLED = "chmem: process 77 ended while it changed memory block 1 (--reconfigure); "


def test_what_a_killed_one_left_is_brought_back_and_told(chmem: Command, machine: Make) -> None:
    root = left_half_done(machine)
    done = chmem("-s", root, "-b", "-e", "4", "--dry-run")
    assert done.stderr == (
        f"{KILLED}without --dry-run the block is restored first: online, configured, "
        "memmap_on_memory 0\n"
    )
    # The script begins with that, and the plan with the machine as it is then.
    assert done.stdout.splitlines()[1:] == [
        f"memsim write {root} {MEMORY}/memory1/state online",
        f"memsim write {root} {FIRMWARE}/memory4/config 1",
        f"memsim write {root} {MEMORY}/memory4/state online_movable",
        "# 128M would be enabled: memory block 4",
    ]
    assert (root / "run" / HALF_DONE).exists()
    done = chmem("-s", root, "-b", "-e", "4")
    assert (done.status, done.stderr) == (
        0,
        f"{KILLED}the block was restored: online, configured, memmap_on_memory 0\n",
    )
    assert conditions(root)[1].state == "online"
    assert not (root / "run" / HALF_DONE).exists()


def test_what_a_killed_one_left_and_cannot_be_brought_back_is_told_each_time(
    chmem: Command, machine: Make
) -> None:
    root = left_half_done(machine, faults={"online": {"1": "EIO"}})
    for _ in range(2):
        done = chmem("-s", root, "-b", "-e", "4")
        assert (done.status, done.stderr) == (
            0,
            "chmem: memory block 1 online failed while undoing: Input/output error\n"
            "chmem: memory block 1 is left offline, configured, memmap_on_memory 0\n"
            f"chmem: chmem --enable --blocks 1 --zone Normal --sysroot {root} restores it once the "
            "cause is fixed\n",
        )


def test_a_dry_run_plans_from_the_machine_as_it_is_once_it_is_restored(
    chmem: Command, machine: Make
) -> None:
    root = left_half_done(machine)
    files = sorted(str(path) for path in root.rglob("*"))
    done = chmem("-s", root, "--dry-run", "-e", "-b", "1", "--json")
    found = json.loads(done.stdout)
    # The block is online again by then.
    assert (found["blocks_already"], found["blocks"]) == (1, [])
    done = chmem("-s", root, "--dry-run", "--json", "-d", "128m", "--order", "best")
    assert [block["block"] for block in json.loads(done.stdout)["blocks"]] == [3]
    done = chmem("-s", root, "--dry-run", "-d", "-b", "1")
    assert "128M would be disabled: memory block 1" in done.stdout
    assert sorted(str(path) for path in root.rglob("*")) == files


def test_the_figures_of_a_dry_run_count_the_block_that_is_restored_first(
    chmem: Command, machine: Make
) -> None:
    root = left_half_done(machine, used=128 * MIB)
    words = ("-s", root, "-d", "-b", "3", "--dry-run", "--keep-free", "none")
    found = [line for line in chmem(*words).stdout.splitlines() if "would remain" in line]
    # So they are once it is restored.
    assert chmem("-s", root, "-e", "-b", "1").status == 0
    assert conditions(root)[1].state == "online"
    assert [line for line in chmem(*words).stdout.splitlines() if "would remain" in line] == found
    assert found == [
        "# node 0: 376M of 504M would remain; 128M is in use",
        "# 376M of 504M would remain; 128M is in use",
    ]


def test_a_dry_run_says_nothing_of_a_block_that_needs_no_repair(
    chmem: Command, machine: Make
) -> None:
    root = left_half_done(machine)
    write(root, f"{MEMORY}/memory1/state", "online")
    done = chmem("-s", root, "--dry-run", "-e", "-b", "4")
    assert (done.status, done.stderr) == (0, "")
    # Nor does the run.
    done = chmem("-s", root, "-e", "-b", "4")
    assert (done.status, done.stderr) == (0, "")


HELD = 600
"""Seconds for which a delay holds a step; no test waits that long."""


def killed_where_it_stands_still(root: Path, *words: str) -> None:
    """Kill a chmem in the delay of a machine."""
    chmem = Paused("-s", root, *words)
    chmem.until_it_stands_still()
    chmem.process.kill()
    chmem.process.communicate()
    assert (root / "run" / HALF_DONE).exists()


def test_an_undo_in_a_dry_run_after_a_kill_repairs_nothing_that_needs_no_repair(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", s390(delays={"online": {"5": HELD}}))
    before = conditions(root)
    killed_where_it_stands_still(root, "-e", "-b", "4-6", "-m", "0")
    done = chmem("-s", root, "--undo", "--dry-run", "--json")
    found = json.loads(done.stdout)
    (said,) = said_in(found)
    assert "without --dry-run the block is restored first: offline, deconfigured" in said
    assert "changed memory block 5 (--enable); " in said
    # Block 5 is as it was by then, and block 6 was never begun.
    assert [block["block"] for block in found["blocks"]] == [4]
    assert (found["status"], found["blocks_already"]) == (0, 2)
    assert chmem("-s", root, "--undo").status == 0
    assert conditions(root) == before


@pytest.mark.parametrize(
    ("words", "transition"), [(["--undo"], "deconfig"), (["--total", "768m"], "online")]
)
def test_what_was_asked_for_is_named_after_a_kill(
    words: list[str], transition: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", s390(delays={transition: {"5": HELD}}))
    if words == ["--undo"]:
        assert chmem("-s", root, "-e", "-b", "4-5").status == 0
    killed_where_it_stands_still(root, *words)
    done = chmem("-s", root, "-e", "-b", "0")
    assert f"ended while it changed memory block 5 ({words[0]}); the block was rest" in done.stderr


def test_a_dry_run_waits_for_nobody(chmem: Command, machine: Make) -> None:
    root = left_half_done(machine)
    with held_by_another(root):
        done = chmem("-s", root, "--dry-run", "-e", "-b", "4")
    assert (done.status, done.stderr) == (0, "")


def test_who_holds_the_machine_is_named_with_the_day_if_it_was_another() -> None:
    now = time.time()
    for pid, since, named in (
        (7, 0.0, f"process 7 (since {time.strftime('%F %T', time.localtime(0))})"),
        (7, now, f"process 7 (since {time.strftime('%T', time.localtime(now))})"),
        (7, None, "process 7"),
        (None, None, "another process"),
    ):
        output = Output()
        say_held(HeldError(pid, since), output)
        changing = "is still changing the memory of this machine; nothing was changed"
        assert [said.text for said in output.messages] == [f"{named} {changing}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_nothing_was_done(
    number: int, chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine(s390())
    monkeypatch.setattr("time.sleep", lambda seconds: os.kill(os.getpid(), number))
    with held_by_another(root):
        done = chmem("-s", root, "--json", "-e", "-b", "4")
    document = json.loads(done.stdout)
    assert done.status == document["status"] == 128 + number
    assert (document["outcome"], document["signal"]) == ("interrupted", number)
    assert (document["request"]["text"], document["blocks"]) == ("4", [])
    assert done.stderr == "chmem: interrupted; enabled before that: nothing\n"
    assert conditions(root)[4].state == "absent"


def test_a_signal_just_before_the_wait_ends_it_too(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    with held_by_another(root), Machine.at(root) as machine, Interrupts(None) as interrupts:
        interrupts.signal = signal.SIGINT
        with pytest.raises(StoppedError), holding(machine, interrupts, 5.0, Output()):
            pass


@pytest.mark.parametrize("after", range(1, 5))
def test_what_a_killed_one_left_is_brought_back_before_anything_else(
    after: int, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390())
    before = conditions(root)
    words = ("-s", root, "--reconfigure", "-m", "1", "-b", "2")
    killed = start_python(DYING, str(after), *words)
    assert killed.wait(timeout=60) == -signal.SIGKILL
    assert conditions(root)[2] != before[2]
    done = chmem("-s", root, "--json", "-e", "-b", "4")
    said = said_in(json.loads(done.stdout))
    assert said == [
        f"process {killed.pid} ended while it changed memory block 2 (--reconfigure); the block "
        "was restored: online, configured, memmap_on_memory 0"
    ]
    assert done.status == 0
    after_all = conditions(root)
    assert after_all[2] == before[2]
    assert after_all[4].state == "online"
    assert chmem(*words).status == 0
    assert conditions(root)[2].memmap == 1


def test_a_wait_that_was_too_long_is_told_with_the_request(tmp_path: Path, chmem: Command) -> None:
    root = make(tmp_path / "machine", s390())
    with (
        Machine.at(root) as machine,
        Interrupts(None) as interrupts,
        holding(machine, interrupts, None, Output()),
    ):
        done = chmem("-s", root, "--json", "--timeout", "0.1", "-e", "-b", "4-5")
    document = json.loads(done.stdout)
    assert done.status == document["status"] == 1
    assert (document["outcome"], document["bytes_changed"]) == ("failed", 0)
    assert document["request"]["text"] == "4-5"
    assert document["request"]["action"] == "enable"
    assert said_in(document)[-1].endswith("nothing was changed")
    assert f"process {os.getpid()} " in done.stderr
    assert conditions(root)[4].state == "absent"


def test_after_a_boot_no_block_is_half_changed(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    root = left_half_done(machine)
    assert memsim("reboot", root).status == 0
    write(root, f"{MEMORY}/memory1/state", "offline")
    done = chmem("-s", root, "-d", "-b", "2")
    assert (done.status, done.stderr) == (0, "")
    assert online(root) == [0, 3]
