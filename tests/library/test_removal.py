"""In which order memory of devices is taken for a size."""

from collections.abc import Sequence

import pytest

from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.change.plan import Action, Change, Order, change_to
from memory_hotplug.change.removal import Removal, emptying


def changes(count: int) -> list[Change]:
    """Blocks that are online, the highest first."""
    off = Order(Action.DISABLE)
    return [
        change_to(MemoryBlock(n, State.ONLINE, None, 0, (0,), (Zone.MOVABLE,), None, None), off)
        for n in reversed(range(count))
    ]


def devices(*sizes: int) -> Removal:
    """Devices a, b, ... with so many blocks each, from block 0 on."""
    names = [name for name, size in zip("abcdefgh", sizes, strict=False) for _ in range(size)]
    online = {name: [n for n, of in enumerate(names) if of == name] for name in names}
    return Removal(dict(enumerate(names)), online, ())


@pytest.mark.parametrize(
    ("sizes", "count", "taken"),
    [
        # Fewer devices come to it exactly than those that are found first.
        ((9, 4, 4, 4, 3), 12, "ae"),
        ((5, 4, 3), 7, "bc"),
        ((5, 4, 3), 12, "abc"),
        # Of devices alike the highest.
        ((2, 2, 2), 4, "cb"),
        # None exactly: the largest that fits, then a part of the smallest.
        ((6, 5), 7, "ab"),
        ((9, 20), 3, "a"),
        ((3, 3), 0, "b"),
    ],
)
def test_removal_empties_few_devices(sizes: Sequence[int], count: int, taken: str) -> None:
    removal = devices(*sizes)
    order = [change.number for change in emptying(changes(sum(sizes)), count, removal)]
    assert sorted(order) == list(range(sum(sizes)))
    first = [removal.devices[number] for number in order[: max(count, 1)]]
    assert "".join(sorted(set(first))) == "".join(sorted(taken))


def test_without_fewest_devices_come_in_the_order_of_their_first_changes() -> None:
    order = [c.number for c in emptying(changes(8), 2, devices(2, 3, 1), fewest=False)]
    # 6 and 7 are of no device.
    assert order == [5, 4, 3, 2, 7, 6, 1, 0]


def test_what_stays_is_the_last_of_all() -> None:
    removal = devices(2, 2)._replace(staying=(2,))
    order = emptying(changes(6), 2, removal, lambda block: block.number == 5)
    assert [change.number for change in order] == [1, 0, 4, 3, 5, 2]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        # A device is taken as a whole; then comes memory of no device, 6 and 7.
        (2, [1, 0, 7, 6, 5, 4, 3, 2]),
        # The rest of a device that is taken in part comes before that.
        (5, [5, 4, 3, 2, 1, 0, 7, 6]),
        (1, [1, 0, 7, 6, 5, 4, 3, 2]),
        (0, [7, 6, 1, 0, 5, 4, 3, 2]),
    ],
)
def test_memory_of_no_device_is_first_to_take_the_place_of_what_fails(
    count: int, expected: Sequence[int]
) -> None:
    order = emptying(changes(8), count, devices(2, 4))
    assert [change.number for change in order] == expected


def test_of_devices_that_cannot_be_emptied_no_second_one_is_taken_for_what_fails() -> None:
    removal = devices(2, 2)._replace(staying=(0, 3))
    order = emptying(changes(6), 1, removal)
    # 2 is of a device that stays, 4 and 5 are of none, 1 is of the other device.
    assert [change.number for change in order] == [2, 5, 4, 1, 3, 0]


def test_very_many_devices_take_no_time() -> None:
    """Those that come to a size exactly are looked for among the largest only."""
    names = [f"dax{n}" for n in range(1000) for _ in range(n % 40 + 1)]
    online: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        online.setdefault(name, []).append(number)
    removal = Removal(dict(enumerate(names)), online, ())
    order = list(emptying(changes(len(names)), 10000, removal))
    whole = {removal.devices[change.number] for change in order[:10000]}
    cut = {removal.devices[change.number] for change in order[10000:]} & whole
    assert len(cut) <= 1
