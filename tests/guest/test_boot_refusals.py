"""memsim boot where it cannot boot: one sentence, status 1."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from commands import run_program

PROGRAMS = ("qemu-system-s390x", "setpriv")


def refused(*arguments: str, there: Iterable[str] = PROGRAMS, cache: Path) -> str:
    """What is said; in PATH only these programs are found, and none is ever started."""
    programs = cache / "bin"
    programs.mkdir(exist_ok=True)
    for name in there:
        (programs / name).write_text("#!/bin/false\n")
        (programs / name).chmod(0o755)
    paths = {"XDG_CACHE_HOME": str(cache), "PATH": str(programs)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in paths.items():
            patch.setenv(name, value)
        done = run_program("memsim", "boot", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    return sentence


@pytest.mark.parametrize(
    ("missing", "package"), [("qemu-system-s390x", "qemu-system-misc"), ("setpriv", "util-linux")]
)
def test_without_a_program_it_says_what_to_install(
    missing: str, package: str, tmp_path: Path
) -> None:
    said = refused(there={*PROGRAMS} - {missing}, cache=tmp_path)
    assert said.endswith(f"{missing} is not installed here: apt-get install {package}")


def test_before_anything_is_fetched_it_says_how_to_fetch(tmp_path: Path) -> None:
    assert "memsim boot --fetch" in refused(cache=tmp_path)


def test_fetching_without_apt_says_what_is_missing(tmp_path: Path) -> None:
    assert "fetching needs apt-get" in refused("--fetch", cache=tmp_path)


def test_a_machine_that_is_no_s390_is_refused_before_anything_else(tmp_path: Path) -> None:
    assert "firmware" in refused("--profile", "x86-laptop", cache=tmp_path)


def test_a_kernel_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "/no/kernel" in refused("--kernel", "/no/kernel", cache=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--memory", "2G", "--increment", "96M"), "a power of two"),
        (("--memory", "2G", "--increment", "512K"), "1 MiB or more"),
        (("--memory", "100T"), "at most 65535 increments"),
    ],
)
def test_increments_that_no_s390_has_are_refused(
    arguments: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    assert reason in refused(*arguments, cache=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--profile", "s390-lpar", "--memory", "2G"),
        ("--standby", "2G"),
        ("--increment", "8M", "--from", "x.json"),
        ("--memory", "many"),
    ],
)
def test_memsim_boot_refuses_what_cannot_be_meant(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    assert refused(*arguments, cache=tmp_path)
    assert sorted(os.listdir(tmp_path / "bin")) == sorted(PROGRAMS)
