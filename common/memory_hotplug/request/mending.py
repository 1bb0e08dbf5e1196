"""Hold a machine while it is changed, and restore the block that a killed one left half done."""

from __future__ import annotations

import os
from collections.abc import Callable

from memory_hotplug.change.batch import bring_back, restored
from memory_hotplug.change.lock import Held, Holder, Mended, held_here, hold, left_by
from memory_hotplug.change.transaction import Watch
from memory_hotplug.errors import CannotWriteError, HeldError
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.change.rehearsal import Rehearsal

__all__ = ["Ahead", "hold_and_mend", "mended_ahead"]


def hold_and_mend(
    machine: Machine,
    watch: Watch,
    *,
    timeout: float | None,
    waiting: Callable[[Holder], None],
    unrecorded: Callable[[OSError], None],
) -> Held:
    """Hold a machine, and restore the block that was left half done; see `lock.hold`.

    Raises HeldError, at once if this thread holds the machine already; CannotWriteError if the tree
    has no place to hold it by; and StoppedError if WATCH ends the waiting.
    """
    tree = machine.tree
    if held_here(tree.place):
        raise HeldError(os.getpid(), None)
    try:
        with watch.during("hold"):
            held = hold(
                tree.place,
                this_machine=tree.is_this_machine,
                timeout=timeout,
                waiting=waiting,
                unrecorded=unrecorded,
            )
    except OSError as error:
        raise CannotWriteError(tree.place, error) from None
    try:
        left = held.left
        outcome = bring_back(machine, held)
    except BaseException:
        held.close()
        raise
    held.mended = Mended(left, outcome) if left and outcome else None
    return held


class Ahead(NamedTuple):
    """A machine as a run finds it, for a dry run."""

    tree: Rehearsal
    mended: Mended | None
    """The block that a run restores before all else; it is so in the tree."""


def mended_ahead(machine: Machine) -> Ahead:
    """What a run finds on MACHINE. Nothing is written, and nobody is waited for."""
    from memory_hotplug.change.rehearsal import Rehearsal

    behind = machine.tree
    tree = Rehearsal(machine)
    left = left_by(behind.place, this_machine=behind.is_this_machine)
    outcome = restored(Machine(tree), left) if left else None
    return Ahead(tree, Mended(left, outcome) if left and outcome else None)
