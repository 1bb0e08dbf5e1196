"""Simulated machines under our own chmem: the demo, and the same as Debian's leaves behind."""

from __future__ import annotations

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
    at_boot = ["2G online 0-15 yes no", "2G offline 16-31 no yes"]
    around_5 = ["640M online 0-4 yes no", "1.3G online 6-15 yes no", at_boot[1]]
    expected = [
        at_boot,
        [at_boot[0], "128M offline 16 yes yes", "1.9G offline 17-31 no yes"],
        at_boot,
        [around_5[0], "128M offline 5 no no", *around_5[1:]],
        [around_5[0], "128M online 5 yes yes", *around_5[1:]],
        [around_5[0], "128M offline 5 no yes", *around_5[1:]],
        at_boot,
        ["768M online 0-5 yes no", "128M online 6 yes yes", "1.1G online 7-15 yes no", at_boot[1]],
    ]
    listings: list[list[str]] = []
    for line in done.stdout.splitlines():
        if line.startswith("RANGE"):
            listings.append([])
        elif line.startswith("0x"):
            listings[-1].append(" ".join(line.split()[1:]))

    assert listings == expected * 2
    commands = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("$")]
    assert set(commands) == {"memsim", "lsmem", "chmem"}
