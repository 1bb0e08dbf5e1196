"""lsmem: the column POISONED, and what it says when the pages are not all known."""

import errno
from pathlib import Path

import pytest

from commands import Command
from page_flags import BLOCK, FREE, PAGES, POISONED, show_flags
from simulated import Make, x86
from simulated import write as write_word

MEMORY = "sys/devices/system/memory"
SAID = "lsmem: which pages are poisoned is not known: POISONED is empty where some may be\n"


@pytest.fixture
def root(machine: Make) -> Path:
    return machine(x86(page_offline=True))


def poisoned(lsmem: Command, root: Path) -> tuple[list[str], str]:
    """The column POISONED by range, and what standard error has."""
    words = ("-o", "BLOCK,POISONED", "-r", "-n", "--summary=never", "--advice=never")
    done = lsmem("-s", root, *words)
    assert done.status == 0
    return done.stdout.splitlines(), done.stderr


def test_a_machine_that_counts_no_poisoned_page_has_none(root: Path, lsmem: Command) -> None:
    assert poisoned(lsmem, root) == (["0-7 0"], "")


def test_a_page_that_nothing_places_may_be_in_any_block(root: Path, lsmem: Command) -> None:
    """The log tells nothing of a page that soft_offline_page took out of use."""
    write_word(root, f"{MEMORY}/soft_offline_page", "0x10000000")
    write_word(root, f"{MEMORY}/hard_offline_page", "0x18000000")
    write_word(root, f"{MEMORY}/memory2/state", "offline")
    assert poisoned(lsmem, root) == (["0-2 ", "3 1", "4-7 "], SAID)
    advised = lsmem("-s", root, "-o", "POISONED", "--advice=always").stderr
    assert "/dev/kmsg" in advised
    assert "POISONED" in lsmem("-s", root, "--why").stdout


def test_a_page_that_the_log_names_later_is_placed(root: Path, lsmem: Command) -> None:
    for _ in range(2):
        write_word(root, f"{MEMORY}/soft_offline_page", "0x10000000")
    assert poisoned(lsmem, root) == (["0-1 0", "2 1", "3-7 0"], "")


def test_what_the_kernel_refuses_for_offline_memory_is_no_poisoned_page(
    root: Path, lsmem: Command
) -> None:
    for address, error in (("0x20000000", errno.ENXIO), ("0x80000000", errno.EBUSY)):
        with pytest.raises(OSError) as refused:
            write_word(root, f"{MEMORY}/hard_offline_page", address)
        assert refused.value.errno == error
    write_word(root, f"{MEMORY}/hard_offline_page", "0x0")
    assert poisoned(lsmem, root) == (["0 1", "1-7 0"], "")


def test_pages_of_blocks_that_are_read_whole_are_known(root: Path, lsmem: Command) -> None:
    write_word(root, f"{MEMORY}/soft_offline_page", "0x1000")
    pages = PAGES * 64
    show_flags(root, [FREE, POISONED, *[FREE] * (4 * pages - 2)])
    assert poisoned(lsmem, root) == (["0 1", "1-7 0"], "")
    write_word(root, f"{MEMORY}/soft_offline_page", "0x0")
    # Of one page of two nothing is known but that it is in none of these.
    assert poisoned(lsmem, root) == (["0 1", "1-3 0", "4-7 "], SAID)


def test_of_a_sample_of_pages_the_log_tells_the_rest(machine: Make, lsmem: Command) -> None:
    """Of more than 128 blocks, one of eight pageblocks is looked at."""
    root = machine(x86(130, 0, page_offline=True, block_size=8 * BLOCK))
    write_word(root, f"{MEMORY}/hard_offline_page", f"{8 * BLOCK + 600 * 4096:#x}")
    write_word(root, f"{MEMORY}/soft_offline_page", f"{8 * BLOCK:#x}")
    show_flags(root, [*[FREE] * (8 * PAGES), POISONED, *[FREE] * (122 * 8 * PAGES)])
    assert poisoned(lsmem, root) == (["0 0", "1 2", "2-129 0"], "")


@pytest.mark.parametrize(
    ("line", "shown", "said"),
    [
        ("HardwareCorrupted:     0 kB\n", "0", ""),
        ("HardwareCorrupted:     8 kB\n", "", SAID),
        ("", "", SAID),
    ],
)
def test_without_flags_and_log_only_the_count_of_nothing_says_it(
    line: str, shown: str, said: str, tree: Path, lsmem: Command
) -> None:
    (tree / "proc").mkdir()
    (tree / "proc/meminfo").write_text(f"MemTotal:        1024 kB\n{line}")
    rows, errors = poisoned(lsmem, tree)
    assert ({row.split(" ")[1] for row in rows}, errors) == ({shown}, said)
