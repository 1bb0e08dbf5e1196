"""The recipes of the manual: each does on simulated machines what the manual says of it."""

import re
from pathlib import Path

import pytest

from commands import TOP, Command
from memory_hotplug import Action, Machine, Order, State, Zone
from memory_hotplug.attribute import MEMORY
from recipes.devices import empty
from recipes.diff import diff
from recipes.faults import test_another_block_takes_the_place_of_a_busy_one
from recipes.free import free
from recipes.layout import apply
from recipes.report import report
from recipes.scale import scale
from recipes.undo import attempt
from recipes.watch import wait_for
from recipes.why import why_not
from simulated import Make, half_done, leave_half_done, s390, write, x86

__all__ = ["test_another_block_takes_the_place_of_a_busy_one"]

RECIPES = TOP / "docs/library/recipes"
GIB = 1 << 30


def online(machine: Machine) -> int:
    return machine.read(["state"]).total(online=True)


def test_the_manual_has_all_recipes_and_they_are_short() -> None:
    page = (TOP / "docs/library/howto.rst").read_text()
    shown = re.findall(r"^\.\. literalinclude:: recipes/(\w+)\.py$", page, re.MULTILINE)
    files = sorted(path.stem for path in RECIPES.glob("*.py"))
    assert sorted(shown) == files
    assert len(files) == 10
    for path in RECIPES.glob("*.py"):
        assert 8 <= len(path.read_text().splitlines()) <= 25


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    with Machine.simulated("s390-lpar") as machine:
        report(machine)
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "online: 2G"
    # The manual shows it.
    page = (TOP / "docs/library/howto.rst").read_text()
    assert "".join(f"    {line}\n" for line in said.splitlines()) in page


def test_free_keeps_what_is_to_stay_available(capsys: pytest.CaptureFixture[str]) -> None:
    # One GiB is in use.
    with Machine.simulated(memory=8 * GIB) as machine:
        assert free(machine, 6 * GIB) == ()
        assert online(machine) == 8 * GIB
        assert capsys.readouterr().out == "4.9G can go, not 6G\n"
        assert len(free(machine, 4 * GIB)) * machine.block_size == 4 * GIB
        assert online(machine) == 4 * GIB


def test_free_takes_all_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    busy = {number: {"offline": "EBUSY"} for number in range(40)}
    with Machine.simulated(memory=8 * GIB, faults=busy) as machine:
        assert free(machine, 4 * GIB) == ()
        assert online(machine) == 8 * GIB
    assert "block 39: offline failed: Device or resource busy\n" in capsys.readouterr().out


PRESSURE = "some avg10={} avg60=0.00 avg300={} total=5\nfull avg10=99.00 avg300=99.00 total=5\n"


@pytest.mark.parametrize(
    ("shares", "more"), [((12.5, 1.0), 1), ((0, 0), -1), ((0, 0.1), 0), ((9.99, 4), 0)]
)
def test_scale_follows_the_pressure(shares: tuple[float, float], more: int, tmp_path: Path) -> None:
    pressure = tmp_path / "memory"
    pressure.write_text(PRESSURE.format(*shares))
    with Machine.simulated("x86-two-nodes") as machine:
        before = online(machine)
        scale(machine, pressure)
        assert online(machine) == before + more * GIB


def test_scale_never_takes_what_is_to_stay_available(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pressure = tmp_path / "memory"
    pressure.write_text(PRESSURE.format(0, 0))
    with Machine.simulated(memory=8 * GIB) as machine:
        for _ in range(8):
            scale(machine, pressure)
        # One is in use, and a little more is the kernel's: another one would leave less than two.
        assert online(machine) == 4 * GIB
    assert "too little memory would stay available" in capsys.readouterr().out


def test_scale_goes_on_after_a_hypervisor_that_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pressure = tmp_path / "memory"
    pressure.write_text(PRESSURE.format(50, 0))
    refused = {number: {"config": "EIO"} for number in range(16, 32)}
    with Machine.simulated("s390-lpar", faults=refused) as machine:
        scale(machine, pressure)
        assert online(machine) == 2 * GIB
    assert "memory block 16: configure failed" in capsys.readouterr().out


def test_scale_restores_what_a_killed_one_left(machine: Make, tmp_path: Path) -> None:
    pressure = tmp_path / "memory"
    pressure.write_text(PRESSURE.format(50, 0))
    root = machine(s390(16, 8))
    write(root, f"{MEMORY}/memory1/state", "offline")
    leave_half_done(root, half_done(1))
    with Machine.at(root) as opened:
        scale(opened, pressure)
        assert opened.block(1).state is State.ONLINE
        assert online(opened) == 3 * GIB


def test_watch_waits_until_it_is_so_or_the_time_is_over() -> None:
    with Machine.simulated("s390-lpar") as machine:
        assert wait_for(machine, 2 * GIB, timeout=600)
        assert not wait_for(machine, 3 * GIB, timeout=0)


def test_a_layout_is_applied_and_then_nothing_is_left_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Machine.simulated("x86-two-nodes") as machine:
        assert apply(machine)
        assert capsys.readouterr().out.startswith("block 128 is online\n")
        blocks = list(machine.blocks())
        movable = [block for block in blocks if block.zones == (Zone.MOVABLE,)]
        assert sum(block.state is State.ONLINE for block in movable) * machine.block_size == 2 * GIB
        assert apply(machine)
        assert list(machine.blocks()) == blocks
        capsys.readouterr()
        assert not apply(machine, "version = 2")
        assert capsys.readouterr().out == "layout:1: version must be 1, not 2\n"


def test_a_layout_that_a_machine_does_not_come_to_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    busy = {number: {"online": "EBUSY"} for number in range(128, 136)}
    with Machine.simulated("x86-two-nodes", faults=busy) as machine:
        assert not apply(machine)
    assert "block 128: online failed" in capsys.readouterr().out


def test_diff_tells_only_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    with Machine.simulated("s390-lpar") as old, Machine.simulated("s390-lpar") as new:
        diff(old, new)
        assert capsys.readouterr().out == ""
        list(new.change(Order(Action.ENABLE), blocks=[16]))
        diff(old, new)
    assert capsys.readouterr().out.splitlines() == [
        "- 0x0-0x7fffffff online",
        "+ 0x0-0x87ffffff online",
        "- 0x80000000-0xffffffff disabled",
        "+ 0x88000000-0xffffffff disabled",
    ]


@pytest.mark.parametrize("works", [True, False])
def test_undo_brings_back_what_did_not_work(works: bool) -> None:
    with Machine.simulated("x86-two-nodes") as machine:
        before = online(machine)
        assert attempt(machine, GIB, lambda: works) is works
        assert online(machine) == before - works * GIB


def test_nothing_else_is_undone_if_nothing_was_changed() -> None:
    busy = {number: {"offline": "EBUSY"} for number in range(24)}
    with Machine.simulated(memory=4 * GIB, faults=busy) as machine:
        assert attempt(machine, GIB, lambda: True)
        assert not attempt(machine, GIB, lambda: True)
        assert online(machine) == 3 * GIB


def test_a_device_is_empty_and_can_be_unplugged(
    machine: Make, memsim: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    root = machine({**x86(), "blocks": [{"range": [0, 3]}, {"range": [4, 9], "config": 0}]})
    for kind in ("dimm", "virtio-mem"):
        assert memsim("plug", root, "--as", kind, "--memory", "256M").status == 0
    with Machine.at(root) as opened:
        list(opened.change(Order(Action.ENABLE), device="PNP0C80:00"))
        capsys.readouterr()
        assert empty(opened, "PNP0C80:00")
    assert capsys.readouterr().out.splitlines() == [
        "PNP0C80:00 256M 2 blocks online",
        "virtio0 256M 0 blocks online",
    ]
    assert memsim("unplug", root, "--as", "dimm", "--memory", "256M").status == 0


def test_why_not_tells_each_block(capsys: pytest.CaptureFixture[str]) -> None:
    with Machine.simulated("x86-two-nodes") as machine:
        why_not(machine, [0, 32, 130])
    assert capsys.readouterr().out.splitlines() == [
        "block 0 no",
        "block 32 maybe",
        "block 130 not online",
    ]
