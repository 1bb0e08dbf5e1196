"""The layout that a machine has now, as data."""

import pytest

from memory_blocks import block
from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.change.plan import Action, Order, order_to
from memory_hotplug.change.saved import added, entries_of, stays_by_itself
from memory_hotplug.condition import Condition
from memory_hotplug.layout.model import Entry, Layout, Missing, Policy, Where


def away(number: int) -> MemoryBlock:
    return block(number, State.OFFLINE, None, False, True)


@pytest.mark.parametrize(
    ("found", "by_itself"),
    [
        (away(3), False),
        (block(0, zones="DMA"), True),
        (block(0, zones="DMA", memmap=True), False),
        (block(0, zones="DMA32"), True),
        (block(0, zones="none"), True),
        (block(0), False),
        (block(0, zones="Movable"), False),
        (block(0, State.OFFLINE, "Normal Movable"), False),
        (block(0, configured=None, memmap=None), False),
    ],
)
def test_what_a_boot_gives_needs_no_entry(found: MemoryBlock, by_itself: bool) -> None:
    assert stays_by_itself(found) is by_itself


@pytest.mark.parametrize(
    ("found", "condition", "zone", "memmap"),
    [
        (away(3), Condition.DECONFIGURED, None, True),
        (block(3), Condition.ONLINE, Zone.NORMAL, False),
        (block(3, zones="Movable", memmap=True), Condition.ONLINE, Zone.MOVABLE, True),
        (block(3, zones="none"), Condition.ONLINE, None, False),
        (block(3, zones="Device"), Condition.ONLINE, None, False),
        (block(3, zones="Elsewhere"), Condition.ONLINE, None, False),
        (block(3, zones=None), Condition.ONLINE, None, False),
        (block(3, State.OFFLINE, "Normal Movable"), Condition.OFFLINE, None, False),
        (block(3, configured=None, memmap=None), Condition.ONLINE, Zone.NORMAL, None),
        (block(3, configured=None, memmap=False), Condition.ONLINE, Zone.NORMAL, None),
    ],
)
def test_the_order_that_brings_a_block_to_this_condition(
    found: MemoryBlock, condition: Condition, zone: Zone | None, memmap: bool | None
) -> None:
    assert order_to(found) == Order(Action.APPLY, zone, memmap, condition=condition)


def test_neighbours_that_are_alike_share_an_entry() -> None:
    found = [
        *map(block, (0, 1, 2)),
        block(3, zones="Movable"),
        *map(block, (4, 6)),
        block(7, State.GOING_OFFLINE),
        away(8),
        away(9),
        block(10, State.OFFLINE, "Normal", memmap=True),
    ]
    entries = entries_of(found)
    assert [entry.blocks for entry in entries] == [
        ((0, 2), (4, 4), (6, 6)),
        ((3, 3),),
        ((8, 9),),
        ((10, 10),),
    ]
    assert [(entry.condition, entry.zone, entry.memmap_on_memory) for entry in entries] == [
        (Condition.ONLINE, Zone.NORMAL, False),
        (Condition.ONLINE, Zone.MOVABLE, False),
        (Condition.DECONFIGURED, None, True),
        (Condition.OFFLINE, None, True),
    ]
    assert {(entry.node, entry.size, entry.missing) for entry in entries} == {
        (None, None, Missing.WAIT)
    }


def test_an_entry_for_these_blocks_takes_the_place_of_older_ones() -> None:
    here = Where("f", 3)
    untouched = (
        Entry(here, ((0, 9),), size=1 << 30),
        Entry(here, ((0, 9),), node=1),
        Entry(here, node=0),
        Entry(here, addresses=((0, 9),)),
    )
    before = Layout(
        Policy("online"),
        (
            *untouched,
            Entry(here, ((2, 6), (8, 8), (20, 30)), condition=Condition.OFFLINE),
            Entry(here, ((4, 5),)),
            Entry(here, ((5, 7),)),
        ),
    )
    after = added(before, [block(4), block(5)])
    assert after.policy == before.policy
    assert after.entries[:4] == untouched
    assert [entry.blocks for entry in after.entries[4:]] == [
        ((2, 3), (6, 6), (8, 8), (20, 30)),
        ((6, 7),),
        ((4, 5),),
    ]
    assert after.entries[4].condition is Condition.OFFLINE
    assert added(before, [block(2), block(20), block(30)]).entries[4].blocks == (
        (3, 6),
        (8, 8),
        (21, 29),
    )
