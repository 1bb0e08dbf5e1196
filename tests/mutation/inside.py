"""Tries mutmut's mutants, which are changes in functions, much faster than mutmut does.

mutmut starts pytest anew for each mutant, which takes longer than the tests. Here the tests are
collected once. Each mutant is tried in a process that is forked then: first the tests that noticed
other changes of the same function, then the others that reach it, of each file in turn.

    python inside.py JOBS [NAME...]    modules such as memory_hotplug.change.plan; all without one

What was found is kept where mutmut keeps it: `mutmut results` and `mutmut show` know it. Mutants
that survived are tried again.
"""

import gc
import json
import os
import random
import shutil
import signal
import sys
import time
import tomllib
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from pathlib import Path

import hypothesis
import pytest
from mutmut.mutation.trampoline import set_mutant_under_test

KILLED, SURVIVED, NO_TESTS, TIMED_OUT = 1, 0, 33, 36
"""mutmut's exit codes for what became of a mutant."""
STATS = Path("mutmut-stats.json")
BUDGET = float(os.environ.get("BUDGET", "inf"))
"""The seconds that the tests of one mutant may take; those that are beyond it are left out."""
SAMPLE = int(os.environ["SAMPLE"]) if "SAMPLE" in os.environ else None
"""The number of mutants to look at, chosen at random; None for all."""
SEED = int(os.environ.get("SEED", 0))
BESIDE = {"memory_hotplug.trees.sharing.x__work": "memory_hotplug.trees.sharing.x_read_shared"}
"""A function that runs in another process only -> the one that starts it."""
LEAST, TIMES = 60, 5
"""A mutant is in an endless loop after LEAST seconds, and TIMES the time of its tests."""


@dataclass
class Trial:
    """A mutant that is being tried."""

    name: str
    meta: Path
    until: float
    tells: int
    """A pipe: the number of the test that failed."""
    place: Path


def function_of(mutant: str) -> str:
    return mutant.partition("__mutmut_")[0]


def in_turn(session: pytest.Session, tests: list[int], times: list[float]) -> list[int]:
    """The quickest test of each file, then the second of each, and so on: tests of one file tend to
    notice the same changes."""
    by_file: dict[Path, list[int]] = defaultdict(list)
    for test in sorted(tests, key=times.__getitem__):
        by_file[session.items[test].path].append(test)
    return [one for turn in zip_longest(*by_file.values()) for one in turn if one is not None]


class Trials:
    """A plugin of pytest that tries mutants instead of running all tests once."""

    def __init__(self, jobs: int, modules: list[str]) -> None:
        self.jobs, self.modules = jobs, modules
        self.running: dict[int, Trial] = {}
        self.noticed: dict[str, list[int]] = defaultdict(list)
        """Function -> the numbers of the tests that noticed a change, the last one first."""
        self.counts: dict[int, int] = defaultdict(int)

    def mutants(self) -> list[tuple[str, Path]]:
        found: list[tuple[str, Path, int | None]] = []
        for meta in sorted(Path().rglob("*.py.meta")):
            module = ".".join(Path(str(meta).removesuffix(".py.meta")).parts)
            if self.modules and module not in self.modules:
                continue
            codes = json.loads(meta.read_text())["exit_code_by_key"]
            found += [(name, meta, code) for name, code in codes.items()]
        # What was tried when the run is stopped is a fair sample.
        random.Random(SEED).shuffle(found)
        left = []
        for name, meta, code in found[:SAMPLE]:
            if code in (None, SURVIVED, NO_TESTS, TIMED_OUT):
                left.append((name, meta))
            else:
                self.counts[code] += 1
        return left

    def pytest_collection(self) -> None:
        # That an example fails is enough; to find the smallest one takes long.
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutation", deadline=None, phases=phases)
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        stats = json.loads(STATS.read_text())
        taken = stats["duration_by_test"]
        number = {item.nodeid: place for place, item in enumerate(session.items)}
        times = [taken.get(item.nodeid, 1.0) for item in session.items]
        reached = {
            function: [number[name] for name in names if name in number]
            for function, names in stats["tests_by_mangled_function_name"].items()
        }
        # What is known until now is copied into no child by looking at it.
        gc.freeze()
        for name, meta in self.mutants():
            # mutmut has tests reach memory_hotplug.x_name, and calls it memory_hotplug.__init__.x_.
            function = function_of(name.replace("__init__.", ""))
            tests = reached.get(BESIDE.get(function, function), [])
            if not tests:
                self.note(name, meta, NO_TESTS)
                continue
            while len(self.running) >= self.jobs:
                self.wait()
            first = self.noticed[function]
            tests = [*first, *(one for one in in_turn(session, tests, times) if one not in first)]
            sums = list(accumulate(times[one] for one in tests))
            tests = tests[: max(bisect_right(sums, BUDGET), 1)]
            self.start(session, name, meta, tests, LEAST + TIMES * sums[len(tests) - 1])
        while self.running:
            self.wait()
        return True

    def start(
        self, session: pytest.Session, name: str, meta: Path, tests: list[int], patience: float
    ) -> None:
        reads, writes = os.pipe()
        place = Path(os.environ["TMPDIR"]) / f"mutant-{time.monotonic_ns()}"
        place.mkdir()
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            os.close(reads)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            try_here(session, name.replace("__init__.", ""), tests, writes, place)
        os.close(writes)
        self.running[child] = Trial(name, meta, time.monotonic() + patience, reads, place)

    def wait(self) -> None:
        """Wait until a trial has ended."""
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child:
                break
            time.sleep(0.01)
            for running, trial in self.running.items():
                if time.monotonic() > trial.until:
                    os.killpg(running, signal.SIGKILL)
        if child not in self.running:
            return
        trial = self.running.pop(child)
        said = os.read(trial.tells, 20)
        os.close(trial.tells)
        shutil.rmtree(trial.place, ignore_errors=True)
        code = SURVIVED
        if said:
            code = KILLED
            noticed, test = (
                self.noticed[function_of(trial.name.replace("__init__.", ""))],
                int(said),
            )
            if test in noticed:
                noticed.remove(test)
            noticed.insert(0, test)
        elif status:
            code = TIMED_OUT if time.monotonic() > trial.until else KILLED
        self.note(trial.name, trial.meta, code)

    def note(self, name: str, meta: Path, code: int) -> None:
        known = json.loads(meta.read_text())
        known["exit_code_by_key"][name] = code
        new = meta.with_suffix(".new")
        new.write_text(json.dumps(known, indent=4))
        new.replace(meta)
        self.counts[code] += 1
        if code in (SURVIVED, NO_TESTS):
            what = "survived" if code == SURVIVED else "no tests"
            print(time.strftime("%H:%M:%S"), what, name, flush=True)
        done = sum(self.counts.values())
        if done % 100 == 0:
            print(time.strftime("%H:%M:%S"), done, "tried", dict(self.counts), flush=True)


def try_here(session: pytest.Session, name: str, tests: list[int], tells: int, place: Path) -> None:
    """Run the tests on a mutant, until one fails; end this process."""

    class FirstFailure:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                os.write(tells, str(number).encode())
                os._exit(0)

    number = -1
    session.config.pluginmanager.register(FirstFailure())
    factory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = place
    set_mutant_under_test(name)
    items = [(one, session.items[one]) for one in tests]
    following = [*(item for _, item in items[1:]), None]
    for (number, item), nextitem in zip(items, following, strict=True):  # noqa: B007  # see above
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    os._exit(0)


def main() -> None:
    jobs, *modules = sys.argv[1:]
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]
    os.chdir("mutants")
    sys.path[:0] = [str(Path.cwd())]
    set_mutant_under_test("")
    trials = Trials(int(jobs), modules)
    status = pytest.main(
        [
            "--rootdir=.",
            "-q",
            "-s",
            "-o",
            "timeout=0",
            "-p",
            "no:logging",
            *settings["pytest_add_cli_args_test_selection"],
            *settings["pytest_add_cli_args"],
            "--tb=no",
        ],
        plugins=[trials],
    )
    total = sum(trials.counts.values())
    survive = trials.counts[SURVIVED] + trials.counts[NO_TESTS]
    print(f"in functions: {total} mutants, {survive} survive")
    sys.exit(status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED))


if __name__ == "__main__":
    main()
