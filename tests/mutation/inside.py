"""Tries mutmut's mutants, which are changes in functions, much faster than mutmut does.

mutmut makes the mutants; of a sample, those alone. It starts pytest anew for each mutant, which
takes longer than the tests. Here the tests are collected once. Those of each file run in a process
that is forked then, to find out what functions they reach. Each mutant is tried in such a process,
too: first the tests that noticed other changes of the same function, then the others that reach it,
of each file in turn.

    python inside.py JOBS [NAME...]    modules such as memory_hotplug.change.plan; all without one

What was found is kept where mutmut keeps it: `mutmut results` and `mutmut show` know it. Mutants
that survived are tried again. Here the modules were imported without the mutant; so what survives
in a function that runs while they are is tried in a new pytest, with the tests of its package. What
survives then is tried with the tests that start a process, one mutant at a time: for that long, the
commands beside this Python are mutmut's copy.
"""

import gc
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import accumulate, groupby, zip_longest
from multiprocessing import Pool
from pathlib import Path

import hypothesis
import libcst
import pytest
from mutmut.__main__ import create_mutants
from mutmut.mutation import file_mutation
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

KILLED, SURVIVED, NO_TESTS, TIMED_OUT = 1, 0, 33, 36
"""mutmut's exit codes for what became of a mutant."""
CHOSEN = Path("mutants/sample.json")
"""The sample whose mutants are there."""
REACHED = Path("tests.json")
"""Test -> how long it takes, the functions that it reaches, and whether it starts a process."""
BUDGET = float(os.environ.get("BUDGET", "inf"))
"""The seconds that the tests of one mutant may take; those that are beyond it are left out."""
SAMPLE = int(os.environ["SAMPLE"]) if "SAMPLE" in os.environ else None
"""The number of mutants to make, chosen at random; None for all."""
SEED = int(os.environ.get("SEED", 0))
BESIDE = {"memory_hotplug.trees.sharing.x__work": "memory_hotplug.trees.sharing.x_read_shared"}
"""A function that runs in another process only -> the one that starts it."""
LEAST, TIMES = 60, 5
"""A mutant is in an endless loop after LEAST seconds, and TIMES the time of its tests."""
IN_NEW_PYTEST = {"chmem_py": "tests/chmem"}
"""The tests of a package, for functions that run while modules are imported; else tests/library."""
LONGEST_ANEW = 300
"""Seconds of these tests; what they have not noticed until then has survived."""
ALONE = "MEMORY_HOTPLUG_ONE_PROCESS"
"""With this variable, tests that start a process are left out."""


SETTINGS = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]
TESTS = SETTINGS["pytest_add_cli_args_test_selection"]
OPTIONS = [
    *("--rootdir=.", "-o", "timeout=0", "-p", "no:logging"),
    *(*SETTINGS["pytest_add_cli_args"], "--tb=no"),
]


@dataclass
class Trial:
    """A mutant that is being tried."""

    name: str
    meta: Path
    until: float
    tells: int
    """A pipe: the number of the test that failed."""
    place: Path


create_mutations = file_mutation.create_mutations


def named(
    path: str, mutations: Iterable[file_mutation.Mutation]
) -> Iterator[tuple[str, file_mutation.Mutation]]:
    """The mutations in functions, by names that a change of another function leaves alone."""
    counts: Counter[str] = Counter()
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        # It may be another part of a class.
        if isinstance(function, libcst.FunctionDef):
            counts[function.name.value] += 1
            yield f"{path} {function.name.value} {counts[function.name.value]}", mutation


def names_in(path: Path) -> list[str]:
    _, mutations, *_ = create_mutations(str(path), path.read_text())
    return [name for name, _ in named(str(path), mutations)]


def choose(jobs: int, modules: list[str]) -> None:
    """Have mutmut make a sample of the mutants only."""
    paths = [
        path
        for path in walk_mutatable_files()
        if not modules or ".".join(path.with_suffix("").parts) in modules
    ]
    with Pool(jobs) as pool:
        names = [name for found in pool.map(names_in, paths, 1) for name in found]
    # An order by each one's own number: when a function is changed, the others' are still chosen.
    names.sort(key=lambda name: random.Random(f"{SEED} {name}").random())
    chosen = names[:SAMPLE]
    print(f"{len(chosen)} of {len(names)} mutants", flush=True)
    # mutmut numbers those of a function that are made.
    if not CHOSEN.exists() or json.loads(CHOSEN.read_text()) != chosen:
        shutil.rmtree("mutants", ignore_errors=True)
        CHOSEN.parent.mkdir()
        CHOSEN.write_text(json.dumps(chosen))

    def create_some(filename, code, *rest):  # type: ignore[no-untyped-def]  # as mutmut's
        module, mutations, *ignored = create_mutations(filename, code, *rest)
        return module, [one for name, one in named(filename, mutations) if name in chosen], *ignored

    file_mutation.create_mutations = create_some


def make(jobs: int, modules: list[str]) -> None:
    """Make the mutants of what has changed since a run before."""
    if SAMPLE is not None:
        choose(jobs, modules)
    with redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(jobs)


def reached_as(mutant: str) -> str:
    """The function of a mutant, by the name by which tests reach it."""
    # They reach memory_hotplug.x_name, where mutmut says memory_hotplug.__init__.x_name.
    return mutant.replace("__init__.", "").partition("__mutmut_")[0]


def is_noticed_anew(mutant: str) -> bool:
    """Whether a test fails where modules are imported with the mutant."""
    tests = IN_NEW_PYTEST.get(mutant.partition(".")[0], "tests/library")
    command = [sys.executable, "-m", "pytest", "-x", "-q", *OPTIONS, tests]
    environment = os.environ | {"MUTANT_UNDER_TEST": mutant.replace("__init__.", "")}
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, timeout=LONGEST_ANEW, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode != 0


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
        self.at_import: set[str] = set()
        """The functions that run while modules are imported."""
        self.survivors: list[tuple[str, Path]] = []
        self.apart: list[str] = []
        """The tests that start a process."""

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
        for name, meta, code in found:
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
        if session.testsfailed:
            raise session.Interrupted("a file of tests cannot be read")
        self.at_import = set(state()._stats)
        state()._stats.clear()
        set_mutant_under_test("")
        known = reach(session, self.jobs)
        times = [known[item.nodeid][0] for item in session.items]
        self.apart = [item.nodeid for item in session.items if known[item.nodeid][2]]
        reached: dict[str, list[int]] = defaultdict(list)
        for number, item in enumerate(session.items):
            for function in known[item.nodeid][1]:
                reached[function].append(number)
        # What is known until now is copied into no child by looking at it.
        gc.freeze()
        for name, meta in self.mutants():
            function = reached_as(name)
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
            fall_silent()
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
            noticed, test = self.noticed[reached_as(trial.name)], int(said)
            if test in noticed:
                noticed.remove(test)
            noticed.insert(0, test)
        elif status:
            code = TIMED_OUT if time.monotonic() > trial.until else KILLED
        self.note(trial.name, trial.meta, code)

    def note(self, name: str, meta: Path, code: int) -> None:
        if code in (SURVIVED, NO_TESTS) and reached_as(name) in self.at_import:
            code = KILLED if is_noticed_anew(name) else SURVIVED
        keep(name, meta, code)
        self.counts[code] += 1
        if code in (SURVIVED, NO_TESTS):
            self.survivors.append((name, meta))
            what = "survived" if code == SURVIVED else "no tests"
            print(time.strftime("%H:%M:%S"), what, name, flush=True)
        done = sum(self.counts.values())
        if done % 100 == 0:
            print(time.strftime("%H:%M:%S"), done, "tried", dict(self.counts), flush=True)


def keep(name: str, meta: Path, code: int) -> None:
    """Keep what became of a mutant where mutmut does."""
    known = json.loads(meta.read_text())
    known["exit_code_by_key"][name] = code
    new = meta.with_suffix(".new")
    new.write_text(json.dumps(known, indent=4))
    new.replace(meta)


def try_commands(survivors: list[tuple[str, Path]], tests: list[str], jobs: int) -> int:
    """Try mutants with tests that start a process; the number of those that are noticed."""
    noticed = 0
    with mutated_commands():
        # The copy imports more than the code itself, for example.
        failed = set(failing(tests, "", jobs))
        sound = [test for test in tests if test not in failed]
        print(f"{len(sound)} tests start a process", flush=True)
        for name, meta in survivors:
            if failing(sound, name.replace("__init__.", ""), jobs, "-x"):
                keep(name, meta, KILLED)
                noticed += 1
                print(time.strftime("%H:%M:%S"), "noticed in a process", name, flush=True)
    return noticed


@contextmanager
def mutated_commands() -> Iterator[None]:
    """A context in which the commands beside this Python are of mutmut's copy, here."""
    path = Path(sysconfig.get_path("purelib"), "0_mutants.pth")
    path.write_text(f"{Path.cwd()}\n")
    try:
        yield
    finally:
        path.unlink()


def failing(tests: list[str], mutant: str, jobs: int, *options: str) -> list[str]:
    """Those of the tests that fail with a mutant in all processes."""
    selection = Path(os.environ["TMPDIR"], "tests")
    selection.write_text("\n".join(tests))
    environment = {key: value for key, value in os.environ.items() if key != ALONE}
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-n", str(jobs), *options, *OPTIONS]
    done = subprocess.run(
        [*command, f"@{selection}"],
        env=environment | {"MUTANT_UNDER_TEST": mutant},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    rows = [line.split(" ", 1) for line in done.stdout.splitlines()]
    found = [row[1].split(" - ")[0] for row in rows if row[0] in ("FAILED", "ERROR")]
    assert found or done.returncode == 0, done.stdout
    return found


def reach(session: pytest.Session, jobs: int) -> dict[str, tuple[float, list[str], bool]]:
    """How long each test takes and what it reaches. Only tests that are new are run."""
    known = json.loads(REACHED.read_text()) if REACHED.exists() else {}
    new = [item for item in session.items if item.nodeid not in known]
    running: dict[int, tuple[Path, Path]] = {}

    def wait() -> None:
        child, status = os.wait()
        if child in running:
            tests, place = running.pop(child)
            said = (place / "said").read_text()
            if status:
                sys.exit(f"{tests}: fails without a mutant\n{said}")
            known.update(json.loads(said))
            REACHED.write_text(json.dumps(known))
            shutil.rmtree(place)

    for path, items in groupby(new, key=lambda item: item.path):
        while len(running) >= jobs:
            wait()
        place = Path(os.environ["TMPDIR"]) / f"reached-{time.monotonic_ns()}"
        place.mkdir()
        child = os.fork()
        if not child:
            fall_silent()
            reach_here(session, list(items), place)
        running[child] = path, place
    while running:
        wait()
    return known


def fall_silent() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def reach_here(session: pytest.Session, items: list[pytest.Item], place: Path) -> None:
    """Run tests on mutmut's copy without a mutant; end this process."""
    found: dict[str, tuple[float, list[str], bool]] = {}
    skipped: set[str] = set()

    class Reached:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.skipped:
                skipped.add(report.nodeid)
            if report.failed:
                (place / "said").write_text(report.longreprtext)
                os._exit(1)

    session.config.pluginmanager.register(Reached())
    session.config._tmp_path_factory._basetemp = place  # type: ignore[attr-defined]
    set_mutant_under_test("stats")
    for item, following in zip_longest(items, items[1:]):
        start = time.monotonic()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        took = time.monotonic() - start
        found[item.nodeid] = took, sorted(state()._stats), item.nodeid in skipped
        state()._stats.clear()
    (place / "said").write_text(json.dumps(found))
    os._exit(0)


def try_here(session: pytest.Session, name: str, tests: list[int], tells: int, place: Path) -> None:
    """Run the tests on a mutant, until one fails; end this process."""

    # The test that fails may have put another function in the place of os.write.
    write = os.write

    class FirstFailure:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                write(tells, str(number).encode())
                os._exit(1)

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
    make(int(jobs), modules)
    os.chdir("mutants")
    sys.path[:0] = [str(Path.cwd())]
    # What runs while tests are collected is noted.
    set_mutant_under_test("stats")
    trials = Trials(int(jobs), modules)
    status = pytest.main(["-q", "-s", *OPTIONS, *TESTS], plugins=[trials])
    total = sum(trials.counts.values())
    survive = trials.counts[SURVIVED] + trials.counts[NO_TESTS]
    survive -= try_commands(trials.survivors, trials.apart, int(jobs))
    print(f"in functions: {total} mutants, {survive} survive")
    sys.exit(status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED))


if __name__ == "__main__":
    main()
