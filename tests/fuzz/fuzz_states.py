#!/usr/bin/env python3
"""Random sequences of what chmem does and what happens to its machine; what must always hold.

    python tests/fuzz/fuzz_states.py [SEQUENCES] [SEED] [--jobs 2] [--minutes N]

Each sequence has 5 to 15 steps on a simulated machine: commands of chmem with all their options,
faults, other writers, kills, signals, layouts, reboots. tests/support/states.py has the steps and
what must hold after each. A violation is made as small as can be, and printed as a shell script.
Prints figures at the end; the status is 1 after a violation.
"""

import argparse
import contextlib
import math
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import run_state_machine_as_test

import states
import trial

BATCH = 50
"""Sequences of the same length, and from the same seed."""
BIG_EACH = 40
"""Of so many batches one is of a big machine, with fewer sequences."""

# Hypothesis would take five minutes to make one violation small.
engine.MAX_SHRINKING_SECONDS = 30


class Result(NamedTuple):
    """What a batch found."""

    sequences: int
    steps: Counter[str]
    statuses: Counter[str]
    script: str
    """That of a violation, after a comment that says what it is; or empty."""


def batch(number: int, until: float = math.inf) -> Result:
    """Try some sequences, but not after UNTIL, in seconds of the monotonic clock."""
    if time.monotonic() > until:
        return Result(0, Counter(), Counter(), "")
    trial.STEPS.clear()
    trial.STATUSES.clear()
    states.BIG[0] = number % BIG_EACH == BIG_EACH - 1
    count = BATCH // 10 if states.BIG[0] else BATCH
    chosen = settings(
        max_examples=count,
        stateful_step_count=5 + number % 11,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    machine, script = seed(number)(type("States", (states.States,), {})), ""
    try:
        # It prints what it did in its own words, which a script says better.
        with contextlib.redirect_stderr(None), contextlib.redirect_stdout(None):
            run_state_machine_as_test(machine, settings=chosen)
    except trial.ViolationError:
        script = "\n".join(trial.FOUND)
    except Exception:
        script = f"# the state machine itself: \n{traceback.format_exc()}"
    return Result(count, trial.STEPS, trial.STATUSES, script)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sequences", nargs="?", type=int, default=1000)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing after them")
    given = parser.parse_args()
    began = time.monotonic()
    until = began + given.minutes * 60
    first = given.seed * 100_000
    numbers = range(first, first + -(-given.sequences // BATCH))
    tried, steps, statuses, violations = 0, Counter[str](), Counter[str](), Counter[str]()
    with multiprocessing.get_context("fork").Pool(given.jobs) as pool:
        for found in pool.imap_unordered(partial(batch, until=until), numbers):
            tried += found.sequences
            steps += found.steps
            statuses += found.statuses
            if found.script:
                violations[found.script.partition(":")[0].removeprefix("# ")] += 1
                print(f"VIOLATION:\n{found.script}\n", flush=True)
    took = time.monotonic() - began
    print(
        f"{tried} sequences, {steps.total()} steps, {violations.total()} violations, {took:.0f} s"
    )
    print("steps: " + ", ".join(f"{many} {what}" for what, many in sorted(steps.items())))
    print("status: " + ", ".join(f"{many} {what}" for what, many in sorted(statuses.items())))
    for what, many in sorted(violations.items()):
        print(f"violations: {many} {what}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
