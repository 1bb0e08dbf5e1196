"""Two faults in one call: what is told of every block is what the machine is."""

import errno
import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from memory_hotplug.block import MemoryBlock, same_condition
from memory_hotplug.change.batch import carry_out
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import Action, Order, change_to
from memory_hotplug.change.transaction import Terms
from memory_hotplug.machine import Machine
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import boot
from simulated import HALF_ONLINE, s390, x86


class Fault(NamedTuple):
    """The write that fails, counted from 0, its error, and whether it had its effect all the same
    or everything after it fails as well."""

    write: int
    error: int
    kind: str


class Faulty(KernelTree):
    """A machine of which some writes fail."""

    faults: tuple[Fault, ...] = ()
    writes = 0

    def write(self, path: str, word: str) -> None:
        number, self.writes = self.writes, self.writes + 1
        for fault in self.faults:
            later = fault.kind == "from then on" and number > fault.write
            if number == fault.write or later:
                if fault.kind == "after its effect":
                    super().write(path, word)
                raise OSError(fault.error, os.strerror(fault.error), path)
        super().write(path, word)


ONLINE_KERNEL = {**s390(), "auto_online_blocks": "online_kernel"}
SEQUENCES = {
    "enable": (s390(), Order(Action.ENABLE), (4, 5)),
    "enable with struct pages elsewhere": (
        s390(),
        Order(Action.ENABLE, memmap_on_memory=False),
        (4, 5),
    ),
    "enable where the kernel is quicker": (ONLINE_KERNEL, Order(Action.ENABLE), (4, 5)),
    "disable": (s390(), Order(Action.DISABLE), (1, 2)),
    "configure": (s390(), Order(Action.CONFIGURE, memmap_on_memory=False), (4, 5)),
    "deconfigure": (HALF_ONLINE, Order(Action.DECONFIGURE), (4, 5)),
    "reconfigure": (s390(), Order(Action.RECONFIGURE, memmap_on_memory=True), (1, 2)),
    "reconfigure offline blocks": (
        HALF_ONLINE,
        Order(Action.RECONFIGURE, memmap_on_memory=True),
        (4, 5),
    ),
    "enable on x86": (x86(), Order(Action.ENABLE), (4, 5)),
    "disable on x86": (x86(), Order(Action.DISABLE), (1, 2)),
}
ERRORS = (errno.EBUSY, errno.EIO, errno.EAGAIN, errno.EINTR, errno.ENOMEM, errno.ENOSPC)
KINDS = ("once", "from then on", "after its effect")


def pairs() -> Iterator[tuple[Fault, Fault]]:
    """Every two writes of the first twelve, with an error and a kind each that vary with them."""
    choices = itertools.cycle(itertools.product(ERRORS, KINDS))
    others = itertools.cycle(itertools.product(KINDS, reversed(ERRORS)))
    for first, second in itertools.combinations(range(12), 2):
        for _ in range(3):
            (error, kind), (other_kind, other_error) = next(choices), next(others)
            yield Fault(first, error, kind), Fault(second, other_error, other_kind)
            next(others)


def check(outcome: Outcome, now: MemoryBlock, order: Order, all_or_nothing: bool) -> None:
    """An outcome against the machine."""
    asked = change_to(now, order).plan.already
    same = same_condition(now, outcome.before)
    assert same_condition(outcome.after, now)
    match outcome.result:
        case Result.DONE:
            assert asked
        case Result.ALREADY:
            assert asked
        case Result.TAKEN_BACK:
            assert same
        case _:
            # An offline block counts as disabled, and as reconfigured when only its state is lost.
            half = order.action in (Action.DISABLE, Action.RECONFIGURE)
            kept = order.action is Action.DISABLE and not all_or_nothing
            assert same or outcome.stuck or kept
            assert same or not asked or half
            assert outcome.error or outcome.stuck


@pytest.mark.parametrize("all_or_nothing", [False, True])
@pytest.mark.parametrize("name", SEQUENCES)
def test_what_is_told_is_what_is_so_after_two_faults(
    name: str, all_or_nothing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    described, order, numbers = SEQUENCES[name]
    for faults in pairs():
        tree = Faulty(boot(described))
        machine = Machine(tree)
        before = {block.number: block for block in machine.blocks()}
        tree.faults = faults
        told = {
            outcome.number: outcome
            for outcome in carry_out(machine, order, numbers, Terms(all_or_nothing=all_or_nothing))
        }
        tree.faults = ()
        for block in machine.blocks():
            try:
                if block.number in told:
                    check(told[block.number], block, order, all_or_nothing)
                else:
                    assert same_condition(block, before[block.number])
            except AssertionError:
                raise AssertionError(f"{name}, {faults}: {told.get(block.number)}") from None
