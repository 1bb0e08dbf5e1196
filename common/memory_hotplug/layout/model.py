"""The memory layout that an administrator wants, as memory-layout.d(5) describes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, NamedTuple

from memory_hotplug.block import Zone
from memory_hotplug.condition import Condition

__all__ = ["VERSION", "Entry", "Layout", "Missing", "Policy", "Where", "joined"]

VERSION = 1
"""The version of the format."""


class Missing(Enum):
    """What to do about blocks of an entry that the machine does not have."""

    WAIT = "wait"
    """They may come later: say so; the layout is met in part."""
    IGNORE = "ignore"
    ERROR = "error"
    """Do nothing at all."""


class Where(NamedTuple):
    """A place in a file."""

    file: str = ""
    line: int | None = None
    """From 1; None in JSON."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is to become of memory that is added later; None does not change it."""

    auto_online: str | None = None
    online_policy: str | None = None
    auto_movable_ratio: int | None = None
    """Percent."""
    auto_movable_numa_aware: bool | None = None
    where: Where | None = field(default=None, compare=False)

    @property
    def said(self) -> dict[str, Any]:
        """Key -> value, in the order above, without those that are None."""
        keys = (one.name for one in fields(self) if one.compare)
        return {key: value for key in keys if (value := getattr(self, key)) is not None}

    def over(self, other: "Policy") -> "Policy":
        """OTHER with what this one says in place of that."""
        return replace(other, **self.said, where=self.where or other.where)


@dataclass(frozen=True, slots=True)
class Entry:
    """What some blocks are to be. The blocks are those that all of BLOCKS, ADDRESSES and NODE
    allow; of these, with SIZE, only so many."""

    where: Where
    blocks: tuple[tuple[int, int], ...] = ()
    """First and last block numbers, both inclusive; empty for all."""
    addresses: tuple[tuple[int, int], ...] = ()
    """First and last addresses, both inclusive; empty for all."""
    node: int | None = None
    size: int | None = None
    """Bytes; a floor."""
    highest: bool = False
    """With SIZE, whether blocks are taken from the highest down."""
    condition: Condition = Condition.ONLINE
    zone: Zone | None = None
    memmap_on_memory: bool | None = None
    missing: Missing = Missing.WAIT


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout. Of the entries that match a block, the last one counts."""

    policy: Policy = Policy()
    entries: tuple[Entry, ...] = ()
    keep_free: int | None = None
    """Bytes that are to stay available when memory is taken away; None does not say."""


def joined(layouts: Sequence[Layout]) -> Layout:
    """Several layouts as one. A later file overrides an earlier one, in the policy key by key."""
    policy, keep_free = Policy(), None
    for layout in layouts:
        keep_free = keep_free if layout.keep_free is None else layout.keep_free
        policy = layout.policy.over(policy)
    entries = tuple(entry for layout in layouts for entry in layout.entries)
    return Layout(policy, entries, keep_free)
