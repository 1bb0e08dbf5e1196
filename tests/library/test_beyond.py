"""Memory beyond the last block, by the map of the address space and by the firmware."""

from collections.abc import Sequence
from pathlib import Path

from memory_hotplug.seen.beyond import FROM_FIRMWARE, memory_beyond, parameters_that_take
from memory_hotplug.seen.iomem import Region, parse_iomem
from memory_hotplug.trees.files import FileTree
from static_tree import put

RAM, PMEM = "System RAM", "Persistent Memory"


def found(root: Path, regions: Sequence[Region], end: int) -> list[Region]:
    with FileTree(str(root)) as tree:
        return memory_beyond(tree, regions, end)


def firmware(root: Path, *entries: tuple[str, str, str]) -> None:
    """Let the firmware's map have ENTRIES: start, end, type."""
    for number, entry in enumerate(entries):
        for name, text in zip(("start", "end", "type"), entry, strict=True):
            put(root, f"sys/firmware/memmap/{number}/{name}", f"{text}\n")


def test_memory_in_the_map_is_cut_off_at_the_end_of_the_last_block(tmp_path: Path) -> None:
    regions = [
        Region(0, 0xFFF, (RAM,)),
        Region(0x800, 0x1000, (RAM,)),
        Region(0x3000, 0x3FFF, (PMEM,)),
        Region(0x3000, 0x3FFF, (PMEM, RAM)),
        Region(0x4000, 0x4FFF, ("PCI Bus 0000:00",)),
        Region(0x2000, 0x2FFF, ("Soft Reserved",)),
    ]
    assert found(tmp_path, regions, 0x1000) == [
        Region(0x1000, 0x1000, (RAM,)),
        Region(0x2000, 0x2FFF, ("Soft Reserved",)),
        Region(0x3000, 0x3FFF, (PMEM,)),
    ]


IOMEM = """\
00000000-1fffffff : System RAM
20000000-2fffffff : Reserved
30000000-3fffffff : Persistent Memory (legacy)
40000000-4fffffff : PCI Bus 0000:00
"""


def test_memory_beyond_the_last_block_is_that_of_both_maps(tmp_path: Path) -> None:
    firmware(
        tmp_path,
        ("0x0", "0x2fffffff", RAM),
        ("0x50000000", "0x5fffffff", RAM),
        ("0x60000000", "0x1", "Reserved"),
    )
    regions = found(tmp_path, list(parse_iomem(IOMEM)), 0x10000000)
    assert [(one.start, one.end, one.name) for one in regions] == [
        (0x10000000, 0x1FFFFFFF, "System RAM"),
        (0x30000000, 0x3FFFFFFF, "Persistent Memory (legacy)"),
        (0x50000000, 0x5FFFFFFF, "System RAM of the firmware"),
    ]


def test_what_only_the_firmware_knows_is_added(tmp_path: Path) -> None:
    firmware(
        tmp_path,
        ("0x0", "0xfff", RAM),
        ("0x5000", "0x5fff", RAM),
        ("0x3fff", "0x47ff", RAM),
        ("0x2800", "0x3000", RAM),
        ("0x1000", "0x1fff", RAM),
        ("0x6000", "0x6fff", "Reserved"),
        ("7000", "0x7fff", RAM),
        ("0x7000", "7fff", RAM),
    )
    # An entry that cannot be read keeps no other one from being seen.
    (tmp_path / "sys/firmware/memmap/00").mkdir()
    known = Region(0x3000, 0x3FFF, (PMEM,))
    assert found(tmp_path, [known], 0x800) == [
        Region(0x800, 0xFFF, (FROM_FIRMWARE,)),
        Region(0x1000, 0x1FFF, (FROM_FIRMWARE,)),
        known,
        Region(0x5000, 0x5FFF, (FROM_FIRMWARE,)),
    ]


def test_kernel_parameters_that_take_memory_are_found(tmp_path: Path) -> None:
    with FileTree(str(tmp_path)) as tree:
        assert parameters_that_take(tree) == []
        line = "ro mem=4G xmem=1 memmap=1G!8G mem= mem=\x1b[1m memhp_default_state=online\n"
        put(tmp_path, "proc/cmdline", line)
        assert parameters_that_take(tree) == ["mem=4G", "memmap=1G!8G"]
