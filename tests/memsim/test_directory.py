"""A simulated machine as a directory of plain files."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import start_python
from forking import forks, noted_forks
from memsim import directory, records, tree
from memsim.kernel import Kernel
from memsim.machine import Fault
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, NODE, Sysfs, SysfsEntry, block_named
from simulated import changed, conditions, make, s390, tree_at, tree_of


def files_of(root: Path) -> list[Path]:
    """The files below a directory, without links."""
    found = (Path(above, name) for above, _, names in os.walk(root) for name in names)
    return [path for path in found if not path.is_symlink()]


def assert_modes(root: Path, kernel: Kernel) -> None:
    sysfs = Sysfs(kernel)
    for path in files_of(root / "sys"):
        expected = sysfs.entry(str(path.relative_to(root))).mode
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def large(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Every machine is a large one, and made by so many processes."""
    monkeypatch.setattr(tree, "MANY", 1)
    monkeypatch.setattr(tree, "processors", lambda: processes)


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state")


@pytest.mark.parametrize("name", ["s390-lpar", "x86-two-nodes", "s390-pre-6.19", "arm64-offset"])
def test_the_files_of_a_directory_are_what_the_simulated_kernel_shows(
    tmp_path: Path, name: str
) -> None:
    directory.create(tmp_path / "m", boot(name))
    assert tree_at(tmp_path / "m") == tree_of(boot(name))


@pytest.mark.parametrize("is_large", [False, True])
def test_files_with_the_same_content_and_permissions_are_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_large: bool
) -> None:
    """On a small machine, only files that no program writes to."""
    kernel = boot("s390-lpar")
    monkeypatch.setattr(tree, "MANY", len(kernel.blocks) + (not is_large))
    # Each process has files of its own to share.
    monkeypatch.setattr(tree, "processors", lambda: 1)
    directory.create(tmp_path / "m", kernel)
    alike: dict[tuple[bytes, int], set[int]] = {}
    for path in files_of(tmp_path / "m/sys"):
        found = path.stat()
        assert is_large or found.st_nlink == 1 or not found.st_mode & 0o222
        alike.setdefault((path.read_bytes(), found.st_mode), set()).add(found.st_ino)
    assert_modes(tmp_path / "m", kernel)
    assert not is_large or {len(inodes) for inodes in alike.values()} == {1}
    assert len(set.union(*alike.values())) < len(files_of(tmp_path / "m/sys")) / (1 + is_large)
    assert tree_at(tmp_path / "m") == tree_of(boot("s390-lpar"))


@forks
@pytest.mark.parametrize("processes", [1, 2, 3, 50])
@pytest.mark.parametrize("name", ["s390-lpar", "x86-two-nodes"])
def test_a_large_machine_is_made_by_several_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, processes: int
) -> None:
    large(monkeypatch, processes)
    forked = noted_forks(monkeypatch)
    kernel, directories = boot(name), []
    directory.create(tmp_path / "m", kernel, lambda: directories.append(1))
    assert len(forked) == min(processes, 8) - 1
    assert tree_at(tmp_path / "m") == tree_of(kernel)
    assert_modes(tmp_path / "m", kernel)
    # The first process takes the others to be as far as it is.
    count = len(forked) + 1
    own = [
        path
        for path, text in tree_of(kernel).items()
        if text is None and (block_named(os.path.basename(path)) or 0) % count == 0
    ]
    assert len(directories) == count * len(own)
    no_children()


def no_children() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@forks
@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (no_room, "No space left"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "a process that did a part"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "a process that did a part"),
    ],
    ids=["full", "killed", "ended"],
)
def test_where_a_process_that_helps_fails_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: Callable[[], None], said: str
) -> None:
    this, link = os.getpid(), tree.Shared.link

    def failing(self: tree.Shared, entry: SysfsEntry, *place: Any) -> bool:
        if os.getpid() != this:
            fails()
        return link(self, entry, *place)

    large(monkeypatch, 2)
    monkeypatch.setattr(tree.Shared, "link", failing)
    with pytest.raises(OSError, match=said) as caught:
        directory.create(tmp_path / "m", boot("s390-lpar"))
    assert str(caught.value.filename).startswith(str(tmp_path / "m"))
    assert list(tmp_path.iterdir()) == []
    no_children()


@forks
def test_an_interrupt_ends_the_processes_that_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    this = os.getpid()

    def waiting(*_: object) -> bool:
        if os.getpid() == this:
            raise KeyboardInterrupt
        # The test does not end before this process.
        time.sleep(3600)
        return False

    large(monkeypatch, 3)
    monkeypatch.setattr(tree.Shared, "link", waiting)
    with pytest.raises(KeyboardInterrupt):
        directory.create(tmp_path / "m", boot("s390-lpar"))
    assert list(tmp_path.iterdir()) == []
    no_children()


@forks
def test_a_large_machine_is_made_where_the_end_of_a_process_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As after `trap '' CHLD` in the shell."""
    large(monkeypatch, 3)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        directory.create(tmp_path / "m", boot("s390-lpar"))
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert tree_at(tmp_path / "m") == tree_of(boot("s390-lpar"))


WITH_A_THREAD = """
import _thread, os
from safe_files.fork import processors
usable = {0, 1, 2}
os.sched_getaffinity = lambda _: usable
print(processors())
lock = _thread.allocate_lock()
lock.acquire()
# The module threading knows nothing of this one.
_thread.start_new_thread(lock.acquire, ())
print(processors())
"""


def test_a_process_with_threads_is_not_copied() -> None:
    # In a process of its own: this one may have any threads.
    with start_python(WITH_A_THREAD) as process:
        assert process.communicate()[0] == "3\n1\n"


def test_a_write_to_a_machine_of_shared_files_changes_one_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tree, "MANY", 1)
    directory.create(tmp_path / "m", boot("s390-lpar"))
    sysfs = Sysfs(boot("s390-lpar"))
    for path, word in (
        (f"{FIRMWARE}/memory17/memmap_on_memory", b"1"),
        (f"{FIRMWARE}/memory17/config", b"1"),
        (f"{MEMORY}/memory17/state", b"online_movable"),
    ):
        directory.write(tmp_path / "m", path, word)
        sysfs.write(path, word)
    assert tree_at(tmp_path / "m") == tree_of(sysfs)


@pytest.mark.parametrize("most", [1, 3])
def test_a_file_with_too_many_names_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int
) -> None:
    """Such as 65,000 on ext4 (link(2), EMLINK)."""
    link = os.link

    def limited(known: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if os.stat(known, dir_fd=src_dir_fd).st_nlink >= most:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), known)
        link(known, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    large(monkeypatch, 1)
    monkeypatch.setattr(os, "link", limited)
    directory.create(tmp_path / "m", boot("s390-lpar"))
    assert max(path.stat().st_nlink for path in files_of(tmp_path / "m/sys")) == most
    assert tree_at(tmp_path / "m") == tree_of(boot("s390-lpar"))


def test_every_write_reaches_every_file_it_changes(tmp_path: Path) -> None:
    root, sysfs = tmp_path / "m", Sysfs(boot("x86-two-nodes"))
    directory.create(root, sysfs.kernel)
    steps = [
        (f"{MEMORY}/memory135/state", b"online_movable\n"),
        (f"{MEMORY}/memory130/state", b"online\n"),
        (f"{MEMORY}/memory135/online", b"0\n"),
        (f"{MEMORY}/memory134/state", b"online_kernel\n"),
        *((f"{MEMORY}/memory{block}/state", b"offline\n") for block in range(110, 128)),
        (f"{MEMORY}/auto_online_blocks", b"online\n"),
        ("sys/module/memory_hotplug/parameters/online_policy", b"auto-movable\n"),
    ]
    for path, data in steps:
        sysfs.write(path, data)
        directory.write(root, path, data)
        assert tree_at(root) == tree_of(sysfs), path


def test_config_adds_and_removes_the_directory_and_links_of_a_block(tmp_path: Path) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    directory.write(root, f"{FIRMWARE}/memory16/config", b"1")
    assert (root / MEMORY / "memory16/state").read_text() == "offline\n"
    assert (root / NODE / "node0/memory16/state").read_text() == "offline\n"
    directory.write(root, f"{FIRMWARE}/memory16/config", b"0")
    assert not (root / MEMORY / "memory16").exists()
    assert not (root / NODE / "node0/memory16").is_symlink()
    assert tree_at(root) == tree_of(boot("s390-lpar"))


def test_a_refused_write_changes_nothing_but_the_count_of_its_fault(tmp_path: Path) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    machine = directory.Directory(root)
    machine.change(lambda kernel: kernel.set_fault("offline", 3, Fault("EBUSY", 1)))
    before = tree_at(root)
    with pytest.raises(OSError) as caught:
        directory.write(root, f"{MEMORY}/memory3/state", b"offline")
    assert caught.value.errno == errno.EBUSY
    assert tree_at(root) == before
    directory.write(root, f"{MEMORY}/memory3/state", b"offline")
    assert (root / MEMORY / "memory3/state").read_text() == "offline\n"


def test_memsim_reboot_rewrites_the_tree(tmp_path: Path) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    for path, data in (
        (f"{FIRMWARE}/memory16/config", b"1"),
        (f"{MEMORY}/memory16/state", b"online"),
        (f"{MEMORY}/memory5/state", b"offline"),
        (f"{FIRMWARE}/memory5/config", b"0"),
    ):
        directory.write(root, path, data)
    (root / "run/systemd").mkdir(parents=True)
    directory.Directory(root).reboot()
    assert not (root / "run").exists()
    assert tree_at(root) == tree_of(boot("s390-lpar"))


def test_state_is_going_offline_during_the_delay_of_an_offline(tmp_path: Path) -> None:
    root, seen = tmp_path / "m", []
    directory.create(root, boot("s390-lpar"))
    machine, state = directory.Directory(root), root / MEMORY / "memory3/state"
    machine.change(lambda kernel: kernel.set_delay("offline", 3, 2.5))

    def wait(seconds: float) -> None:
        seen.append((seconds, state.read_text()))

    machine.write(f"{MEMORY}/memory3/state", b"offline", wait=wait)
    assert seen == [(2.5, "going-offline\n")]
    assert state.read_text() == "offline\n"


def test_a_signal_during_a_delay_leaves_the_block_as_it_was(tmp_path: Path) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    machine = directory.Directory(root)
    machine.change(lambda kernel: kernel.set_delay("offline", 3, 60))

    def wait(_seconds: float) -> None:
        raise KeyboardInterrupt

    before = tree_at(root)
    with pytest.raises(KeyboardInterrupt):
        machine.write(f"{MEMORY}/memory3/state", b"offline", wait=wait)
    assert tree_at(root) == before


@pytest.mark.parametrize("name", ["machine.json", "blocks", "live.json"])
@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_machine_refuses_writes_and_can_still_be_listed(
    tmp_path: Path, name: str, damage: bytes | None
) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    record = root / directory.PRIVATE / name
    record.write_bytes(record.read_bytes()[:-3] if damage is None else damage)
    before = tree_at(root)
    assert directory.is_marked(root)
    with pytest.raises(directory.DamagedError, match="damaged"):
        directory.write(root, f"{MEMORY}/memory3/state", b"offline")
    assert tree_at(root) == before


def _restorations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows each time that a machine is made from its records."""
    seen: list[object] = []
    restored = records.restored

    def noted(*arguments: Any) -> Kernel:
        seen.append(arguments)
        return restored(*arguments)

    monkeypatch.setattr(records, "restored", noted)
    return seen


def test_a_machine_is_remembered_from_one_write_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root, sysfs = make(tmp_path / "m", "s390-lpar"), Sysfs(boot("s390-lpar"))
    machine, seen = directory.Directory(root), _restorations(monkeypatch)
    heard: list[tuple[str, str]] = []
    for number in range(16, 24):
        for path, word in (
            (f"{FIRMWARE}/memory{number}/config", b"1"),
            (f"{MEMORY}/memory{number}/state", b"online"),
        ):
            machine.write(path, word, listener=lambda *event: heard.append(event))
            sysfs.write(path, word)
    assert len(seen) == 1
    # A listener hears of its own write only.
    assert len(heard) == 16
    assert tree_at(root) == tree_of(sysfs)
    assert machine.kernel().state == sysfs.kernel.state


@pytest.mark.parametrize("how", ["written", "another machine", "refused", "interrupted", "full"])
def test_a_machine_that_changed_otherwise_is_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    root = make(tmp_path / "m", {**s390(), "faults": {"config": {"6": "EIO"}}})
    machine = directory.Directory(root)
    machine.write(f"{FIRMWARE}/memory4/config", b"1")
    if how == "written":
        directory.write(root, f"{FIRMWARE}/memory5/config", b"1")
    elif how == "another machine":
        shutil.rmtree(root)
        make(root, s390(first=5, standby=3))
    elif how == "refused":
        with pytest.raises(OSError, match="Input/output"):
            machine.write(f"{FIRMWARE}/memory6/config", b"1")
    elif how == "interrupted":
        machine.change(lambda kernel: kernel.set_delay("offline", 0, 1.0))

        def interrupt(_seconds: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            machine.write(f"{MEMORY}/memory0/state", b"offline", wait=interrupt)
    else:
        with monkeypatch.context() as patched:
            patched.setattr("memsim.directory.stage", no_room)
            with pytest.raises(OSError, match="No space"):
                machine.write(f"{FIRMWARE}/memory7/config", b"1")
    before = conditions(root)
    machine.write(f"{FIRMWARE}/memory7/config", b"1")
    assert changed(before, conditions(root)) == [7]
    assert tree_at(root) == tree_of(machine.kernel())


def test_damage_between_two_writes_is_found(tmp_path: Path) -> None:
    root = make(tmp_path / "m", s390())
    machine = directory.Directory(root)
    machine.write(f"{FIRMWARE}/memory4/config", b"1")
    blocks = bytearray((root / ".memsim/blocks").read_bytes())
    blocks[0] ^= 1
    (root / ".memsim/blocks").write_bytes(blocks)
    with pytest.raises(directory.DamagedError, match="blocks"):
        machine.write(f"{FIRMWARE}/memory5/config", b"1")


def test_no_machine_is_created_over_existing_files(tmp_path: Path) -> None:
    root = tmp_path / "m"
    root.mkdir()
    (root / "letter").write_text("mine")
    with pytest.raises(FileExistsError):
        directory.create(root, boot("s390-lpar"))
    assert [path.name for path in tmp_path.rglob("*")] == ["m", "letter"]
    assert not directory.is_marked(root)
    with pytest.raises(FileNotFoundError):
        directory.write(root, f"{MEMORY}/memory3/state", b"offline")
