"""SIZE, RANGE, BLOCKRANGE, zone and node: which blocks are meant, and if there are too few."""

import json
from pathlib import Path

import pytest

import static_tree
from commands import Command
from simulated import Make, changed, conditions, s390, x86


@pytest.mark.parametrize(
    "size", ["256", "256m", "256M", "0x100", "0400", "0.25g", "256MiB", "262144k", " +256m"]
)
def test_size_takes_bases_fractions_and_suffixes(size: str, chmem: Command, machine: Make) -> None:
    root = machine(s390())
    before = conditions(root)
    assert chmem("-s", root, "-e", size).status == 0
    assert changed(before, conditions(root)) == [4, 5]


def test_range_beyond_the_last_block_is_done_as_far_as_there_is_memory(
    chmem: Command, machine: Make
) -> None:
    root = machine(s390())
    done = chmem("-s", root, "-e", "-b", "6-9")
    assert done.status == 64
    assert "not on this machine: memory blocks 8-9\n" in done.stderr
    assert conditions(root)[7].state == "online"


@pytest.mark.parametrize(
    ("asked", "absent"),
    [
        ("2-9", "not on this machine: memory blocks 4-7\n"),
        ("2-6", "not on this machine: memory blocks 4-6\n"),
        ("5-9", "not on this machine: memory blocks 5-7\n"),
        ("3-12", "not on this machine: 5 of memory blocks 4-12\n"),
        ("7-8", "not on this machine: memory block 7\n"),
    ],
)
def test_range_with_holes_names_the_absent_blocks(
    asked: str, absent: str, chmem: Command, machine: Make
) -> None:
    root = machine({**x86(), "blocks": [{"range": [0, 3]}, {"range": [8, 11]}]})
    assert absent in chmem("-s", root, "-e", "-b", asked).stderr


@pytest.mark.parametrize(
    "arguments", [["-e", "1g"], ["-d", "2g"], ["-e", "1g", "--json"], ["-e", "1g", "--dry-run"]]
)
def test_could_only_enable_is_said_once(
    arguments: list[str], chmem: Command, machine: Make
) -> None:
    done = chmem("-s", machine(x86()), *arguments)
    assert done.status == 64
    verb = "disable" if "-d" in arguments else "enable"
    assert done.stderr.splitlines() == [f"chmem: Could only {verb} 512M of memory"]


def test_could_only_enable_is_said_once_and_at_the_end_where_a_block_fails(
    chmem: Command, machine: Make
) -> None:
    done = chmem("-s", machine(x86(faults={"online": {"5": "EIO"}})), "-e", "1g")
    said = [line for line in done.stderr.splitlines() if "ould only" in line]
    assert said == ["chmem: Could only enable 384M of memory"]


def test_could_only_configure_is_said_once_as_util_linux_says_it(
    chmem: Command, machine: Make
) -> None:
    done = chmem("-s", machine(s390()), "-c", "1g")
    assert (done.status, done.stdout) == (64, "Could only configure 512M of memory\n")
    assert done.stderr == ""


def test_node_limits_a_size_and_a_range(chmem: Command, machine: Make) -> None:
    blocks = [
        {"range": [0, 3]},
        {"range": [4, 5], "state": "offline"},
        {"range": [6, 7], "state": "offline", "node": 1},
    ]
    root = machine({**x86(), "blocks": blocks})
    assert chmem("-s", root, "--node", "1", "-e", "128m").status == 0
    assert conditions(root)[6].state == "online"
    assert chmem("-s", root, "--node", "1", "-e", "-b", "0-7").status == 0
    after = conditions(root)
    assert [after[4].state, after[7].state] == ["offline", "online"]


def test_node_that_is_not_there_is_named(chmem: Command, machine: Make) -> None:
    done = chmem("-s", machine(s390()), "-d", "128m", "--node", "7")
    assert done.status == 1
    assert "chmem: this machine has no node 7\n" in done.stderr


def test_node_of_disabled_memory_is_the_only_one_there_is(chmem: Command, machine: Make) -> None:
    root = machine(s390())
    assert chmem("-s", root, "--node", "0", "-e", "128m").status == 0
    assert conditions(root)[4].state == "online"


@pytest.mark.parametrize(("nodes", "enabled"), [(2, []), (1, [4])])
def test_node_of_disabled_memory_is_unknown_where_there_are_several(
    nodes: int, enabled: list[int], chmem: Command, tmp_path: Path
) -> None:
    blocks = [
        {"range": [0, 2]},
        {"range": [3, 3], "node": nodes - 1},
        {"range": [4, 7], "config": 0},
    ]
    root = static_tree.make(tmp_path, {**s390(), "blocks": blocks})
    for request in (["128m"], ["-b", "4"]):
        done = chmem("-s", root, "--dry-run", "--json", "--node", "0", "-c", *request)
        document = json.loads(done.stdout)
        assert [block["block"] for block in document["blocks"]] == enabled


def test_all_or_nothing_refuses_more_than_there_is_before_it_begins(
    chmem: Command, machine: Make
) -> None:
    root = machine(x86())
    before = conditions(root)
    for request in (["1g"], ["-b", "6-9"]):
        done = chmem("-s", root, "--all-or-nothing", "-e", *request)
        assert done.status == 1
        assert "nothing is changed" in done.stderr
        assert conditions(root) == before


def test_all_or_nothing_reaches_a_size_in_spite_of_a_busy_block(
    chmem: Command, machine: Make
) -> None:
    root = machine(x86(faults={"offline": {"3": "EBUSY"}}))
    assert chmem("-s", root, "--all-or-nothing", "-d", "256m").status == 0
    assert [number for number, now in conditions(root).items() if now.state == "offline"] == [
        1, 2, 4, 5, 6, 7,
    ]  # fmt: skip


def test_all_or_nothing_refuses_in_two_lines(chmem: Command, machine: Make) -> None:
    done = chmem("-s", machine(s390()), "-e", "100t", "--all-or-nothing")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        "chmem: 100T requested, but only 512M can be enabled\n"
        "chmem: nothing is changed (--all-or-nothing)\n"
    )


@pytest.mark.parametrize(
    ("words", "first", "last"),
    [
        (["-b", "+007"], 7, 7),
        (["-b", " 5-\t+6"], 5, 6),
        (["-b", f"{2**64 - 1}"], 2**64 - 1, 2**64 - 1),
        (["-b", "000000000000000000000000000012"], 12, 12),
        (["-b", "+00000000000000000000000000012"], 12, 12),
        (["0x8000000-0x00017ffffff"], 1, 2),
    ],
)
def test_range_takes_numbers_as_strtoull_does(
    words: list[str], first: int, last: int, chmem: Command, machine: Make
) -> None:
    done = chmem("-s", machine(s390()), "--dry-run", "--json", "-e", *words)
    request = json.loads(done.stdout)["request"]
    assert (request["first_block"], request["last_block"], request["size"]) == (first, last, None)
