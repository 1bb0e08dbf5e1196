#!/usr/bin/env python3
"""The processor time of lsmem for each column and each format, beside util-linux's lsmem.

    python tests/bench/bench_columns.py [--blocks 65536] [--runs 3] [--other /usr/bin/lsmem]

Whole processes in turn; each cell is the ratio of medians, which busy neighbours move less than
elapsed time. The trees are static and lie below /dev/shm: with nodes, without, and with firmware.
"""

import argparse
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import static_tree
from timings import medians

LSMEM = str(Path(sysconfig.get_path("scripts")) / "lsmem")

COLUMNS = ("RANGE", "SIZE", "STATE", "REMOVABLE", "BLOCK", "NODE", "ZONES")
SPLITTING = ("STATE", "REMOVABLE", "NODE", "ZONES", "none")
ROWS: tuple[Sequence[str], ...] = (
    (),
    *(("-o", column) for column in COLUMNS),
    ("-o", "RANGE,NODE"),
    ("-o", ",".join(COLUMNS)),
    ("--output-all",),
    ("-a",),
    ("-r",),
    ("-P",),
    ("-J",),
    ("-a", "-J"),
    *(("-S", column) for column in SPLITTING),
    ("--summary=only",),
)
TREES = {"nodes": {}, "no nodes": {"nodes": False}, "firmware": {"firmware": True}}
"""Name -> how its tree is made."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=65536)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--other", default="/usr/bin/lsmem")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="bench-columns-", dir="/dev/shm"))
    try:
        trees = [static_tree.many(root / name, given.blocks, **how) for name, how in TREES.items()]
        print("| command |", *(f"{name} |" for name in TREES))
        print("| --- |", *("---: |" for _ in TREES))
        for words in ROWS:
            ratios = []
            for tree in trees:
                pair = ([one, "-s", tree, *words] for one in (LSMEM, given.other))
                ours, theirs = medians(*pair, runs=given.runs)
                ratios.append(f"{ours.cpu / theirs.cpu:.2f} |")
            print(f"| `{' '.join(['lsmem', *words])}` |", *ratios, flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
