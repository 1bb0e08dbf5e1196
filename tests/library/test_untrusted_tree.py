"""A tree that somebody else made: nothing outside it is read or written, and nothing waits."""

import errno
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import static_tree
from commands import start_python
from memory_hotplug import Attribute, Machine, MemoryHotplugError, State
from memory_hotplug.attribute import AUTO_ONLINE_BLOCKS, BLOCK_SIZE, TABLE, path_of
from memory_hotplug.table import Remark, RemarkKind
from memory_hotplug.trees.files import FileTree
from memory_hotplug.trees.many import Links
from static_tree import FIRMWARE, MEMORY, NODE, PARAMETERS

PARAMETER_NAMES = [row.file for name, row in TABLE.items() if name.startswith("parameters/")]
OF_BLOCKS = [name for name in Attribute if name not in (Attribute.NODE, Attribute.NODES)]
ATTRIBUTES = [path_of(name, 1 if row.of_block else None) for name, row in TABLE.items()]
ATTRIBUTES.remove(path_of(Attribute.NODE, 1))
WRITTEN = [path_of(name, 1) for name in ("state", "configured", "memmap_on_memory")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with every attribute there is; of blocks 0 to 3, all are configured."""
    made = static_tree.make(
        tmp_path / "root",
        {
            "block_size": 1 << 28,
            "firmware": True,
            "memmap_param": "Y",
            "blocks": [{"range": [0, 3]}],
        },
    )
    for path in ATTRIBUTES:
        if not (made / path).exists():
            static_tree.write(made / path, "online" if path.endswith("blocks") else "1")
    (tmp_path / "outside").mkdir()
    return made


@pytest.fixture
def outside(root: Path) -> Path:
    return root.with_name("outside")


Replace = Callable[[Path, Path], None]


def by_link(path: Path, outside: Path) -> None:
    path.rename(outside / "there")
    path.symlink_to(outside / "there")


def by_relative_link(path: Path, outside: Path) -> None:
    path.rename(outside / "there")
    path.symlink_to(os.path.relpath(outside / "there", path.parent))


def by_links_that_go_round(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def by_fifo(path: Path, outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


OPEN: list[int] = []
"""Descriptors to be closed when the test is over: a FIFO that nobody has open is empty."""


def by_fifo_with_a_writer(path: Path, outside: Path) -> None:
    text = path.read_bytes()
    by_fifo(path, outside)
    kept = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(kept, text)
    OPEN.append(kept)


def by_socket(path: Path, outside: Path) -> None:
    path.unlink()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def by_directory(path: Path, outside: Path) -> None:
    path.unlink()
    path.mkdir()


def by_device(major: int, minor: int, kind: int = stat.S_IFCHR) -> Replace:
    def replace(path: Path, outside: Path) -> None:
        path.unlink()
        os.mknod(path, 0o666 | kind, os.makedev(major, minor))

    return replace


LEADS_OUT = "a symbolic link leads out of the tree"
REPLACED: dict[str, tuple[Replace, str]] = {
    "link": (by_link, LEADS_OUT),
    "relative link": (by_relative_link, LEADS_OUT),
    "links that go round": (by_links_that_go_round, "Too many levels of symbolic links"),
    "FIFO": (by_fifo, "a FIFO, not a regular file"),
    "FIFO with a writer": (by_fifo_with_a_writer, "a FIFO, not a regular file"),
    "socket": (by_socket, "a socket, not a regular file"),
    "directory": (by_directory, "a directory, not a regular file"),
    "/dev/null": (by_device(1, 3), "a character device, not a regular file"),
    "/dev/zero": (by_device(1, 5), "a character device, not a regular file"),
    "/dev/urandom": (by_device(1, 9), "a character device, not a regular file"),
    "/dev/kmsg": (by_device(1, 11), "a character device, not a regular file"),
    "/dev/tty": (by_device(5, 0), "a character device, not a regular file"),
    "block device": (by_device(7, 99, stat.S_IFBLK), "a block device, not a regular file"),
}


ROOTS_ALONE = {name for name, (_, reason) in REPLACED.items() if "device" in reason}


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.needs("root") if name in ROOTS_ALONE else ())
        for name in REPLACED
    ]
)
def replaced(request: pytest.FixtureRequest) -> tuple[Replace, str]:
    return REPLACED[request.param]


@pytest.fixture(autouse=True)
def where_we_were() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)
    while OPEN:
        os.close(OPEN.pop())


# Reading


@pytest.mark.parametrize("path", ATTRIBUTES)
def test_what_is_no_file_of_the_tree_is_not_read(
    path: str, replaced: tuple[Replace, str], root: Path, outside: Path
) -> None:
    replace, reason = replaced
    replace(root / path, outside)
    with FileTree(str(root)) as tree, pytest.raises(OSError) as caught:
        tree.read(path)
    assert caught.value.strerror in (reason, "No such device or address")
    assert str(caught.value.filename).endswith(str(path))


@pytest.mark.parametrize("name", OF_BLOCKS)
def test_an_attribute_that_is_no_file_of_the_tree_is_unknown_with_a_remark(
    name: Attribute, replaced: tuple[Replace, str], root: Path, outside: Path
) -> None:
    replace, reason = replaced
    replace(root / path_of(name, 1), outside)
    settle()
    with Machine.at(root) as machine:
        table = machine.read([name])
        assert table.columns[name][1] is TABLE[name].unreadable
        assert table.columns[name][0] == table.columns[name][2]
        assert table.columns[name][0] is not TABLE[name].unreadable
        (remark,) = table.remarks
        assert remark[:3] == (RemarkKind.UNREADABLE, (1,), name)
        assert remark.reason in (reason, "No such device or address")
        # One block by itself is read no other way.
        assert machine.read([name], [1]).remarks == table.remarks


@pytest.mark.parametrize("name", [AUTO_ONLINE_BLOCKS, BLOCK_SIZE, *PARAMETER_NAMES])
def test_a_setting_that_is_no_file_of_the_tree_is_refused_by_name(
    name: str, replaced: tuple[Replace, str], root: Path, outside: Path
) -> None:
    replace, reason = replaced
    path = str(PARAMETERS / name) if name in PARAMETER_NAMES else path_of(name)
    replace(root / path, outside)
    with pytest.raises(MemoryHotplugError, match=f"cannot read /{path}: ({reason}|No such dev)"):
        machine = Machine.at(root)
        print(machine.auto_online_blocks, machine.parameter(name))


def directories(path: Path) -> list[Path]:
    return [path, *path.parents][:-1]


@pytest.mark.parametrize(
    "directory", [*directories(MEMORY), MEMORY / "memory1"], ids=lambda path: path.name
)
@pytest.mark.parametrize("replace", [by_link, by_relative_link])
@pytest.mark.parametrize("settled", [True, False])
def test_no_link_in_place_of_a_directory_is_followed_out_of_the_tree(
    directory: Path, replace: Replace, settled: bool, root: Path, outside: Path
) -> None:
    replace(root / directory, outside)
    if settled:
        settle()
    if directory.name == "memory1":
        # The next one to read it makes this the time of access (fs/inode.c, relatime_need_update).
        os.utime(outside / "there/state", ns=(1, 2))
        table = Machine.at(root).read(OF_BLOCKS[:4])
        assert table.columns["state"] == [State.ONLINE, State.UNKNOWN, State.ONLINE, State.ONLINE]
        assert {remark.blocks for remark in table.remarks} == {(1,)}
        assert {remark.reason for remark in table.remarks} == {LEADS_OUT}
        assert (outside / "there/state").stat().st_atime_ns == 1
        (outside / "there/state").read_bytes()
        assert (outside / "there/state").stat().st_atime_ns > 1, "mounted without times of access"
    else:
        with pytest.raises(MemoryHotplugError, match=LEADS_OUT):
            Machine.at(root)


@pytest.mark.parametrize("directory", [FIRMWARE, FIRMWARE / "memory1"], ids=lambda path: path.name)
def test_no_link_in_place_of_the_firmwares_directory_is_followed_out(
    directory: Path, root: Path, outside: Path
) -> None:
    by_link(root / directory, outside)
    machine = Machine.at(root)
    if directory == FIRMWARE:
        with pytest.raises(MemoryHotplugError, match=f"cannot .*/{FIRMWARE}: {LEADS_OUT}"):
            machine.read(["state"])
    else:
        table = machine.read(["configured"])
        assert table.columns["configured"] == [True, None, True, True]
        assert table.remarks == (
            Remark(RemarkKind.UNREADABLE, (1,), Attribute.CONFIGURED, LEADS_OUT),
        )


@pytest.mark.parametrize("directory", [NODE, NODE / "node0"], ids=lambda path: path.name)
def test_no_link_in_place_of_a_nodes_directory_is_followed_out(
    directory: Path, root: Path, outside: Path
) -> None:
    by_link(root / directory, outside)
    # The blocks' own links still tell.
    table = Machine.at(root).read(["node"])
    assert table.columns["node"] == [0] * 4
    assert table.remarks == (Remark(RemarkKind.UNREADABLE, (), Attribute.NODE, LEADS_OUT),)


def test_an_attribute_is_no_longer_than_a_page(root: Path) -> None:
    for path, length in (("sys/long", 4096), ("proc/long", 5000)):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"x" * 5000)
        with FileTree(str(root)) as tree:
            assert len(tree.read(path)) == length


def test_attributes_of_many_blocks_that_begin_alike_are_read_to_their_ends(root: Path) -> None:
    texts = [b"x" * 200, b"x" * 128, b"x" * 127 + b"y" * 2, b"x" * 200 + b"y"]
    for number, text in enumerate(texts):
        (root / MEMORY / f"memory{number}/state").write_bytes(text)
    settle()
    with FileTree(str(root)) as tree:
        assert tree.read_each(str(MEMORY), range(4), "state") == texts


def test_links_that_stay_in_the_tree_are_followed(root: Path) -> None:
    expected = list(Machine.at(root).blocks())
    (root / MEMORY / "memory1").rename(root / "sys/elsewhere")
    (root / MEMORY / "memory1").symlink_to("../../../elsewhere")
    (root / MEMORY / "memory2/state").rename(root / "sys/state")
    (root / MEMORY / "memory2/state").symlink_to("../../../../../sys/./state")
    (root / FIRMWARE).rename(root / "sys/firm")
    (root / FIRMWARE).symlink_to(root / "sys/firm")
    (root / NODE).rename(root / "sys/nodes")
    (root / NODE).symlink_to("../../nodes/")
    settle()
    with Machine.at(root) as machine:
        assert list(machine.blocks()) == expected
        assert machine.block(1) == expected[1]


def test_a_root_that_is_a_link_is_the_users_own_choice(root: Path) -> None:
    root.with_name("link").symlink_to(root)
    assert len(Machine.at(root.with_name("link")).read(["state"]).numbers) == 4


# Directories that change while they are read


def settle() -> None:
    """Let the file system's clock go on, after which an unchanged directory is known to be so."""
    time.sleep(0.02)


@pytest.mark.parametrize("settled", [True, False])
def test_a_directory_that_became_a_link_after_the_listing_is_not_followed(
    settled: bool, root: Path, outside: Path
) -> None:
    static_tree.write(outside / "memory/state", "going-offline")
    settle()
    with FileTree(str(root)) as tree:
        assert "memory1" in tree.names(str(MEMORY))
        assert len(tree.read_each(str(MEMORY), range(4), "state")) == 4
        if settled:
            settle()
        (root / MEMORY / "memory1").rename(root / "before")
        (root / MEMORY / "memory1").symlink_to(outside / "memory")
        texts = tree.read_each(str(MEMORY), range(4), "state")
    assert texts[0] == texts[2] == texts[3] == b"online\n"
    assert isinstance(texts[1], OSError)
    assert texts[1].strerror == LEADS_OUT


@pytest.mark.parametrize("enough", [[], ["node7"]])
def test_a_block_that_became_a_link_after_the_listing_has_no_nodes_from_there(
    enough: list[str], root: Path, outside: Path
) -> None:
    (outside / "memory/node7").mkdir(parents=True)
    settle()
    with FileTree(str(root)) as tree:
        assert "memory1" in tree.names(str(MEMORY))
        (root / MEMORY / "memory1").rename(root / "before")
        (root / MEMORY / "memory1").symlink_to(outside / "memory")
        names = tree.read_each(str(MEMORY), range(3), links=Links("node", enough))
    assert names[0] == names[2] == b"node0"
    assert isinstance(names[1], OSError)
    assert names[1].strerror == LEADS_OUT


def test_a_directory_that_becomes_a_link_while_blocks_are_read_is_not_followed(
    root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static_tree.write(outside / "memory/state", "going-offline")
    settle()

    def swap(file: int, size: int, offset: int, read: Callable[..., bytes] = os.pread) -> bytes:
        if not (root / "before").exists():
            (root / MEMORY / "memory1").rename(root / "before")
            (root / MEMORY / "memory1").symlink_to(outside / "memory")
        return read(file, size, offset)

    with FileTree(str(root)) as tree:
        tree.names(str(MEMORY))
        monkeypatch.setattr(os, "pread", swap)
        texts = tree.read_each(str(MEMORY), range(4), "state")
    assert texts[0] == texts[2] == texts[3] == b"online\n"
    assert isinstance(texts[1], OSError)
    assert texts[1].strerror == LEADS_OUT


KEEP_SWAPPING = """
import os, random, sys, time
directory, link, spare = sys.argv[1:]
print("begun", flush=True)
while True:
    time.sleep(random.choice([0, 0.0005]))
    os.rename(directory, spare)
    os.rename(link, directory)
    time.sleep(random.choice([0, 0.0005]))
    os.rename(directory, link)
    os.rename(spare, directory)
"""
"""Has a directory be a link out of the tree every other moment."""


@pytest.fixture(params=[MEMORY / "memory1", MEMORY], ids=lambda path: path.name)
def swapped(request: pytest.FixtureRequest, root: Path, outside: Path) -> Iterator[Path]:
    """A file outside, in place of which a directory of the tree is swapped all the time."""
    directory = root / request.param
    below = MEMORY.joinpath("memory1/state").relative_to(request.param)
    static_tree.write(outside / "there" / below, "going-offline")
    (root / "link").symlink_to(outside / "there")
    swapping = start_python(KEEP_SWAPPING, directory, root / "link", root / "spare")
    assert swapping.stdout
    assert swapping.stdout.readline() == "begun\n"
    yield outside / "there" / below
    swapping.kill()
    swapping.wait()


def test_no_read_of_a_directory_that_is_swapped_gives_what_is_outside(
    swapped: Path, root: Path
) -> None:
    seen = tried = 0
    # On a busy machine what swaps it may stand still for as long as that takes.
    while tried < 300 or not seen:
        tried += 1
        with FileTree(str(root)) as tree:
            try:
                tree.names(str(MEMORY))
                texts = tree.read_each(str(MEMORY), range(4), "state")
            except OSError:
                continue
            seen += b"online\n" in texts
            assert b"going-offline\n" not in texts


def test_no_write_to_a_directory_that_is_swapped_goes_outside(swapped: Path, root: Path) -> None:
    written = tried = 0
    with FileTree(str(root)) as tree:
        while tried < 1000 or not written:
            tried += 1
            try:
                tree.write(path_of("state", 1), "offline")
                written += 1
            except OSError:
                pass
    assert swapped.read_text() == "going-offline\n"


# Writing


@pytest.mark.parametrize("path", WRITTEN)
def test_what_is_no_file_of_the_tree_is_not_written(
    path: str, replaced: tuple[Replace, str], root: Path, outside: Path
) -> None:
    replace, reason = replaced
    replace(root / path, outside)
    with FileTree(str(root)) as tree:
        refusal = tree.refusal(path)
        with pytest.raises(OSError) as caught:
            tree.write(path, "0")
    assert refusal is not None
    assert (refusal.errno, refusal.filename) == (caught.value.errno, caught.value.filename)
    assert caught.value.strerror == refusal.strerror
    if "regular" in reason:
        assert caught.value.strerror == reason
    if (outside / "there").exists():
        assert (outside / "there").read_text() != "0"


@pytest.mark.parametrize("directory", directories(MEMORY / "memory1"), ids=lambda path: path.name)
@pytest.mark.parametrize("replace", [by_link, by_relative_link])
def test_no_write_goes_through_a_link_in_place_of_a_directory(
    directory: Path, replace: Replace, root: Path, outside: Path
) -> None:
    replace(root / directory, outside)
    path = path_of("state", 1)
    with FileTree(str(root)) as tree:
        assert tree.refusal(path) is not None
        with pytest.raises(OSError):
            tree.write(path, "offline")
    assert (outside / "there" / Path(path).relative_to(directory)).read_text() == "online\n"


def test_no_write_goes_through_a_link_inside_the_tree_either(root: Path) -> None:
    (root / MEMORY / "memory1").rename(root / "there")
    (root / MEMORY / "memory1").symlink_to(root / "there")
    with FileTree(str(root)) as tree, pytest.raises(NotADirectoryError):
        tree.write(path_of("state", 1), "offline")


def test_a_file_that_has_another_name_outside_is_not_written(root: Path, outside: Path) -> None:
    path = path_of("state", 1)
    (outside / "victim").hardlink_to(root / path)
    with FileTree(str(root)) as tree:
        refusal = tree.refusal(path)
        assert refusal is not None
        assert refusal.strerror == "the file has other names (hard links)"
        with pytest.raises(OSError, match="other names"):
            tree.write(path, "offline")
    assert (outside / "victim").read_text() == "online\n"


@pytest.mark.parametrize(
    "path", ["../outside/victim", "/etc/hostname", "sys/../../outside/victim", "", "sys/./x", "x/"]
)
def test_a_path_that_could_lead_out_is_not_written(path: str, root: Path, outside: Path) -> None:
    (outside / "victim").write_text("whole")
    with FileTree(str(root)) as tree:
        assert tree.refusal(path) is not None
        with pytest.raises(OSError):
            tree.write(path, "x")
    assert (outside / "victim").read_text() == "whole"


def test_a_root_that_is_replaced_is_not_written_to(root: Path, outside: Path) -> None:
    other = static_tree.make(outside, {"block_size": 1 << 28, "blocks": [{"range": [0, 3]}]})
    with FileTree(str(root)) as tree:
        root.rename(root.with_name("before"))
        root.symlink_to(other)
        tree.write(path_of("state", 1), "offline")
    assert (other / path_of("state", 1)).read_text() == "online\n"
    assert (root.with_name("before") / path_of("state", 1)).read_text() == "offline"


def test_a_disk_that_is_full_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileTree(str(root)) as tree:
        monkeypatch.setattr(os, "write", lambda file, data: len(data) - 1)
        with pytest.raises(OSError, match="No space left"):
            tree.write(path_of("state", 1), "offline")


def test_links_of_several_parts_are_followed_part_by_part(tmp_path: Path) -> None:
    """Links within the tree, with what comes after them in the path, `.` and `..`."""
    root = tmp_path / "root"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/file").write_text("here")
    (root / "a/b/file").write_text("above")
    (root / "relative").symlink_to("a/b")
    (root / "a/absolute").symlink_to(root / "a" / "b")
    (root / "up").symlink_to("a/b/../b/./c")
    (root / "self").symlink_to(".")
    tree = FileTree(str(root))
    for path, text in (
        ("relative/c/file", b"here"),
        ("relative/file", b"above"),
        ("a/absolute/c/file", b"here"),
        ("up/file", b"here"),
        ("up/../file", b"above"),
        ("self/./relative//c/file", b"here"),
    ):
        assert tree.read(path) == text, path
    assert sorted(tree.names("relative")) == ["c", "file"]
    assert tree.names("up") == ["file"]
    for path in ("../root/a/b/file", "relative/../../../file", "self/../a"):
        with pytest.raises(OSError, match="leads out of the tree"):
            tree.read(path)
    tree.close()


@pytest.mark.parametrize(
    ("name", "unknown"), [("state", State.UNKNOWN), ("configured", None), ("zones", None)]
)
def test_an_attribute_of_one_block_that_cannot_be_read_is_unknown(
    name: str, unknown: object, tmp_path: Path
) -> None:
    class Failing(FileTree):
        def read(self, path: str) -> bytes:
            if path == path_of(Attribute(name), 1):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return super().read(path)

    machine = {"block_size": 1 << 27, "firmware": 1, "blocks": [{"range": [0, 2]}]}
    with Machine(Failing(str(static_tree.make(tmp_path / "m", machine)))) as found:
        block = found.block_now(1)
    assert getattr(block, name) is unknown
