"""Did you mean: what is offered for an option or a word that does not exist."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from chmem_py.cli import chmem as chmem_command
from commands import Command
from hotplug_cli import spelling
from hotplug_cli.click_command import command_of
from lsmem_py.cli import lsmem as lsmem_command
from memsim_py.cli import commands

COMMANDS: dict[str, click.Command] = {
    "lsmem": command_of(lsmem_command),
    "chmem": command_of(chmem_command),
    **{f"memsim {name}": command for name, command in commands.commands.items()},
}


def options_of(name: str) -> list[str]:
    command = COMMANDS[name]
    parameters = command.get_params(click.Context(command))
    return [option for one in parameters for option in one.opts if option.startswith("--")]


def typos(option: str) -> Iterator[str]:
    word = option[2:]
    yield f"--{word[:2]}{word[1:]}"
    yield f"--{word[:2]}{word[3:]}"
    yield f"--{word[:-2]}x{word[-1]}"
    yield f"--{word[:-2]}{word[-1]}{word[-2]}"


LONG = [(name, one) for name in COMMANDS for one in options_of(name) if len(one) > 6]


@pytest.mark.parametrize(("command", "option"), LONG, ids=lambda word: word.replace(" ", "-"))
def test_for_every_option_of_every_command_a_slip_leads_to_it(command: str, option: str) -> None:
    names = options_of(command)
    for typo in typos(option):
        if not any(name.startswith(typo) for name in names):
            assert spelling.option(typo, names) == option, typo


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--online", "--enable"),
        ("--offline", "--disable"),
        ("--presistent", "--persistent"),
        ("--dry_run", "--dry-run"),
        ("--memap", "--memmap-on-memory"),
        ("--rollback", "--undo"),
        ("-undo", "--undo"),
        ("-dry-run", "--dry-run"),
        ("-total=4g", "--total"),
        ("-p", "--policy or --persistent"),
        ("-E", "--enable"),
        ("-r", "--reconfigure or --retry"),
    ],
)
def test_what_may_be_meant_is_offered(typed: str, meant: str, lpar: Path, chmem: Command) -> None:
    done = chmem("-s", lpar, typed, "1g")
    assert (done.status, done.stdout) == (1, "")
    said, more, advice = done.stderr.splitlines()
    assert said.startswith(("chmem: unrecognized option '--", "chmem: invalid option -- '"))
    assert more == "Try 'chmem --help' for more information."
    assert advice == f"chmem: did you mean {meant}?"


@pytest.mark.parametrize(
    "typed",
    # --zode is as much like --zone as like --node, and three options begin with an a.
    ["--zode", "--frobnicate", "--x", "-x", "-a", "-1g", "-/"],
)
def test_nothing_is_offered_where_no_match_is_good_or_two_are(
    typed: str, lpar: Path, chmem: Command
) -> None:
    done = chmem("-s", lpar, typed, "1g")
    assert (done.status, done.stdout) == (1, "")
    assert "did you mean" not in done.stderr


def test_without_advice_only_util_linuxs_text_is_written(lpar: Path, chmem: Command) -> None:
    done = chmem("-s", lpar, "--advice=never", "--presistent")
    assert done.stderr == (
        "chmem: unrecognized option '--presistent'\nTry 'chmem --help' for more information.\n"
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--columns", "--output"),
        ("--sumary", "--summary"),
        ("-all", "--all"),
        ("-w", "--watch or --why"),
        ("--colour", "--color"),
        ("--jsno", "--json"),
    ],
)
def test_lsmem_offers_its_options(typed: str, meant: str, lpar: Path, lsmem: Command) -> None:
    done = lsmem("-s", lpar, "--advice=always", typed)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == f"lsmem: did you mean {meant}?"


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("enable 1g", "did you mean --enable?"),
        ("-e 8 g", "no space stands before the unit: 8g"),
        ("-e 1g --zone", "-z, --zone NAME: enable into, or disable from, this zone"),
        ("-e 1g -z", "-z, --zone NAME: enable into, or disable from, this zone"),
        ("--order", "--order HOW: which blocks to take for a SIZE: auto, highest, best"),
        ("-d -8g", "what begins with a dash is an option; for an argument give 8g"),
        ("-e=1g", "no = follows a short option: -e 1g"),
        ("-be=5", "no = follows a short option: -be 5"),
        ("--enable=1g", "the argument is a word of its own: --enable 1g"),
        ("--blocks=5 -e", "the argument is a word of its own: --blocks 5"),
        ("--dry-run=yes -e 1g", "--dry-run alone is enough"),
        ("-e 1g 2g", "give one SIZE, RANGE or BLOCKRANGE, not 2"),
        ("-e", "give one SIZE, RANGE or BLOCKRANGE, not none"),
        ("--total", "--total takes one SIZE, as in 16g"),
        ("--total=-1g", "so much less: --disable 1g"),
        ("--tot=+1g", "so much more: --enable 1g"),
        ("--total -1g", "so much less: --disable 1g"),
        ("--total --dry-run -1g", "so much less: --disable 1g"),
        ("--total=--1g", "so much less: --disable 1g"),
        ("--total=+-1g", "the argument is a word of its own: --total +-1g"),
        ("--enable=-1g", "what begins with a dash is an option; for an argument give 1g"),
        ("--save x y", "--save takes at most 1 argument"),
    ],
)
def test_of_wrong_usage_chmem_tells_what_to_type(
    words: str, instead: str, lpar: Path, chmem: Command
) -> None:
    done = chmem("-s", lpar, *words.split())
    assert (done.status, done.stdout) == (1, "")
    _, more, last = done.stderr.splitlines()
    assert more == "Try 'chmem --help' for more information."
    assert last == f"chmem: {instead}"


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("create", "create [OPTIONS] DIR"),
        ("create x --memory 4 GB", "create [OPTIONS] DIR"),
        ("write x y", "write [OPTIONS] DIR ATTRIBUTE VALUE"),
        ("shell x true", "shell [OPTIONS] [DIR] [-- COMMAND...]"),
        ("boot x", "boot [OPTIONS] [-- COMMAND...]"),
    ],
)
def test_after_a_wrong_number_of_words_memsim_tells_the_usage(
    words: str, usage: str, memsim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert memsim("create", "x", "--memory", "256M").status == 0
    done = memsim(*words.split())
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [f"memsim: usage: memsim {usage}"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("create x --profiel s390-lpar", "did you mean --profile?"),
        ("create x --ram 4G", "did you mean --memory?"),
        ("plug x --memry 1G", "did you mean --memory?"),
        ("fault x --ofline 3=EIO", "did you mean --offline?"),
        ("boot --incremnt 8M", "did you mean --increment?"),
        ("creat x", "did you mean create?"),
        ("unplugg x", "did you mean unplug?"),
        ("help", "did you mean --help?"),
        ("list", "did you mean profiles?"),
        ("--profile s390-lpar", "options follow the command, as in memsim show --json DIR"),
        ("-x", "options follow the command, as in memsim show --json DIR"),
    ],
)
def test_memsim_offers_its_options_and_commands(words: str, advice: str, memsim: Command) -> None:
    done = memsim(*words.split())
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [
        "Try 'memsim --help' for more information.",
        f"memsim: {advice}",
    ]


def test_memsim_offers_no_command_that_is_far_from_what_was_typed(memsim: Command) -> None:
    assert "did you mean" not in memsim("nope").stderr
