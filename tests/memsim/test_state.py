"""What changes in a simulated machine: it is stored, and a reboot takes it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from memsim.directory import Directory
from memsim.kernel import Kernel, slots
from memsim.kernel.memory_failure import poison
from memsim.kernel.state import KernelState
from memsim.machine import Fault
from simulated import make, s390

MIB = 1 << 20
ONLINE_AND_ROOM = [{"range": [0, 3]}, {"range": [4, 7], "config": False}]


def storage_is_refused(kernel: Kernel) -> None:
    kernel.set_fault("config", 4, Fault("EIO", 1))
    with pytest.raises(OSError, match="Input/output error"):
        kernel.configure(4)
    kernel.set_fault("offline", 3, Fault("EBUSY"))
    kernel.set_delay("online", 3, 0.5)


def memory_is_plugged_in(kernel: Kernel) -> None:
    kernel.set("auto_online_blocks", "online")
    kernel.set("online_policy", "auto-movable")
    kernel.set("auto_movable_ratio", 50)
    kernel.set("auto_movable_numa_aware", False)
    slots.plug(kernel, range(4, 6))
    poison(kernel, 5 * 128 * MIB)
    kernel.set_online_type(3, "online_movable")


def a_part_of_a_block_is_plugged_in(kernel: Kernel) -> None:
    slots.plug(kernel, range(4, 6), "virtio-mem", unplugged=6 * MIB)


CASES: dict[Callable[[Kernel], None], dict[str, Any]] = {
    storage_is_refused: s390(increment=8 * MIB),
    memory_is_plugged_in: {
        "block_size": 128 * MIB,
        "blocks": ONLINE_AND_ROOM,
        "online_policy": "contig-zones",
    },
    a_part_of_a_block_is_plugged_in: {"block_size": 128 * MIB, "blocks": ONLINE_AND_ROOM},
}


def changed(state: KernelState, other: KernelState) -> set[str]:
    """The fields that two states have different values of."""
    names = [field.name for field in fields(KernelState)]
    return {name for name in names if getattr(state, name) != getattr(other, name)}


@pytest.mark.parametrize("change", CASES)
def test_what_changed_is_read_again_and_after_a_reboot_only_faults_and_delays_are_left(
    change: Callable[[Kernel], None], tmp_path: Path
) -> None:
    machine = Directory(make(tmp_path / "m", CASES[change]))
    at_boot = machine.kernel()
    machine.change(change)
    running = machine.kernel()
    change(at_boot)
    assert running.state == at_boot.state
    assert running.blocks.content() == at_boot.blocks.content()
    machine.change(Kernel.reboot)
    booted, new = machine.kernel(), Kernel(running.machine)
    assert changed(booted.state, new.state) == (
        changed(running.state, new.state) & {"faults", "delays"}
    )
    assert changed(booted.state, running.state) == (
        changed(running.state, new.state) - {"faults", "delays"}
    )
    assert booted.blocks.content() == new.blocks.content()


def test_the_cases_here_change_all_that_can_change(tmp_path: Path) -> None:
    seen: set[str] = set()
    for number, (change, description) in enumerate(CASES.items()):
        kernel = Directory(make(tmp_path / str(number), description)).kernel()
        new = Kernel(kernel.machine)
        change(kernel)
        seen |= changed(kernel.state, new.state)
    assert seen == {field.name for field in fields(KernelState)}
