"""Which zones a block can go to follows from what is online on its node."""

import pytest

from memory_hotplug import Machine, Zone
from memory_hotplug.change.zone_spans import NEEDED, Spans
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import boot

MACHINE = {
    "block_size": 128 << 20,
    "contiguous_zones": True,
    "blocks": [
        {"range": [0, 3], "zones": "DMA"},
        {"range": [4, 7], "zones": "DMA32"},
        {"range": [8, 11]},
        {"range": [12, 15], "state": "offline"},
        {"range": [16, 19], "zones": "Movable"},
        {"range": [20, 23], "node": 1, "zones": "Movable"},
        {"range": [24, 27], "node": 1, "state": "offline"},
    ],
}


def spans() -> Spans:
    return Spans(Machine(KernelTree(boot(MACHINE))).read(NEEDED))


@pytest.mark.parametrize(
    ("offline", "number", "zones"),
    [
        ([], 12, (Zone.NORMAL, Zone.MOVABLE)),
        ([], 24, (Zone.NORMAL, Zone.MOVABLE)),
        ([2], 2, (Zone.DMA, Zone.MOVABLE)),
        # The span of a zone ends at its lowest and highest online block.
        ([3], 3, (Zone.NORMAL, Zone.MOVABLE)),
        ([0], 0, (Zone.NORMAL, Zone.MOVABLE)),
        ([5], 5, (Zone.DMA32, Zone.MOVABLE)),
        ([17], 17, (Zone.MOVABLE, Zone.NORMAL)),
        ([21], 21, (Zone.MOVABLE, Zone.NORMAL)),
        ([20], 20, (Zone.NORMAL, Zone.MOVABLE)),
        ([0, 1, 2, 3], 2, (Zone.NORMAL, Zone.MOVABLE)),
    ],
)
def test_a_block_goes_where_the_spans_of_its_node_meet_it(
    offline: list[int], number: int, zones: tuple[Zone, ...]
) -> None:
    found = spans()
    for block in offline:
        found.set_offline(block)
    assert found.valid_zones(number) == zones


def test_a_block_that_comes_online_widens_a_span() -> None:
    found = spans()
    found.set_online(27, Zone.MOVABLE)
    assert found.valid_zones(25) == (Zone.MOVABLE, Zone.NORMAL)
    # In both spans, or in none, the kernel zone comes first.
    found.set_online(24, Zone.NORMAL)
    found.set_online(26, Zone.NORMAL)
    assert found.valid_zones(25) == (Zone.NORMAL, Zone.MOVABLE)
    assert found.valid_zones(13) == (Zone.NORMAL, Zone.MOVABLE)


def test_a_block_that_is_not_configured_is_on_the_node_of_the_block_below_it() -> None:
    configurable = {
        "firmware": True,
        "blocks": [
            {"range": [0, 7], "node": 0},
            {"range": [8, 9], "node": 1, "zones": "Movable"},
            {"range": [10, 11], "node": 1, "config": 0},
            {"range": [12, 13], "node": 1, "zones": "Movable"},
        ],
    }
    machine = Machine(KernelTree(boot({**MACHINE, **configurable})))
    assert machine.read(NEEDED).columns["node"][10] is None
    found = Spans(machine.read(NEEDED))
    assert found.valid_zones(11) == (Zone.MOVABLE, Zone.NORMAL)


def test_a_block_in_several_zones_belongs_to_the_zones_beside_it() -> None:
    """Block 0 of an x86 machine is in DMA and DMA32: the span of DMA32 begins there."""
    blocks = [
        {"range": [0, 0], "zones": "none"},
        {"range": [1, 3], "zones": "DMA32"},
        {"range": [4, 7], "node": 1, "zones": "DMA32"},
    ]
    found = Spans(Machine(KernelTree(boot({**MACHINE, "blocks": blocks}))).read(NEEDED))
    assert not found.can_enter(1, Zone.NORMAL)
    assert found.can_enter(3, Zone.NORMAL)
    assert found.can_enter(4, Zone.NORMAL)
    for number in (3, 2):
        found.set_offline(number)
    assert found.can_enter(1, Zone.NORMAL)
