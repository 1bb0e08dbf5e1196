"""lsmem and chmem on a real kernel: against Debian's own, and what ours can do beyond them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from guest.judge.writes import MEMORY
from vm.guest import Guest, GuestSnapshot, Result
from vm.machines import MIB, Dimm
from vm.scripts import HERE, running

LSMEM = "/usr/util-linux/bin/lsmem"
CHMEM = "/usr/util-linux/bin/chmem"

MOVABLE = "online_movable"

FIRST_ADDED = 32
"""The first block of the DIMMs: they lie from 4 GiB on."""

MORE = Dimm("more", 128 * MIB)
"""A DIMM of one block, the first after the others."""


def condition(snapshot: GuestSnapshot) -> dict[int, tuple[str, str]]:
    """State and zones of every block."""
    zones = snapshot.blocks("valid_zones")
    return {block: (state, zones[block]) for block, state in snapshot.blocks("state").items()}


def prepare(guest: Guest, states: Mapping[int, str]) -> dict[int, tuple[str, str]]:
    """Set these blocks of the DIMMs so, the others offline; the condition of the machine then.

    The kernel may have put a page into a block that it cannot move from there: then boot again.
    """
    guest.run(f"for block in {MEMORY}/memory[34]?; do echo 0 > $block/online; done")
    found = guest.snapshot().blocks("state")
    if any(state != "offline" for block, state in found.items() if block >= FIRST_ADDED):
        guest.restart()
    for block, word in states.items():
        assert guest.run(f"echo {word} > {MEMORY}/memory{block}/state").status == 0
    return condition(guest.snapshot())


def named_alike(result: Result) -> Result:
    """Without the directories: getopt_long names the program as it was called."""
    return replace(result, stderr=re.sub(r"^\S*/(lsmem|chmem):", r"\1:", result.stderr, flags=re.M))


# lsmem

MIXED = {32: MOVABLE, 33: MOVABLE, 36: MOVABLE}

EXACT = [
    "-r", "-P", "-J", "-J -a", "-r -a -b", "-P -n", "-r -S none", "-r -S node",
    "-r -S removable,zones", "-P --output-all",
    "-r -o RANGE,SIZE,STATE,REMOVABLE,BLOCK,NODE,ZONES", "-J -o +zones,node",
    "-r -o +zones -a", "-J --summary=never", "-o nonsense", "-S nonsense", "--summary=nonsense",
    "--nonsense", "-J -r", "-a -S node", "-P -J",
    "", "-a", "-b", "-n", "--output-all", "-S none", "-o size,range,zones", "--summary",
]  # fmt: skip


@pytest.mark.parametrize("arguments", EXACT)
def test_lsmem_prints_what_debians_prints(one_node: Guest, arguments: str) -> None:
    if condition(one_node.snapshot())[36][0] != "online":
        prepare(one_node, MIXED)
    theirs = one_node.run(f"{LSMEM} {arguments}")
    ours = one_node.run(f"lsmem {arguments}")
    assert named_alike(ours) == named_alike(theirs)


@pytest.mark.parametrize("arguments", ["-r -o +node,zones", "-J -a -o +node", "-P -S node,state"])
def test_lsmem_tells_nodes_apart_as_debians_does(two_nodes: Guest, arguments: str) -> None:
    prepare(two_nodes, {33: MOVABLE, 44: MOVABLE})
    theirs = two_nodes.run(f"{LSMEM} {arguments}")
    assert two_nodes.run(f"lsmem {arguments}") == theirs


def test_lsmem_tells_its_version(one_node: Guest) -> None:
    assert one_node.run("lsmem --version").status == 0


def test_lsmem_lists_a_captured_tree_as_it_lists_the_machine(one_node: Guest) -> None:
    prepare(one_node, MIXED)
    copy = (
        "mkdir -p /tmp/copy/sys/devices/system; cd /tmp/copy/sys/devices/system; "
        "cp -r /sys/devices/system/memory /sys/devices/system/node . 2>/dev/null; "
    )
    live = one_node.run("lsmem --summary=never -o +node,zones")
    assert one_node.run(f"{copy} lsmem --summary=never -o +node,zones -s /tmp/copy") == live
    one_node.run("rm -rf /tmp/copy")


@contextmanager
def following(guest: Guest, *options: str) -> Iterator[Callable[[int], list[str]]]:
    """`lsmem --watch` into a pipe, which reads the machine again for an event only; gives a
    function that waits for so many lines."""
    with running(guest, "watch.py", *options):

        def lines(count: int) -> list[str]:
            out = "/tmp/watch.py.out"
            waiting = f"until [ $(wc -l < {out}) -ge {count} ]; do sleep 0.1; done; cat {out}"
            return guest.run(waiting).stdout.splitlines()

        yield lines


def test_lsmem_watch_hears_the_kernels_events(one_node: Guest) -> None:
    prepare(one_node, {36: MOVABLE})
    with following(one_node) as lines:
        assert lines(1)[0].endswith("memory blocks, watched by the kernel's events")
        told = []
        for count, word in enumerate(["offline", MOVABLE, "offline", "online_kernel"], 2):
            one_node.run(f"echo {word} > {MEMORY}/memory36/state")
            told.append(lines(count)[-1].partition(" ")[2].partition(",")[0])
    assert told == [
        "memory36: online -> offline",
        "memory36: offline -> online",
        "memory36: online -> offline",
        "memory36: offline -> online",
    ]


def test_lsmem_watch_tells_of_memory_that_is_plugged_and_unplugged(one_node: Guest) -> None:
    prepare(one_node, {})
    with following(one_node) as lines:
        one_node.plug(MORE)
        added = lines(2)[1]
        one_node.unplug(MORE)
        removed = lines(3)[2]
    assert added.partition(" ")[2] == "memory40: added, offline"
    assert removed.partition(" ")[2] == "memory40: removed, offline"


# chmem


@dataclass(frozen=True, slots=True)
class Case:
    """A command line of chmem, on a machine whose DIMM's blocks (32 to 39) are offline but for
    `before`."""

    arguments: str
    before: Mapping[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        blocks = ",".join(str(block) for block in self.before)
        return f"{self.arguments} ({blocks or 'none'} online)"


ALL = dict.fromkeys(range(32, 40), MOVABLE)

CASES = [
    # sizes
    Case("-v -e 128m"),
    Case("-v -e 256M", {32: MOVABLE, 34: MOVABLE}),
    Case("-e 1g"),
    Case("-v -e 2g"),
    Case("-v -e 128m", ALL),
    Case("-v -d 128m", {33: MOVABLE, 36: MOVABLE}),
    Case("-v -d 384m", ALL),
    Case("-e 100m"),
    Case("-e 0"),
    Case("-e nonsense"),
    Case("-e 128q"),
    # ranges
    Case("-v -e 0x100000000-0x107ffffff"),
    Case("-v -e 0x0000000100000000-0x000000010fffffff", {32: MOVABLE}),
    Case("-v -d 0x108000000-0x117ffffff", ALL),
    Case("-v -d 0x108000000-0x117ffffff"),
    Case("-v -e 0x138000000-0x147ffffff"),
    Case("-e 0x200000000-0x207ffffff"),
    Case("-e 0x100000000-0x100ffffff"),
    Case("-e 0x107ffffff-0x100000000"),
    # block ranges
    Case("-v -e -b 33-35"),
    Case("-v -e -b 37"),
    Case("-v -e -b 33-35", {34: MOVABLE}),
    Case("-v -e -b 33-35", ALL),
    Case("-v -d -b 35-38", ALL),
    Case("-v -d -b 39"),
    Case("-v -e -b 38-42"),
    Case("-e -b 200"),
    Case("-e -b 35-33"),
    Case("-e -b x"),
    # zones
    Case("-v -e -z Movable 256m"),
    Case("-v -e -z Movable -b 33-34"),
    Case("-v -e -z Normal -b 35"),
    Case("-v -e -z DMA32 128m"),
    Case("-v -e -z DMA32 -b 33-34"),
    Case("-v -e -z Normal -b 33", {33: MOVABLE}),
    Case("-e -z Nonsense 128m"),
    Case("-v -d -z Movable -b 33", {33: MOVABLE}),
    # blocks that cannot go offline: in several zones, and with a hole
    Case("-v -d -b 0"),
    Case("-v -d 0x0-0x7ffffff"),
    Case("-v -d -b 3"),
    # usage
    Case("128m"),
    Case("-e"),
    Case("-e -d 128m"),
    Case("-e 128m 128m"),
    Case("--nonsense"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_chmem_does_what_debians_does(one_node: Guest, case: Case) -> None:
    before = prepare(one_node, case.before)
    theirs = named_alike(one_node.run(f"{CHMEM} {case.arguments}"))
    after = condition(one_node.snapshot())
    assert prepare(one_node, case.before) == before
    ours = named_alike(one_node.run(f"chmem {case.arguments}"))
    assert condition(one_node.snapshot()) == after
    assert (ours.status, ours.stdout) == (theirs.status, theirs.stdout)
    if theirs.stderr:
        # Where the reference is silent, ours says why.
        assert ours.stderr.startswith(theirs.stderr)


@pytest.mark.parametrize("half", ["33-", "-33", "0x100000000-", "-0x107ffffff"])
def test_half_a_range_is_refused_where_debians_takes_it_for_something_else(
    one_node: Guest, half: str
) -> None:
    before = prepare(one_node, {})
    assert one_node.run(f"chmem -e -b -- {half}").status == 1
    assert condition(one_node.snapshot()) == before


@contextmanager
def pinned(guest: Guest, block: int) -> Iterator[None]:
    """A page of the block is pinned meanwhile: the kernel tries without end to set it offline."""
    with running(guest, "pin.py", block, 128 << 20):
        yield


def interrupted(guest: Guest, block: int, signal: str, command: str) -> Result:
    """The command, sent a signal when the block is on its way offline."""
    guest.put("/tmp/interrupt.py", (HERE / "interrupt.py").read_bytes())
    result = guest.run(f"python3 /tmp/interrupt.py {block} {signal} {command}")
    return Result(**json.loads(result.stdout))


def test_chmem_fails_on_unmovable_pages_as_debians_does(one_node: Guest) -> None:
    """Pipes fill the only block of zone Normal: EBUSY, and the block stays as it is."""
    prepare(one_node, {34: "online_kernel"})
    with running(one_node, "occupy.py", 150):
        before = condition(one_node.snapshot())
        theirs = one_node.run(f"{CHMEM} -v -d -b 34")
        ours = one_node.run("chmem -v -d -b 34")
        assert condition(one_node.snapshot()) == before
    assert "Device or resource busy" in theirs.stderr
    assert (ours.status, ours.stdout) == (theirs.status, theirs.stdout)
    assert ours.stderr.startswith(theirs.stderr)


def test_lsmem_shows_a_block_on_its_way_offline_as_debians_does(one_node: Guest) -> None:
    prepare(one_node, {35: MOVABLE, 36: MOVABLE})
    with pinned(one_node, 36):
        started = one_node.run(
            f"sh -c 'echo 0 > {MEMORY}/memory36/online' > /dev/null 2>&1 & echo $!; "
            f"until grep -q going {MEMORY}/memory36/state; do sleep 0.1; done"
        )
        theirs = one_node.run(f"{LSMEM} -r")
        ours = one_node.run("lsmem -r")
        state = one_node.run(f"cat {MEMORY}/memory36/state").stdout
        one_node.run(f"kill {started.stdout}")
    assert state == "going-offline\n"
    assert ours == theirs


def test_a_dry_run_changes_nothing_and_its_lines_do_it(one_node: Guest) -> None:
    before = prepare(one_node, {34: MOVABLE})
    planned = one_node.run("chmem --dry-run -e -b 33-35")
    assert planned.status == 0
    assert condition(one_node.snapshot()) == before
    assert one_node.run("sh -e", stdin=planned.stdout).status == 0
    done = condition(one_node.snapshot())
    prepare(one_node, {34: MOVABLE})
    assert one_node.run("chmem -e -b 33-35").status == 0
    assert condition(one_node.snapshot()) == done


def test_json_tells_what_became_of_the_machine(one_node: Guest) -> None:
    prepare(one_node, {34: MOVABLE})
    result = one_node.run("chmem --json -e -b 33-35")
    report = json.loads(result.stdout)
    states = one_node.snapshot().blocks("state")
    assert result.status == 0
    assert report["outcome"] == "done"
    assert {states[block] for block in (33, 34, 35)} == {"online"}


def test_a_timeout_ends_an_offline_that_would_not_end(one_node: Guest) -> None:
    prepare(one_node, {35: MOVABLE, 36: MOVABLE})
    with pinned(one_node, 36):
        result = one_node.run("chmem -d -b 36 --timeout 1")
        assert result.status == 1
        assert one_node.snapshot().blocks("state")[36] == "online"
    assert one_node.run("chmem -d -b 36").status == 0
    assert one_node.snapshot().blocks("state")[36] == "offline"


def test_all_or_nothing_takes_back_what_was_done(one_node: Guest) -> None:
    before = prepare(one_node, {34: MOVABLE, 35: MOVABLE, 36: MOVABLE})
    with pinned(one_node, 35):
        # 36 goes first, and is back in its zone when 35 has failed.
        result = one_node.run("chmem -d -b 34-36 --timeout 1 --all-or-nothing")
        assert result.status == 1
        assert condition(one_node.snapshot()) == before


@pytest.mark.parametrize(("signal", "status"), [("INT", 130), ("TERM", 143)])
def test_a_signal_ends_it_and_the_report_says_what_was_done(
    one_node: Guest, signal: str, status: int
) -> None:
    prepare(one_node, {34: MOVABLE, 35: MOVABLE, 36: MOVABLE})
    with pinned(one_node, 35):
        command = "chmem -d -b 34-36 --json"
        result = interrupted(one_node, 35, f"SIG{signal}", command)
        states = one_node.snapshot().blocks("state")
    assert result.status == status
    assert json.loads(result.stdout)["outcome"] == "interrupted"
    assert [states[block] for block in (34, 35, 36)] == ["online", "online", "offline"]
