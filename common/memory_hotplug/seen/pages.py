"""What the pages of a memory block hold, and so whether the block can be set offline.

The kernel tells root the kind of every page (/proc/kpageflags, Documentation/admin-guide/mm/
pagemap.rst; include/uapi/linux/kernel-page-flags.h). What cannot be moved keeps the block online
(mm/page_isolation.c, has_unmovable_pages). Pinned pages look like any others.
"""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum

from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.table import MEMMAP_FRACTION
from memory_hotplug.trees.files import ABOUT, FileTree, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["KPAGEFLAGS", "Candidate", "Contents", "Kind", "Pages", "candidate", "page_size_of"]

KPAGEFLAGS = "proc/kpageflags"

_SAMPLED = 8
"""A sample has one of so many pageblocks; the kernel groups what cannot be moved by pageblocks."""
_PAGEBLOCK = 512
"""Pages. Some architectures have larger ones; a sample is none the worse for it."""
_MAY_BE_FREE = 512
"""So many pages without any flag may be free ones that a processor keeps at hand (mm/page_alloc.c,
per-cpu pagesets): the kernel gives those back before it sets a block offline."""


class Kind(Enum):
    """What a page is used for. The value is the word for it."""

    FREE = "free"
    MOVABLE = "movable"
    HUGETLB = "hugetlb"
    UNUSED = "unused"
    """In nobody's way: taken by a balloon, broken, or a struct page of the block itself."""
    SLAB = "slab"
    PAGE_TABLES = "page tables"
    RESERVED = "reserved"
    NO_FLAGS = "no flags"
    """Something of the kernel's own, or free in the hands of a processor."""
    HOLE = "hole"
    """There is no memory."""


_CANNOT_MOVE = frozenset((Kind.SLAB, Kind.PAGE_TABLES, Kind.RESERVED, Kind.NO_FLAGS, Kind.HOLE))

_POISONED, _OFFLINE, _RESERVED = 19, 23, 32
_BITS = (
    (20, Kind.HOLE),
    (10, Kind.FREE),
    (7, Kind.SLAB),
    (26, Kind.PAGE_TABLES),
    (17, Kind.HUGETLB),
    (_POISONED, Kind.UNUSED),
    (_OFFLINE, Kind.UNUSED),
    (5, Kind.MOVABLE),  # LRU
    (11, Kind.MOVABLE),  # mapped by a process
    (12, Kind.MOVABLE),  # anonymous
    (13, Kind.MOVABLE),  # in the swap cache
    (22, Kind.MOVABLE),  # a transparent huge page
    (_RESERVED, Kind.RESERVED),
)
"""The flags that tell the kind; the first one that a page has counts."""
_FLAGS = 8
"""The bytes of a page's flags."""
_OFFLINE_BYTE = _OFFLINE // 8 if sys.byteorder == "little" else _FLAGS - 1 - _OFFLINE // 8
"""The byte of the flags with that of pages that are offline, which is its highest bit."""
_LOW = bytes(range(128))


def _kind(flags: int) -> Kind:
    return next((kind for bit, kind in _BITS if flags >> bit & 1), Kind.NO_FLAGS)


class Candidate(Enum):
    """Whether a block can be set offline."""

    YES = "yes"
    MAYBE = "maybe"
    NO = "no"


class Contents(NamedTuple):
    """What a block holds. Of a sample, the numbers are an estimate for the whole block."""

    page_size: int
    """Bytes."""
    counts: Mapping[Kind, int]
    """Kind -> number of pages."""
    first: tuple[int, Kind] | None
    """The number of the first page frame that cannot be moved, and its kind."""
    whole: bool
    """Whether all pages were looked at."""
    poisoned: tuple[int, ...] = ()
    """The page frames that are poisoned, of those that were looked at. They are in nobody's way."""

    def size(self, kind: Kind) -> int:
        """Bytes."""
        return self.counts.get(kind, 0) * self.page_size

    @property
    def unmovable(self) -> int:
        """Bytes that cannot be moved."""
        return sum(self.size(kind) for kind in _CANNOT_MOVE)

    @property
    def used(self) -> int:
        """Bytes that must be moved, or cannot be."""
        return self.unmovable + self.size(Kind.MOVABLE) + self.size(Kind.HUGETLB)

    @property
    def blockers(self) -> list[Kind]:
        """The kinds that keep the block online, or may, the most frequent first."""
        found = [kind for kind in (*_CANNOT_MOVE, Kind.HUGETLB) if self.counts.get(kind)]
        return sorted(found, key=lambda kind: (-self.counts[kind], kind.value))

    @property
    def candidate(self) -> Candidate:
        """Whether the block can be set offline, by what it holds."""
        sure = [kind for kind in self.blockers if kind not in (Kind.NO_FLAGS, Kind.HUGETLB)]
        if sure or self.counts.get(Kind.NO_FLAGS, 0) > _MAY_BE_FREE:
            return Candidate.NO
        return Candidate.YES if self.whole and not self.blockers else Candidate.MAYBE


def candidate(block: MemoryBlock, contents: Contents | None) -> Candidate | None:
    """Whether an online block can be set offline; None for a block that is not online.

    Without its contents, only what the block itself shows is known: `zones` and `removable`.
    """
    if block.state is not State.ONLINE:
        return None
    if block.removable is False or zone_of(block) is Zone.NONE:
        return Candidate.NO
    if contents is None:
        return Candidate.MAYBE
    if zone_of(block) is Zone.MOVABLE and contents.blockers == [Kind.NO_FLAGS]:
        # The kernel puts nothing of its own into this zone.
        return Candidate.MAYBE
    return contents.candidate


def page_size_of(tree: Tree) -> int:
    """The size of a page in bytes: of this machine, or as a capture says; else that of most."""
    if tree.is_this_machine:
        return os.sysconf("SC_PAGE_SIZE")
    try:
        size = json.loads(tree.read(ABOUT))["page_size"]
    except (OSError, ValueError, LookupError, TypeError):
        return _PAGE
    known = isinstance(size, int) and size in range(_PAGE, _LARGEST_PAGE + 1)
    return size if known and not size & (size - 1) else _PAGE


_PAGE, _LARGEST_PAGE = 4096, 1 << 18


class Pages:
    """The pages of a machine. A context manager."""

    def __init__(self, file: int, block_size: int, page_size: int) -> None:
        self._file = file
        self._pages = block_size // page_size
        self.page_size = page_size
        """Bytes."""

    @classmethod
    def of(cls, tree: Tree, block_size: int) -> Self | None:
        """The pages of the machine that TREE is about; None if it does not tell them, or not to
        this user."""
        if not isinstance(tree, FileTree):
            return None
        try:
            file = tree.descriptor(KPAGEFLAGS)
        except OSError:
            return None
        return cls(file, block_size, page_size_of(tree))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def contents(self, number: int, *, whole: bool = True) -> Contents | None:
        """What a block holds, by all of its pages or by a sample; None if the kernel does not tell.

        To read a block whole takes some ten milliseconds for each 128 MiB, a sample an eighth.
        """
        found: Counter[int] = Counter()
        first: tuple[int, Kind] | None = None
        poisoned: list[int] = []
        start, read = number * self._pages, 0
        step = self._pages if whole else min(_PAGEBLOCK, self._pages)
        for at in range(start, start + self._pages, step if whole else step * _SAMPLED):
            flags = self._flags(at, step)
            if not flags:
                return None
            read += len(flags)
            flags = self._without_own(flags, at - start)
            counts = _counted(flags)
            found += counts
            if any(flag >> _POISONED & 1 for flag in counts):
                poisoned += [at + n for n, flag in enumerate(flags) if flag >> _POISONED & 1]
            if first is None:
                first = _first(flags, counts, at)
        counts_by_kind: Counter[Kind] = Counter()
        for flag, count in found.items():
            counts_by_kind[_kind(flag)] += count * self._pages // read
        whole = read == self._pages
        return Contents(self.page_size, counts_by_kind, first, whole, tuple(poisoned))

    def offline(self, number: int) -> int | None:
        """The bytes of a block that a driver keeps, such as a balloon; None if the kernel does not
        tell. It takes a millisecond or two for each 128 MiB."""
        size = self._pages * _FLAGS
        try:
            data = os.pread(self._file, size, number * size)
        except OSError:
            return None
        # Of each word only the byte with the bit, and of these only those that have it.
        have = data[_OFFLINE_BYTE::_FLAGS].translate(None, delete=_LOW)
        return len(have) * self.page_size if data else None

    def kind(self, frame: int) -> Kind | None:
        """What a page frame is used for; None if the kernel does not tell."""
        flags = self._flags(frame, 1)
        return _kind(flags[0]) if flags else None

    def _without_own(self, flags: array[int], at: int) -> array[int]:
        """FLAGS, from page AT of a block on, without the struct pages that the block itself holds.

        They are reserved, at its beginning, and no part of what is set offline
        (mm/memory_hotplug.c, mhp_init_memmap_on_memory).
        """
        own = max(self._pages // MEMMAP_FRACTION - at, 0)
        if all(flag >> _RESERVED & 1 for flag in flags[:own]):
            flags[:own] = array("Q", [1 << _OFFLINE]) * len(flags[:own])
        return flags

    def _flags(self, first: int, count: int) -> array[int]:
        """The flags of COUNT page frames from FIRST on; fewer where the memory ends."""
        flags = array("Q")
        with suppress(OSError):
            data = os.pread(self._file, count * 8, first * 8)
            flags.frombytes(data[: len(data) // 8 * 8])
        return flags


def _counted(flags: array[int]) -> Counter[int]:
    """How often each flag is there. Most pageblocks are free, or in use, as a whole, and to compare
    their pages takes a fraction of the time to count them one by one."""
    found: Counter[int] = Counter()
    for at in range(0, len(flags), _PAGEBLOCK):
        part = flags[at : at + _PAGEBLOCK]
        if part == part[:1] * len(part):
            found[part[0]] += len(part)
        else:
            found.update(part)
    return found


def _first(flags: array[int], counts: Counter[int], at: int) -> tuple[int, Kind] | None:
    """The first page frame that cannot be moved; FLAGS begin with that of frame AT."""
    blocking = {flag: kind for flag in counts if (kind := _kind(flag)) in _CANNOT_MOVE}
    places = [(flags.index(flag), kind) for flag, kind in blocking.items()]
    # What surely stays is a better answer than a page that may be free.
    sure = [place for place in places if place[1] is not Kind.NO_FLAGS]
    index, kind = min(sure or places, default=(sys.maxsize, Kind.FREE), key=lambda place: place[0])
    return None if index == sys.maxsize else (at + index, kind)
