"""The README and the other pages: what they show is real, what they name is there."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from commands import TOP
from memsim.cli import commands as memsim
from terminal import clean_environment

README = (TOP / "README.md").read_text()
MAP = (TOP / "CONTRIBUTING.md").read_text()
PACKAGES = [
    "lsmem_py",
    "chmem_py",
    *sorted(f"common/{path.parent.name}" for path in TOP.glob("common/*/__init__.py")),
]
PAGES = sorted(path for place in ("", "docs/", "ansible/") for path in TOP.glob(f"{place}*.md"))


def blocks(language: str) -> list[str]:
    """The README's blocks of code in LANGUAGE."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for _, text in found]


def test_every_session_in_the_readme_prints_what_it_shows(tmp_path: Path) -> None:
    shown = "".join(blocks("console"))
    commands = re.findall(r"^\$ (.*)", shown, re.MULTILINE)
    assert len(commands) > 10
    done = ""
    for command in commands:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        done += f"$ {command}\n{ran.stdout}"
    assert done == shown


def test_no_example_in_the_readme_changes_this_machine() -> None:
    for command in re.findall(r"^ *(?:\$ )?(chmem .*)", README, re.MULTILINE):
        assert "--sysroot" in command, command


def test_the_readme_lists_a_machine_in_four_lines_of_python() -> None:
    (code,) = blocks("python")
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
    first, second = blocks("sh")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
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


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_in_contributing_has_every_module_under_its_package(package: str) -> None:
    (section,) = re.findall(rf"^### {package}\n(.*?)^##", MAP, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`([\w/]+\.py)`", section))
    there = {str(path.relative_to(TOP / package)) for path in (TOP / package).rglob("*.py")}
    modules = {name for name in there if Path(name).name not in ("__init__.py", "__main__.py")}
    assert named - modules == set(), "CONTRIBUTING.md has modules that are gone"
    assert modules - named == set(), "CONTRIBUTING.md lacks a row for these modules"
