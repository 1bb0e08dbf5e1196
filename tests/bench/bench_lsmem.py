#!/usr/bin/env python3
"""How long lsmem takes beside its start-up and beside util-linux's lsmem.

Whole processes in turn, ratios of medians. Static trees of 200 to 1,048,576 blocks, best on a tmpfs
with room for 12 GB and ten million inodes: `python tests/bench/bench_lsmem.py [DIRECTORY]`,
by default below /dev/shm.
"""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import static_tree
from timings import head, medians, on, peak_of_all, report, run

LSMEM = str(Path(sysconfig.get_path("scripts")) / "lsmem")
MEMSIM = str(Path(sysconfig.get_path("scripts")) / "memsim")
OTHER = "/usr/bin/lsmem"


GOALS: tuple[tuple[list[str], float], ...] = (
    ([], 0.55),
    (["-o", "RANGE,SIZE,STATE"], 0.32),
    (["-a", "-J"], 0.85),
)
SIZES = (4096, 65536, 262144, 1048576)


def growth(root: Path, *, nodes: bool) -> None:
    """How long lsmem takes for machines of each size, with NODES or without, on so many
    processors."""
    counts = [count for count in (1, 2, 4, 8) if count <= len(os.sched_getaffinity(0))]
    print("with nodes:" if nodes else "without:")
    print("| blocks |", *(f"{count} |" for count in counts))
    print("| ---: |", *("---: |" for _ in counts))
    for blocks in SIZES:
        tree = static_tree.many(root / f"growth-{blocks}", blocks, nodes=nodes)
        taken = medians(*(on(count, [LSMEM, "-s", tree]) for count in counts), runs=3)
        print(f"| {blocks:,} |", *(f"{one.seconds:.2f} s |" for one in taken), flush=True)
        shutil.rmtree(tree)


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else "/dev/shm"
    root = Path(tempfile.mkdtemp(prefix="bench-lsmem-", dir=where))
    try:
        small, large, huge = (
            static_tree.many(root / str(blocks), blocks) for blocks in (200, 65536, 262144)
        )
        head()
        ours, theirs = medians(
            [LSMEM, "-s", small], [sys.executable, "-c", "import click"], runs=25
        )
        report("200 blocks, beside `import click`", ours, theirs, 0.60)
        for arguments, goal in GOALS:
            command = [LSMEM, "-s", large, *arguments]
            ours, alone, theirs = medians(command, on(1, command), [OTHER, "-s", large, *arguments])
            name = " ".join(["lsmem", *arguments])
            report(f"65,536 blocks, `{name}` beside util-linux's", ours, theirs, goal)
            report("the same on one processor", alone, theirs, goal)
        ours, theirs = medians([LSMEM, "-s", large, "--map"], [LSMEM, "-s", large])
        report("65,536 blocks, `lsmem --map` beside `lsmem`", ours, theirs, 1.2)
        archive = str(root / "archive.tar.gz")
        run([MEMSIM, "capture", "-s", large, archive])
        ours, theirs = medians([LSMEM, "-s", archive], [LSMEM, "-s", large], runs=3)
        report("65,536 blocks in an archive, beside the directory", ours, theirs, 4.0)
        ours, theirs = medians([LSMEM, "-s", huge], [LSMEM, "-s", large], runs=5)
        report("262,144 blocks, beside 65,536", ours, theirs, 4.4)
        shutil.rmtree(huge)
        print()
        for arguments in ([], ["-a", "-J"], ["--map"]):
            peak = peak_of_all([LSMEM, "-s", large, *arguments]) >> 20
            name = " ".join(["lsmem", *arguments])
            print(f"65,536 blocks, `{name}`: {peak} MiB in all processes together, goal 64")
        print()
        growth(root, nodes=True)
        growth(root, nodes=False)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
