"""What memory blocks hold, and so whether they can be set offline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from hotplug_cli.progress import Progress
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.machine import Machine
from memory_hotplug.seen.kernel_log import Failed, failures_on, poisoned_on
from memory_hotplug.seen.pages import Candidate, Contents, Kind, Pages, candidate
from memory_hotplug.table import BlockTable, MemoryRange

__all__ = ["BlockContents", "format_log", "read_contents"]

PINNED = "pinned"
_READ_WHOLE = 128
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

    @property
    def empty(self) -> set[str]:
        """The columns that tell nothing of any block."""
        words = set() if any(self.poisoned.values()) else {"poisoned"}
        if self.known:
            return words
        words |= set() if any(map(self.blockers, self.candidates)) else {"blockers"}
        return words if self.contents else {*words, *_SIZES}

    def size(self, found: MemoryRange, name: str) -> int | None:
        """The bytes of a range in pages with that name of _SIZES; None if nobody knows."""
        there = (self.contents.get(number) for number in range(found.first, found.last + 1))
        known = [_SIZES[name](contents) for contents in there if contents is not None]
        return sum(known) if known else None

    def poisoned_pages(self, found: MemoryRange) -> int | None:
        """How many pages of a range are poisoned, as far as is known; None if nothing is."""
        known = [
            len(self.poisoned[number])
            for number in range(found.first, found.last + 1)
            if number in self.poisoned
        ]
        return sum(known) if known else None

    def candidate(self, number: int) -> str | None:
        """The word for whether a block can be set offline."""
        found = self.candidates[number]
        return found.value if found else None

    def blockers(self, number: int) -> list[str]:
        """The words for what keeps a block online, or may."""
        there = self.contents.get(number)
        words = [kind.value for kind in there.blockers] if there else []
        if number in self.failed and self.candidates.get(number) is Candidate.MAYBE:
            words.append(PINNED)
        return words


def read_contents(
    machine: Machine, table: BlockTable, *, whole: bool = False, show_progress: bool = False
) -> BlockContents:
    """Read what the online blocks of TABLE hold; WHOLE reads all pages however many there are."""
    blocks = list(table.blocks())
    failed = failures_on(machine)
    pages = Pages.of(machine.tree, machine.block_size)
    contents: dict[int, Contents] = {}
    if pages is not None:
        online = [block.number for block in blocks if block.state is State.ONLINE]
        progress = Progress(len(online), machine.block_size)
        with pages, progress if show_progress else nullcontext():
            for count, number in enumerate(online):
                progress.done(count)
                progress.begin(number)
                there = pages.contents(number, whole=whole or len(online) <= _READ_WHOLE)
                if there is not None:
                    contents[number] = there
    candidates = {
        block.number: _judged(block, contents.get(block.number), block.number in failed)
        for block in blocks
    }
    poisoned = _poisoned(machine, table, contents)
    return BlockContents(contents, candidates, failed, poisoned, pages is not None)


def _poisoned(
    machine: Machine, table: BlockTable, contents: Mapping[int, Contents]
) -> dict[int, Sequence[int]]:
    """Block -> the addresses of its poisoned pages, by their flags and by the kernel log."""
    log = poisoned_on(machine)
    found: dict[int, Sequence[int]] = {}
    for number in table.numbers:
        there = contents.get(number)
        by_flags = [frame * there.page_size for frame in there.poisoned] if there else []
        if there and there.whole:
            found[number] = by_flags
        elif there or log is not None:
            found[number] = sorted({*by_flags, *(log or {}).get(number, ())})
    return found


def _judged(block: MemoryBlock, contents: Contents | None, failed: bool) -> Candidate | None:
    found = candidate(block, contents)
    # A page that could not be moved before may be pinned still.
    return Candidate.MAYBE if failed and found is Candidate.YES else found


def format_log(found: BlockContents, table: BlockTable) -> Iterator[str]:
    """What is known of single pages: a line for each block, with a newline."""
    for number in table.numbers:
        there, failed = found.contents.get(number), found.failed.get(number)
        if failed:
            yield f"memory block {number}: the kernel said: {failed.line}\n"
        for address in found.poisoned.get(number, ()):
            yield f"memory block {number}: the page at 0x{address:016x} is poisoned\n"
        if there and there.first:
            frame, kind = there.first
            address = frame * there.page_size
            yield f"memory block {number}: the page at 0x{address:016x} stays: {kind.value}\n"
