"""lsmem's columns: those of our own, and where the list of them comes from."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from commands import Command, Machines, cells
from static_tree import MEMORY, NODE


def test_column_status_is_disabled_for_deconfigured_memory(
    lsmem: Command, machines: Machines
) -> None:
    done = lsmem("-s", machines("s390-mixed"), "-rn", "-o", "BLOCK,STATUS")
    assert done.stdout.splitlines() == [
        "0-11 online",
        "12-14 offline",
        "15-21 disabled",
        "24-27 disabled",
    ]


def test_column_status_is_the_state_on_a_machine_without_firmware(
    lsmem: Command, machines: Machines
) -> None:
    tree = machines("x86-two-nodes")
    assert cells(lsmem, tree, "STATUS") == cells(lsmem, tree, "STATE")


def test_columns_start_and_end_are_hexadecimal_in_text_and_numbers_in_json(
    lsmem: Command, machines: Machines
) -> None:
    arguments = ("-s", machines("s390-lpar"), "-o", "START,END")
    assert lsmem(*arguments, "-rn").stdout.splitlines() == ["0x0000000000000000 0x00000000ffffffff"]
    assert lsmem(*arguments, "-rnb").stdout.splitlines() == ["0 4294967295"]
    assert json.loads(lsmem(*arguments, "-J").stdout) == {
        "memory": [{"start": 0, "end": 2**32 - 1}]
    }


def test_column_memmap_size_is_a_64th_of_the_range(lsmem: Command, machines: Machines) -> None:
    arguments = ("-s", machines("s390-lpar"), "-n", "-r", "-o", "BLOCK,STATE,MEMMAP-SIZE")
    assert lsmem(*arguments).stdout.splitlines() == ["0-15 online 32M", "16-31 offline 32M"]
    assert lsmem(*arguments, "-b").stdout.splitlines()[0] == "0-15 online 33554432"


def test_column_phys_device_splits_ranges_and_is_empty_where_unknown(
    lsmem: Command, tree: Path
) -> None:
    (tree / MEMORY / "memory1/phys_device").write_text("7\n")
    (tree / MEMORY / "memory2/phys_device").unlink()
    done = lsmem("-s", tree, "-J", "-o", "BLOCK,PHYS_DEVICE")
    assert json.loads(done.stdout)["memory"] == [
        {"block": "0", "phys_device": 0},
        {"block": "1", "phys_device": 7},
        {"block": "2", "phys_device": None},
        {"block": "3-5", "phys_device": 0},
    ]


@pytest.mark.parametrize(
    "name", ["MEMMAP-ON-MEMORY", "MEMMAP_ON_MEMORY", "memmap_on-memory", "Memmap-On-Memory"]
)
def test_column_names_ignore_case_hyphen_and_underscore(
    name: str, lsmem: Command, machines: Machines
) -> None:
    done = lsmem("-s", machines("s390-lpar"), "-r", "-o", f"BLOCK,{name}")
    assert done.stdout.splitlines() == ["BLOCK MEMMAP-ON-MEMORY", "0-15 no", "16-31 yes"]


def test_output_all_has_the_columns_of_util_linux_only(lsmem: Command, machines: Machines) -> None:
    done = lsmem("-s", machines("s390-lpar"), "--output-all", "-r")
    assert done.stdout.split("\n")[0] == (
        "RANGE SIZE STATE REMOVABLE BLOCK NODE ZONES CONFIGURED MEMMAP-ON-MEMORY"
    )


def put_into_two_nodes(tree: Path) -> None:
    """Block 2, which is in node 0, is in node 1 as well."""
    (tree / NODE / "node1/memory2").symlink_to("../../memory/memory2")
    (tree / MEMORY / "memory2/node1").symlink_to("../../node/node1")


def test_column_node_of_a_block_in_two_nodes_is_the_lowest(lsmem: Command, tree: Path) -> None:
    put_into_two_nodes(tree)
    assert cells(lsmem, tree, "NODE") == ["0", "0", "0", "1", "1", "1"]
    assert cells(lsmem, tree, "NODES") == ["0", "0", "0/1", "1", "1", "1"]
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,NODE")
    assert done.stdout == "0-2 0\n3-5 1\n"


@pytest.mark.parametrize(
    "options", [[], ["-o", "BLOCK,NODE"], ["-o", "BLOCK,NODES"], ["-S", "NODE"]]
)
def test_typed_json_has_all_nodes_of_a_block_in_two(
    options: list[str], lsmem: Command, tree: Path
) -> None:
    put_into_two_nodes(tree)
    done = lsmem("-s", tree, "-J", "--typed", *options)
    rows = [(row["block"], row["nodes"]) for row in json.loads(done.stdout)["ranges"]]
    assert rows == [
        ({"first": 0, "last": 1}, [0]),
        ({"first": 2, "last": 2}, [0, 1]),
        ({"first": 3, "last": 5}, [1]),
    ]


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_nodes_are_found_where_a_captured_tree_has_the_links_of_one_side_only(
    kind: str, lsmem: Command, tree: Path, tmp_path: Path
) -> None:
    put_into_two_nodes(tree)
    shutil.rmtree(tree / NODE)
    if kind == "archive":
        with tarfile.open(tmp_path / "tree.tar", "w") as archive:
            archive.add(tree / "sys", "sys")
        tree = tmp_path / "tree.tar"
    nodes = ["0", "0", "0/1", "1", "1", "1"]
    assert cells(lsmem, tree, "STATE,NODES") == [f"online {some}" for some in nodes]


def test_column_node_of_deconfigured_memory_is_empty(lsmem: Command, machines: Machines) -> None:
    tree = machines("s390-lpar")
    assert cells(lsmem, tree, "NODE") == ["0"] * 16 + [""] * 16
    rows = json.loads(lsmem("-s", tree, "-J", "-o", "NODE").stdout)["memory"]
    assert rows == [{"node": 0}, {"node": None}]


def test_lsmem_columns_in_the_environment_replaces_the_default_columns(
    lsmem: Command, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSMEM_COLUMNS", "size,block")
    assert lsmem("-s", tree, "-r").stdout == "SIZE BLOCK\n768M 0-5\n"
    assert lsmem("-s", tree, "-r", "-o", "BLOCK").stdout == "BLOCK\n0-5\n"
    assert lsmem("-s", tree, "-r", "-o", "+NODE").stdout.startswith("RANGE SIZE STATE REMOVABLE")
    monkeypatch.setenv("LSMEM_COLUMNS", "+node")
    assert lsmem("-s", tree, "-r").stdout.startswith("RANGE SIZE STATE REMOVABLE BLOCK NODE\n")
    monkeypatch.setenv("LSMEM_COLUMNS", "foo")
    assert lsmem("-s", tree).stderr == "lsmem: unknown column: foo\n"


@pytest.mark.parametrize("text", ["", "RANGE,", ",RANGE", "RANGE,,SIZE", "+", "RANGE SIZE"])
def test_a_column_list_with_an_empty_or_unknown_name_is_an_error(
    text: str, lsmem: Command, tree: Path
) -> None:
    for option in ("-o", "-S"):
        done = lsmem("-s", tree, option, text)
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr.startswith("lsmem: ")


def test_columns_that_the_machine_has_no_values_of_leave_nothing_to_list(
    lsmem: Command, tree: Path
) -> None:
    done = lsmem("-s", tree, "-J", "-o", "CONFIGURED")
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == "lsmem: nothing to list: this machine has no values for CONFIGURED\n"
    assert lsmem("-s", tree, "-J", "-o", "CONFIGURED", "--advice=always").stderr == done.stderr + (
        "lsmem: only memory that can be configured has them (/sys/firmware/memory, on s390)\n"
    )
