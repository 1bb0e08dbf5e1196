"""What a dry run expects: the attributes of a block as they would be after writes."""

from pathlib import Path

import pytest

from memory_hotplug import Machine
from memory_hotplug.block import State
from memory_hotplug.change.rehearsal import Rehearsal
from memory_hotplug.seen.in_use import usage
from memory_hotplug.trees.many import Links
from memsim import directory
from simulated import Make, s390, x86
from static_tree import FIRMWARE, MEMORY, PARAMETERS, plain


def test_a_rehearsal_reads_all_blocks_as_they_would_be(machine: Make) -> None:
    with Machine.at(machine(s390())) as opened:
        rehearsal = Rehearsal(opened)
        links = Links("node")
        online, node = b"online\n", b"node0"
        blocks, few = str(MEMORY), [2, 3]
        assert opened.tree.read_each(blocks, few, "state", links=links) == [online, node] * 2
        assert rehearsal.read_each(blocks, few, "state", links=links) == [online, node] * 2
        rehearsal.write(f"{MEMORY}/memory3/state", "offline")
        found = rehearsal.read_each(blocks, few, "state", links=links)
        assert found == [online, node, b"offline\n", node]
        (gone,) = rehearsal.read_each(blocks, [4], "state")
        assert isinstance(gone, FileNotFoundError)
        assert [block.state for block in Machine(rehearsal).blocks()][2:4] == [
            State.ONLINE,
            State.OFFLINE,
        ]


def test_a_block_that_is_configured_in_a_rehearsal_appears_offline(machine: Make) -> None:
    with Machine.at(machine(s390())) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{FIRMWARE}/memory5/config", "1")
        paths = [f"{MEMORY}/memory5/{name}" for name in ("state", "valid_zones")]
        shown = list(map(rehearsal.read, paths))
        directory.write(opened.tree.root, f"{FIRMWARE}/memory5/config", b"1")
        assert shown == list(map(opened.tree.read, paths))
        rehearsal = Rehearsal(opened)
        for number, word in ((3, "offline"), (5, "online"), (5, "offline")):
            rehearsal.write(f"{MEMORY}/memory{number}/state", word)
            opened.tree.write(f"{MEMORY}/memory{number}/state", word)
            for path in (f"{MEMORY}/memory{number}/state", f"{MEMORY}/memory{number}/valid_zones"):
                assert rehearsal.read(path) == opened.tree.read(path), path


def test_online_is_the_first_of_the_zones_in_a_rehearsal(tmp_path: Path) -> None:
    with Machine.at(plain(tmp_path, ["offline"] * 3, "Movable Normal")) as opened:
        rehearsal = Rehearsal(opened)
        for number, word in enumerate(("online", "online_movable", "online_kernel")):
            rehearsal.write(f"{MEMORY}/memory{number}/state", word)
        zones = [rehearsal.read(f"{MEMORY}/memory{n}/valid_zones") for n in range(3)]
        assert zones == [b"Movable\n", b"Movable\n", b"Normal\n"]


def test_an_offline_block_is_in_another_zone_once_an_end_of_its_zone_is_gone(
    machine: Make,
) -> None:
    blocks = [
        {"range": [0, 1], "zones": "DMA32"},
        {"range": [2, 2], "state": "offline"},
        {"range": [3, 3], "zones": "DMA32"},
        {"range": [4, 7]},
    ]
    writes = [(3, "offline"), (2, "online_kernel"), (2, "offline"), (3, "online")]
    paths = [f"{MEMORY}/memory{number}/valid_zones" for number in range(8)]
    with Machine.at(machine(x86(4, 0) | {"contiguous_zones": True, "blocks": blocks})) as opened:
        rehearsal, shown = Rehearsal(opened), []
        for tree in (rehearsal, opened.tree):
            for number, word in writes:
                shown.append(list(map(tree.read, paths)))
                tree.write(f"{MEMORY}/memory{number}/state", word)
    assert shown[: len(writes)] == shown[len(writes) :]
    assert (shown[0][2], shown[1][2]) == (b"DMA32 Movable\n", b"Normal Movable\n")


def test_memory_comes_to_its_own_node_and_goes_from_there_in_a_rehearsal(machine: Make) -> None:
    blocks = [
        {"range": [0, 3], "node": 0},
        {"range": [4, 7], "node": 1},
        {"range": [8, 9], "node": 1, "state": "offline"},
    ]
    with Machine.at(machine(x86() | {"blocks": blocks, "used": 64 << 20})) as opened:
        found = []
        for tree in (Rehearsal(opened), opened.tree):
            for number, word in ((8, "online"), (2, "offline"), (7, "offline"), (7, "online")):
                tree.write(f"{MEMORY}/memory{number}/state", word)
            now = usage(Machine(tree))
            assert now is not None
            # A part of the memory is the kernel's own.
            found.append([now.total, *(node.total >> 27 for node in now.nodes.values())])
    assert found[0] == found[1]
    assert found[0][1:] == [2, 4]


def test_nothing_is_available_in_a_rehearsal_where_less_would_be(machine: Make) -> None:
    with Machine.at(machine(x86() | {"used": 400 << 20})) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{MEMORY}/memory2/state", "offline")
        now = usage(Machine(rehearsal))
    assert now is not None
    assert now.available == 0


def test_a_block_of_several_zones_cannot_go_offline_in_a_rehearsal(tmp_path: Path) -> None:
    with Machine.at(plain(tmp_path, ["online"], "none")) as opened:
        path = f"{MEMORY}/memory0/state"
        with pytest.raises(OSError, match="Invalid argument") as caught:
            Rehearsal(opened).write(path, "offline")
    assert caught.value.filename == path


@pytest.mark.parametrize("parameter", [None, "Y", "N"])
def test_memmap_on_memory_is_refused_in_a_rehearsal_where_the_kernel_has_it_not(
    parameter: str | None, tmp_path: Path
) -> None:
    root = plain(tmp_path, ["offline"])
    if parameter:
        (root / PARAMETERS).mkdir(parents=True)
        (root / PARAMETERS / "memmap_on_memory").write_text(f"{parameter}\n")
    with Machine.at(root) as opened:
        rehearsal, path = Rehearsal(opened), f"{FIRMWARE}/memory0/memmap_on_memory"
        if parameter == "N":
            with pytest.raises(OSError, match="Operation not supported") as caught:
                rehearsal.write(path, "1")
            assert caught.value.filename == path
        else:
            rehearsal.write(path, "1")
            assert rehearsal.read(path) == b"1\n"


def test_online_kernel_is_zone_normal_in_a_rehearsal_where_only_movable_is_shown(
    tmp_path: Path,
) -> None:
    with Machine.at(plain(tmp_path, ["offline"], "Movable")) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{MEMORY}/memory0/state", "online_kernel")
        assert rehearsal.read(f"{MEMORY}/memory0/valid_zones") == b"Normal\n"


def test_a_block_that_is_deconfigured_in_a_rehearsal_is_gone(machine: Make) -> None:
    with Machine.at(machine(s390())) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{MEMORY}/memory3/state", "offline")
        rehearsal.write(f"{FIRMWARE}/memory3/config", "0")
        for name in ("state", "valid_zones"):
            with pytest.raises(FileNotFoundError) as caught:
                rehearsal.read(f"{MEMORY}/memory3/{name}")
            assert caught.value.strerror == "No such file or directory"
            assert caught.value.filename == f"{MEMORY}/memory3/{name}"
