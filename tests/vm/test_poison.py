"""Pages that fail, in a real kernel and in a simulated machine like it: the same writes, answers,
attributes and log, the same count, and the same words of lsmem and chmem."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from commands import Command
from guest.judge.comparison import Comparison, compare
from guest.judge.real import captured
from guest.judge.writes import MEMORY, JudgedWrite
from memsim.directory import create
from memsim.kernel import Kernel
from vm.guest import Guest
from vm.machines import ONE_NODE

FAILED, TAKEN, SOUND, OFFLINE, ABSENT = 32, 33, 34, 35, 1000
"""Blocks of the DIMM: of one a page fails, of another one is taken out of use."""

HARD, SOFT = f"{MEMORY}/hard_offline_page", f"{MEMORY}/soft_offline_page"


def _page(file: str, block: int, offset: int = 0x5678) -> JudgedWrite:
    return file, hex((block << 27) + offset)


def _states(word: str, *blocks: int) -> list[JudgedWrite]:
    return [(f"{MEMORY}/memory{block}/state", word) for block in blocks]


WRITES: list[JudgedWrite] = [
    # Pages of a block that has just been set online are free.
    *_states("online_movable", FAILED),
    _page(HARD, FAILED),
    _page(HARD, FAILED, 0x5000),
    _page(SOFT, FAILED),
    *_states("offline", FAILED),
    *_states("online_movable", TAKEN),
    _page(SOFT, TAKEN),
    _page(SOFT, TAKEN),
    _page(HARD, TAKEN),
    *_states("offline", TAKEN),
    *_states("online_movable", SOUND),
    *_states("offline", SOUND),
    *[_page(file, block) for block in (FAILED, OFFLINE, ABSENT) for file in (HARD, SOFT)],
    (HARD, "here"),
    *_states("online_movable", FAILED, TAKEN, SOUND),
    *_states("online", FAILED),
    (f"{MEMORY}/memory{FAILED}/online", "1"),
]

LIMIT = 30.0
"""Seconds for a write. Nothing in zone Movable keeps a block for ever, but one may be slow."""


class Both(NamedTuple):
    """The guest and the simulated machine after all the writes."""

    guest: Guest
    root: Path
    kernel: Kernel
    tally: Comparison


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with Guest(ONE_NODE) as guest:
        sysfs = captured(guest.snapshot())
        tally = compare(sysfs, WRITES, guest.replayed(WRITES, LIMIT))
        root = tmp_path_factory.mktemp("poison") / "m"
        create(root, sysfs.kernel)
        yield Both(guest, root, sysfs.kernel, tally)


def test_answers_and_attributes_are_the_same(both: Both, tally: Comparison) -> None:
    tally += both.tally
    assert not both.tally.unexplained
    assert both.tally.writes == len(WRITES)
    for block in (FAILED, TAKEN):
        done = both.guest.run(f"echo online > {MEMORY}/memory{block}/state")
        assert (done.status, "Memory page has hardware error" in done.stderr) == (1, True)


def test_the_log_and_the_count_are_the_same(both: Both) -> None:
    said = both.guest.run("dmesg").stdout
    lines = re.findall(r"(?:Memory failure|Soft offline): .*", said)
    assert lines == both.kernel.state.log
    assert len(lines) >= 7
    counted = both.guest.run("grep HardwareCorrupted /proc/meminfo").stdout.split()
    assert counted == ["HardwareCorrupted:", "8", "kB"]
    assert len(both.kernel.state.poisoned) == 2


@pytest.mark.parametrize(
    "words",
    [
        f"lsmem --why={FAILED}-{TAKEN} -a -o BLOCK,STATE,ZONES,POISONED",
        f"lsmem --why={OFFLINE} -J --typed -o BLOCK,STATE,POISONED",
        f"chmem -e -b {FAILED} --advice=always",
        f"chmem -e -b {TAKEN}-{TAKEN} --advice=always",
        f"chmem -e -b {FAILED} -v --advice=never",
    ],
)
def test_what_a_user_is_told_is_the_same(
    words: str, both: Both, lsmem: Command, chmem: Command
) -> None:
    here = {"lsmem": lsmem, "chmem": chmem}
    program, *arguments = words.split()
    real, simulated = both.guest.run(words), here[program]("-s", both.root, *arguments)
    assert (real.status, real.stderr) == (simulated.status, simulated.stderr)
    assert real.stdout.replace('"/"', f'"{both.root}"') == simulated.stdout


def test_poisoned_pages_are_counted_by_block(both: Both) -> None:
    rows = both.guest.run("lsmem -a -r -n --summary=never -o BLOCK,POISONED").stdout.splitlines()
    assert [row for row in rows if not row.endswith(" 0")] == [f"{FAILED} 1", f"{TAKEN} 1"]
