"""Many writers at once, and writers that are killed: nothing is lost and the tree loads."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from commands import start_python
from memsim import directory
from memsim.kernel import Kernel
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, Sysfs
from simulated import tree_at, tree_of

WRITERS, CYCLES = 8, 12
KILLS = 200

# A writer of its own block: the whole way up and down again, and a count of it all. Its faults
# are counted by the machine, so that a lost update would show there too.
WRITER = """
import sys
from memsim import directory
root, block, cycles = sys.argv[1], sys.argv[2], int(sys.argv[3])
state = f"sys/devices/system/memory/memory{block}/state"
config = f"sys/firmware/memory/memory{block}/config"
for _ in range(cycles):
    for path, data in ((config, b"1"), (state, b"online"), (state, b"offline"), (config, b"0")):
        directory.write(root, path, data)
directory.write(root, config, b"1")
directory.write(root, state, b"online_movable")
"""

# Does random writes for as long as it is left alive, and says after each that it was made.
RANDOM_WRITER = """
import random, sys
from memsim import directory
root, chance = sys.argv[1], random.Random(int(sys.argv[2]))
while True:
    block = chance.randrange(32)
    state = f"sys/devices/system/memory/memory{block}/state"
    path, data = chance.choice([
        (state, b"online"), (state, b"offline"), (state, b"online_movable"),
        (f"sys/firmware/memory/memory{block}/config", b"1"),
        (f"sys/firmware/memory/memory{block}/config", b"0"),
        (f"sys/firmware/memory/memory{block}/memmap_on_memory", b"1"),
    ])
    try:
        directory.write(root, path, data)
    except directory.DamagedError:
        raise
    except OSError:
        pass
    else:
        print(path, data.decode(), flush=True)
"""


def test_eight_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    expected = Sysfs(boot("s390-lpar"))
    processes = [start_python(WRITER, str(root), str(16 + n), str(CYCLES)) for n in range(WRITERS)]
    assert [process.wait() for process in processes] == [0] * WRITERS
    for block in range(16, 16 + WRITERS):
        expected.write(f"{FIRMWARE}/memory{block}/config", b"1")
        expected.write(f"{MEMORY}/memory{block}/state", b"online_movable")
    after = directory.Directory(root).kernel()
    assert after.state.pool == expected.kernel.state.pool
    assert after.blocks.content() == expected.kernel.blocks.content()
    assert tree_at(root) == tree_of(expected)


def storage(kernel: Kernel) -> int:
    """Bytes that the hypervisor can give and that are assigned; always the same."""
    present = sum(map(kernel.blocks.present, kernel.blocks))
    kept = sum(kernel.state.kept.values())
    return kernel.state.pool + kept + present * kernel.machine.block_size


@pytest.mark.slow
def test_two_hundred_kills_at_random_instants(tmp_path: Path) -> None:
    root = tmp_path / "m"
    directory.create(root, boot("s390-lpar"))
    chance = random.Random(6190)
    journals = writes = 0
    for number in range(KILLS):
        process = start_python(RANDOM_WRITER, str(root), str(number))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().splitlines()
        process.wait()
        assert process.returncode == -signal.SIGKILL
        writes += 1 + len(said)
        journals += (root / directory.PRIVATE / "journal.json").exists()
        # No attribute is empty or torn, also before anyone completes what was left undone.
        for path in (root / "sys").rglob("*"):
            # A uevent is empty at all times.
            if path.is_file() and not path.is_symlink() and path.name != "uevent":
                assert path.read_text().endswith("\n"), path
        machine = directory.Directory(root)
        machine.settle()
        kernel = machine.kernel()
        assert storage(kernel) == 32 * kernel.machine.block_size
        assert tree_at(root) == tree_of(kernel), number
    # The kills hit writers at work, or this would show nothing.
    assert writes > KILLS
    assert journals > 0, f"{writes} writes, {journals} of {KILLS} kills within one"


@pytest.mark.slow
def test_a_write_that_was_said_to_be_made_outlives_the_kill(tmp_path: Path) -> None:
    root = tmp_path / "m"
    for number in range(20):
        directory.create(root := tmp_path / f"m{number}", boot("s390-lpar"))
        process = start_python(RANDOM_WRITER, str(root), str(number))
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines()
        process.wait()
        expected = Sysfs(boot("s390-lpar"))
        for line in said:
            path, data = line.split()
            expected.write(path, data.encode())
        after = directory.Directory(root).kernel()
        # One more write can have been made that there was no time to speak of.
        contents = after.blocks.content(), expected.kernel.blocks.content()
        differing = sum(a != b for a, b in zip(*contents, strict=True))
        assert differing <= 1


@pytest.mark.slow
def test_each_instant_of_a_write_can_be_the_last(tmp_path: Path) -> None:
    """Stops a writer at every one of its calls that change a file, one after the other."""
    program = """
import os, signal, sys
from memsim import directory
left = int(sys.argv[2])
def counted(call):
    def run(*arguments, **keywords):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return call(*arguments, **keywords)
    return run
for name in ("open", "write", "pwrite", "rename", "unlink", "mkdir", "rmdir", "symlink"):
    setattr(os, name, counted(getattr(os, name)))
directory.write(sys.argv[1], sys.argv[3], sys.argv[4].encode())
print("done")
"""
    steps = (
        (f"{FIRMWARE}/memory16/config", b"1"),
        (f"{MEMORY}/memory16/state", b"online"),
        (f"{MEMORY}/memory16/state", b"offline"),
        (f"{FIRMWARE}/memory16/config", b"0"),
    )
    for number, (path, data) in enumerate(steps):
        sysfs, outcomes = Sysfs(boot("s390-lpar")), []
        for earlier in steps[:number]:
            sysfs.write(*earlier)
        before = tree_of(sysfs)
        root = tmp_path / f"m{number}"
        for calls in range(200):
            directory.create(root, sysfs.kernel)
            process = start_python(program, str(root), str(calls), path, data.decode())
            assert process.stdout is not None
            done = process.stdout.read() == "done\n"
            process.wait()
            directory.Directory(root).settle()
            outcomes.append(tree_at(root))
            shutil.rmtree(root)
            if done:
                break
        sysfs.write(path, data)
        after = tree_of(sysfs)
        happened = [outcome == after for outcome in outcomes]
        # Up to one call nothing has happened, and from the next one on all of it has.
        assert [outcome == before for outcome in outcomes] == [not it for it in happened]
        assert happened == sorted(happened)
        assert happened[0] is False
        assert happened.count(True) > 5


CREATE = """
import os, signal, sys
from hotplug_cli.program import run
from memsim_py import cli
os.dup2(1, 2)
mkdir, this, left = os.mkdir, os.getpid(), 3
def counted(*arguments, **keywords):
    global left
    mkdir(*arguments, **keywords)
    if os.getpid() == this:
        left -= 1
        if not left:
            assert os.listdir(place)
            signal.raise_signal(number)
os.mkdir = counted
place, number = sys.argv[1], int(sys.argv.pop())
sys.argv[1:] = ["create", f"{place}/m", *sys.argv[2:]]
run(cli.commands, "memsim")
"""


def signal_to_create(
    number: signal.Signals, place: Path, profile: str, within: tuple[str, ...] = ()
) -> int:
    """The status of a memsim create that gets a signal when it has begun; it says nothing."""
    words = (place, "--profile", profile, str(int(number)))
    with start_python(CREATE, *words, within=within) as process:
        assert process.communicate()[0] == ""
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("profile", ["s390-lpar", "huge"])
def test_create_that_a_signal_ends_leaves_nothing(
    tmp_path: Path, number: signal.Signals, profile: str
) -> None:
    assert signal_to_create(number, tmp_path, profile) == 128 + number
    assert os.listdir(tmp_path) == []


CAPTURE = """
import signal, sys
from hotplug_cli.program import run
from memsim import capture
from memsim_py import cli
def half_made(*_):
    try:
        signal.raise_signal(number)
    finally:
        # A second one, as from a terminal that closes.
        signal.raise_signal(number)
        print("removed", flush=True)
capture.capture_tree = half_made
number = int(sys.argv.pop())
sys.argv += ["capture", "target"]
run(cli.commands, "memsim")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_capture_that_signals_end_removes_what_it_has_made(number: signal.Signals) -> None:
    process = start_python(CAPTURE, str(int(number)))
    assert process.communicate()[0] == "removed\n"
    assert process.returncode == 128 + number


def test_create_goes_on_after_a_signal_that_is_ignored(tmp_path: Path) -> None:
    within = ("sh", "-c", "trap '' HUP; exec \"$@\"", "-")
    assert signal_to_create(signal.SIGHUP, tmp_path, "ppc64-large", within) == 0
    assert os.listdir(tmp_path) == ["m"]
