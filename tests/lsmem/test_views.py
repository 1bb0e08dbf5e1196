"""Each option of lsmem with each view and each other option: refused, or it has an effect."""

import re
from itertools import combinations
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from commands import TOP, Command
from hotplug_cli.click_command import command_of
from lsmem_py.cli import lsmem as command
from option_pairs import refusal, spelled
from simulated import Make, x86

LONG = {one.names[0]: one.long[2:] for one in command.options} | {
    f"-{one.long}": one.long[2:] for one in command.options
}
ALWAYS = {"sysroot", "color", "advice"}
OPTIONS = {one.long[2:] for one in command.options if not one.answer}


def documented() -> dict[str, set[str]]:
    """Each view -> the options that go with it, as lsmem(1) says."""
    text = (TOP / "man/lsmem.1").read_text().replace(r"\-", "-")
    (section,) = re.findall(r"^\.Ss Which options go with.*?^\.El", text, re.MULTILINE | re.DOTALL)
    found: dict[str, set[str]] = {}
    for views, options in re.findall(r"^\.It Fl (.*)\n\.Fl (.*)", section, re.MULTILINE):
        names = {LONG.get(f"-{name}", name.lstrip("-")) for name in options.split(" , ")}
        found |= {name.lstrip("-"): names for name in views.split(" , ")}
    listing = OPTIONS - found.keys() - ALWAYS - {"why"}
    return {**found, "why": listing}


GOES_WITH = documented()
VALUES = {
    "output": "SIZE",
    "split": "none",
    "format": "csv",
    "diff": "x",
    "why": "0-1",
    "at": "0x0",
    "output-file": "/nonexistent/file",
    "advice": "never",
}
CONTRADICTORY = [{"json", "pairs", "raw", "format"}, {"all", "split"}]


def expected(first: str, second: str) -> str:
    pair = {first, second}
    cannot = f"options --{first} and --{second} cannot be combined"
    if any(pair <= group for group in CONTRADICTORY):
        return cannot
    if pair <= GOES_WITH.keys():
        return "" if second in GOES_WITH[first] else cannot
    for option, view in ((first, second), (second, first)):
        if view in GOES_WITH and option not in GOES_WITH[view] | ALWAYS:
            return f"--{option} means nothing to --{view}"
    return ""


def test_the_manual_names_only_views_and_options_that_there_are() -> None:
    assert set(GOES_WITH) == {*("map", "watch", "diff", "policy", "why", "holes", "explain", "at")}
    assert set().union(*GOES_WITH.values()) <= OPTIONS


def test_options_go_with_each_other_as_the_manual_says(lsmem: Command) -> None:
    for pair in combinations(sorted(OPTIONS - {"sysroot"}), 2):
        for first, second in (pair, pair[::-1]):
            assert refusal(lsmem, VALUES, first, second) == expected(first, second)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # Once accepted, and ignored.
        ("--watch -J -a", "--all means nothing to --watch --json"),
        ("--watch -J -o SIZE", "--output means nothing to --watch --json"),
        ("-S none --watch -J", "--split means nothing to --watch --json"),
        ("--watch -J --summary=always", "--summary means nothing to --watch --json"),
        ("-n --format prometheus", "--noheadings means nothing to --format=prometheus"),
        ("--format prometheus -b", "--bytes means nothing to --format=prometheus"),
    ],
)
def test_what_a_view_of_two_options_does_not_take(words: str, said: str, lsmem: Command) -> None:
    assert lsmem("-s", "/nonexistent", *words.split()).stderr == f"lsmem: {said}\n"


# What goes with a view has an effect

EFFECTS = {
    "bytes": "--bytes",
    "noheadings": "--noheadings",
    "json": "--json",
    "pairs": "--pairs",
    "raw": "--raw",
    "format": "--format=csv",
    "all": "--all",
    "output": "--output=BLOCK",
    "output-all": "--output-all",
    "split": "--split=none",
    "summary": "--summary=always",
    "annotate": "--annotate=always",
}
WITH_COLUMNS = {("why", "all"), ("why", "split"), ("why", "bytes")}
"""Where the effect shows in other columns than those of the view."""


@pytest.mark.parametrize(
    ("view", "option"),
    [
        (view, option)
        for view, options in sorted(GOES_WITH.items())
        for option in sorted(options & EFFECTS.keys())
        if view != "watch"
    ],
)
def test_an_option_of_lsmem_has_an_effect(
    view: str, option: str, machine: Make, lsmem: Command, tmp_path: Path
) -> None:
    blocks = [
        {"range": [0, 1]},
        {"range": [2, 9], "zones": "Movable"},
        {"range": [10, 11], "zones": "Movable", "node": 1},
        {"range": [16, 17], "state": "offline", "node": 1},
    ]
    root = machine({**x86(), "blocks": blocks, "used": 400 << 20})
    (tmp_path / "x").write_text(
        lsmem("-s", root, "-J", "--typed").stdout.replace("online", "offline")
    )
    words = {"diff": f"--diff={tmp_path}/x", "why": "--why", "at": "--at=0x0"}.get(
        view, f"--{view}"
    )
    beside = ["--output=SIZE,NODE"] if (view, option) in WITH_COLUMNS else []
    before = lsmem("-s", root, words, *beside)
    after = lsmem("-s", root, words, *beside, EFFECTS[option])
    assert before.status == after.status
    assert before.stdout != after.stdout


@pytest.mark.parametrize("view", sorted(GOES_WITH))
def test_an_output_file_takes_what_the_view_writes(
    view: str, machine: Make, lsmem: Command, tmp_path: Path
) -> None:
    if "output-file" in GOES_WITH[view]:
        root = machine(x86())
        words = {"diff": f"--diff={root}", "at": "--at=0x0"}.get(view, f"--{view}")
        written = lsmem("-s", root, words).stdout
        assert lsmem("-s", root, words, "--output-file", tmp_path / "file").stdout == ""
        assert (tmp_path / "file").read_text() == written


# Completion


@pytest.mark.parametrize("view", sorted(GOES_WITH))
def test_completion_and_help_have_what_goes_with_the_view(view: str, lsmem: Command) -> None:
    goes = {f"--{name}" for name in GOES_WITH[view] | ALWAYS}
    shell = ShellComplete(command_of(command), {}, "lsmem", "_LSMEM_COMPLETE")
    found = {item.value for item in shell.get_completions(spelled(VALUES, view), "--")}
    assert found == goes | {"--help", "--version", "--json-schema"}
    text = lsmem(*spelled(VALUES, view), "--help").stdout.partition("\nColumns")[0]
    shown = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
    assert shown == found | {f"--{view}"}
