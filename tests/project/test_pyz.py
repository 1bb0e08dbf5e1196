"""The single file: all commands, with all they need, on any Python and without an environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outside import run_outside
from simulated import make

HERE = Path(__file__).parents[2]
PYTHONS = sorted({sys.executable, shutil.which("python3", path="/usr/bin") or sys.executable})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pyz") / "memory-hotplug-tools.pyz"
    # It uses what is public, and nothing else.
    assert run_outside(HERE / "contrib/make-pyz", arguments=(made,)) == (0, "")
    return made


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    """Without any environment, elsewhere."""
    line = [str(word) for word in words]
    return subprocess.run(line, capture_output=True, text=True, env={}, cwd="/")


@pytest.mark.parametrize("python", PYTHONS)
def test_the_single_file_runs_all_commands(python: str, file: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "m", "s390-lpar")
    start = (python, "-IS", file)
    for words in (
        *(("lsmem", "-s", root), ("lsmem", "-s", root, "--map"), ("lsmem", "-s", root, "-J")),
        ("lsmem", "-s", root, "--format", "github"),
        *(("chmem", "-s", root, "-e", "256m"), ("chmem", "-s", root, "--json", "-d", "-b", "16")),
        *(("memsim", "show", root), ("memsim", "create", tmp_path / "n", "--memory", "1G")),
        *(("lsmem", "--help"), ("chmem", "--version"), ("memsim", "profiles")),
    ):
        done = ran(*start, *words)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout or words[0] != "lsmem"


def test_a_link_is_the_command_of_its_name(file: Path, tmp_path: Path) -> None:
    for name in ("lsmem", "chmem", "memsim"):
        (tmp_path / name).symlink_to(file)
        done = ran(sys.executable, "-IS", tmp_path / name, "--version")
        assert done.stdout.startswith(f"{name} from memory-hotplug-tools ")


def test_the_file_can_be_run_itself(file: Path) -> None:
    assert os.access(file, os.X_OK)
    assert file.read_bytes().startswith(b"#!/usr/bin/python3 -IS\n")


def test_without_a_command_it_says_so(file: Path) -> None:
    for words in ((), ("--help",), ("ls",)):
        done = ran(sys.executable, "-IS", file, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "memory-hotplug-tools.pyz: say which command: memory-hotplug-tools.pyz lsmem, chmem or"
            " memsim; a link of that name does, too\n"
        )


def test_what_it_does_not_have_it_says(file: Path) -> None:
    done = ran(sys.executable, "-IS", file, "memsim", "boot", "--", "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("memsim: cannot boot: this is the single file")


def test_a_printed_command_is_one_that_works(file: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "m", "s390-lpar")
    script = ran(sys.executable, "-IS", file, "chmem", "-s", root, "-d", "40g", "--advice=always")
    assert script.returncode == 1
    assert f"{file} chmem --disable" in script.stderr or "chmem --disable" in script.stderr


def test_the_single_file_is_made_the_same_twice(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pyz"
    subprocess.run([sys.executable, HERE / "contrib/make-pyz", again], check=True)
    assert again.read_bytes() == file.read_bytes()
