"""The layout that a machine has now, and the record of the last change, as data."""

import json
from typing import Any

import pytest

from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.layout import Entry, Layout, Missing, Policy, Where
from memory_hotplug.plan import Action, Condition, Order
from memory_hotplug.saving import (
    Record,
    added,
    entries_of,
    format_change,
    order_to,
    parse_change,
    stays_by_itself,
)


def block(
    number: int,
    state: State = State.ONLINE,
    zones: str | None = "Normal",
    configured: bool | None = True,
    memmap: bool | None = False,
) -> MemoryBlock:
    of = None if zones is None else tuple(map(Zone.named, zones.split()))
    return MemoryBlock(number, state, zones=of, configured=configured, memmap_on_memory=memmap)


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


BEFORE = [
    block(1),
    block(2, zones="Movable", memmap=True),
    block(3, State.OFFLINE, "Normal Movable"),
    away(4),
    block(5, zones=None, configured=None, memmap=None),
]


def test_the_record_of_a_change_is_read_back() -> None:
    settings = {"auto_online": "online_movable", "auto_movable_numa_aware": "N"}
    record = parse_change(format_change(BEFORE, settings))
    found = record.blocks
    assert list(found) == [1, 2, 3, 4, 5]
    assert record.settings == settings
    assert parse_change(format_change([])) == Record({})
    for before in BEFORE:
        assert order_to(found[before.number]) == order_to(before)
        assert found[before.number].state is before.state
        assert found[before.number].configured is before.configured


ROW: list[Any] = [3, "online", "Normal", True, False]


def changed(place: int, value: object) -> list[Any]:
    row = list(ROW)
    row[place] = value
    return row


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"version": 1, "settings": {}},
        {"version": 1, "before": []},
        {"version": 1, "before": [], "settings": {}, "more": 1},
        {"version": 2, "before": [], "settings": {}},
        {"version": 1, "before": {}, "settings": {}},
        *(
            {"version": 1, "before": [], "settings": settings}
            for settings in (
                "auto_online",
                {"state": "online"},
                {"auto_online": None},
                {"auto_online": "on\nline"},
                {"auto_online": ""},
                {"auto_online": "o" * 41},
            )
        ),
        *(
            {"version": 1, "before": [row], "settings": {}}
            for row in (
                {},
                ROW[:4],
                [*ROW, None],
                *(changed(0, number) for number in (-1, 1 << 60, True, 1.0, "3", None)),
                *(changed(1, state) for state in ("going-offline", None, 1)),
                changed(2, 3),
                *(changed(place, flag) for place in (3, 4) for flag in (1, "true")),
            )
        ),
    ],
    ids=json.dumps,
)
def test_a_record_that_chmem_does_not_write_is_damaged(record: object) -> None:
    with pytest.raises(ValueError, match=r"^no (block|record|record of this version|settings)$"):
        parse_change(json.dumps(record).encode())


def test_a_record_at_the_ends_of_what_is_allowed_is_read() -> None:
    for number in (0, (1 << 60) - 1):
        text = json.dumps({"version": 1, "before": [changed(0, number)], "settings": {}})
        assert list(parse_change(text.encode()).blocks) == [number]
    for damaged in (b"", b"[" * 100_000, b"\xff"):
        with pytest.raises(ValueError, match=r"^(too deep$|Expecting|'utf-8')"):
            parse_change(damaged)
