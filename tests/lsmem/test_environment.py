"""What the environment of whoever starts lsmem can do, for example through sudo: nothing much."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDITED = """
import os, sys

def hook(event, arguments):
    if event in {"open", "os.listdir", "os.scandir", "os.exec", "subprocess.Popen"}:
        os.write(2, b"audit: " + repr((event, arguments[0])).encode() + b"\\n")

sys.addaudithook(hook)
sys.argv[0] = "lsmem"
from lsmem_py.cli import main
main()
"""
"""lsmem, and on standard error what it opens and starts (PEP 578)."""


def opened(directory: Path, *arguments: str | Path, **environment: str) -> list[str]:
    """What of a directory lsmem opens."""
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("audit: ")]
    assert len(lines) > 20
    return [line for line in lines if str(directory) in line]


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--map", "--color"], ["--nonsense"], ["--format", "html"]]
)
def test_no_variable_of_the_caller_makes_lsmem_open_a_file(
    arguments: list[str], tree: Path, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    (evil / "LC_MESSAGES").mkdir(parents=True)
    (evil / "LC_MESSAGES/messages.mo").write_bytes(b"")
    names = ["LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG", "HOME", "XDG_CONFIG_HOME", "TERMINFO"]
    names += ["LSMEM_COLUMNS", "COLUMNS", "LINES", "TERM", "COLORTERM", "TMPDIR", "NLSPATH"]
    for value in (str(evil), f"en:{evil}"):
        variables = dict.fromkeys(names, value)
        assert opened(evil, "-s", tree, *arguments, **variables) == []
        variables["LSMEM_COLUMNS"] = "SIZE"
        assert opened(evil, "-s", tree, *arguments, **variables) == []


def test_completion_variables_make_lsmem_read_no_tree(tree: Path) -> None:
    variables = {"_LSMEM_COMPLETE": "bash_complete", "COMP_WORDS": f"lsmem -s {tree} -o "}
    assert opened(tree, "-s", "/nowhere", **variables) == []


def lsmem_alone(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lsmem_py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )


def test_completion_without_words_offers_nothing_and_no_traceback() -> None:
    done = lsmem_alone(_LSMEM_COMPLETE="zsh_complete")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_a_format_of_box_characters_is_shown_in_a_locale_without_them(tree: Path) -> None:
    done = lsmem_alone("-s", tree, "--format", "fancy_grid", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2502" in done.stdout
