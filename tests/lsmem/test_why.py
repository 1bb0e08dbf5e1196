"""lsmem --why, and the columns about what blocks hold."""

import json
from pathlib import Path

import pytest

from commands import Command
from hotplug_cli.progress import Progress
from page_flags import BLOCK, FREE, HUGE, LRU, POISONED, SLAB, show_flags, show_pages
from simulated import Make, x86


@pytest.fixture
def tree(machine: Make) -> Path:
    """Blocks 0 to 7 are online: 2 and 3 hold pages of the kernel, 5 huge pages, 6 is in use."""
    root = machine(x86(online=8, offline=2, block_size=BLOCK))
    show_pages(root, {2: (SLAB, 3), 3: (SLAB, 4), 5: (HUGE, 512), 6: (LRU, 256)}, 10)
    return root


def test_why_merges_blocks_that_agree(tree: Path, lsmem: Command) -> None:
    done = lsmem("-s", tree, "--why")
    assert (done.status, done.stderr) == (0, "")
    assert (
        done.stdout
        == """\
BLOCK   STATE          ZONES CANDIDATE FREE MOVABLE UNMOVABLE HUGETLB BLOCKERS
  0-1  online         Normal       yes   4M      0B        0B      0B \n\
  2-3  online         Normal        no   4M      0B       28K      0B     slab
    4  online         Normal       yes   2M      0B        0B      0B \n\
    5  online         Normal     maybe   0B      0B        0B      2M  hugetlb
  6-7  online         Normal       yes   3M      1M        0B      0B \n\
  8-9 offline Normal/Movable                                          \n\
"""
    )
    assert lsmem("-s", tree, "--why", "-S", "state", "-r", "-n").stdout.splitlines() == [
        "0-7 online Normal yes 13M 1M 28K 2M 0 ",
        "8-9 offline Normal/Movable      0 ",
    ]


def test_why_lists_each_block_with_all_and_tells_the_pages_of_those_that_are_named(
    tree: Path, lsmem: Command
) -> None:
    done = lsmem("-s", tree, "--why=0-9", "--all")
    assert (done.status, done.stderr) == (0, "")
    assert (
        done.stdout
        == """\
BLOCK   STATE          ZONES CANDIDATE FREE MOVABLE UNMOVABLE HUGETLB BLOCKERS
    0  online         Normal       yes   2M      0B        0B      0B \n\
    1  online         Normal       yes   2M      0B        0B      0B \n\
    2  online         Normal        no   2M      0B       12K      0B     slab
    3  online         Normal        no   2M      0B       16K      0B     slab
    4  online         Normal       yes   2M      0B        0B      0B \n\
    5  online         Normal     maybe   0B      0B        0B      2M  hugetlb
    6  online         Normal       yes   1M      1M        0B      0B \n\
    7  online         Normal       yes   2M      0B        0B      0B \n\
    8 offline Normal/Movable                                          \n\
    9 offline Normal/Movable                                          \n\
memory block 2: the page at 0x0000000000400000 stays: slab
memory block 3: the page at 0x0000000000600000 stays: slab
"""
    )


def test_why_counts_poisoned_pages_by_their_flags(tree: Path, lsmem: Command) -> None:
    """They keep no block online."""
    show_pages(tree, {2: (SLAB, 3), 6: (LRU | POISONED, 2)}, 10)
    rows = lsmem("-s", tree, "--why", "-r", "-n", "-o", "BLOCK,CANDIDATE,POISONED").stdout
    assert rows.splitlines() == ["0-1 yes 0", "2 no 0", "3-5 yes 0", "6 yes 2", "7 yes 0", "8-9  0"]
    assert "POISONED BLOCKERS" in lsmem("-s", tree, "--why").stdout
    told = lsmem("-s", tree, "--why=6").stdout
    assert [line for line in told.splitlines() if "poisoned" in line] == [
        "memory block 6: the page at 0x0000000000c00000 is poisoned",
        "memory block 6: the page at 0x0000000000c01000 is poisoned",
    ]


@pytest.mark.parametrize(
    ("blocks", "listed"),
    [("2", ["2"]), ("1-3", ["1", "2", "3"]), ("7,0-1", ["0", "1", "7"]), ("3-3", ["3"])],
)
def test_why_lists_only_the_blocks_that_are_asked_about(
    blocks: str, listed: list[str], tree: Path, lsmem: Command
) -> None:
    done = lsmem("-s", tree, f"--why={blocks}", "-a", "-r", "-n", "-o", "BLOCK")
    assert done.stdout.split() == listed


@pytest.mark.parametrize(
    "blocks", ["", "x", "1-", "-1", "3-2", "0-99999999999", "1,,2", "\u0661", "1" * 40]
)
def test_why_refuses_what_are_no_blocks(blocks: str, tree: Path, lsmem: Command) -> None:
    done = lsmem("-s", tree, f"--why={blocks}")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith("lsmem: invalid argument of --why: ")


def test_why_names_a_block_that_is_not_there(tree: Path, lsmem: Command) -> None:
    done = lsmem("-s", tree, "--why=9-12")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == "lsmem: memory block 10 is not on this machine\n"


def test_why_columns_merge_ranges_that_agree_and_add_up_their_sizes(
    tree: Path, lsmem: Command
) -> None:
    words = ("-s", tree, "-o", "BLOCK,CANDIDATE,BLOCKERS,UNMOVABLE,FREE", "--summary=never")
    assert lsmem(*words, "-r", "-b").stdout.splitlines()[1:] == [
        "0-1 yes  0 4194304",
        "2-3 no slab 28672 4165632",
        "4 yes  0 2097152",
        "5 maybe hugetlb 0 0",
        "6-7 yes  0 3145728",
        "8-9    ",
    ]
    merged = lsmem(*words, "-r", "-S", "state").stdout.splitlines()[1:]
    assert [line.split()[0] for line in merged] == ["0-7", "8-9"]
    assert len(lsmem(*words, "-r", "-S", "blockers").stdout.splitlines()) == 6


def test_why_in_json_has_the_values(tree: Path, lsmem: Command) -> None:
    words = ("-s", tree, "-J", "-o", "BLOCK,CANDIDATE,BLOCKERS,HUGETLB", "--summary=never")
    rows = json.loads(lsmem(*words).stdout)["memory"]
    assert rows[3] == {"block": "5", "candidate": "maybe", "blockers": "hugetlb", "hugetlb": "2M"}
    assert rows[-1] == {"block": "8-9", "candidate": None, "blockers": None, "hugetlb": None}
    rows = json.loads(lsmem(*words, "--bytes").stdout)["memory"]
    assert [row["hugetlb"] for row in rows] == [0, 0, 0, 2 << 20, 0, None]
    ranges = json.loads(lsmem(*words, "--typed").stdout)["ranges"]
    assert ranges[3]["blockers"] == ["hugetlb"]
    assert [one["candidate"] for one in ranges] == ["yes", "no", "yes", "maybe", "yes", None]


def test_why_without_the_pages_goes_by_zone_and_removable_and_says_so(
    machine: Make, lsmem: Command
) -> None:
    root = machine("x86-two-nodes")
    done = lsmem("-s", root, "--why=0-1,120,128", "--advice=never")
    assert done.stderr == (
        "lsmem: what the pages hold is not known: CANDIDATE goes by zone and REMOVABLE alone\n"
    )
    # The columns that only root sees are left out.
    assert (
        done.stdout
        == """\
BLOCK   STATE          ZONES CANDIDATE
    0  online           None        no
    1  online          DMA32     maybe
  120  online        Movable     maybe
  128 offline Normal/Movable \n\
"""
    )
    assert lsmem("-s", root, "--why", "--advice=always").stderr.splitlines()[1] == (
        "lsmem: root sees what of a block is free, movable, unmovable and in huge pages, and what "
        "keeps it online: run this as root, on the machine itself (/proc/kpageflags)"
    )


@pytest.mark.parametrize("words", [("-J",), ("-r",), ("-o", "FREE,BLOCKERS"), ("--format", "csv")])
def test_why_keeps_columns_without_values_for_scripts_and_where_they_are_asked_for(
    words: tuple[str, ...], machine: Make, lsmem: Command
) -> None:
    done = lsmem("-s", machine("x86-two-nodes"), "--why", *words)
    assert "blockers" in done.stdout.lower()


def test_why_samples_many_blocks_and_reads_named_ones_whole(machine: Make, lsmem: Command) -> None:
    size = 32 << 20
    pages = size // 4096
    root = machine(x86(online=130, offline=0, block_size=size))
    show_flags(root, (SLAB if page == 3 * pages + 600 else FREE for page in range(130 * pages)))
    words = ("-s", root, "-a", "-r", "-n", "-o", "CANDIDATE")
    sampled = lsmem(*words, "--why").stdout.split()
    assert sampled[3:5] == ["maybe", "maybe"]
    assert lsmem(*words, "--why=3-4").stdout.split() == ["no", "yes"]


def test_why_shows_progress_by_the_blocks_that_are_read(
    tree: Path, lsmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []

    class Bar(Progress):
        def start(self) -> None:
            said.append("start")

        def begin(self, number: int) -> None:
            said.append(number)

        def stop(self) -> None:
            said.append("stop")

    monkeypatch.setattr("lsmem_py.block_contents.Progress", Bar)
    assert lsmem("-s", tree, "--why=2-4").status == 0
    assert said == ["start", 2, 3, 4, "stop"]
