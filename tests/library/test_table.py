"""Merged ranges cover exactly the blocks there are, and agree in what they are split by."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import State, Zone
from memory_hotplug.table import BlockTable

VALUES = {
    "state": st.sampled_from(State),
    "removable": st.sampled_from([True, False, None]),
    "node": st.sampled_from([None, -1, 0, 1]),
    "nodes": st.sampled_from([None, (), (0,), (0, 1)]),
    "zones": st.sampled_from([None, (), (Zone.NORMAL,), (Zone.NORMAL, Zone.MOVABLE)]),
    "configured": st.sampled_from([True, False, None]),
    "memmap_on_memory": st.sampled_from([True, False, None]),
    "phys_device": st.sampled_from([None, 0, 7]),
}


@st.composite
def tables(draw: st.DrawFn) -> BlockTable:
    numbers = sorted(draw(st.sets(st.integers(0, 60) | st.integers(2**33, 2**33 + 9))))
    columns = {
        name: draw(st.lists(values, min_size=len(numbers), max_size=len(numbers)))
        for name, values in VALUES.items()
    }
    return BlockTable(draw(st.sampled_from([1, 1 << 27, 1 << 31])), numbers, columns)


splits = st.lists(st.sampled_from(list(Attribute)), unique=True)


@given(tables(), splits)
def test_ranges_cover_exactly_the_blocks_in_order(table: BlockTable, split: list[str]) -> None:
    ranges = list(table.ranges(split))
    covered = [number for found in ranges for number in range(found.first, found.last + 1)]
    assert covered == table.numbers
    assert sum(found.size for found in ranges) == len(table.numbers) * table.block_size
    assert all(before.end < after.start for before, after in pairwise(ranges))


@given(tables(), splits)
def test_the_blocks_of_a_range_agree_with_its_first(table: BlockTable, split: list[str]) -> None:
    blocks = {block.number: block for block in table.blocks()}
    for found in table.ranges(split):
        for number in range(found.first, found.last + 1):
            for name in split:
                assert getattr(blocks[number], name) == getattr(found.block, name)


@given(tables(), splits)
def test_no_two_ranges_could_be_one(table: BlockTable, split: list[str]) -> None:
    for before, after in pairwise(table.ranges(split)):
        assert after.first > before.last + 1 or any(
            getattr(before.block, name) != getattr(after.block, name) for name in split
        )


@given(tables(), splits)
def test_every_split_has_the_totals_of_the_single_blocks(
    table: BlockTable, split: list[str]
) -> None:
    by_state = dict.fromkeys(State, 0)
    for found in table.ranges([*split, "state"]):
        assert found.block.state is not None
        by_state[found.block.state] += found.size
    assert by_state[State.ONLINE] == table.total(online=True)
    assert sum(by_state.values()) - by_state[State.ONLINE] == table.total(online=False)
    assert sum(found.size for found in table.each()) == sum(by_state.values())


@given(tables())
def test_struct_pages_take_a_sixty_fourth(table: BlockTable) -> None:
    for found in table.ranges(()):
        assert found.memmap_size == found.size // 64
