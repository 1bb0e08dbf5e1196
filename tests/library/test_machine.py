"""The library reads a machine, and only what it is asked for."""

import errno
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace

import pytest

import static_tree
from memory_hotplug import (
    NUMA_NO_NODE,
    BadBlockSizeError,
    Machine,
    MemoryBlock,
    MemoryHotplugError,
    NoMemoryTreeError,
    Remark,
    RemarkKind,
    State,
    Zone,
)
from memory_hotplug.trees.files import FileTree
from memory_hotplug.trees.simulated import KernelTree
from memsim import directory
from memsim.profile import boot
from simulated import tree_at, tree_of
from static_tree import FIRMWARE, MEMORY, NODE

Machines = Callable[[str], Path]

S390 = {
    "block_size": 1 << 28,
    "firmware": True,
    "blocks": [{"range": [0, 1]}, {"range": [2, 3], "config": 0}],
}


class Recording(FileTree):
    """A tree that remembers what was read of it, and in which another process takes a part."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.attributes: list[str] = []
        self.listed: list[str] = []
        self.meanwhile: dict[str, Callable[[], object]] = {}
        """What happens just before an attribute is read for the first time."""

    def read_each(self, directory, numbers, *attributes, links=None):  # type: ignore[no-untyped-def]
        texts = []
        for attribute in attributes:
            self.attributes.append(attribute)
            self.meanwhile.pop(attribute, lambda: None)()
            texts.append(super().read_each(directory, numbers, attribute))
        if links:
            texts.append(super().read_each(directory, numbers, links=links))
        return [text for block in zip(*texts, strict=True) for text in block]

    def names(self, directory: str) -> list[str]:
        self.listed.append(directory)
        return super().names(directory)


def remove(root: Path, number: int) -> None:
    """What a kernel does to the tree when a block is removed."""
    block = root / MEMORY / f"memory{number}"
    for name in os.listdir(block):
        (block / name).unlink()
    block.rmdir()
    (root / NODE / f"node0/memory{number}").unlink()


def test_a_machine_lists_its_blocks_with_all_they_tell(machines: Machines) -> None:
    blocks = list(Machine.at(machines("s390-mixed")).blocks())
    assert blocks[4] == MemoryBlock(
        number=4,
        state=State.ONLINE,
        removable=True,
        node=0,
        nodes=(0,),
        zones=(Zone.NONE,),
        configured=True,
        memmap_on_memory=False,
        phys_device=0,
    )
    assert blocks[-1] == MemoryBlock(
        number=27,
        state=State.OFFLINE,
        removable=False,
        node=None,
        nodes=None,
        zones=None,
        configured=False,
        memmap_on_memory=True,
        phys_device=None,
    )
    assert blocks[-1].status == "disabled"


def test_nothing_is_read_that_is_not_asked_for(machines: Machines) -> None:
    tree = Recording(machines("s390-mixed"))
    machine = Machine(tree)
    machine.read(())
    assert tree.attributes == []
    machine.read(("state", "zones"))
    assert tree.attributes == ["state", "valid_zones"]
    machine.read(("configured",))
    assert tree.attributes == ["state", "valid_zones", "config"]
    assert str(NODE) not in tree.listed
    machine.read(("node",))
    assert str(NODE) in tree.listed


@pytest.mark.parametrize(
    ("wanted", "there"), [(None, [0, 1, 3, 4]), ([1, 2, 3], [1, 3]), ([2], [])]
)
def test_a_block_that_vanishes_while_it_is_read_is_absent(
    wanted: list[int] | None, there: list[int], tmp_path: Path
) -> None:
    tree = Recording(
        static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 4]}]})
    )
    tree.meanwhile["removable"] = lambda: remove(tmp_path, 2)
    table = Machine(tree).read(numbers=wanted)
    assert table.numbers == there
    assert all(block.removable for block in table.blocks())
    assert table.remarks == ()


def test_memory_that_vanishes_as_a_whole_while_it_is_read_is_told(tmp_path: Path) -> None:
    tree = Recording(static_tree.make(tmp_path, S390))
    tree.meanwhile["state"] = lambda: shutil.rmtree(tmp_path / MEMORY)
    with pytest.raises(NoMemoryTreeError) as caught:
        Machine(tree).blocks()
    assert (caught.value.root, caught.value.errno) == (str(tmp_path), errno.ENOENT)


def test_a_block_that_is_deconfigured_while_it_is_read_is_so(tmp_path: Path) -> None:
    static_tree.make(tmp_path, S390)

    def deconfigure() -> None:
        remove(tmp_path, 1)
        static_tree.write(tmp_path / FIRMWARE / "memory1/config", "0")

    for attribute in ("state", "valid_zones", "config"):
        tree = Recording(tmp_path)
        tree.meanwhile[attribute] = deconfigure
        blocks = list(Machine(tree).blocks())
        assert [block.status for block in blocks] == ["online", "disabled", "disabled", "disabled"]
        assert blocks[1].zones is None
        assert blocks[1].node is None
        static_tree.make(tmp_path / "again", S390)
        tmp_path = tmp_path / "again"


@pytest.mark.parametrize("config", ["0", "1"])
@pytest.mark.parametrize(
    "attribute", ["state", "removable", "valid_zones", "phys_device", "config", "memmap_on_memory"]
)
def test_a_block_that_is_just_being_deconfigured_has_one_condition_in_all(
    attribute: str, config: str, tmp_path: Path
) -> None:
    """Its memoryN goes before `config` is 0."""
    static_tree.make(tmp_path, S390)
    tree = Recording(tmp_path)

    def deconfigure() -> None:
        remove(tmp_path, 1)
        static_tree.write(tmp_path / FIRMWARE / "memory1/config", config)

    tree.meanwhile[attribute] = deconfigure
    _, block, disabled, _ = Machine(tree).blocks()
    if attribute == "memmap_on_memory":
        # All else was read before.
        assert block.status == "online"
    elif (attribute, config) == ("config", "1"):
        assert (block.status, block.node) == ("online", 0)
    else:
        assert block._replace(number=2, memmap_on_memory=True) == disabled


def test_nodes_come_from_the_blocks_where_no_node_directory_tells(tmp_path: Path) -> None:
    static_tree.make(
        tmp_path,
        {
            "block_size": 1 << 27,
            "blocks": [{"range": [0, 0]}, {"range": [1, 1], "node": 12}],
        },
    )
    for node in (tmp_path / NODE).iterdir():
        for link in node.iterdir():
            link.unlink()
        node.rmdir()
    (tmp_path / MEMORY / "memory1/node3").symlink_to("../../node/node3")
    (tmp_path / MEMORY / "memory2").mkdir()
    nodes = [(block.node, block.nodes) for block in Machine.at(tmp_path).blocks(("node", "nodes"))]
    assert nodes == [(0, (0,)), (3, (3, 12)), (NUMA_NO_NODE, ())]


@pytest.mark.parametrize("linked", [0, 199])
def test_the_first_or_the_last_block_tells_that_blocks_have_nodes(
    linked: int, tmp_path: Path
) -> None:
    memory = static_tree.plain(tmp_path, ["online"] * 200) / MEMORY
    for number in (linked, 101):
        (memory / f"memory{number}/node1").symlink_to("../../node/node1")
    nodes = [block.node for block in Machine.at(tmp_path).blocks(("node",))]
    assert [number for number, node in enumerate(nodes) if node == 1] == sorted((linked, 101))
    assert nodes.count(NUMA_NO_NODE) == 198


@pytest.mark.parametrize(("blocks", "node"), [(200, None), (64, 1)])
def test_many_blocks_have_no_nodes_where_those_of_a_sample_have_none(
    blocks: int, node: int | None, tmp_path: Path
) -> None:
    memory = static_tree.plain(tmp_path, ["online"] * blocks) / MEMORY
    (memory / "memory1/node1").symlink_to("../../node/node1")
    found = [block.node for block in Machine.at(tmp_path).blocks(("node",))]
    assert found[1] == node
    assert found[0] == (None if node is None else NUMA_NO_NODE)


@pytest.mark.parametrize("most", [0, 1, 3, 4, 40])
def test_the_node_of_a_block_is_its_lowest_one_however_many_nodes_there_are(
    most: int, tmp_path: Path
) -> None:
    memory = static_tree.plain(tmp_path, ["online"] * 300) / MEMORY
    expected = []
    for number in range(300):
        # Between those of a sample, blocks have several nodes, or none, or one that none of it has.
        nodes = {
            0: {number // 4 % (most + 1)},
            1: {number % 11, number % 7, 12},
            2: {41},
            3: set[int](),
        }
        linked = nodes[number % 4]
        for node in linked:
            (memory / f"memory{number}/node{node}").symlink_to(f"../../node/node{node}")
        expected.append(min(linked, default=NUMA_NO_NODE))
    # Blocks below a directory that has just changed are read one by one.
    time.sleep(0.05)
    assert [block.node for block in Machine.at(tmp_path).blocks(("node",))] == expected
    blocks = [*Machine.at(tmp_path).blocks(("node", "nodes"))]
    assert [block.node for block in blocks] == expected
    assert blocks[1].nodes == (1, 12)


def test_a_block_of_several_nodes_leaves_the_others_theirs(tmp_path: Path) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 2], "node": 2}]})
    (tmp_path / NODE / "node3").mkdir()
    (tmp_path / NODE / "node3/memory1").symlink_to("../../memory/memory1")
    for number in range(3):
        (tmp_path / MEMORY / f"memory{number}/node2").unlink()
    nodes = [block.nodes for block in Machine.at(tmp_path).blocks(("nodes",))]
    assert nodes == [(2,), (2, 3), (2,)]


@pytest.mark.parametrize("side", [MEMORY, NODE])
def test_a_few_blocks_have_the_same_nodes_as_among_all(side: Path, tmp_path: Path) -> None:
    memory = static_tree.plain(tmp_path, ["online"] * 40) / MEMORY
    machine = Machine.at(tmp_path)
    assert machine.block(1).nodes is None
    (tmp_path / NODE / "node0").mkdir(parents=True)
    (tmp_path / NODE / "node0/memory99").touch()
    assert [block.nodes for block in machine.blocks(("nodes",))] == [None] * 40
    for number in range(40):
        for node in {2: (1, 0), 3: ()}.get(number, (0,)):
            (tmp_path / NODE / f"node{node}").mkdir(exist_ok=True)
            if side == MEMORY:
                (memory / f"memory{number}/node{node}").symlink_to(f"../../node/node{node}")
            else:
                (tmp_path / NODE / f"node{node}/memory{number}").touch()
    nodes = [block.nodes for block in machine.blocks(("nodes",))]
    assert nodes[:5] == [(0,), (0,), (0, 1), (), (0,)]
    assert [machine.block(number).nodes for number in range(40)] == nodes


def test_a_block_of_several_nodes_has_them_all_and_stands_on_the_lowest(tmp_path: Path) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 1], "node": 2}]})
    for node in (10, 1):
        (tmp_path / NODE / f"node{node}").mkdir()
        (tmp_path / NODE / f"node{node}/memory1").symlink_to("../../memory/memory1")
        (tmp_path / MEMORY / f"memory1/node{node}").symlink_to(f"../../node/node{node}")
    assert [block.node for block in Machine.at(tmp_path).blocks(("node",))] == [2, 1]
    assert [block.nodes for block in Machine.at(tmp_path).blocks(("nodes",))] == [(2,), (1, 2, 10)]
    (few,) = Machine.at(tmp_path).read(("nodes",), {1}).blocks()
    assert few.nodes == (1, 2, 10)
    # The same where the blocks' own links alone tell.
    shutil.rmtree(tmp_path / NODE)
    assert [block.node for block in Machine.at(tmp_path).blocks(("node",))] == [2, 1]
    assert [block.nodes for block in Machine.at(tmp_path).blocks(("nodes",))] == [(2,), (1, 2, 10)]
    (few,) = Machine.at(tmp_path).read(("nodes",), {1}).blocks()
    assert few.nodes == (1, 2, 10)


@pytest.mark.parametrize("firmware", [False, True])
def test_a_block_that_is_gone_is_offline_only_where_blocks_are_configured(
    firmware: bool, tmp_path: Path
) -> None:
    description = {**S390, "firmware": firmware, "blocks": [{"range": [0, 1]}]}
    machine = Machine.at(static_tree.make(tmp_path, description))
    assert machine.block(1).state is State.ONLINE
    remove(tmp_path, 1)
    assert machine.block_now(1).state is (State.OFFLINE if firmware else State.UNKNOWN)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "nothing"), ("z" * 50, "z" * 50), ("z" * 51, "z" * 40 + "..."), ("0", "0")],
)
def test_a_block_size_that_is_none_is_shown_up_to_its_fiftieth_character(
    text: str, shown: str, tmp_path: Path
) -> None:
    static_tree.make(tmp_path, S390)
    static_tree.write(tmp_path / MEMORY / "block_size_bytes", text)
    with pytest.raises(BadBlockSizeError) as caught:
        Machine.at(tmp_path)
    assert caught.value.found == shown


def test_a_block_beyond_all_addresses_is_left_out_and_told(tmp_path: Path) -> None:
    static_tree.make(tmp_path, S390)
    (tmp_path / FIRMWARE / f"memory{1 << 36}").mkdir()
    table = Machine.at(tmp_path).read()
    assert table.numbers == [0, 1, 2, 3]
    assert table.remarks == (Remark(RemarkKind.IMPOSSIBLE_NUMBER, (1 << 36,)),)


def test_an_attribute_is_read_to_its_end_however_long(tmp_path: Path) -> None:
    static_tree.make(tmp_path, S390)
    words = ["DMA"] * 64 + ["Movable"]
    static_tree.write(tmp_path / MEMORY / "memory0/valid_zones", " ".join(words))
    first, *_ = Machine.at(tmp_path).blocks(("zones",))
    assert first.zones == (Zone.DMA,) * 64 + (Zone.MOVABLE,)


def test_a_machine_can_be_read_again(tmp_path: Path) -> None:
    static_tree.make(tmp_path, S390)
    machine = Machine.at(tmp_path)
    before = list(machine.blocks())
    static_tree.write(tmp_path / MEMORY / "memory1/state", "offline")
    after = list(machine.blocks())
    assert (before[1].state, after[1].state) == (State.ONLINE, State.OFFLINE)


# Writing


def test_a_word_takes_the_place_of_what_a_file_held(tmp_path: Path) -> None:
    static_tree.make(tmp_path, S390)
    tree = FileTree(str(tmp_path))
    tree.write(f"{MEMORY}/memory0/state", "online")
    tree.write(f"{MEMORY}/memory1/state", "offline")
    assert (tmp_path / MEMORY / "memory0/state").read_bytes() == b"online"
    assert (tmp_path / MEMORY / "memory1/state").read_bytes() == b"offline"


@pytest.mark.parametrize(
    ("mode", "read_only", "number"),
    [
        (0o644, False, None),
        (0o444, False, errno.EACCES),
        (0o444, True, errno.EROFS),
        (0o644, True, None),
    ],
)
def test_why_an_attribute_cannot_be_written_is_known_before(
    mode: int,
    read_only: bool,
    number: int | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    static_tree.make(tmp_path, S390)
    path = f"{MEMORY}/memory0/state"
    (tmp_path / path).chmod(mode)
    flag = os.ST_RDONLY if read_only else 0
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_flag=flag | os.ST_NOSUID))
    refused = FileTree(str(tmp_path)).refusal(path)
    assert (refused.errno if refused else None) == number
    if refused:
        assert (refused.filename, refused.strerror) == (path, os.strerror(number or 0))
    missing = FileTree(str(tmp_path)).refusal(f"{MEMORY}/memory0/nothing")
    assert missing is not None and missing.errno == errno.ENOENT


def test_half_a_word_is_an_error_that_names_the_attribute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    static_tree.make(tmp_path, S390)
    tree, path = FileTree(str(tmp_path)), f"{MEMORY}/memory0/state"
    monkeypatch.setattr(os, "write", lambda _file, data: len(data) - 1)
    with pytest.raises(OSError) as caught:
        tree.write(path, "offline")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, path)


@pytest.mark.parametrize(
    "link", [MEMORY / "memory0/state", MEMORY / "memory0", MEMORY, MEMORY.parent]
)
def test_no_write_follows_a_symbolic_link_out_of_the_tree(link: Path, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    static_tree.make(root, S390)
    (root / link).rename(outside)
    (root / link).symlink_to(outside)
    with pytest.raises(OSError):
        FileTree(str(root)).write(f"{MEMORY}/memory0/state", "offline")
    (root / link).unlink()
    outside.rename(root / link)
    assert Machine.at(root).read(("state",)).columns["state"][0] is State.ONLINE


@pytest.mark.parametrize("link", [MEMORY, MEMORY.parent])
def test_a_directory_that_is_replaced_between_two_writes_is_not_written_to(
    link: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    static_tree.make(root, S390)
    tree, path = FileTree(str(root)), f"{MEMORY}/memory0/state"
    # As if something were mounted over this machine's own.
    monkeypatch.setattr(tree, "is_this_machine", True)
    tree.write(path, "offline")
    (root / link).rename(outside)
    shutil.copytree(outside, root / link, symlinks=True)
    tree.write(path, "online_kernel")
    state = outside / MEMORY.relative_to(link) / "memory0/state"
    assert (root / path).read_text().strip() == "online_kernel"
    assert state.read_text().startswith("offline")
    (root / MEMORY).rename(tmp_path / "another")
    (root / MEMORY).symlink_to(outside / MEMORY.relative_to(link))
    with pytest.raises(OSError):
        tree.write(path, "online")
    assert state.read_text().startswith("offline")


def test_what_stays_open_for_the_next_write_is_closed_with_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static_tree.make(tmp_path, S390)
    before = os.listdir("/proc/self/fd")
    with FileTree(str(tmp_path)) as tree:
        monkeypatch.setattr(tree, "is_this_machine", True)
        tree.write(f"{MEMORY}/memory0/state", "offline")
        tree.write(f"{MEMORY}/memory1/state", "offline")
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
    assert os.listdir("/proc/self/fd") == before
    root = os.open(tmp_path, os.O_RDONLY)
    # It has the number that the tree's had.
    with pytest.raises(OSError, match="Bad file descriptor"):
        tree.write(f"{MEMORY}/memory0/state", "online")
    os.close(root)


def test_a_write_makes_no_file_that_was_not_there(tmp_path: Path) -> None:
    static_tree.make(tmp_path, S390)
    with pytest.raises(FileNotFoundError):
        FileTree(str(tmp_path)).write(f"{MEMORY}/memory0/status", "offline")
    assert not (tmp_path / MEMORY / "memory0/status").exists()


def test_a_machine_in_memory_takes_the_time_that_a_transition_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    description = {**S390, "delays": {"offline": {"1": 7}}}
    machine = Machine(KernelTree(boot(description)))
    machine.tree.write(f"{MEMORY}/memory0/state", "offline")
    assert slept == []
    machine.tree.write(f"{MEMORY}/memory1/state", "offline")
    assert slept == [7]
    states = [block.state for block in machine.blocks(("state",))]
    assert states == [State.OFFLINE] * 4


# shutil.rmtree() leaves it to Python where the signal comes before its `with`.
@pytest.mark.filterwarnings("ignore:unclosed scandir iterator:ResourceWarning")
def test_a_signal_in_the_middle_of_a_simulated_write_leaves_no_half_of_it(tmp_path: Path) -> None:
    class Interrupted(BaseException):
        """What a handler raises."""

    def handler(calls: int) -> Callable[[FrameType, str, object], None]:
        """For sys.setprofile: raises after so many system calls."""
        left = iter(range(calls))

        def count(_: FrameType, event: str, function: object) -> None:
            system_call = getattr(function, "__module__", "") == "posix"
            if system_call and event == "c_return" and next(left, None) is None:
                raise Interrupted

        return count

    conditions = []
    for calls in range(1000):
        root = tmp_path / str(calls)
        directory.create(root, boot(S390))
        tree = Machine.at(root).tree
        try:
            sys.setprofile(handler(calls))
            tree.write(f"{FIRMWARE}/memory2/config", "1")
        except Interrupted:
            conditions.append((root / MEMORY / "memory2").exists())
        else:
            break
        finally:
            sys.setprofile(None)
        # The files first: to look at the kernel completes what was left undone.
        seen = tree_at(root)
        assert seen == tree_of(directory.Directory(root).kernel()), calls
    assert sorted(conditions) == conditions
    assert set(conditions) == {False, True}


def test_an_archive_is_read_as_the_tree_in_it(machines: Machines, tmp_path: Path) -> None:
    archive = tmp_path / "case.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(machines("s390-mixed"), "case")
    assert list(Machine.at(archive).blocks()) == list(Machine.at(machines("s390-mixed")).blocks())
    with pytest.raises(OSError, match="Read-only file system"):
        Machine.at(archive).tree.write(f"{MEMORY}/memory0/state", "offline")


def test_a_file_that_is_no_archive_has_no_memory_blocks(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0\n")
    with pytest.raises(MemoryHotplugError, match="not an archive, or a damaged one"):
        Machine.at(tmp_path / "passwd")
