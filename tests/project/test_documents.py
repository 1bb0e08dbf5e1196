"""The page about the JSON documents, and what holds them against their schemas in all tests."""

import json
import re
import shlex

import pytest

import documents
from commands import TOP, Command
from lsmem_py.options import VIEWS

PAGE = (TOP / "docs/documents.md").read_text()
ROWS = re.findall(r"^\| .* \| `(\w+ [^|]*)` \| (.*) \|$", PAGE, re.MULTILINE)
"""A command line that writes a document, and where its schema is."""


def test_the_page_has_each_view_that_writes_json() -> None:
    shown = {word for options, _ in ROWS for word in options.split()}
    assert {f"--{view}" for view, options in VIEWS.items() if "json" in options} <= shown
    assert {"lsmem", "chmem"} <= shown


@pytest.mark.parametrize(("options", "schema"), ROWS)
def test_the_page_names_the_command_that_prints_the_schema(
    options: str, schema: str, lsmem: Command, chmem: Command
) -> None:
    beside = f"{options} --json-schema".replace("chmem --json ", "chmem ")
    found = re.findall(r"`([^`]*)`", schema)
    assert found in ([beside], ["lsmem --json --typed"])
    name, *words = shlex.split(beside)
    shown = json.loads({"lsmem": lsmem, "chmem": chmem}[name](*words).stdout)
    if found == [beside]:
        assert shown["title"].endswith(
            re.sub(r" FILE| 0x80000000| --json-schema", "", f"{options}")
        )
    else:
        assert shown["title"] == found[0]


@pytest.mark.parametrize(
    ("line", "out", "found"),
    [
        ("lsmem -J --typed", '{"schema_version": 1}', "$: 'auto_online_blocks' is a required"),
        ("lsmem -J", '{"memory": [{"size": 7.5}]}', "$.memory[0].size: 7.5 is not of type"),
        ("lsmem --format jsonl", '{"size": "1G"}\n{"sise": "1G"}\n', "$: Additional properties"),
        ("lsmem --diff x -J", '{"same": true}', "$: 'changes' is a required property"),
        ("chmem --json -e 1g", '{"messages": ["text"]}', "$.messages[0]: 'text' is not of type"),
        ("chmem --json -e 1g", '{"messages": [', "Expecting value"),
    ],
)
def test_a_document_that_is_not_valid_is_found_in_any_test(line: str, out: str, found: str) -> None:
    name, *words = line.split()
    fault = documents.fault(name, words, 0, out)
    assert fault
    assert fault.startswith(found)
    with pytest.raises(AssertionError):
        documents.check(name, words, 0, out)


def test_a_document_of_a_line_of_shell_is_held_against_the_schemas_of_its_commands() -> None:
    for line in ("cd /; exec chmem --json -e 1g 2>&1", "lsmem -J | head; chmem --json -e 1g"):
        with pytest.raises(AssertionError, match="'text' is not of type"):
            documents.check_line(["sh", "-c", line], 0, '{"messages": ["text"]}')
    with pytest.raises(AssertionError):
        documents.check_line(["lsmem", "-J"], 0, '{"memory": [{"size": 7.5}]}')
    documents.check_line(["sh", "-c", "cat layout.json; lsmem"], 0, "plain")
    documents.check_line(["sh", "-c", "python3 interrupt.py 3 chmem -J -d 1g"], 0, '{"out": 7}')
    documents.check_line(["sh", "-c", "cat layout.json"], 0, '{"memory": 7}')
    documents.check_line(["sh", "-c", "lsmem -J > x; chmem --json 'x"], None, "{")


def test_what_is_no_document_has_no_fault() -> None:
    for line, out in (
        ("lsmem", "RANGE SIZE\n"),
        ("lsmem --format mediawiki", '{| class="wikitable"\n'),
        ("memsim show m --json", "{}"),
        ("lsmem --json-schema", "{}"),
    ):
        name, *words = line.split()
        assert documents.fault(name, words, 0, out) is None
