"""`lsmem --watch` on machines that change while it runs."""

import itertools
import json
import os
import re
import select
import signal
import subprocess
import termios
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from textwrap import wrap

import pytest

import documents
import static_tree
from commands import Command, start_program
from simulated import write
from static_tree import FIRMWARE, MEMORY
from terminal import PATIENCE, Terminal, clean_environment


@pytest.fixture
def watched() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def heading(terminal: Terminal) -> str:
    return terminal.text()[0]


# In a terminal


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_watch_marks_changed_ranges_of_a_listing(lpar: Path, columns: int, no_color: str) -> None:
    # Marks stay for as long as the test may take.
    terminal = Terminal(
        *("lsmem", f"--watch={PATIENCE}", "-s", lpar, "-o", "BLOCK,STATUS"),
        columns=columns,
        environment=clean_environment(NO_COLOR=no_color),
    )
    listing = [
        *wrap("lsmem --watch, by the simulated machine's changes. Ctrl-C ends it.", columns),
        "no change yet",
        "",
        "  BLOCK   STATUS",
        "   0-15   online",
        "  16-31 disabled",
        "",
        "  Memory block size:                128M",
        "  Total online memory:                2G",
        "  Total offline memory:               2G",
        "  Memmap on memory parameter:        yes",
    ]
    terminal.read_until(lambda: terminal.text() == listing)
    write(lpar, f"{FIRMWARE}/memory16/config", "1")
    changed = [
        "  BLOCK   STATUS",
        "   0-15   online",
        "*    16  offline",
        "  17-31 disabled",
    ]
    head = len(listing) - 8
    terminal.read_until(lambda: terminal.text()[head : head + 4] == changed)
    news = terminal.text()[head - 2]
    assert re.fullmatch(r"\d\d:\d\d:\d\d memory16: disabled -> offline", news)
    terminal.process.sendintr()
    assert terminal.finish() == 130
    assert (b"\033[1;31m" in terminal.written) is not bool(no_color)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_watch_marks_changed_cells_of_a_map(lpar: Path, columns: int) -> None:
    options = (f"--watch={PATIENCE}", "--map", "-s", lpar)
    terminal = Terminal("lsmem", *options, columns=columns)
    terminal.read_until(terminal.shows("A cell is"))
    write(lpar, f"{MEMORY}/memory5/state", "offline")
    changed = [
        "Node 0, or none yet: 4G in 32 blocks",
        "  0x00000000 #####-##########................",
        "                  ^",
    ]
    terminal.read_until(lambda: terminal.text()[-len(changed) - 6 : -6] == changed)
    terminal.read_until(terminal.shows("^ changed just now"))
    terminal.process.sendintr()
    assert terminal.finish() == 130


def test_watch_removes_a_mark_after_the_interval(lpar: Path) -> None:
    terminal = Terminal(
        *("lsmem", "--watch=0.5", "-s", lpar, "-n", "-o", "BLOCK,STATUS"),
        environment=clean_environment(NO_COLOR="1"),
    )
    terminal.read_until(terminal.shows("16-31"))
    write(lpar, f"{MEMORY}/memory5/state", "offline")
    # Both screens may be read at once, when only the second one is seen.
    terminal.read_until(lambda: b"*     5  offline" in terminal.written)
    terminal.read_until(terminal.shows("      5  offline"))
    terminal.process.sendintr()
    assert terminal.finish() == 130


def test_watch_reads_a_plain_tree_again_every_interval(tmp_path: Path) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 7]}]})
    terminal = Terminal("lsmem", "--watch=0.2", "-s", tmp_path)
    terminal.read_until(terminal.shows("Total online"))
    assert heading(terminal) == "lsmem --watch, by reading again every 0.2s. Ctrl-C ends it."
    (tmp_path / MEMORY / "memory3/state").write_text("offline\n")
    terminal.read_until(terminal.shows("memory3: online -> offline"))
    terminal.process.sendintr()
    assert terminal.finish() == 130


@pytest.mark.parametrize(
    ("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_watch_restores_the_terminal_when_a_signal_ends_it(
    lpar: Path, ending: signal.Signals, status: int
) -> None:
    terminal = Terminal("lsmem", "--watch", "-s", lpar)
    kept = os.dup(terminal.process.child_fd)
    before = termios.tcgetattr(kept)
    terminal.read_until(terminal.shows("Total online"))
    assert b"\033[?1049h" in terminal.written
    assert b"\033[?25l" in terminal.written
    terminal.process.kill(ending)
    assert terminal.finish() == status
    after = terminal.written.rpartition(b"\033[?1049h")[2]
    assert b"\033[?1049l" in after
    assert after.rfind(b"\033[?25h") > after.rfind(b"\033[?25l")
    assert termios.tcgetattr(kept) == before
    os.close(kept)


def test_watch_gives_the_terminal_back_while_it_is_stopped(lpar: Path) -> None:
    terminal = Terminal("lsmem", "--watch", "-s", lpar)
    terminal.read_until(terminal.shows("Total online"))
    terminal.process.kill(signal.SIGTSTP)
    terminal.read_until(lambda: b"\033[?1049l" in terminal.written)
    # Stopped indeed, or SIGCONT would come too early.
    assert terminal.process.pid
    os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
    terminal.process.kill(signal.SIGCONT)
    terminal.read_until(lambda: terminal.written.count(b"\033[?1049h") == 2)
    terminal.process.sendintr()
    assert terminal.finish() == 130


def test_watch_in_a_low_window_says_how_many_lines_are_missing(lpar: Path) -> None:
    terminal = Terminal("lsmem", "--watch", "-a", "-s", lpar, lines=12)
    terminal.read_until(terminal.shows("window too small"))
    assert terminal.text()[-1] == "... 30 more lines: window too small"
    terminal.process.setwinsize(60, 80)
    terminal.screen.resize(60, 80)
    terminal.read_until(terminal.shows("Total online"))
    terminal.process.sendintr()
    assert terminal.finish() == 130


def test_watch_in_a_narrow_window_wraps_sentences_and_says_what_fits(lpar: Path) -> None:
    terminal = Terminal("lsmem", f"--watch={PATIENCE}", "-s", lpar, columns=40)
    terminal.read_until(terminal.shows("parameter:"))
    write(lpar, f"{MEMORY}/memory5/state", "offline")

    def sentences() -> str:
        text = " ".join(itertools.takewhile(bool, terminal.text()))
        return re.sub(r"\d\d:\d\d:\d\d", "TIME", text)

    # A part of a screen may be read before the rest.
    terminal.read_until(
        lambda: (
            sentences() == "lsmem --watch, by the simulated machine's changes. Ctrl-C ends it."
            " TIME memory5: online -> offline, zones DMA -> DMA/Movable"
            " Lines are cut off: the window is too narrow. -o BLOCK,SIZE,STATE needs less."
        )
    )
    terminal.process.sendintr()
    assert terminal.finish() == 130


@pytest.mark.parametrize(
    ("options", "end"), [(["-o", "BLOCK,SIZE,STATE"], "parameter:"), (["--map"], "A cell is")]
)
def test_watch_in_a_narrow_window_that_fits_has_no_advice(
    lpar: Path, options: list[str], end: str
) -> None:
    terminal = Terminal("lsmem", "--watch", "-s", lpar, *options, columns=40)
    terminal.read_until(terminal.shows(end))
    assert not terminal.shows("too narrow")()
    terminal.process.sendintr()
    assert terminal.finish() == 130


def test_watch_survives_a_window_of_width_0(lpar: Path) -> None:
    terminal = Terminal(
        *("lsmem", "--watch", "-s", lpar), environment=clean_environment(COLUMNS="0")
    )
    terminal.read_until(lambda: b"\033[?1049h" in terminal.written)
    write(lpar, f"{MEMORY}/memory5/state", "offline")
    terminal.process.kill(signal.SIGTERM)
    assert terminal.finish() == 143


def test_watch_of_this_machine_names_events_or_reading_again() -> None:
    terminal = Terminal("lsmem", "--watch", columns=120)
    terminal.read_until(terminal.shows("Ctrl-C ends it"))
    assert re.match(r"lsmem --watch, by (the kernel's events|reading again)", heading(terminal))
    terminal.process.sendintr()
    assert terminal.finish() == 130


def test_watch_of_a_machine_that_goes_away_restores_the_terminal_and_exits_1(
    tmp_path: Path,
) -> None:
    tree = static_tree.make(
        tmp_path / "tree", {"block_size": 1 << 27, "blocks": [{"range": [0, 7]}]}
    )
    terminal = Terminal("lsmem", "--watch=0.1", "-s", tree)
    terminal.read_until(terminal.shows("Total online"))
    tree.rename(tmp_path / "elsewhere")
    assert terminal.finish() == 1
    said = terminal.written.rpartition(b"\033[?1049l")[2]
    assert f"lsmem: cannot open {tree}: No such file or directory".encode() in said


# In a pipe


def follow(
    watched: list[subprocess.Popen[str]], tree: Path, *options: str
) -> subprocess.Popen[str]:
    watch = ("lsmem", "--watch=0.1", "-s")
    process = start_program(*watch, tree, *options, env=clean_environment())
    watched.append(process)
    return process


def first_line(process: subprocess.Popen[str], tree: Path) -> str:
    """The first change that is seen: block 5 goes to and fro until one is."""
    assert process.stdout
    for word in itertools.islice(itertools.cycle(("offline", "online")), 4 * PATIENCE):
        write(tree, f"{MEMORY}/memory5/state", word)
        if select.select([process.stdout], [], [], 0.5)[0]:
            return process.stdout.readline()
    raise AssertionError("no change was seen")


def test_watch_json_in_a_pipe_has_a_line_for_each_change(
    lpar: Path, watched: list[subprocess.Popen[str]]
) -> None:
    process = follow(watched, lpar, "-J")
    line = first_line(process, lpar)
    documents.check("lsmem", ["--watch", "-J"], 0, line)
    record = json.loads(line)
    assert record.pop("schema_version") == 1
    assert datetime.fromisoformat(record.pop("time")).tzinfo is not None
    states = [record.pop(side)["state"] for side in ("before", "after")]
    assert sorted(states) == ["offline", "online"]
    assert record == {
        "change": "changed",
        "block": {"first": 5, "last": 5},
        "start": 5 << 27,
        "end": (6 << 27) - 1,
        "size": 1 << 27,
    }


def test_watch_in_a_pipe_has_a_sentence_for_each_change(
    lpar: Path, watched: list[subprocess.Popen[str]]
) -> None:
    process = follow(watched, lpar)
    assert process.stdout
    start = process.stdout.readline()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d 32 memory blocks, watched by the simulated machine's changes\n", start
    )
    write(lpar, f"{MEMORY}/memory5/state", "offline")
    line = process.stdout.readline()
    assert re.fullmatch(r"\d\d:\d\d:\d\d memory5: online -> offline, zones .*\n", line)
    assert "\033" not in line


def test_watch_in_a_pipe_exits_130_on_ctrl_c(
    lpar: Path, watched: list[subprocess.Popen[str]]
) -> None:
    process = follow(watched, lpar, "-J")
    first_line(process, lpar)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stderr
    assert process.stderr.read() == ""


def test_watch_in_a_pipe_exits_141_when_the_reader_is_gone(
    lpar: Path, watched: list[subprocess.Popen[str]]
) -> None:
    process = follow(watched, lpar, "-J")
    first_line(process, lpar)
    assert process.stdout
    process.stdout.close()
    assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    process.stdout = None


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "inf", "1e999"])
def test_watch_refuses_what_is_no_interval(lsmem: Command, seconds: str) -> None:
    done = lsmem(f"--watch={seconds}")
    assert done.status == 1
    assert done.stderr == (
        f"lsmem: invalid argument of --watch: {seconds} (seconds, 0.1 or more)\n"
    )


def test_watch_takes_an_interval_of_centuries(
    tmp_path: Path, watched: list[subprocess.Popen[str]]
) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 7]}]})
    process = follow(watched, tmp_path, "--watch=99999999999")
    assert process.stdout
    assert process.stdout.readline().endswith(
        " 8 memory blocks, watched by reading again every 1e+11s\n"
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


def spoil(tree: Path, number: int) -> None:
    """Make the state of a block one that nobody can read, at once: it is missing at no time."""
    os.mkfifo(tree / "fifo")
    (tree / "fifo").rename(tree / MEMORY / f"memory{number}/state")


def mend(tree: Path, number: int) -> None:
    (tree / "file").write_text("online\n")
    (tree / "file").rename(tree / MEMORY / f"memory{number}/state")


def test_watch_in_a_pipe_writes_new_remarks_to_standard_error_once(
    tmp_path: Path, watched: list[subprocess.Popen[str]]
) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 7]}]})
    spoil(tmp_path, 3)
    process = follow(watched, tmp_path)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    assert process.stderr.readline() == (
        "lsmem: unknown state of memory3: state: a FIFO, not a regular file\n"
    )
    spoil(tmp_path, 4)
    assert process.stdout.readline().endswith(" memory4: online -> ?\n")
    assert process.stderr.readline() == (
        "lsmem: unknown state of memory3 and 1 more: state: a FIFO, not a regular file\n"
    )
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stderr.read() == ""


def test_watch_shows_remarks_on_the_screen_while_they_hold(tmp_path: Path) -> None:
    static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": [{"range": [0, 7]}]})
    terminal = Terminal("lsmem", "--watch=0.2", "-s", tmp_path, "-o", "BLOCK,STATE", columns=100)
    terminal.read_until(terminal.shows("Total online"))
    assert not terminal.shows("unknown state")()
    spoil(tmp_path, 3)
    terminal.read_until(terminal.shows("unknown state of memory3: state:"))
    mend(tmp_path, 3)
    # Not while a screen has been drawn in part: its end is there, too.
    terminal.read_until(
        lambda: terminal.shows("Total online")() and not terminal.shows("unknown state")()
    )
    terminal.process.sendintr()
    assert terminal.finish() == 130
