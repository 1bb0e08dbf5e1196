"""With --json there is one document whatever happens, and it has all that standard error said."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chmem_py.document import schema
from commands import Command
from simulated import Make, make, s390, x86
from static_tree import MEMORY
from told import said_in

HINT = "Try 'chmem --help' for more information."


def document_of(chmem: Command, *arguments: str | Path) -> dict[str, Any]:
    """The document, after all that holds for each."""
    done = chmem(*arguments)
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, schema())
    assert done.stdout == json.dumps(document, indent=2) + "\n"
    assert document["status"] == done.status
    said = [line for line in done.stderr.splitlines() if line != HINT]
    assert {f"chmem: {line}" for line in said_in(document)} == set(said)
    texts = [f"chmem: {message['text']}" for message in document["messages"]]
    assert texts == [line for line in said if line in texts]
    return document


WRONG = [
    (["-e", "1.5"], "Failed to parse size: '1.5': Invalid argument"),
    (["-e", "100m"], "Size must be aligned to memory block size (128M)"),
    (["-e", "-b", "5-4"], "Invalid range: 5-4"),
    (["-e", "-b", "4", "5"], "bad usage"),
    (["-b", "4"], "bad usage"),
    (["-e", "--retry", "x", "-b", "4"], "invalid argument of --retry: 'x'"),
    (["--no-such-option"], "unrecognized option '--no-such-option'"),
    (["-e", "-d"], "options --enable and --disable cannot be combined"),
    (["-z", "Foo", "-e", "-b", "4"], "unknown memory zone: Foo"),
    (["-b", "4", "-Q"], "invalid option -- 'Q'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_of_a_wrong_command_line_there_is_a_document(
    arguments: Sequence[str], message: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390())
    document = document_of(chmem, "--json", "-s", root, *arguments)
    assert (document["outcome"], document["status"], document["request"]) == ("failed", 1, None)
    assert (document["bytes_changed"], document["blocks"]) == (0, [])
    assert document["messages"][0]["text"] == message


def test_before_json_was_seen_there_is_no_document(chmem: Command, tmp_path: Path) -> None:
    done = chmem("--no-such-option", "--json", "-e", "1g")
    assert (done.status, done.stdout) == (1, "")


def test_of_a_tree_that_is_not_there_there_is_a_document(chmem: Command, tmp_path: Path) -> None:
    document = document_of(chmem, "--json", "-s", tmp_path / "nowhere", "-e", "1g")
    assert (document["outcome"], document["block_size"]) == ("failed", None)
    assert document["messages"][0]["text"].startswith(f"cannot open {tmp_path}/nowhere: ")


def test_of_a_tree_whose_block_size_is_broken_there_is_a_document(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86())
    broken = root / MEMORY / "block_size_bytes"
    broken.unlink()  # nobody may write to it
    broken.write_text("x\n")
    document = document_of(chmem, "--json", "-s", root, "-e", "1g")
    assert document["outcome"] == "failed"
    assert "block_size_bytes" in document["messages"][0]["text"]


def test_that_a_zone_is_ignored_is_in_the_document(chmem: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86())
    for zones in (root / MEMORY).glob("memory*/valid_zones"):
        zones.unlink()
    document = document_of(chmem, "--json", "-s", root, "-e", "-b", "4", "-z", "Movable")
    message = "zone ignored, no valid_zones sysfs attribute present"
    assert message in said_in(document)


def test_what_could_not_be_read_is_in_the_document(chmem: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86())
    memory = root / MEMORY
    (memory / "memory99999999999999999").mkdir()
    document = document_of(chmem, "--json", "-s", root, "-e", "-b", "4")
    assert document["outcome"] == "done"
    assert "no memory block has such a number" in document["messages"][0]["text"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-e", "-b", "99"],
        ["-d", "100t", "--all-or-nothing"],
        ["-e", "100t"],
        ["-e", "0"],
        ["-c", "-m1", "100t"],
        ["-d", "-b", "1-3"],
        ["-d", "512m"],
        ["--reconfigure", "-m", "1", "-b", "1-3"],
        ["-g", "-b", "0"],
        ["-e", "128m", "--node", "3"],
        ["-d", "-z", "Movable", "-b", "0", "--dry-run"],
    ],
    ids=" ".join,
)
def test_the_document_says_what_standard_error_says(
    arguments: Sequence[str], chmem: Command, tmp_path: Path
) -> None:
    faults = {"offline": {"1": "EBUSY"}, "deconfig": {"2": "EBUSY"}, "config": {"3": "EIO"}}
    root = make(tmp_path / "machine", s390(faults=faults))
    assert document_of(chmem, "--json", "-s", root, *arguments)["messages"]


def test_the_document_has_its_version_and_the_causes(chmem: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390(faults={"offline": {"3": "EBUSY"}}))
    document = document_of(chmem, "--json", "-s", root, "-d", "-b", "3")
    assert document["schema_version"] == 1
    error = document["blocks"][0]["error"]
    assert (error["step"], error["cause"], error["errno"]) == ("offline", "unmovable", "EBUSY")
    assert error["reason"] == "Device or resource busy"
    assert error["advice"].startswith("it is in zone Normal, not Movable")


@pytest.mark.parametrize(
    "arguments",
    [["-c", "128m"], ["-e", "1t"], ["-e", "-b", "99"], ["-e", "-m", "1", "128m"], ["-e", "0"]],
    ids=" ".join,
)
def test_json_is_one_document_whatever_happens(
    arguments: list[str], chmem: Command, machine: Make
) -> None:
    done = chmem("-s", machine(x86()), "--json", *arguments)
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema())
    assert document["status"] == done.status


def test_a_size_of_0_asks_for_nothing(chmem: Command, machine: Make) -> None:
    document = document_of(chmem, "--json", "-s", machine(x86()), "-e", "0")
    assert document["bytes_asked"] == 0


def test_json_schema_is_a_schema(chmem: Command) -> None:
    shown = json.loads(chmem("--json-schema").stdout)
    jsonschema.Draft202012Validator.check_schema(shown)
    assert shown == schema()


def test_json_schema_is_the_one_that_was_published(chmem: Command) -> None:
    """Scripts rely on it. Where it must change, so must schema_version, and the file here."""
    published = Path(__file__).with_name("schema-1.json")
    assert chmem("--json-schema").stdout == published.read_text()


def test_json_of_a_tree_that_cannot_be_written_to_has_the_reason(
    chmem: Command, lpar: Path
) -> None:
    (lpar / "sys/firmware/memory/memory16/config").chmod(0o444)
    done = chmem("-s", lpar, "-b", "-c", "16", "--json")
    document = json.loads(done.stdout)
    assert (done.status, document["outcome"], document["blocks"]) == (1, "failed", [])
    (message,) = document["messages"]
    path = f"{lpar}/sys/firmware/memory/memory16/config"
    assert message == {
        "code": "CANNOT_WRITE",
        "text": f"cannot write to {path}: Permission denied; nothing was changed",
        "advice": "the permissions of the tree forbid it",
        "values": {"file": path, "reason": "Permission denied"},
    }


@pytest.mark.parametrize(
    ("arguments", "code", "values"),
    [
        (
            ["-e", "100m"],
            "SIZE_NOT_ALIGNED",
            {"size": 128 << 20, "nearest": 128 << 20},
        ),
        (["-e", "-b", "5-4"], "INVALID_RANGE", {"text": "5-4", "range": "4-5"}),
        (["-e", "--retry", "x"], "INVALID_ARGUMENT", {"option": "--retry", "argument": "x"}),
        (["-e", "--verbos"], "MEANS_NOTHING", {"option": "--verbose", "other": "--json"}),
        (["-d", "--nods", "1"], "UNRECOGNIZED_OPTION", {"option": "--nods"}),
        (["-d", "-b", "98-99"], "NOT_HERE", {"blocks": [{"first": 98, "last": 99}]}),
        (["-d", "128m", "--node", "3"], "NO_SUCH_NODE", {"node": 3}),
        (["-e", "100t"], "COULD_ONLY", {"action": "enable", "size": 4 << 27}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_has_a_code_and_the_values_of_its_fields(
    arguments: Sequence[str], code: str, values: dict[str, Any], chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390())
    messages = document_of(chmem, "--json", "-s", root, *arguments)["messages"]
    (found,) = (message["values"] for message in messages if message["code"] == code)
    assert found == values


def test_advice_on_blocks_is_that_of_the_messages_that_name_them(
    chmem: Command, tmp_path: Path
) -> None:
    faults = {"offline": {"1": "EBUSY", "2": "EIO", "3": "EBUSY"}}
    root = make(tmp_path / "machine", s390(faults=faults))
    messages = document_of(chmem, "--json", "-s", root, "-d", "-b", "1-3")["messages"]
    advice = {
        message["values"]["blocks"][0]["first"]: message["advice"]
        for message in messages
        if message["code"] == "STEP_FAILED"
    }
    assert advice[1] == advice[3]
    assert advice[1].startswith("memory blocks 1, 3: it is in zone Normal, not Movable")
    assert advice[2].startswith("memory block 2: the hardware or the hypervisor failed")
    assert len(messages) == 3


def test_an_error_number_without_a_name_in_python_is_a_number(
    chmem: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As EHWPOISON, which the kernel may give for memory that is broken, is before Python 3.14."""
    monkeypatch.delitem(errno.errorcode, errno.EIO)
    root = make(tmp_path / "machine", s390(faults={"offline": {"2": "EIO", "3": "EBUSY"}}))
    document = document_of(chmem, "--json", "-s", root, "-d", "-b", "2-3")
    told = [(one["error"]["errno"], one["steps"][0]["errno"]) for one in document["blocks"]]
    assert told == [(errno.EIO, errno.EIO), ("EBUSY", "EBUSY")]
