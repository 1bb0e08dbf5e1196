"""Descriptions of machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands import VECTORS, Command
from memsim import profile
from memsim.description import MachineError, dump, parse
from memsim.from_capture import like
from memsim.kernel import Kernel
from memsim.profile import boot, layout, load
from memsim.sysfs import FIRMWARE, MEMORY, Sysfs
from simulated import tree_of

GROUPS = [{"range": [0, 3]}]
GOOD: dict[str, Any] = {"block_size": 1 << 27, "blocks": GROUPS}


@pytest.mark.parametrize("name", profile.PROFILES)
def test_a_profile_is_what_its_dump_describes(name: str) -> None:
    machine = load(name)
    assert parse(json.loads(json.dumps(dump(machine)))) == machine
    assert profile.PROFILES[name]["description"].endswith(".")


@pytest.mark.parametrize("name", VECTORS["machines"])
def test_the_machines_of_the_reference_load_and_dump(name: str) -> None:
    description = VECTORS["machines"][name]
    machine = parse(description)
    assert parse(dump(machine)) == machine
    sysfs, listed = Sysfs(Kernel(machine)), 0
    for group in description["blocks"]:
        first, last = group["range"]
        for block in range(first, last + 1):
            listed += 1
            there = bool(group.get("config", 1)) or not description.get("firmware")
            assert sysfs.kernel.blocks.present(block) == there
            if there:
                state = sysfs.read(f"{MEMORY}/memory{block}/state").decode().strip()
                assert state == group.get("state", "online")
            if there and description.get("valid_zones", True):
                expected = (
                    group.get("zones", "Normal")
                    if state == "online"
                    else group.get("off_zones", "Normal Movable")
                )
                zones = sysfs.read(f"{MEMORY}/memory{block}/valid_zones").decode().strip()
                assert zones == expected
            if description.get("firmware"):
                memmap = sysfs.read(f"{FIRMWARE}/memory{block}/memmap_on_memory")
                assert int(memmap) == group.get("memmap", 0 if there else 1)
    assert listed == len(list(sysfs.kernel.blocks))


@pytest.mark.parametrize("case", VECTORS["chmem"], ids=lambda case: case["machine"])
def test_every_condition_in_the_reference_vectors_can_be_described(case: dict[str, Any]) -> None:
    """Writes each block's way from where it was to what the reference's chmem made of it."""
    sysfs = Sysfs(boot(VECTORS["machines"][case["machine"]]))
    for step in case["steps"]:
        for block, (config, memmap, state, zone) in step["changed"].items():
            directory, firmware = f"{MEMORY}/memory{block}", f"{FIRMWARE}/memory{block}"
            if (
                sysfs.kernel.blocks.present(int(block))
                and sysfs.read(f"{directory}/state") == b"online\n"
            ):
                sysfs.write(f"{directory}/state", b"offline")
            if config is not None:
                sysfs.write(f"{firmware}/config", b"0")
                sysfs.write(f"{firmware}/memmap_on_memory", str(memmap).encode())
                sysfs.write(f"{firmware}/config", str(config).encode())
            assert sysfs.kernel.blocks.present(int(block)) == (state != "absent")
            if state == "online":
                plain = sysfs.kernel.blocks.group(int(block)).off_zones[0] == zone
                word = (
                    "online" if plain else f"online_{'kernel' if zone == 'Normal' else 'movable'}"
                )
                sysfs.write(f"{directory}/state", word.encode())
                if sysfs.kernel.machine.valid_zones:
                    assert sysfs.read(f"{directory}/valid_zones").decode() == f"{zone}\n"


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ([], r"m: expected an object, not \[\]"),
        ({"blocks": GROUPS}, "m: block_size: expected a power of two, 1048576 or more, but it is"),
        (GOOD | {"block_size": 3 << 20}, "m: block_size: expected a power of two"),
        (GOOD | {"block_size": "128M"}, 'm: block_size: expected a power of two.*, not "128M"'),
        (GOOD | {"blocks": []}, "m: blocks: expected a list of groups of blocks, one or more"),
        (GOOD | {"blocks": [7]}, r"m: blocks\[0\]: expected an object, not 7"),
        (GOOD | {"colour": "red"}, "m: colour: expected only block_size, blocks, firmware"),
        (
            GOOD | {"blocks": [*GROUPS, {"range": "x"}]},
            r'm: blocks\[1\].range: expected \[first, last\] with first <= last, not "x"',
        ),
        (GOOD | {"blocks": [{"range": [4, 3]}]}, r"blocks\[0\].range: expected .*, not \[4, 3\]"),
        (GOOD | {"blocks": [{"range": [-1, 3]}]}, r"blocks\[0\].range: expected"),
        (GOOD | {"blocks": [{"range": [0, 1.5]}]}, r"blocks\[0\].range: expected"),
        (GOOD | {"blocks": [{}]}, r"blocks\[0\].range: expected .*, but it is missing"),
        (
            GOOD | {"blocks": [{"range": [0, 3]}, {"range": [3, 5]}]},
            r"blocks\[1\].range: expected blocks that no other group has, not \[3, 5\]",
        ),
        (GOOD | {"blocks": [{"range": [0, 1 << 30]}]}, "expected at most 16777216 block numbers"),
        (
            GOOD | {"blocks": [{"range": [0, 3], "zones": "Norma"}]},
            r'blocks\[0\].zones: expected one of none, DMA, .*, not "Norma"',
        ),
        (GOOD | {"blocks": [{"range": [0, 3], "state": "on"}]}, r"blocks\[0\].state: expected"),
        (GOOD | {"blocks": [{"range": [0, 3], "node": 5000}]}, r"node: expected a node's number"),
        (GOOD | {"blocks": [{"range": [0, 3], "node": []}]}, r"node: expected a node's number"),
        (GOOD | {"faults": {"offline": {"3": "EFOO"}}}, "m: faults: expected"),
        (GOOD | {"faults": {"explode": {"3": "EIO"}}}, "m: faults: expected"),
        (GOOD | {"faults": {"offline": {"3": {"errno": "EIO", "times": 0}}}}, "m: faults: expect"),
        (GOOD | {"faults": {"offline": {"9": "EIO"}}}, "m: faults.offline: expected blocks that"),
        (GOOD | {"delays": {"offline": {"3": -1}}}, "m: delays: expected"),
        (GOOD | {"delays": {"offline": {"3": float("nan")}}}, "m: delays: expected"),
        (GOOD | {"zone_limits": {"DMA": 5, "DMA32": 4}}, "m: zone_limits: expected"),
        (GOOD | {"assigned_by": "config"}, "m: assigned_by: expected config where there is firmw"),
        (GOOD | {"memmap_param": "yes"}, 'm: memmap_param: expected "Y", "N", "force" or null'),
    ],
)
def test_a_wrong_description_is_refused_with_the_key_and_what_is_expected(
    description: Any, message: str
) -> None:
    with pytest.raises(MachineError, match=message):
        parse(description, "m")


def test_a_description_that_is_no_json_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text('{"block_size": 1,\n "blocks": }')
    with pytest.raises(MachineError, match=r"machine.json: line 2, column 12: expected JSON"):
        load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MachineError, match="expected JSON"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.json")


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(MachineError, match=r"profile: expected one of s390-lpar, .*, not vax"):
        boot("vax")


def test_a_machine_is_made_from_a_few_sizes() -> None:
    gib = 1 << 30
    kernel = Kernel(layout(128 << 20, 2 * gib, standby=2 * gib, nodes=2))
    nodes = [kernel.blocks.group(block).node for block in kernel.blocks]
    assert nodes == [0] * 8 + [1] * 8 + [0] * 8 + [1] * 8
    assert kernel.state.pool == 2 * gib
    assert kernel.online_blocks() == 16
    with pytest.raises(MachineError, match="memory: expected a multiple of 128 MiB"):
        layout(128 << 20, 3 << 27, nodes=2)


def test_x86_zones_end_where_they_do() -> None:
    sysfs = Sysfs(Kernel(layout(2 << 30, 16 << 30)))
    zones = [sysfs.read(f"{MEMORY}/memory{b}/valid_zones") for b in sysfs.kernel.blocks]
    assert zones == [b"none\n", b"DMA32\n", *[b"Normal\n"] * 6]


def test_a_quarter_of_a_million_blocks_boot() -> None:
    description = {
        "block_size": 1 << 28,
        "firmware": True,
        "contiguous_zones": True,
        "blocks": [{"range": [0, 131071]}, {"range": [131072, 262143], "config": False}],
    }
    kernel = boot(description)
    assert kernel.online_blocks() == 131072
    Sysfs(kernel).write(f"{FIRMWARE}/memory262143/config", b"1")
    assert kernel.blocks.present(262143)


@pytest.mark.parametrize("name", [n for n in profile.PROFILES if n not in ("huge", "ppc64-large")])
def test_a_captured_tree_becomes_a_machine_like_it(tmp_path: Path, name: str) -> None:
    from memsim.directory import create

    kernel = boot(name)
    create(tmp_path / "m", kernel)
    again = profile.from_tree(tmp_path / "m")
    assert tree_of(again) == tree_of(kernel)
    assert again.zones.spans == kernel.zones.spans


def test_a_tree_without_blocks_is_no_machine(tmp_path: Path) -> None:
    (tmp_path / MEMORY).mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        profile.from_tree(tmp_path)
    (tmp_path / MEMORY / "block_size_bytes").write_text("8000000\n")
    with pytest.raises(MachineError, match="expected memory blocks, but there are none"):
        profile.from_tree(tmp_path)


def captured(tmp_path: Path, description: dict[str, Any] | str) -> Path:
    """A tree as `memsim capture` makes it of a machine with this description."""
    from memsim.capture import capture_tree
    from memsim.directory import create

    create(tmp_path / "m", boot(description))
    capture_tree(tmp_path / "tree", tmp_path / "m")
    return tmp_path / "tree"


@pytest.mark.parametrize("name", [n for n in profile.PROFILES if n not in ("huge", "ppc64-large")])
def test_a_machine_like_a_capture_differs_in_no_file(tmp_path: Path, name: str) -> None:
    assert like(captured(tmp_path, name))[1] == ()


OLD: dict[str, Any] = {
    "block_size": 1 << 27,
    "blocks": [
        {"range": [0, 3]},
        {"range": [4, 5], "state": "offline", "off_zones": "Normal"},
        {"range": [6, 6], "state": "offline", "off_zones": "Normal Movable"},
        {"range": [7, 7], "state": "offline", "off_zones": "Movable"},
        {"range": [8, 9], "zones": "Movable"},
    ],
}
"""As before Linux 4.13: a block is valid for the zones next to it."""


def test_offline_blocks_that_are_valid_for_one_zone_stay_so(tmp_path: Path) -> None:
    tree = captured(tmp_path, OLD)
    kernel, differing = like(tree)
    assert differing == ()
    zones = [" ".join(kernel.zones.valid(block)) for block in range(4, 8)]
    assert zones == ["Normal", "Normal", "Normal Movable", "Movable"]


def test_files_that_differ_from_the_capture_are_told(
    memsim: Command, lsmem: Command, tmp_path: Path
) -> None:
    tree = captured(tmp_path, OLD)
    (tree / MEMORY / "memory3/removable").unlink()
    (tree / MEMORY / "memory4/phys_index").write_text("00000099\n")
    done = memsim("create", tmp_path / "again", "--capture", tree)
    assert (done.status, done.stderr) == (
        0,
        f"memsim: files of the machine that differ from {tree}: 2, "
        "for example sys/devices/system/memory/memory4/phys_index\n",
    )
    columns = "RANGE,STATE,ZONES"
    assert lsmem("-s", tree, "-o", columns) == lsmem("-s", tmp_path / "again", "-o", columns)
