"""How much memory is in use, and how much can go."""

import tarfile
from pathlib import Path

import pytest

from memory_hotplug import Machine
from memory_hotplug.seen.in_use import NodeUsage, Usage, usage
from simulated import Make, s390, x86

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

REAL = """\
MemTotal:       16316412 kB
MemFree:          312044 kB
MemAvailable:   10118236 kB
Buffers:          500120 kB
Active(anon):    4100000 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A captured x86 that has no /proc yet."""
    root = tmp_path / "tree"
    for number in range(4):
        block = root / f"sys/devices/system/memory/memory{number}"
        block.mkdir(parents=True)
        (block / "state").write_text("online\n")
    (root / "sys/devices/system/memory/block_size_bytes").write_text("8000000\n")
    for node in (0, 1):
        (root / f"sys/devices/system/node/node{node}").mkdir(parents=True)
    (root / "proc/sys/vm").mkdir(parents=True)
    return root


def found(root: Path) -> Usage | None:
    with Machine.at(root) as machine:
        return usage(machine)


def test_what_the_kernel_says_is_read(tree: Path) -> None:
    (tree / "proc/meminfo").write_text(REAL)
    (tree / "proc/sys/vm/min_free_kbytes").write_text("67584\n")
    node = tree / "sys/devices/system/node/node1/meminfo"
    node.write_text("Node 1 MemTotal:  8158206 kB\nNode 1 MemFree:  1000 kB\n")
    (node.parents[1] / "node0/meminfo").write_text("Node 0 MemTotal:  8158206 kB\n")
    assert found(tree) == Usage(
        16316412 * KIB,
        10118236 * KIB,
        67584 * KIB,
        {1: NodeUsage(8158206 * KIB, 1000 * KIB)},
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            None,
            "",
            "MemTotal: 1 kB\n",
            "MemAvailable: 1 kB\n",
            "\0\xff" * 100,
            "MemTotal: -1 kB\n",
        ),
        "MemTotal: 7 kB\nMemAvailable: 55",
        f"MemTotal: {10**15} kB\nMemAvailable: 1 kB\n",
    ],
)
def test_a_tree_that_does_not_say_it_is_not_guessed_about(tree: Path, text: str | None) -> None:
    if text is not None:
        (tree / "proc/meminfo").write_text(text)
    assert found(tree) is None


def test_a_node_that_has_more_to_give_than_it_has_is_not_in_use() -> None:
    nodes = {0: NodeUsage(4 * GIB, 2 * GIB), 1: NodeUsage(2 * GIB, 3 * GIB)}
    assert Usage(6 * GIB, 5 * GIB, 0, nodes).used_by_node == {0: GIB, 1: 0}


def test_a_file_that_is_none_is_not_read(tree: Path) -> None:
    (tree / "proc/meminfo").symlink_to("/proc/meminfo")
    assert found(tree) is None
    (tree / "proc/meminfo").unlink()
    (tree / "proc/meminfo").mkdir()
    assert found(tree) is None


@pytest.mark.parametrize("text", ["", "many\n", "1" * 30])
def test_odd_watermarks_count_as_none(tree: Path, text: str) -> None:
    (tree / "proc/meminfo").write_text(REAL)
    (tree / "proc/sys/vm/min_free_kbytes").write_text(text)
    there = found(tree)
    assert there is not None
    assert there.min_free == 0


def test_what_can_go_leaves_the_watermarks_and_a_part_of_what_remains() -> None:
    there = Usage(100 * GIB, 60 * GIB, GIB, {})
    assert there.used == 40 * GIB
    most = there.most_to_take()
    # 60 - T = 1 + 5 % of (100 - T)
    assert most == 54 * GIB * 20 // 19
    rest = there.total - most
    assert abs(there.available - most - (there.min_free + rest // 20)) <= 1
    assert there.most_to_take(0) == 60 * GIB
    assert there.most_to_take(10 * GIB) == 50 * GIB
    assert there.most_to_take(61 * GIB) == 0
    assert Usage(100 * GIB, 5 * GIB, GIB, {}).most_to_take() == 0


def test_a_simulated_machine_counts_what_is_in_use(machine: Make) -> None:
    root = machine(s390(first=16, standby=4, used=GIB))
    there = found(root)
    assert there is not None
    assert there.total == 2 * GIB - 2 * GIB // 64
    assert there.available == there.total - GIB
    assert there.nodes == {0: NodeUsage(there.total, there.available)}


def test_a_simulated_machine_without_memory_in_use_says_nothing(machine: Make) -> None:
    assert found(machine(x86())) is None


@pytest.mark.parametrize("text", ["a" * 900_000, "a:" + " " * 900_000, "Node " + "1" * 900_000])
def test_no_text_of_meminfo_takes_long(text: str, tree: Path, tmp_path: Path) -> None:
    """With a pattern that tries all ways, it would be hours. An archive allows longer files."""
    (tree / "proc").mkdir(exist_ok=True)
    (tree / "proc/meminfo").write_text(text)
    with tarfile.open(tmp_path / "case.tar", "w") as archive:
        archive.add(tree, ".")
    with Machine.at(tmp_path / "case.tar") as machine:
        assert usage(machine) is None


def test_what_the_nodes_use_comes_to_what_the_machine_uses(tree: Path) -> None:
    """The page cache, which fills all memory in time, is no memory in use."""
    (tree / "proc/meminfo").write_text(REAL)
    for node, free, cached in ((0, 100000, 6000000), (1, 212044, 3000000)):
        (tree / f"sys/devices/system/node/node{node}/meminfo").write_text(
            f"Node {node} MemTotal:  8158206 kB\nNode {node} MemFree: {free} kB\n"
            f"Node {node} Active(file):  {cached} kB\nNode {node} Inactive(file): 200000 kB\n"
            f"Node {node} SReclaimable: 100000 kB\nNode {node} Active(anon): 1000000 kB\n"
        )
    now = found(tree)
    assert now
    used = now.used_by_node
    assert 0 <= now.used - sum(used.values()) < 2
    idle = {node: there.free // KIB for node, there in now.nodes.items()}
    assert idle == {0: 6400000, 1: 3512044}
    assert used[0] * (8158206 - 3512044) // (8158206 - 6400000) == pytest.approx(used[1])


def test_nodes_with_nothing_in_use_have_no_part(tree: Path) -> None:
    (tree / "proc/meminfo").write_text(REAL)
    for node in (0, 1):
        (tree / f"sys/devices/system/node/node{node}/meminfo").write_text(
            f"Node {node} MemTotal:  1000 kB\nNode {node} MemFree: 1000 kB\n"
        )
    now = found(tree)
    assert now
    assert now.used_by_node == {0: 0, 1: 0}
