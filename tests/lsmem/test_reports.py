"""lsmem --policy, --holes and --explain: the JSON Schema of each, and that its JSON keeps to it."""

import json
from pathlib import Path

import jsonschema
import pytest

from commands import Command
from simulated import Make, s390, x86

REPORTS = ["--policy", "--holes", "--explain"]
RULE = 'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}=="offline", ATTR{state}="online"\n'


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
        "etc/udev/rules.d/40.rules": RULE,
    }
    for name, text in files.items():
        path = tmp_path / "captured" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
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


@pytest.mark.parametrize("report", REPORTS)
def test_the_schema_of_a_report_describes_each_key(report: str, lsmem: Command) -> None:
    shown = json.dumps(schema_of(lsmem, report))
    properties = json.loads(shown)["properties"]
    if report == "--holes":
        properties = properties["memory"]["items"]["properties"]
    properties.pop("schema_version", None)
    assert all(key["description"] for key in properties.values())


def test_what_a_tree_may_not_tell_is_not_required_by_the_schema(lsmem: Command) -> None:
    required = schema_of(lsmem, "--explain")["required"]
    assert required == ["blocks", "memmap", "not_online", "online", "schema_version"]


def test_without_a_report_the_schema_is_that_of_typed_json(lsmem: Command) -> None:
    assert json.loads(lsmem("--json-schema").stdout)["title"] == "lsmem --json --typed"
    metrics = lsmem("--format=prometheus", "--json-schema").stdout
    assert metrics == lsmem("--json-schema").stdout
