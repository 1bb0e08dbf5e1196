"""All that chmem says to people, with advice, on several machines, as it was recorded.

After a change that is meant, `RECORD=1 pytest tests/chmem/test_said.py` records it anew, and the
diff shows what became of it. Read it: what stands there is not right because it was recorded.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from simulated import make, s390, x86

RECORDED = Path(__file__).with_name("said")

FAULTS = {
    "offline": {"1": "EBUSY", "2": {"errno": "EAGAIN", "times": 9}},
    "online": {"5": "EINVAL", "0": "EIO"},
    "config": {"6": "EIO", "4": {"errno": "ENOMEM", "times": 1}},
    "deconfig": {"3": "EBUSY"},
}
MACHINES: dict[str, dict[str, Any]] = {
    "s390": s390(),
    "faulty": s390(faults=FAULTS),
    "auto": s390(auto_online_blocks="online_kernel", contiguous_zones=True),
    "mixed": {
        **s390(),
        "memmap_param": "N",
        "blocks": [
            {"range": [0, 0], "zones": "none"},
            {"range": [1, 2]},
            {"range": [3, 3], "state": "offline"},
            {"range": [4, 6], "config": 0},
        ],
    },
    "x86": x86(faults={"offline": {"2": "EBUSY", "3": "ENOMEM"}, "online": {"4": "ENOMEM"}}),
    "nodes": {
        **x86(online_policy=None),
        "blocks": [
            {"range": [0, 1], "removable": 0},
            {"range": [2, 3], "zones": "Movable"},
            {"range": [4, 5], "state": "offline", "node": 1},
            {"range": [8, 9], "node": 1},
        ],
    },
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
    *("", "-e", "-e 1 2", "-x", "--enabl", "--en 128m", "--e 128m", "--blocks=3 -e 3", "-z"),
    *("--reconfigure 128m", "-e -d 128m", "-e --save", "--apply a b", "--undo a", "--save a b"),
    *("--policy", "--policy auto_online", "--policy auto_online=online", "--policy x=1"),
    *("--policy online_policy=auto-movable auto_movable_ratio=7", "--policy auto_movable_ratio=x"),
    *("-e -m 2 128m", "-e --timeout x 128m", "-e --retry x 128m", "-e --node x 128m", "--undo"),
    *("-e --advice=x 128m", "--apply /no/such/file", "--apply -s", "-e -s ''"),
]


def outcome(chmem: Command, root: Path, request: str) -> str:
    """What a request writes, and its status, as text."""
    words = [word.strip("'") for word in request.split()]
    done = chmem("--advice=always", "-s", root, *words)
    lines = [f"$ chmem {request}", *done.stdout.splitlines()]
    lines += [f"! {line}" for line in done.stderr.splitlines()]
    lines += [f"= {done.status}"] if done.status else []
    return "\n".join(lines).replace(str(root), "ROOT")


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_said_was_recorded(
    name: str, chmem: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    description = {**MACHINES[name]}
    now = "\n\n".join(
        outcome(chmem, make(tmp_path / str(number), description), request)
        for number, request in enumerate(REQUESTS)
    )
    file = RECORDED / f"{name}.txt"
    if "RECORD" in os.environ:
        RECORDED.mkdir(exist_ok=True)
        file.write_text(f"{json.dumps(description)}\n\n{now}\n")
    assert f"{json.dumps(description)}\n\n{now}\n" == file.read_text()
