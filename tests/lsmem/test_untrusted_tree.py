"""What lsmem does with a tree that no kernel made."""

import json
import re
from pathlib import Path

import pytest

import static_tree
from commands import Command, cells
from lsmem_py.formats import names
from static_tree import FIRMWARE, MEMORY, NODE


def test_a_root_that_does_not_exist_is_named_and_no_cause_is_guessed(
    lsmem: Command, tmp_path: Path
) -> None:
    done = lsmem("-s", tmp_path / "no-such-dir", "--advice=always")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"lsmem: cannot open {tmp_path}/no-such-dir: No such file or directory\n"


def test_a_root_that_is_a_file_or_device_is_named(lsmem: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no archive")
    for root, reason in (
        (tmp_path / "file", "not an archive, or a damaged one (truncated header)"),
        ("/dev/null", "Not a directory"),
    ):
        done = lsmem("-s", root)
        assert (done.status, done.stderr) == (1, f"lsmem: cannot open {root}: {reason}\n")


def test_a_tree_without_memory_directory_is_said_in_the_words_of_util_linux(
    lsmem: Command, tmp_path: Path
) -> None:
    done = lsmem("-s", tmp_path)
    assert (done.status, done.stdout) == (1, "")
    said = "lsmem: cannot open /sys/devices/system/memory: No such file or directory\n"
    assert done.stderr == said
    assert lsmem("-s", tmp_path, "--advice=always").stderr == said + (
        f"lsmem: {tmp_path} has no sys/devices/system/memory;"
        " memsim capture and memsim create make such trees\n"
    )


@pytest.mark.parametrize(
    "text", ["", "\n", "zz\n", "0\n", "-8000000\n", "8_0\n", "f" * 17, "\xff\x1b"]
)
def test_a_block_size_bytes_that_is_no_size_is_an_error(
    text: str, lsmem: Command, tree: Path
) -> None:
    (tree / MEMORY / "block_size_bytes").write_bytes(text.encode("latin-1"))
    done = lsmem("-s", tree)
    assert (done.status, done.stdout) == (1, "")
    assert "block_size_bytes should hold the block size in hexadecimal" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_missing_block_size_bytes_is_an_error(lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "block_size_bytes").unlink()
    assert lsmem("-s", tree).stderr == "lsmem: This system does not support memory blocks\n"


@pytest.mark.parametrize("text", [b"weird\n", b"", b"online\nmore", b"online ", b"\xff\x00\x1b[2J"])
def test_an_unknown_state_is_a_question_mark(text: bytes, lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "memory1/state").write_bytes(text)
    assert cells(lsmem, tree, "STATE") == ["online", "?", "online", "online", "online", "online"]
    assert cells(lsmem, tree, "STATUS")[1] == "?"
    document = json.loads(lsmem("-s", tree, "-J", "--typed").stdout)
    assert document["ranges"][1]["state"] is None
    assert document["total_offline"] == 1 << 27


def test_missing_attributes_are_shown_as_util_linux_does(lsmem: Command, tree: Path) -> None:
    for name in ("state", "removable", "valid_zones", "node0"):
        (tree / MEMORY / "memory1" / name).unlink()
    (tree / NODE / "node0/memory1").unlink()
    done = lsmem("-s", tree, "-rna", "-o", "BLOCK,STATE,REMOVABLE,NODE,ZONES")
    assert done.stdout.splitlines()[1] == "1 ?  -1 "
    static_tree.write(tree / MEMORY / "memory1/state", "online")
    assert cells(lsmem, tree, "REMOVABLE")[1] == "no"


def test_an_unreadable_attribute_is_unknown_with_a_remark(lsmem: Command, tree: Path) -> None:
    # A directory cannot be read by anyone, whoever runs the tests.
    (tree / MEMORY / "memory1/state").unlink()
    (tree / MEMORY / "memory1/state").mkdir()
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE")
    assert done.stdout.splitlines() == ["0 online", "1 ?", "2-5 online"]
    assert (
        done.stderr == "lsmem: unknown state of memory1: state: a directory, not a regular file\n"
    )


@pytest.mark.parametrize("digits", ["9" * 30, str(2**37), str(2**64 - 1)])
def test_a_block_beyond_the_address_space_is_left_out_with_a_remark(
    digits: str, lsmem: Command, tree: Path
) -> None:
    (tree / MEMORY / f"memory{digits}").mkdir()
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK")
    assert (done.status, done.stdout) == (0, "0-5\n")
    assert done.stderr == (f"lsmem: left out: memory{digits}: no memory block has such a number\n")


def test_the_last_block_of_the_address_space_is_listed(lsmem: Command, tree: Path) -> None:
    static_tree.write(tree / MEMORY / f"memory{2**37 - 1}" / "state", "offline")
    done = lsmem("-s", tree, "-rn", "-o", "RANGE,STATE")
    assert done.stdout.splitlines()[1] == "0xfffffffff8000000-0xffffffffffffffff offline"


def test_names_that_are_no_memory_block_are_ignored(lsmem: Command, tree: Path) -> None:
    for name in ("memory", "memoryX", "memory-1", "memory1x", "power", "Memory9"):
        (tree / MEMORY / name).mkdir()
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK")
    assert (done.stdout, done.stderr) == ("0-5\n", "")


def test_a_file_in_place_of_a_block_is_left_out_with_a_remark(lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "memory9").write_text("")
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE")
    assert done.stdout == "0-5 online\n"
    assert done.stderr == "lsmem: left out: memory9: not a directory\n"


def test_a_memory_directory_without_blocks_is_an_error(lsmem: Command, tmp_path: Path) -> None:
    static_tree.write(tmp_path / MEMORY / "block_size_bytes", "8000000")
    done = lsmem("-s", tmp_path, "-J")
    assert (done.status, done.stdout) == (1, "")
    said = f"lsmem: no memory blocks in /sys/devices/system/memory below {tmp_path}\n"
    assert done.stderr == said
    assert lsmem("-s", tmp_path, "--advice=always").stderr == said + (
        "lsmem: there is no directory memoryN; check what was captured\n"
    )


@pytest.mark.parametrize("text", [b"No\x01rmal\n", b"\xff\xfe", b"Normal\x1b[31m Movable\n"])
def test_control_characters_of_attributes_never_reach_the_output(
    text: bytes, lsmem: Command, tree: Path
) -> None:
    (tree / MEMORY / "memory1/valid_zones").write_bytes(text)
    (tree / MEMORY / "auto_online_blocks").write_bytes(text)
    for name in names():
        done = lsmem("-s", tree, "-o", "BLOCK,ZONES", "--format", name)
        assert done.status == 0
        assert "Unknown" in done.stdout
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout)
    typed = lsmem("-s", tree, "-J", "--typed").stdout
    assert None in json.loads(typed)["ranges"][1]["zones"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", typed)


def test_control_characters_in_messages_are_escaped(lsmem: Command) -> None:
    done = lsmem("-s", "/nowhere/\x1b[31m\udcff", "-o", "A\x07")
    assert "/nowhere/\\x1b[31m\\xff" in done.stderr
    assert "\x1b" not in done.stderr


def test_firmware_blocks_without_config_leave_their_columns_empty(
    lsmem: Command, tree: Path
) -> None:
    for number in (0, 1, 9):
        (tree / FIRMWARE / f"memory{number}").mkdir(parents=True)
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE,CONFIGURED,MEMMAP-ON-MEMORY")
    assert done.stdout.splitlines() == ["0-5 online  ", "9 offline  "]
