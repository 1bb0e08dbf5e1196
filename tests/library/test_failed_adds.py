"""Memory that came and made no block."""

import pytest

from memory_hotplug.seen.failed_adds import NotAdded, not_added

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
