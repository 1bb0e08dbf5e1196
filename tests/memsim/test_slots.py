"""Memory that is plugged in and out; `tests/vm` compares it with DIMMs of QEMU on x86."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands import Command
from memsim.kernel import slots
from memsim.profile import boot
from memsim.sysfs import MEMORY, NODE, Sysfs
from simulated import make, tree_at, tree_of, x86

SLOTS: dict[str, Any] = x86(4, 0) | {
    "blocks": [
        {"range": [0, 3]},
        {"range": [8, 11], "config": False},
        {"range": [12, 15], "config": False, "node": 1},
    ]
}


def test_plugged_in_blocks_appear_at_the_lowest_room_of_the_node(
    memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", SLOTS)
    assert memsim("plug", root, "--memory", "256M").stdout == "memory blocks 8-9\n"
    assert memsim("plug", root, "--memory", "128M", "--node", "1").stdout == "memory blocks 12-12\n"
    assert (root / MEMORY / "memory9/state").read_text() == "offline\n"
    assert (root / NODE / "node1/memory12").is_symlink()
    assert not (root / MEMORY / "memory10").exists()
    # What the directory shows is what its kernel says.
    expected = Sysfs(boot(SLOTS))
    for blocks in (range(8, 10), range(12, 13)):
        slots.plug(expected.kernel, blocks)
    assert tree_at(root) == tree_of(expected)
    assert "Blocks pluggable:       5 (640M)\n" in memsim("show", root).stdout


@pytest.mark.parametrize(
    ("word", "state"),
    [("offline", "offline"), ("online", "online"), ("online_movable", "online")],
)
def test_plugged_in_blocks_become_what_auto_online_blocks_says(word: str, state: str) -> None:
    sysfs = Sysfs(boot(SLOTS | {"auto_online_blocks": word}))
    events: list[tuple[str, str]] = []
    sysfs.listeners.append(lambda action, device: events.append((action, device[-7:])))
    slots.plug(sysfs.kernel, range(8, 10))
    assert sysfs.read(f"{MEMORY}/memory8/state").decode() == f"{state}\n"
    # The kernel adds the whole range before it sets the first block online.
    onlined = [("online", "memory8"), ("online", "memory9")] if state == "online" else []
    assert events == [("add", "memory8"), ("add", "memory9"), *onlined]


AUTO_MOVABLE: dict[str, Any] = SLOTS | {
    "online_policy": "auto-movable",
    "auto_movable_ratio": 100,
    "contiguous_zones": True,
    "auto_online_blocks": "online",
    "blocks": [{"range": [0, 3]}, {"range": [4, 31], "config": False}],
}
"""Four blocks from boot: as many may be in zone Movable."""


def zones_of(sysfs: Sysfs, blocks: range) -> str:
    """The first letter of each block's first zone."""
    return "".join(
        sysfs.read(f"{MEMORY}/memory{block}/valid_zones").decode()[0] for block in blocks
    )


@pytest.mark.parametrize(
    ("kind", "count", "zones"),
    [
        (None, 6, "MMMMNN"),
        # Its memory group: all blocks, or none.
        ("dimm", 4, "MMMM"),
        ("dimm", 6, "NNNNNN"),
        ("cxl", 6, "NNNNNN"),
        # A device's own kernel memory allows for more movable memory of it.
        ("virtio-mem", 12, "MMMMNMNMNMNM"),
    ],
)
def test_auto_movable_looks_at_the_device(kind: str | None, count: int, zones: str) -> None:
    sysfs = Sysfs(boot(AUTO_MOVABLE))
    blocks = range(4, 4 + count)
    slots.plug(sysfs.kernel, blocks, kind)
    assert zones_of(sysfs, blocks) == zones


def test_a_dimm_that_has_begun_in_a_kernel_zone_goes_on_there() -> None:
    sysfs = Sysfs(boot(AUTO_MOVABLE | {"auto_online_blocks": "offline"}))
    slots.plug(sysfs.kernel, range(4, 8))
    slots.plug(sysfs.kernel, range(8, 9))
    assert zones_of(sysfs, range(4, 9)) == "MMMMM"
    sysfs.take_changes()
    sysfs.write(f"{MEMORY}/memory5/state", b"online_kernel")
    assert zones_of(sysfs, range(4, 9)) == "NNNNM"
    # A directory gets these files anew, and no others.
    changed = [path for path in sysfs.take_changes().paths if path.endswith("/valid_zones")]
    assert sorted(changed) == [f"{MEMORY}/memory{block}/valid_zones" for block in (4, 5, 6, 7)]


def test_movable_memory_of_virtio_mem_takes_from_others_what_it_needs() -> None:
    sysfs = Sysfs(boot(AUTO_MOVABLE | {"auto_online_blocks": "online_movable"}))
    slots.plug(sysfs.kernel, range(4, 7), "virtio-mem")
    sysfs.write(f"{MEMORY}/auto_online_blocks", b"online")
    slots.plug(sysfs.kernel, range(7, 10), None)
    # Three of the four blocks from boot are there for the movable memory of the device.
    assert zones_of(sysfs, range(7, 10)) == "MNN"


@pytest.mark.parametrize(("page_size", "zone"), [(4096, "N"), (65536, "M")])
def test_auto_movable_counts_whole_pages_of_the_size_that_the_kernel_has(
    page_size: int, zone: str
) -> None:
    """What a device's movable memory needs is rounded down to a page, which is more if pages are
    large (auto_movable_can_online_movable)."""
    groups = [{"range": [0, 0]}, {"range": [1, 101], "config": False}]
    policy = {"auto_movable_ratio": 10099, "auto_online_blocks": "online_movable"}
    sysfs = Sysfs(boot(AUTO_MOVABLE | policy | {"page_size": page_size, "blocks": groups}))
    slots.plug(sysfs.kernel, range(1, 51), "virtio-mem")
    sysfs.write(f"{MEMORY}/auto_online_blocks", b"online")
    slots.plug(sysfs.kernel, range(51, 102))
    assert zones_of(sysfs, range(51, 102)) == 51 * zone


def test_a_device_goes_as_it_came(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", AUTO_MOVABLE | {"auto_online_blocks": "offline"})
    for kind, size in (("dimm", "256M"), ("virtio-mem", "512M"), ("cxl", "256M")):
        assert memsim("plug", root, "--as", kind, "--memory", size).status == 0
    shown = memsim("show", root).stdout
    assert "dimm, blocks 4-5\n" in shown
    assert "virtio-mem, blocks 6-9\n" in shown
    assert "cxl, blocks 10-11\n" in shown
    # Half of a DIMM does not go, nor the middle of a device.
    assert memsim("unplug", root, "--as", "dimm", "--memory", "128M").status == 1
    assert memsim("unplug", root, "--memory", "128M").stdout == "memory blocks 9-9\n"
    assert "virtio-mem, blocks 6-8\n" in memsim("show", root).stdout
    assert memsim("unplug", root, "--memory", "256M").stdout == "memory blocks 10-11\n"
    assert (
        memsim("unplug", root, "--as", "dimm", "--memory", "256M").stdout == "memory blocks 4-5\n"
    )
    assert "Plugged in" in (shown := memsim("show", root).stdout)
    assert "dimm" not in shown
    assert memsim("plug", root, "--as", "floppy", "--memory", "128M").status == 1


def test_a_device_keeps_its_number_when_another_goes(
    memsim: Command, lsmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", AUTO_MOVABLE | {"auto_online_blocks": "online"})

    def devices() -> list[str]:
        shown = lsmem("-s", root, "-n", "-r", "-o", "BLOCK,DEVICE", "--summary=never").stdout
        return [line for line in shown.splitlines() if " " in line.strip()]

    def change(word: str, kind: str) -> None:
        assert memsim(word, root, "--as", kind, "--memory", "128M").status == 0

    for kind in ("dimm", "dimm", "virtio-mem", "virtio-mem"):
        change("plug", kind)
    for block in (4, 6):
        assert memsim("write", root, f"{MEMORY}/memory{block}/state", "offline").status == 0
    change("unplug", "dimm")
    change("unplug", "virtio-mem")
    assert memsim("write", root, f"{MEMORY}/memory5/state", "offline").status == 0
    assert devices() == ["5 PNP0C80:01", "7 virtio1"]
    # The lowest number that is free.
    for kind in ("cxl", "dimm", "dimm"):
        change("plug", kind)
    assert devices() == ["4 dax0.0", "5 PNP0C80:01", "6 PNP0C80:00", "7 virtio1", "8 PNP0C80:02"]


def test_a_device_of_which_an_end_went_keeps_its_number() -> None:
    kernel = boot(AUTO_MOVABLE | {"auto_online_blocks": "offline"})
    for blocks in (range(4, 5), range(5, 8)):
        slots.plug(kernel, blocks, "virtio-mem")
    slots.unplug(kernel, range(4, 5))
    slots.unplug(kernel, range(7, 8))
    assert [(one.first, one.last, one.number) for one in kernel.state.devices] == [(5, 6, 1)]


@pytest.fixture
def three_devices(memsim: Command, tmp_path: Path) -> Path:
    """A machine with a DIMM (blocks 4-5), virtio-mem (6-9) and CXL memory (10-11)."""
    root = make(tmp_path / "m", AUTO_MOVABLE | {"auto_online_blocks": "offline"})
    for kind, size in (("dimm", "256M"), ("virtio-mem", "512M"), ("cxl", "256M")):
        assert memsim("plug", root, "--as", kind, "--memory", size).status == 0
    return root


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        (("--device", "PNP0C80:00"), "4-5"),
        (("--device", "virtio0"), "6-9"),
        (("--device", "dax0.0"), "10-11"),
        (("--blocks", "9-9"), "9-9"),
        (("--blocks", "8-11"), "8-11"),
    ],
)
def test_unplug_takes_out_the_device_or_the_blocks_that_are_named(
    which: tuple[str, str], gone: str, memsim: Command, three_devices: Path
) -> None:
    assert memsim("unplug", three_devices, *which).stdout == f"memory blocks {gone}\n"
    left = {path.name for path in (three_devices / MEMORY).glob("memory*")}
    first, last = map(int, gone.split("-"))
    expected = {f"memory{block}" for block in range(12) if not first <= block <= last}
    assert left == expected


WHOLE = "a DIMM and CXL memory go as a whole, and a device of virtio-mem from its end"


@pytest.mark.parametrize(
    ("which", "complaint"),
    [
        (("--blocks", "4-4"), f"memory blocks 4-4 cannot be taken out: {WHOLE}"),
        (("--blocks", "6-7"), f"memory blocks 6-7 cannot be taken out: {WHOLE}"),
        (
            ("--blocks", "3-4"),
            "memory blocks 3-4 cannot be taken out: not all of them were plugged in",
        ),
        (
            ("--blocks", "12-12"),
            "memory blocks 12-12 cannot be taken out: not all of them were plugged in",
        ),
        (
            ("--blocks", "99-999999999"),
            "memory blocks 99-999999999 cannot be taken out: not all of them were plugged in",
        ),
        (("--blocks", "5-4"), "--blocks: expected FIRST-LAST, not 5-4"),
        (("--device", "dax1.0"), "no device that was plugged in is named dax1.0"),
        (
            ("--device", "dax0.0", "--memory", "256M"),
            "dax0.0 is no device of virtio-mem, so it comes and goes as a whole",
        ),
        (
            ("--device", "dax0.0", "--blocks", "10-11"),
            "say what to take out in one way: --memory SIZE, --device NAME or --blocks FIRST-LAST",
        ),
    ],
)
def test_unplug_refuses_what_cannot_go(
    which: tuple[str, ...], complaint: str, memsim: Command, three_devices: Path
) -> None:
    before = tree_at(three_devices)
    done = memsim("unplug", three_devices, *which)
    assert (done.status, done.stderr.splitlines()[0]) == (1, f"memsim: {complaint}")
    assert tree_at(three_devices) == before


def test_unplug_leaves_a_device_with_a_block_online(memsim: Command, three_devices: Path) -> None:
    assert memsim("write", three_devices, f"{MEMORY}/memory11/state", "online").status == 0
    done = memsim("unplug", three_devices, "--device", "dax0.0")
    assert done.status == 1
    assert "memory blocks 10-11 cannot be taken out: block 11 is online" in done.stderr


def test_a_dimm_that_is_no_whole_blocks_is_not_added(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", SLOTS)
    before = tree_at(root)
    done = memsim("plug", root, "--memory", "200M")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "memsim: the kernel did not add the DIMM: its size is no multiple of a memory block, 128M"
    )
    assert tree_at(root) == before
    assert memsim("show", root, "--log").stdout.splitlines() == [
        "Block size [0x8000000] unaligned hotplug range: start 0x40000000, size 0xc800000",
        "acpi PNP0C80:00: add_memory failed",
        "acpi PNP0C80:00: acpi_memory_enable_device() error",
    ]
    assert "no room for 1000M" in memsim("plug", root, "--memory", "1000M").stderr


PROBE = f"{MEMORY}/probe"


def test_an_address_written_to_probe_adds_its_block(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", AUTO_MOVABLE | {"probe": True})
    assert (root / PROBE).stat().st_mode & 0o777 == 0o200
    assert memsim("write", root, PROBE, hex(5 << 27)).status == 0
    assert (root / MEMORY / "memory5/state").read_text() == "online\n"
    for address, why in (
        (hex(5 << 27), "File exists"),
        (hex((5 << 27) + 4096), "Invalid argument"),
        ("memory6", "Invalid argument"),
        (hex(99 << 27), "Argument list too long"),
        (hex(1 << 64), "Numerical result out of range"),
    ):
        assert why in memsim("write", root, PROBE, address).stderr
    assert not (make(tmp_path / "n", SLOTS) / PROBE).exists()
    # A capture knows that the file is there.
    assert memsim("capture", tmp_path / "c.tar.gz", "--sysroot", root).status == 0
    assert memsim("create", tmp_path / "copy", "--capture", tmp_path / "c.tar.gz").status == 0
    assert (tmp_path / "copy" / PROBE).exists()


def test_only_memory_that_is_offline_and_was_plugged_in_can_go(
    memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", SLOTS)
    memsim("plug", root, "--memory", "256M", "--as", "virtio-mem")
    memsim("write", root, f"{MEMORY}/memory8/state", "online")
    before = tree_at(root)
    for request in (["256M"], ["256M", "--node", "0"], ["128M", "--node", "1"]):
        done = memsim("unplug", root, "--memory", *request)
        assert done.status == 1
        where = f" on node {request[2]}" if request[1:] else ""
        assert done.stderr.splitlines()[0] == (
            f"memsim: no contiguous {request[0]} of plugged-in memory can be taken out{where}"
        )
        assert tree_at(root) == before
    assert memsim("unplug", root, "--memory", "128M").stdout == "memory blocks 9-9\n"
    assert not (root / MEMORY / "memory9").exists()
    assert (root / MEMORY / "memory8").exists()
    with pytest.raises(OSError, match="busy"):
        kernel = boot(SLOTS | {"auto_online_blocks": "online"})
        slots.plug(kernel, range(8, 10))
        slots.unplug(kernel, range(8, 10))


def test_plug_without_room_is_refused(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", SLOTS)
    for request, complaint in (
        (["--memory", "1G"], "there is no room for 1G of memory\n"),
        (["--memory", "1G", "--node", "1"], "there is no room for 1G of memory on node 1\n"),
        (["--memory", "100M", "--as", "cxl"], "say how much memory in whole memory blocks of 128M"),
        ([], "say how much memory in whole memory blocks of 128M"),
    ):
        done = memsim("plug", root, *request)
        assert done.status == 1
        assert complaint in done.stderr
    assert memsim("plug", make(tmp_path / "s390", "s390-lpar"), "--memory", "128M").status == 1


def test_create_makes_room_on_each_node(memsim: Command, tmp_path: Path) -> None:
    root = tmp_path / "m"
    assert memsim("create", root, "--memory", "1G", "--slots", "1G", "--nodes", "2").status == 0
    assert memsim("plug", root, "--memory", "512M", "--node", "1").stdout == "memory blocks 12-15\n"
    assert memsim("reboot", root).status == 0
    assert not (root / MEMORY / "memory12").exists()
    done = memsim("create", tmp_path / "n", "--memory", "1G", "--slots", "1G", "--standby", "1G")
    assert "slots: expected none on an s390" in done.stderr
