"""The memsim command line."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from commands import Command, run_program
from hotplug_cli.progress import Progress
from memsim import directory, profile, tree
from memsim.capture import capture_tree, read_tree
from memsim.description import parse
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY
from memsim_py.cli import commands
from simulated import make, tree_at, tree_of


def test_memsim_profiles_lists_each_profile_with_a_sentence(memsim: Command) -> None:
    lines = memsim("profiles").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(profile.PROFILES)
    assert all(line.endswith(".") and len(line) > 40 for line in lines)


def test_memsim_create_takes_a_profile_sizes_a_file_or_a_capture(
    tmp_path: Path, memsim: Command
) -> None:
    (tmp_path / "x.json").write_text(
        json.dumps({"block_size": 1 << 27, "blocks": [{"range": [0, 3]}]})
    )
    sizes = ["--memory", "2G", "--standby", "2g", "--block-size", "256M", "--nodes", "2"]
    for name, options in (
        ("profile", ["--profile", "arm64-offset"]),
        ("sizes", sizes),
        ("file", ["--from", str(tmp_path / "x.json")]),
        ("capture", ["--capture", str(tmp_path / "profile")]),
    ):
        done = memsim("create", tmp_path / name, *options)
        assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert tree_at(tmp_path / "profile") == tree_of(boot("arm64-offset"))
    assert tree_at(tmp_path / "capture") == tree_at(tmp_path / "profile")
    assert len(list((tmp_path / "sizes" / MEMORY).glob("memory*"))) == 8
    assert len(list((tmp_path / "sizes" / FIRMWARE).glob("memory*"))) == 16
    assert len(list((tmp_path / "file" / MEMORY).glob("memory*"))) == 4


@pytest.mark.parametrize(
    ("size", "mib"),
    [
        *(("128", 128), ("1G", 1024), ("1.5g", 1536), ("0.5GiB", 512), ("0x80", 128)),
        ("256mib", 256),
    ],
)
def test_memsim_takes_sizes_as_chmem_does(
    size: str, mib: int, tmp_path: Path, memsim: Command, chmem: Command
) -> None:
    root = tmp_path / "m"
    done = memsim("create", root, "--memory", size, "--slots", size)
    assert (done.status, done.stderr) == (0, "")
    assert f"Blocks online:          {mib // 128} (" in memsim("show", root).stdout
    assert memsim("plug", root, "--memory", size).status == 0
    assert chmem("-s", root, "--enable", size).status == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--profile", "vax"], "no profile is named vax; the profiles are s390-lpar, s390-zvm, "),
        (["--from", "/nonexistent.json"], "/nonexistent.json: No such file or directory"),
        (["--capture", "/nonexistent"], "/nonexistent: No such file or directory"),
        (["--capture", "/dev"], "/dev: no memory blocks here: there is no sys/devices/system"),
        (["--memory", "134217728B"], "--memory: expected a size such as 128M, not 134217728B"),
        (["--memory", "2X"], "--memory: expected a size such as 128M, not 2X"),
        (
            ["--memory", "100"],
            "memory: expected a multiple of 128 MiB, the block size, not 100 MiB\n",
        ),
        (
            ["--memory", "16GB"],
            "memory: expected a multiple of 128 MiB, the block size, not 16000000000 bytes\n"
            "memsim: 16GB is 16000000000 bytes, in powers of 1000; 16G is 16 GiB\n",
        ),
        (
            ["--memory", "1G", "--standby", "1G", "--nodes", "3"],
            "memory: expected a multiple of 128 MiB, the block size, for each of 3 nodes, not",
        ),
        (["--memory", "1G", "--used", "2G"], "used: expected no more than the memory, 1073741824"),
        (["--memory", "1G", "--block-size", "3M"], "block size: expected a power of two, 1 MiB"),
        (["--memory", "1G", "--nodes", "0"], "nodes: expected 1 or more, not 0"),
        (["--standby", "1G"], "option --memory is missing"),
        (["--memory", "1" * 5000], "--memory: expected a size such as 128M, not 1111"),
        (
            ["--memory", "1G", "--profile", "huge"],
            "say which machine in one way, not in two: --profile, --memory",
        ),
        ([], "say which machine, in one way"),
    ],
)
def test_memsim_create_refuses_a_wrong_machine_in_one_sentence(
    tmp_path: Path, options: list[str], complaint: str, memsim: Command
) -> None:
    done = memsim("create", tmp_path / "m", *options)
    assert done.status == 1
    assert done.stderr.startswith(f"memsim: {complaint}")
    assert done.stderr.count("\n") in (1, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", ["", "/", "{root}/sys/devices/system/memory/"])
def test_memsim_write_tells_the_path_from_the_root(
    before: str, lpar: Path, memsim: Command
) -> None:
    done = memsim("write", lpar, f"{before.format(root=lpar)}memory5/state", "offline")
    assert done.status == 1
    assert done.stderr.splitlines()[-1] == (
        "memsim: did you mean /sys/devices/system/memory/memory5/state?"
    )
    assert "did you mean" not in memsim("write", lpar, "memory99/state", "offline").stderr


def test_memsim_create_names_the_missing_parent_directory(tmp_path: Path, memsim: Command) -> None:
    done = memsim("create", tmp_path / "none/m", "--profile", "s390-lpar")
    missing = f"memsim: {tmp_path}/none/m: there is no directory {tmp_path}/none\n"
    assert (done.status, done.stderr) == (1, missing)


@pytest.mark.parametrize(("many", "terminal", "told"), [(32, 1, 1), (32, 0, 0), (33, 1, 0)])
def test_memsim_create_of_many_blocks_announces_itself_on_a_terminal(
    many: int, terminal: bool, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("memsim.tree.MANY", many)
    begun, before = [], set(threading.enumerate())

    def processors() -> int:
        begun.append(set(threading.enumerate()) - before)
        return 1

    monkeypatch.setattr("memsim.tree.processors", processors)
    commands.main(["create", str(tmp_path / "m"), "--profile", "s390-lpar"], standalone_mode=False)
    line = f"memsim: making 32 memory blocks in {tmp_path}/m; Ctrl-C ends it\n"
    assert screen.getvalue() == (line if told else "")
    # The thread of the progress bar begins after other processes have been started.
    # A thread of an earlier test may end meanwhile.
    assert begun == ([set()] if many <= 32 else [])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "say what to do: profiles, create, write, "),
        (["nope"], "no command is named nope; the commands are profiles, create, "),
    ],
)
def test_memsim_without_a_known_command_names_the_commands(
    arguments: list[str], complaint: str, memsim: Command
) -> None:
    done = memsim(*arguments)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"memsim: {complaint}")
    assert done.stderr.endswith("\nTry 'memsim --help' for more information.\n")


def test_memsim_create_leaves_an_existing_path_as_it_is(tmp_path: Path, memsim: Command) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/letter").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("d", "file", "link"):
        done = memsim("create", tmp_path / name, "--profile", "s390-lpar")
        assert done.status == 1
        assert "exists already, and is left as it is" in done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d", "file", "letter", "link"]


def test_memsim_write_answers_as_the_kernel_does(lpar: Path, memsim: Command) -> None:
    config = f"/{FIRMWARE}/memory16/config"
    done = memsim("write", lpar, config, "1")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert (lpar / MEMORY / "memory16/state").read_text() == "offline\n"
    done = memsim("write", lpar, f"/{FIRMWARE}/memory3/config", "0")
    assert done.status == 1
    assert done.stderr == f"memsim: /{FIRMWARE}/memory3/config: Device or resource busy\n"


def test_memsim_fault_sets_and_clears_what_show_shows(lpar: Path, memsim: Command) -> None:
    state = f"/{MEMORY}/memory3/state"
    options = ["--offline", "3=EBUSY:1", "--config", "16=EIO", "--delay", "offline:4=0.5"]
    assert memsim("fault", lpar, *options).status == 0
    shown = memsim("show", lpar).stdout
    assert "block 3, EBUSY, 1 times" in shown
    assert "block 16, EIO, always" in shown
    assert "block 4, 0.5 seconds" in shown
    assert "resource busy" in memsim("write", lpar, state, "offline").stderr
    assert memsim("write", lpar, state, "offline").status == 0
    assert memsim("fault", lpar, "--clear").status == 0
    shown = memsim("show", lpar).stdout
    assert "Fault" not in shown
    assert "Delay" not in shown


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--offline", "3"],
        ["--offline", "x=EBUSY"],
        ["--offline", "3=EFOO"],
        ["--offline", "3=EBUSY:0"],
        ["--offline", "3=EBUSY:x"],
        ["--offline", "99=EBUSY"],
        ["--delay", "3=1"],
        ["--delay", "offline:3=soon"],
        ["--delay", "offline:3=-1"],
    ],
)
def test_memsim_fault_refuses_a_wrong_fault_or_delay(
    lpar: Path, options: list[str], memsim: Command
) -> None:
    done = memsim("fault", lpar, *options)
    assert done.status == 1
    assert done.stderr.startswith("memsim: ")
    assert done.stderr.count("\n") in (1, 2)


def test_memsim_show_json_has_the_machine_and_its_live_state(lpar: Path, memsim: Command) -> None:
    shown = json.loads(memsim("show", lpar, "--json").stdout)
    assert parse(shown["machine"]) == profile.load("s390-lpar")
    assert shown["live"]["pool"] == 2 << 30


def test_memsim_reboot_makes_configured_memory_standby_again(lpar: Path, memsim: Command) -> None:
    memsim("write", lpar, f"/{FIRMWARE}/memory16/config", "1")
    memsim("write", lpar, f"/{MEMORY}/memory5/state", "offline")
    assert memsim("reboot", lpar).status == 0
    assert tree_at(lpar) == tree_of(boot("s390-lpar"))


def test_memsim_changes_no_machine_whose_mark_is_damaged(lpar: Path, memsim: Command) -> None:
    (lpar / directory.MARK).write_text("garbage")
    before = tree_at(lpar)
    commands: list[list[str | Path]] = [
        ["write", lpar, f"/{MEMORY}/memory3/state", "offline"],
        ["reboot", lpar],
        ["fault", lpar, "--clear"],
        ["show", lpar],
    ]
    for words in commands:
        done = memsim(*words)
        assert done.status == 1
        assert "damaged (.memsim/machine.json: " in done.stderr
        assert "so it can only be read\nmemsim: memsim create makes a new one\n" in done.stderr
    assert tree_at(lpar) == before


@pytest.mark.parametrize("words", [["frobnicate"], [], ["write"], ["show", "/nonexistent"]])
def test_memsim_bad_usage_is_one_sentence_and_no_traceback(
    words: list[str], memsim: Command
) -> None:
    done = memsim(*words)
    assert done.status == 1
    assert done.stderr.startswith("memsim: ")
    assert "Traceback" not in done.stderr


def test_memsim_capture_holds_the_memory_tree_and_nothing_else(
    lpar: Path, tmp_path: Path, memsim: Command
) -> None:
    (lpar / "sys/devices/system/cpu").mkdir()
    (lpar / "sys/devices/system/cpu/online").write_text("0-3")
    (lpar / "etc").mkdir()
    done = memsim("capture", tmp_path / "c", "--sysroot", lpar)
    assert (done.status, done.stderr) == (0, "")
    of_devices = re.compile("/(uevent|subsystem)$")
    expected = {p: t for p, t in tree_of(boot("s390-lpar")).items() if not of_devices.search(p)}
    assert tree_at(tmp_path / "c") == expected
    assert memsim("capture", tmp_path / "c.tar.gz", "-s", lpar).status == 0
    (tmp_path / "t").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "t", "-xzf", tmp_path / "c.tar.gz"], check=True)
    assert tree_at(tmp_path / "t") == expected
    done = memsim("capture", tmp_path / "c", "--sysroot", lpar)
    assert (done.status, "exists already" in done.stderr) == (1, True)


@pytest.mark.needs("memory blocks")
def test_memsim_capture_of_this_machine_can_be_simulated(tmp_path: Path) -> None:
    assert capture_tree(tmp_path / "c") > 2
    captured = dict(read_tree(tmp_path / "c"))
    kernel = profile.from_tree(tmp_path / "c")
    shown = tree_of(kernel)
    for path, content in captured.items():
        text = content if isinstance(content, str) else content.decode()
        assert shown[path] == text, path


def test_memsim_create_takes_an_archive_as_it_takes_a_directory(
    tmp_path: Path, memsim: Command
) -> None:
    assert memsim("create", tmp_path / "m", "--profile", "x86-two-nodes").status == 0
    for captured, made in (("case", "from-directory"), ("case.tar.gz", "from-archive")):
        assert memsim("capture", "-s", tmp_path / "m", tmp_path / captured).status == 0
        done = memsim("create", tmp_path / made, "--capture", tmp_path / captured)
        assert (done.status, done.stderr) == (0, "")
    shown = [memsim("show", tmp_path / name).stdout for name in ("from-directory", "from-archive")]
    assert shown[0] == shown[1] != ""
    (tmp_path / "text").write_text("no archive")
    done = memsim("create", tmp_path / "none", "--capture", tmp_path / "text")
    assert done.status == 1
    assert "not an archive that memsim capture made" in done.stderr


def test_memsim_create_takes_no_number_of_thousands_of_digits(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(f'{{"block_size": {"9" * 5000}}}')
    done = run_program("memsim", "create", tmp_path / "m", "--from", tmp_path / "machine.json")
    assert done.returncode == 1
    assert done.stderr.endswith("machine.json: expected JSON, not something else\n")


@pytest.mark.parametrize("words", [("create", "", "--profile", "s390-lpar"), ("capture", "")])
def test_an_empty_name_is_refused_as_the_kernel_does(memsim: Command, words: list[str]) -> None:
    done = memsim(*words)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == "memsim: '': No such file or directory\n"


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.xz", "x.gz"])
def test_a_capture_is_no_other_archive(name: str, tmp_path: Path, memsim: Command) -> None:
    directory.create(tmp_path / "m", boot("s390-lpar"))
    done = memsim("capture", tmp_path / name, "-s", tmp_path / "m")
    assert done.status == 1
    assert done.stderr.startswith(
        f"memsim: {tmp_path / name}: memsim capture writes a .tar.gz or a directory\n"
    )
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("call", ["symlink", "mkdir", "write"])
def test_a_disk_that_fills_while_a_machine_is_made_is_told_with_the_file(
    call: str, tmp_path: Path, memsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(os, call)
    left = 20

    def full(*words: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*words, **more)

    monkeypatch.setattr(os, call, full)
    done = memsim("create", tmp_path / "m", "--profile", "x86-two-nodes")
    assert done.status == 1
    said = re.fullmatch(r"memsim: (.*): No space left on device\n", done.stderr)
    assert said
    assert said[1].startswith(f"{tmp_path / 'm'}/sys/")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ["create", "capture"])
def test_a_second_signal_while_files_are_removed_leaves_none(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine or a capture that a signal ended is removed, whatever signal comes then."""
    root = make(tmp_path / "machine", "s390-lpar")

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)  # other threads may live

    remove = shutil.rmtree

    def interrupted(path: Any, *_: object, **__: object) -> None:
        interrupt()
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    if what == "create":
        monkeypatch.setattr(tree, "fill", interrupt)
    else:
        monkeypatch.setattr(Path, "write_bytes", interrupt)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        if what == "create":
            directory.create(tmp_path / "new", boot("s390-lpar"))
        else:
            capture_tree(tmp_path / "new", root)
    assert sorted(tmp_path.iterdir()) == before


def test_the_progress_of_create_ends_at_all_blocks(
    tmp_path: Path, memsim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    class Bar(Progress):
        def done(self, blocks: int) -> None:
            told.append(blocks)

    monkeypatch.setattr("memsim_py.cli.Progress", Bar)
    monkeypatch.setattr("memsim_py.cli._NOTED", 1)
    for number, words in enumerate((["--profile", "s390-lpar"], ["--memory", "4G"])):
        told.clear()
        assert memsim("create", tmp_path / f"m{number}", *words).status == 0
        assert told == sorted(told)
        assert told[-1] == 32
        assert len(told) > 32


@pytest.mark.parametrize("words", [("--memory", "-1G"), ("--memory=-1G",)])
def test_a_size_below_zero_is_told_as_any_wrong_size(
    words: tuple[str, ...], tmp_path: Path, memsim: Command
) -> None:
    done = memsim("create", tmp_path / "m", *words)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith("memsim: --memory: expected a size such as 128M, not -1G\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "m", "--profile", ""], "no profile is named ''; the profiles are "),
        (["create", "m", "--from", ""], "'': No such file or directory\n"),
        (["create", "m", "--capture", ""], "'': No such file or directory\n"),
        (["create", "m", "--memory", ""], "--memory: expected a size such as 128M, not ''\n"),
        (["create", "m", "--memory=1G", "--profile="], "say which machine in one way, not "),
        (["shell", "--profile", "", "--", "true"], "no profile is named ''; the profiles are "),
        (["shell", "", "--", "true"], "'': expected a simulated machine\n"),
        (["show", ""], "'': expected a simulated machine\n"),
        ([""], "no command is named ''; the commands are "),
    ],
)
def test_an_empty_word_is_no_missing_one_and_is_quoted(
    words: list[str], said: str, memsim: Command
) -> None:
    done = memsim(*words)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"memsim: {said}")
    assert not Path("m").exists()
