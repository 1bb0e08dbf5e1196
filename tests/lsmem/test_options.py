"""lsmem's command line, read as getopt_long does, and its usage errors."""

from pathlib import Path

import pytest

from commands import Command, Machines


def test_the_last_of_a_repeated_option_counts(lsmem: Command, tree: Path) -> None:
    assert lsmem("-s", "/nowhere", "-o", "FOO", "-rs", tree, "-oBLOCK").stdout == "BLOCK\n0-5\n"


def test_abbreviations_of_util_linux_options_keep_their_meaning(lsmem: Command, tree: Path) -> None:
    assert lsmem("-s", tree, "--j").stdout == lsmem("-s", tree, "--json").stdout
    assert lsmem("--json-s").stdout == lsmem("--json-schema").stdout


def test_help_and_version_answer_at_once_after_valid_options(lsmem: Command) -> None:
    assert lsmem("--help", "--bogus").status == 0
    assert lsmem("--bogus", "--help").status == 1
    assert lsmem("-V", "extra").stdout.startswith("lsmem from memory-hotplug-tools ")


def test_posixly_correct_ends_the_options_at_the_first_argument(
    lsmem: Command, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert lsmem("-s", tree, "extra", "--version").stderr.startswith("lsmem: bad usage\n")


@pytest.mark.parametrize(
    ("arguments", "summary"),
    [
        (["-r", "--summary=always"], True),
        (["--summary=always", "-r"], False),
        (["--summary=always", "--format", "csv"], False),
        (["--summary=never", "-J", "--summary=always"], True),
        (["--summary=always", "--summary=never"], False),
        (["--summary=always", "--format", "table"], True),
    ],
)
def test_a_format_option_takes_away_an_earlier_summary(
    arguments: list[str], summary: bool, lsmem: Command, tree: Path
) -> None:
    assert ("Total online" in lsmem("-s", tree, *arguments).stdout) == summary


def test_summary_only_with_a_format_is_an_error(lsmem: Command, tree: Path) -> None:
    sentence = "options --{raw,json,pairs} and --summary=only are mutually exclusive"
    for arguments in (["--summary", "--summary=never"], ["-r", "--summary=only"]):
        assert lsmem("-s", tree, *arguments).stderr == f"lsmem: {sentence}\n"
    assert lsmem("-s", tree, "-r", "--summary", "--summary=always").status == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-rJ"], "options --raw and --json cannot be combined"),
        (["--format", "csv", "-J"], "options --format and --json cannot be combined"),
        (["-S", "none", "-a"], "options --split and --all cannot be combined"),
        (["--all=1"], "option '--all' doesn't allow an argument"),
        (["--output"], "option '--output' requires an argument"),
        (["-Jx"], "invalid option -- 'x'"),
        (["--", "-J"], "bad usage"),
        (["-"], "bad usage"),
        (["--summary", "never"], "bad usage"),
        (["--summary="], "unsupported --summary argument"),
        (["--annotate=often"], "invalid argument of --annotate: often\n"),
        (["--color=red"], "invalid argument of --color: red (always, never or auto)"),
        (["--typed"], "option --typed goes with --json or --format jsonl"),
        (["--typed", "-r"], "option --typed goes with --json or --format jsonl"),
        (["--format", "csv", "--summary"], "options --format and --summary=only are mutually"),
    ],
)
def test_usage_errors_are_one_sentence_and_exit_1(
    arguments: list[str], sentence: str, lsmem: Command
) -> None:
    done = lsmem(*arguments)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lsmem: {sentence}")


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        (["-o", "BLOK"], "did you mean BLOCK? the columns are RANGE, SIZE, "),
        (["-o", "STATE", "-S", "ZONE"], "did you mean ZONES? the columns are RANGE, SIZE, "),
        (["-o", "BLOCK, SIZE"], "a list of columns has commas and no spaces, as in BLOCK,STATE"),
        (["-o", "+"], "a list of columns has commas and no spaces, as in BLOCK,STATE"),
        (["-o", "all"], "--output-all shows all columns of util-linux's lsmem"),
        (["-o", "frob"], "the columns are RANGE, SIZE, "),
        (["-o", "block", "size"], "for columns: --output block,size"),
        (["-o", "block,", "size"], "for columns: --output block,size"),
        (["memmap_on_memory,ZONES"], "for columns: --output memmap_on_memory,ZONES"),
        (["/tmp"], "for the machine in /tmp: --sysroot /tmp"),
        (["support.tar.gz"], "for the machine in support.tar.gz: --sysroot support.tar.gz"),
        (["--watch", "2"], "--watch takes its argument after a =: --watch=2"),
        (["--why", "3-5"], "--why takes its argument after a =: --why=3-5"),
        (["--map", "zones"], "--map takes its argument after a =: --map=zones"),
        (["frob"], "lsmem takes options only, and no frob"),
        (["--all=yes"], "--all alone is enough"),
        (["--bytes=G"], "--bytes alone is enough"),
        (["-o"], "-o, --output LIST: columns to show; +LIST adds to the default"),
        (["--diff"], "--diff FILE: what changed since FILE, made by -J --typed"),
        (["-o=BLOCK"], "did you mean BLOCK? the columns are RANGE"),
        (["-a=1"], "no = follows a short option: -a 1"),
    ],
)
def test_what_a_wrong_word_may_be_meant_as_is_told(
    arguments: list[str], instead: str, tree: Path, lsmem: Command
) -> None:
    done = lsmem("-s", tree, "--advice=always", *arguments)
    assert (done.status, done.stdout) == (2 if "--diff" in arguments else 1, "")
    assert done.stderr.splitlines()[-1].startswith(f"lsmem: {instead}")
    bare = lsmem("-s", tree, *arguments).stderr
    assert instead not in bare


@pytest.mark.parametrize("below", ["sys", "sys/devices/system/memory", "sys/devices/"])
def test_of_a_directory_below_sys_the_root_is_told(
    below: str, lsmem: Command, profiles: Machines
) -> None:
    root = profiles("s390-lpar")
    done = lsmem("-s", root / below, "--advice=always")
    assert done.status == 1
    assert done.stderr.splitlines()[-1] == (
        f"lsmem: --sysroot takes the directory that has sys in it: {root}"
    )
    elsewhere = lsmem("-s", root.parent, "--advice=always").stderr
    assert "memsim create make such trees" in elsewhere


@pytest.mark.parametrize("arguments", [[], ["-J", "--output-all"], ["--policy"]])
def test_an_empty_sysroot_is_this_machine_as_for_util_linux(
    lsmem: Command, arguments: list[str]
) -> None:
    assert lsmem("-s", "", *arguments) == lsmem(*arguments)


def test_a_block_size_that_is_none_is_shown_shortened(lsmem: Command, tmp_path: Path) -> None:
    memory = tmp_path / "sys/devices/system/memory"
    (memory / "memory0").mkdir(parents=True)
    (memory / "block_size_bytes").write_text("f" * 4000)
    done = lsmem("-s", tmp_path)
    assert done.status == 1
    assert "not ffffff" in done.stderr
    assert len(done.stderr) < 200
