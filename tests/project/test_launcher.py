"""The installed commands: how they start, and what nobody can make them run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chmem_py import messages
from commands import SCRIPTS, TOP
from memsim import directory
from memsim.profile import boot
from memsim.sysfs import MEMORY

NAMES = ("lsmem", "chmem", "memsim")


def ran(*words: str | Path, **keywords: object) -> tuple[int, bytes, bytes]:
    done = subprocess.run(  # type: ignore[call-overload]  # keywords of any kind
        list(map(str, words)), capture_output=True, timeout=60, **keywords
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_no_code_of_the_caller_is_run(name: str, tmp_path: Path) -> None:
    spy = f"open({str(tmp_path / 'was-here')!r}, 'w')"
    for module in ("sitecustomize", "usercustomize", "click", "memory_hotplug"):
        (tmp_path / f"{module}.py").write_text(spy)
    user = tmp_path / f"lib/python3.{sys.version_info.minor}/site-packages"
    user.mkdir(parents=True)
    (user / "evil.pth").write_text(f"import os; {spy}\n")
    hostile = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "click.py"),
        "PYTHONUSERBASE": str(tmp_path),
        "PYTHONINSPECT": "1",
        "PYTHONHOME": str(tmp_path),
        "HOME": str(tmp_path),
    }
    status, out, _ = ran(SCRIPTS / name, "--version", env=hostile, cwd=tmp_path)
    assert status == 0
    assert out.startswith(f"{name} from".encode())
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_link_to_a_command_finds_its_python(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(SCRIPTS / name)
    path = f"{tmp_path}:/usr/bin:/bin"
    for words in ([tmp_path / name], [name], ["sh", tmp_path / name]):
        status, out, error = ran(*words, "--version", env={"PATH": path}, cwd="/")
        assert (status, error) == (0, b"")
        assert out.startswith(f"{name} from".encode())


@pytest.mark.parametrize("name", NAMES)
def test_no_program_of_the_caller_is_run(name: str, tmp_path: Path) -> None:
    """Neither to find the file behind a link, nor as the Python of a launcher that has none
    beside it."""
    evil, bare = tmp_path / "evil", tmp_path / "bare"
    evil.mkdir()
    bare.mkdir()
    for program in ("readlink", "python3", "python", "dirname", "env", "sh"):
        (evil / program).write_text(f"#!/bin/sh\n: >{tmp_path}/was-here\n")
        (evil / program).chmod(0o755)
    (tmp_path / name).symlink_to(SCRIPTS / name)
    (bare / name).write_bytes((SCRIPTS / name).read_bytes())
    (bare / name).chmod(0o755)
    status, out, error = ran(tmp_path / name, "--version", env={"PATH": str(evil)})
    assert (status, error) == (0, b"")
    assert out.startswith(f"{name} from".encode())
    # The Python of the system may lack the packages, or be absent.
    ran(bare / name, "--version", env={"PATH": str(evil)})
    assert not (tmp_path / "was-here").exists()


def test_what_it_says_arrives_on_standard_error_and_is_missed_nowhere(tmp_path: Path) -> None:
    status, out, error = ran(SCRIPTS / "lsmem", "--nonsense")
    assert (status, out) == (1, b"")
    assert error.startswith(b"lsmem: unrecognized option '--nonsense'\n")
    closed = f"exec {SCRIPTS / 'lsmem'} --nonsense 2>&-"
    assert ran("sh", "-c", closed) == (1, b"", b"")
    # Nor is anything written to what the caller has as descriptor 9.
    kept = tmp_path / "kept"
    assert ran("sh", "-c", f"exec {SCRIPTS / 'lsmem'} --nonsense 2>&- 9>{kept}")[0] == 1
    assert kept.read_bytes() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_while_it_starts_ends_it_silently(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    # Once chmem has begun, it says how far it came; on a fast machine that is soon.
    nothing = messages.INTERRUPTED.of(done="disabled", blocks="nothing", advice="")
    begun = f"chmem: {nothing.text}\n".encode()
    directory.create(tmp_path / "m", boot("s390-lpar"))
    words = {
        "lsmem": ["-s", tmp_path / "m"],
        "chmem": ["-s", tmp_path / "m", "-b", "-d", "3", "--dry-run"],
        "memsim": ["show", tmp_path / "m"],
    }[name]
    for tenths in range(0, 200, 20):
        process = subprocess.Popen(
            [str(SCRIPTS / name), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(tenths / 2000)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert error == b"" or (name == "chmem" and error.endswith(begun))
        # 1: Python itself was interrupted before it could run anything.
        allowed = (0, 1, -number, 128 + number)
        assert process.returncode in allowed


def test_an_ignored_interrupt_stays_ignored_by_a_command(tmp_path: Path) -> None:
    directory.create(tmp_path / "m", boot("s390-lpar"))
    directory.Directory(tmp_path / "m").change(lambda kernel: kernel.set_delay("offline", 3, 2))
    chmem = f"trap '' INT; exec {SCRIPTS / 'chmem'} -s {tmp_path / 'm'} -b -d 3 -v"
    process = subprocess.Popen(["sh", "-c", chmem], stdout=subprocess.PIPE)
    # All readers see that the write has begun.
    state = tmp_path / "m" / MEMORY / "memory3/state"
    while state.read_text() == "online\n":
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"disabled" in out


def test_the_three_commands_are_one_file() -> None:
    assert len({(TOP / "bin" / name).resolve() for name in NAMES}) == 1


def test_a_python_that_cannot_be_run_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "lsmem").write_bytes((SCRIPTS / "lsmem").read_bytes())
    (tmp_path / "lsmem").chmod(0o755)
    (tmp_path / "python3").symlink_to("/nowhere/python3")
    status, out, error = ran(tmp_path / "lsmem", "--version")
    assert (status, out) == (1, b"")
    assert error.startswith(f"lsmem: {tmp_path}/python3 cannot be run".encode())
    assert error.count(b"\n") == 1
