"""What a block is after a change is answered once: the kernel and the dry run say the same."""

import itertools

import pytest

from memory_hotplug import Machine
from memory_hotplug.attribute import AUTO_ONLINE_BLOCKS, path_of
from memory_hotplug.block import MemoryBlock, State, Zone, same_condition, zone_of
from memory_hotplug.change.batch import carry_out_each
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import NEEDED, Action, Order, change_to
from memory_hotplug.change.rehearsal import Rehearsal
from memory_hotplug.condition import Condition
from memory_hotplug.errors import BadOrderError
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import PROFILES, boot

ZONES = (None, Zone.NORMAL, Zone.MOVABLE)


def orders() -> list[Order]:
    """Every order that has a meaning."""
    found = []
    conditions = (None, *Condition)
    for parts in itertools.product(Action, ZONES, (None, False, True), (True,), conditions):
        try:
            found.append(Order(*parts))
        except BadOrderError:
            continue
    return found


def blocks_of(machine: Machine) -> list[MemoryBlock]:
    """One block of each kind."""
    kinds = {block[1:]: block for block in machine.read(NEEDED).blocks()}
    return list(kinds.values())


def outcomes(machine: Machine, order: Order) -> list[Outcome]:
    changes = [change_to(block, order) for block in blocks_of(machine)]
    return list(carry_out_each(machine, changes))


@pytest.mark.parametrize("word", ["offline", "online", "online_kernel", "online_movable"])
@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"huge"}))
def test_the_kernel_the_dry_run_and_the_plan_agree_on_what_a_block_is_afterwards(
    profile: str, word: str
) -> None:
    for order in orders():
        with Machine(KernelTree(boot(profile))) as machine:
            machine.tree.write(path_of(AUTO_ONLINE_BLOCKS), word)
            rehearsed = outcomes(Machine(Rehearsal(machine)), order)
            done = outcomes(machine, order)
        for dry, real in zip(rehearsed, done, strict=True):
            if real.result is Result.DONE:
                expected = real.change.after
                assert dry.result is Result.DONE
                assert same_condition(dry.after, real.after), order
                assert zone_of(dry.after) is zone_of(real.after), order
                if word != "offline" and real.writes[-1].step == "configure":
                    # The kernel itself sets it online.
                    assert real.after.state is State.ONLINE
                    continue
                assert same_condition(real.after, expected), order
                assert zone_of(expected) in (None, zone_of(real.after)), order
