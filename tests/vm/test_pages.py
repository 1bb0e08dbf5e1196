"""What the pages say about a block, judged by the real kernel: which blocks go, and which stay."""

import json
import re
from collections.abc import Iterator

import pytest

from guest.judge.writes import MEMORY
from told import said_in
from vm.guest import Guest
from vm.machines import GIB, MIB, Dimm, Machine
from vm.scripts import start

DIMM = Dimm("dimm0", 2 * GIB)
ADDED = range(32, 48)
"""The blocks of the DIMM."""


PINNED = 32


@pytest.fixture(scope="module")
def occupied() -> Iterator[Guest]:
    """The lower blocks of the DIMM are in zone Movable, with a pinned page in the lowest; the upper
    ones are in zone Normal, filled by the kernel."""
    with Guest(Machine(dimms=(DIMM,))) as guest:
        for block in ADDED:
            word = "online_movable" if block < 40 else "online_kernel"
            assert guest.run(f"echo {word} > {MEMORY}/memory{block}/state").status == 0
        start(guest, "occupy.py", 900)
        start(guest, "pin.py", PINNED, 128 * MIB)
        yield guest


def why(guest: Guest, blocks: str) -> dict[int, dict[str, str]]:
    done = guest.run(f"lsmem --why={blocks} -a -J", timeout=120)
    assert (done.status, done.stderr) == (0, "")
    return {int(row["block"]): row for row in json.loads(done.stdout)["memory"]}


def test_fewer_writes_fail_than_from_the_highest_down(occupied: Guest) -> None:
    failed = {}
    for order in ("highest", "auto", "best"):
        words = f"-d 512m --order {order} --force --timeout 3 --json"
        report = json.loads(occupied.run(f"chmem {words}", timeout=300).stdout)
        assert report["status"] == 0, order
        failed[order] = sum(block["result"] == "failed" for block in report["blocks"])
        taken = [block["block"] for block in report["blocks"] if block["result"] == "done"]
        assert (len(taken), max(taken) < 40) == (4, True)
        for block in taken:
            word = f"echo online_movable > {MEMORY}/memory{block}/state"
            assert occupied.run(word).status == 0
    print(f"writes that failed: {failed}")
    assert failed["highest"] >= 4
    assert failed["auto"] == failed["best"] == 0


def test_what_lsmem_why_predicts_happens(occupied: Guest) -> None:
    told = {block: row["candidate"] for block, row in why(occupied, "32-47").items()}
    went, messages = {}, {}
    for block in ADDED:
        words = f"-d -b {block} --force --timeout 5 --json"
        report = json.loads(occupied.run(f"chmem {words}", timeout=120).stdout)
        went[block], messages[block] = report["status"] == 0, said_in(report)
    no = [block for block in ADDED if told[block] == "no"]
    yes = [block for block in ADDED if told[block] == "yes" and block != PINNED]
    print(f"no: {no}, yes: {yes}, went: {[block for block in ADDED if went[block]]}")
    assert len(no) >= 4
    assert not [block for block in no if went[block]]
    assert len(yes) >= 4
    assert sum(went[block] for block in yes) >= 0.9 * len(yes)
    # Nothing shows that a page is pinned before the kernel has tried to move it.
    assert not went[PINNED]
    (stays,) = (message for message in messages[PINNED] if "stays" in message)
    pinned = re.search(r"pinned (0x[0-9a-f]+)", occupied.run("cat /tmp/pin.py.out").stdout)
    assert pinned is not None
    assert stays.endswith(f": the page at 0x{int(pinned[1], 16):016x} stays: pinned")
    row = why(occupied, str(PINNED))[PINNED]
    assert (row["candidate"], row["blockers"].split(",")[-1]) == ("maybe", "pinned")
