"""memsim boot --arch: real kernels, and memory that comes and goes while they run."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import SCRIPTS, Outcome, run_program, start_program
from needs import arch_guest
from vm.arches import with_guest

pytestmark = pytest.mark.vm

SECONDS = 500
"""How long an emulated guest may take for a test, on a busy machine."""

COLUMNS = "-n --summary=never -o SIZE,STATE,NODE"


def booted(*words: str) -> Outcome:
    """What memsim boot gave, with a command of the guest's shell as the last word."""
    *options, script = words
    program = start_program("memsim", "boot", *options, "--", "sh", "-c", script)
    stdout, stderr = program.communicate(timeout=SECONDS)
    return Outcome(program.returncode, stdout, stderr)


@pytest.mark.parametrize("arch", with_guest("x86_64", "aarch64"))
def test_a_dimm_is_offline_and_chmem_sets_a_part_of_it_online(arch: str) -> None:
    script = f"lsmem {COLUMNS}; chmem -e 256m; uname -m; lsmem {COLUMNS}"
    done = booted("--arch", arch, "--dimm", "512M", script)
    assert (done.status, done.stderr) == (0, "")
    before, after = done.stdout.split(f"{arch}\n")
    for listing, size in ((before, "512M"), (after, "256M")):
        offline = [line.split() for line in listing.splitlines() if "offline" in line]
        assert offline == [[size, "offline", "0"]]


@pytest.mark.parametrize("arch", with_guest("ppc64le"))
def test_the_kernel_sets_memory_online_itself_on_power(arch: str) -> None:
    script = f"lsmem {COLUMNS}; chmem -d 256m && chmem -e 256m; lsmem -b -n {COLUMNS}"
    done = booted("--arch", arch, "--dimm", "512M", script)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["1.5G", "online", "0"]


@pytest.mark.parametrize("arch", with_guest("riscv64"))
def test_the_blocks_are_listed_where_no_memory_comes(arch: str) -> None:
    done = booted("--arch", arch, f"lsmem {COLUMNS}; lsmem.ul --version")
    assert (done.status, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.split() == ["1G", "online", "0"]
    assert second.startswith("lsmem.ul from util-linux")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A guest with two nodes and a virtio-mem device, by its directory."""
    place = tmp_path_factory.mktemp("booted") / "guest"
    options = shlex.split("--arch x86_64 --nodes 2 --virtio-mem 256M --auto-online online_movable")
    script = ["sh", "-c", "echo ready; exec sleep 3600"]
    command: list[str | Path] = [
        SCRIPTS / "memsim",
        "boot",
        *options,
        "--directory",
        place,
        "--",
        *script,
    ]
    # Not by start_program, whose programs end with the test.
    program = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    yield place
    program.terminate()
    with program:
        program.wait(60)
    assert not place.exists()


def listed(guest: Path) -> dict[str, tuple[str, str, str]]:
    """State, node and device of each block, by number."""
    words = shlex.split("lsmem -a -J --typed -o BLOCK,STATE,NODE,DEVICE")
    done = run_program("memsim", "shell", guest, "--", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return {
        str(row["block"]["first"]): (row["state"], str(row["node"]), row["device"] or "")
        for row in json.loads(done.stdout)["ranges"]
    }


def told(*words: str | Path) -> tuple[int, str]:
    """The status of memsim, and the line that it wrote."""
    done = run_program("memsim", *words)
    return done.returncode, (done.stdout + done.stderr).splitlines()[0]


@pytest.mark.needs(*arch_guest("x86_64"))
def test_a_dimm_comes_while_the_guest_runs_and_goes_again(guest: Path) -> None:
    before = listed(guest)
    status, said = told("plug", guest, "--memory", "256M", "--node", "1")
    assert status == 0
    blocks = said.removeprefix("memory blocks ").split("-")
    now = listed(guest)
    assert now == before | dict.fromkeys(blocks, ("online", "1", "PNP0C80:00"))
    status, gone = told("unplug", guest, "--memory", "512M")
    assert (status, gone) == (
        1,
        "memsim: cannot change the guest's memory: the guest has no DIMM of that size; "
        "it has dimm0 of 256M",
    )
    assert told("unplug", guest, "--memory", "256M") == (0, said)
    assert listed(guest) == before


@pytest.mark.needs(*arch_guest("x86_64"))
def test_a_virtio_mem_device_grows_and_shrinks(guest: Path) -> None:
    def size() -> int:
        return sum(device.startswith("virtio") for _, _, device in listed(guest).values())

    assert size() == 2
    words = ("--as", "virtio-mem")
    assert told("plug", guest, "--memory", "256M", *words) == (0, "virtio-mem: 512M")
    assert size() == 4
    assert told("unplug", guest, "--memory", "384M", *words) == (0, "virtio-mem: 128M")
    assert size() == 1
    status, said = told("unplug", guest, "--memory", "256M", *words)
    assert (status, said.rpartition(": ")[2]) == (
        1,
        "the virtio-mem device can have 0 to 16384M, not -128M",
    )


@pytest.mark.needs(*arch_guest("x86_64"))
def test_a_capture_is_like_the_running_guest(guest: Path, tmp_path: Path) -> None:
    target = tmp_path / "guest.tar.gz"
    assert run_program("memsim", "capture", "-s", guest, target).returncode == 0
    words = shlex.split("-a -n --summary=never -o RANGE,STATE,NODE,ZONES")
    here = run_program("lsmem", "-s", target, *words)
    there = run_program("memsim", "shell", guest, "--", "lsmem", *words)
    assert (here.returncode, here.stdout) == (0, there.stdout)


@pytest.mark.needs(*arch_guest("x86_64"))
def test_what_runs_in_the_guest_from_another_terminal_has_its_status(guest: Path) -> None:
    done = run_program(
        "memsim", "shell", guest, "--", "sh", "-c", "cat; exit 3", input="in\n", stdin=None
    )
    assert (done.returncode, done.stdout) == (3, "in\n")
