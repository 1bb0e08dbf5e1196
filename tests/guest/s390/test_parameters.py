"""A machine's description as what an LPAR boots with."""

from dataclasses import replace
from typing import Any

import pytest

from guest.s390.parameters import DescriptionError, partition
from guest.s390.service_element import MIB, Refusal, StorageChange
from memsim import profile
from memsim.description import parse
from vm.lpars import LPAR


def test_the_built_in_lpar_boots_with_2_gib_of_4() -> None:
    made = partition(profile.load("s390-lpar"))
    assert (made.block_size, made.storage.increment, made.storage.increments) == (
        128 * MIB,
        128 * MIB,
        32,
    )
    assert made.storage.assigned == frozenset(range(1, 17))
    assert "nokaslr" in made.parameters
    assert "memory_hotplug.memmap_on_memory=Y" in made.parameters
    assert "memhp_default_state=offline" in made.parameters


def test_small_increments_are_several_in_a_block() -> None:
    made = partition(replace(profile.load("s390-lpar"), increment=8 * MIB))
    assert (made.block_size, made.storage.increments) == (128 * MIB, 512)
    assert made.storage.assigned == frozenset(range(1, 257))


def test_a_hole_in_boot_memory_is_standby() -> None:
    groups = [{"range": [0, 3]}, {"range": [4, 5], "config": 0}, {"range": [6, 7]}]
    made = partition(parse({**LPAR, "blocks": groups}))
    assert made.storage.assigned == {1, 2, 3, 4, 7, 8}


def test_a_fault_of_configuring_is_a_refusal_of_the_blocks_first_increment() -> None:
    faults = {"config": {"16": "EIO"}, "deconfig": {"3": {"errno": "EIO", "times": 2}}}
    made = partition(parse({**LPAR, "increment": 64 * MIB, "faults": faults}))
    assert made.refusals == (
        (StorageChange.ASSIGN, 33, Refusal(times=None)),
        (StorageChange.UNASSIGN, 7, Refusal(times=2)),
    )


def test_what_the_hypervisor_has_to_give_is_counted_in_increments() -> None:
    made = partition(parse({**LPAR, "hypervisor": 256 * MIB}))
    assert made.storage.spare == 2


def test_kaslr_is_off_unless_asked_for() -> None:
    made = partition(profile.load("s390-lpar"), kaslr=True)
    assert "nokaslr" not in made.parameters
    assert made.key != partition(profile.load("s390-lpar")).key


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"block_size": 256 * MIB}, "128 MiB on s390 with increments of 128 MiB, not of 256"),
        ({"blocks": [{"range": [0, 1]}, {"range": [4, 5], "config": 0}]}, "blocks 2 to 3 are not"),
        ({"blocks": [{"range": [0, 0], "config": 0}]}, "block 0 is not configured"),
        ({"blocks": [{"range": [0, 1]}, {"range": [2, 2], "state": "offline"}]}, "block 2 is conf"),
        ({"blocks": [{"range": [0, 1]}, {"range": [2, 2], "node": 1}]}, "block 2 is on node 1"),
    ],
)
def test_a_machine_that_no_s390_can_be_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DescriptionError, match=reason):
        partition(parse({**LPAR, **change}))


def test_a_machine_without_firmware_is_refused() -> None:
    with pytest.raises(DescriptionError, match="firmware"):
        partition(profile.load("x86-laptop"))
