"""Timing of whole processes in turn: A B A B ..., and the ratios of their medians."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNS = 9


@dataclass(frozen=True, slots=True)
class Timing:
    """The median of several runs of one command."""

    seconds: float
    cpu: float
    """Seconds of processor time, of all processes together."""
    peak: int
    """Largest resident set, in bytes."""


def run(words: Sequence[str]) -> Timing:
    """One run, its output thrown away; raises CalledProcessError when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Timing(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def on(processors: int, command: Sequence[str]) -> list[str]:
    """A command that may use so many of the processors that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", ",".join(map(str, usable[:processors])), *command]


def medians(*commands: Sequence[str], runs: int = RUNS) -> list[Timing]:
    """The medians of commands that run in turn, after one run of each that does not count."""
    timings: list[list[Timing]] = [[] for _ in commands]
    for counted in range(runs + 1):
        for taken, words in zip(timings, commands, strict=True):
            timing = run(words)
            if counted:
                taken.append(timing)
    return [
        Timing(
            statistics.median(timing.seconds for timing in taken),
            statistics.median(timing.cpu for timing in taken),
            max(timing.peak for timing in taken),
        )
        for taken in timings
    ]


def report(name: str, one: Timing, other: Timing, goal: float) -> None:
    """One row of a table in docs/benchmarks.md."""
    ratio = one.seconds / other.seconds
    peak = one.peak / 1024**2
    print(
        f"| {name} | {one.seconds:.3f} s | {other.seconds:.3f} s | {ratio:.2f} | {goal:.2f} "
        f"| {peak:.0f} MiB |",
        flush=True,
    )


def head() -> None:
    print("| what | ours | other | ratio | goal | our peak |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    sys.stdout.flush()


def peak_of_all(words: Sequence[str], runs: int = RUNS) -> int:
    """The most memory that a command and its children had at a time, in bytes: what they have in
    common counts once (the sum of Pss in /proc/PID/smaps_rollup, looked at all the time)."""
    most = 0
    for _ in range(runs):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            pids = [process.pid, *_children(process.pid)]
            most = max(most, sum(map(_proportional, pids)))
    return most


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
