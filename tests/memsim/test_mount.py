"""A simulated machine under other programs: mounted, and entered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import SCRIPTS, run_program, runs, start_program
from memsim import directory
from memsim.machine import Fault
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, NODE, Sysfs
from simulated import (
    tree_at,
    tree_of,
)
from terminal import PATIENCE, Terminal, clean_environment

DEBIAN_LSMEM, DEBIAN_CHMEM = "/usr/bin/lsmem", "/usr/sbin/chmem"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """The mount point of an s390-lpar in tmp_path/m."""
    directory.create(tmp_path / "m", boot("s390-lpar"))
    point = tmp_path / "mnt"
    point.mkdir()
    done = run_program("memsim", "mount", tmp_path / "m", point)
    assert (done.returncode, done.stderr) == (0, "")
    assert point.is_mount()
    yield point
    subprocess.run(["fusermount3", "-u", point], check=True)


def echo(value: str, path: Path) -> str:
    """What the shell says when it echoes a value into a file."""
    done = subprocess.run(
        ["bash", "-c", f"echo {value} > {path}"], capture_output=True, text=True, timeout=PATIENCE
    )
    return done.stderr.rpartition(": ")[2].strip()


def rows(root: Path) -> list[tuple[str, str, str, str]]:
    found: list[list[str]] = []
    for block in range(32):
        firmware = root / FIRMWARE / f"memory{block}"
        state = root / MEMORY / f"memory{block}/state"
        values = [
            state.read_text().strip() if state.exists() else "offline",
            (firmware / "config").read_text().strip(),
            (firmware / "memmap_on_memory").read_text().strip(),
        ]
        if found and found[-1][2:] == values:
            found[-1][1] = str(block)
        else:
            found.append([str(block), str(block), *values])
    return [(f"{first}-{last}", a, b, c) for first, last, a, b, c in found]


AT_BOOT = [("0-15", "online", "1", "0"), ("16-31", "offline", "0", "1")]


@pytest.mark.needs("fuse3", "/dev/fuse")
def test_memsim_mount_plays_the_s390_session_with_the_shells_echo(mounted: Path) -> None:
    def config(value: int, block: int) -> str:
        return echo(str(value), mounted / FIRMWARE / f"memory{block}/config")

    def around_5(*values: str) -> list[tuple[str, ...]]:
        return [
            ("0-4", "online", "1", "0"),
            ("5-5", *values),
            ("6-15", "online", "1", "0"),
            ("16-31", "offline", "0", "1"),
        ]

    memmap = mounted / FIRMWARE / "memory5/memmap_on_memory"
    online = mounted / MEMORY / "memory5/online"
    assert rows(mounted) == AT_BOOT
    assert config(1, 16) == ""
    assert rows(mounted) == [AT_BOOT[0], ("16-16", "offline", "1", "1"), ("17-31", *AT_BOOT[1][1:])]
    assert config(0, 16) == ""
    assert rows(mounted) == AT_BOOT
    assert echo("offline", mounted / MEMORY / "memory5/state") == ""
    assert config(0, 5) == ""
    assert rows(mounted) == around_5("offline", "0", "0")
    assert [echo("1", memmap), config(1, 5), echo("1", online)] == [""] * 3
    assert rows(mounted) == around_5("online", "1", "1")
    assert [echo("0", online), config(0, 5)] == [""] * 2
    assert rows(mounted) == around_5("offline", "0", "1")
    assert [echo("0", memmap), config(1, 5), echo("1", online)] == [""] * 3
    assert rows(mounted) == AT_BOOT


@pytest.mark.needs("fuse3", "/dev/fuse")
def test_memsim_mount_refuses_a_mount_point_in_use(mounted: Path, tmp_path: Path) -> None:
    done = run_program("memsim", "mount", tmp_path / "m", mounted)
    assert done.returncode == 1
    assert "something is mounted here already" in done.stderr


@pytest.mark.needs("fuse3", "/dev/fuse")
def test_memsim_mount_gives_the_kernels_errno_to_the_writer(mounted: Path, tmp_path: Path) -> None:
    machine = directory.Directory(tmp_path / "m")
    machine.change(lambda kernel: kernel.set_fault("offline", 3, Fault("EBUSY")))
    block = mounted / MEMORY / "memory3"
    assert echo("offline", block / "state") == "Device or resource busy"
    assert echo("sideways", block / "state") == "Invalid argument"
    assert echo("1", block / "phys_index") == "Permission denied"
    assert echo("1", mounted / FIRMWARE / "memory3/memmap_on_memory") == "Device or resource busy"
    assert echo("1", mounted / MEMORY / "memory16/state") != ""
    assert echo("1", block / "new") == "Permission denied"
    assert subprocess.run(["rm", "-f", block / "state"], capture_output=True).returncode == 1
    assert tree_at(mounted) == tree_of(boot("s390-lpar"))


@pytest.mark.needs("fuse3", "/dev/fuse")
def test_memsim_mount_shows_the_files_of_the_directory(mounted: Path, tmp_path: Path) -> None:
    assert tree_at(mounted) == tree_at(tmp_path / "m")
    assert os.listdir(mounted) == ["sys"]
    assert not (mounted / directory.MARK).exists()
    assert (mounted / MEMORY / "memory3/state").stat().st_size == 4096
    directory.write(tmp_path / "m", f"{FIRMWARE}/memory16/config", b"1")
    assert (mounted / MEMORY / "memory16/state").read_text() == "offline\n"
    assert (mounted / NODE / "node0/memory16").is_symlink()
    directory.write(tmp_path / "m", f"{MEMORY}/memory16/state", b"online")
    assert (mounted / MEMORY / "memory16/state").read_text() == "online\n"


@pytest.mark.needs("fuse3", "/dev/fuse")
def test_memsim_mount_lets_a_delayed_write_be_watched_and_interrupted(
    mounted: Path, tmp_path: Path
) -> None:
    machine = directory.Directory(tmp_path / "m")
    machine.change(lambda kernel: kernel.set_delay("offline", 3, 600))
    state = mounted / MEMORY / "memory3/state"
    writer = subprocess.Popen(["sh", "-c", f"echo offline > {state}"])
    while state.read_text() != "going-offline\n":
        assert writer.poll() is None
        time.sleep(0.02)
    writer.send_signal(signal.SIGINT)
    assert writer.wait(PATIENCE) != 0
    while state.read_text() != "online\n":
        time.sleep(0.02)


def test_memsim_mount_says_what_is_missing(tmp_path: Path) -> None:
    assert run_program("memsim", "mount", tmp_path / "none", tmp_path).stderr.startswith(
        f"memsim: {tmp_path}/none: expected a simulated machine"
    )
    directory.create(tmp_path / "m", boot("s390-lpar"))
    program = (
        "import sys; sys.modules['mfusepy'] = None\n"
        "from memsim_py.cli import main; sys.argv = ['memsim', *sys.argv[1:]]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "mount", str(tmp_path / "m"), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "memsim: mounting needs mfusepy\n"
        f"memsim: {sys.executable} -m pip install mfusepy installs it; "
        "memsim write, and lsmem and chmem --sysroot DIR, work without a mount\n"
    )


def mounts(place: Path) -> list[str]:
    """What is mounted below /sys and PLACE. Other tests mount machines meanwhile, elsewhere."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split()[4].startswith(("/sys/", str(place)))]


@pytest.mark.needs("root", "fuse3", "/dev/fuse")
class TestShell:
    def test_memsim_shell_exits_with_the_status_of_its_command(self) -> None:
        script = f"cat /{MEMORY}/memory16/state /{FIRMWARE}/memory20/config; exit 7"
        done = run_program(
            "memsim", "shell", "--profile", "s390-pre-6.19", "--", "sh", "-c", script
        )
        assert done.stdout == "offline\n"
        assert done.returncode == 7
        done = run_program(
            "memsim", "shell", "--", "sh", "-c", f"ls /{FIRMWARE} | wc -l; kill -9 $$"
        )
        assert done.stdout == "32\n"
        assert done.returncode == 137

    def test_memsim_shell_keeps_writes_in_the_machine_it_was_given(self, tmp_path: Path) -> None:
        directory.create(tmp_path / "m", boot("s390-lpar"))
        script = f"echo 1 > /{FIRMWARE}/memory16/config && echo 1 > /{MEMORY}/memory16/online"
        done = run_program("memsim", "shell", tmp_path / "m", "--", "sh", "-c", script)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "m" / MEMORY / "memory16/state").read_text() == "online\n"

    @pytest.mark.parametrize("words", [["--undo"], ["--save"], ["-e", "-b", "16", "--persistent"]])
    def test_memsim_shell_keeps_chmem_from_the_layout_and_the_record_of_the_real_machine(
        self, words: list[str], tmp_path: Path
    ) -> None:
        directory.create(tmp_path / "m", boot("s390-lpar"))
        done = run_program("memsim", "shell", tmp_path / "m", "--", SCRIPTS / "chmem", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "but /etc and /run are not its own" in done.stderr
        assert not (tmp_path / "m" / MEMORY / "memory16").exists()

    def test_memsim_shell_covers_only_memory_and_leaves_no_mount(self, tmp_path: Path) -> None:
        names = sorted(set(os.listdir("/sys/firmware")) | {"memory"})
        before = mounts(tmp_path)
        done = run_program(
            *("memsim", "shell", "--", "sh", "-c", "ls -1 /sys/firmware; ls /sys/devices/system"),
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        expected = [*names, *sorted(os.listdir("/sys/devices/system"))]
        assert sorted(done.stdout.split()) == sorted(expected)
        assert mounts(tmp_path) == before
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_memsim_shell_ends_with_its_command_on_a_signal(
        self, number: signal.Signals, tmp_path: Path
    ) -> None:
        words = ("memsim", "shell", "--", "sh", "-c", "echo $$; exec sleep 987")
        shell = start_program(*words, env=os.environ | {"TMPDIR": str(tmp_path)})
        assert shell.stdout is not None
        inside = int(shell.stdout.readline())
        shell.send_signal(number)
        assert shell.wait(PATIENCE) == 128 + number
        while runs(inside):
            time.sleep(0.02)
        assert list(tmp_path.iterdir()) == []

    def test_memsim_shell_names_an_unknown_command_or_profile(self) -> None:
        assert run_program("memsim", "shell", "--", "no-such-thing").stderr == (
            "memsim: no-such-thing: command not found\n"
        )
        done = run_program("memsim", "shell", "--profile", "vax", "--", "true")
        assert done.returncode == 1
        assert done.stderr.startswith("memsim: no profile is named vax; the profiles are")

    @pytest.mark.needs("util-linux")
    def test_memsim_shell_without_root_uses_a_user_namespace(self) -> None:
        """As a user who is not root, and may open /dev/fuse."""
        as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
        script = f"id -u; echo 1 > /{FIRMWARE}/memory16/config && cat /{MEMORY}/memory16/state"
        done = subprocess.run(
            [*as_user, sys.executable, "-m", "memsim_py", "shell", "--", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.stdout, done.stderr, done.returncode) == ("0\noffline\n", "", 0)

    def test_memsim_shell_without_namespaces_says_what_to_do(self) -> None:
        limit = Path("/proc/sys/user/max_mnt_namespaces")
        script = f"echo 0 > {limit} && exec {sys.executable} -m memsim_py shell -- true"
        # In a user namespace of its own, so that the limit is only this test's.
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--", "sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("memsim: cannot make a mount namespace here: ")
        assert "allow user namespaces" in done.stderr

    @pytest.mark.needs("util-linux")
    def test_memsim_shell_lets_util_linux_lsmem_list_the_machine(self) -> None:
        done = run_program(
            "memsim", "shell", "--profile", "x86-two-nodes", "--", DEBIAN_LSMEM, "-b"
        )
        assert done.returncode == 0
        assert "Total online memory:        16106127360" in done.stdout
        assert "Total offline memory:        1073741824" in done.stdout

    @pytest.mark.needs("util-linux")
    @pytest.mark.parametrize("name", ["x86-two-nodes", "s390-pre-6.19"])
    def test_memsim_shell_lets_util_linux_chmem_change_the_machine(
        self, tmp_path: Path, name: str
    ) -> None:
        directory.create(tmp_path / "m", boot(name))
        offline = str(128 if name == "x86-two-nodes" else 16)
        expected = Sysfs(boot(name))
        for options, block, word in (
            (["-e", "-b", offline], offline, "online_movable"),
            (["-d", "-b", "10"], "10", "offline"),
        ):
            done = run_program("memsim", "shell", tmp_path / "m", "--", DEBIAN_CHMEM, *options)
            assert (done.returncode, done.stderr) == (0, "")
            expected.write(f"{MEMORY}/memory{block}/state", word.encode())
        assert tree_at(tmp_path / "m") == tree_of(expected)


@pytest.mark.needs("root", "fuse3", "/dev/fuse")
def test_memsim_shell_says_in_three_lines_where_it_is_and_how_to_leave(tmp_path: Path) -> None:
    directory.create(tmp_path / "m", boot("s390-lpar"))
    environment = clean_environment(SHELL="/bin/sh", PS1="ready> ")
    terminal = Terminal("memsim", "shell", tmp_path / "m", columns=200, environment=environment)
    terminal.read_until(terminal.shows("ready>"))
    assert terminal.text() == [
        f"This shell is on the simulated machine {tmp_path}/m.",
        "Its memory is below /sys; everything else is as outside (try: lsmem).",
        "Leave with exit or Ctrl-D.",
        "ready>",
    ]
    terminal.process.sendline("lsmem -nS none --summary=never -o BLOCK")
    terminal.read_until(lambda: "0-31" in terminal.text())
    terminal.process.sendeof()
    assert terminal.finish() == 0
    greeting = "This shell is on a new simulated machine: An x86 server with two nodes"
    terminal = Terminal(
        *("memsim", "shell", "--profile", "x86-two-nodes"), columns=200, environment=environment
    )
    terminal.read_until(terminal.shows("ready>"))
    assert terminal.text()[0].startswith(greeting)
    terminal.process.sendline("exit 3")
    assert terminal.finish() == 3


@pytest.mark.needs("fuse3", "/dev/fuse")
def test_memsim_mount_refuses_the_machines_own_directory(lpar: Path) -> None:
    for point in (lpar, lpar / "sys"):
        done = run_program("memsim", "mount", lpar, point)
        assert done.returncode == 1
        assert "the machine's own directory cannot be mounted on" in done.stderr
