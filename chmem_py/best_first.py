"""Which blocks to try first, and which page kept a block online, by what the pages hold."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from chmem_py.selection import Selection
from memory_hotplug.attribute import NODE, Attribute
from memory_hotplug.block import MemoryBlock
from memory_hotplug.change.plan import Change
from memory_hotplug.machine import Machine
from memory_hotplug.seen.kernel_log import failures_on
from memory_hotplug.seen.owners import node_list
from memory_hotplug.seen.pages import Candidate, Kind, Pages, candidate


class Staying(NamedTuple):
    """A page that kept a block online."""

    address: int
    """The physical address of its first byte."""
    what: str
    """What it is."""


class Likely:
    """Changes of blocks, of which those that cannot be set offline come last.

    A block is looked at when its turn comes, and once only, however often this is iterated.
    """

    def __init__(self, pages: Pages, changes: Sequence[Change]) -> None:
        self._pages, self._changes = pages, changes
        self._stays: dict[int, bool] = {}

    def __iter__(self) -> Iterator[Change]:
        last = []
        for change in self._changes:
            if self.stays(change.block):
                last.append(change)
            else:
                yield change
        yield from last

    def stays(self, block: MemoryBlock) -> bool:
        """Whether the block holds what cannot be moved."""
        if block.number not in self._stays:
            judged = candidate(block, self._pages.contents(block.number))
            self._stays[block.number] = judged is Candidate.NO
        return self._stays[block.number]


@contextmanager
def arranged(machine: Machine, selection: Selection, order: str) -> Iterator[Iterable[Change]]:
    """The changes of a SELECTION that leaves a choice, in the order of trying: `auto` or `best`."""
    changes = selection.changes
    pages = Pages.of(machine.tree, machine.block_size)
    if pages is None:
        yield changes
        return
    with pages:
        yield Likely(pages, _fewest_used(machine, pages, changes) if order == "best" else changes)


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
