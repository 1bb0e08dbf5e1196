"""Blocks side by side of which the same is to be said have one line, where util-linux has none."""

from pathlib import Path

import pytest

from commands import Command
from simulated import Make, s390, write


def address(first: int, last: int) -> str:
    return f"(0x{first << 27:016x}-0x{((last + 1) << 27) - 1:016x})"


@pytest.fixture
def faulty(machine: Make) -> Path:
    """Storage for blocks 5 to 7 and 9 is refused, and 8 has no memory for page tables."""
    refused = {**dict.fromkeys("5679", "EIO"), "8": "ENOMEM"}
    return machine(s390(4, 8, faults={"config": refused}))


def test_what_a_layout_could_not_do_is_told_in_few_lines(
    faulty: Path, chmem: Command, tmp_path: Path
) -> None:
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nblocks = "4-11"\n')
    done = chmem("-s", faulty, "--apply", layout, "--advice=never")
    assert done.status == 64
    assert done.stderr.splitlines() == [
        f"chmem: Memory Blocks 5-7 {address(5, 7)} configure failed: Input/output error",
        f"chmem: Memory Block 8 {address(8, 8)} configure failed: Cannot allocate memory",
        f"chmem: Memory Block 9 {address(9, 9)} configure failed: Input/output error",
    ]
    # The lines of other blocks stand between.
    done = chmem("-s", faulty, "--apply", layout, "--advice=never", "-v")
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        "chmem: Memory Blocks 5-7",
        "chmem: Memory Block 8",
        "chmem: Memory Block 9",
    ]


def test_blocks_apart_have_lines_of_their_own(faulty: Path, chmem: Command, tmp_path: Path) -> None:
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nblocks = "5,7"\n')
    done = chmem("-s", faulty, "--apply", layout, "--advice=never")
    names = [line.split(" (")[0] for line in done.stderr.splitlines()]
    assert names == ["chmem: Memory Block 5", "chmem: Memory Block 7"]


def test_for_actions_of_util_linux_each_block_has_its_line(faulty: Path, chmem: Command) -> None:
    done = chmem("-s", faulty, "-e", "-b", "4-7", "--advice=never")
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        f"chmem: Memory Block {number}" for number in (5, 6, 7)
    ]


def test_blocks_that_were_taken_back_have_one_line(machine: Make, chmem: Command) -> None:
    root = machine(s390(8, 0, faults={"offline": {"3": "EBUSY"}}))
    done = chmem("-s", root, "-d", "-b", "2-6", "--all-or-nothing", "--advice=never")
    assert done.stderr.splitlines() == [
        f"chmem: Memory Block 3 {address(3, 3)} disable failed: Device or resource busy",
        f"chmem: Memory Blocks 4-6 {address(4, 6)} taken back",
    ]


def test_blocks_of_a_size_that_were_taken_back_have_one_line_though_they_descend(
    machine: Make, chmem: Command
) -> None:
    refused = dict.fromkeys("0123", "EBUSY")
    root = machine(s390(8, 0, faults={"offline": refused}))
    done = chmem("-s", root, "-d", "640m", "--all-or-nothing", "--advice=never")
    assert f"chmem: Memory Blocks 4-7 {address(4, 7)} taken back" in done.stderr.splitlines()


def test_blocks_that_came_back_in_another_zone_have_one_line(lpar: Path, chmem: Command) -> None:
    assert chmem("-s", lpar, "-d", "-b", "12-15").status == 0
    write(lpar, "sys/firmware/memory/memory16/config", "1")
    write(lpar, "sys/devices/system/memory/memory16/state", "online_kernel")
    done = chmem("-s", lpar, "--undo")
    said = "memory blocks 12-15 came back in zone Normal; they were in DMA"
    assert done.stderr == f"chmem: {said}\n"
