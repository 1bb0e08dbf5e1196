"""lsmem as a process: its streams, and the terminal."""

import os
import re
import shlex

import pexpect
import pytest

from commands import SCRIPTS, Machines, run_program


def test_a_closed_pipe_exits_141_silently(machines: Machines) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_program("lsmem", "-s", machines("arm64-offset"), "-a", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["-a"], ["--help"], ["-J", "--typed"]])
def test_a_full_disk_is_a_write_error(arguments: list[str], machines: Machines) -> None:
    with open("/dev/full", "w") as full:
        done = run_program("lsmem", "-s", machines("one-block"), *arguments, stdout=full)
    expected = "lsmem: write error: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_a_closed_standard_output_is_a_write_error(machines: Machines) -> None:
    without = ("sh", "-c", 'exec "$@" >&-', "sh")
    done = run_program("lsmem", "-s", machines("one-block"), within=without)
    assert (done.returncode, done.stderr) == (1, "lsmem: write error: Bad file descriptor\n")


@pytest.mark.parametrize(("view", "status"), [("--at", 1), ("--diff", 2)])
@pytest.mark.parametrize("instead", ["<&-", "</"])
def test_a_standard_input_without_text_is_told(
    view: str, status: int, instead: str, machines: Machines
) -> None:
    without = ("sh", "-c", f'exec "$@" {instead}', "sh")
    done = run_program("lsmem", "-s", machines("one-block"), view, "-", within=without)
    expected = "lsmem: -: standard input is closed or a directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (status, "", expected)


def test_a_standard_input_that_nobody_reads_may_be_a_directory(machines: Machines) -> None:
    line = ("lsmem", "-s", machines("one-block"))
    done = run_program(*line, within=("sh", "-c", 'exec "$@" </', "sh"))
    assert done.returncode == 0
    assert done.stdout == run_program(*line).stdout


def test_a_closed_standard_error_changes_no_exit_status() -> None:
    without = ("sh", "-c", 'exec "$@" 2>&-', "sh")
    done = run_program("lsmem", "-s", "/nowhere", within=without)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_a_terminal_has_colour_unless_no_color_or_dumb(
    environment: dict[str, str], coloured: bool, machines: Machines
) -> None:
    # Tooltips are escape sequences, too, and SIZE is wider on a terminal.
    arguments = ["-s", str(machines("s390-mixed")), "--annotate=never", "-o", "RANGE,STATE"]
    shown: str = pexpect.run(
        shlex.join([str(SCRIPTS / "lsmem"), *arguments]),
        env={**os.environ, "NO_COLOR": "", **environment},
        encoding="utf-8",
    )  # type: ignore[assignment]  # the stubs think of withexitstatus
    plain = run_program("lsmem", *arguments).stdout
    assert ("\033[" in shown) == coloured
    assert re.sub(r"\033\[[0-9;]*m", "", shown).replace("\r\n", "\n") == plain
