"""Sequences of steps, driven from Python on machines in memory."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.batch import carry_out
from memory_hotplug.change.lock import Held
from memory_hotplug.change.outcome import Result
from memory_hotplug.change.plan import Action, Order
from memory_hotplug.change.transaction import Patience, Terms, Watch
from memory_hotplug.errors import NoSuchBlockError, StoppedError
from memory_hotplug.machine import Machine
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import boot
from simulated import s390, x86


def test_a_machine_in_memory_is_driven_from_python() -> None:
    machine = Machine(KernelTree(boot(s390(faults={"config": {"5": "EIO"}}))))
    order = Order(Action.ENABLE, zone=Zone.MOVABLE)
    wanted = [block for block in machine.blocks() if block.number >= 4]
    outcomes = list(carry_out(machine, order, wanted))
    results = [(outcome.number, outcome.result.value) for outcome in outcomes]
    assert results == [(4, "done"), (5, "failed"), (6, "done"), (7, "done")]
    assert outcomes[1].error is not None
    assert outcomes[1].error.errno_name == "EIO"


def test_an_exception_of_any_kind_undoes_the_block_at_work() -> None:
    kernel = boot(s390())

    class Impatient(KernelTree):
        def write(self, path: str, word: str) -> None:
            super().write(path, word)
            if path.endswith("config") and word == "1":
                raise KeyboardInterrupt

    machine = Machine(Impatient(kernel))
    before = list(machine.blocks())
    order = Order(Action.ENABLE, memmap_on_memory=False)
    with pytest.raises(KeyboardInterrupt):
        list(carry_out(machine, order, before[4:]))
    assert list(machine.blocks()) == before


def test_a_block_that_somebody_else_set_online_just_before_the_write_is_so_already() -> None:
    class Quicker(KernelTree):
        def write(self, path: str, word: str) -> None:
            if path.endswith("state"):
                self.sysfs.write(path, b"online_movable")
            super().write(path, word)

    machine = Machine(Quicker(boot(x86())))
    order = Order(Action.ENABLE)
    (outcome,) = carry_out(machine, order, [machine.block(4)])
    assert outcome.result is Result.ALREADY
    assert outcome.after.state is State.ONLINE
    assert [write.happened for write in outcome.writes] == [True]


@pytest.mark.parametrize("error", [StoppedError(), InterruptedError(errno.EINTR, "")])
def test_a_write_that_was_interrupted_after_its_effect_has_changed_the_block(
    error: Exception,
) -> None:
    class Interrupted(KernelTree):
        def write(self, path: str, word: str) -> None:
            super().write(path, word)
            raise error

    machine = Machine(Interrupted(boot(x86())))
    (outcome,) = carry_out(machine, Order(Action.ENABLE), [machine.block(4)])
    assert outcome.result is Result.DONE
    assert outcome.after.state is State.ONLINE
    assert [(write.errno, write.happened) for write in outcome.writes] == [(errno.EINTR, True)]


def test_what_cannot_be_undone_is_told() -> None:
    machine = Machine(KernelTree(boot(s390(faults={"config": {"1": "EIO"}}))))
    order = Order(Action.RECONFIGURE, memmap_on_memory=True)
    (outcome,) = carry_out(machine, order, [machine.block(1)])
    assert outcome.result is Result.FAILED
    assert outcome.stuck is not None
    assert outcome.undone == ("memmap-on-memory",)
    assert outcome.after.configured is False


def test_an_online_block_is_not_deconfigured() -> None:
    machine = Machine(KernelTree(boot(s390())))
    order = Order(Action.DECONFIGURE)
    (outcome,) = carry_out(machine, order, [machine.block(1)])
    assert outcome.error is not None
    assert outcome.error.cause is Cause.NOT_OFFLINE
    assert outcome.writes == ()


def test_numbers_are_read_before_they_are_worked_on() -> None:
    machine = Machine(KernelTree(boot(s390())))
    (outcome,) = carry_out(machine, Order(Action.DISABLE), [1])
    assert outcome.result is Result.DONE
    assert machine.block(1).configured is False


def test_a_block_of_which_only_the_state_was_read_is_read_again() -> None:
    machine = Machine(KernelTree(boot(s390())))
    half_known = next(machine.blocks(["state"]))
    (outcome,) = carry_out(machine, Order(Action.DISABLE), [half_known])
    assert outcome.result is Result.DONE
    assert outcome.after.configured is False
    assert machine.block(0).configured is False


@pytest.mark.parametrize("described", [s390(), x86()])
def test_a_number_that_is_no_block_fails(described: dict[str, Any]) -> None:
    machine = Machine(KernelTree(boot(described)))
    found = list(carry_out(machine, Order(Action.ENABLE), [4, 99, 5]))
    assert [outcome.result for outcome in found] == [Result.DONE, Result.FAILED, Result.DONE]
    assert found[1].error is not None
    error = found[1].error
    assert (error.number, error.step, error.cause) == (99, "enable", Cause.NO_SUCH_BLOCK)
    nothing = MemoryBlock(99, State.UNKNOWN, zones=None, configured=None, memmap_on_memory=None)
    assert found[1].before == found[1].after == nothing
    assert found[1].change.order == Order(Action.ENABLE)
    with pytest.raises(NoSuchBlockError):
        machine.block(99)


def test_nothing_is_configured_where_memory_needs_no_configuring() -> None:
    machine = Machine(KernelTree(boot(x86())))
    before = list(machine.blocks())
    order = Order(Action.RECONFIGURE, memmap_on_memory=True)
    (outcome,) = carry_out(machine, order, [1])
    assert outcome.result is Result.FAILED
    assert outcome.writes == ()
    assert list(machine.blocks()) == before


class Spy:
    """In place of the record of a machine that is held: what was noted, and when it was cleared."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def touch(self, block: MemoryBlock) -> None:
        pass

    def note(self, block: MemoryBlock, action: str) -> None:
        self.told.append(f"{action} {block.number}, {block.state.value}")

    def clear(self) -> None:
        self.told.append("clear")


@pytest.mark.parametrize(
    ("order", "number", "told"),
    [
        (Order(Action.ENABLE), 4, ["enable 4, offline", "clear"]),
        (Order(Action.CONFIGURE), 4, []),
        (Order(Action.DISABLE), 3, ["disable 3, online", "clear"]),
        (Order(Action.CONFIGURE, memmap_on_memory=False), 4, ["configure 4, offline", "clear"]),
    ],
)
def test_a_block_that_takes_several_writes_is_recorded(
    order: Order, number: int, told: list[str]
) -> None:
    spy, machine = Spy(), Machine(KernelTree(boot(s390())))
    (outcome,) = carry_out(machine, order, [number], Terms(held=cast(Held, spy)))
    assert (outcome.result, spy.told) == (Result.DONE, told)


def test_an_exception_before_anything_is_noted_undoes_the_write_all_the_same() -> None:
    """The only write had its effect, and then a signal's handler raised."""

    class Impatient(KernelTree):
        armed = True

        def write(self, path: str, word: str) -> None:
            super().write(path, word)
            if self.armed:
                self.armed = False
                raise KeyboardInterrupt

    machine = Machine(Impatient(boot(s390())))
    before = machine.block(4)
    with pytest.raises(KeyboardInterrupt):
        list(carry_out(machine, Order(Action.CONFIGURE), [4]))
    assert machine.block(4) == before


def test_an_undoing_that_a_signal_interrupts_is_tried_again() -> None:
    class Interrupted(KernelTree):
        times = 2

        def write(self, path: str, word: str) -> None:
            if word.startswith("online"):
                raise OSError(errno.EIO, "Input/output error")
            if word == "0" and path.endswith("config") and self.times:
                self.times -= 1
                raise InterruptedError(errno.EINTR, "Interrupted system call")
            super().write(path, word)

    machine = Machine(Interrupted(boot(s390() | {"auto_online_blocks": "offline"})))
    before = machine.block(4)
    (outcome,) = carry_out(machine, Order(Action.ENABLE), [4])
    assert (outcome.result, outcome.stuck) == (Result.FAILED, None)
    assert outcome.writes[-1].tries == 3
    assert machine.block(4) == before


def test_who_watches_is_told_the_step_and_the_pause_before_it_is_tried_again() -> None:
    class Watching(Watch):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        @contextmanager
        def during(self, step: str) -> Iterator[None]:
            self.seen.append(step)
            yield

    machine = Machine(KernelTree(boot(s390(faults={"offline": {"3": "EBUSY"}}))))
    watch = Watching()
    (outcome,) = carry_out(
        machine, Order(Action.DISABLE), [3], Terms(watch=watch, patience=Patience(busy=1))
    )
    assert outcome.result is Result.FAILED
    assert watch.seen == ["offline", "pause", "offline"]


@pytest.mark.parametrize(
    ("faults", "order", "number", "stoppable", "steady"),
    [
        # What is taken back.
        (
            {"online": {"4": "EINVAL"}},
            Order(Action.ENABLE),
            4,
            ["configure", "online"],
            ["deconfigure"],
        ),
        # What leads back to online.
        (
            {},
            Order(Action.RECONFIGURE, memmap_on_memory=True),
            3,
            ["offline", "deconfigure", "memmap-on-memory"],
            ["configure", "online"],
        ),
    ],
)
def test_a_step_back_to_what_was_can_not_be_stopped(
    faults: dict[str, Any], order: Order, number: int, stoppable: list[str], steady: list[str]
) -> None:
    class Watching(Watch):
        def __init__(self) -> None:
            super().__init__()
            self.stoppable: list[str] = []
            self.steady: list[str] = []

        @contextmanager
        def during(self, step: str) -> Iterator[None]:
            self.stoppable.append(step)
            yield

        @contextmanager
        def limiting(self, step: str) -> Iterator[None]:
            self.steady.append(step)
            yield

    machine = Machine(KernelTree(boot(s390(faults=faults))))
    watch = Watching()
    list(carry_out(machine, order, [number], Terms(watch=watch)))
    assert (watch.stoppable, watch.steady) == (stoppable, steady)


def test_who_stops_between_blocks_gets_all_of_them_back() -> None:
    class Stopping(Watch):
        stopping = False

    machine = Machine(KernelTree(boot(s390())))
    before = list(machine.blocks())
    watch, results = Stopping(), []
    for outcome in carry_out(
        machine, Order(Action.ENABLE), [4, 5, 6], Terms(watch=watch, all_or_nothing=True)
    ):
        results.append((outcome.number, outcome.result))
        watch.stopping = len(results) == 2
    assert results == [
        *((4, Result.DONE), (5, Result.DONE)),
        *((5, Result.TAKEN_BACK), (4, Result.TAKEN_BACK)),
    ]
    assert list(machine.blocks()) == before


@pytest.mark.parametrize("zone", [Zone.MOVABLE, Zone.NORMAL])
def test_without_observation_the_zone_of_a_block_is_known_if_it_was_chosen(zone: Zone) -> None:
    machine = Machine(KernelTree(boot(x86())))
    (outcome,) = carry_out(machine, Order(Action.ENABLE, zone), [4], Terms(observe=False))
    assert outcome.result is Result.DONE
    assert outcome.after.zones == (zone,)
    assert zone_of(machine.block(4)) is zone


def test_a_block_that_is_given_whole_is_not_read_before_it_is_changed() -> None:
    class Counting(KernelTree):
        reads = 0

        def read(self, path: str) -> bytes:
            self.reads += 1
            return super().read(path)

    machine = Machine(tree := Counting(boot(x86())))
    block = machine.block(4)
    tree.reads = 0
    (outcome,) = carry_out(machine, Order(Action.ENABLE), [block], Terms(observe=False))
    assert outcome.result is Result.DONE
    read_once = tree.reads
    list(carry_out(machine, Order(Action.DISABLE), [4]))
    (outcome,) = carry_out(machine, Order(Action.ENABLE), [5], Terms(observe=False))
    assert outcome.result is Result.DONE
    assert read_once <= 4
