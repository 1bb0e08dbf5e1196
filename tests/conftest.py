"""Fixtures that all tests share."""

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import made_locale
import needs
import simulated
import static_tree
from commands import VECTORS, Command, command_here, end_processes

_SHARED_MEMORY, _ENOUGH = "/dev/shm", 4 << 30
if (
    "TMPDIR" not in os.environ
    and os.access(_SHARED_MEMORY, os.W_OK)
    and shutil.disk_usage(_SHARED_MEMORY).free > _ENOUGH
):
    # Machines are thousands of small files: on a disk they take several times as long.
    os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = _SHARED_MEMORY
    tempfile.tempdir = None

# A shell has its background jobs ignore SIGINT, and nohup has its command ignore SIGHUP; what the
# tests start would do so as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# How long an example takes says how busy the machine is. Each run tries the same examples, so that
# none fails for another reason than a change; tests/fuzz makes new ones.
hypothesis.settings.register_profile(
    "the same",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("the same")


# What is not here


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test without something that it needs is skipped before its fixtures are made."""
    wanted = [name for mark in item.iter_markers("needs") for name in mark.args]
    if absent := needs.missing(dict.fromkeys(wanted)):
        # With -n, a report is all that the process that sums up gets.
        item.user_properties.append((ABSENT, absent))
        pytest.skip(f"missing: {', '.join(absent)}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    """With MEMORY_HOTPLUG_NO_SKIP=1, as on the project's own machines, nothing may be skipped."""
    report: pytest.TestReport = (yield).get_result()
    if report.skipped and os.environ.get("MEMORY_HOTPLUG_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"


# Tests that run by a command of their own

APART = {"slow": "slow tests", "vm": "tests on a real kernel", "package": "tests of packages"}
"""Marks -> what pyproject.toml leaves out unless -m is given."""

LEFT_OUT = pytest.StashKey[Counter[str]]()

ABSENT = "missing"
"""The name under which a report of a skipped test has what the test missed."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = Counter()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """What needs the extra `package` of pyproject.toml is a test of packages, wherever it stands:
    `.ci/run` installs that extra only after the fast tests, of which none may be skipped."""
    for item in items:
        names = [name for mark in item.iter_markers("needs") for name in mark.args]
        if any(needs.NEEDS[name].what == needs.PACKAGE_EXTRA for name in names):
            item.add_marker("package")


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    marks = [mark for item in items for mark in APART if item.get_closest_marker(mark)]
    # Where not all have such a mark, they were left out for another reason: -k, for example.
    if items and len(marks) == len(items):
        items[0].config.stash[LEFT_OUT].update(marks)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With -n, each process of pytest-xdist has left out the same."""
    left_out = session.config.stash[LEFT_OUT]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # A process that has crashed has said nothing.
    left_out: Counter[str] = Counter(getattr(node, "workeroutput", {}).get("left out", {}))
    if left_out:
        node.config.stash[LEFT_OUT] = left_out


def pytest_terminal_summary(
    terminalreporter: "pytest.TerminalReporter", config: pytest.Config
) -> None:
    """What was left out, and how to run it: a line for each way, not for each test."""
    counts = config.stash[LEFT_OUT]
    if counts:
        parts = (f"{n} {APART[mark]} (`pytest -m {mark}`)" for mark, n in counts.items())
        terminalreporter.line(f"left out: {', '.join(parts)}")
    skipped = terminalreporter.stats.get("skipped", [])
    absent = [names for report in skipped if (names := dict(report.user_properties).get(ABSENT))]
    for line in needs.told(absent):
        terminalreporter.line(line)
    if others := len(skipped) - len(absent):
        terminalreporter.line(f"left out: {others} for reasons that `pytest -rs` tells")


@pytest.fixture(autouse=True)
def advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """chmem writes its advice, as on a terminal; a test of that sets something else."""
    monkeypatch.setenv("CHMEM_ADVICE", "always")


@pytest.fixture(autouse=True)
def processes() -> Iterator[None]:
    """What a test starts ends with it."""
    yield
    end_processes()


# The commands, each run in this process


@pytest.fixture
def lsmem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_here("lsmem", capsys, monkeypatch)


@pytest.fixture
def chmem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_here("chmem", capsys, monkeypatch)


@pytest.fixture
def memsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_here("memsim", capsys, monkeypatch)


@pytest.fixture(scope="session")
def polish(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Polish locale, made for the tests; they need `locales`."""
    return made_locale.made(tmp_path_factory.mktemp("locales"), "pl_PL")


# Machines


@pytest.fixture
def lpar(tmp_path: Path) -> Path:
    """A simulated s390: 16 blocks of 128 MiB online, 16 standby."""
    return simulated.make(tmp_path / "lpar", "s390-lpar")


@pytest.fixture
def machine(tmp_path: Path) -> simulated.Make:
    """A simulated machine, from its description or the name of a profile."""
    return lambda description: simulated.make(tmp_path / "machine", description)


@pytest.fixture(scope="session")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A simulated machine by the name of its profile; not to be written to."""
    root = tmp_path_factory.mktemp("profiles")

    def machine(name: str) -> Path:
        return root / name if (root / name).exists() else simulated.make(root / name, name)

    return machine


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The static tree of a machine of the reference vectors, by its name; not to be written to."""
    root = tmp_path_factory.mktemp("machines")

    def tree(name: str) -> Path:
        if not (root / name).exists():
            static_tree.make(root / name, VECTORS["machines"][name])
        return root / name

    return tree
