"""Completion, driven in the real shells, from the scripts that are installed."""

import itertools
import os
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import TOP, run_program
from simulated import make
from terminal import Terminal, clean_environment

COMPLETION = TOP / "completion"
COMMANDS = ("lsmem", "chmem", "memsim")
SHELLS = ("bash", "zsh", "fish")
INSTALLED_SHELLS = [pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS]
SCRIPT = {"bash": "{}.bash", "zsh": "_{}", "fish": "{}.fish"}
INSTALLED = {
    "bash": "share/bash-completion/completions/{}",
    "zsh": "share/zsh/site-functions/_{}",
    "fish": "share/fish/vendor_completions.d/{}.fish",
}

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
SET_UP = {
    "bash": "PS1='rea''dy> '; bind 'set bell-style none'; for f in {0}/*.bash; do . $f; done",
    "zsh": "PS1='rea''dy> '; fpath=({0} $fpath); autoload -U compinit; compinit -u -D",
    "fish": "function fish_prompt; echo -n 'rea''dy> '; end; set fish_complete_path {0}",
}


def start(name: str, where: Path) -> Terminal:
    """The shell, ready to be typed into, with the completions loaded as each shell does it."""
    program = shutil.which(name)
    assert program
    environment = {**clean_environment(), "HOME": str(where), "LC_ALL": "C.UTF-8"}
    terminal = Terminal(program, *START[name], columns=100, lines=60, environment=environment)
    terminal.process.delaybeforesend = None
    terminal.process.send(f"cd {where}; " + SET_UP[name].format(COMPLETION) + "\r")
    terminal.read_until(lambda: bool(terminal.text()) and terminal.text()[-1] == "ready>")
    return terminal


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Terminal]]:
    """A shell by its name, at an empty prompt, beside a machine and a file.

    Each shell is started once: zsh takes longer to start than to complete.
    """
    where = tmp_path_factory.mktemp("completion")
    make(where / "lpar", "s390-lpar")
    (where / "earlier.json").touch()
    started: dict[str, Terminal] = {}
    screens = itertools.count(1)

    def at_prompt(name: str) -> Terminal:
        if name not in started:
            started[name] = start(name, where)
        terminal = started[name]
        # Ctrl-E and Ctrl-U empty the line that the last test has left. Ctrl-C would not do: it is a
        # signal, which overtakes the keys before it, and a bash that completes does not notice it.
        # The number tells this empty screen from the one before.
        mark = f"screen {next(screens)}"
        terminal.process.send(f"\x05\x15clear; echo {mark}\r")
        terminal.read_until(lambda: terminal.text() == [mark, "ready>"])
        return terminal

    yield at_prompt
    for terminal in started.values():
        # On a busy machine a shell is not gone a tenth of a second later, as pexpect wants it.
        if terminal.process.isalive():
            terminal.process.kill(signal.SIGKILL)
            terminal.process.wait()
        terminal.process.close()


@pytest.mark.parametrize("name", INSTALLED_SHELLS)
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("lsmem -o RANGE,STATU", "lsmem -o RANGE,STATUS"),
        ("lsmem -o +pHys", "lsmem -o +PHYS_DEVICE"),
        ("lsmem -oRANGE,SI", "lsmem -oRANGE,SIZE"),
        ("lsmem --output=RANGE,SI", "lsmem --output=RANGE,SIZE"),
        ("lsmem --sp RANGE,SI", "lsmem --sp RANGE,SIZE"),
        ("lsmem -bno RANGE,SI", "lsmem -bno RANGE,SIZE"),
        ("memsim create new --prof arm", "memsim create new --prof arm64-offset"),
        ("lsmem -S non", "lsmem -S none"),
        ("lsmem --map=z", "lsmem --map=zones"),
        ("lsmem --summary=al", "lsmem --summary=always"),
        ("lsmem --format js", "lsmem --format json"),
        ("lsmem --json-", "lsmem --json-schema"),
        ("lsmem -s lp", "lsmem -s lpar/"),
        ("lsmem --diff ear", "lsmem --diff earlier.json"),
        ("chmem -e -z Mov", "chmem -e -z Movable"),
        ("chmem --deconf", "chmem --deconfigure"),
        ("chmem -s lpar -b -e 31-", "chmem -s lpar -b -e 31-31"),
        ("chmem --apply ear", "chmem --apply earlier.json"),
        ("chmem --policy online", "chmem --policy online_policy="),
        ("chmem -s lpar -d --node ", "chmem -s lpar -d --node 0"),
        ("memsim prof", "memsim profiles"),
        ("memsim create new --profile arm", "memsim create new --profile arm64-offset"),
    ],
)
def test_completion_in_a_shell_follows_a_tab(
    name: str, typed: str, completed: str, shell: Callable[[str], Terminal]
) -> None:
    terminal = shell(name)
    terminal.process.send(typed + "\t")
    terminal.read_until(terminal.shows(completed))


@pytest.mark.parametrize("name", INSTALLED_SHELLS)
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("lsmem -o RANGE,S", {"RANGE,SIZE", "RANGE,STATE", "RANGE,STATUS", "RANGE,START"}),
        ("chmem -s lpar -b -e 3", {"3", "30", "31"}),
        ("memsim create x --profile s390-", {"s390-lpar", "s390-zvm", "s390-imbalance"}),
    ],
)
def test_tabs_show_what_there_is_to_choose_from(
    name: str, typed: str, offered: set[str], shell: Callable[[str], Terminal]
) -> None:
    terminal = shell(name)
    terminal.process.send(typed + "\t\t")

    def shown() -> bool:
        text = "\n".join(terminal.text())
        words = text.partition(f"> {typed}")[2].split()
        # zsh and fish may leave out what is typed already.
        return all(
            any(word.endswith(one) or one.endswith(word) for word in words) for one in offered
        )

    terminal.read_until(shown)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", SHELLS)
def test_the_scripts_are_what_the_commands_print(name: str, command: str) -> None:
    environment = {**os.environ, f"_{command.upper()}_COMPLETE": f"{name}_source"}
    done = run_program(command, env=environment)
    assert done.stdout == (COMPLETION / SCRIPT[name].format(command)).read_text()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", SHELLS)
def test_the_wheel_puts_them_where_the_shells_look(name: str, command: str) -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    source = f"completion/{SCRIPT[name].format(command)}"
    assert shared[source] == INSTALLED[name].format(command)


def offers(command: str, line: str) -> list[str]:
    """What a shell is told that asks for the end of a line."""
    environment = {
        **os.environ,
        "COMP_WORDS": line,
        f"_{command.upper()}_COMPLETE": "zsh_complete",
    }
    done = run_program(command, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()[1::3]


def test_a_column_is_not_offered_twice_in_a_list() -> None:
    assert "RANGE,SIZE,STATE" in offers("lsmem", "lsmem -o RANGE,SIZE,")
    assert "RANGE,SIZE,SIZE" not in offers("lsmem", "lsmem -o RANGE,SIZE,")


def test_an_optional_argument_is_not_offered_as_the_next_word() -> None:
    assert "status" not in offers("lsmem", "lsmem --map ")
    assert offers("lsmem", "lsmem --map=") == ["--map=status", "--map=zones"]


@pytest.mark.parametrize("line", ["lsmem --bogus -o SI", "lsmem -J -P -o SI", "lsmem -V -o SI"])
def test_what_is_wrong_earlier_in_the_line_does_not_matter(line: str) -> None:
    assert offers("lsmem", line) == ["SIZE"]


def test_a_shell_nobody_knows_gets_nothing() -> None:
    environment = {**os.environ, "_LSMEM_COMPLETE": "ksh_complete"}
    done = run_program("lsmem", env=environment)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("name", INSTALLED_SHELLS)
def test_the_scripts_are_free_of_errors(name: str) -> None:
    for command in COMMANDS:
        script = COMPLETION / SCRIPT[name].format(command)
        done = subprocess.run([name, "-n", script], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
