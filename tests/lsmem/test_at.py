"""lsmem --at: where a physical address is."""

import json
import subprocess
from pathlib import Path
from shutil import rmtree
from typing import Any

import jsonschema
import pytest

from commands import Command, run_program
from memory_hotplug.seen.error_log import MOST
from simulated import Make, s390

CXL: dict[str, Any] = {
    "block_size": 1 << 27,
    "blocks": [
        {"range": [0, 15]},
        {"range": [16, 23], "node": 1, "state": "offline"},
        {"range": [64, 71], "config": False, "node": 2},
    ],
}

HEADINGS = "ADDRESS BLOCK RANGE STATUS NODE ZONES DEVICE TIER THERE"


@pytest.fixture
def root(machine: Make, memsim: Command) -> Path:
    """Two nodes with DRAM, the second one's offline, and CXL memory on a third, online."""
    root = machine(CXL | {"auto_online_blocks": "online_movable"})
    assert memsim("plug", root, "--memory", "1G", "--as", "cxl").status == 0
    return root


def test_an_address_has_its_block_node_zone_device_tier_and_status(
    root: Path, lsmem: Command
) -> None:
    asked = "0x12345678,pfn:0x200010,0x80000000"
    done = lsmem("-s", root, "--at", asked, "-P")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        'ADDRESS="0x0000000012345678" BLOCK="2" RANGE="0x0000000010000000-0x0000000017ffffff"'
        ' STATUS="online" NODE="0" ZONES="Normal" DEVICE="" TIER="4" THERE="System RAM"',
        'ADDRESS="0x0000000200010000" BLOCK="64" RANGE="0x0000000200000000-0x0000000207ffffff"'
        ' STATUS="online" NODE="2" ZONES="Movable" DEVICE="dax0.0" TIER="22"'
        ' THERE="CXL Window 0/region0/dax0.0/System RAM (kmem)"',
        'ADDRESS="0x0000000080000000" BLOCK="16" RANGE="0x0000000080000000-0x0000000087ffffff"'
        ' STATUS="offline" NODE="1" ZONES="Normal/Movable" DEVICE="" TIER="" THERE="System RAM"',
    ]


def test_the_last_byte_of_a_block_is_in_it_and_the_next_one_is_not(
    root: Path, lsmem: Command
) -> None:
    done = lsmem("-s", root, "--at", "0xbfffffff,0xc0000000,0xffffffffffffffff", "-r", "-n", "-b")
    assert [line.split(" ")[:2] for line in done.stdout.splitlines()] == [
        [str(0xBFFFFFFF), "23"],
        [str(0xC0000000), ""],
        [str((1 << 64) - 1), ""],
    ]


def test_memory_that_is_not_configured_is_disabled(machine: Make, lsmem: Command) -> None:
    done = lsmem("-s", machine(s390()), "--at", "0x20000000", "-r", "-n")
    assert done.stdout.split(" ")[1:4:2] == ["4", "disabled"]


IOMEM = """\
00001000-0fffffff : System RAM
  01000000-01ffffff : Kernel code
10000000-17ffffff : PCI Bus 0000:00
  10010000-10ffffff : 0000:00:01.0
"""


def test_where_there_is_no_block_the_map_says_what_is_there(machine: Make, lsmem: Command) -> None:
    tree = machine({"block_size": 1 << 27, "blocks": [{"range": [0, 1]}]})
    (tree / ".memsim").rename(tree / "gone")  # The tree is one of files now.
    (tree / "proc").mkdir()
    (tree / "proc/iomem").write_text(IOMEM)
    done = lsmem("-s", tree, "--at", "0x10010000,0x1000000,0x0,0x18000000", "-J")
    assert done.stderr == ""
    found = [(row["block"], row["there"]) for row in json.loads(done.stdout)["addresses"]]
    assert found == [
        (None, ["PCI Bus 0000:00", "0000:00:01.0"]),
        (0, ["System RAM", "Kernel code"]),
        (0, []),
        (None, []),
    ]
    (tree / "proc/iomem").write_text("00000000-00000000 : Reserved\n")
    done = lsmem("-s", tree, "--at", "0x10010000")
    assert "lsmem: cannot tell what is in the holes\n" in done.stderr


LOG = """\
[1.0] Linux version 6.12
[2.0] mce: [Hardware Error]: TSC 0 ADDR 12345678 MISC 8c
[2.1] Memory failure: 0x200010: recovery action for dirty LRU page: Recovered
[2.2] Memory failure: 0x200010: already hardware poisoned
"""


def reading(log: str, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_program("lsmem", "-s", root, "--at", "-", *words, input=log)


def test_addresses_are_found_in_a_log(root: Path) -> None:
    done = reading(LOG, root, "-r")
    heading, *rows = done.stdout.splitlines()
    assert (done.returncode, done.stderr, heading) == (0, "", f"EVENT LINE COUNT {HEADINGS}")
    assert [row.split(" ")[:5] for row in rows] == [
        ["mce", "2", "1", "0x0000000012345678", "2"],
        ["memory-failure", "3", "2", "0x0000000200010000", "64"],
    ]


def test_of_a_log_that_names_very_many_addresses_the_first_are_listed(root: Path) -> None:
    log = "".join(f"Memory failure: {at:#x}: already\n" for at in (*range(MOST + 2), 0))
    done = reading(log, root, "-r", "-n")
    assert done.stderr == (
        "lsmem: standard input names more than 100000 addresses: the first are listed\n"
    )
    rows = done.stdout.splitlines()
    assert (len(rows), rows[0].split()[:3]) == (MOST, ["memory-failure", "1", "2"])


def test_a_log_without_addresses_is_said_to_have_none(root: Path) -> None:
    done = reading("\0\xff" * 70000, root, "-n", "--advice=always")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("lsmem: standard input names no address of memory\nlsmem: ")


def test_the_size_of_a_page_is_that_of_the_captured_machine(machine: Make, lsmem: Command) -> None:
    tree = machine({"block_size": 1 << 28, "blocks": [{"range": [0, 127]}]})
    rmtree(tree / ".memsim")
    sizes = {65536: "8", 1 << 18: "32", 3: "0", 3 << 12: "0", 1 << 19: "0", 1 << 11: "0", None: "0"}
    for size, block in sizes.items():
        (tree / "memsim-capture.json").write_text(json.dumps({"page_size": size}))
        assert lsmem("-s", tree, "--at", "pfn:0x8000", "-r", "-n").stdout.split(" ")[1] == block
    (tree / "memsim-capture.json").write_text("{}")
    assert lsmem("-s", tree, "--at", "pfn:0x8000", "-r", "-n").stdout.split(" ")[1] == "0"


def test_the_document_is_as_its_schema_says(root: Path, lsmem: Command) -> None:
    schema = json.loads(lsmem("--at", "0x0", "--json-schema").stdout)
    assert schema["title"] == "lsmem --at --json"
    documents = [
        lsmem("-s", root, "--at", "0x12345678,0x200000000,0xc0000000", "-J").stdout,
        reading(LOG, root, "-J").stdout,
        reading("", root, "-J").stdout,
    ]
    for document in map(json.loads, documents):
        jsonschema.validate(document, schema)
    assert [len(json.loads(document)["addresses"]) for document in documents] == [3, 2, 0]


@pytest.mark.parametrize(
    "wrong", ["", "12", "0x", "0xg", "pfn:12", "0x1,,0x2", "0x1_0", "0x" + "1" * 17]
)
def test_an_address_that_is_none_is_refused(wrong: str, root: Path, lsmem: Command) -> None:
    done = lsmem("-s", root, "--at", wrong)
    assert (done.status, done.stdout) == (1, "")
    assert "lsmem: invalid argument of --at: " in done.stderr


@pytest.mark.parametrize("other", ["--all", "--holes", "--explain", "--map", "--typed", "-o+NODE"])
def test_at_excludes_other_views(other: str, root: Path, lsmem: Command) -> None:
    done = lsmem("-s", root, "--at", "0x0", other)
    assert (done.status, done.stdout) == (1, "")
    assert "cannot be combined" in done.stderr or "means nothing" in done.stderr
