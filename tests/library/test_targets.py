"""What each block is to become by a layout: pure data, from a machine in memory."""

from collections.abc import Sequence
from typing import Any

import pytest

from memory_hotplug import Machine
from memory_hotplug.block import Zone
from memory_hotplug.change.targets import NEEDED_FOR_LAYOUT, Targets, is_on, targets_of
from memory_hotplug.condition import Condition
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.notation import parse_layout
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import boot
from simulated import s390, x86


def booted(machine: dict[str, Any]) -> Machine:
    return Machine(KernelTree(boot(machine)))


def wanted(machine: dict[str, Any], text: str, *, zones: bool = True) -> Targets:
    """What a layout makes of a simulated machine."""
    layout = parse_layout(f"version = 1\n{text}", "file")
    with booted(machine) as simulated:
        return targets_of(
            layout,
            simulated.read(NEEDED_FOR_LAYOUT),
            configurable=simulated.configurable,
            zones=zones,
            nodes=simulated.nodes,
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


def test_a_gap_between_blocks_is_missing() -> None:
    machine = x86(4, 0) | {"blocks": [{"range": [0, 1]}, {"range": [4, 5]}, {"range": [7, 7]}]}
    assert absent(wanted(machine, entry(blocks="0-8"))) == [(2, 4, ((2, 3), (6, 6), (8, 8)))]
    assert numbers(wanted(machine, entry(blocks="1-4"))) == [1, 4]
    assert numbers(wanted(machine, entry(blocks="0,5,7"))) == [0, 5, 7]


@pytest.mark.parametrize(
    ("machine", "text", "line", "reason"),
    [
        (MIXED, entry(blocks="20", missing="error"), 2, "does not have all these blocks"),
        (MIXED, entry(size="2G", missing="error"), 2, "does not have all these blocks"),
        (MIXED, entry(node=0) + entry(size="100M"), 4, "no multiple of the block size, 128M"),
        (MIXED, entry(range="0x0-0x7fffffe"), 2, "memory block of 128M"),
        (MIXED, entry(range="0x1000-0x7ffffff"), 2, "memory block of 128M"),
        (x86(4, 4), entry(node=0, state="deconfigured"), 2, "state deconfigured is impossible"),
        (x86(4, 4), entry(node=0, memmap_on_memory=False), 2, "memmap_on_memory is impossible"),
    ],
)
def test_what_is_impossible_is_told_with_its_line(
    machine: dict[str, Any], text: str, line: int, reason: str
) -> None:
    with pytest.raises(LayoutError, match=reason) as caught:
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
