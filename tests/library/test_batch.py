"""Many blocks, one after another: spares, and no more tries once memory for struct pages is out."""

import errno
from typing import cast

import pytest

from memory_hotplug import Machine
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.causes import Cause
from memory_hotplug.change.batch import carry_out, carry_out_each
from memory_hotplug.change.guard import Guard
from memory_hotplug.change.lock import Held
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import Action, Change, Order, change_to
from memory_hotplug.change.transaction import Terms
from memory_hotplug.condition import Condition
from memory_hotplug.errors import BlockError
from memory_hotplug.trees.simulated import KernelTree
from memsim.machine import Fault
from memsim.profile import boot
from simulated import s390

ENABLE = Order(Action.ENABLE, memmap_on_memory=False)


def lpar(**faults: str) -> Machine:
    """Eight blocks of standby memory from block 4 on; FAULTS like ``config_5="ENOMEM"``."""
    kernel = boot(s390(4, 8))
    for name, error in faults.items():
        file, _, number = name.partition("_")
        kernel.set_fault(file, int(number), Fault(error))
    return Machine(KernelTree(kernel))


def results(outcomes: list[Outcome]) -> list[tuple[int, str]]:
    return [(outcome.number, outcome.result.value) for outcome in outcomes]


def test_after_two_blocks_without_memory_for_struct_pages_others_are_not_tried() -> None:
    with lpar(config_4="ENOMEM", config_6="ENOMEM", config_7="ENOMEM") as machine:
        found = list(carry_out(machine, ENABLE, range(4, 10)))
    # Block 5 came between, and gave memory.
    assert results(found) == [
        (4, "failed"),
        (5, "done"),
        (6, "failed"),
        (7, "failed"),
        (8, "not tried"),
        (9, "not tried"),
    ]
    assert found[4].writes == ()


def test_blocks_that_hold_their_own_struct_pages_are_tried_on() -> None:
    own = Order(Action.ENABLE, memmap_on_memory=True)
    with lpar(config_4="ENOMEM", config_5="ENOMEM") as machine:
        blocks = [machine.block(number) for number in (4, 5, 6, 7)]
        orders = [ENABLE, ENABLE, own, ENABLE]
        changes = list(map(change_to, blocks, orders))
        found = list(carry_out_each(machine, changes))
    assert [outcome.result for outcome in found] == [
        *(Result.FAILED, Result.FAILED),
        *(Result.DONE, Result.DONE),
    ]


def test_storage_that_is_refused_where_memory_is_out_is_told_so() -> None:
    own = Order(Action.ENABLE, memmap_on_memory=True)
    with lpar(config_4="ENOMEM", config_5="EIO", config_7="EIO") as machine:
        blocks = [machine.block(number) for number in range(4, 8)]
        found = list(carry_out_each(machine, map(change_to, blocks, [ENABLE, own, own, own])))
    causes = [outcome.error.cause if outcome.error else None for outcome in found]
    # The driver could not get a page to ask with; after a block that was done it could.
    assert causes == [Cause.NO_STRUCT_PAGES, Cause.NO_MEMORY, None, Cause.STORAGE_REFUSED]


def with_spares(machine: Machine, number: int, *spares: int) -> Change:
    there = [change_to(machine.block(spare), ENABLE) for spare in spares]
    return change_to(machine.block(number), ENABLE)._replace(spares=there)


def test_a_spare_takes_the_place_of_a_block_that_failed_and_serves_once() -> None:
    with lpar(config_4="EIO", config_5="EIO", config_8="EIO") as machine:
        spares = 8, 9, 10
        changes = [with_spares(machine, number, *spares) for number in (4, 5, 6)]
        found = list(carry_out_each(machine, changes))
    assert results(found) == [
        (4, "failed"),
        (8, "failed"),
        (9, "done"),
        (5, "failed"),
        (10, "done"),
        (6, "done"),
    ]


def test_all_or_nothing_takes_a_spare_and_gives_up_where_there_is_none() -> None:
    with lpar(config_5="EIO", config_8="EIO") as machine:
        changes = [with_spares(machine, number, 8, 9) for number in (4, 5, 6)]
        found = list(carry_out_each(machine, changes, Terms(all_or_nothing=True)))
    done = [(4, "done"), (5, "failed"), (8, "failed"), (9, "done"), (6, "done")]
    assert results(found) == done
    with lpar(config_5="EIO", config_8="EIO") as machine:
        changes = [with_spares(machine, number, 8) for number in (4, 5, 6)]
        found = list(carry_out_each(machine, changes, Terms(all_or_nothing=True)))
    assert results(found) == [(4, "done"), (5, "failed"), (8, "failed"), (4, "taken back")]


class Sparing(Guard):
    """Does not let block 1 go."""

    def __init__(self) -> None:
        pass

    def refusal(self, change: Change) -> BlockError | None:
        refused = BlockError(change.number, "offline", Cause.KEPT_FREE)
        return refused if change.number == 1 else None

    def count(self, outcome: Outcome) -> None:
        pass


@pytest.mark.parametrize("all_or_nothing", [False, True])
def test_where_no_more_may_go_no_other_block_is_tried(all_or_nothing: bool) -> None:
    with lpar() as machine:
        terms = Terms(enough=3, all_or_nothing=all_or_nothing, guard=Sparing())
        found = list(carry_out(machine, Order(Action.DISABLE), [2, 1, 0], terms))
    taken_back = [(2, "taken back")] if all_or_nothing else []
    assert results(found) == [(2, "done"), (1, "not tried"), *taken_back]


def test_an_outcome_holds_its_change() -> None:
    with lpar() as machine:
        change = change_to(machine.block(4), ENABLE)
        (outcome,) = carry_out_each(machine, [change])
        (gone,) = carry_out(machine, ENABLE, [99])
    assert outcome.change is change
    assert outcome.before is change.block
    assert outcome.after.state is change.after.state is State.ONLINE
    assert gone.change.plan.refused is gone.error
    assert isinstance(gone.before, MemoryBlock)


class Told:
    """In place of the journal of a machine that is held: what was noted."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def touch(self, block: MemoryBlock) -> None:
        pass

    def note(self, block: MemoryBlock, action: str) -> None:
        self.said.append(f"{block.number} {action}")

    def clear(self) -> None:
        self.said.append("clear")


def test_taking_back_is_noted_like_the_change_itself() -> None:
    with lpar(config_5="EIO") as machine:
        told = Told()
        terms = Terms(all_or_nothing=True, held=cast(Held, told))
        orders = carry_out(machine, ENABLE, [4, 5], terms)
        assert [outcome.result.value for outcome in orders] == ["done", "failed", "taken back"]
    assert told.said == ["4 enable", "clear", "5 enable", "clear", "4 enable", "clear"]


def test_a_write_after_which_the_kernel_may_need_another_is_noted() -> None:
    """auto_online_blocks may set a block online that is to be offline."""
    with lpar() as machine:
        told = Told()
        offline = Order(Action.APPLY, condition=Condition.OFFLINE)
        list(carry_out(machine, offline, [4], Terms(held=cast(Held, told))))
        list(carry_out(machine, Order(Action.DECONFIGURE), [4], Terms(held=cast(Held, told))))
    assert told.said == ["4 apply", "clear"]


@pytest.mark.parametrize("times", [1, None])
def test_a_block_that_lacked_memory_comes_back_after_the_others(times: int | None) -> None:
    with lpar() as machine:
        assert all(one.result is Result.DONE for one in carry_out(machine, ENABLE, range(4, 7)))
        kernel = cast(KernelTree, machine.tree).kernel
        kernel.set_fault("config", 5, Fault("ENOMEM", times))
        kernel.set_fault("offline", 6, Fault("EBUSY"))
        disable = Order(Action.DISABLE)
        terms = Terms(all_or_nothing=True)
        *_, one, other = carry_out(machine, disable, range(4, 7), terms)
        states = [block.state for block in machine.blocks(["state"])][4:7]
    assert one.number == 4
    assert one.result is Result.TAKEN_BACK
    assert other.number == 5
    refused = [write.errno for write in other.writes if write.undoing]
    if times:
        assert other.result is Result.TAKEN_BACK
        assert not other.stuck
        assert refused == [errno.ENOMEM, None, None]
        assert states == [State.ONLINE] * 3
    else:
        assert other.stuck
        assert refused == [errno.ENOMEM] * 2
        assert states == [State.ONLINE, State.OFFLINE, State.ONLINE]
