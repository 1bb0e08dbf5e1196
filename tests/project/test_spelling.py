"""Did you mean: what is offered for an option or a word that does not exist."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from chmem_py.cli import chmem as chmem_command
from commands import Command
from hotplug_cli import spelling
from lsmem_py.cli import lsmem as lsmem_command
from memsim.cli import commands

COMMANDS: dict[str, click.Command] = {
    "lsmem": lsmem_command,
    "chmem": chmem_command,
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
    ("words", "advice"),
    [
        ("create x --profiel s390-lpar", "did you mean --profile?"),
        ("create x --ram 4G", "did you mean --memory?"),
        ("plug x --memry 1G", "did you mean --memory?"),
        ("fault x --ofline 3=EIO", "did you mean --offline?"),
        ("boot --incremnt 8M", "did you mean --increment?"),
        ("creat x", "did you mean create?"),
        ("unplugg x", "did you mean unplug?"),
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
