"""Fixtures that all tests share."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import static_tree
from commands import VECTORS, Command, Outcome

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has its background jobs ignore it, and what the tests start would do so as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With MEMORY_HOTPLUG_NO_SKIP=1, as on the project's own machines, nothing may be skipped."""
    report = yield
    if report.skipped and os.environ.get("MEMORY_HOTPLUG_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


@pytest.fixture
def lsmem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the lsmem command line, in this process for the sake of speed."""
    from hotplug_cli.program import status_of
    from lsmem_py.cli import lsmem as command

    for name in ("LSMEM_COLUMNS", "LIBSMARTCOLS_JSON", "NO_COLOR", "POSIXLY_CORRECT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["lsmem", *map(str, arguments)])
        capsys.readouterr()
        status = status_of(command, "lsmem")
        written = capsys.readouterr()
        return Outcome(status, written.out, written.err)

    return run


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The static tree of a machine of the reference vectors, by its name; not to be written to."""
    root = tmp_path_factory.mktemp("machines")

    def tree(name: str) -> Path:
        if not (root / name).exists():
            static_tree.make(root / name, VECTORS["machines"][name])
        return root / name

    return tree
