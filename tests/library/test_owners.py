"""Which device brought a block, memory tiers, and the map of the address space."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from memory_hotplug import Machine
from memory_hotplug.seen.iomem import Region, parse_iomem, read_iomem
from memory_hotplug.seen.owners import Owners, owners_of, tiers
from static_tree import MEMORY, put

ACPI = "sys/bus/acpi/devices"

REAL = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-1fffffff : System RAM
  01000000-01e0221c : Kernel code
20000000-2fffffff : virtio0
  20000000-27ffffff : System RAM (virtio_mem)
30000000-3fffffff : CXL Window 0
  30000000-3fffffff : region0
    30000000-3fffffff : dax0.0
      30000000-37ffffff : System RAM (kmem)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A captured machine with eight blocks of 128 MiB."""
    root = tmp_path / "tree"
    for number in range(8):
        write(root, {f"{MEMORY}/memory{number}/phys_index": f"{number:08x}\n"})
    write(root, {f"{MEMORY}/block_size_bytes": "8000000\n"})
    return root


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        put(root, path, text)


def found(root: Path, numbers: range = range(8)) -> Owners:
    with Machine.at(root) as machine:
        return owners_of(machine, numbers)


def test_the_map_of_the_address_space_is_parsed() -> None:
    regions = list(parse_iomem(REAL))
    assert regions[3] == Region(0x1000000, 0x1E0221C, ("System RAM", "Kernel code"))
    assert regions[-1].names == ("CXL Window 0", "region0", "dax0.0", "System RAM (kmem)")
    assert regions[-1].name == "System RAM (kmem)"


def test_a_region_can_be_one_byte_and_its_depth_is_that_of_its_blanks() -> None:
    text = "0-0 : a\n1-1 : b\n  1-1 : c\n    1-1 : d\n  1-1 : e\n2-1 : f\n"
    assert list(parse_iomem(text)) == [
        Region(1, 1, names) for names in (("b",), ("b", "c"), ("b", "c", "d"), ("b", "e"))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "00000000-00000000 : System RAM\n",  # what a user other than root is told
        "2000-1000 : Reserved\n",
        "1000-2000 Reserved\n",
        "x-2000 : Reserved\n",
        "\u0661-\u0662 : Reserved\n",
        f"0-{'f' * 17} : Reserved\n",
        "1000-ABCD : Reserved\n",
        "1000- : Reserved\n",
        " 1000-1fff : Reserved\n",
        f"{'  ' * 33}1000-1fff : Reserved\n",
        "",
    ],
)
def test_what_is_no_region_is_left_out(text: str) -> None:
    assert list(parse_iomem(text)) == []
    after = "1000-1fff : Reserved\n"
    assert list(parse_iomem(f"{text}\n{after}")) == list(parse_iomem(after))


def test_a_map_that_is_longer_than_a_page_is_read_whole(tree: Path) -> None:
    lines = [f"{at:08x}-{at + 0xFFF:08x} : Reserved" for at in range(0x1000, 0x400000, 0x2000)]
    write(tree, {"proc/iomem": "\n".join(lines)})
    with Machine.at(tree) as machine:
        assert len(read_iomem(machine.tree)) == len(lines) > 200


def test_control_characters_of_a_name_are_not_printed(tree: Path) -> None:
    write(tree, {"proc/iomem": "1000-1fff : a\x1b[2J\n"})
    with Machine.at(tree) as machine:
        (region,) = read_iomem(machine.tree)
    assert "\x1b" not in region.name


def test_memory_that_a_driver_added_belongs_to_the_device_around_it(tree: Path) -> None:
    write(tree, {"proc/iomem": REAL})
    assert found(tree) == Owners({4: "virtio0", 6: "dax0.0"}, known=True)
    assert found(tree).names == ["dax0.0", "virtio0"]
    assert found(tree, range(5, 7)).devices == {6: "dax0.0"}


def test_the_blocks_of_a_dimm_are_the_nodes_of_its_acpi_device(tree: Path) -> None:
    # Block 9 has just gone.
    for device, blocks in (("PNP0C80:00", (9, 3, 4)), ("PNP0C80:01", (5,)), ("PNP0C0C:00", (6,))):
        (tree / ACPI / device).mkdir(parents=True)
        for at, block in enumerate(blocks):
            link = tree / ACPI / device / f"physical_node{at or ''}"
            link.symlink_to(f"../../../../devices/system/memory/memory{block}")
    (tree / ACPI / "PNP0C80:0123cdef").mkdir()
    long = tree / ACPI / "PNP0C80:0123cdef/physical_node123456789"
    long.symlink_to("../../../../devices/system/memory/memory2")
    assert found(tree) == Owners(
        {2: "PNP0C80:0123cdef", 3: "PNP0C80:00", 4: "PNP0C80:00", 5: "PNP0C80:01"}, known=False
    )


@pytest.mark.parametrize(
    ("device", "link"),
    [
        ("PNP0C80:0g", "physical_node"),
        ("PNP0C80:0", "physical_node"),
        ("PNP0C80:012345678", "physical_node"),
        ("PNP0C80:00", "physical_nodes"),
        ("PNP0C80:00", "physical_node\u0661"),
        ("PNP0C80:00", f"physical_node{'1' * 10}"),
    ],
)
def test_a_name_that_no_kernel_gives_is_no_device_and_no_block(
    device: str, link: str, tree: Path
) -> None:
    (tree / ACPI / device).mkdir(parents=True)
    (tree / ACPI / device / link).symlink_to("../../../../devices/system/memory/memory3")
    assert found(tree).devices == {}


@pytest.mark.parametrize("name", ["System RAM", "System RAM ()", "System RAM (x"])
def test_memory_that_no_driver_added_belongs_to_no_device(name: str, tree: Path) -> None:
    write(tree, {"proc/iomem": f"20000000-2fffffff : x\n  20000000-2fffffff : {name}\n"})
    assert found(tree).devices == {}


def test_a_link_out_of_the_tree_is_no_block(tree: Path, tmp_path: Path) -> None:
    write(tmp_path, {"outside/phys_index": "00000002\n"})
    (tree / ACPI / "PNP0C80:00").mkdir(parents=True)
    (tree / ACPI / "PNP0C80:00/physical_node").symlink_to(tmp_path / "outside")
    assert found(tree).devices == {}


def test_regions_without_end_take_no_time(tree: Path) -> None:
    text = "0-ffffffffffffffff : virtio0\n  0-ffffffffffffffff : System RAM (virtio_mem)\n"
    write(tree, {"proc/iomem": text})
    assert found(tree).devices == dict.fromkeys(range(8), "virtio0")


def test_memory_tiers_have_nodes(tree: Path) -> None:
    top = "sys/devices/virtual/memory_tiering"
    lists = {"memory_tier4": "0-1,4\n", "memory_tier22": "2\n", "memory_tierx": "7\n"}
    write(tree, {f"{top}/{name}/nodelist": text for name, text in lists.items()})
    with Machine.at(tree) as machine:
        assert tiers(machine.tree) == {0: 4, 1: 4, 4: 4, 2: 22}


def test_a_machine_without_tiers_has_none(tree: Path) -> None:
    with Machine.at(tree) as machine:
        assert tiers(machine.tree) == {}


def test_memory_of_a_driver_without_a_device_has_none(tree: Path) -> None:
    """A line of its own says what kind of driver added it, and not which device."""
    write(tree, {"proc/iomem": "00000000-3fffffff : System RAM (virtio_mem)\n"})
    assert found(tree) == Owners({}, known=True)
