"""The progress bar, by what it writes to a terminal."""

import io
import signal
import sys
import threading

import pytest

from hotplug_cli import progress as module
from hotplug_cli.program import complain
from hotplug_cli.progress import Progress
from terminal import PATIENCE

GIB = 1 << 30


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Timer:
    """In the place of a timer that runs out."""

    def __init__(self, seconds: float, ring: object) -> None:
        self.seconds, self.ring = seconds, ring
        self.daemon = False
        self.started = self.cancelled = False
        timers.append(self)

    def start(self) -> None:
        self.started = True

    def cancel(self) -> None:
        self.cancelled = True


timers: list[Timer] = []


def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Standard error is one from now on; pytest replaces it between a fixture and its test."""
    timers.clear()
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("threading.Timer", Timer)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return screen


def ring() -> None:
    (timer,) = timers
    assert timer.started
    assert timer.daemon is True
    assert timer.seconds == module.DELAY
    timer.ring()  # type: ignore[operator]


def test_after_its_delay_it_says_which_block_and_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    progress = Progress(4, GIB)
    progress.start()
    progress.begin(6)
    progress.done(1)
    progress.begin(7)
    assert screen.getvalue() == ""
    assert progress.abandon() == b""
    ring()
    shown = screen.getvalue()
    assert "memory block 7 " in shown
    assert "1 of 4 blocks" in shown
    assert "1G of 4G" in shown
    progress.done(2)
    progress.begin(8)
    assert progress.abandon() == b"\x1b[?25h\r\n"
    progress.stop()
    assert "memory block 8 " in screen.getvalue()
    assert "2 of 4 blocks" in screen.getvalue()
    assert "2G of 4G" in screen.getvalue()
    assert timers[0].cancelled
    # It leaves nothing behind.
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K")
    assert "\x1b[?25h" in screen.getvalue()


def test_before_the_first_block_it_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    progress = Progress(2, GIB)
    progress.start()
    ring()
    progress.stop()
    assert "memory block" not in screen.getvalue()
    assert "0 of 2 blocks" in screen.getvalue()
    assert "0B of 2G" in screen.getvalue()


def test_work_that_ends_earlier_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    progress = Progress(2, GIB)
    progress.start()
    progress.stop()
    assert timers[0].cancelled
    # The timer may have run out at the same moment.
    ring()
    progress.begin(3)
    assert screen.getvalue() == ""
    assert progress.abandon() == b""


def test_threads_of_the_progress_bar_get_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    written = threading.Event()
    masks: list[set[int]] = []

    class Noting(Screen):
        def write(self, text: str) -> int:
            if threading.current_thread() is not threading.main_thread():
                masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
                written.set()
            return super().write(text)

    monkeypatch.setattr(sys, "stderr", Noting())
    monkeypatch.setattr(module, "DELAY", 0)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with Progress(2, GIB):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        assert written.wait(PATIENCE)
    assert all({signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= mask for mask in masks)


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_without_a_terminal_there_is_none(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(sys, "stderr", stream)
    progress = Progress(2, GIB)
    progress.start()
    progress.begin(3)
    progress.done(1)
    progress.stop()
    assert timers == []
    assert progress.abandon() == b""
    assert screen.getvalue() == ""


@pytest.mark.parametrize("kind", [Screen, io.StringIO, None])
def test_standard_output_is_only_led_around_the_bar_where_it_is_a_terminal(
    kind: type[io.StringIO] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch)
    out = kind() if kind else None
    monkeypatch.setattr(sys, "stdout", out)
    progress = Progress(2, GIB)
    progress.start()
    ring()
    led = sys.stdout is not out
    progress.stop()
    assert led is (kind is Screen)
    assert sys.stdout is out


@pytest.mark.parametrize("columns", ["100", "30"])
def test_a_sentence_that_is_written_meanwhile_is_not_broken(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", columns)
    sentence = (
        "Memory Block 7 (0x0000000038000000-0x000000003fffffff) disable failed: " + "why " * 30
    )
    progress = Progress(4, GIB)
    progress.start()
    ring()
    complain("chmem", sentence)
    progress.stop()
    assert f"chmem: {sentence}\n" in screen.getvalue()


def test_a_message_is_one_write_so_that_the_bar_cannot_come_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    screen = terminal(monkeypatch)
    monkeypatch.setattr(screen, "write", written.append)
    complain("chmem", "bad usage")
    assert written == ["chmem: bad usage\n"]


def test_no_more_is_done_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    progress = Progress(4, GIB)
    progress.start()
    ring()
    progress.done(5)
    progress.stop()
    assert "4 of 4 blocks 4G of 4G" in " ".join(screen.getvalue().split())
    assert "5 of" not in screen.getvalue()
