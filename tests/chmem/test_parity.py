"""chmem to the byte with util-linux 2.43: what differed, one test for each kind."""

from pathlib import Path
from typing import Any

import pytest

import static_tree
from commands import Command
from memory_hotplug.errors import NotReadError
from memory_hotplug.machine import Machine
from simulated import Make, conditions, s390

LATER: dict[str, Any] = {
    **s390(),
    "blocks": [
        {"range": [0, 0], "config": 0},
        {"range": [1, 2], "off_zones": "Normal Movable"},
        {"range": [3, 3], "state": "offline", "off_zones": "Normal Movable"},
        {"range": [4, 5], "config": 0},
    ],
}
"""A machine whose first block is not configured."""


# A zone is nothing to --configure and --deconfigure.


@pytest.mark.parametrize("zone", ["Normal", "DMA", "Movable"])
def test_deconfiguring_an_amount_ignores_the_zone(
    zone: str, chmem: Command, tmp_path: Path
) -> None:
    group = {"range": [2, 3], "state": "offline", "off_zones": "Movable"}
    root = static_tree.make(tmp_path, {**s390(2, 0), "blocks": [{"range": [0, 1]}, group]})
    assert chmem("-s", root, "-g", "128m", "-z", zone).status == 0
    assert (root / static_tree.FIRMWARE / "memory3/config").read_text() == "0"


# Whether there are zones is looked up at the first block with a memoryN.


def test_memory_of_another_zone_stays_where_the_first_block_is_not_configured(
    chmem: Command, machine: Make
) -> None:
    root = machine(LATER)
    done = chmem("-s", root, "-b", "-d", "1", "-z", "DMA")
    block = "Memory Block 1 (0x0000000008000000-0x000000000fffffff)"
    assert done.status == 1
    assert done.stderr.splitlines()[0] == f"chmem: {block} disable failed: Zone mismatch"
    assert conditions(root)[1].state == "online"


@pytest.mark.parametrize(
    ("words", "zone"),
    [
        ("-b -e 3", "Movable"),
        ("-b -e 4", "Movable"),
        ("-b -e 4 -z Normal", "Normal"),
        ("-b -e 0 -z Movable", "Movable"),
        # As recorded of util-linux 2.42.2.
        ("-b -e 0", "Normal"),
        ("-e 128m", "Normal"),
    ],
)
def test_the_zone_is_that_of_other_machines_where_the_first_block_is_not_configured(
    words: str, zone: str, chmem: Command, machine: Make
) -> None:
    root = machine(LATER)
    before = conditions(root)
    done = chmem("-s", root, *words.split())
    assert (done.status, done.stderr) == (0, "")
    assert [now.zone for block, now in conditions(root).items() if now != before[block]] == [zone]


def test_without_valid_zones_a_zone_is_ignored_whichever_block_comes_first(
    chmem: Command, machine: Make
) -> None:
    root = machine({**LATER, "valid_zones": False})
    done = chmem("-s", root, "-b", "-e", "3", "-z", "DMA")
    said = "chmem: zone ignored, no valid_zones sysfs attribute present\n"
    assert (done.status, done.stderr) == (0, said)


def test_a_table_says_whether_there_are_zones_only_if_it_knows(machine: Make) -> None:
    with Machine.at(machine(LATER)) as found:
        assert found.read(("zones", "configured")).has_zones
        with pytest.raises(NotReadError):
            found.read(("zones",)).has_zones  # noqa: B018


# What the kernel itself sets online


def test_what_the_kernel_has_set_online_is_already_enabled(chmem: Command, machine: Make) -> None:
    root = machine(s390(auto_online_blocks="online"))
    done = chmem("-s", root, "-v", "-e", "-b", "4-5")
    assert done.status == 0
    for number in (4, 5):
        assert f"Memory Block {number} " in done.stdout
    assert [line.split(") ")[1] for line in done.stdout.splitlines()] == [
        *("configured", "already enabled"),
        *("configured", "already enabled"),
    ]


def test_configuring_says_configured_whatever_the_kernel_does(
    chmem: Command, machine: Make
) -> None:
    root = machine(s390(auto_online_blocks="online"))
    done = chmem("-s", root, "-v", "-c", "-b", "4")
    assert done.stdout.endswith(") configured\n")


# Operands


@pytest.mark.parametrize(
    ("operand", "said"),
    [
        ("ax0-bx7", "Failed to parse start address: 'ax0'"),
        ("0x0-bx7", "Failed to parse end address: 'bx7'"),
        ("00-0x7", "Invalid start address format: 00"),
        ("0x0-7", "Invalid end address format: 7"),
    ],
)
def test_of_an_address_the_second_letter_is_looked_at(
    operand: str, said: str, chmem: Command, machine: Make
) -> None:
    done = chmem("-s", machine(s390()), "-e", operand)
    assert (done.status, done.stderr.splitlines()[0]) == (1, f"chmem: {said}")


# Statuses


def test_blocks_that_are_passed_over_do_not_make_an_amount_partly_deconfigured(
    chmem: Command, machine: Make
) -> None:
    group = {"range": [0, 1], "state": "offline"}
    root = machine({**s390(), "blocks": [group, {"range": [2, 3]}]})
    assert chmem("-s", root, "-g", "256m").status == 0
    assert [conditions(root)[number].config for number in range(4)] == [0, 0, 1, 1]


def test_blocks_that_are_not_tried_are_named_once_and_not_as_failed(
    chmem: Command, machine: Make
) -> None:
    faults = {"config": {str(number): "ENOMEM" for number in range(4, 8)}}
    done = chmem("-s", machine({**s390(), "faults": faults}), "-v", "-c", "-m", "0", "512m")
    assert done.status == 1
    assert done.stdout.count("configure failed\n") == 2
    assert "failed: \n" not in done.stderr
    assert "memory blocks 6-7: not tried" in done.stderr


@pytest.mark.parametrize("verbose", [[], ["-v"]])
def test_that_memmap_on_memory_cannot_be_set_is_told_for_an_amount_too(
    verbose: list[str], chmem: Command, machine: Make
) -> None:
    group = {"range": [4, 4], "config": 0, "memmap": 0}
    blocks = [{"range": [0, 3]}, group]
    root = machine({**s390(), "memmap_supported": False, "blocks": blocks})
    done = chmem("-s", root, *verbose, "-c", "-m", "1", "128m")
    assert (done.status, done.stdout.splitlines()[-1]) == (1, "Could only configure 0B of memory")
    assert "memmap-on-memory failed" not in done.stdout
    block = "Memory Block 4 (0x0000000020000000-0x0000000027ffffff)"
    failed = f"chmem: {block} memmap-on-memory failed: Operation not supported"
    assert done.stderr.splitlines()[0] == failed


def test_an_empty_sysroot_is_never_this_machine(chmem: Command) -> None:
    done = chmem("-s", "", "-e", "-b", "1")
    assert done.status == 1
    assert done.stderr.startswith("chmem: option --sysroot needs a directory\n")
