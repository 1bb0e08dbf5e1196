"""What a write costs on a large machine beside a small one. Prints its figures with pytest -s."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from memsim import directory
from memsim.machine import FIRMWARE, MEMORY
from memsim.profile import boot
from simulated import start_python

Write = Callable[[str, bytes], None]
QUARTER_MILLION = {
    "block_size": 1 << 28,
    "firmware": True,
    "contiguous_zones": True,
    "memmap_param": "Y",
    "blocks": [{"range": [0, 131071]}, {"range": [131072, 262143], "config": False}],
}


def cycle(write: Write, block: int) -> Callable[[], None]:
    """A block's way up and down: four writes."""

    def call() -> None:
        write(f"{FIRMWARE}/memory{block}/config", b"1")
        write(f"{MEMORY}/memory{block}/state", b"online")
        write(f"{MEMORY}/memory{block}/state", b"offline")
        write(f"{FIRMWARE}/memory{block}/config", b"0")

    return call


def medians(small: Callable[[], None], large: Callable[[], None], runs: int) -> tuple[float, float]:
    """Median seconds of each, the two in turn so that a busy machine slows both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for call, spent in zip((small, large), times, strict=True):
            begin = time.perf_counter()
            call()
            spent.append(time.perf_counter() - begin)
    return statistics.median(times[0]), statistics.median(times[1])


def test_in_memory_a_write_on_262144_blocks_costs_what_it_does_on_32() -> None:
    begin = time.perf_counter()
    large = boot(QUARTER_MILLION)
    booted = time.perf_counter() - begin
    small = boot("s390-lpar")
    for block in (131072, 262143):
        few, many = medians(cycle(small.write, 16), cycle(large.write, block), 200)
        print(f"boot {booted * 1e3:.1f} ms, four writes {few * 1e6:.0f} us and {many * 1e6:.0f} us")
        assert many < 2 * few
    assert booted < 5


@pytest.fixture(scope="module")
def roots() -> Iterator[tuple[str, str]]:
    """Directories of s390-lpar and huge.

    On a tmpfs where there is one: ext4 makes files several times more slowly for a minute or so
    after many were deleted (fs/ext4/ialloc.c, recently_deleted), such as by an earlier run.
    """
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shm, prefix="memsim.") as top:
        for name in ("s390-lpar", "huge"):
            begin = time.perf_counter()
            directory.create(f"{top}/{name}", boot(name))
            spent = time.perf_counter() - begin
            print(f"{name} is created in {spent:.1f} s")
            assert spent < 60
        yield f"{top}/s390-lpar", f"{top}/huge"


@pytest.mark.slow
def test_in_a_directory_a_write_on_huge_costs_what_it_does_on_s390_lpar(
    roots: tuple[str, str],
) -> None:
    small, large = map(directory.Directory, roots)
    for block in (32768, 65535):
        few, many = medians(cycle(small.write, 16), cycle(large.write, block), 40)
        print(f"four writes {few * 1e3:.2f} ms and {many * 1e3:.2f} ms")
        assert many < 2 * few


@pytest.mark.slow
def test_so_it_does_for_a_new_process(roots: tuple[str, str]) -> None:
    program = (
        "import sys; from memsim.directory import write\n"
        "for value in b'1', b'0': write(sys.argv[1], sys.argv[2], value)"
    )

    def run(root: str, block: int) -> Callable[[], None]:
        def call() -> None:
            process: subprocess.Popen[str] = start_python(
                program, root, f"{FIRMWARE}/memory{block}/config"
            )
            assert process.wait() == 0
            assert process.stdout is not None
            process.stdout.close()

        return call

    few, many = medians(run(roots[0], 16), run(roots[1], 40000), 15)
    print(f"a process with two writes {few * 1e3:.1f} ms and {many * 1e3:.1f} ms", sys.version)
    assert many < 2 * few
