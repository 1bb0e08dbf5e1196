"""Simulated machines under our own chmem: the demo, and the same as Debian's leaves behind."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from commands import run_program
from memsim.profile import boot
from simulated import Tree, make, tree_at, tree_of

DEBIAN = "/usr/sbin/chmem"
OURS = [sys.executable, "-m", "chmem_py"]

REQUESTS = (
    ["-e", "512m"],
    ["-d", "1g"],
    ["-d", "-b", "2-5"],
    ["-e", "-b", "3"],
    ["-d", "-b", "0-1"],
    ["-d", "-b", "0"],
    ["-e", "-z", "Movable", "256m"],
    ["-e", "-b", "4", "-z", "Normal"],
    ["-e", "64g"],
)


def played(root: Path, name: str, program: list[str]) -> list[tuple[int, Tree]]:
    """The status and the machine after each request, the program run in memsim shell."""
    make(root, name)
    seen = []
    for request in REQUESTS:
        done = run_program("memsim", "shell", root, "--", *program, *request)
        assert "Traceback" not in done.stderr
        seen.append((done.returncode, tree_at(root)))
    return seen


@pytest.mark.slow
@pytest.mark.needs("root", "fuse3", "/dev/fuse", "util-linux")
@pytest.mark.parametrize("name", ["x86-two-nodes", "s390-pre-6.19"])
def test_ours_leaves_the_machine_as_debians_does(tmp_path: Path, name: str) -> None:
    theirs = played(tmp_path / "theirs", name, [DEBIAN])
    ours = played(tmp_path / "ours", name, OURS)
    for request, (status, tree), (our_status, our_tree) in zip(REQUESTS, theirs, ours, strict=True):
        assert (our_status, our_tree) == (status, tree), request
    assert theirs[-1][1] != tree_of(boot(name))


@pytest.mark.slow
def test_the_demo_plays_the_cover_letters_session_twice() -> None:
    done = run_program("memsim", "demo")
    assert (done.returncode, done.stderr) == (0, "")
    at_boot = ["0-15 2G online yes no", "16-31 2G offline no yes"]
    around_5 = ["0-4 640M online yes no", "6-15 1.3G online yes no", at_boot[1]]
    expected = [
        at_boot,
        [at_boot[0], "16 128M offline yes yes", "17-31 1.9G offline no yes"],
        at_boot,
        [around_5[0], "5 128M offline no no", *around_5[1:]],
        [around_5[0], "5 128M online yes yes", *around_5[1:]],
        [around_5[0], "5 128M offline no yes", *around_5[1:]],
        at_boot,
        ["0-5 768M online yes no", "6 128M online yes yes", "7-15 1.1G online yes no", at_boot[1]],
    ]
    listings: list[list[str]] = []
    for line in done.stdout.splitlines():
        if line.split()[:1] == ["BLOCK"]:
            listings.append([])
        elif re.match(" *[0-9]", line):
            listings[-1].append(" ".join(line.split()))

    assert listings == expected * 2
    commands = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("$")]
    assert set(commands) == {"memsim", "lsmem", "chmem"}
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r" -[a-z]\b", done.stdout), "short options explain nothing"
