"""The outcome of an order for a block, and the writes that were tried."""

from __future__ import annotations

from enum import Enum

from memory_hotplug.block import MemoryBlock, Zone, zone_of
from memory_hotplug.change.plan import Change
from memory_hotplug.errors import BlockError, StuckError
from memory_hotplug.named_tuple import NamedTuple

__all__ = ["Outcome", "Result", "Write"]


class Result(Enum):
    """What became of a block."""

    DONE = "done"
    ALREADY = "already"
    """It was as requested before."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    TAKEN_BACK = "taken back"
    """It was changed, and the change was undone because another block failed."""
    NOT_TRIED = "not tried"
    """Not begun, to keep the machine alive: no memory was left for its struct pages, too little
    would have stayed available, or zone Movable would be too large. The error says which."""


class Write(NamedTuple):
    """A write that was tried."""

    step: str
    """Its name, such as online or configure."""
    path: str
    """Relative to the root, without a leading slash."""
    word: str
    """What was written."""
    errno: int | None
    """Of the last try; None if it succeeded."""
    happened: bool
    """Whether the effect of the step is there, even if the write failed."""
    undoing: bool
    """Whether it was to undo a step."""
    tries: int = 1
    """How often it was tried."""


_INVERSE = {
    "online": "offline",
    "offline": "online",
    "configure": "deconfigure",
    "deconfigure": "configure",
}


class Outcome(NamedTuple):
    """What was done to a block."""

    result: Result
    change: Change
    """What was to be done."""
    after: MemoryBlock
    """Read from the machine; after a success without OBSERVE, what the steps should leave."""
    writes: tuple[Write, ...] = ()
    error: BlockError | None = None
    """Why the block is not as it was to be."""
    stuck: StuckError | None = None
    """Why the block could not be brought back."""

    @property
    def before(self) -> MemoryBlock:
        return self.change.block

    @property
    def number(self) -> int:
        return self.change.number

    @property
    def home(self) -> Zone | None:
        """The zone to which the block is brought back, or that it was in; None if there is none."""
        target = self.change.plan.target
        return (target.zone if target.returning else None) or zone_of(self.before)

    @property
    def moved(self) -> bool:
        """Whether the block is online in another zone than `home`. At the edge of a zone's span
        the kernel may offer no way back."""
        zones = self.home, zone_of(self.after)
        return None not in zones and zones[0] is not zones[1]

    @property
    def undone(self) -> tuple[str, ...]:
        """The steps that were undone, in the order of undoing."""
        return tuple(
            _INVERSE.get(write.step, write.step)
            for write in self.writes
            if write.undoing and write.happened
        )
