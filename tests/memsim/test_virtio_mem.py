"""A device of virtio-mem that has parts of blocks; `tests/vm` compares it with QEMU's on x86."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from memsim.kernel import Kernel, slots, virtio_mem
from memsim.profile import boot
from memsim.sysfs import MEMORY, Sysfs
from simulated import make, tree_at, tree_of, x86

MIB = 1 << 20
ROOM: dict[str, Any] = x86(4, 0) | {
    "blocks": [{"range": [0, 3]}, {"range": [8, 15], "config": False}],
    "auto_online_blocks": "online",
    "used": 64 * MIB,
}


def parts(kernel: Kernel) -> dict[int, int]:
    """The MiB that are plugged, of each block from 8 on that is there."""
    unplugged = kernel.state.unplugged
    there = filter(kernel.blocks.present, range(8, 16))
    return {block: 128 - unplugged.get(block, 0) // MIB for block in there}


def mem_total(lsmem: Command, root: Path) -> int:
    return int(json.loads(lsmem("-s", root, "--explain", "-J").stdout)["mem_total"])


def test_the_last_block_of_a_device_is_plugged_in_part(
    memsim: Command, lsmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", ROOM)
    before = mem_total(lsmem, root)
    words = ("--as", "virtio-mem", "--memory", "320M")
    assert memsim("plug", root, *words).stdout == "memory blocks 8-10\n"
    # As a real kernel, it keeps the struct pages of whole blocks.
    assert mem_total(lsmem, root) - before == 320 * MIB - 3 * 2 * MIB
    told = json.loads(lsmem("-s", root, "--explain", "-J").stdout)
    assert told["not_plugged_by_device"] == [
        {"device": "virtio0", "size": 64 * MIB, "balloon": False}
    ]
    assert told["memory"] - told["reserved"] - told["not_plugged"] == told["mem_total"]
    assert "Not plugged:            64M of block 10\n" in memsim("show", root).stdout
    # Offline, all of the block is; online again, its part is again.
    for word in ("offline", "online"):
        assert memsim("write", root, f"{MEMORY}/memory10/state", word).status == 0
        told = json.loads(lsmem("-s", root, "--explain", "-J").stdout)
        assert told.get("not_plugged") == (64 * MIB if word == "online" else None)


def test_a_device_changes_as_the_driver_changes_it(
    memsim: Command, lsmem: Command, tmp_path: Path
) -> None:
    """The steps, and what came of each, are those of Linux 7.2 in QEMU."""
    root = make(tmp_path / "m", ROOM)
    expected = Sysfs(boot(ROOM))

    def change(word: str, mib: int, said: str) -> dict[int, int]:
        words = ("--device", "virtio0", "--memory", f"{mib}M")
        assert memsim(word, root, *words).stdout == f"virtio0: {said}\n"
        device = expected.kernel.state.devices[0]
        do = virtio_mem.grow if word == "plug" else virtio_mem.shrink
        assert do(expected.kernel, device, mib * MIB) == mib * MIB
        assert tree_at(root) == tree_of(expected)
        return parts(expected.kernel)

    assert memsim("plug", root, "--as", "virtio-mem", "--memory", "384M").status == 0
    slots.plug(expected.kernel, range(8, 11), "virtio-mem")
    assert change("unplug", 70, "314M") == {8: 128, 9: 128, 10: 58}
    assert change("plug", 30, "344M") == {8: 128, 9: 128, 10: 88}
    expected.write(f"{MEMORY}/memory9/state", b"offline")
    assert memsim("write", root, f"{MEMORY}/memory9/state", "offline").status == 0
    assert change("unplug", 100, "244M") == {8: 128, 9: 28, 10: 88}
    # The block in the middle goes, comes again, and nothing else takes its place.
    assert change("unplug", 40, "204M") == {8: 128, 10: 76}
    assert lsmem("-s", root, "-n", "-o", "BLOCK,DEVICE", "--summary=never").stdout == (
        "0-3 \n  8 virtio0\n 10 virtio0\n"
    )
    dimm = memsim("plug", root, "--memory", "128M")
    assert dimm.stdout == "memory blocks 11-11\n"
    slots.plug(expected.kernel, range(11, 12))
    assert change("plug", 64, "268M") == {8: 128, 9: 12, 10: 128, 11: 128}
    # There is no room behind it.
    done = memsim("plug", root, "--device", "virtio0", "--memory", "128M")
    assert (done.status, done.stdout) == (1, "")
    assert "virtio0 has 384M now, 12M from what was asked for" in done.stderr
    assert "virtio-mem, blocks 8-10\n" in memsim("show", root).stdout


def test_a_reboot_and_a_removal_forget_the_parts(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", ROOM | {"auto_online_blocks": "offline"})
    assert memsim("plug", root, "--as", "virtio-mem", "--memory", "130M").status == 0
    assert "Not plugged" in memsim("show", root).stdout
    assert memsim("unplug", root, "--device", "virtio0").stdout == "memory blocks 8-9\n"
    assert "Not plugged" not in memsim("show", root).stdout
    assert memsim("plug", root, "--as", "virtio-mem", "--memory", "130M").status == 0
    assert memsim("reboot", root).status == 0
    assert "Not plugged" not in memsim("show", root).stdout


def test_virtio_mem_leaves_memory_in_use() -> None:
    kernel = boot(ROOM | {"used": 600 * MIB})
    slots.plug(kernel, range(8, 10), "virtio-mem")
    (device,) = kernel.state.devices
    given_back = virtio_mem.shrink(kernel, device, 256 * MIB)
    assert 0 < given_back < 256 * MIB
    assert 0 <= kernel.free_memory() < 2 * MIB


def test_a_page_that_cannot_be_moved_keeps_its_part() -> None:
    kernel = boot(ROOM | {"faults": {"offline": {"9": "EBUSY"}}})
    slots.plug(kernel, range(8, 10), "virtio-mem")
    (device,) = kernel.state.devices
    assert virtio_mem.shrink(kernel, device, 256 * MIB) == 254 * MIB
    assert parts(kernel) == {9: 2}


@pytest.mark.parametrize(("release", "size"), [("5.18.0", "4M"), ("5.19.0", "2M")])
def test_sub_blocks_are_larger_before_linux_5_19(
    release: str, size: str, memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", ROOM | {"release": release})
    for words in (("--as", "virtio-mem"), ("--device", "virtio0")):
        done = memsim("plug", root, *words, "--memory", "3M")
        assert (done.status, done.stdout) == (1, "")
        if words[0] == "--as":
            assert f"as a multiple of {size}: --memory SIZE" in done.stderr
            assert memsim("plug", root, *words, "--memory", size).status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("plug --device virtio0 --memory 2M", "no device that was plugged in is named virtio0"),
        ("plug --device PNP0C80:00 --memory 2M", "PNP0C80:00 is no device of virtio-mem"),
        ("unplug --device PNP0C80:00 --memory 2M", "PNP0C80:00 is no device of virtio-mem"),
        ("plug --device virtio0 --memory 2M --node 0", "leave out --node"),
        ("plug --device virtio0 --memory 2M --as cxl", "leave out --as"),
        ("unplug --device virtio0 --memory 2M --as cxl", "say what to take out in one way"),
    ],
)
def test_what_cannot_be_resized_is_refused(
    words: str, said: str, memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", ROOM)
    assert memsim("plug", root, "--memory", "128M").status == 0
    before = tree_at(root)
    command, *more = words.split()
    done = memsim(command, root, *more)
    assert (done.status, done.stdout, said in done.stderr) == (1, "", True)
    assert tree_at(root) == before
