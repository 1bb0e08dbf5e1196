"""Standard output that takes nothing does not stop the work of chmem."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from chmem_py.cli import chmem as command
from chmem_py.output import Output
from commands import Command
from hotplug_cli.message import Sentence
from hotplug_cli.program import CommandError
from simulated import conditions, make, s390

FULL = f"chmem: write error: {os.strerror(28)}\n"


def full(buffering: int) -> IO[str]:
    return open("/dev/full", "w", buffering=buffering)


def without_reader(buffering: int) -> IO[str]:
    read, write = os.pipe()
    os.close(read)
    return open(write, "w", buffering=buffering)


@pytest.mark.parametrize("buffering", [1, -1])
@pytest.mark.parametrize(
    ("blocks", "opened", "status", "told"),
    [
        ("4-7", full, 1, FULL),
        ("4-9", full, 64, FULL),
        ("4-7", without_reader, 0, ""),
        ("4-9", without_reader, 64, ""),
    ],
)
def test_output_that_is_lost_is_told_once_and_the_work_is_done(
    blocks: str,
    opened: Callable[[int], IO[str]],
    status: int,
    told: str,
    buffering: int,
    chmem: Command,
    tmp_path: Path,
) -> None:
    root = make(tmp_path / "machine", s390())
    lost = opened(buffering)
    with contextlib.redirect_stdout(lost):
        done = chmem("-s", root, "--advice=never", "-v", "-e", "-b", blocks)
        with sys.stdout as left:
            # Where Python writes what is left when the process ends.
            assert left.name == "/dev/null"
    with contextlib.suppress(OSError):
        lost.close()
    assert (done.status, done.stderr) == (status, told)
    assert {conditions(root)[block].state for block in range(4, 8)} == {"online"}


def test_of_what_util_linux_would_not_write_the_first_is_written_if_nothing_else_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for status, told in ((0, ""), (1, "chmem: first\n")):
        output = Output()
        output.advice = False
        for text in ("first", "second"):
            output.say(Sentence(text, "advice"))
        assert output.finish(status) == status
        assert capsys.readouterr() == ("", told)


def test_an_error_before_there_are_options_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.write_error(command.line(), CommandError(Sentence("nothing works"))) == 1
    assert capsys.readouterr() == ("", "chmem: nothing works\n")
