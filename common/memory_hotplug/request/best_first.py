"""Which blocks to try first, and which page kept a block online, by what the pages hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from memory_hotplug.attribute import NODE, Attribute
from memory_hotplug.block import MemoryBlock, Zone, zone_of
from memory_hotplug.change.plan import Change
from memory_hotplug.change.removal import NOTHING_KNOWN, emptying
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.selection import Selection
from memory_hotplug.seen.owners import node_list
from memory_hotplug.seen.pages import Candidate, Kind, Pages, candidate

__all__ = ["Arranged", "Staying", "arranged", "staying"]


class Staying(NamedTuple):
    """A page that kept a block online."""

    address: int
    """The physical address of its first byte."""
    what: str
    """What it is."""


class Arranged:
    """Changes of blocks for a SIZE, in the order of trying: those that cannot be set offline come
    last, and devices become empty one after the other.

    A block is looked at when its turn comes, and once only, however often this is iterated.
    """

    def __init__(
        self, machine: Machine, selection: Selection, pages: Pages | None, *, best: bool
    ) -> None:
        """With BEST what costs least comes first; PAGES must be known then."""
        self._pages, self._selection, self._best = pages, selection, best
        self._removal = selection.removal or NOTHING_KNOWN
        self._changes = selection.changes
        if best and pages:
            self._changes = _fewest_used(machine, pages, selection.changes)
        self._stays: dict[int, bool] = {}

    def __iter__(self) -> Iterator[Change]:
        asked, removal = self._selection.asked, self._removal
        return emptying(self._changes, asked, removal, self.stays, fewest=not self._best)

    def stays(self, block: MemoryBlock) -> bool:
        """Whether the block holds what cannot be moved.

        The kernel puts nothing of that into zone Movable. Memory from boot can have holes there,
        and what was allocated before there were zones (mm/page_isolation.c, has_unmovable_pages);
        that of a device cannot, and looking would take longer than setting it offline.
        """
        brought = block.number in self._removal.devices
        if self._pages is None or (brought and zone_of(block) is Zone.MOVABLE):
            return False
        if block.number not in self._stays:
            judged = candidate(block, self._pages.contents(block.number))
            self._stays[block.number] = judged is Candidate.NO
        return self._stays[block.number]


@contextmanager
def arranged(machine: Machine, selection: Selection, order: str) -> Iterator[Iterable[Change]]:
    """The changes of a SELECTION that leaves a choice, in the order of trying: `auto` or `best`."""
    pages = Pages.of(machine.tree, machine.block_size)
    with pages or nullcontext():
        yield Arranged(machine, selection, pages, best=order == "best" and pages is not None)


def _fewest_used(machine: Machine, pages: Pages, changes: Sequence[Change]) -> Sequence[Change]:
    """Blocks of nodes without processors first, then those with the least memory in use."""
    busy = _nodes_with_processors(machine)
    found = machine.read((Attribute.NODES,), {change.number for change in changes}).blocks()
    nodes = {block.number: block.nodes or () for block in found}

    def key(change: Change) -> tuple[bool, int, int]:
        number = change.number
        contents = pages.contents(number, whole=False)
        used = contents.used if contents else machine.block_size
        return not busy.isdisjoint(nodes.get(number, ())), used, -number

    return sorted(changes, key=key)


def _nodes_with_processors(machine: Machine) -> set[int]:
    try:
        return node_list(machine.tree.read(f"{NODE}/has_cpu"))
    except OSError:
        return set()


def staying(machine: Machine, number: int) -> Staying | None:
    """The page that kept a block online just now; None if that is not known."""
    pages = Pages.of(machine.tree, machine.block_size)
    if pages is None:
        return None
    # It has many regular expressions, and most blocks do not fail.
    from memory_hotplug.seen.kernel_log import failures_on

    with pages:
        failed = failures_on(machine).get(number)
        if failed:
            kind = pages.kind(failed.frame) or Kind.MOVABLE
            moves = kind in (Kind.MOVABLE, Kind.HUGETLB, Kind.FREE)
            return Staying(failed.frame * pages.page_size, "pinned" if moves else kind.value)
        there = pages.contents(number)
    if there is None or there.first is None:
        return None
    frame, kind = there.first
    return Staying(frame * pages.page_size, kind.value)
