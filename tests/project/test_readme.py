"""The README and the other pages: what they show is real, what they name is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from chmem_py.cli import chmem
from commands import TOP
from lsmem_py.cli import lsmem
from memsim_py.cli import commands as memsim
from sessions import fenced, replay
from terminal import clean_environment

README = (TOP / "README.md").read_text()
MAP = (TOP / "CONTRIBUTING.md").read_text()
PAGES = sorted(path for place in ("", "docs/", "ansible/") for path in TOP.glob(f"{place}*.md"))
WITH_SESSIONS = [page for page in PAGES if fenced(page.read_text(), "console")]


def name(page: Path) -> str:
    return str(page.relative_to(TOP))


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("page", WITH_SESSIONS, ids=name)
def test_every_session_of_a_page_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    shown = "".join(fenced(page.read_text(), "console"))
    assert replay(shown, tmp_path, clean_environment()) == shown


def test_the_readme_and_the_pages_about_machines_have_sessions() -> None:
    names = set(map(name, WITH_SESSIONS))
    assert {"README.md", "docs/simulator.md", "docs/s390.md", "docs/many-machines.md"} <= names


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_session_of_a_page_changes_this_machine(page: Path) -> None:
    shown = "".join(fenced(page.read_text(), "console"))
    for command in re.findall(r"^\$ (chmem .*)", shown, re.MULTILINE):
        assert "--sysroot" in command, command


def test_the_readme_installs_as_the_page_about_installation_does() -> None:
    (commands,) = fenced(README, "bash")
    assert commands in fenced((TOP / "docs/install.md").read_text(), "bash")


def test_the_layout_in_the_readme_is_reached_and_kept(tmp_path: Path) -> None:
    (text,) = fenced(README, "toml")
    (tmp_path / "layout.toml").write_text(text)
    session = """\
$ memsim create lpar --profile s390-lpar
$ chmem --sysroot lpar --apply layout.toml
auto_online_blocks set to online_movable
1G changed: memory blocks 16-23
$ chmem --sysroot lpar --apply layout.toml
nothing to change
"""
    assert replay(session, tmp_path, clean_environment()) == session


def test_the_readme_lists_the_options_of_a_real_machine_as_they_are() -> None:
    known = {
        "lsmem": set(lsmem.by_name),
        "chmem": set(chmem.by_name),
    }
    rows = re.findall(r"`(lsmem|chmem) ([^`]*)`", README)
    assert len(rows) > 12
    for command, words in rows:
        assert set(re.findall(r"--[\w-]+", words)) <= known[command], (command, words)


def test_the_readme_lists_a_machine_in_four_lines_of_python() -> None:
    (code,) = fenced(README, "python")
    assert len([line for line in code.splitlines() if line]) == 4
    code = code.replace('at("/")', 'simulated("s390-lpar")')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "0x0-0x7fffffff online 0",
        "0x80000000-0xffffffff disabled None",
    ]


def test_every_memsim_command_in_the_readme_is_one() -> None:
    known = memsim.list_commands(click.Context(memsim))
    named = re.findall(r"^    memsim (\w+)", README, re.MULTILINE)
    assert named
    assert set(named) <= set(known)


def test_the_readme_has_the_two_commands_that_ci_runs() -> None:
    first, second = fenced(README, "sh")
    assert first.startswith("python3 -m venv .venv && ")
    assert second.endswith("/pytest -n auto\n")


def test_tests_that_the_readmes_command_leaves_out_have_commands_that_ci_runs() -> None:
    (addopts,) = re.findall(r"^addopts = .*-m '(.*)'", (TOP / "pyproject.toml").read_text(), re.M)
    left_out = addopts.removeprefix("not ").split(" and not ")
    assert left_out == ["slow", "vm", "package"]
    for mark in left_out:
        command = f".venv/bin/pytest -m {mark}"
        for page in (".ci/run", "CONTRIBUTING.md"):
            assert command in (TOP / page).read_text(), page


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["alone", "with -n"])
def test_the_run_says_how_to_run_what_it_left_out(processes: list[str]) -> None:
    # In a process of its own: a run of pytest within another shares its plugins.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *processes, "tests/memsim/test_survival.py"],
        cwd=TOP,
        capture_output=True,
        text=True,
    )
    assert "left out: 3 slow tests (`pytest -m slow`)\n" in done.stdout


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["alone", "with -n"])
def test_the_run_says_in_one_line_what_to_install(processes: list[str]) -> None:
    words = [sys.executable, "-m", "pytest", *processes, "tests/lsmem/test_metrics.py"]
    without = {**os.environ, "PATH": "/nowhere", "MEMORY_HOTPLUG_NO_SKIP": "0"}
    done = subprocess.run(
        [*words, "-k", "promtool"], cwd=TOP, env=without, capture_output=True, text=True
    )
    told = [line for line in done.stdout.splitlines() if "left out" in line or "SKIP" in line]
    assert told == ["left out: 3 tests that need `apt-get install prometheus`"]
    assert " 3 skipped" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(
        r"\b(?:tests|docs|man|common|completion|debian|ansible|contrib)/[\w./-]*\w", text
    )
    for link in links:
        assert (page.parent / link).exists(), link
    for name in named:
        assert (TOP / name).exists(), name
