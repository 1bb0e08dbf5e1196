"""The JSON Schema of each document of lsmem, and that the JSON of reports keeps to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from commands import Command
from layouts import ONLINE_RULE
from simulated import Make, s390, x86
from static_tree import put

REPORTS = ["--policy", "--holes", "--explain"]


@pytest.fixture(params=["x86", "s390", "captured"])
def root(request: pytest.FixtureRequest, machine: Make, tmp_path: Path) -> Path:
    """A machine with holes. The captured one tells what memory is used for, and has a udev rule."""
    if request.param == "s390":
        return machine(s390())
    if request.param == "x86":
        return machine({**x86(), "blocks": [{"range": [0, 1]}, {"range": [4, 4]}]})
    memory = tmp_path / "captured/sys/devices/system/memory"
    for number in (0, 2):
        (memory / f"memory{number}").mkdir(parents=True)
        (memory / f"memory{number}/state").write_text("online\n")
    (memory / "block_size_bytes").write_text("8000000\n")
    files = {
        "proc/iomem": "00000000-07ffffff : System RAM\n  01000000-01ffffff : Kernel code\n",
        "proc/meminfo": "MemTotal: 102400 kB\nMemAvailable: 51200 kB\n",
        "etc/udev/rules.d/40.rules": ONLINE_RULE,
    }
    for name, text in files.items():
        put(tmp_path / "captured", name, text)
    return tmp_path / "captured"


def schema_of(lsmem: Command, report: str) -> dict[str, object]:
    done = lsmem(report, "--json-schema")
    assert (done.status, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(shown)
    assert shown["title"] == f"lsmem {report} --json"
    return dict(shown)


@pytest.mark.parametrize("words", [[], ["-b"]])
@pytest.mark.parametrize("report", REPORTS)
def test_the_json_of_a_report_keeps_to_its_schema(
    report: str, words: list[str], root: Path, lsmem: Command
) -> None:
    document = json.loads(lsmem("-s", root, report, "-J", *words).stdout)
    jsonschema.validate(document, schema_of(lsmem, report))


DOCUMENTS = [
    ("lsmem --json --typed", "lsmem -J --typed"),
    ("lsmem --json --typed", "lsmem --why -J --typed"),
    ("lsmem --json", "lsmem -J"),
    ("lsmem --json", "lsmem --why=3 --format json"),
    ("lsmem --policy --json", "lsmem --policy -J"),
    ("lsmem --explain --json", "lsmem --explain -J"),
    ("lsmem --holes --json", "lsmem --holes -J"),
    ("lsmem --diff --json", "lsmem --diff before.json -J"),
    ("a line of lsmem --watch --json", "lsmem --watch -J"),
    ("a line of lsmem --format jsonl", "lsmem --format jsonl"),
    ("a line of lsmem --format jsonl --typed", "lsmem --format jsonl --typed"),
    ("a line of lsmem --holes --format jsonl", "lsmem --holes --format jsonl"),
    ("chmem --json", "chmem --json"),
]
"""The title of a schema, and a command line that writes what it is about."""


def keys_of(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All keys of the objects that a schema allows, and their schemas."""
    if isinstance(schema, dict):
        for key, below in schema.get("properties", {}).items():
            yield f"{place}.{key}", below
            yield from keys_of(below, f"{place}.{key}")
        yield from keys_of(schema.get("items"), f"{place}[]")


@pytest.mark.parametrize(("title", "words"), DOCUMENTS)
def test_the_schema_of_a_document_is_beside_its_options_and_describes_each_key(
    title: str, words: str, lsmem: Command, chmem: Command
) -> None:
    name, *options = words.split()
    done = {"lsmem": lsmem, "chmem": chmem}[name](*options, "--json-schema")
    assert (done.status, done.stderr) == (0, "")
    assert {"lsmem": lsmem, "chmem": chmem}[name]("--json-schema", *options) == done
    schema = json.loads(done.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == title
    keys = dict(keys_of(schema))
    assert keys
    assert [place for place, key in keys.items() if not key.get("description")] == []


def test_lines_of_util_linux_have_the_schema_of_a_line(
    lsmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBSMARTCOLS_JSON", "lines")
    shown = json.loads(lsmem("-J", "--json-schema").stdout)
    assert shown["title"] == "a line of lsmem --format jsonl"


def test_what_a_tree_may_not_tell_is_not_required_by_the_schema(lsmem: Command) -> None:
    required = schema_of(lsmem, "--explain")["required"]
    assert required == ["blocks", "memmap", "not_online", "online", "schema_version"]


def test_without_a_report_the_schema_is_that_of_typed_json(lsmem: Command) -> None:
    assert json.loads(lsmem("--json-schema").stdout)["title"] == "lsmem --json --typed"
    metrics = lsmem("--format=prometheus", "--json-schema").stdout
    assert metrics == lsmem("--json-schema").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("x", "bad usage"),
        ("--at junk", "invalid argument of --at: junk"),
        ("--output junk", "unknown column: junk"),
        ("--split junk", "unknown column: junk"),
        ("--watch=0", "invalid argument of --watch: 0"),
        ("--format=", "unknown format: '' "),
        ("--format junk", "unknown format: junk"),
        ("--typed", "option --typed goes with --json or --format jsonl"),
    ],
)
def test_beside_a_schema_wrong_words_are_refused_as_elsewhere(
    words: str, said: str, lsmem: Command
) -> None:
    for line in ((*words.split(), "--json-schema"), ("--json-schema", *words.split())):
        done = lsmem(*line)
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr.startswith(f"lsmem: {said}")
