"""The simulated kernel against the real one: the same writes, the same outcome, the same machine.

A simulated machine is captured from the real one at boot and then given whatever the real one is
given. What cannot be known from sysfs, that some page of a block cannot be moved, is taken from the
real outcome and counted by itself; nothing else may differ.
"""

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from memsim.kernel import Kernel
from memsim.kernel.slots import plug, unplug
from memsim.machine import Fault, Group
from memsim.machine import Machine as Description
from memsim.profile import from_tree
from memsim.sysfs import PARAMETERS, Sysfs
from vm.guest import RETURNS, Guest, GuestError
from vm.judge import Answer, Tally, compare
from vm.machines import (
    MEMMAP_ON_MEMORY,
    MIB,
    ONE_LARGE_DIMM,
    TWO_NODES,
    TWO_NODES_NO_DIMM,
    Dimm,
    Machine,
)
from vm.operations import MEMORY, POLICIES, Write, writes

SUPPORT = Path(__file__).parents[1] / "support/vm"

FIRST_ADDED = 32
"""The first block number of added memory: QEMU puts it at 4 GiB, blocks are of 128 MiB."""


def replayed(guest: Guest, given: Sequence[Write]) -> list[Answer]:
    """What the real kernel made of these writes; before them the condition at the start."""
    result = guest.python(SUPPORT / "replay.py", json.dumps(given), timeout=120)
    assert result.status == 0, result.stderr
    return [(failed, changes) for failed, changes in json.loads(result.stdout)]


def captured(guest: Guest, directory: Path) -> Sysfs:
    """A simulated machine like the guest as it is now."""
    kernel = from_tree(guest.tree(directory))
    for block in blocks_with_holes(guest):
        kernel.set_fault("offline", block, Fault("EINVAL", None))
    return Sysfs(kernel)


def blocks_with_holes(guest: Guest) -> list[int]:
    """Online blocks not wholly System RAM: offline_pages refuses them (mm/memory_hotplug.c)."""
    snapshot = guest.snapshot()
    size = int(snapshot.files[f"{MEMORY}/block_size_bytes"], 16)
    lines = guest.run("cat /proc/iomem").stdout.splitlines()
    found = [re.fullmatch(r" *(\w+)-(\w+) : System RAM.*", line) for line in lines]
    ram = [(int(match[1], 16), int(match[2], 16)) for match in found if match]
    return [
        block
        for block, state in snapshot.blocks("state").items()
        if state == "online"
        and not any(low <= block * size and (block + 1) * size <= high + 1 for low, high in ram)
    ]


@pytest.mark.parametrize(
    ("machine", "seed", "count"),
    [
        pytest.param(ONE_LARGE_DIMM, 1, 1500, id="one node"),
        pytest.param(TWO_NODES, 2, 1500, id="two nodes"),
        pytest.param(MEMMAP_ON_MEMORY, 3, 500, id="memmap on memory"),
    ],
)
def test_random_writes_have_the_same_outcome(
    machine: Machine, seed: int, count: int, tally: Tally, tmp_path: Path
) -> None:
    with Guest(machine, release=RETURNS) as guest:
        sysfs = captured(guest, tmp_path)
        blocks = list(guest.snapshot().blocks("state"))
        boot = [block for block in blocks if block < FIRST_ADDED]
        given = writes(seed, count, boot, blocks[len(boot) :])
        answers = replayed(guest, given)
    tally += compare(sysfs, given, answers)
    assert tally.writes == count
    assert not tally.unexplained


def test_a_kernel_that_chooses_zones_otherwise_is_found_out(
    tmp_path: Path,
) -> None:
    """The judgement can fail: a simulated kernel that always prefers Movable is not this one."""
    with Guest(ONE_LARGE_DIMM, release=RETURNS) as guest:
        machine = captured(guest, tmp_path).kernel.machine
        added = range(FIRST_ADDED, FIRST_ADDED + 16)
        given = writes(4, 60, [0], added)
        answers = replayed(guest, given)
    altered = tuple(replace(group, off_zones=("Movable", "Normal")) for group in machine.groups)
    other = Kernel(replace(machine, groups=altered, contiguous_zones=False))
    assert compare(Sysfs(other), given, answers).unexplained


SLOTS = 8
"""Places for hot-plugged DIMMs of two blocks each, on node 0 and node 1 in turn."""


def with_slots(machine: Description) -> Sysfs:
    """The same machine with room for memory that is plugged in."""
    slots = tuple(
        Group(first, first + 1, config=False, online=False, node=slot % 2)
        for slot in range(SLOTS)
        for first in (FIRST_ADDED + 2 * slot,)
    )
    return Sysfs(Kernel(replace(machine, groups=(*machine.groups, *slots))))


def put_back(sysfs: Sysfs, blocks: tuple[int, int], real: list[Answer]) -> Sysfs:
    """The machine after its firmware was refused a DIMM, for a page in it cannot be moved.

    The blocks that can go offline do, and come back as by `online` 1, perhaps in another zone
    (drivers/acpi/scan.c, acpi_bus_offline and acpi_bus_online). Which block has the page only the
    real outcome tells.
    """
    first, second = blocks
    for stuck in ({first}, {second}, {first, second}):
        attempt = deepcopy(sysfs)
        online = [block for block in blocks if attempt.read(path_of(block)) == b"1\n"]
        moved = [block for block in online if block not in stuck]
        for value in (b"0", b"1"):
            for block in moved:
                attempt.write(path_of(block), value)
        if not compare(deepcopy(attempt), [], real).unexplained:
            return attempt
    return sysfs


def path_of(block: int) -> str:
    """The `online` attribute of a block."""
    return f"{MEMORY[1:]}/memory{block}/online"


ZONE_POLICIES = (("contig-zones", "301"), ("auto-movable", "301"), ("auto-movable", "145"))
"""online_policy and auto_movable_ratio. None of these ratios is exact in blocks of this machine:
what its firmware keeps of its memory would decide."""


def test_added_and_removed_memory_is_the_same(tally: Tally, tmp_path: Path) -> None:
    """DIMMs come while each of the words is in auto_online_blocks, by each policy, and go again."""
    with Guest(TWO_NODES_NO_DIMM, release=RETURNS) as guest:
        sysfs = with_slots(captured(guest, tmp_path).kernel.machine)
        for block in blocks_with_holes(guest):
            sysfs.kernel.set_fault("offline", block, Fault("EINVAL", None))
        boot = list(guest.snapshot().blocks("state"))
        free = list(range(SLOTS))
        for turn, word in enumerate([*POLICIES, *POLICIES[::-1], *POLICIES]):
            zones, ratio = ZONE_POLICIES[turn % 3]
            policy = [
                (f"{MEMORY}/auto_online_blocks", word),
                (f"/{PARAMETERS}/online_policy", zones),
                (f"/{PARAMETERS}/auto_movable_ratio", ratio),
            ]
            tally += compare(sysfs, policy, replayed(guest, policy))
            # The guest's firmware gives a DIMM the lowest place that is free.
            slot = free.pop(0)
            dimm = Dimm(f"dimm{turn}", 256 * MIB, slot % 2)
            blocks = (FIRST_ADDED + 2 * slot, FIRST_ADDED + 2 * slot + 1)
            guest.plug(dimm)
            plug(sysfs.kernel, range(blocks[0], blocks[1] + 1))
            present = [block for block in guest.snapshot().blocks("state") if block not in boot]
            given = writes(100 + turn, 40, boot, present)
            tally += compare(sysfs, given, replayed(guest, given))
            if turn % 4 == 2:
                continue  # this one stays
            try:
                guest.unplug(dimm)
            except GuestError:
                answers = replayed(guest, [])
                sysfs = put_back(sysfs, blocks, answers)
                tally += compare(sysfs, [], answers)
                continue
            free = sorted([slot, *free])
            for block in blocks:
                sysfs.write(f"{MEMORY[1:]}/memory{block}/online", b"0")
            unplug(sysfs.kernel, range(blocks[0], blocks[1] + 1))
            tally += compare(sysfs, [], replayed(guest, []))
    assert tally.writes >= 12 * 43
    assert not tally.unexplained


@pytest.mark.parametrize("word", ["offline", "online_movable"])
def test_memory_that_comes_and_goes_is_announced_in_the_same_order(
    word: str, tmp_path: Path
) -> None:
    with Guest(TWO_NODES_NO_DIMM, release=RETURNS) as guest:
        sysfs = with_slots(captured(guest, tmp_path).kernel.machine)
        told: list[str] = []
        sysfs.listeners.append(lambda action, path: told.append(f"{action}@{path}"))
        guest.put("/tmp/hear.py", (SUPPORT / "hear.py").read_bytes())
        guest.run("setsid python3 /tmp/hear.py /tmp/heard </dev/null >/dev/null 2>&1 &")
        guest.run("until grep -q listening /tmp/heard; do sleep 0.1; done")
        guest.run(f"echo {word} > {MEMORY}/auto_online_blocks")
        dimm = Dimm("dimm0", 256 * MIB)
        guest.plug(dimm)
        guest.unplug(dimm)
        heard = guest.run("sleep 0.5; cat /tmp/heard").stdout.splitlines()
        sysfs.write(f"{MEMORY[1:]}/auto_online_blocks", word.encode())
        blocks = range(FIRST_ADDED, FIRST_ADDED + 2)
        plug(sysfs.kernel, blocks)
        for block in blocks:
            sysfs.write(path_of(block), b"0")
        unplug(sysfs.kernel, blocks)
    assert heard == ["listening", *told]
    assert len(told) >= 4
