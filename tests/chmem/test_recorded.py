"""Whole documents of --json, and the lines of -v, as they were recorded, without the messages.

After a change that is meant, `RECORD=1 pytest tests/chmem/test_recorded.py` records anew what is
said of the cases below, and the diff shows what became of it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from simulated import make, s390, x86

RECORDED = Path(__file__).with_name("recorded.json")

OFFLINE = {**s390(), "blocks": [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}]}
NODES = {
    **x86(),
    "blocks": [
        {"range": [0, 1]},
        {"range": [2, 3], "zones": "Movable"},
        {"range": [4, 5], "state": "offline", "node": 1},
        {"range": [8, 9], "node": 1},
    ],
}
ONCE, ALWAYS = {"errno": "EIO", "times": 1}, "EBUSY"
BUSY_ONCE = {"errno": "EBUSY", "times": 1}


def faulty(transition: str, block: int, fault: Any) -> dict[str, Any]:
    return s390(faults={transition: {str(block): fault}})


CASES: list[tuple[dict[str, Any], str]] = [
    (s390(), "-e -b 4-5"),
    (s390(), "-e -b 3-4"),
    (s390(), "-e 256m"),
    (s390(), "-e -m 0 -z Normal -b 6"),
    (s390(), "-e -m 0 384m"),
    (s390(), "-e -z Movable 1g"),
    (s390(), "-d -b 2-3"),
    (s390(), "-d 256m"),
    (s390(), "-d -z Movable -b 3"),
    (s390(), "-d -z Normal 128m"),
    (s390(), "-c -b 3-5"),
    (s390(), "-c -m 1 256m"),
    (s390(), "-c -m 1 -b 3"),
    (s390(), "-g -b 3"),
    (s390(), "-g 128m"),
    (s390(), "--reconfigure -m 1 -b 3-4"),
    (s390(), "--reconfigure -m 1 256m"),
    (s390(), "-e 0x20000000-0x2fffffff"),
    (s390(), "-e -b 6-9"),
    (s390(), "-e -b 8-9"),
    (s390(), "-e 2g --all-or-nothing"),
    (s390(), "-e 0"),
    (s390(auto_online_blocks="online_kernel"), "-c -b 4"),
    (s390(auto_online_blocks="online_kernel"), "-e -z Movable -b 4"),
    (OFFLINE, "-d -b 3-5"),
    (OFFLINE, "-g 256m"),
    (OFFLINE, "-e -z Normal -b 3-4"),
    (OFFLINE, "--reconfigure -m 1 -b 4"),
    (x86(), "-e -b 4-5"),
    (x86(), "-e 256m"),
    (x86(), "-d 1g"),
    (x86(), "-c -b 4"),
    (x86(), "--reconfigure -m 1 -b 4"),
    (NODES, "-d --node 1 -b 0-9"),
    (NODES, "-d --node 0 256m"),
    (NODES, "-e --node 1 1g"),
    (NODES, "-e --node 2 128m"),
    (NODES, "-d -z Movable 512m"),
    (NODES, "-d -b 3-9"),
    (faulty("offline", 2, ALWAYS), "-d -b 1-3"),
    (faulty("offline", 2, ALWAYS), "-d -b 1-3 --retry 1"),
    (faulty("offline", 2, ALWAYS), "-d 384m"),
    (faulty("offline", 2, ALWAYS), "-d 512m"),
    (faulty("offline", 2, ALWAYS), "-d -b 1-3 --all-or-nothing"),
    (faulty("deconfig", 2, BUSY_ONCE), "-d -b 1-3"),
    (faulty("deconfig", 2, BUSY_ONCE), "-d -b 1-3 --all-or-nothing"),
    (faulty("config", 5, ONCE), "-e -b 4-6"),
    (faulty("config", 5, ONCE), "-e 384m"),
    (faulty("config", 5, ONCE), "-c -m 0 -b 4-6"),
    (faulty("online", 5, ONCE), "-e -b 4-6"),
    (faulty("online", 5, ONCE), "-e -m 0 512m"),
    (faulty("online", 5, ALWAYS), "-e -b 4-6 --all-or-nothing"),
    (faulty("config", 2, ALWAYS), "--reconfigure -m 1 -b 1-3"),
    (faulty("config", 2, ONCE), "--reconfigure -m 1 -b 1-3"),
    (faulty("online", 2, ONCE), "--reconfigure -m 1 -b 1-3 --all-or-nothing"),
]


def said(chmem: Command, root: Path, description: dict[str, Any], arguments: str) -> dict[str, Any]:
    """What chmem says on two machines that are alike, and of a dry run."""
    one, two = make(root / "one", description), make(root / "two", description)
    dry = chmem("-s", one, "--json", "--dry-run", *arguments.split())
    done = chmem("-s", one, "--json", *arguments.split())
    lines = chmem("-s", two, "-v", *arguments.split())
    promised, document = without_words(dry.stdout, one), without_words(done.stdout, one)
    same = {**promised, "request": {**promised["request"], "dry_run": False}} == document
    return {
        "arguments": arguments,
        "status": [dry.status, done.status, lines.status],
        "lines": lines.stdout.splitlines(),
        "document": document,
        "dry_run": same or [(block["block"], block["result"]) for block in promised["blocks"]],
    }


def without_words(text: str, root: Path) -> dict[str, Any]:
    """A document without its place and without what people read."""
    document = json.loads(text.replace(str(root), "ROOT"))
    del document["messages"]
    for block in document["blocks"]:
        for error in (block["error"], block["not_undone"]):
            if error:
                del error["reason"], error["advice"]
    assert isinstance(document, dict)
    return document


recorded: list[dict[str, Any]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else []


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: CASES[number][1])
def test_chmem_says_what_was_recorded(
    number: int, chmem: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    now = said(chmem, tmp_path, *CASES[number])
    if "RECORD" in os.environ:
        recorded[number:] = [now]
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in recorded)
        RECORDED.write_text(f"[\n{lines}\n]\n")
    assert json.loads(json.dumps(now)) == recorded[number]


def test_every_recorded_case_is_tried() -> None:
    assert len(recorded) == len(CASES)
