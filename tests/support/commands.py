"""Running the commands, and what they are compared with."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import documents

TOP = Path(__file__).parents[2]
"""The checkout."""

PACKAGES = {
    path.parent.name: path.parent
    for place in ("", "common/")
    for path in sorted(TOP.glob(f"{place}*/__init__.py"))
}
"""The packages of the house, and where they are."""

VECTORS: dict[str, Any] = json.loads((TOP / "tests/reference/vectors.json").read_text())
for _machine in VECTORS["machines"].values():
    # The default of the vectors; that of a description follows memmap_param, as in the kernel.
    _machine.setdefault("memmap_supported", True)

SCRIPTS = Path(sysconfig.get_path("scripts"))
"""Where the installed commands are."""

_MODULES = {
    "lsmem": ("lsmem_py.cli", "lsmem"),
    "chmem": ("chmem_py.cli", "chmem"),
    "memsim": ("memsim_py.cli", "commands"),
}
_VARIABLES = ("LSMEM_COLUMNS", "LIBSMARTCOLS_JSON", "NO_COLOR", "POSIXLY_CORRECT")
"""What a person may have set for the commands, and no test wants."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str


Command = Callable[..., Outcome]
"""Takes the arguments of a command line."""

Machines = Callable[[str], Path]
"""Takes the name of a machine; the fixtures ``machines`` and ``profiles``."""


def command_here(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """A command that runs in this process, for the sake of speed."""
    from hotplug_cli.program import status_of

    module, function = _MODULES[name]
    command = getattr(import_module(module), function)
    for variable in _VARIABLES:
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        status = status_of(command, name)
        written = capsys.readouterr()
        documents.check(name, arguments, status, written.out)
        return Outcome(status, written.out, written.err)

    return run


def cells(lsmem: Command, tree: Path, name: str, *options: str) -> list[str]:
    """The cells of a column of lsmem, one for each block."""
    done = lsmem("-s", tree, "-a", "-n", "-r", "-o", name, *options)
    assert done.status == 0
    return done.stdout.removesuffix("\n").split("\n")


_STARTED: list[subprocess.Popen[str]] = []
"""Processes that the running test has started."""


def end_processes() -> None:
    """Close the pipes of what the test has started, and kill what still runs."""
    while _STARTED:
        process = _STARTED.pop()
        process.kill()
        with process:
            pass


def runs(process: int) -> bool:
    """Whether a process still has a program; in a container it may stay as a zombie."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def starts_a_process() -> None:
    """Skips the test that calls this where everything must happen in this process.

    So it must in a mutation run, where a change of the code is in force in one process alone.
    """
    if "MEMORY_HOTPLUG_ONE_PROCESS" in os.environ:
        pytest.skip("starts a process")


def run_program(
    *words: str | Path, within: tuple[str, ...] = (), **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Runs an installed command as a process of its own.

    WITHIN is a command that starts it, such as `sh -c 'exec "$@"' sh`. It takes the place of
    preexec_fn, which runs Python in a copy of this process, where pytest-xdist has a thread.
    """
    starts_a_process()
    name, *arguments = map(str, words)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    command = [*within, str(SCRIPTS / name), *arguments]
    done = subprocess.run(command, text=True, timeout=120, **streams)
    documents.check(name, arguments, done.returncode, done.stdout)
    return done


def start_program(
    *words: str | Path, within: tuple[str, ...] = (), **kwargs: Any
) -> subprocess.Popen[str]:
    """An installed command as a process of its own, still running; WITHIN as for run_program."""
    starts_a_process()
    name, *arguments = map(str, words)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    command = [*within, str(SCRIPTS / name), *arguments]
    _STARTED.append(process := _Started(command, text=True, **streams))
    process.line = name, arguments
    return process


class _Started(subprocess.Popen[str]):
    """A command whose documents are checked, where its output is read as a whole."""

    line: tuple[str, list[str]]

    def communicate(
        self, input: str | None = None, timeout: float | None = None
    ) -> tuple[str, str]:
        out, error = super().communicate(input, timeout)
        documents.check(*self.line, self.returncode, out)
        return out, error


def start_python(
    program: str, *arguments: str | Path, within: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """Runs a program on the modules under test, its standard output to be read.

    WITHIN is a command that starts the program, such as unshare.
    """
    starts_a_process()
    words = [*within, sys.executable, "-c", program, *map(str, arguments)]
    _STARTED.append(process := subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    return process
