"""Blocks of a range are set offline from the highest down, and told from the lowest up."""

import json
from pathlib import Path

import pytest

from commands import Command
from memory_hotplug import Action, Machine, Order
from simulated import Make, online, s390, x86


@pytest.fixture
def root(machine: Make) -> Path:
    """Of blocks 0 to 7, 4 is offline, and 5 and 2 cannot be."""
    blocks = [{"range": [0, 3]}, {"range": [4, 4], "state": "offline"}, {"range": [5, 7]}]
    return machine({**x86(), "blocks": blocks, "faults": {"offline": {"2": "EBUSY", "5": "EBUSY"}}})


def numbers(text: str) -> list[int]:
    return [int(line.split("Memory Block ")[1].split()[0]) for line in text.splitlines()]


def test_a_range_is_set_offline_from_the_highest_block_down(root: Path) -> None:
    with Machine.at(root) as machine:
        work = machine.change(Order(Action.DISABLE), blocks=range(1, 8))
        assert [outcome.number for outcome in work] == [7, 6, 5, 4, 3, 2, 1]
        assert work.changed == (1, 3, 6, 7)
        # Undoing goes the other way round.
        assert [outcome.number for outcome in machine.undo()] == [1, 3, 6, 7]


def test_so_are_all_blocks_of_a_node(machine: Make) -> None:
    with Machine.at(machine("x86-two-nodes")) as found:
        numbers = [outcome.number for outcome in found.change(Order(Action.DISABLE), node=1)]
    assert len(numbers) > 1
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize("action", [Action.ENABLE, Action.CONFIGURE, Action.DECONFIGURE])
def test_what_moves_no_pages_ascends(action: Action, machine: Make) -> None:
    with Machine.at(machine(s390())) as found:
        outcomes = found.change(Order(action), blocks=range(4, 8))
        assert [outcome.number for outcome in outcomes] == [4, 5, 6, 7]


def test_the_lines_ascend(root: Path, chmem: Command) -> None:
    done = chmem("-s", root, "-d", "-b", "1-7", "-v", "--advice=never")
    assert (done.status, online(root)) == (64, [0, 2, 5])
    assert numbers(done.stdout) == [1, 3, 4, 6, 7]
    assert "Memory Block 4 (0x0000000020000000-0x0000000027ffffff) already dis" in done.stdout
    assert numbers(done.stderr) == [2, 5]


def test_the_lines_of_all_or_nothing_ascend(machine: Make, chmem: Command) -> None:
    blocks = [{"range": [0, 0]}, {"range": [1, 2], "state": "offline"}, {"range": [3, 3]}]
    root = machine({**x86(), "blocks": blocks})
    done = chmem("-s", root, "-d", "-b", "0-3", "-v", "--all-or-nothing", "--force")
    assert (done.status, online(root)) == (0, [])
    assert numbers(done.stdout) == [0, 1, 2, 3]


def test_all_or_nothing_tells_no_change_that_it_takes_back(root: Path, chmem: Command) -> None:
    """Also where the blocks are told in the order of the work, as those of a size."""
    words = ["-s", root, "-d", "768m", "-v", "--all-or-nothing", "--order=highest", "--force"]
    done = chmem(*words)
    assert (done.status, online(root)) == (1, [0, 1, 2, 3, 5, 6, 7])
    assert "disabled" not in done.stdout
    assert "taken back" in done.stderr


def test_the_document_ascends(root: Path, chmem: Command) -> None:
    done = json.loads(chmem("-s", root, "-d", "-b", "1-7", "--json").stdout)
    assert [one["block"] for one in done["blocks"]] == [1, 2, 3, 5, 6, 7]


def test_a_dry_run_writes_in_the_order_of_the_work(machine: Make, chmem: Command) -> None:
    root = machine(x86(8, 0))
    words = ["-s", root, "-d", "-b", "2-4", "--dry-run"]
    script = [line for line in chmem(*words).stdout.splitlines() if line.startswith("memsim")]
    assert [line.split("/memory/memory")[1] for line in script] == [
        f"{number}/state offline" for number in (4, 3, 2)
    ]
    told = json.loads(chmem(*words, "--json").stdout)
    assert [one["block"] for one in told["blocks"]] == [2, 3, 4]


def test_what_is_not_reached_are_the_lower_blocks(root: Path) -> None:
    with Machine.at(root) as machine:
        for outcome in machine.change(Order(Action.DISABLE), blocks=range(1, 8)):
            if outcome.number == 6:
                break
    assert online(root) == [0, 1, 2, 3, 5]
