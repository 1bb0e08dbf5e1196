"""The library by its front door: what it offers, and that all that it raises is its own."""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import memory_hotplug
import static_tree
from memory_hotplug import (
    NOT_READ,
    Attribute,
    BadMachineError,
    Machine,
    MemoryBlock,
    MemoryHotplugError,
    NoBlocksError,
    NoMemoryTreeError,
    NoSuchBlockError,
    NotReadError,
    State,
    UnknownNameError,
    parse_size,
)
from memsim.directory import PRIVATE
from static_tree import FIRMWARE, MEMORY, NODE

MODULES = sorted(Path(memory_hotplug.__file__).parent.glob("*.py"))


def test_everything_that_is_offered_is_there() -> None:
    for name in memory_hotplug.__all__:
        assert getattr(memory_hotplug, name) is not None
    assert set(dir(memory_hotplug)) < set(memory_hotplug.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Sate'"):
        memory_hotplug.Sate  # noqa: B018  # to be asked for is all


def test_mypy_is_shown_what_is_offered() -> None:
    shown = {
        alias.name
        for node in ast.walk(ast.parse(Path(memory_hotplug.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module != "importlib"
        for alias in node.names
    }
    assert shown - {"TYPE_CHECKING"} == set(memory_hotplug.__all__)


def test_all_errors_are_offered() -> None:
    from memory_hotplug import errors

    raised = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert raised <= set(memory_hotplug.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_says_what_it_offers(path: Path) -> None:
    name = "memory_hotplug" if path.stem == "__init__" else f"memory_hotplug.{path.stem}"
    module = __import__(name, fromlist=["*"])
    offered = set(module.__all__)
    defined = {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    assert defined <= offered
    assert all(hasattr(module, one) for one in offered)


def test_to_read_a_machine_nothing_is_loaded_that_changes_one() -> None:
    script = (
        "import sys, memory_hotplug as m; m.Machine.at('/proc/self') if 0 else m.Machine;"
        "print(*(n for n in sys.modules if n.startswith(('memory_hotplug.', 'memsim'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    loaded = {name.removeprefix("memory_hotplug.") for name in done.stdout.split()}
    assert "machine" in loaded
    assert not loaded & {"archive", "plan", "rehearsal", "simulated", "transaction", "uevents"}
    assert not any(name.startswith("memsim") for name in loaded)


# What was not read


def test_what_was_not_read_is_neither_true_nor_false() -> None:
    block = MemoryBlock(3, State.ONLINE)
    assert repr(block.configured) == "NOT_READ"
    assert block.configured is NOT_READ
    with pytest.raises(
        TypeError, match=r"^an attribute that was not read is neither true nor false$"
    ):
        bool(block.configured)


@pytest.mark.parametrize(
    "block", [MemoryBlock(3), MemoryBlock(3, State.OFFLINE), MemoryBlock(3, configured=True)]
)
def test_a_status_of_what_was_not_read_is_refused(block: MemoryBlock) -> None:
    with pytest.raises(
        TypeError, match=r"^a status needs the state and whether the block is configured$"
    ):
        assert block.status


@pytest.fixture
def s390(tmp_path: Path) -> Path:
    """A static tree of two blocks and two that are not configured."""
    return static_tree.make(
        tmp_path / "s390",
        {
            "block_size": 1 << 28,
            "firmware": True,
            "blocks": [{"range": [0, 1]}, {"range": [2, 3], "config": 0}],
        },
    )


def test_attributes_are_read_or_not_and_none_means_what_the_kernel_says(s390: Path) -> None:
    with Machine.at(s390) as machine:
        first, *_, last = machine.blocks(["state", "zones"])
        assert (last.state, last.zones) == (State.OFFLINE, None)
        assert (first.node, first.removable, first.configured) == (NOT_READ,) * 3
        table = machine.read(["node"])
    with pytest.raises(NotReadError, match="state of the memory blocks must be read"):
        table.total(online=True)
    with pytest.raises(NotReadError, match="zones"):
        table.ranges(["node", "zones"])


# Errors


def nothing(root: Path) -> None:
    for name in os.listdir(root / MEMORY):
        if name.startswith("memory"):
            (root / MEMORY / name).rename(root / name)


WRONG: dict[str, tuple[Callable[[Path], object], type[MemoryHotplugError]]] = {
    "no such root": (lambda root: Machine.at(root / "no"), NoMemoryTreeError),
    "a root with a NUL": (lambda root: Machine.at("a\0b"), NoMemoryTreeError),
    "a root of bytes": (lambda root: Machine.at(os.fsencode(root / "no")), NoMemoryTreeError),  # type: ignore[arg-type]  # whoever does not check
    "a file as a root": (lambda root: Machine.at(__file__), NoMemoryTreeError),
    "a device as a root": (lambda root: Machine.at("/dev/null"), NoMemoryTreeError),
    "no profile": (lambda root: Machine.simulated("nix"), BadMachineError),
    "no machine file": (lambda root: Machine.simulated("/no/machine.json"), BadMachineError),
    "a machine file with a NUL": (lambda root: Machine.simulated("a\0b/x.json"), BadMachineError),
    "a directory as a machine file": (lambda root: Machine.simulated(root), BadMachineError),
    "another file": (lambda root: Machine.simulated(Path(__file__)), BadMachineError),
    "blocks": (lambda root: Machine.at(root).blocks(["sate"]), UnknownNameError),
    "ranges": (lambda root: Machine.at(root).ranges(["sate"]), UnknownNameError),
    "read": (lambda root: Machine.at(root).read(["stat"]), UnknownNameError),
    "table": (lambda root: Machine.at(root).read().ranges(["size"]), UnknownNameError),
    "parameter": (lambda root: Machine.at(root).parameter("memmap"), UnknownNameError),
    "block": (lambda root: Machine.at(root).block(4), NoSuchBlockError),
    "block below 0": (lambda root: Machine.at(root).block(-1), NoSuchBlockError),
    "numbers": (lambda root: Machine.at(root).read(["state"], [1, 9]), NoSuchBlockError),
    "many numbers": (lambda root: Machine.at(root).read([], range(99)), NoSuchBlockError),
    "a size": (lambda root: parse_size("1q"), MemoryHotplugError),
}


@pytest.mark.parametrize("case", WRONG)
def test_everything_that_is_raised_is_the_librarys(case: str, s390: Path) -> None:
    how, error = WRONG[case]
    with pytest.raises(error) as caught:
        how(s390)
    said = str(caught.value)
    assert said
    assert "\n" not in said
    assert "Error" not in said


def test_a_tree_without_blocks_is_refused_by_all_that_read(s390: Path) -> None:
    nothing(s390)
    (s390 / FIRMWARE).rename(s390 / "firmware")
    machine = Machine.at(s390)
    for how in (machine.read, machine.blocks, machine.ranges):
        with pytest.raises(NoBlocksError) as caught:
            how()
        assert (caught.value.root, caught.value.is_this_machine) == (str(s390), False)
    machine.tree.is_this_machine = True
    with pytest.raises(NoBlocksError) as caught:
        machine.read()
    assert caught.value.is_this_machine is True
    assert machine.read([], []).numbers == []


@pytest.mark.parametrize("directory", [MEMORY, FIRMWARE])
def test_a_tree_that_goes_while_it_is_read_is_an_error_of_the_library(
    directory: Path, s390: Path
) -> None:
    machine = Machine.at(s390)
    assert machine.configurable
    (s390 / directory).rename(s390 / "elsewhere")
    with pytest.raises(MemoryHotplugError, match=f"cannot .* ?/{directory}.*No such file"):
        machine.read(["state", "configured"])


def test_a_closed_machine_is_not_read(s390: Path) -> None:
    with Machine.at(s390) as machine:
        assert machine.read(["state"]).numbers == [0, 1, 2, 3]
    machine.close()
    with pytest.raises(MemoryHotplugError):
        machine.read(["state"])


def test_a_machine_leaves_nothing_open(s390: Path, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for root in (s390, Path("/"), tmp_path):
        try:
            with Machine.at(root) as machine:
                list(machine.blocks())
                machine.tree.refusal(f"{MEMORY}/memory0/state")
        except MemoryHotplugError:
            assert root != s390
    assert os.listdir("/proc/self/fd") == before


# One block, some blocks


def test_some_blocks_are_read_as_they_are_among_all(s390: Path) -> None:
    with Machine.at(s390) as machine:
        all_of_them = {block.number: block for block in machine.blocks()}
        for number, block in all_of_them.items():
            assert machine.block(number) == block
            assert list(machine.read(Attribute, [number]).blocks()) == [block]
        assert list(machine.read(numbers=[3, 0]).blocks()) == [all_of_them[0], all_of_them[3]]
        assert machine.block(1, ["state"]) == MemoryBlock(1, State.ONLINE)


def test_a_few_blocks_are_read_without_listing_all(tmp_path: Path) -> None:
    blocks = [{"range": [0, 39], "node": 1}, {"range": [40, 40], "has_node": False}]
    root = static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": blocks})
    machine = Machine.at(root)
    some = [7, 39, 40]
    expected = [block for block in machine.blocks() if block.number in some]
    assert [block.node for block in expected] == [1, 1, -1]
    listed: list[str] = []

    def names(directory: str, names: Callable[[str], list[str]] = machine.tree.names) -> list[str]:
        listed.append(directory)
        return names(directory)

    machine.tree.names = names  # type: ignore[method-assign]  # to see what is listed
    assert list(machine.read(numbers=some).blocks()) == expected
    assert str(MEMORY) not in listed
    assert list(machine.read(numbers=range(41)).blocks())[40] == expected[2]


def test_a_block_that_went_is_unknown_to_whoever_had_it(tmp_path: Path) -> None:
    root = static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 2]}]})
    machine = Machine.at(root)
    (root / MEMORY / "memory1").rename(root / "memory1")
    assert machine.block_now(1).state is State.UNKNOWN
    with pytest.raises(NoSuchBlockError, match="memory block 1 is not on this machine"):
        machine.block(1)


def test_ranges_read_what_the_split_needs(s390: Path) -> None:
    ranges = list(Machine.at(s390).ranges(["configured"]))
    assert [(found.first, found.last) for found in ranges] == [(0, 1), (2, 3)]
    assert ranges[0].block == MemoryBlock(0, configured=True)


# Which machine


@pytest.mark.parametrize("root", ["/", "//", "/.", "/proc/..", "link"])
def test_this_machine_is_known_by_what_it_is(root: str, tmp_path: Path) -> None:
    from memory_hotplug.machine import open_tree

    (tmp_path / "link").symlink_to("/")
    tree = open_tree(root if root != "link" else str(tmp_path / "link"))
    assert tree.is_this_machine
    tree.close()


def test_no_other_machine_is_this_one(s390: Path, tmp_path: Path) -> None:
    import tarfile

    archive = tmp_path / "case.tar"
    with tarfile.open(archive, "w") as file:
        file.add(s390, "case")
    trees = [Machine.at(root).tree for root in (s390, archive)]
    trees.append(Machine.simulated("s390-lpar").tree)
    assert [tree.is_this_machine for tree in trees] == [False] * 3


def test_the_mark_of_a_simulated_machine_is_memsims() -> None:
    from memory_hotplug.trees import MARK

    assert MARK == PRIVATE


def test_an_error_about_this_machine_names_no_root() -> None:
    missing = FileNotFoundError(2, "No such file or directory")
    here = NoMemoryTreeError("/", missing, is_this_machine=True)
    assert str(here) == "cannot open /sys/devices/system/memory: No such file or directory"
    there = NoMemoryTreeError("/tmp/x", missing)
    assert "/sys/devices/system/memory below /tmp/x: " in str(there)
    assert str(NoBlocksError("/tmp/x")).count("below /tmp/x") == 1
    assert "below" not in str(NoBlocksError("/", is_this_machine=True))


def test_a_simulated_machine_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadMachineError, match=f"{tmp_path}: .*directory"):
        Machine.simulated(tmp_path)
    with pytest.raises(BadMachineError, match="no-such-profile"):
        Machine.simulated("no-such-profile")


def test_a_node_that_comes_is_seen(s390: Path) -> None:
    with Machine.at(s390) as machine:
        before = machine.nodes
        (s390 / NODE / "node7").mkdir()
        assert (before, machine.nodes) == ((0,), (0, 7))


def test_the_version_is_that_of_the_distribution() -> None:
    assert memory_hotplug.__version__ == version("memory-hotplug-tools")
