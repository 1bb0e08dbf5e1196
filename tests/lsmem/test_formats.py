"""lsmem's output formats, colour and tooltips."""

import csv
import html.parser
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

import static_tree
from commands import Command, Machines
from lsmem_py.columns import COLUMNS
from lsmem_py.formats import names
from lsmem_py.options import METRICS
from static_tree import MEMORY


def test_an_unknown_format_name_is_answered_with_all_names(lsmem: Command) -> None:
    done = lsmem("--format", "yaml")
    assert done.status == 1
    known = done.stderr.partition("(known: ")[2].rstrip(")\n").split(", ")
    assert known == [*names(), METRICS]
    assert {"table", "raw", "pairs", "json", "jsonl", "csv", "tsv", "github", "html"} <= set(known)


@pytest.mark.parametrize("name", names())
def test_every_format_shows_every_range(name: str, lsmem: Command, machines: Machines) -> None:
    tree = machines("s390-mixed")
    done = lsmem("-s", tree, "--format", name, "-o", "BLOCK,STATE")
    assert (done.status, done.stderr) == (0, "")
    for cell in ("0-11", "12-21", "24-27"):
        assert cell in done.stdout.replace("\\-", "-")


@pytest.mark.parametrize(("name", "short"), [("json", "-J"), ("pairs", "-P"), ("raw", "-r")])
def test_formats_json_pairs_and_raw_have_a_short_option(
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


def test_jsonl_has_the_objects_of_json_one_on_each_line(
    lsmem: Command, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = machines("s390-mixed")
    rows = json.loads(lsmem("-s", tree, "-J").stdout)["memory"]
    lines = lsmem("-s", tree, "--format", "jsonl").stdout
    assert [json.loads(line) for line in lines.splitlines()] == rows
    monkeypatch.setenv("LIBSMARTCOLS_JSON", "lines")
    assert lsmem("-s", tree, "-J").stdout == lines


def test_libsmartcols_json_sets_the_layout_of_json(
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


def test_color_marks_ranges_that_are_not_online_and_keeps_the_text(
    lsmem: Command, machines: Machines
) -> None:
    tree = machines("s390-mixed")
    coloured = lsmem("-s", tree, "--color").stdout
    lines = coloured.splitlines()
    assert "\033[" not in lines[0] + lines[1]
    assert lines[2].startswith("\033[2m")
    assert lines[3].startswith("\033[90m")
    assert re.sub(r"\033\[[0-9;]*m", "", coloured) == lsmem("-s", tree).stdout


def test_color_of_a_range_going_offline_is_yellow(lsmem: Command, tree: Path) -> None:
    static_tree.write(tree / MEMORY / "memory2/state", "going-offline")
    done = lsmem("-s", tree, "--color=always", "-o", "BLOCK,STATE,STATUS")
    assert "\033[33m    2 on->off going-offline\033[0m\n" in done.stdout


@pytest.mark.parametrize("name", ["json", "raw", "pairs", "csv", "github"])
def test_color_is_for_tables_only(name: str, lsmem: Command, machines: Machines) -> None:
    assert "\033" not in lsmem("-s", machines("s390-mixed"), "--color", "--format", name).stdout


def test_annotate_gives_headings_a_tooltip(lsmem: Command, tree: Path) -> None:
    done = lsmem("-s", tree, "--annotate=always", "-o", "RANGE,SIZE")
    help_of = {column.heading: column.help for column in COLUMNS}
    assert done.stdout.splitlines()[0] == (
        f"\033]8;;{help_of['RANGE']}\033\\RANGE\033]8;;\033\\"
        + " " * 33
        + f"\033]8;;{help_of['SIZE']}\033\\SIZE\033]8;;\033\\"
    )
    assert lsmem("-s", tree, "--annotate").stdout == lsmem("-s", tree).stdout
