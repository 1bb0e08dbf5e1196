"""What a hypervisor refuses, and memory for the structures of added memory.

All this was seen on a real s390 kernel with drivers/s390/char/sclp_mem.c of Linux 7.2.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from memsim.directory import Directory
from memsim.kernel.state import LOG_LENGTH
from memsim.machine import Fault
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS, Sysfs
from simulated import make

MIB = 1 << 20
SIZE, INCREMENT = 128 * MIB, 8 * MIB
PARTS: dict[str, Any] = {
    "block_size": SIZE,
    "increment": INCREMENT,
    "firmware": True,
    "memmap_param": "Y",
    "blocks": [{"range": [0, 3]}, {"range": [4, 7], "config": False}],
}
"""A machine with blocks of 16 increments."""


def config(block: int) -> str:
    return f"{FIRMWARE}/memory{block}/config"


def error_of(sysfs: Sysfs, path: str, word: str) -> str | None:
    """The name of the errno that a write ends with, or None for success."""
    try:
        sysfs.write(path, word.encode())
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def with_fault(transition: str, block: int, fault: Fault) -> Sysfs:
    sysfs = Sysfs(boot(PARTS))
    sysfs.kernel.set_fault(transition, block, fault)
    return sysfs


def test_storage_that_is_not_taken_back_is_no_error_and_only_in_the_log(
    memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", PARTS)
    memsim("fault", root, "--deconfig", "2=EIO")
    assert memsim("write", root, f"{MEMORY}/memory2/state", "offline").status == 0
    assert memsim("show", root, "--log").stdout == ""
    assert memsim("write", root, config(2), "0").status == 0
    assert not (root / MEMORY / "memory2").exists()
    # Increments are counted from 1.
    assert memsim("show", root, "--log").stdout == (
        "sclp_mem: assign storage failed (cmd=0x000c0001, response=0x0320, rn=0x0021)\n"
    )
    assert Directory(root).kernel().state.kept == {2: INCREMENT}
    assert "Only assigned:          8M\n" in memsim("show", root).stdout
    memsim("reboot", root)
    assert memsim("show", root, "--log").stdout == ""
    assert "Only assigned" not in memsim("show", root).stdout


def test_storage_that_was_kept_is_not_taken_again() -> None:
    sysfs = with_fault("deconfig", 4, Fault("EIO", 1))
    pool = sysfs.kernel.state.pool
    assert [error_of(sysfs, config(4), word) for word in "10"] == [None, None]
    assert sysfs.kernel.state.pool == pool - INCREMENT
    assert error_of(sysfs, config(4), "1") is None
    assert (sysfs.kernel.state.pool, sysfs.kernel.state.kept) == (pool - SIZE, {})


def test_increments_that_were_assigned_before_one_was_refused_stay_so() -> None:
    sysfs = with_fault("config", 4, Fault("EIO", 2))
    state = sysfs.kernel.state
    pool = state.pool
    for _ in range(2):
        assert error_of(sysfs, config(4), "1") == "EIO"
        assert (state.kept, state.pool) == ({4: SIZE - INCREMENT}, pool - 120 * MIB)
        assert sysfs.read(config(4)) == b"0\n"
        assert sysfs.kind(f"{MEMORY}/memory4") is None
    assert len(sysfs.kernel.state.log) == 2
    assert error_of(sysfs, config(4), "1") is None
    assert (state.kept, state.pool) == ({}, pool - SIZE)


def test_a_pool_that_is_not_enough_for_a_block_is_taken_all_the_same() -> None:
    sysfs = Sysfs(boot(PARTS | {"hypervisor": SIZE + 5 * INCREMENT + 1}))
    state = sysfs.kernel.state
    assert [error_of(sysfs, config(block), "1") for block in (4, 5, 6)] == [None, "EIO", "EIO"]
    assert (state.kept, state.pool) == ({5: 5 * INCREMENT}, 1)
    assert error_of(sysfs, config(4), "0") is None
    assert error_of(sysfs, config(5), "1") is None
    assert (state.kept, state.pool) == ({}, 5 * INCREMENT + 1)


def test_what_stays_assigned_outlives_the_command(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", PARTS)
    memsim("fault", root, "--config", "5=EIO:1")
    assert "Input/output error" in memsim("write", root, config(5), "1").stderr
    assert Directory(root).kernel().state.kept == {5: SIZE - INCREMENT}


def test_an_older_kernel_gives_back_what_was_assigned_before_one_was_refused() -> None:
    older = {
        **PARTS,
        "firmware": False,
        "assigned_by": "online",
        "hypervisor": SIZE - INCREMENT,
        "blocks": [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}],
    }
    sysfs = Sysfs(boot(older))
    assert error_of(sysfs, f"{MEMORY}/memory4/state", "online") == "EIO"
    assert sysfs.kernel.state.pool == SIZE - INCREMENT
    assert not sysfs.kernel.state.kept


def test_the_log_has_its_last_lines() -> None:
    sysfs = with_fault("config", 4, Fault("EIO"))
    sysfs.kernel.set_fault("config", 5, Fault("EIO", 1))
    error_of(sysfs, config(5), "1")
    for _ in range(LOG_LENGTH):
        error_of(sysfs, config(4), "1")
    assert len(sysfs.kernel.state.log) == LOG_LENGTH
    assert all("rn=0x0041" in line for line in sysfs.kernel.state.log)


# Memory for struct pages and page tables


@pytest.mark.parametrize(
    ("large_pages", "memmap", "each"),
    [(True, "0", 2 * MIB), (False, "0", 5 * MIB // 2), (False, "1", MIB // 2), (True, "1", 0)],
)
def test_struct_pages_of_added_memory_take_memory(
    large_pages: bool, memmap: str, each: int
) -> None:
    blocks = [{"range": [0, 2]}, {"range": [3, 200], "config": False}]
    description = {"large_pages": large_pages, "used": 348 * MIB, "increment": SIZE}
    sysfs = Sysfs(boot({**PARTS, **description, "blocks": blocks}))
    left = (384 - 6 - 348) * MIB
    done, failed = 0, None
    for block in range(3, 201):
        sysfs.write(f"{FIRMWARE}/memory{block}/memmap_on_memory", memmap.encode())
        failed = error_of(sysfs, config(block), "1")
        if failed:
            break
        done += 1
    assert failed == ("ENOMEM" if each else None)
    assert done == (left // each if each else 198)
    # Nothing of the block that failed was kept.
    assert sysfs.kernel.state.pool == (198 - done) * SIZE
    assert sysfs.kernel.state.log == (
        ["memory63: no memory for its page tables; in place of this error, the kernel may end "
         "processes, or panic"]
        if failed and memmap == "1"
        else []
    )  # fmt: skip
    if done and each:
        sysfs.write(config(3), b"0")
        assert error_of(sysfs, config(3 + done), "1") is None


def test_boot_memory_that_was_deconfigured_is_added_memory_afterwards() -> None:
    sysfs = Sysfs(boot("s390-debian"))
    free = sysfs.kernel.free_memory()
    sysfs.write(f"{MEMORY}/memory5/state", b"offline")
    sysfs.write(config(5), b"0")
    sysfs.write(config(5), b"1")
    assert sysfs.kernel.free_memory() == free - MIB // 2


# Debian's kernel


def test_a_machine_without_numa_has_no_nodes() -> None:
    sysfs = Sysfs(boot("s390-debian"))
    assert sysfs.kind(NODE) is None
    assert not [name for name in sysfs.listdir(f"{MEMORY}/memory3") if name.startswith("node")]
    assert sysfs.listdir(PARAMETERS) == ["memmap_on_memory", "online_policy", "auto_movable_ratio"]


def test_the_first_and_the_last_boot_blocks_of_debians_kernel_are_busy() -> None:
    sysfs = Sysfs(boot("s390-debian"))
    refused = [
        block
        for block in range(16)
        if error_of(sysfs, f"{MEMORY}/memory{block}/state", "offline") == "EBUSY"
    ]
    assert refused == [0, 14, 15]


def test_debians_kernel_sets_added_memory_online() -> None:
    sysfs = Sysfs(boot("s390-debian"))
    sysfs.write(config(16), b"1")
    assert sysfs.read(f"{MEMORY}/memory16/state") == b"online\n"
    assert error_of(sysfs, config(16), "0") == "EBUSY"
