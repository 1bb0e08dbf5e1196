"""Reading in several processes gives what reading in one gives, whatever becomes of the workers."""

import marshal
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from commands import Command, run_program
from forking import forks, noted_forks
from memory_hotplug import Attribute, reading
from memory_hotplug.trees import many as tree_module
from memory_hotplug.trees import sharing
from memory_hotplug.trees.files import FileTree
from memory_hotplug.trees.many import Links
from memory_hotplug.trees.sharing import TextOrErrno, read_shared
from safe_files import fork
from static_tree import MEMORY, plain

pytestmark = forks

MANY = range(40)
THREADS = fork.threads


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Four processors, and work that is worth sharing; the list has the workers' process ids."""
    monkeypatch.setattr(tree_module, "_MANY", 8)
    monkeypatch.setattr(sharing, "_LEAST", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    # What runs the tests can have threads of its own.
    monkeypatch.setattr(fork, "threads", lambda: 1)
    return noted_forks(monkeypatch)


def doubled(numbers: Sequence[int]) -> list[TextOrErrno]:
    return [b"%d" % (number * 2) for number in numbers]


def children() -> list[str]:
    task = f"/proc/self/task/{os.getpid()}/children"
    return Path(task).read_text().split() if Path(task).exists() else []


@pytest.mark.parametrize("count", [8, 9, 31, 40, 1000])
def test_the_order_is_that_of_the_numbers(count: int, four: list[int]) -> None:
    numbers = range(count)
    before = children()
    assert read_shared(doubled, numbers) == doubled(numbers)
    assert len(four) == min(count // 4, 4) - 1
    assert children() == before


def test_texts_and_errors_come_through_from_other_processes(four: list[int]) -> None:
    def read(numbers: Sequence[int]) -> list[TextOrErrno]:
        return [5 if number % 7 == 0 else b"online\n" for number in numbers]

    assert read_shared(read, MANY) == read(MANY)
    assert len(four) == 3


def test_several_results_for_each_number_come_in_its_place(four: list[int]) -> None:
    here: list[int] = []

    def read(numbers: Sequence[int]) -> list[TextOrErrno]:
        here.extend(numbers)
        return [result for number in numbers for result in (number, b"%d" % number)]

    found = read_shared(read, MANY, 2)
    # What workers read is in their own lists.
    assert here == list(MANY)[:10]
    assert found == read(MANY)


def test_an_answer_that_no_pipe_holds_comes_through(four: list[int]) -> None:
    def read(numbers: Sequence[int]) -> list[TextOrErrno]:
        return [b"%d" % number + b"x" * 50_000 for number in numbers]

    assert read_shared(read, MANY) == read(MANY)
    assert len(four) == 3


def test_few_blocks_and_one_processor_are_read_here(
    four: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_shared(doubled, range(7)) == doubled(range(7))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert read_shared(doubled, MANY) == doubled(MANY)
    assert four == []


def test_beside_another_thread_nothing_is_forked(
    four: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork, "threads", THREADS)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert read_shared(doubled, MANY) == doubled(MANY)
    finally:
        over.set()
        thread.join()
    assert four == []


def test_there_are_no_more_than_eight_processes(
    four: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert read_shared(doubled, range(1000)) == doubled(range(1000))
    assert len(four) == 7


@pytest.mark.parametrize("death", ["exit", "kill", "exception", "short"])
def test_the_part_of_a_worker_that_dies_is_read_here(death: str, four: list[int]) -> None:
    here = os.getpid()

    def read(numbers: Sequence[int]) -> list[TextOrErrno]:
        if os.getpid() != here and numbers[0] < 30:
            if death == "exit":
                os._exit(0)
            if death == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if death == "short":
                return doubled(numbers[:-1])
            raise MemoryError
        return doubled(numbers)

    assert read_shared(read, MANY) == doubled(MANY)
    assert len(four) == 3


@pytest.mark.parametrize("name", ["fork", "pipe"])
def test_what_cannot_be_forked_is_read_here(
    name: str, four: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, name, fail)
    assert read_shared(doubled, MANY) == doubled(MANY)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert four == []


def test_an_error_here_ends_the_workers(four: list[int]) -> None:
    here = os.getpid()

    def read(numbers: Sequence[int]) -> list[TextOrErrno]:
        if os.getpid() == here:
            raise KeyboardInterrupt
        # The test does not end before this process.
        time.sleep(3600)
        return []

    before = children()
    with pytest.raises(KeyboardInterrupt):
        read_shared(read, MANY)
    assert children() == before
    assert len(four) == 3


def test_children_that_nobody_waits_for_are_no_trouble(four: list[int]) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert read_shared(doubled, MANY) == doubled(MANY)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert len(four) == 3


def test_a_worker_has_none_of_our_handlers_and_keeps_what_is_ignored(four: list[int]) -> None:
    here = os.getpid()

    def read(numbers: Sequence[int]) -> list[TextOrErrno]:
        if os.getpid() == here:
            return doubled(numbers)
        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        words = [f"{signal.getsignal(number)!r}" for number in asked]
        words.append(repr(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))))
        return [" ".join(words).encode()] * len(numbers)

    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        found = read_shared(read, MANY)
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.signal(signal.SIGHUP, ignored)
    default, ignore = repr(signal.SIG_DFL), repr(signal.SIG_IGN)
    mask = repr(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    assert set(found[10:]) == {f"{default} {default} {ignore} {mask}".encode()}


# Trees

ODD = {3: "directory", 11: "missing", 22: "fifo", 37: "long"}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A tree in which some states are not what they should be."""
    root = plain(tmp_path / "tree", ["online"] * 30 + ["offline"] * 10)
    for number, kind in ODD.items():
        file = root / MEMORY / f"memory{number}/state"
        file.unlink()
        if kind == "directory":
            file.mkdir()
        elif kind == "fifo":
            os.mkfifo(file)
        elif kind == "long":
            file.write_text("x" * 300)
    # A directory that has just changed is not trusted to have no links, and is read block by block.
    time.sleep(0.05)
    yield root


@pytest.mark.parametrize("attributes", [[], ["state", "valid_zones"]])
def test_nodes_in_the_blocks_of_a_large_machine_are_read_as_by_one_process(
    attributes: list[str], tmp_path: Path, four: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plain(tmp_path / "tree", ["online"] * 40)
    for number in (3, 20, 39):
        (root / MEMORY / f"memory{number}/node{number}").mkdir()
    (root / MEMORY / "memory3/node1").mkdir()
    shutil.rmtree(root / MEMORY / "memory7")
    time.sleep(0.05)

    def read() -> list[str]:
        with FileTree(str(root)) as opened:
            found = opened.read_each(str(MEMORY), MANY, *attributes, links=Links("node"))
            return [f"{value!r}" for value in found]

    shared = read()
    assert len(four) == 3
    monkeypatch.setattr(tree_module, "_MANY", 1000)
    assert shared == read()
    if attributes:
        assert shared[:2] == [repr(b"online\n"), repr(b"Normal Movable\n")]
    names = shared[len(attributes) :: len(attributes) + 1]
    assert names[3] == repr(b"node1/node3")
    assert names[20:22] == [repr(b"node20"), repr(b"")]
    assert names[7].startswith("FileNotFoundError(2, ")


def test_a_tree_is_read_as_by_one_process(
    tree: Path, four: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> list[str]:
        with FileTree(str(tree)) as opened:
            opened.names(str(MEMORY))
            found = opened.read_each(str(MEMORY), MANY, "state")
            return [f"{value!r} {getattr(value, 'filename', None)!r}" for value in found]

    shared = read()
    assert len(four) == 3
    monkeypatch.setattr(tree_module, "_MANY", 1000)
    assert shared == read()
    assert len(four) == 3
    assert "not a regular file" in shared[3]
    assert "FileNotFoundError(2, " in shared[11]
    assert "memory11/state" in shared[11]
    assert shared[37].startswith(repr(b"x" * 300))


@pytest.mark.parametrize("options", [[], ["-a", "-J"], ["--map"], ["--output-all"]])
def test_lsmem_prints_what_one_process_prints(
    options: list[str],
    tree: Path,
    four: list[int],
    lsmem: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = lsmem("-s", tree, *options)
    assert four
    monkeypatch.setattr(tree_module, "_MANY", 1000)
    assert lsmem("-s", tree, *options) == shared


LARGE = 2 * 4096


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tree whose blocks are worth sharing."""
    root = plain(tmp_path_factory.mktemp("large") / "tree", ["online", "offline"] * (LARGE // 2))
    yield root
    shutil.rmtree(root)


def test_the_installed_command_has_no_warning_and_nothing_left_over(large: Path) -> None:
    words = [sys.executable, "-X", "dev", "-W", "error", "-m", "lsmem_py", "-s", str(large)]
    done = subprocess.run([*words, "-r", "-n"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == LARGE
    assert run_program("lsmem", "-s", large, "-r", "-n").stdout == done.stdout


def test_a_reader_that_leaves_early_is_no_error(large: Path) -> None:
    words = f"{shutil.which('sh')} -c"
    script = f"{sys.executable} -m lsmem_py -s {large} -a | head -n 2"
    done = subprocess.run([*words.split(), script], capture_output=True, text=True)
    assert (done.stderr, len(done.stdout.splitlines())) == ("", 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_time_leaves_no_process(number: signal.Signals, large: Path) -> None:
    for milliseconds in range(20, 160, 10):
        process = subprocess.Popen(
            [sys.executable, "-m", "lsmem_py", "-s", str(large), "-a"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        time.sleep(milliseconds / 1000)
        os.killpg(process.pid, number)
        # Standard error is closed when the last process has ended.
        _, error = process.communicate(timeout=60)
        if number != signal.SIGINT:
            assert error == b""


# removable


class Asked(FileTree):
    """A tree that counts the files it reads."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.files = 0

    def read_each(
        self,
        directory: str,
        numbers: Iterable[int],
        *attributes: str,
        links: Links | None = None,
    ) -> list[bytes | OSError]:
        numbers = list(numbers)
        self.files += len(numbers) * len(attributes)
        return super().read_each(directory, numbers, *attributes, links=links)


@pytest.mark.parametrize(
    ("release", "own", "mounted", "files"),
    [
        ("6.1.0-56-cloud-amd64", True, False, 1),
        ("5.8.0", True, False, 1),
        ("5.10", True, False, 1),
        ("5.7.19", True, False, 6),
        ("4.20.1", True, False, 6),
        ("odd", True, False, 6),
        ("6.1.0", False, False, 6),
        ("6.1.0", True, True, 6),
    ],
)
def test_removable_of_this_machine_is_read_once_since_linux_5_8(
    release: str,
    own: bool,
    mounted: bool,
    files: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = plain(tmp_path / "tree", ["online"] * 6)
    for number in range(6):
        (root / MEMORY / f"memory{number}/removable").write_text("1\n")
    devices = {"/sys": 22, f"/{MEMORY}": 99 if mounted else 22}
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "")))
    monkeypatch.setattr(reading, "_device", devices.__getitem__)
    with Asked(str(root)) as tree:
        tree.is_this_machine = own
        table = reading.Reading(tree, 128 << 20, frozenset()).table([Attribute.REMOVABLE])
        assert tree.files == files
    assert table.columns["removable"] == [True] * 6


def test_an_answer_can_have_many_different_results() -> None:
    for count in (1, 256, 257, 3000):
        results = doubled(range(count))
        different, which = marshal.loads(sharing._packed(results))
        assert (which is None) is (count > 256)
        found = different if which is None else [different[place] for place in which]
        assert found == results
