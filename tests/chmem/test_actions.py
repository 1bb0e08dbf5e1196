"""Each option of chmem with each action and each other option: refused, or it has an effect."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from chmem_py.actions import ACTIONS as TABLE
from chmem_py.cli import chmem as command
from chmem_py.jobs import JOBS
from commands import TOP, Command
from hotplug_cli.click_command import command_of
from memory_hotplug.change.lock import hold
from option_pairs import refusal
from simulated import Make, conditions, make, s390

LONG = {"-e": "enable", "-d": "disable", "-c": "configure", "-g": "deconfigure"}


def documented() -> dict[str, set[str]]:
    """Each option -> the actions that it goes with, as chmem(8) says."""
    text = (TOP / "man/chmem.8").read_text()
    (section,) = re.findall(r"^\.Ss Which options go with.*?^\.El", text, re.MULTILINE | re.DOTALL)
    found: dict[str, set[str]] = {}
    for options, actions in re.findall(r"^\.It Fl (.*)\n\.Fl (.*)", section, re.MULTILINE):
        names = {LONG.get(f"-{name}", name.lstrip("-")) for name in actions.split(" , ")}
        found |= {name.lstrip("-"): names for name in options.split(" , ")}
    return found


def test_every_action_is_done_by_something() -> None:
    assert [*JOBS] == [*TABLE]


GOES_WITH = documented()
ACTIONS = tuple(sorted(GOES_WITH["advice"]))
OPTIONS = tuple(sorted(GOES_WITH))
IGNORED = {("zone", "configure"), ("zone", "deconfigure")}
"""What util-linux accepts and ignores."""
OF_UTIL_LINUX = {("memmap-on-memory", "disable"), ("memmap-on-memory", "deconfigure")}
"""What util-linux refuses, in its own words."""
LAST_COUNTS = [{"configure", other} for other in ("enable", "disable", "deconfigure")]
"""Actions of which util-linux takes two."""
NEVER_TOGETHER = {
    frozenset({"force", "keep-free"}): "options {0} and {1} cannot be combined",
    frozenset({"order", "blocks"}): "--order means nothing to --blocks",
    frozenset({"verbose", "json"}): "--verbose means nothing to --json",
}
VALUES = {
    "memmap-on-memory": "1",
    "zone": "Movable",
    "node": "0",
    "device": "dax0.0",
    "timeout": "1",
    "retry": "1",
    "order": "best",
    "keep-free": "1g",
    "advice": "never",
}


def test_the_manual_names_every_option_and_every_action() -> None:
    options = [one for one in command.options if not one.answer]
    actions = {one.long[2:] for one in options if one.key == "action"}
    assert set(ACTIONS) == actions
    assert set(OPTIONS) == {one.long[2:] for one in options} - actions


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"sysroot"}))
def test_an_option_goes_with_an_action_as_the_manual_says(
    option: str, action: str, chmem: Command
) -> None:
    for names in ((option, action), (action, option)):
        said = refusal(chmem, VALUES, *names)
        if action in GOES_WITH[option] or (option, action) in IGNORED:
            assert said == ""
        elif (option, action) in OF_UTIL_LINUX:
            assert said == f"options --{names[0]} and --{names[1]} cannot be combined"
        else:
            assert said == f"--{option} means nothing to --{action}"


def test_only_one_action_of_chmem_can_be_given(chmem: Command) -> None:
    for pair in combinations(ACTIONS, 2):
        for first, second in (pair, pair[::-1]):
            said = f"options --{first} and --{second} cannot be combined"
            assert refusal(chmem, VALUES, first, second) == (
                "" if set(pair) in LAST_COUNTS else said
            )


def test_options_that_go_with_an_action_go_with_each_other(chmem: Command) -> None:
    for pair in combinations(sorted(set(OPTIONS) - {"sysroot"}), 2):
        for first, second in (pair, pair[::-1]):
            said = NEVER_TOGETHER.get(frozenset(pair), "")
            assert refusal(chmem, VALUES, first, second) == said.format(f"--{first}", f"--{second}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # Once accepted, and ignored.
        ("--retry 3 --save", "--retry means nothing to --save"),
        ("--force --policy auto_online=online", "--force means nothing to --policy"),
        ("--timeout 5 --uninstall", "--timeout means nothing to --uninstall"),
        ("--order best -e 1g", "--order means nothing to --enable"),
        ("--keep-free 1g -e 1g", "--keep-free means nothing to --enable"),
        ("-vd 1g --json", "--verbose means nothing to --json"),
        ("--total", "bad usage"),
        ("-d --order auto --device dax0.0 0x0-0x7ffffff", "no memory block here belongs to device"),
        ("-d --order auto 0x0-0x7ffffff", "option --order goes with a SIZE, not 0x0-0x7ffffff"),
        ("--install", "option --install goes with --apply without a FILE"),
        ("--apply --install /etc/x.toml", "option --install goes with --apply without a FILE"),
    ],
)
def test_nothing_is_done_where_an_option_would_be_ignored(
    words: str, said: str, machine: Make, chmem: Command
) -> None:
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, *words.split(), "--advice=never")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"chmem: {said}")
    assert conditions(root) == before


def test_the_last_action_counts_as_with_util_linux(machine: Make, chmem: Command) -> None:
    root = machine(s390())
    assert chmem("-s", root, "-e", "-c", "-b", "4").status == 0
    assert conditions(root)[4].state == "offline"
    assert chmem("-s", root, "-c", "-e", "-b", "4").status == 0
    assert conditions(root)[4].state == "online"


# What goes with an action has an effect

STANDBY: dict[str, Any] = {
    **s390(),
    "blocks": [
        {"range": [0, 2]},
        {"range": [3, 3], "zones": "Movable"},
        {"range": [4, 5], "state": "offline"},
        {"range": [6, 7], "config": 0},
    ],
}
LAYOUT = 'version = 1\nmemory = [{blocks = "2-3", state = "offline"}, {blocks = "4"}]\n'
ALL_ONCE = {
    transition: {str(number): {"errno": "EBUSY", "times": 1} for number in range(8)}
    for transition in ("online", "offline", "config", "deconfig")
}
ONE_FAILS = {
    "offline": {"2": "EIO", "5": "EIO"},
    "config": {"6": "EIO"},
    "deconfig": {"5": "EBUSY"},
}
WORDS = {
    "enable": "-e -b 4-6",
    "disable": "-d -b 2-3",
    "configure": "-c -b 6-7",
    "deconfigure": "-g -b 4-5",
    "reconfigure": "--reconfigure -m 1 -b 1-3",
    "total": "--total 256m",
    "apply": "--apply etc/layout.toml",
    "undo": "--undo",
    "policy": "--policy auto_online=online",
    "save": "--save",
    "uninstall": "--uninstall",
}
BY_SIZE = {
    "enable": "-e 1g",
    "disable": "-d 128m",
    "configure": "-c 256m",
    "deconfigure": "-g 128m",
    "reconfigure": "--reconfigure -m 1 128m",
}
ONE_BLOCK = {
    "enable": "-e 4",
    "disable": "-d 2",
    "configure": "-c 6",
    "deconfigure": "-g 4",
    "reconfigure": "--reconfigure -m 1 2",
}

Left = tuple[int, str, str, Mapping[int, Any], Sequence[str]]


def left(root: Path, action: str, words: Sequence[str], chmem: Command) -> Left:
    """What a command leaves: status, output, blocks and files."""
    (root / "etc").mkdir()
    (root / "etc/layout.toml").write_text(LAYOUT)
    if action == "undo":
        chmem("-s", root, "-e", "-b", "4-5", "--retry", "3")
    words = [str(root / word) if word.startswith("etc/") else word for word in words]
    if action == "uninstall":
        chmem("-s", root, "--apply", "--install")
    done = chmem("-s", root, *words)
    out, error = (text.replace(str(root), "ROOT") for text in (done.stdout, done.stderr))
    files = sorted(str(path.relative_to(root)) for path in (root / "etc").rglob("*"))
    return done.status, out, error, conditions(root), files


Effect = tuple[dict[str, Any], Mapping[str, str], str, str]
"""A machine, the words of each action, and two values of an option of which each has an effect of
its own; without a first one, the option is left out."""

USED = STANDBY | {"used": 500 << 20}
EFFECTS: dict[str, Effect] = {
    "blocks": (STANDBY, ONE_BLOCK, "", "--blocks"),
    "node": (STANDBY, BY_SIZE | {"total": "--total 256m"}, "", "--node=7"),
    "device": (STANDBY, BY_SIZE, "", "--device=dax0.0"),
    "memmap-on-memory": (
        {**STANDBY, "blocks": [{"range": [0, 3]}, {"range": [4, 7], "config": 0}]},
        {**BY_SIZE, "total": "--total 768m"},
        "--memmap-on-memory=0",
        "--memmap-on-memory=1",
    ),
    "zone": (STANDBY, BY_SIZE | {"total": "--total 128m"}, "", "--zone=Normal"),
    "persistent": (STANDBY, WORDS, "", "--persistent"),
    "dry-run": (STANDBY, WORDS, "", "--dry-run"),
    "all-or-nothing": (
        STANDBY | {"faults": ONE_FAILS},
        WORDS | {"total": "--total 100g"},
        "",
        "--all-or-nothing",
    ),
    "retry": (STANDBY | {"faults": ALL_ONCE}, WORDS, "", "--retry=2"),
    "force": (USED, WORDS, "", "--force"),
    "keep-free": (USED, WORDS, "--keep-free=none", "--keep-free=10g"),
    "verbose": (STANDBY, WORDS, "", "--verbose"),
    "json": (STANDBY, WORDS, "", "--json"),
}
OTHERS = {
    "sysroot": "each test here",
    "advice": "test_advice",
    "timeout": "below",
    "order": "test_pages",
    "install": "test_install",
}


def test_every_option_is_shown_to_have_an_effect() -> None:
    assert {*EFFECTS, *OTHERS} == set(OPTIONS)


@pytest.mark.parametrize(
    ("option", "action"),
    [
        (option, action)
        for option in EFFECTS
        for action in sorted(GOES_WITH[option])
        # This one is in test_policy.
        if (option, action) != ("all-or-nothing", "policy")
    ],
)
def test_an_option_of_chmem_has_an_effect(
    option: str, action: str, tmp_path: Path, chmem: Command
) -> None:
    description, words, one, other = EFFECTS[option]
    found = []
    for number, value in enumerate((one, other)):
        root = make(tmp_path / f"{number}", description)
        found.append(left(root, action, [*words[action].split(), *value.split()], chmem))
    assert found[0] != found[1]
    assert all("means nothing" not in error for _, _, error, *_ in found)


@pytest.mark.parametrize("action", sorted(GOES_WITH["timeout"]))
def test_a_timeout_ends_the_wait_for_another_chmem(
    action: str, tmp_path: Path, chmem: Command
) -> None:
    root = make(tmp_path / "machine", STANDBY)
    (root / "etc").mkdir()
    (root / "etc/layout.toml").write_text(LAYOUT)
    chmem("-s", root, "-e", "-b", "4")
    words = WORDS[action].replace("etc/", f"{root}/etc/").split()
    with hold(str(root), this_machine=False):
        done = chmem("-s", root, *words, "--timeout", "0.05")
    assert done.status == 1
    assert "is still changing the memory of this machine; nothing was changed\n" in done.stderr


def test_force_is_a_short_way_to_write_keep_free_none(tmp_path: Path, chmem: Command) -> None:
    found = []
    for number, words in enumerate(("--force", "--keep-free none", "--keep-free 0")):
        root = make(tmp_path / f"{number}", USED)
        done = chmem("-s", root, "-d", "256m", *words.split(), "--json")
        document = json.loads(done.stdout)
        request = document["request"]
        found.append((request["force"], request["keep_free"], len(document["blocks"])))
    # The kernel refuses each of the four blocks; without the option none of them is tried.
    assert found == [(True, None, 4), (True, None, 4), (False, 0, 0)]


# Help and completion


def completed(*before: str, typed: str = "--") -> set[str]:
    shell = ShellComplete(command_of(command), {}, "chmem", "_CHMEM_COMPLETE")
    return {item.value for item in shell.get_completions(list(before), typed)}


def shown(chmem: Command, *before: str) -> set[str]:
    text = chmem(*before, "--help").stdout.partition("Supported zones")[0]
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


GENERAL = {"--help", "--version", "--json-schema"}


@pytest.mark.parametrize("action", ACTIONS)
def test_help_and_completion_have_what_goes_with_the_action(action: str, chmem: Command) -> None:
    goes = {f"--{option}" for option, actions in GOES_WITH.items() if action in actions}
    assert completed(f"--{action}") == goes | GENERAL
    assert shown(chmem, f"--{action}") == goes | GENERAL | {f"--{action}"}


def test_help_and_completion_have_all_where_no_action_is_given(chmem: Command) -> None:
    everything = {f"--{name}" for name in (*ACTIONS, *OPTIONS)} | GENERAL
    assert completed() == everything
    assert shown(chmem) == everything
    # An option that stands before its action leaves the actions that take it.
    assert completed("--order=best") & {f"--{action}" for action in ACTIONS} == {
        "--disable",
        "--total",
    }


def test_help_has_a_line_for_each_kind_of_action(chmem: Command) -> None:
    text = chmem("--help").stdout
    assert text.startswith(
        "Usage: chmem [options] -e|-d|-c|-g|--reconfigure SIZE|RANGE|-b BLOCKRANGE\n"
        "       chmem [options] --total SIZE\n"
        "       chmem [options] --apply|--save [FILE]\n"
        "       chmem [options] --undo|--uninstall\n"
        "       chmem [options] --policy KEY=VALUE...\n"
    )
    assert chmem("--save", "--help").stdout.startswith("Usage: chmem [options] --save [FILE]\n\n")
