"""What lsmem shows beyond the recorded reference, and how it takes bad input."""

import csv
import html.parser
import io
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pexpect
import pytest

import static_tree
from commands import SCRIPTS, VECTORS, Command, run_program
from lsmem_py.columns import COLUMNS
from lsmem_py.formats import names
from static_tree import FIRMWARE, MEMORY, NODE, PARAMETERS

Machines = Callable[[str], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six online blocks of 128 MiB on two nodes, to be spoilt."""
    group = {"range": [0, 2]}
    other = {"range": [3, 5], "node": 1, "zones": "Movable"}
    return static_tree.make(
        tmp_path, {"block_size": 1 << 27, "memmap_param": "N", "blocks": [group, other]}
    )


def column(command: Command, tree: Path, name: str, *options: str) -> list[str]:
    """The cells of a column, all blocks."""
    done = command("-s", tree, "-a", "-n", "-r", "-o", name, *options)
    assert done.status == 0
    return done.stdout.removesuffix("\n").split("\n")


# Columns of our own


def test_status_says_disabled_for_memory_that_is_not_configured(
    lsmem: Command, machines: Machines
) -> None:
    done = lsmem("-s", machines("s390-mixed"), "-rn", "-o", "BLOCK,STATUS")
    assert done.stdout.splitlines() == [
        "0-11 online",
        "12-14 offline",
        "15-21 disabled",
        "24-27 disabled",
    ]


def test_status_is_the_state_where_nothing_needs_configuring(
    lsmem: Command, machines: Machines
) -> None:
    tree = machines("x86-two-nodes")
    assert column(lsmem, tree, "STATUS") == column(lsmem, tree, "STATE")


def test_start_and_end_are_hexadecimal_in_text_and_numbers_elsewhere(
    lsmem: Command, machines: Machines
) -> None:
    arguments = ("-s", machines("s390-lpar"), "-o", "START,END")
    assert lsmem(*arguments, "-rn").stdout.splitlines() == ["0x0000000000000000 0x00000000ffffffff"]
    assert lsmem(*arguments, "-rnb").stdout.splitlines() == ["0 4294967295"]
    assert json.loads(lsmem(*arguments, "-J").stdout) == {
        "memory": [{"start": 0, "end": 2**32 - 1}]
    }


def test_memmap_size_is_a_sixty_fourth_of_the_range(lsmem: Command, machines: Machines) -> None:
    arguments = ("-s", machines("s390-lpar"), "-n", "-r", "-o", "BLOCK,STATE,MEMMAP-SIZE")
    assert lsmem(*arguments).stdout.splitlines() == ["0-15 online 32M", "16-31 offline 32M"]
    assert lsmem(*arguments, "-b").stdout.splitlines()[0] == "0-15 online 33554432"


def test_phys_device_splits_ranges_and_is_empty_where_unknown(lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "memory1/phys_device").write_text("7\n")
    (tree / MEMORY / "memory2/phys_device").unlink()
    done = lsmem("-s", tree, "-J", "-o", "BLOCK,PHYS_DEVICE")
    assert json.loads(done.stdout)["memory"] == [
        {"block": "0", "phys_device": 0},
        {"block": "1", "phys_device": 7},
        {"block": "2", "phys_device": None},
        {"block": "3-5", "phys_device": 0},
    ]


@pytest.mark.parametrize(
    "name", ["MEMMAP-ON-MEMORY", "MEMMAP_ON_MEMORY", "memmap_on-memory", "Memmap-On-Memory"]
)
def test_hyphens_underscores_and_case_do_not_matter(
    name: str, lsmem: Command, machines: Machines
) -> None:
    done = lsmem("-s", machines("s390-lpar"), "-r", "-o", f"BLOCK,{name}")
    assert done.stdout.splitlines() == ["BLOCK MEMMAP-ON-MEMORY", "0-15 no", "16-31 yes"]


def test_output_all_has_no_column_that_the_reference_lacks(
    lsmem: Command, machines: Machines
) -> None:
    done = lsmem("-s", machines("s390-lpar"), "--output-all", "-r")
    assert done.stdout.split("\n")[0] == (
        "RANGE SIZE STATE REMOVABLE BLOCK NODE ZONES CONFIGURED MEMMAP-ON-MEMORY"
    )


def test_a_block_of_two_nodes_is_shown_on_the_lowest(lsmem: Command, tree: Path) -> None:
    (tree / NODE / "node1/memory2").symlink_to("../../memory/memory2")
    (tree / MEMORY / "memory2/node1").symlink_to("../../node/node1")
    assert column(lsmem, tree, "NODE") == ["0", "0", "0", "1", "1", "1"]


def test_the_node_of_deconfigured_memory_is_not_told(lsmem: Command, machines: Machines) -> None:
    tree = machines("s390-lpar")
    assert column(lsmem, tree, "NODE") == ["0"] * 16 + [""] * 16
    rows = json.loads(lsmem("-s", tree, "-J", "-o", "NODE").stdout)["memory"]
    assert rows == [{"node": 0}, {"node": None}]


# Columns from the environment and the list


def test_columns_come_from_the_environment(
    lsmem: Command, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSMEM_COLUMNS", "size,block")
    assert lsmem("-s", tree, "-r").stdout == "SIZE BLOCK\n768M 0-5\n"
    assert lsmem("-s", tree, "-r", "-o", "BLOCK").stdout == "BLOCK\n0-5\n"
    assert lsmem("-s", tree, "-r", "-o", "+NODE").stdout.startswith("RANGE SIZE STATE REMOVABLE")
    monkeypatch.setenv("LSMEM_COLUMNS", "+node")
    assert lsmem("-s", tree, "-r").stdout.startswith("RANGE SIZE STATE REMOVABLE BLOCK NODE\n")
    monkeypatch.setenv("LSMEM_COLUMNS", "foo")
    assert lsmem("-s", tree).stderr == "lsmem: unknown column: foo\n"


@pytest.mark.parametrize("text", ["", "RANGE,", ",RANGE", "RANGE,,SIZE", "+", "RANGE SIZE"])
def test_a_list_with_an_empty_or_unknown_name_is_an_error(
    text: str, lsmem: Command, tree: Path
) -> None:
    for option in ("-o", "-S"):
        done = lsmem("-s", tree, option, text)
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr.startswith("lsmem: ")


def test_a_machine_without_the_columns_asked_for_says_so(lsmem: Command, tree: Path) -> None:
    done = lsmem("-s", tree, "-J", "-o", "CONFIGURED")
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == (
        "lsmem: nothing to list: this machine has no values of CONFIGURED\n"
        "lsmem: only memory that can be configured has them (/sys/firmware/memory, on s390)\n"
    )


# getopt_long's habits


def test_the_last_of_a_repeated_option_counts(lsmem: Command, tree: Path) -> None:
    assert lsmem("-s", "/nowhere", "-o", "FOO", "-rs", tree, "-oBLOCK").stdout == "BLOCK\n0-5\n"


def test_an_option_of_ours_takes_no_abbreviation_from_the_reference(
    lsmem: Command, tree: Path
) -> None:
    assert lsmem("-s", tree, "--j").stdout == lsmem("-s", tree, "--json").stdout
    assert lsmem("--json-s").stdout == lsmem("--json-schema").stdout


def test_options_before_help_are_still_checked(lsmem: Command) -> None:
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
def test_a_format_takes_away_the_summary_that_was_asked_for_before_it(
    arguments: list[str], summary: bool, lsmem: Command, tree: Path
) -> None:
    assert ("Total online" in lsmem("-s", tree, *arguments).stdout) == summary


def test_neither_ranges_nor_summary_is_an_error(lsmem: Command, tree: Path) -> None:
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
        (["--annotate=often"], "invalid argument of --annotate: often (always, never, auto)"),
        (["--color=red"], "invalid argument of --color: red (always, never, auto)"),
        (["--typed"], "option --typed goes with --json or --format jsonl"),
        (["--typed", "-r"], "option --typed goes with --json or --format jsonl"),
        (["--format", "csv", "--summary"], "options --format and --summary=only are mutually"),
    ],
)
def test_usage_errors_are_one_sentence_and_status_1(
    arguments: list[str], sentence: str, lsmem: Command
) -> None:
    done = lsmem(*arguments)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lsmem: {sentence}")


# Formats


def test_an_unknown_format_is_told_the_known_ones(lsmem: Command) -> None:
    done = lsmem("--format", "yaml")
    assert done.status == 1
    known = done.stderr.partition("(known: ")[2].rstrip(")\n").split(", ")
    assert known == names()
    assert {"table", "raw", "pairs", "json", "jsonl", "csv", "tsv", "github", "html"} <= set(known)


@pytest.mark.parametrize("name", names())
def test_every_format_shows_every_row(name: str, lsmem: Command, machines: Machines) -> None:
    tree = machines("s390-mixed")
    done = lsmem("-s", tree, "--format", name, "-o", "BLOCK,STATE")
    assert (done.status, done.stderr) == (0, "")
    for cell in ("0-11", "12-21", "24-27"):
        assert cell in done.stdout.replace("\\-", "-")


@pytest.mark.parametrize(("name", "short"), [("json", "-J"), ("pairs", "-P"), ("raw", "-r")])
def test_three_formats_have_a_short_option(
    name: str, short: str, lsmem: Command, machines: Machines
) -> None:
    tree = machines("s390-mixed")
    assert lsmem("-s", tree, "--format", name.upper()).stdout == lsmem("-s", tree, short).stdout


def test_csv_and_tsv_hold_the_cells_of_raw(lsmem: Command, machines: Machines) -> None:
    arguments = ("-s", machines("s390-mixed"), "-o", "BLOCK,SIZE,REMOVABLE,ZONES")
    rows = [line.split(" ") for line in lsmem(*arguments, "-r").stdout.splitlines()]
    for name, dialect in (("csv", csv.excel), ("tsv", csv.excel_tab)):
        text = lsmem(*arguments, "--format", name).stdout
        assert list(csv.reader(io.StringIO(text), dialect)) == rows
    assert lsmem(*arguments, "-n", "--format", "csv").stdout.splitlines()[0] == "0-3,1G,yes,DMA"


def test_json_lines_are_the_objects_of_the_document(
    lsmem: Command, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = machines("s390-mixed")
    rows = json.loads(lsmem("-s", tree, "-J").stdout)["memory"]
    lines = lsmem("-s", tree, "--format", "jsonl").stdout
    assert [json.loads(line) for line in lines.splitlines()] == rows
    monkeypatch.setenv("LIBSMARTCOLS_JSON", "lines")
    assert lsmem("-s", tree, "-J").stdout == lines


def test_json_layouts_are_those_of_libsmartcols(
    lsmem: Command, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("-s", tree, "-J", "-o", "SIZE,NODE")
    monkeypatch.setenv("LIBSMARTCOLS_JSON", "compact")
    assert lsmem(*arguments).stdout == (
        '{"memory":[\n{"size":"384M","node":0},\n{"size":"384M","node":1}\n]}\n'
    )
    monkeypatch.setenv("LIBSMARTCOLS_JSON", "lines")
    assert lsmem(*arguments).stdout == '{"size":"384M","node":0}\n{"size":"384M","node":1}\n'
    monkeypatch.setenv("LIBSMARTCOLS_JSON", "other")
    assert lsmem(*arguments).stdout.startswith(
        '{\n   "memory": [\n      {\n         "size": "384M"'
    )


def test_html_is_well_formed(lsmem: Command, tree: Path) -> None:
    opened: list[str] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Parser().feed(lsmem("-s", tree, "--format", "html").stdout)
    assert opened == []


# Typed JSON


@pytest.mark.parametrize("name", VECTORS["machines"])
def test_typed_json_is_as_its_schema_says(name: str, lsmem: Command, machines: Machines) -> None:
    schema = json.loads(lsmem("--json-schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    for more in ([], ["-a"], ["-o", "BLOCK,PHYS_DEVICE"], ["-S", "none"]):
        done = lsmem("-s", machines(name), "-J", "--typed", *more)
        document = json.loads(done.stdout)
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
        lines = lsmem("-s", machines(name), "--format", "jsonl", "--typed", *more).stdout
        assert [json.loads(line) for line in lines.splitlines()] == document["ranges"]


def test_typed_json_has_null_where_the_reference_guesses(
    lsmem: Command, machines: Machines
) -> None:
    document = json.loads(lsmem("-s", machines("s390-lpar"), "-J", "--typed").stdout)
    online, standby = document["ranges"]
    assert online == {
        "range": "0x0000000000000000-0x000000007fffffff",
        "size": 2 << 30,
        "state": "online",
        "removable": True,
        "block": {"first": 0, "last": 15},
        "node": 0,
        "zones": ["Normal"],
        "configured": True,
        "memmap_on_memory": False,
        "status": "online",
        "start": 0,
        "end": (2 << 30) - 1,
        "memmap_size": 32 << 20,
    }
    unknown = {"removable": None, "node": None, "zones": None}
    assert standby.items() >= {**unknown, "state": "offline", "status": "disabled"}.items()
    assert document["supports"] == {
        "configure": True,
        "memmap_on_memory": True,
        "nodes": True,
        "valid_zones": True,
    }
    assert (document["total_online"], document["total_offline"]) == (2 << 30, 2 << 30)


def test_typed_json_has_the_parameters_with_their_types(lsmem: Command, tree: Path) -> None:
    for name, text in (
        ("memmap_on_memory", "force"),
        ("online_policy", "contig-zones"),
        ("auto_movable_ratio", "301"),
        ("auto_movable_numa_aware", "Y"),
    ):
        static_tree.write(tree / PARAMETERS / name, text)
    static_tree.write(tree / MEMORY / "auto_online_blocks", "online_movable")
    document = json.loads(lsmem("-s", tree, "-J", "--typed").stdout)
    assert document["memory_hotplug"] == {
        "memmap_on_memory": "force",
        "online_policy": "contig-zones",
        "auto_movable_ratio": 301,
        "auto_movable_numa_aware": True,
    }
    assert document["auto_online_blocks"] == "online_movable"


# Colour and tooltips


def test_colour_marks_what_is_not_online_and_leaves_the_text_alone(
    lsmem: Command, machines: Machines
) -> None:
    tree = machines("s390-mixed")
    coloured = lsmem("-s", tree, "--color").stdout
    lines = coloured.splitlines()
    assert "\033[" not in lines[0] + lines[1]
    assert lines[2].startswith("\033[2m")
    assert lines[3].startswith("\033[90m")
    assert re.sub(r"\033\[[0-9;]*m", "", coloured) == lsmem("-s", tree).stdout


def test_going_offline_is_yellow(lsmem: Command, tree: Path) -> None:
    static_tree.write(tree / MEMORY / "memory2/state", "going-offline")
    done = lsmem("-s", tree, "--color=always", "-o", "BLOCK,STATE,STATUS")
    assert "\033[33m    2 on->off going-offline\033[0m\n" in done.stdout


@pytest.mark.parametrize("name", ["json", "raw", "pairs", "csv", "github"])
def test_colour_is_for_tables(name: str, lsmem: Command, machines: Machines) -> None:
    assert "\033" not in lsmem("-s", machines("s390-mixed"), "--color", "--format", name).stdout


def test_headings_carry_their_help_as_a_tooltip(lsmem: Command, tree: Path) -> None:
    done = lsmem("-s", tree, "--annotate=always", "-o", "RANGE,SIZE")
    help_of = {column.heading: column.help for column in COLUMNS}
    assert done.stdout.splitlines()[0] == (
        f"\033]8;;{help_of['RANGE']}\033\\RANGE\033]8;;\033\\"
        + " " * 33
        + f"\033]8;;{help_of['SIZE']}\033\\SIZE\033]8;;\033\\"
    )
    assert lsmem("-s", tree, "--annotate").stdout == lsmem("-s", tree).stdout


# Bad input


def test_without_memory_blocks_it_says_what_can_be_the_cause(
    lsmem: Command, tmp_path: Path
) -> None:
    done = lsmem("-s", tmp_path)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("lsmem: cannot open /sys/devices/system/memory")
    for hint in ("No such file", "memory hotplug", "container", "--sysroot", "memsim"):
        assert hint in done.stderr


@pytest.mark.parametrize(
    "text", ["", "\n", "zz\n", "0\n", "-8000000\n", "8_0\n", "f" * 17, "\xff\x1b"]
)
def test_a_block_size_that_is_none_is_an_error(text: str, lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "block_size_bytes").write_bytes(text.encode("latin-1"))
    done = lsmem("-s", tree)
    assert (done.status, done.stdout) == (1, "")
    assert "block_size_bytes should hold the block size in hexadecimal" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_machine_without_block_size_has_no_memory_blocks(lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "block_size_bytes").unlink()
    assert lsmem("-s", tree).stderr == "lsmem: This system does not support memory blocks\n"


@pytest.mark.parametrize("text", [b"weird\n", b"", b"online\nmore", b"online ", b"\xff\x00\x1b[2J"])
def test_a_state_nobody_knows_is_a_question_mark(text: bytes, lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "memory1/state").write_bytes(text)
    assert column(lsmem, tree, "STATE") == ["online", "?", "online", "online", "online", "online"]
    assert column(lsmem, tree, "STATUS")[1] == "?"
    document = json.loads(lsmem("-s", tree, "-J", "--typed").stdout)
    assert document["ranges"][1]["state"] is None
    assert document["total_offline"] == 1 << 27


def test_attributes_that_are_missing_are_shown_as_the_reference_does(
    lsmem: Command, tree: Path
) -> None:
    for name in ("state", "removable", "valid_zones", "node0"):
        (tree / MEMORY / "memory1" / name).unlink()
    (tree / NODE / "node0/memory1").unlink()
    done = lsmem("-s", tree, "-rna", "-o", "BLOCK,STATE,REMOVABLE,NODE,ZONES")
    assert done.stdout.splitlines()[1] == "1 ?  -1 "
    static_tree.write(tree / MEMORY / "memory1/state", "online")
    assert column(lsmem, tree, "REMOVABLE")[1] == "no"


def test_an_attribute_that_cannot_be_read_is_unknown_and_said(lsmem: Command, tree: Path) -> None:
    # A directory cannot be read by anyone, whoever runs the tests.
    (tree / MEMORY / "memory1/state").unlink()
    (tree / MEMORY / "memory1/state").mkdir()
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE")
    assert done.stdout.splitlines() == ["0 online", "1 ?", "2-5 online"]
    assert done.stderr == "lsmem: state of memory1 is not known: state: Is a directory\n"


@pytest.mark.parametrize("digits", ["9" * 30, str(2**37), str(2**64 - 1)])
def test_a_block_beyond_the_address_space_is_left_out_and_said(
    digits: str, lsmem: Command, tree: Path
) -> None:
    (tree / MEMORY / f"memory{digits}").mkdir()
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK")
    assert (done.status, done.stdout) == (0, "0-5\n")
    assert done.stderr == (
        f"lsmem: memory{digits} is left out: no memory block has such a number\n"
    )


def test_the_last_block_of_the_address_space_is_listed(lsmem: Command, tree: Path) -> None:
    static_tree.write(tree / MEMORY / f"memory{2**37 - 1}" / "state", "offline")
    done = lsmem("-s", tree, "-rn", "-o", "RANGE,STATE")
    assert done.stdout.splitlines()[1] == "0xfffffffff8000000-0xffffffffffffffff offline"


def test_other_names_among_the_blocks_are_passed_over(lsmem: Command, tree: Path) -> None:
    for name in ("memory", "memoryX", "memory-1", "memory1x", "power", "Memory9"):
        (tree / MEMORY / name).mkdir()
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK")
    assert (done.stdout, done.stderr) == ("0-5\n", "")


def test_a_file_in_place_of_a_block_is_left_out_and_said(lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "memory9").write_text("")
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE")
    assert done.stdout == "0-5 online\n"
    assert done.stderr == "lsmem: memory9 is left out: not a directory\n"


def test_a_tree_without_any_block_is_an_error(lsmem: Command, tmp_path: Path) -> None:
    static_tree.write(tmp_path / MEMORY / "block_size_bytes", "8000000")
    done = lsmem("-s", tmp_path, "-J")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"lsmem: no memory blocks in /sys/devices/system/memory below {tmp_path}: "
    )


@pytest.mark.parametrize("text", [b"No\x01rmal\n", b"\xff\xfe", b"Normal\x1b[31m Movable\n"])
def test_control_characters_never_reach_the_output(text: bytes, lsmem: Command, tree: Path) -> None:
    (tree / MEMORY / "memory1/valid_zones").write_bytes(text)
    (tree / MEMORY / "auto_online_blocks").write_bytes(text)
    for name in names():
        done = lsmem("-s", tree, "-o", "BLOCK,ZONES", "--format", name)
        assert done.status == 0
        assert "Unknown" in done.stdout
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout)
    typed = lsmem("-s", tree, "-J", "--typed").stdout
    assert None in json.loads(typed)["ranges"][1]["zones"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", typed)


def test_names_in_messages_are_escaped(lsmem: Command) -> None:
    done = lsmem("-s", "/nowhere/\x1b[31m\udcff", "-o", "A\x07")
    assert "/nowhere/\\x1b[31m\\xff" in done.stderr
    assert "\x1b" not in done.stderr


def test_firmware_without_its_files_leaves_the_columns_empty(lsmem: Command, tree: Path) -> None:
    for number in (0, 1, 9):
        (tree / FIRMWARE / f"memory{number}").mkdir(parents=True)
    done = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE,CONFIGURED,MEMMAP-ON-MEMORY")
    assert done.stdout.splitlines() == ["0-5 online  ", "9 offline  "]


# As a process


def test_a_closed_pipe_ends_silently(machines: Machines) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_program("lsmem", "-s", machines("arm64-offset"), "-a", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["-a"], ["--help"], ["-J", "--typed"]])
def test_a_full_disk_is_an_error(arguments: list[str], machines: Machines) -> None:
    with open("/dev/full", "w") as full:
        done = run_program("lsmem", "-s", machines("one-block"), *arguments, stdout=full)
    expected = "lsmem: write error: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_a_closed_standard_output_is_an_error(machines: Machines) -> None:
    done = run_program("lsmem", "-s", machines("one-block"), preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (1, "lsmem: write error: Bad file descriptor\n")


def test_closed_standard_error_changes_no_status() -> None:
    done = run_program("lsmem", "-s", "/nowhere", preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_on_a_terminal_there_is_colour_unless_it_is_not_wanted(
    environment: dict[str, str], coloured: bool, machines: Machines
) -> None:
    arguments = ["-s", str(machines("s390-mixed"))]
    shown: str = pexpect.run(
        shlex.join([str(SCRIPTS / "lsmem"), *arguments]),
        env={**os.environ, "NO_COLOR": "", **environment},
        encoding="utf-8",
    )  # type: ignore[assignment]  # the stubs think of withexitstatus
    plain = run_program("lsmem", *arguments).stdout
    assert ("\033[" in shown) == coloured
    assert re.sub(r"\033\[[0-9;]*m", "", shown).replace("\r\n", "\n") == plain
