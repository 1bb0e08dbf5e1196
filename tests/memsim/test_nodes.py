"""Blocks that lie in several nodes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from memsim.description import MachineError, dump, parse
from memsim.profile import boot, from_tree
from memsim.sysfs import MEMORY, NODE, Sysfs
from simulated import make, tree_of

SHARED: dict[str, Any] = {
    "block_size": 1 << 31,
    "contiguous_zones": True,
    "memmap_param": "N",
    "blocks": [
        {"range": [0, 7], "node": 0},
        {"range": [8, 8], "nodes": [1, 0]},
        {"range": [9, 16], "node": 1},
    ],
}
"""Block 8 is the end of node 0 and the beginning of node 1."""


def test_a_block_in_two_nodes_has_a_link_to_both_and_each_has_one_to_it(tmp_path: Path) -> None:
    root = make(tmp_path / "m", SHARED)
    links = [name for name in os.listdir(root / MEMORY / "memory8") if name.startswith("node")]
    assert sorted(links) == ["node0", "node1"]
    for node in (0, 1):
        assert os.readlink(root / MEMORY / f"memory8/node{node}") == f"../../node/node{node}"
        assert (root / NODE / f"node{node}/memory8/state").read_text() == "online\n"
    assert sorted(os.listdir(root / NODE / "node1")) == sorted(f"memory{n}" for n in range(8, 17))


def test_a_block_in_two_nodes_is_in_no_one_zone_and_stays_online() -> None:
    sysfs = Sysfs(boot(SHARED))
    assert sysfs.read(f"{MEMORY}/memory8/valid_zones") == b"none\n"
    with pytest.raises(OSError, match="Invalid argument"):
        sysfs.write(f"{MEMORY}/memory8/state", b"offline")
    for block in range(9, 17):
        sysfs.write(f"{MEMORY}/memory{block}/state", b"offline")
    assert sysfs.read(f"{NODE}/has_memory") == b"0-1\n"


def test_a_machine_with_a_block_in_two_nodes_is_what_its_dump_describes() -> None:
    machine = parse(SHARED)
    assert parse(json.loads(json.dumps(dump(machine)))) == machine
    limited = parse(SHARED | {"zone_limits": {"DMA32": 4 << 30}})
    assert {group.zone for group in limited.groups if 8 in group.nodes} == set()
    assert [group.zone for group in limited.groups] == ["DMA32", "Normal", "none", "Normal"]


@pytest.mark.parametrize(
    "group", [{"nodes": [0, 0]}, {"nodes": [1024]}, {"nodes": []}, {"nodes": [0, 1], "node": 0}]
)
def test_nodes_that_cannot_be_are_refused(group: dict[str, Any]) -> None:
    with pytest.raises(MachineError, match=r"blocks\[0\]\.nodes: expected "):
        parse({"block_size": 1 << 27, "blocks": [{"range": [0, 3], **group}]})


@pytest.mark.parametrize("name", ["tree", "tree.tar.gz"])
def test_a_captured_block_in_two_nodes_is_created_again(
    name: str, tmp_path: Path, memsim: Command, lsmem: Command
) -> None:
    root = make(tmp_path / "m", SHARED)
    tree = tmp_path / name
    assert memsim("capture", "-s", root, tree).status == 0
    done = memsim("create", tmp_path / "again", "--capture", tree)
    assert (done.status, done.stderr) == (0, "")
    assert tree_of(from_tree(tree)) == tree_of(boot(SHARED))
    done = lsmem("-s", tmp_path / "again", "--diff", tree)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    listed = lsmem("-s", tmp_path / "again", "-n", "--summary=never", "-o", "BLOCK,NODES").stdout
    assert [line.split() for line in listed.splitlines()] == [
        ["0-7", "0"],
        ["8", "0/1"],
        ["9-16", "1"],
    ]


@pytest.mark.parametrize("node", ["0", "1"])
def test_chmem_selects_a_block_in_two_nodes_by_each_of_them(
    node: str, tmp_path: Path, chmem: Command
) -> None:
    root = make(tmp_path / "m", SHARED)
    done = chmem("-s", root, "--node", node, "-b", "-d", "7-9", "--dry-run", "--json")
    blocks = [block["block"] for block in json.loads(done.stdout)["blocks"]]
    assert blocks == ([7, 8] if node == "0" else [8, 9])
