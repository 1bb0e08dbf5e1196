#!/usr/bin/env python3
"""What a write costs on a large simulated machine beside a small one.

    python tests/bench/bench_memsim.py [DIRECTORY]

Directories are made below /dev/shm unless told otherwise: ext4 makes files several times more
slowly for a minute or so after many were deleted (fs/ext4/ialloc.c, recently_deleted), such as by
an earlier run.
"""

import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from memsim import directory
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, Sysfs

Write = Callable[[str, bytes], int]
Call = Callable[[], object]

QUARTER_MILLION = {
    "block_size": 1 << 28,
    "firmware": True,
    "contiguous_zones": True,
    "memmap_param": "Y",
    "blocks": [{"range": [0, 131071]}, {"range": [131072, 262143], "config": False}],
}
PROCESS = """
import sys
from memsim.directory import write
for value in b"1", b"0":
    write(sys.argv[1], sys.argv[2], value)
"""


def cycle(write: Write, block: int) -> Call:
    """A block's way up and down: four writes."""

    def call() -> None:
        write(f"{FIRMWARE}/memory{block}/config", b"1")
        write(f"{MEMORY}/memory{block}/state", b"online")
        write(f"{MEMORY}/memory{block}/state", b"offline")
        write(f"{FIRMWARE}/memory{block}/config", b"0")

    return call


def process(root: str, block: int) -> Call:
    """A new process that configures and deconfigures a block."""
    words = [sys.executable, "-c", PROCESS, root, f"{FIRMWARE}/memory{block}/config"]

    def call() -> None:
        subprocess.run(words, check=True)

    return call


def seconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def report(name: str, small: Call, large: Call, runs: int) -> None:
    """The medians of both, taken in turn so that a busy machine slows both."""
    taken = [(seconds(small), seconds(large)) for _ in range(runs)]
    few, many = (statistics.median(times) for times in zip(*taken, strict=True))
    print(f"| {name} | {few * 1e3:.2f} ms | {many * 1e3:.2f} ms | {many / few:.2f} |", flush=True)


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else "/dev/shm"
    begin = time.perf_counter()
    large = Sysfs(boot(QUARTER_MILLION))
    print(f"262,144 blocks boot in memory in {time.perf_counter() - begin:.4f} s")
    with tempfile.TemporaryDirectory(dir=where, prefix="bench-memsim-") as top:
        for name in ("s390-lpar", "huge"):
            begin = time.perf_counter()
            directory.create(f"{top}/{name}", boot(name))
            print(f"{name} is created as a directory in {time.perf_counter() - begin:.1f} s")
        print("| what | s390-lpar | large | ratio (goal: 2 at most) |")
        print("| --- | ---: | ---: | ---: |")
        four = cycle(Sysfs(boot("s390-lpar")).write, 16)
        report("four writes in memory, 262,144 blocks", four, cycle(large.write, 262143), 200)
        few, many = f"{top}/s390-lpar", f"{top}/huge"
        report(
            "four writes in a directory, 65,536 blocks",
            cycle(directory.Directory(few).write, 16),
            cycle(directory.Directory(many).write, 65535),
            40,
        )
        report("a process with two writes", process(few, 16), process(many, 40000), 15)
        in_shell(f"{top}/ppc64-large")


def in_shell(root: str) -> None:
    """Commands in `memsim shell` beside the same ones on the directory of 4,096 blocks."""
    directory.create(root, boot("ppc64-large"))
    print("| what | directory | memsim shell | ratio (goal: 3 at most) |")
    print("| --- | ---: | ---: | ---: |")
    scripts = Path(sysconfig.get_path("scripts"))
    files = "sys/devices/system/memory/memory*/state"
    for name, on_directory, inside in (
        ("lsmem", f"{scripts}/lsmem -s {root}", f"{scripts}/lsmem"),
        ("cat", f"cat {root}/{files}", f"cat /{files}"),
    ):
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
        beside = partial(run, ["sh", "-c", on_directory])
        report(
            f"{name}, with the start of the shell",
            beside,
            partial(run, [f"{scripts}/memsim", "shell", root, "--", "sh", "-c", inside]),
            9,
        )


main()
