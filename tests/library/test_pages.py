"""What the pages of a block hold."""

import os
from array import array
from collections.abc import Mapping
from pathlib import Path

import pytest

from memory_hotplug import MemoryBlock, State, Zone
from memory_hotplug.seen import kernel_log
from memory_hotplug.seen.kernel_log import Failed, failures
from memory_hotplug.seen.pages import Candidate, Contents, Kind, Pages, candidate
from memory_hotplug.trees.files import FileTree
from page_flags import FREE, HUGE, LRU, SLAB, show_flags

BLOCK = 64 << 20
PAGES = BLOCK // 4096
TABLE, HOLE, RESERVED, BALLOON, ANON, THP = (1 << bit for bit in (26, 20, 32, 23, 12, 22))


def tree(root: Path, pages: Mapping[int, int] = {}, *, blocks: int = 2, fill: int = FREE) -> Path:
    """A tree whose pages have the flags FILL, but for PAGES: frame -> flags."""
    flags = array("Q", [fill]) * (blocks * PAGES)
    for frame, flag in pages.items():
        flags[frame] = flag
    show_flags(root, flags)
    return root


def contents(root: Path, number: int = 1, *, whole: bool = True) -> Contents | None:
    with FileTree(str(root)) as files:
        pages = Pages.of(files, BLOCK)
        assert pages is not None
        with pages:
            return pages.contents(number, whole=whole)


def found(root: Path, *, whole: bool = True) -> Contents:
    there = contents(root, whole=whole)
    assert there is not None
    return there


@pytest.mark.parametrize(
    ("flag", "kind"),
    [
        (FREE, Kind.FREE),
        (LRU, Kind.MOVABLE),
        (LRU | 1 << 3 | 1 << 6, Kind.MOVABLE),
        (ANON | 1 << 14, Kind.MOVABLE),
        (THP | 1 << 16, Kind.MOVABLE),
        (HUGE | 1 << 15, Kind.HUGETLB),
        (SLAB | 1 << 16, Kind.SLAB),
        (TABLE | 1 << 11, Kind.PAGE_TABLES),
        (RESERVED, Kind.RESERVED),
        (BALLOON, Kind.UNUSED),
        (1 << 19 | LRU, Kind.UNUSED),
        (0, Kind.NO_FLAGS),
        (1 << 15, Kind.NO_FLAGS),
        (HOLE, Kind.HOLE),
    ],
)
def test_the_flags_of_a_page_say_its_kind(flag: int, kind: Kind, tmp_path: Path) -> None:
    there = found(tree(tmp_path, {PAGES + 5000: flag}))
    assert there.size(kind) == (4096 if kind is not Kind.FREE else BLOCK)
    assert sum(there.counts.values()) == PAGES
    blocks = kind in (Kind.SLAB, Kind.PAGE_TABLES, Kind.RESERVED, Kind.NO_FLAGS, Kind.HOLE)
    assert there.first == ((PAGES + 5000, kind) if blocks else None)
    assert there.unmovable == (4096 if blocks else 0)
    moves = kind in (Kind.MOVABLE, Kind.HUGETLB)
    assert there.used == there.unmovable + (4096 if moves else 0)
    assert there.blockers == ([kind] if blocks or kind is Kind.HUGETLB else [])


@pytest.mark.parametrize(
    ("pages", "can"),
    [
        ({}, Candidate.YES),
        ({7: LRU, 8: ANON, 9: BALLOON}, Candidate.YES),
        ({7: SLAB}, Candidate.NO),
        ({7: TABLE}, Candidate.NO),
        ({7: RESERVED}, Candidate.NO),
        ({7: HOLE}, Candidate.NO),
        ({7: HUGE}, Candidate.MAYBE),
        (dict.fromkeys(range(512), 0), Candidate.MAYBE),
        (dict.fromkeys(range(513), 0), Candidate.NO),
        ({7: SLAB, **dict.fromkeys(range(100, 200), 0)}, Candidate.NO),
    ],
)
def test_what_cannot_be_moved_keeps_a_block(
    pages: dict[int, int], can: Candidate, tmp_path: Path
) -> None:
    root = tree(tmp_path, {PAGES + frame: flag for frame, flag in pages.items()})
    assert found(root).candidate is can
    # Another block's pages are not looked at.
    before = contents(root, 0)
    assert before is not None
    assert before.candidate is Candidate.YES


def test_the_most_frequent_kind_is_named_first_and_the_surest_page(tmp_path: Path) -> None:
    pages = {10: 0, 3000: SLAB, 3001: SLAB, 2000: TABLE}
    there = found(tree(tmp_path, {PAGES + frame: flag for frame, flag in pages.items()}))
    assert there.blockers == [Kind.SLAB, Kind.NO_FLAGS, Kind.PAGE_TABLES]
    assert there.first == (PAGES + 2000, Kind.PAGE_TABLES)


def test_pages_with_different_flags_can_be_of_one_kind(tmp_path: Path) -> None:
    first = {PAGES + 1: SLAB, PAGES + 2: SLAB | 1 << 16, PAGES + 3: SLAB | 1 << 15, PAGES + 4: LRU}
    kinds = found(tree(tmp_path, first)).counts
    assert (kinds[Kind.SLAB], kinds[Kind.MOVABLE], kinds[Kind.FREE]) == (3, 1, PAGES - 4)


def test_a_page_that_the_kernel_does_not_tell_of_has_no_kind(tmp_path: Path) -> None:
    with FileTree(str(tree(tmp_path, {3: SLAB}))) as files:
        pages = Pages.of(files, BLOCK)
        assert pages is not None
        with pages:
            assert (pages.kind(3), pages.kind(1 << 40)) == (Kind.SLAB, None)


def test_struct_pages_of_the_block_itself_are_in_nobodys_way(tmp_path: Path) -> None:
    own = {PAGES + frame: RESERVED for frame in range(PAGES // 64)}
    there = found(tree(tmp_path, own))
    assert (there.candidate, there.size(Kind.UNUSED)) == (Candidate.YES, BLOCK // 64)
    assert found(tree(tmp_path, own), whole=False).blockers == []
    # One more is somebody else's; and so is one fewer.
    assert found(tree(tmp_path, {**own, PAGES + PAGES // 64: RESERVED})).candidate is Candidate.NO
    assert found(tree(tmp_path, {**own, PAGES + 9: SLAB})).candidate is Candidate.NO
    # Where a later pageblock begins they are somebody else's as well.
    later = {PAGES + 4096 + frame: RESERVED for frame in range(PAGES // 64)}
    assert found(tree(tmp_path, later), whole=False).candidate is Candidate.NO


def test_a_sample_looks_at_one_of_eight_pageblocks(tmp_path: Path) -> None:
    seen = {PAGES + 4096 + frame: LRU for frame in range(256)}
    there = found(tree(tmp_path, {**seen, PAGES + 600: SLAB}), whole=False)
    # 256 of 2,048 pages that were looked at are an eighth.
    assert there.size(Kind.MOVABLE) == BLOCK // 8
    assert (there.blockers, there.candidate) == ([], Candidate.MAYBE)
    there = found(tree(tmp_path, {PAGES + 4096: SLAB}), whole=False)
    assert (there.candidate, there.first) == (Candidate.NO, (PAGES + 4096, Kind.SLAB))


def test_a_sample_of_a_block_that_is_less_than_a_pageblock_is_all_of_it(tmp_path: Path) -> None:
    """With pages of 64 KiB, a block of 16 MiB has 256."""
    with FileTree(str(tree(tmp_path, {256: SLAB}))) as files:
        pages = Pages.of(files, 256 * 4096)
        assert pages is not None
        with pages:
            there = pages.contents(0, whole=False)
    assert there is not None
    assert (there.whole, there.blockers, there.size(Kind.FREE)) == (True, [], 256 * 4096)


def test_where_the_memory_ends_nothing_is_known(tmp_path: Path) -> None:
    with FileTree(str(tree(tmp_path))) as files:
        pages = Pages.of(files, BLOCK)
        assert pages is not None
        with pages:
            assert (pages.offline(1), pages.offline(2)) == (0, None)
    assert contents(tmp_path, 2) is None
    # A file that was copied in part can end amid the flags of a page.
    os.truncate(tmp_path / "proc/kpageflags", (PAGES + 9) * 8 + 3)
    there = contents(tmp_path)
    assert there is not None
    assert not there.whole


def test_who_may_not_see_the_pages_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    with FileTree(str(tmp_path)) as files:
        assert Pages.of(files, BLOCK) is None
        (tmp_path / "proc/kpageflags").symlink_to("/proc/kpageflags")
        assert Pages.of(files, BLOCK) is None
        (tmp_path / "proc/kpageflags").unlink()
        (tmp_path / "proc/kpageflags").mkdir()
        assert Pages.of(files, BLOCK) is None


def block(
    state: State = State.ONLINE, zone: Zone = Zone.NORMAL, removable: bool | None = None
) -> MemoryBlock:
    return MemoryBlock(1, state, zones=(zone,), removable=removable)


def test_a_block_is_judged_by_what_is_known(tmp_path: Path) -> None:
    full, few = found(tree(tmp_path)), found(tree(tmp_path, {PAGES + 9: 0}))
    many = found(tree(tmp_path, {PAGES + frame: 0 for frame in range(9000)}))
    slab = found(tree(tmp_path, {PAGES + 9: SLAB}))
    assert candidate(block(State.OFFLINE), None) is None
    assert candidate(block(), None) is Candidate.MAYBE
    assert candidate(block(removable=False), full) is Candidate.NO
    assert candidate(block(zone=Zone.NONE), full) is Candidate.NO
    assert candidate(block(removable=True), full) is Candidate.YES
    assert candidate(block(), few) is Candidate.MAYBE
    assert candidate(block(), many) is Candidate.NO
    # The kernel itself takes nothing from zone Movable.
    assert candidate(block(zone=Zone.MOVABLE), many) is Candidate.MAYBE
    assert candidate(block(zone=Zone.MOVABLE), slab) is Candidate.NO


LOG = [
    "Offlined Pages 32768",
    "migrating pfn 110c3 failed ret:1",
    "page:0000000085d4d5a8 refcount:3 mapcount:1 mapping:0 index:0x7f pfn:0x110c3",
    "flags: 0x4(uptodate)",
    "page dumped because: migration failure",
    "page:0000000085d4d5a8 refcount:1 mapcount:0 mapping:0 index:0x0 pfn:0x120000",
    "page dumped because: unmovable page",
    "page dumped because: unmovable page",
    "page:0000000085d4d5a8 refcount:1 pfn:0x130000",
    "page dumped because: something else",
]


def test_the_kernel_log_names_pages() -> None:
    assert failures(LOG, 128 << 20, 4096) == {
        0x110C3 * 4096 >> 27: Failed(0x110C3, "migration failure: pfn 0x110c3"),
        0x120000 * 4096 >> 27: Failed(0x120000, "unmovable page: pfn 0x120000"),
    }
    assert failures(LOG[:2], 128 << 20, 4096) == {
        2: Failed(0x110C3, "migrating pfn 110c3 failed ret:1")
    }
    assert failures([], 1 << 27, 4096) == {}


def test_the_kernel_log_is_read_to_its_end_and_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/kmsg gives one record for each read; EPIPE tells that one was overwritten."""
    records: list[bytes | OSError] = [
        b"6,1,2,-;one\n SUBSYSTEM=memory\n",
        BrokenPipeError(),
        b"4,2,3,-;a;b \xff\n",
    ]
    read = os.read

    def answered(file: int, size: int) -> bytes:
        assert size >= 8192
        given = records.pop(0) if records else read(file, size)
        if isinstance(given, OSError):
            raise given
        return given

    # A FIFO that nobody writes to: who waits for it, waits for ever.
    os.mkfifo(tmp_path / "kmsg")
    monkeypatch.setattr(kernel_log, "KMSG", str(tmp_path / "kmsg"))
    monkeypatch.setattr(os, "read", answered)
    before = os.listdir("/proc/self/fd")
    assert kernel_log.read_log() == ["one", "a;b \N{REPLACEMENT CHARACTER}"]
    records += [b"4,2,3,-;last\n", BlockingIOError(), b"4,2,3,-;later\n"]
    assert kernel_log.read_log() == ["last"]
    assert os.listdir("/proc/self/fd") == before
    monkeypatch.setattr(kernel_log, "KMSG", str(tmp_path / "none"))
    assert kernel_log.read_log() == []
