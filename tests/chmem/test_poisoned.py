"""chmem on a machine with a page that failed."""

import json
from pathlib import Path

import pytest

from commands import Command
from simulated import Make, x86


@pytest.fixture
def root(machine: Make, memsim: Command, chmem: Command) -> Path:
    """A machine whose block 3 is offline, because a page of it failed."""
    root = machine(x86())
    assert memsim("poison", root, "0x18005678").status == 0
    assert chmem("-s", root, "--disable", "--blocks", "3", "--advice=never").status == 0
    return root


def test_enable_says_which_page_is_poisoned_and_what_it_means(root: Path, chmem: Command) -> None:
    done = chmem("-s", root, "--enable", "--blocks", "3", "--advice=always")
    assert done.status == 1
    assert "Memory Block 3 (0x0000000018000000-0x000000001fffffff) enable failed" in done.stderr
    assert "Memory page has hardware error" in done.stderr
    assert "chmem: memory block 3: the page at 0x0000000018005000 is poisoned\n" in done.stderr
    assert "a page of it failed and is poisoned" in done.stderr


def test_the_document_has_the_name_of_the_error_and_its_cause(root: Path, chmem: Command) -> None:
    document = json.loads(chmem("-s", root, "--enable", "--blocks", "3", "--json").stdout)
    (block,) = document["blocks"]
    assert (block["error"]["errno"], block["error"]["cause"]) == ("EHWPOISON", "poisoned")


def test_the_document_names_the_page_where_it_names_the_block(
    root: Path, chmem: Command, memsim: Command
) -> None:
    memsim("fault", root, "--online", "4=EIO")
    document = json.loads(chmem("-s", root, "--enable", "--blocks", "3-4", "--json").stdout)
    poisoned, other = document["messages"]
    assert "memory block 3: the page at 0x0000000018005000 is poisoned" in poisoned["advice"]
    assert (poisoned["values"]["block"], poisoned["values"]["address"]) == (3, 0x18005000)
    assert "memory block 4: the hardware or the hypervisor failed" in other["advice"]
    assert "page" not in other["advice"]


def test_a_size_is_made_up_of_other_blocks(root: Path, chmem: Command) -> None:
    done = chmem("-s", root, "--enable", "512m", "--advice=never")
    assert done.status == 0
    assert (root / "sys/devices/system/memory/memory3/state").read_text() == "offline\n"


def test_lsmem_counts_poisoned_pages_of_offline_blocks_too(
    root: Path, lsmem: Command, memsim: Command
) -> None:
    assert memsim("poison", root, "0x0", "0x8001000", "0x8000000").status == 0
    done = lsmem("-s", root, "-o", "BLOCK,STATE,POISONED", "-r", "-n", "--summary=never")
    assert done.stdout.splitlines() == [
        *("0 online 1", "1 online 2", "2 online 0", "3 offline 1", "4-7 offline 0")
    ]
    told = lsmem("-s", root, "--why=3", "--advice=never").stdout
    assert "memory block 3: the page at 0x0000000018005000 is poisoned\n" in told
    rows = json.loads(lsmem("-s", root, "--why=1-3", "-J", "--typed", "-o", "POISONED").stdout)[
        "ranges"
    ]
    assert [row["poisoned"] for row in rows] == [2, 0, 1]
