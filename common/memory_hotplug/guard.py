"""Look at the memory in use before each block is taken away.

What is so at that moment counts: memory that was to come and failed to come is not there, and a
block that was to come back and did not is gone.
"""

from memory_hotplug.block import State
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BlockError
from memory_hotplug.machine import Machine
from memory_hotplug.plan import Change
from memory_hotplug.steps import OFFLINE
from memory_hotplug.usage import usage

__all__ = ["Guard", "takes_memory"]


def takes_memory(change: Change) -> bool:
    """Whether a block that is online is set offline, be it for a moment."""
    if change.block.state is not State.ONLINE:
        return False
    return any(after.state is not State.ONLINE for _, after in change.stages())


class Guard:
    """Takes care that memory remains available on MACHINE."""

    def __init__(self, machine: Machine, keep_free: int | None = None) -> None:
        """KEEP_FREE bytes are to stay available; None is the default of `Usage.most_to_take`."""
        self._machine = machine
        self._keep_free = keep_free

    def refusal(self, change: Change) -> BlockError | None:
        """The reason not to begin CHANGE now; None if there is none, or nobody tells how much
        memory is in use."""
        if not takes_memory(change):
            return None
        now = usage(self._machine)
        if now is None or now.most_to_take(self._keep_free) >= self._machine.block_size:
            return None
        return BlockError(change.number, OFFLINE.name, Cause.KEPT_FREE)
