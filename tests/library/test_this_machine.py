"""On this machine's own memory, read and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from commands import Command, run_program
from memory_hotplug.trees.files import FileTree

THE_OTHER = Path("/usr/bin/lsmem")


@pytest.mark.needs("memory blocks", "util-linux")
def test_lsmem_shows_the_rows_that_util_linux_shows(lsmem: Command) -> None:
    for options in ([], ["-r"], ["-P"], ["-b"], ["-a", "-o", "RANGE,SIZE,STATE,BLOCK"]):
        theirs = subprocess.run([THE_OTHER, *options], capture_output=True, text=True, check=True)
        # Releases differ in the width of a column, and in what they add to the summary.
        rows = [line.split() for line in theirs.stdout.partition("\n\n")[0].splitlines()]
        shown = lsmem(*options).stdout.partition("\n\n")[0]
        assert [line.split() for line in shown.splitlines()] == rows


@pytest.mark.needs("memory blocks")
def test_the_installed_command_lists_this_machine() -> None:
    assert run_program("lsmem").stdout.startswith("RANGE ")
    assert run_program("lsmem", "--output-all").returncode == 0
    document = json.loads(run_program("lsmem", "-J", "--typed").stdout)
    jsonschema.validate(document, json.loads(run_program("lsmem", "--json-schema").stdout))
    covered = sum(found["size"] for found in document["ranges"])
    assert covered == document["total_online"] + document["total_offline"]


def test_the_module_is_the_command() -> None:
    words = [sys.executable, "-m", "lsmem_py", "-V"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == run_program("lsmem", "-V").stdout


def test_no_root_is_that_of_this_machine() -> None:
    with FileTree("") as tree:
        assert (tree.root, tree.system, tree.is_this_machine) == ("/", "/", True)
