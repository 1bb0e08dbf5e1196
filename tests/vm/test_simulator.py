"""The simulated kernel against the real one: the same writes, the same outcome, the same machine.

A simulated machine is captured from the real one at boot and then given whatever the real one is
given. What cannot be known from sysfs, that some page of a block cannot be moved, is taken from the
real outcome and counted by itself; nothing else may differ.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from guest.judge.comparison import Comparison, compare
from guest.judge.real import captured, given
from guest.judge.writes import MEMORY, POLICIES, JudgedWrite, block_writes
from memsim.kernel import Kernel
from memsim.kernel.slots import plug, unplug
from memsim.machine import Group
from memsim.machine import Machine as Description
from memsim.sysfs import PARAMETERS, Sysfs
from vm.guest import Guest
from vm.machines import (
    MEMMAP_ON_MEMORY,
    MIB,
    ONE_LARGE_DIMM,
    TWO_NODES,
    TWO_NODES_NO_DIMM,
    Dimm,
    Machine,
)

SUPPORT = Path(__file__).parents[1] / "support/vm"

FIRST_ADDED = 32
"""The first block number of added memory: QEMU puts it at 4 GiB, blocks are of 128 MiB."""


@pytest.mark.parametrize(
    ("machine", "seed", "count"),
    [
        pytest.param(ONE_LARGE_DIMM, 1, 1500, id="one node"),
        pytest.param(TWO_NODES, 2, 1500, id="two nodes"),
        pytest.param(MEMMAP_ON_MEMORY, 3, 500, id="memmap on memory"),
    ],
)
def test_random_writes_have_the_same_outcome(
    machine: Machine, seed: int, count: int, tally: Comparison, tmp_path: Path
) -> None:
    with Guest(machine) as guest:
        seen = guest.snapshot()
        boot = [block for block in seen.blocks("state") if block < FIRST_ADDED]
        wanted = given(seen, boot, seed, count, page=4096)
        answers = guest.replayed(wanted)
    tally += compare(captured(seen), wanted, answers)
    assert tally.writes == count
    assert not tally.unexplained


def test_a_kernel_that_chooses_zones_otherwise_is_found_out() -> None:
    """The judgement can fail: a simulated kernel that always prefers Movable is not this one."""
    with Guest(ONE_LARGE_DIMM) as guest:
        seen = guest.snapshot()
        wanted = block_writes(4, 60, [0], range(FIRST_ADDED, FIRST_ADDED + 16))
        answers = guest.replayed(wanted)
    machine = captured(seen).kernel.machine
    altered = tuple(replace(group, off_zones=("Movable", "Normal")) for group in machine.groups)
    other = Kernel(replace(machine, groups=altered, contiguous_zones=False))
    assert compare(Sysfs(other), wanted, answers).unexplained


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


def path_of(block: int) -> str:
    """The `online` attribute of a block."""
    return f"{MEMORY[1:]}/memory{block}/online"


ZONE_POLICIES = (("contig-zones", "301"), ("auto-movable", "301"), ("auto-movable", "145"))
"""online_policy and auto_movable_ratio. None of these ratios is exact in blocks of this machine:
what its firmware keeps of its memory would decide."""


def test_added_and_removed_memory_is_the_same(tally: Comparison) -> None:
    """DIMMs come while each of the words is in auto_online_blocks, by each policy, and go again.

    Their blocks are first set offline by writes, and a DIMM with one that cannot be stays: where
    the guest's firmware is asked for it, no signal ends an offline that does not return.
    """
    with Guest(TWO_NODES_NO_DIMM) as guest:
        sysfs = with_slots(captured(guest.snapshot()).kernel.machine)
        boot = list(guest.snapshot().blocks("state"))

        def judged(wanted: list[JudgedWrite]) -> Comparison:
            return compare(sysfs, wanted, guest.replayed(wanted))

        free = list(range(SLOTS))
        for turn, word in enumerate([*POLICIES, *POLICIES[::-1], *POLICIES]):
            zones, ratio = ZONE_POLICIES[turn % 3]
            tally += judged(
                [
                    (f"{MEMORY}/auto_online_blocks", word),
                    (f"/{PARAMETERS}/online_policy", zones),
                    (f"/{PARAMETERS}/auto_movable_ratio", ratio),
                ]
            )
            # The guest's firmware gives a DIMM the lowest place that is free.
            slot = free.pop(0)
            dimm = Dimm(f"dimm{turn}", 256 * MIB, slot % 2)
            blocks = range(FIRST_ADDED + 2 * slot, FIRST_ADDED + 2 * slot + 2)
            guest.plug(dimm)
            plug(sysfs.kernel, blocks)
            present = [block for block in guest.snapshot().blocks("state") if block not in boot]
            tally += judged(block_writes(100 + turn, 40, boot, present))
            if turn % 4 == 2:
                continue  # this one stays
            tally += judged([(f"/{path_of(block)}", "0") for block in blocks])
            if any(sysfs.kernel.blocks.online(block) for block in blocks):
                continue
            guest.unplug(dimm)
            free = sorted([slot, *free])
            unplug(sysfs.kernel, blocks)
            tally += judged([])
    assert tally.writes >= 12 * 43
    assert not tally.unexplained


@pytest.mark.parametrize("word", ["offline", "online_movable"])
def test_memory_that_comes_and_goes_is_announced_in_the_same_order(word: str) -> None:
    with Guest(TWO_NODES_NO_DIMM) as guest:
        sysfs = with_slots(captured(guest.snapshot()).kernel.machine)
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
