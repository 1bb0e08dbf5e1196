"""Memory that came and made no block, and memory beyond the last block."""

from pathlib import Path

import pytest

from memory_hotplug.machine import Machine
from memory_hotplug.seen.beyond import memory_beyond, parameters_that_take
from memory_hotplug.seen.failed_adds import NotAdded, not_added
from memory_hotplug.seen.iomem import parse_iomem
from simulated import make, x86

UNALIGNED = "Block size [0x8000000] unaligned hotplug range: start {}, size {}"


@pytest.mark.parametrize(
    ("start", "size", "fits"),
    [
        ("0x100000000", "0xc800000", (0x100000000, 0x8000000)),
        ("0x104000000", "0x10000000", (0x108000000, 0x8000000)),
        ("0x104000000", "0xc000000", (0x108000000, 0x8000000)),
        ("0x104000000", "0x4000000", None),
        ("0x100000000", "0x4000000", None),
    ],
)
def test_the_part_of_unaligned_memory_that_makes_whole_blocks(
    start: str, size: str, fits: tuple[int, int] | None
) -> None:
    line = UNALIGNED.format(start, size)
    assert not_added([line, line]) == [NotAdded(line, fits)]


@pytest.mark.parametrize(
    "line",
    [
        "acpi PNP0C80:00: add_memory failed",
        "kmem dax0.0: mapping0: 0x100000000-0x10fffffff memory add failed",
        "kmem dax0.0: rejecting DAX region with invalid node: -1",
        "hv_balloon: hot_add memory failed error is -17",
        "hv_balloon: Memory hot add failed",
        "pseries-hotplug-mem: Memory hot-add failed, removing any added LMBs",
        "xen:balloon: Cannot add additional memory (-17)",
        "sclp_mem: assign storage failed (cmd=0x000d0001, response=0x0300, rn=0x0011)",
        "sclp_mem: Standby memory at 0x80000000 (1500M of 1536M usable)",
    ],
)
def test_what_else_the_kernel_log_says_of_memory_that_came(line: str) -> None:
    assert not_added(["a line", line]) == [NotAdded(line)]


@pytest.mark.parametrize(
    "line",
    [
        "sclp_mem: Standby memory at 0x80000000 (1536M of 1536M usable)",
        "sclp_mem: assign storage failed (cmd=0x000c0001, response=0x0300, rn=0x0011)",
        UNALIGNED.format("0x1", "x"),
    ],
)
def test_what_is_no_failure_to_add_memory(line: str) -> None:
    assert not_added([line]) == []


IOMEM = """\
00000000-1fffffff : System RAM
20000000-2fffffff : Reserved
30000000-3fffffff : Persistent Memory (legacy)
40000000-4fffffff : PCI Bus 0000:00
"""


def test_memory_beyond_the_last_block_is_that_of_both_maps(tmp_path: Path) -> None:
    root = make(tmp_path / "m", x86())
    for number, ends in enumerate([(0, 0x2FFFFFFF), (0x50000000, 0x5FFFFFFF), (0x60000000, 1)]):
        entry = root / f"sys/firmware/memmap/{number}"
        entry.mkdir(parents=True)
        for name, end in zip(("start", "end"), ends, strict=True):
            (entry / name).write_text(f"{end:#x}\n")
        (entry / "type").write_text("Reserved\n" if number == 2 else "System RAM\n")
    with Machine.at(str(root)) as opened:
        found = memory_beyond(opened.tree, list(parse_iomem(IOMEM)), 0x10000000)
    assert [(one.start, one.end, one.name) for one in found] == [
        (0x10000000, 0x1FFFFFFF, "System RAM"),
        (0x30000000, 0x3FFFFFFF, "Persistent Memory (legacy)"),
        (0x50000000, 0x5FFFFFFF, "System RAM of the firmware"),
    ]


def test_kernel_parameters_that_take_memory_are_found(tmp_path: Path) -> None:
    root = make(tmp_path / "m", x86())
    with Machine.at(str(root)) as opened:
        assert parameters_that_take(opened.tree) == []
        (root / "proc").mkdir()
        (root / "proc/cmdline").write_text("ro mem=4G memmap=1G!8G memhp_default_state=online\n")
        assert parameters_that_take(opened.tree) == ["mem=4G", "memmap=1G!8G"]
