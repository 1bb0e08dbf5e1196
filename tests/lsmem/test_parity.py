"""lsmem to the byte with util-linux 2.43: what differed, one test for each kind."""

from pathlib import Path

import pytest

import static_tree
from commands import Command, run_program
from static_tree import MEMORY, PARAMETERS
from terminal import Terminal, clean_environment, see

# On a terminal


def _first_line(
    tree: Path, *options: str, columns: int = 80, term: str = "xterm", width: str = ""
) -> str:
    variables = {"NO_COLOR": "1", "TERM": term, "COLUMNS": width}
    environment = clean_environment(**variables)
    terminal = Terminal("lsmem", "-s", tree, *options, columns=columns, environment=environment)
    assert terminal.finish() == 0
    return terminal.written.decode().splitlines()[0]


def test_headings_on_a_terminal_have_tooltips(tree: Path) -> None:
    assert _first_line(tree).count("\033]8;;\033\\") == 5
    assert "\033" not in _first_line(tree, "--annotate=never")
    # It would show the text of the link.
    assert "\033" not in _first_line(tree, term="dumb")


@pytest.mark.parametrize("words", [["--json"], ["--raw"], ["--pairs"]])
def test_other_formats_have_no_tooltips_on_a_terminal(words: list[str], tree: Path) -> None:
    assert "\033" not in see("lsmem", "-s", tree, *words, NO_COLOR="1").written.decode()


@pytest.mark.parametrize(
    ("words", "columns", "heading"),
    [
        ("SIZE", 80, " SIZE"),
        ("SIZE,BLOCK", 80, " SIZE BLOCK"),
        # Without headings it is so wide in any case, and elsewhere there is no room.
        ("SIZE,BLOCK", 10, "SIZE BLOCK"),
        ("SIZE,BLOCK", 11, " SIZE BLOCK"),
        ("SIZE,SIZE,BLOCK", 16, "SIZE  SIZE BLOCK"),
    ],
)
def test_sizes_on_a_terminal_are_five_wide_where_there_is_room(
    words: str, columns: int, heading: str, tree: Path
) -> None:
    options = ("--annotate=never", "-o", words, "--summary=never")
    assert _first_line(tree, *options, columns=columns) == heading


def test_a_terminal_without_a_size_is_as_wide_as_columns_says(tree: Path) -> None:
    options = ("--annotate=never", "-o", "SIZE,BLOCK", "--summary=never")
    assert _first_line(tree, *options, columns=0, width="10") == "SIZE BLOCK"
    assert _first_line(tree, *options, columns=0) == " SIZE BLOCK"


# Lists of columns


@pytest.mark.parametrize("words", [["-o", "FOO"], ["-S", "FOO"], ["-o", "", "-S", ""]])
@pytest.mark.parametrize("only", ["--summary", "--summary=only"])
def test_the_summary_alone_reads_no_list_of_columns(
    only: str, words: list[str], lsmem: Command, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lsmem("-s", tree, only)
    assert (plain.status, plain.stderr) == (0, "")
    monkeypatch.setenv("LSMEM_COLUMNS", "FOO")
    assert lsmem("-s", tree, only, *words) == plain


@pytest.mark.parametrize(
    ("listed", "named"),
    [
        ("FOO", "FOO"),
        ("SIZE,FOO", "FOO"),
        ("SIZE,FOO,NODE,BAR", "FOO,NODE,BAR"),
        ("SIZE,", "SIZE,"),
        ("SIZE,NODE,", "NODE,"),
        (",", ","),
    ],
)
@pytest.mark.parametrize("option", ["-o", "-S"])
def test_an_unknown_column_is_named_with_the_rest_of_the_list(
    option: str, listed: str, named: str, lsmem: Command, tree: Path
) -> None:
    done = lsmem("-s", tree, option, listed)
    assert (done.status, done.stderr) == (1, f"lsmem: unknown column: {named}\n")


# The order of errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--summary=x -a -S SIZE", "unsupported --summary argument"),
        ("-a -S SIZE --summary=x", "options --all and --split cannot be combined"),
        ("--annotate=x extra", "bad usage"),
        ("-J --summary --annotate=x", "invalid argument of --annotate: x"),
        ("-J --summary -o FOO", "options --{raw,json,pairs} and --summary=only are mutually"),
        ("-o FOO -S BAR", "unknown column: FOO"),
    ],
)
def test_of_several_errors_util_linuxs_first_one_is_told(
    words: str, said: str, lsmem: Command, tree: Path
) -> None:
    done = lsmem("-s", tree, *words.split())
    assert done.status == 1
    assert done.stderr.splitlines()[0].startswith(f"lsmem: {said}")


def test_an_unknown_column_is_told_before_a_damaged_block_size(lsmem: Command, tree: Path) -> None:
    static_tree.write(tree / MEMORY / "block_size_bytes", "x")
    assert lsmem("-s", tree, "-o", "FOO").stderr == "lsmem: unknown column: FOO\n"
    assert "block size in hexadecimal" in lsmem("-s", tree).stderr
    assert lsmem("-s", tree / "sys", "-o", "FOO").stderr.startswith("lsmem: cannot open /sys/dev")


def test_the_last_argument_of_annotate_counts(lsmem: Command, tree: Path) -> None:
    assert lsmem("-s", tree, "--annotate=x", "--annotate=never").status == 0


# Ranges


def test_a_block_without_removable_is_in_a_range_with_those_that_are_not(
    lsmem: Command, tmp_path: Path
) -> None:
    blocks = [{"range": [0, 3], "removable": 0}, {"range": [4, 5]}]
    tree = static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": blocks})
    for number in (1, 3):
        (tree / MEMORY / f"memory{number}/removable").unlink()
    listed = lsmem("-s", tree, "-nr", "-o", "BLOCK,REMOVABLE").stdout
    assert listed == "0-3 no\n4-5 yes\n"
    # The document tells what is known of each.
    assert lsmem("-s", tree, "-J", "--typed", "-o", "REMOVABLE").stdout.count('able": null') == 2


def test_no_two_blocks_are_in_the_same_unknown_zone(lsmem: Command, tmp_path: Path) -> None:
    blocks = [{"range": [0, 2], "zones": "Weird"}, {"range": [3, 5]}]
    tree = static_tree.make(tmp_path, {"block_size": 1 << 27, "blocks": blocks})
    listed = lsmem("-s", tree, "-nr", "-o", "BLOCK,ZONES").stdout
    assert listed == "0 Unknown\n1 Unknown\n2 Unknown\n3-5 Normal\n"
    assert lsmem("-s", tree, "-nr", "-o", "BLOCK").stdout == "0-5\n"


# The summary


@pytest.mark.parametrize(
    ("word", "shown"), [("Y", "yes"), ("Yes", "yes"), ("No", "no"), ("forced", "force"), ("y", "")]
)
def test_the_parameter_is_known_by_how_it_begins(
    word: str, shown: str, lsmem: Command, tree: Path
) -> None:
    static_tree.write(tree / PARAMETERS / "memmap_on_memory", word)
    last = lsmem("-s", tree, "--summary").stdout.splitlines()[-1]
    expected = f"Memmap on memory parameter:      {shown:>5}" if shown else "Total offline memory:"
    assert last.startswith(expected)


# The language


@pytest.mark.needs("locales", "translations")
@pytest.mark.parametrize("variable", ["LC_ALL", "LC_MESSAGES", "LANG"])
def test_the_reason_for_an_error_is_in_the_language_of_messages(
    variable: str, polish: dict[str, str]
) -> None:
    there = {**polish, "LC_CTYPE": "pl_PL.UTF-8", variable: "pl_PL.UTF-8"}
    done = run_program("lsmem", "-s", "/nowhere", env=there)
    assert done.stderr == "lsmem: cannot open /nowhere: Nie ma takiego pliku ani katalogu\n"
    done = run_program("chmem", "-s", "/nowhere", "-b", "-e", "1", env=there)
    assert done.stderr == "chmem: cannot open /nowhere: Nie ma takiego pliku ani katalogu\n"


@pytest.mark.needs("locales")
def test_a_language_that_is_not_there_is_english(polish: dict[str, str]) -> None:
    for variable in ("LC_ALL", "LC_MESSAGES"):
        done = run_program("lsmem", "-s", "/nowhere", env={**polish, variable: "xx_XX.UTF-8"})
        assert done.stderr == "lsmem: cannot open /nowhere: No such file or directory\n"
