"""All that chmem writes, on several machines, as it was recorded: what people read, with advice,
and the documents of --json.

After a change that is meant, `RECORD=1 pytest tests/chmem/test_recorded.py` records it anew, and
the diff shows what became of it. Read it: what stands there is not right because it was recorded.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from layouts import MINE, layout
from promises import as_if_done
from simulated import make, s390, x86

RECORDED = Path(__file__).with_name("recorded")

FAULTS = {
    "offline": {"1": "EBUSY", "2": {"errno": "EAGAIN", "times": 9}},
    "online": {"5": "EINVAL", "0": "EIO"},
    "config": {"6": "EIO", "4": {"errno": "ENOMEM", "times": 1}},
    "deconfig": {"3": "EBUSY"},
}
NODES = [
    {"range": [0, 1], "removable": 0},
    {"range": [2, 3], "zones": "Movable"},
    {"range": [4, 5], "state": "offline", "node": 1},
    {"range": [8, 9], "node": 1},
]
ZONES = [
    {"range": [0, 0], "zones": "none"},
    {"range": [1, 2]},
    {"range": [3, 3], "state": "offline"},
    {"range": [4, 6], "config": 0},
]
MACHINES: dict[str, dict[str, Any]] = {
    "s390": s390(),
    "faulty": s390(faults=FAULTS),
    "auto": s390(auto_online_blocks="online_kernel", contiguous_zones=True),
    "mixed": {**s390(), "memmap_param": "N", "blocks": ZONES},
    "x86": x86(faults={"offline": {"2": "EBUSY", "3": "ENOMEM"}, "online": {"4": "ENOMEM"}}),
    "nodes": {**x86(online_policy=None), "blocks": NODES},
}

WHAT = (
    *("256m", "2g", "0", "3", "999999", "100m", "junk", "1.5", "0x0-0x7ffffff", "0x1000-0x1fff"),
    *("0x8000000-0x7ffffff", "0x8000000", "-b 3-4", "-b 6-9", "-b 20", "-b 4-3", "-b x", "-b 0-9"),
    *("-b 1-6 --all-or-nothing", "1g --all-or-nothing", "2g --all-or-nothing", "-v 384m"),
    *("--node 1 -b 3-5", "--node 0 512m", "--node 9 128m", "-z Movable 128m", "-z Normal -b 2-5"),
    *("-m 0 -b 4-5", "-m 1 384m", "-m 1 -b 3-5", "--dry-run 256m", "--dry-run -b 2-5"),
    *("--dry-run 2g --all-or-nothing", "-z DMA -b 3", "-z Bad 128m", "-v -b 2-5 --retry 1"),
)
REQUESTS = [
    *(f"{action} {what}" for action in ("-e", "-d", "-c", "-g") for what in WHAT),
    *(f"--reconfigure -m {memmap} {what}" for memmap in (0, 1) for what in WHAT[:26]),
    *(f"--total {what}" for what in WHAT),
    *(
        "",
        "-e",
        "-e 1 2",
        "-e 1 g",
        "--total 1 gb",
        "-x",
        "--enabl",
        "--en 128m",
        "--e 128m",
        "--blocks=3 -e 3",
        "-z",
    ),
    *("--reconfigure 128m", "-e -d 128m", "-e --save", "--apply a b", "--undo a", "--save a b"),
    *("--policy", "--policy auto_online", "--policy auto_online=online", "--policy x=1"),
    *("--policy online_policy=auto-movable auto_movable_ratio=7", "--policy auto_movable_ratio=x"),
    *("--total 128m --force", "--total 2g -z Movable", "--total 2g -z Movable --force"),
    *("-d 384m --force", "-d 384m --keep-free 64m", "-d 384m --order best", "-d -b 0-3 --force"),
    *("-e 256m --order highest", "-e 100t", "-e -b 4-5 --timeout 9", "--total 0x10000000"),
    *("-e -m 2 128m", "-e --timeout x 128m", "-e --retry x 128m", "-e --node x 128m", "--undo"),
    *("-e --advice=x 128m", "--apply /no/such/file", "--apply -s", "-e -s ''"),
]

ONCE, ALWAYS = {"errno": "EIO", "times": 1}, "EBUSY"
BUSY_ONCE = {"errno": "EBUSY", "times": 1}
OFFLINE = [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}]


LAYOUTS = (
    '[[memory]]\nblocks = "2-5"\nstate = "offline"\n',
    '[[memory]]\nnode = 0\nstate = "online"\n[[memory]]\nsize = "256M"\nzone = "Movable"\n',
    '[[memory]]\nsize = "1G"\n[[memory]]\nblocks = "0-9"\nsize = "384M"\nstate = "offline"\n',
    '[[memory]]\nblocks = "4-12"\nmissing = "ignore"\n[[memory]]\nnode = 1\nstate = "offline"\n',
    '[[memory]]\nblocks = "4-12"\nmissing = "error"\n',
    '[[memory]]\nblocks = "3-6"\nstate = "deconfigured"\n',
    '[[memory]]\nblocks = "1-5"\nmemmap_on_memory = true\n[[memory]]\nblocks = "4"\nzone = "DMA"\n',
    '[policy]\nauto_online = "online_movable"\n[[memory]]\nblocks = "5"\n',
    '[policy]\nonline_policy = "auto-movable"\nauto_movable_ratio = 40\n[[memory]]\nsize = "1G"\n',
    '[memory]\nblocks = "5"\n',
)
SESSION = (
    *("--apply --dry-run", "--apply --all-or-nothing -v", "--apply"),
    *("--undo --dry-run", "--undo -v", "--undo"),
    *("-e 128m --persistent -v", "--save", "--undo -v", "-d -b 1 --persistent"),
)
"""What is typed on one machine after the other, where a layout is in place."""


def faulty(transition: str, block: int, fault: Any) -> dict[str, Any]:
    return s390(faults={transition: {str(block): fault}})


DOCUMENTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (
        s390(),
        (
            *("-e -b 4-5", "-e -b 3-4", "-e 256m", "-e -m 0 -z Normal -b 6", "-e -m 0 384m"),
            *("-e -z Movable 1g", "-d -b 2-3", "-d 256m", "-d -z Movable -b 3"),
            *("-d -z Normal 128m", "-c -b 3-5", "-c -m 1 256m", "-c -m 1 -b 3", "-g -b 3"),
            *("-g 128m", "--reconfigure -m 1 -b 3-4", "--reconfigure -m 1 256m"),
            *("-e 0x20000000-0x2fffffff", "-e -b 6-9", "-e -b 8-9", "-e 2g --all-or-nothing"),
            "-e 0",
        ),
    ),
    (s390(auto_online_blocks="online_kernel"), ("-c -b 4", "-e -z Movable -b 4")),
    (
        {**s390(), "blocks": OFFLINE},
        ("-d -b 3-5", "-g 256m", "-e -z Normal -b 3-4", "--reconfigure -m 1 -b 4"),
    ),
    (x86(), ("-e -b 4-5", "-e 256m", "-d 1g", "-c -b 4", "--reconfigure -m 1 -b 4")),
    (
        {**x86(), "blocks": [{"range": [0, 1]}, *NODES[1:]]},
        (
            *("-d --node 1 -b 0-9", "-d --node 0 256m", "-e --node 1 1g", "-e --node 2 128m"),
            *("-d -z Movable 512m", "-d -b 3-9"),
        ),
    ),
    (
        faulty("offline", 2, ALWAYS),
        (
            *("-d -b 1-3", "-d -b 1-3 --retry 1", "-d 384m", "-d 512m"),
            "-d -b 1-3 --all-or-nothing",
        ),
    ),
    (faulty("deconfig", 2, BUSY_ONCE), ("-d -b 1-3", "-d -b 1-3 --all-or-nothing")),
    (faulty("config", 5, ONCE), ("-e -b 4-6", "-e 384m", "-c -m 0 -b 4-6")),
    (faulty("online", 5, ONCE), ("-e -b 4-6", "-e -m 0 512m")),
    (faulty("online", 5, ALWAYS), ("-e -b 4-6 --all-or-nothing",)),
    (faulty("config", 2, ALWAYS), ("--reconfigure -m 1 -b 1-3",)),
    (faulty("config", 2, ONCE), ("--reconfigure -m 1 -b 1-3",)),
    (faulty("online", 2, ONCE), ("--reconfigure -m 1 -b 1-3 --all-or-nothing",)),
]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries of a write."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def written(chmem: Command, root: Path, request: str) -> str:
    """What a request writes, and its status, as text."""
    words = [word.strip("'") for word in request.split()]
    done = chmem("--advice=always", "-s", root, *words)
    lines = [f"$ chmem {request}", *done.stdout.splitlines()]
    lines += [f"! {line}" for line in done.stderr.splitlines()]
    lines += [f"= {done.status}"] if done.status else []
    return "\n".join(lines).replace(str(root), "ROOT")


def documented(chmem: Command, root: Path, machine: dict[str, Any], request: str) -> str:
    """What a request writes with -v; its document; what its dry run says, if that differs."""
    lines = written(chmem, make(root / "one", machine), f"-v {request}")
    two = make(root / "two", machine)
    promised = without_texts(as_if_done(document_of(chmem, two, f"--dry-run {request}")))
    document = without_texts(document_of(chmem, two, request))
    if promised == document:
        expected = ["? the same"]
    else:
        expected = [f"? {block['block']} {block['result']}" for block in promised["blocks"]]
        expected += [f"? status {promised['status']}"]
    return "\n".join([lines, *laid_out(document), *expected])


def document_of(chmem: Command, root: Path, request: str) -> dict[str, Any]:
    """A document without its place."""
    done = chmem("-s", root, "--json", *request.split())
    document: dict[str, Any] = json.loads(done.stdout.replace(str(root), "ROOT"))
    assert document["status"] == done.status
    return document


def without_texts(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what people read, which is in the lines, and what is empty."""
    for name in ("forecast", "devices", "storage_kept", "restored"):
        assert document.pop(name) == []
    del document["messages"]
    for block in document["blocks"]:
        for error in (block["error"], block["not_undone"]):
            if error:
                del error["reason"], error["advice"]
    return document


def laid_out(document: dict[str, Any]) -> Iterator[str]:
    """A document in lines, of which a diff shows the few that differ."""
    rest = {key: value for key, value in document.items() if key not in ("request", "blocks")}
    yield f"request {json.dumps(document['request'])}"
    yield f"document {json.dumps(rest)}"
    for block in document["blocks"]:
        lists = {key: block[key] for key in ("steps", "undone")}
        conditions = {key: block[key] for key in ("before", "after")}
        rest = {key: block[key] for key in block if key not in lists | conditions}
        yield f"  block {json.dumps(rest)}"
        yield from (f"    {key} {json.dumps(value)}" for key, value in conditions.items())
        yield from (f"    {key} {json.dumps(one)}" for key in lists for one in lists[key])


def compare(name: str, now: list[str]) -> None:
    """With what was recorded, or record it."""
    text, file = "\n\n".join(now) + "\n", RECORDED / f"{name}.txt"
    if "RECORD" in os.environ:
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", MACHINES)
def test_chmem_writes_the_lines_that_were_recorded(
    name: str, chmem: Command, tmp_path: Path
) -> None:
    now = [json.dumps(MACHINES[name])]
    for number, request in enumerate(REQUESTS):
        now.append(written(chmem, make(tmp_path / str(number), MACHINES[name]), request))
    compare(name, now)


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_said_of_layouts_is_what_was_recorded(
    name: str, chmem: Command, tmp_path: Path
) -> None:
    now = [json.dumps(MACHINES[name])]
    for number, text in enumerate(LAYOUTS):
        root = make(tmp_path / str(number), MACHINES[name])
        layout(root, text, MINE)
        said = [text, *(written(chmem, root, request) for request in SESSION)]
        now.append("\n".join(said))
    compare(f"layouts-{name}", now)


def test_json_and_dry_run_write_the_documents_that_were_recorded(
    chmem: Command, tmp_path: Path
) -> None:
    now = []
    for machine, requests in DOCUMENTS:
        now.append(json.dumps(machine))
        for request in requests:
            root = tmp_path / str(len(now))
            root.mkdir()
            now.append(documented(chmem, root, machine, request))
    compare("documents", now)
