"""lsmem: the columns DEVICE and TIER, --holes, and --explain."""

import json
import os
import re
from array import array
from pathlib import Path

import jsonschema
import pytest

from commands import Command
from page_flags import BALLOONS, FREE, show_flags
from simulated import Make, s390, x86

MIB = 1 << 20
HOLE = {**x86(), "blocks": [{"range": [0, 1]}, {"range": [4, 5]}, {"range": [6, 9], "config": 0}]}


@pytest.fixture
def plugged(machine: Make, memsim: Command) -> Path:
    root = machine(HOLE)
    for kind in ("virtio-mem", "cxl", "dimm"):
        assert memsim("plug", root, "--memory", "128M", "--as", kind).status == 0
    return root


def test_column_device_shows_each_device_with_its_blocks(plugged: Path, lsmem: Command) -> None:
    done = lsmem("-s", plugged, "-o", "BLOCK,STATE,DEVICE", "--summary=never")
    assert (done.status, done.stderr) == (0, "")
    assert (
        done.stdout
        == """\
BLOCK   STATE     DEVICE
  0-1  online \n\
  4-5  online \n\
    6 offline    virtio0
    7 offline     dax0.0
    8 offline PNP0C80:00
"""
    )


def test_devices_in_typed_json_are_words_or_null(plugged: Path, lsmem: Command) -> None:
    done = lsmem("-s", plugged, "-J", "--typed", "-o", "BLOCK,DEVICE,TIER")
    found = [(row["device"], row["tier"]) for row in json.loads(done.stdout)["ranges"]]
    # A node that has DRAM at boot stays in the tier of DRAM.
    assert found == [(None, 4)] * 2 + [(name, 4) for name in ("virtio0", "dax0.0", "PNP0C80:00")]


def test_a_tree_without_a_map_says_that_devices_are_not_known(
    plugged: Path, lsmem: Command, memsim: Command, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "sys/devices/system/memory/memory0").mkdir(parents=True)
    (tree / "sys/devices/system/memory/block_size_bytes").write_text("8000000\n")
    (tree / "sys/devices/system/memory/memory0/state").write_text("online\n")
    done = lsmem("-s", tree, "-o", "+DEVICE")
    assert done.status == 0
    assert done.stderr == (
        "lsmem: cannot tell which memory came with a device of virtio-mem or dax\n"
    )
    assert lsmem("-s", plugged, "-o", "+DEVICE").stderr == ""


def test_column_tier_comes_from_the_node(plugged: Path, lsmem: Command) -> None:
    tier = plugged / "sys/devices/virtual/memory_tiering/memory_tier4"
    tier.mkdir(parents=True)
    (tier / "nodelist").write_text("0\n")
    done = lsmem("-s", plugged, "-o", "BLOCK,TIER", "-r", "-n", "--summary=never")
    assert done.stdout == "0-1 4\n4-8 4\n"


def test_holes_are_listed(plugged: Path, lsmem: Command) -> None:
    assert lsmem("-s", plugged, "--holes").stdout == (
        "RANGE                                 SIZE BLOCK THERE\n"
        "0x0000000010000000-0x000000001fffffff 256M   2-3 \n"
    )


def test_what_is_in_holes_is_not_known_without_a_map(tree: Path, lsmem: Command) -> None:
    assert lsmem("-s", tree, "--holes").stderr == ""
    # As users other than root see it.
    (tree / "proc/iomem").write_text("00000000-00000000 : Reserved\n")
    done = lsmem("-s", tree, "--holes", "--advice=always")
    assert (done.status, done.stdout.splitlines()[1].split()[-1]) == (0, "2-3")
    assert done.stderr == (
        "lsmem: cannot tell what is in the holes\n"
        "lsmem: run this as root, on the machine itself (/proc/iomem)\n"
    )
    for number in (4, 5):
        (tree / f"sys/devices/system/memory/memory{number}/state").unlink()
        (tree / f"sys/devices/system/memory/memory{number}").rmdir()
    assert lsmem("-s", tree, "--holes").stderr == "", "without holes there is nothing to tell"


def test_a_machine_without_holes_lists_none(machine: Make, lsmem: Command) -> None:
    root = machine(x86())
    assert json.loads(lsmem("-s", root, "--holes", "-J").stdout) == {"memory": []}
    assert lsmem("-s", root, "--holes", "-n").stdout == ""


IOMEM = """\
00000000-0000ffff : Reserved
00010000-1000ffff : System RAM
  01000000-01ffffff : Kernel code
  08000000-0bffffff : Crash kernel
10010000-17ffffff : PCI Bus 0000:00
  10010000-10ffffff : 0000:00:01.0
18000000-18000fff : IOAPIC 0
18001000-1fffffff : PCI Bus 0000:00
20000000-2fffffff : System RAM
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A captured machine: blocks 0, 1, 4 and 5 of 128 MiB; block 5 is offline."""
    root = tmp_path / "tree"
    for number in (0, 1, 4, 5):
        block = root / f"sys/devices/system/memory/memory{number}"
        block.mkdir(parents=True)
        (block / "state").write_text("offline\n" if number == 5 else "online\n")
    (root / "sys/devices/system/memory/block_size_bytes").write_text("8000000\n")
    (root / "proc").mkdir()
    (root / "proc/iomem").write_text(IOMEM)
    (root / "proc/meminfo").write_text("MemTotal: 307200 kB\nMemAvailable: 204800 kB\n")
    return root


def test_holes_tell_the_outermost_regions_the_largest_first(tree: Path, lsmem: Command) -> None:
    done = lsmem("-s", tree, "--holes", "-b", "-n")
    assert done.stdout == (
        "0x0000000010000000-0x000000001fffffff 268435456 2-3"
        " PCI Bus 0000:00 255.9M, System RAM 64K, IOAPIC 0 4K\n"
    )
    rows = json.loads(lsmem("-s", tree, "--holes", "-J").stdout)["memory"]
    assert [row["block"] for row in rows] == ["2-3"]


def test_explain_adds_up(tree: Path, lsmem: Command) -> None:
    told = json.loads(lsmem("-s", tree, "--explain", "-J").stdout)
    assert told.pop("schema_version") == 1
    assert {name: size // 1024 for name, size in told.items()} == {
        "blocks": 512 << 10,
        "not_online": 128 << 10,
        "online": 384 << 10,
        "memmap": 6 << 10,
        "no_memory": 64,
        "memory": (384 << 10) - 64,
        "reserved": (384 << 10) - 64 - 307200,
        "kernel_image": 16 << 10,
        "crash_kernel": 64 << 10,
        "mem_total": 307200,
        "in_use": 102400,
        "mem_available": 204800,
    }
    lines = lsmem("-s", tree, "--explain").stdout.splitlines()
    assert lines[0] == "All memory blocks         512M"
    assert lines[6] == "  kept from MemTotal     83.9M  at boot"
    assert "  kernel image             16M  part of that" in lines
    assert lsmem("-s", tree, "--explain", "-b").stdout.startswith(
        "All memory blocks       536870912"
    )


def add_balloon(tree: Path) -> None:
    driver = tree / "sys/bus/virtio/drivers/virtio_balloon"
    driver.mkdir(parents=True)
    for name in ("bind", "uevent", "virtio3"):
        (driver / name).mkdir()


def test_explain_names_a_balloon(tree: Path, lsmem: Command) -> None:
    add_balloon(tree)
    assert "at boot, or by the balloon virtio3\n" in lsmem("-s", tree, "--explain").stdout


@pytest.mark.parametrize("gone", ["iomem", "meminfo", "iomem meminfo"])
def test_explain_leaves_out_what_is_not_known(gone: str, tree: Path, lsmem: Command) -> None:
    for name in gone.split():
        os.unlink(tree / "proc" / name)
    told = json.loads(lsmem("-s", tree, "--explain", "-J").stdout)
    assert ("memory" in told) is ("iomem" not in gone)
    assert ("mem_total" in told) is ("meminfo" not in gone)
    assert ("reserved" in told) is (gone == "")
    assert told["blocks"] == 512 * MIB


@pytest.mark.parametrize("other", ["--all", "--map", "--policy", "--why", "--watch", "-o+NODE"])
@pytest.mark.parametrize("view", ["--holes", "--explain"])
def test_holes_and_explain_exclude_other_views(
    view: str, other: str, tree: Path, lsmem: Command
) -> None:
    done = lsmem("-s", tree, view, other)
    assert (done.status, done.stdout) == (1, "")
    assert re.search("cannot be combined|means nothing to", done.stderr)


def test_explain_says_what_is_not_configured(machine: Make, lsmem: Command) -> None:
    root = machine(s390())
    told = json.loads(lsmem("-s", root, "--explain", "-J").stdout)
    assert told["not_configured"] == 4 * 128 * MIB
    assert re.search(
        r"^    not configured +512M  part of that$", lsmem("-s", root, "--explain").stdout, re.M
    )
    typed = json.loads(lsmem("-s", root, "-J", "--typed").stdout)
    assert typed["total_not_configured"] == 4 * 128 * MIB
    metrics = lsmem("-s", root, "--format=prometheus").stdout
    assert f"memory_hotplug_not_configured_bytes {4 * 128 * MIB}\n" in metrics


def test_a_machine_that_configures_nothing_has_no_such_total(plugged: Path, lsmem: Command) -> None:
    typed = json.loads(lsmem("-s", plugged, "-J", "--typed").stdout)
    assert typed["total_not_configured"] is None
    assert "not_configured" not in lsmem("-s", plugged, "--format=prometheus").stdout


def test_explain_says_what_the_kernel_did_not_add(
    machine: Make, lsmem: Command, memsim: Command, chmem: Command
) -> None:
    slots = [{"range": [0, 3]}, {"range": [8, 11], "config": False}]
    root = machine({"block_size": 128 * MIB, "blocks": slots})
    assert "not_added" not in json.loads(lsmem("-s", root, "--explain", "-J").stdout)
    assert memsim("plug", root, "--memory", "200M").status == 1
    document = json.loads(lsmem("-s", root, "--explain", "-J").stdout)
    jsonschema.validate(document, json.loads(lsmem("--explain", "--json-schema").stdout))
    line = "Block size [0x8000000] unaligned hotplug range: start 0x40000000, size 0xc800000"
    first, *others = document["not_added"]
    assert first == {"line": line, "fits": {"start": 0x40000000, "size": 128 * MIB}}
    assert [one["fits"] for one in others] == [None, None]
    assert lsmem("-s", root, "--explain").stdout.splitlines()[-4:-2] == [
        f"memory was not added: {line}",
        "  128M from 0x40000000 on would have made whole blocks",
    ]
    done = chmem("-s", root, "--enable", "128m", "--advice=always")
    assert f"did not add memory: {line} (128M would have made whole blocks)\n" in done.stderr
    assert memsim("plug", root, "--memory", "128M").status == 0
    assert "did not add" not in chmem("-s", root, "-e", "128m", "--advice=always").stderr


def test_holes_and_explain_tell_memory_beyond_the_last_block(tree: Path, lsmem: Command) -> None:
    beyond = "30000000-37ffffff : Persistent Memory (legacy)\n38000000-3fffffff : PCI Bus 0000:01\n"
    (tree / "proc/iomem").write_text(IOMEM + beyond)
    (tree / "proc/cmdline").write_text("ro mem=768M\n")
    last = lsmem("-s", tree, "--holes", "-b", "-r").stdout.splitlines()[-1]
    assert last == (
        "0x0000000030000000-0x0000000037ffffff 134217728 6 Persistent Memory (legacy) 128M"
    )
    assert json.loads(lsmem("-s", tree, "--explain", "-J").stdout)["beyond"] == 128 * MIB
    last = lsmem("-s", tree, "--explain").stdout.splitlines()[-1]
    assert last.split() == [
        "Beyond",
        "the",
        "last",
        "block",
        "128M",
        "cut",
        "off",
        "by",
        "mem=768M",
    ]


def test_explain_counts_poisoned_pages(tree: Path, lsmem: Command) -> None:
    with (tree / "proc/meminfo").open("a") as meminfo:
        meminfo.write("HardwareCorrupted:     8 kB\n")
    assert json.loads(lsmem("-s", tree, "--explain", "-J").stdout)["poisoned"] == 8192


PARTS = IOMEM + "30000000-7fffffff : virtio1\n  30000000-3fffffff : System RAM (virtio_mem)\n"


def with_parts(tree: Path, kept: dict[int, int]) -> None:
    """Let blocks 6 and 7 be of virtio-mem, and drivers keep some MiB of blocks."""
    for number in (6, 7):
        block = tree / f"sys/devices/system/memory/memory{number}"
        block.mkdir()
        (block / "state").write_text("online\n")
    (tree / "proc/iomem").write_text(PARTS)
    flags = array("Q", [FREE]) * (8 << 15)
    for number, mib in kept.items():
        start, pages = number << 15, mib << 8
        flags[start : start + pages] = array("Q", [1 << 23]) * pages
    show_flags(tree, flags)


def test_explain_books_what_a_device_has_not_plugged(tree: Path, lsmem: Command) -> None:
    before = json.loads(lsmem("-s", tree, "--explain", "-J").stdout)
    with_parts(tree, {6: 2, 7: 62, 5: 9, 0: 5})
    told = json.loads(lsmem("-s", tree, "--explain", "-J").stdout)
    # What is offline as a whole is not plugged either, but it is booked already; and block 0 is of
    # no such device, so its pages are not looked at.
    assert told["not_plugged"] == 64 * MIB
    assert told["not_plugged_by_device"] == [
        {"device": "virtio1", "size": 64 * MIB, "balloon": False}
    ]
    assert told["reserved"] == before["reserved"] + 256 * MIB - 64 * MIB
    shown = lsmem("-s", tree, "--explain").stdout
    assert re.search("^  not plugged +64M  of virtio1$", shown, re.MULTILINE)
    assert re.search("^  kept from MemTotal .*  at boot$", shown, re.MULTILINE)


def test_explain_books_what_a_balloon_has_taken(tree: Path, lsmem: Command) -> None:
    add_balloon(tree)
    with_parts(tree, {1: 30, 6: 10})
    told = json.loads(lsmem("-s", tree, "--explain", "-J").stdout)
    assert told["not_plugged_by_device"] == [
        {"device": "virtio3", "size": 30 * MIB, "balloon": True},
        {"device": "virtio1", "size": 10 * MIB, "balloon": False},
    ]
    words = "40M  30M kept by the balloon virtio3, 10M of virtio1\n"
    assert words in lsmem("-s", tree, "--explain").stdout


def test_a_balloon_that_leaves_memory_in_memtotal_is_not_booked(tree: Path, lsmem: Command) -> None:
    """VIRTIO_BALLOON_F_DEFLATE_ON_OOM."""
    add_balloon(tree)
    with_parts(tree, {1: 30})
    features = tree / "sys/bus/virtio/devices/virtio3/features"
    features.parent.mkdir(parents=True)
    features.write_text("011000\n")
    assert "not_plugged" not in json.loads(lsmem("-s", tree, "--explain", "-J").stdout)
    features.write_text("010000\n")
    assert "not_plugged" in json.loads(lsmem("-s", tree, "--explain", "-J").stdout)


def test_explain_names_who_may_keep_memory_where_pages_are_not_told(
    tree: Path, lsmem: Command
) -> None:
    add_balloon(tree)
    with_parts(tree, {})
    (tree / "proc/kpageflags").unlink()
    words = "at boot, or not plugged of virtio1, or by the balloon virtio3\n"
    assert words in lsmem("-s", tree, "--explain").stdout


@pytest.mark.parametrize(
    "told", ["[]", "{", '{"offline_bytes": 7}', '{"offline_bytes": {"7": "x"}}', "{}"]
)
def test_explain_believes_no_broken_record(told: str, tree: Path, lsmem: Command) -> None:
    with_parts(tree, {7: 2})
    (tree / "memsim-capture.json").write_text(told)
    assert json.loads(lsmem("-s", tree, "--explain", "-J").stdout)["not_plugged"] == 2 * MIB
    (tree / "memsim-capture.json").write_text('{"offline_bytes": {"7": 4096, "6": 4096}}')
    assert json.loads(lsmem("-s", tree, "--explain", "-J").stdout)["not_plugged"] == 8192


@pytest.mark.parametrize(("driver", "device"), BALLOONS.items())
def test_explain_books_what_a_balloon_keeps(
    driver: str, device: str, tree: Path, lsmem: Command
) -> None:
    (tree / driver / device).mkdir(parents=True)
    flags = array("Q", [FREE]) * (6 << 15)
    flags[4 << 15 : (4 << 15) + 256] = array("Q", [1 << 23]) * 256
    show_flags(tree, flags)
    assert f"1M  kept by the balloon {device}\n" in lsmem("-s", tree, "--explain").stdout
