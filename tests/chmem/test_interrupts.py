"""Signals and the time limit, as the code of chmem meets them."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from chmem_py import messages
from chmem_py.interrupts import STOPPING, Interrupts
from memory_hotplug.errors import StoppedError


class EndedError(BaseException):
    """In the place of the end of the process."""


def sent(number: int) -> None:
    """The signal comes, and Python heeds it."""
    os.kill(os.getpid(), number)
    for _ in range(100):
        pass


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """They are as before afterwards. The timer of pytest stands still meanwhile."""
    timer = signal.setitimer(signal.ITIMER_REAL, 0)
    # nohup has it ignored.
    of_caller = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    after = {number: signal.getsignal(number) for number in before}
    signal.signal(signal.SIGHUP, of_caller)
    signal.setitimer(signal.ITIMER_REAL, *timer)
    assert after == before


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_signal_between_writes_is_only_noted(number: int) -> None:
    with Interrupts(None) as interrupts:
        assert interrupts.signal is None
        assert not interrupts.stopping
        sent(number)
        assert interrupts.stopping
        assert interrupts.signal == number


@pytest.mark.parametrize("step", ["offline", "online", "configure", "hold"])
@pytest.mark.parametrize("timeout", [None, 50])
def test_the_first_signal_during_a_write_ends_it(step: str, timeout: float | None) -> None:
    with Interrupts(timeout) as interrupts:
        with pytest.raises(StoppedError), interrupts.during(step):
            sent(signal.SIGTERM)
        assert interrupts.signal == signal.SIGTERM
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("step", ["offline", "online", "configure", "hold"])
def test_a_signal_just_before_a_write_ends_it_too(step: str) -> None:
    with Interrupts(50) as interrupts:
        sent(signal.SIGINT)
        with pytest.raises(StoppedError), interrupts.during(step):
            pytest.fail("it was begun")
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        # What is being undone goes on.
        with interrupts.limiting(step):
            pass


@pytest.mark.parametrize("step", ["offline", "online"])
def test_what_is_being_undone_is_not_ended_by_a_signal(step: str) -> None:
    with Interrupts(None) as interrupts, interrupts.limiting(step):
        sent(signal.SIGINT)
        assert interrupts.signal == signal.SIGINT


def test_after_a_write_a_signal_is_only_noted() -> None:
    with Interrupts(None) as interrupts:
        with interrupts.during("offline"):
            pass
        sent(signal.SIGHUP)
        assert interrupts.signal == signal.SIGHUP


@pytest.mark.parametrize("bar", ["", "\r\n"])
def test_a_second_signal_ends_the_process_and_clears_the_bar(
    bar: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        raise EndedError

    monkeypatch.setattr("os._exit", end)
    capfd.readouterr()
    with Interrupts(None) as interrupts:
        if bar:
            interrupts.last_words = bar.encode
        sent(signal.SIGINT)
        with pytest.raises(EndedError), interrupts.limiting("offline"):
            sent(signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]
    out, error = capfd.readouterr()
    assert out == ""
    assert error == f"{bar}chmem: {messages.ENDED_AT_ONCE.text}\n"


def test_a_second_signal_ends_the_process_even_where_nothing_can_be_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise OSError

    def end(_: int) -> None:
        raise EndedError

    monkeypatch.setattr("os._exit", end)
    with Interrupts(None):
        sent(signal.SIGINT)
        monkeypatch.setattr("os.write", refuse)
        with pytest.raises(EndedError):
            sent(signal.SIGINT)
        monkeypatch.undo()


@pytest.mark.parametrize("undoing", [False, True])
def test_timeout_ends_an_offline(undoing: bool) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with Interrupts(0.02) as interrupts:
        within = interrupts.limiting if undoing else interrupts.during
        with pytest.raises(InterruptedError, match="Interrupted system call"), within("offline"):
            # Not pause(2), which would miss a signal that comes just before.
            while True:
                time.sleep(0.01)
        assert interrupts.signal is None
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_the_time_limit_is_for_offline_alone_and_counts_from_its_beginning() -> None:
    with Interrupts(1000) as interrupts:
        for within in (interrupts.during, interrupts.limiting):
            with within("online"):
                assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
            with within("offline"):
                assert 900 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_alarm_that_comes_too_late_is_ignored_and_comes_once() -> None:
    with Interrupts(30) as interrupts:
        sent(signal.SIGALRM)
        with interrupts.during("offline"):
            with pytest.raises(InterruptedError) as caught:
                sent(signal.SIGALRM)
            assert caught.value.errno == 4
            sent(signal.SIGALRM)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts(None) as interrupts:
            sent(signal.SIGHUP)
            assert interrupts.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
