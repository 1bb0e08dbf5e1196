"""What each block is to become by a layout: pure data, from a machine in memory."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from layouts import sound
from memory_hotplug import Machine
from memory_hotplug.block import Zone, is_on, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.batch import carry_out_each
from memory_hotplug.change.outcome import Result
from memory_hotplug.change.plan import Change
from memory_hotplug.change.targets import NEEDED_FOR_LAYOUT, Targets, targets_of
from memory_hotplug.condition import Condition
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import joined
from memory_hotplug.layout.notation import parse_layout
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import boot
from simulated import s390, x86


def booted(machine: dict[str, Any]) -> Machine:
    return Machine(KernelTree(boot(machine)))


def wanted(
    machine: dict[str, Any], text: str, *, zones: bool = True, ratio: int | None = None
) -> Targets:
    """What a layout makes of a simulated machine."""
    layout = parse_layout(f"version = 1\n{text}", "file")
    with booted(machine) as simulated:
        return targets_of(
            layout,
            simulated.read(NEEDED_FOR_LAYOUT),
            configurable=simulated.configurable,
            zones=zones,
            nodes=simulated.nodes,
            ratio=ratio,
        )


def numbers(found: Targets) -> list[int]:
    return [change.number for change in found.changes]


MIXED: dict[str, Any] = s390(0, 0) | {
    "blocks": [
        {"range": [0, 3]},  # online, Normal
        {"range": [4, 5], "zones": "Movable"},
        {"range": [6, 7], "state": "offline"},
        {"range": [8, 11], "config": False, "memmap": True},
        {"range": [12, 13], "config": False, "memmap": False},
    ]
}


def entry(**keys: object) -> str:
    """An entry as TOML."""
    lines = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {str(value).lower()}"
        for key, value in keys.items()
    ]
    return "\n".join(["[[memory]]", *lines, ""])


def test_memory_is_given_before_it_is_taken() -> None:
    text = (
        entry(blocks="0-3", state="offline")
        + entry(blocks="4", zone="Normal")
        + entry(blocks="5-6", state="deconfigured")
        + entry(blocks="7")
        + entry(blocks="8-9", memmap_on_memory=False)
        + entry(blocks="10-11", state="offline")
        + entry(blocks="12-13")
        + entry(blocks="13", memmap_on_memory=True)
        + entry(blocks="11", state="deconfigured")
    )
    # Given back; online at once; with struct pages of their own; with those of others; moved to
    # another zone; only configured; taken from what is online, the highest first.
    assert numbers(wanted(MIXED, text)) == [11, 6, 7, 13, 8, 9, 12, 4, 10, 5, 3, 2, 1, 0]


def test_what_gives_memory_comes_first_wherever_it_is() -> None:
    """The blocks are in the opposite order, but for those that go, the highest first."""
    blocks = [
        {"range": [0, 3]},
        {"range": [4, 4], "config": False, "memmap": False},
        {"range": [5, 5], "config": False, "memmap": True},
        {"range": [6, 6], "state": "offline"},
        {"range": [7, 7], "config": False, "memmap": False},
        {"range": [8, 8], "config": False, "memmap": True},
        {"range": [9, 11], "state": "offline"},
    ]
    text = (
        entry(blocks="0-1", state="offline")
        + entry(blocks="2-3", zone="Movable")
        + entry(blocks="4-6", zone="Movable")
        + entry(blocks="7-9", zone="Normal")
        + entry(blocks="10-11", state="deconfigured")
    )
    found = numbers(wanted(s390(0, 0) | {"blocks": blocks}, text))
    assert found == [11, 10, 9, 8, 7, 6, 5, 4, 2, 3, 1, 0]


def test_what_gives_memory_comes_first_among_blocks_for_movable_too() -> None:
    text = (
        entry(blocks="7", zone="Movable")
        + entry(blocks="8", zone="Movable", memmap_on_memory=False)
        + entry(blocks="12", zone="Movable", memmap_on_memory=True)
        + entry(blocks="13", memmap_on_memory=False)
    )
    assert numbers(wanted(MIXED, text)) == [13, 7, 12, 8]


def test_the_memmap_that_a_block_has_decides_where_none_is_wished() -> None:
    assert numbers(wanted(MIXED, entry(blocks="11-12"))) == [11, 12]
    assert numbers(wanted(MIXED, entry(blocks="12") + entry(blocks="8"))) == [8, 12]


def test_an_order_has_all_that_the_entry_says() -> None:
    text = entry(blocks="8", zone="Movable", memmap_on_memory=False)
    (change,) = wanted(MIXED, text).changes
    order, of = change.order, change.entry
    assert (change.number, order.condition, order.zone) == (8, Condition.ONLINE, Zone.MOVABLE)
    assert of is not None
    assert (order.memmap_on_memory, order.movable, of.where.line) == (False, True, 2)
    (change,) = wanted(MIXED, text, zones=False).changes
    assert (change.order.zone, change.order.movable) == (None, False)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        # Blocks that are so already come first, then those with the fewest writes to go.
        (entry(size="768M", zone="Normal"), [0, 1, 2, 3, 6, 7]),
        (entry(size="1G"), [0, 1, 2, 3, 4, 5, 6, 7]),
        (entry(size="256M", state="offline"), [6, 7]),
        (entry(size="512M", state="offline"), [6, 7, 8, 9]),
        (entry(size="512M", state="offline", **{"from": "highest"}), [6, 7, 12, 13]),
        (entry(size="256M", state="deconfigured"), [8, 9]),
        (entry(size="256M", state="deconfigured", **{"from": "highest"}), [12, 13]),
        # Online memory is taken only where nothing else is left.
        (entry(size="1280M", state="offline"), [0, 1, *range(6, 14)]),
        (
            entry(size="1280M", state="offline", **{"from": "highest"}),
            [4, 5, *range(6, 14)],
        ),
        # Only of the memory that is named.
        (entry(size="256M", blocks="3-9"), [3, 4]),
        (entry(size="128M", range="0x60000000-0x6fffffff"), [12]),
        (entry(size="256M", node=0, zone="Movable"), [4, 5]),
        # What later entries make the same of counts; what they make other things of does not.
        (entry(size="512M") + entry(blocks="12-13"), [0, 1, 12, 13]),
        (entry(size="256M") + entry(blocks="0-3", state="offline"), [0, 1, 2, 3, 4, 5]),
        (
            entry(size="256M", zone="Movable") + entry(blocks="12", zone="Movable"),
            [4, 12],
        ),
        (entry(size="256M", zone="Movable") + entry(blocks="12"), [4, 5, 12]),
        (
            entry(size="256M", memmap_on_memory=True)
            + entry(blocks="8", memmap_on_memory=True, zone="Movable"),
            [8, 9],
        ),
        (
            entry(size="256M", memmap_on_memory=True) + entry(blocks="8", memmap_on_memory=False),
            [8, 9, 10],
        ),
        (entry(size="128M") + entry(size="256M", zone="Normal"), [0, 1]),
    ],
)
def test_a_size_is_made_up_with_the_fewest_writes(text: str, chosen: list[int]) -> None:
    assert sorted(numbers(wanted(MIXED, text))) == chosen


def test_what_cannot_work_is_the_last_choice() -> None:
    machine = x86(4, 4) | {"blocks": [{"range": [0, 1], "zones": "none"}, {"range": [2, 3]}]}
    found = wanted(machine, entry(size="128M", state="offline"))
    assert numbers(found) == [2]
    assert [spare.number for spare in found.changes[0].spares] == [3, 0, 1]


def test_spares_are_what_no_entry_claims_best_first() -> None:
    found = wanted(MIXED, entry(size="128M", state="offline") + entry(blocks="7-8"))
    assert sorted(numbers(found)) == [6, 7, 8]
    spares = {change.number: change.spares for change in found.changes}
    assert [spare.number for spare in spares[6]] == [9, 10, 11, 12, 13, 0, 1, 2, 3, 4, 5]
    assert {spare.order.condition for spare in spares[6]} == {Condition.OFFLINE}
    entry_of = spares[6][0].entry
    assert entry_of is not None
    assert entry_of.where.line == 2
    assert not (spares[7] or spares[8])


def test_a_block_that_an_entry_names_has_no_spare_though_a_size_takes_it_too() -> None:
    found = wanted(MIXED, entry(blocks="6", state="offline") + entry(size="256M", state="offline"))
    entries = {one.number: one.entry.where.line for one in found.changes if one.entry}
    assert entries == {6: 2, 7: 5}
    spares = {one.number: len(one.spares) for one in found.changes}
    assert spares[6] == 0 < spares[7]


def test_a_size_lacks_what_may_not_come_into_movable_by_way_of_another_entry() -> None:
    # Only what an entry sets offline could be in Movable, and that would make it too large.
    text = entry(blocks="0", state="offline") + entry(size="128M", zone="Movable")
    found = wanted(x86(3, 0), text, ratio=20)
    assert [(one.number, one.order.condition) for one in found.changes] == [(0, Condition.OFFLINE)]
    assert absent(found) == [(5, 1, ())]


@pytest.mark.parametrize(("size", "named"), [("128M", [6]), ("256M", [6, 7])])
def test_a_block_that_a_later_entry_names_has_no_spare_though_a_size_asks_for_more_of_it(
    size: str, named: list[int]
) -> None:
    text = entry(size=size, zone="Movable", blocks="0-7")
    found = wanted(MIXED, text + "".join(entry(blocks=str(one), state="online") for one in named))
    for at, number in enumerate(named):
        (change,) = (one for one in found.changes if one.number == number)
        assert (change.order.zone, change.spares) == (Zone.MOVABLE, ())
        assert change.entry is not None
        assert change.entry.where.line == 6 + 3 * at


def test_a_size_leaves_a_block_to_the_entry_that_names_it_for_something_else() -> None:
    text = entry(blocks="0", zone="Movable") + entry(size="128M", state="offline")
    found = wanted(x86(3, 0), text)
    assert {one.number: one.order.condition for one in found.changes} == {
        0: Condition.ONLINE,
        1: Condition.OFFLINE,
    }


def test_a_size_has_no_spare_for_a_block_that_another_entry_wants_otherwise() -> None:
    size = entry(size="384M", state="offline")
    for others, spares in ("", 11), (entry(blocks="8-13"), 0):
        found = wanted(MIXED, others + size)
        (change,) = (one for one in found.changes if one.number == 8)
        assert (change.order.condition, len(change.spares)) == (Condition.OFFLINE, spares)


def absent(found: Targets) -> list[tuple[int | None, int, Sequence[tuple[int, int]]]]:
    return [
        (one.entry.where.line if one.entry else None, one.blocks, one.ranges)
        for one in found.absences
    ]


@pytest.mark.parametrize(
    ("text", "absences"),
    [
        (entry(blocks="13-16,18"), [(2, 4, ((14, 16), (18, 18)))]),
        (entry(blocks="0-13"), []),
        (entry(blocks="13") + entry(blocks="20"), [(4, 1, ((20, 20),))]),
        (entry(blocks="30") + entry(blocks="20"), [(2, 1, ((30, 30),)), (4, 1, ((20, 20),))]),
        (entry(range="0x68000000-0x77ffffff"), [(2, 1, ((14, 14),))]),
        (entry(node=3), [(2, 1, ())]),
        (entry(node=0), []),
        (entry(size="2G"), [(2, 2, ())]),
        (entry(size="1792M"), []),
        (entry(size="2G", missing="ignore"), []),
        (entry(blocks="20", missing="ignore"), []),
    ],
)
def test_what_the_machine_lacks_is_counted(text: str, absences: list[object]) -> None:
    assert absent(wanted(MIXED, text)) == absences


@pytest.mark.parametrize("state", ["offline", "deconfigured"])
@pytest.mark.parametrize(
    ("keys", "changed"),
    [
        ({"blocks": "20-21", "missing": "error"}, []),
        ({"range": "0x400000000-0x407ffffff"}, []),
        ({"node": 5}, []),
        # With a size, what is named and not there counts.
        ({"blocks": "3,20-21", "size": "256M"}, []),
        ({"blocks": "3,20-21", "size": "384M", "missing": "error"}, [3]),
    ],
)
def test_memory_that_is_not_there_is_not_online(
    keys: dict[str, object], changed: list[int], state: str
) -> None:
    machine = MIXED if state == "deconfigured" or "node" not in keys else ALL
    found = wanted(machine, entry(**keys, state=state))
    assert (numbers(found), found.absences) == (changed, [])


def test_a_gap_between_blocks_is_missing() -> None:
    machine = x86(4, 0) | {"blocks": [{"range": [0, 1]}, {"range": [4, 5]}, {"range": [7, 7]}]}
    assert absent(wanted(machine, entry(blocks="0-8"))) == [(2, 4, ((2, 3), (6, 6), (8, 8)))]
    assert numbers(wanted(machine, entry(blocks="1-4"))) == [1, 4]
    assert numbers(wanted(machine, entry(blocks="0,5,7"))) == [0, 5, 7]


NEVER = "is impossible: memory is never configured on this machine"
NO_MULTIPLE = "size is no multiple of the block size, 128M"
NO_BLOCKS = "range does not begin and end with a memory block of 128M"


@pytest.mark.parametrize(
    ("machine", "text", "line", "reason"),
    [
        (
            MIXED,
            entry(blocks="20", missing="error"),
            2,
            "the machine does not have all these blocks",
        ),
        (MIXED, entry(size="2G", missing="error"), 2, "the machine does not have all these blocks"),
        (MIXED, entry(node=0) + entry(size="100M"), 4, NO_MULTIPLE),
        (MIXED, entry(range="0x0-0x7fffffe"), 2, NO_BLOCKS),
        (MIXED, entry(range="0x1000-0x7ffffff"), 2, NO_BLOCKS),
        (x86(4, 4), entry(node=0, state="deconfigured"), 2, f"state deconfigured {NEVER}"),
        (x86(4, 4), entry(node=0, memmap_on_memory=False), 2, f"memmap_on_memory {NEVER}"),
        (
            MIXED | {"blocks": [{"range": [0, 1]}, {"range": [2, 3], "node": 1}]},
            entry(node=0, state="deconfigured"),
            2,
            "node and state deconfigured: memory that is not configured has no node",
        ),
    ],
)
def test_what_is_impossible_is_told_with_its_line(
    machine: dict[str, Any], text: str, line: int, reason: str
) -> None:
    with pytest.raises(LayoutError, match=f": {reason}$") as caught:
        wanted(machine, text)
    assert (caught.value.file, caught.value.line) == ("file", line)


def test_standby_memory_is_on_the_only_node() -> None:
    with booted(MIXED) as machine:
        table = machine.read(NEEDED_FOR_LAYOUT)
        online, *_, standby = table.blocks()
    assert is_on(online, None, (0, 1))
    assert is_on(online, 0, (0, 1))
    assert not is_on(online, 1, (0, 1))
    assert is_on(standby, 0, (0,))
    assert not is_on(standby, 0, (0, 1))
    assert not is_on(standby, 1, (0,))


ALL = s390(first=4, standby=4)
"""Blocks 0 to 3 are online in zone Normal, 4 to 7 are not configured."""


def orders(found: Targets) -> dict[int, tuple[Zone | None, bool | None]]:
    """The zone and memmap_on_memory that are asked for, by block."""
    return {
        change.number: (change.order.zone, change.order.memmap_on_memory)
        for change in found.changes
    }


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        (entry(size="128M", memmap_on_memory=True) + entry(node=0), (None, True)),
        (entry(size="128M", zone="Movable") + entry(blocks="0-7"), (Zone.MOVABLE, None)),
        (entry(size="128M", zone="Movable") + entry(size="1G"), (Zone.MOVABLE, None)),
        (
            entry(size="640M", memmap_on_memory=False) + entry(blocks="4-7", zone="Movable"),
            (Zone.MOVABLE, False),
        ),
    ],
)
def test_a_size_shares_a_block_with_an_entry_that_leaves_open_what_it_asks_for(
    text: str, shared: tuple[Zone | None, bool | None]
) -> None:
    found = wanted(ALL, text)
    assert not absent(found)
    assert [number for number, order in orders(found).items() if order == shared] == [4]


MACHINES = st.lists(
    st.fixed_dictionaries(
        {"blocks": st.integers(1, 4)},
        optional={
            "config": st.just(0),
            "zones": st.sampled_from(["Normal", "Movable"]),
            "state": st.just("offline"),
            "memmap": st.booleans(),
        },
    ),
    max_size=4,
).map(lambda groups: described([{"blocks": 4}, *groups]))
"""Blocks 0 to 3 are online in Normal."""


def described(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    at, blocks = 0, []
    for group in groups:
        made = {key: value for key, value in group.items() if key != "blocks"}
        if "config" in made or "state" in made:
            made.pop("zones", None)
        if "config" in made:
            made.pop("state", None)
        blocks.append({"range": [at, at + group["blocks"] - 1], **made})
        at += group["blocks"]
    return s390() | {"blocks": blocks, "contiguous_zones": True, "auto_online_blocks": "offline"}


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "blocks": st.sampled_from(["0-3", "2-5", "4-9", "6", "7-12", "0-99"]),
        "size": st.sampled_from(["128M", "384M", "1G", "2G"]),
        "from": st.sampled_from(["lowest", "highest"]),
        "state": st.sampled_from(["online", "offline", "deconfigured"]),
        "zone": st.sampled_from(["DMA", "Normal", "Movable"]),
        "memmap_on_memory": st.booleans(),
    },
)


def takes_kernel_memory(change: Change) -> bool:
    """Whether memory of the kernel's zones becomes such that may go into any other."""
    own = zone_of(change.block)
    return own is Zone.NORMAL and change.is_ahead and zone_of(change.after) is not own


@settings(max_examples=200)
@given(MACHINES, st.lists(ENTRIES.map(sound), min_size=1, max_size=3))
def test_what_a_layout_makes_of_a_machine_it_leaves_as_it_is(
    description: dict[str, Any], entries: list[dict[str, Any]]
) -> None:
    """And what is missing is the same as before."""
    text = json.dumps({"version": 1, "memory": entries})
    try:
        layout = parse_layout(text, "file")
    except LayoutError:
        assume(False)
    with booted(description) as machine:

        def targets() -> Targets:
            table = machine.read(NEEDED_FOR_LAYOUT)
            return targets_of(layout, table, configurable=True, zones=True, nodes=machine.nodes)

        first = targets()
        # Then a size that may not have the kernel's memory can have what another entry made of it.
        assume(not (first.absences and any(map(takes_kernel_memory, first.changes))))
        done = [outcome.result for outcome in carry_out_each(machine, first.changes)]
        assume(all(result in (Result.DONE, Result.ALREADY) for result in done))
        second = targets()
        assert [change.number for change in second.changes if not change.plan.already] == []
        assert absent(second) == absent(first)


def test_a_size_shares_no_block_with_an_entry_that_asks_for_something_else() -> None:
    text = entry(size="128M", memmap_on_memory=True) + entry(node=0, memmap_on_memory=False)
    assert absent(wanted(ALL, text)) == [(2, 1, ())]
    text = entry(size="128M", state="offline") + entry(node=0)
    assert absent(wanted(ALL, text)) == [(2, 1, ())]


def test_what_a_size_counts_on_is_left_to_it() -> None:
    """Blocks 4 and 5 are in Movable, in which the second entry wants two; the first may not have
    them, though the last leaves their zone open."""
    text = (
        entry(blocks="0-13", size="768M", zone="Normal")
        + entry(size="256M", zone="Movable")
        + entry(blocks="0-5")
    )
    found = wanted(MIXED, text)
    assert [orders(found)[number] for number in (4, 5)] == [(Zone.MOVABLE, None)] * 2


def test_an_entry_takes_last_what_is_so_and_stays_so_without_it() -> None:
    """What the first entry would change belongs to the size, so that the next run is the same."""
    machine = x86(4, 0) | {"blocks": [{"range": [0, 1], "zones": "Movable"}, {"range": [2, 5]}]}
    text = entry(blocks="0-5", zone="Movable") + entry(size="512M")
    found = wanted(machine, text)
    assert all(change.plan.already for change in found.changes)
    assert [number for number, order in orders(found).items() if order[0] is None] == [2, 3, 4, 5]


def test_what_a_size_would_need_is_not_taken_for_another_zone_by_way_of_it() -> None:
    """Else the next run would move what this one sets offline."""
    found = wanted(
        x86(6, 2), entry(size="256M", state="offline") + entry(size="1G", zone="Movable")
    )
    assert numbers(found) == [6, 7]
    assert {change.order.condition for change in found.changes} == {Condition.OFFLINE}


LOW: dict[str, Any] = x86(4, 0) | {
    "contiguous_zones": True,
    "blocks": [
        {"range": [0, 3], "zones": "DMA32"},
        {"range": [4, 7]},
        {"range": [8, 9], "state": "offline"},
    ],
}


def test_a_zone_in_which_a_block_cannot_be_is_refused_without_a_write() -> None:
    found = wanted(LOW, entry(blocks="4,9", zone="DMA32") + entry(blocks="5", zone="DMA"))
    assert {
        change.number: change.plan.refused and change.plan.refused.cause for change in found.changes
    } == dict.fromkeys((4, 5, 9), Cause.ZONE_NOT_VALID)
    assert not any(change.is_ahead for change in found.changes)
    # A size does not count on them, not even as a spare.
    assert absent(wanted(LOW, entry(size="768M", zone="DMA32"))) == [(2, 2, ())]
    found = wanted(LOW, entry(size="640M", zone="Normal", blocks="1-9"))
    assert [spare.number for spare in found.changes[0].spares] == [9, 3]


@pytest.mark.parametrize(("blocks", "turns"), [("2-3", [3, 2]), ("0-1", [0, 1])])
def test_a_zone_gives_its_blocks_from_its_ends(blocks: str, turns: list[int]) -> None:
    """A block in the middle of DMA32 can be in Movable or DMA32 only."""
    found = wanted(LOW, entry(blocks=blocks, zone="Normal"))
    assert numbers(found) == turns
    assert all(change.is_ahead for change in found.changes)


def test_a_layout_of_many_entries_on_many_blocks_takes_little_time() -> None:
    """Each takes a moment, however many blocks there are."""
    machine = s390(first=1500, standby=1500)
    kinds: list[Callable[[int], str]] = [
        lambda at: entry(node=0),
        lambda at: entry(blocks=f"0-{at}"),
        lambda at: entry(blocks=f"{at}-9999", size="128M", memmap_on_memory=at % 2 == 0),
        lambda at: entry(node=at + 1),
    ]
    for make in kinds:
        found = wanted(machine, "".join(make(at) for at in range(3000)))
        assert len(found.changes) + len(found.absences) >= 2


def test_blocks_above_one_in_several_zones_leave_their_zone_from_its_upper_end() -> None:
    """As block 0 of an x86 machine, which is in DMA and DMA32."""
    machine = LOW | {
        "blocks": [{"range": [0, 0], "zones": "none"}, {"range": [1, 3], "zones": "DMA32"}],
    }
    found = wanted(machine, entry(blocks="1-3", zone="Normal"))
    assert numbers(found) == [3, 2, 1]
    refused = wanted(machine, entry(blocks="1-2", zone="Normal"))
    assert [change.plan.refused is not None for change in refused.changes] == [True, True]


def after_runs(machine: dict[str, Any], text: str, runs: int = 2) -> list[list[int]]:
    """The blocks that each of several runs of a layout changes; all of them must succeed."""
    layout = parse_layout(f"version = 1\n{text}", "file")
    changed = []
    with booted(machine) as simulated:
        for _ in range(runs):
            table = simulated.read(NEEDED_FOR_LAYOUT)
            found = targets_of(layout, table, configurable=False, zones=True, nodes=(0,))
            done = list(carry_out_each(simulated, found.changes))
            assert all(outcome.result in (Result.DONE, Result.ALREADY) for outcome in done)
            changed.append([one.number for one in done if one.result is Result.DONE])
    return changed


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        # Each block that leaves the end of DMA32 lets the next one leave.
        (
            entry(size="256M", blocks="1-3", zone="Normal") + entry(blocks="3", state="offline"),
            [3, 2, 1],
        ),
        (entry(size="256M", blocks="1-3", zone="Normal"), [3, 2]),
        # A size that lacks memory takes what an earlier entry sets offline.
        (entry(blocks="6-7", state="offline") + entry(size="512M", zone="Movable"), [8, 9, 6, 7]),
    ],
)
def test_one_run_does_all_that_the_next_would_do(text: str, changed: list[int]) -> None:
    blocks = [{"range": [0, 0], "zones": "none"}, {"range": [1, 3], "zones": "DMA32"}]
    machine = LOW | {"blocks": [*blocks, *LOW["blocks"][1:]]}
    assert after_runs(machine, text) == [changed, []]


def test_one_run_sets_an_offline_block_online_that_the_end_of_a_zone_lets_go() -> None:
    blocks = [
        {"range": [0, 1], "zones": "DMA32"},
        {"range": [2, 2], "state": "offline"},
        {"range": [3, 3], "zones": "DMA32"},
        {"range": [4, 7]},
    ]
    text = entry(blocks="3", state="offline") + entry(size="128M", blocks="2", zone="Normal")
    assert after_runs(LOW | {"blocks": blocks}, text) == [[3, 2], []]


TWO_NODES = x86(4, 0) | {
    "blocks": [
        {"range": [0, 3]},
        {"range": [4, 7], "state": "offline"},
        {"range": [8, 11], "state": "offline", "node": 1},
    ]
}


@pytest.mark.parametrize(
    ("entries", "online"),
    [
        # An offline size takes what the other entry cannot.
        ([entry(size="512M", state="offline"), entry(size="512M", blocks="4-9")], [6, 7, 8, 9]),
        ([entry(size="512M", blocks="4-9"), entry(size="512M", state="offline")], [6, 7, 8, 9]),
        ([entry(size="512M", state="offline"), entry(size="1G", node=0)], [4, 5, 6, 7]),
        # Memory that is to come online leaves a zone to the entry that needs it.
        (
            [entry(size="512M", zone="Movable", blocks="4-7"), entry(size="256M", zone="Normal")],
            [4, 5, 6, 7],
        ),
        (
            [entry(size="512M", blocks="4-7", zone="Movable"), entry(size="1G", zone="Normal")],
            [4, 5, 6, 7, 8, 9, 10, 11],
        ),
    ],
)
def test_a_size_leaves_memory_to_one_that_has_less_to_choose_from(
    entries: list[str], online: list[int]
) -> None:
    found = wanted(TWO_NODES, "".join(entries))
    assert not absent(found)
    assert sorted(change.number for change in found.changes if change.is_ahead) == online


@pytest.mark.parametrize("sizes", [("256M", "512M"), ("512M", "256M")])
def test_of_two_sizes_in_different_files_the_larger_one_counts(sizes: tuple[str, str]) -> None:
    parts = [parse_layout(f"version = 1\n{entry(size=size)}", f"{size}.toml") for size in sizes]
    with booted(x86(2, 6)) as machine:
        table = machine.read(NEEDED_FOR_LAYOUT)
        found = targets_of(joined(parts), table, configurable=False, zones=True, nodes=(0,))
    assert sorted(change.number for change in found.changes if change.is_ahead) == [2, 3]
    assert not absent(found)
