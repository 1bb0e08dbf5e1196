"""What memory blocks hold, and so whether they can be set offline."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.machine import Machine
from memory_hotplug.seen.in_use import corrupted
from memory_hotplug.seen.kernel_log import Failed, failures_on, poisoned_on
from memory_hotplug.seen.pages import Candidate, Contents, Kind, Pages, candidate, page_size_of
from memory_hotplug.table import BlockTable

__all__ = ["BlockContents", "Finding", "contents_of", "look_into"]

PINNED = "pinned"
READ_WHOLE = 128
"""Of so many blocks all pages are read, which takes a second or two; of more a sample."""

_SIZES: dict[str, Callable[[Contents], int]] = {
    "free": lambda there: there.size(Kind.FREE),
    "movable": lambda there: there.size(Kind.MOVABLE),
    "unmovable": lambda there: there.unmovable,
    "hugetlb": lambda there: there.size(Kind.HUGETLB),
}


class BlockContents(NamedTuple):
    """What the blocks of a table hold."""

    contents: dict[int, Contents]
    """Block -> what it holds; only of online blocks, and none if nobody may know."""
    candidates: dict[int, Candidate | None]
    failed: dict[int, Failed]
    """Block -> the page that kept it online the last time, by the kernel log."""
    poisoned: dict[int, Sequence[int]]
    """Block -> the addresses of its pages that are poisoned; without those of which nothing is
    known."""
    known: bool
    """Whether this user is told what pages hold."""
    unplaced: bool
    """Whether the kernel counts more poisoned pages than are known."""

    @property
    def empty(self) -> set[str]:
        """The columns that tell nothing of any block."""
        words = set() if self.unplaced or any(self.poisoned.values()) else {"poisoned"}
        if self.known:
            return words
        words |= set() if any(map(self.blockers, self.candidates)) else {"blockers"}
        return words if self.contents else {*words, *_SIZES}

    def size(self, numbers: Iterable[int], name: str) -> int | None:
        """The bytes of blocks in pages with that name of _SIZES; None if nobody knows."""
        there = map(self.contents.get, numbers)
        known = [_SIZES[name](contents) for contents in there if contents is not None]
        return sum(known) if known else None

    def poisoned_pages(self, numbers: Iterable[int]) -> int | None:
        """How many pages of blocks are poisoned, as far as is known; None if nothing is."""
        known = [len(self.poisoned[number]) for number in numbers if number in self.poisoned]
        return sum(known) if known else None

    def candidate(self, number: int) -> str | None:
        """The word for whether a block can be set offline."""
        found = self.candidates[number]
        return found.value if found else None

    def page(self, number: int) -> int | None:
        """The address of the page that kept a block online the last time, or will do so."""
        there, failed = self.contents.get(number), self.failed.get(number)
        if there is None:
            return None
        if there.first:
            return there.first[0] * there.page_size
        return failed.frame * there.page_size if failed else None

    def blockers(self, number: int) -> list[str]:
        """The words for what keeps a block online, or may."""
        there = self.contents.get(number)
        words = [kind.value for kind in there.blockers] if there else []
        if number in self.failed:
            words.append(PINNED)
        return words


def _began(count: int, number: int) -> None:
    """Nobody wants to know."""


def contents_of(
    machine: Machine,
    table: BlockTable,
    *,
    whole: bool = False,
    began: Callable[[int, int], None] = _began,
) -> BlockContents:
    """What the online blocks of TABLE hold; WHOLE reads all pages however many there are. Before
    each block BEGAN is called with the count of those before, and its number."""
    blocks = list(table.blocks())
    failed = failures_on(machine)
    pages = Pages.of(machine.tree, machine.block_size)
    contents: dict[int, Contents] = {}
    with pages or nullcontext():
        online = [block.number for block in blocks if block.state is State.ONLINE]
        for count, number in enumerate(online if pages else ()):
            began(count, number)
            assert pages
            there = pages.contents(number, whole=whole or len(online) <= READ_WHOLE)
            if there is not None:
                contents[number] = there
    candidates = {
        block.number: _judged(block, contents.get(block.number), block.number in failed)
        for block in blocks
    }
    poisoned, unplaced = _poisoned(machine, table, contents)
    return BlockContents(contents, candidates, failed, poisoned, pages is not None, unplaced)


def _poisoned(
    machine: Machine, table: BlockTable, contents: Mapping[int, Contents]
) -> tuple[dict[int, Sequence[int]], bool]:
    """Block -> the addresses of its poisoned pages, by their flags and by the kernel log; and
    whether the kernel counts more than these."""
    log, counted = poisoned_on(machine), corrupted(machine.tree)
    found: dict[int, Sequence[int]] = {}
    for number in table.numbers:
        there = contents.get(number)
        by_flags = [frame * there.page_size for frame in there.poisoned] if there else []
        if there and there.whole:
            found[number] = by_flags
        elif there or log is not None:
            found[number] = sorted({*by_flags, *(log or {}).get(number, ())})
    placed = sum(map(len, ({**(log or {}), **found}).values())) * page_size_of(machine.tree)
    if counted is not None and placed < counted:
        # Others may be anywhere but in blocks of which all pages were looked at.
        sure = {number for number, there in contents.items() if there.whole}
        return {one: pages for one, pages in found.items() if pages or one in sure}, True
    return found, False


def _judged(block: MemoryBlock, contents: Contents | None, failed: bool) -> Candidate | None:
    found = candidate(block, contents)
    # A page that could not be moved before may be pinned still.
    return Candidate.MAYBE if failed and found is Candidate.YES else found


class Finding(NamedTuple):
    """What is known of whether a block can be set offline. Sizes are in bytes; None is what nobody
    tells, as of a block that is not online."""

    number: int
    candidate: str | None
    """Whether it can: yes, maybe or no."""
    blockers: tuple[str, ...]
    """What keeps it online, or may: the kinds of pages, the most frequent first, and `pinned`."""
    page: int | None
    """The physical address of the first page that cannot be moved, as far as it is known."""
    free: int | None
    movable: int | None
    unmovable: int | None
    hugetlb: int | None
    poisoned: int | None
    """The number of pages that failed, and are in use no more."""


_NEEDED = (Attribute.STATE, Attribute.ZONES, Attribute.REMOVABLE)


def look_into(machine: Machine, numbers: Iterable[int] | None = None) -> list[Finding]:
    """What is known of blocks; of all without NUMBERS. Raises the errors of `Machine.read`."""
    table = machine.read(_NEEDED, numbers)
    found = contents_of(machine, table)
    return [
        Finding(
            number,
            found.candidate(number),
            tuple(found.blockers(number)),
            found.page(number),
            **{name: found.size([number], name) for name in _SIZES},
            poisoned=found.poisoned_pages([number]),
        )
        for number in table.numbers
    ]
