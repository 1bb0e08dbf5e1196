#!/usr/bin/env python3
"""The time of lsmem for each column and each format, beside util-linux's lsmem.

    python tests/bench/bench_columns.py [--blocks 65536] [--runs 3] [--other LSMEM]
        [--write | --row 'lsmem -o NODE' [--tree links]]

Whole processes in turn: ours on two processors, ours on one, and util-linux's. Each cell has two
ratios of medians: of elapsed time, and of processor time, which busy neighbours move less. The
trees are static and lie below /dev/shm, which needs 2.3 million inodes and 20 GiB: with nodes,
without, with links to nodes in the blocks alone, and with firmware. With --write the tables replace
those of docs/benchmarks.md; they are printed in any case. With --row, only that command is timed,
and with --tree on that tree only.
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
from timings import Timing, medians, on

LSMEM = str(Path(sysconfig.get_path("scripts")) / "lsmem")

DOCUMENT = Path(__file__).parents[2] / "docs/benchmarks.md"
BEGIN, END = "<!-- bench_columns.py writes this -->\n", "<!-- to here -->\n"

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
FIRMWARE_ONLY = (
    ("-o", "CONFIGURED"),
    ("-o", "MEMMAP-ON-MEMORY"),
    ("-S", "CONFIGURED"),
    ("-S", "MEMMAP-ON-MEMORY"),
)
"""Where nothing tells them, util-linux's lsmem fails."""
BESIDE_PLAIN = ("--map",)
"""Util-linux's has none of these, and lists what it lists by default."""
TREES = {
    "nodes": {},
    "no nodes": {"nodes": False},
    "links": {"directories": False},
    "firmware": {"firmware": True},
}
"""Name -> how its tree is made."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=65536)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--other", default="/usr/bin/lsmem")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}")
    commands = {
        " ".join(["lsmem", *words]): words for words in (*ROWS, *FIRMWARE_ONLY, BESIDE_PLAIN)
    }
    which.add_argument("--row", choices=commands, help="time only this command")
    parser.add_argument("--tree", choices=TREES, help="with --row, only on this tree")
    given = parser.parse_args()
    if given.tree is not None and given.row is None:
        parser.error("--tree goes with --row")
    if given.row is not None:
        commands = {given.row: commands[given.row]}
    chosen = TREES if given.tree is None else {given.tree: TREES[given.tree]}
    root = Path(tempfile.mkdtemp(prefix="bench-columns-", dir="/dev/shm"))
    tables: tuple[list[str], ...] = (["Two processors:", ""], ["One processor:", ""])
    try:
        trees = {
            name: static_tree.many(root / name, given.blocks, **how) for name, how in chosen.items()
        }
        for table in tables:
            table.append(" ".join(["| command |", *(f"{name} |" for name in chosen)]))
            table.append(" ".join(["| --- |", *("---: |" for _ in chosen)]))
        for command, words in commands.items():
            rows = [[f"| `{command}` |"] for _ in tables]
            for name, tree in trees.items():
                cells = ["|", "|"]
                if words not in FIRMWARE_ONLY or name == "firmware":
                    cells = _cells(tree, words, given.other, given.runs)
                for row, cell in zip(rows, cells, strict=True):
                    row.append(cell)
            for table, row in zip(tables, rows, strict=True):
                table.append(" ".join(row))
                print(table[-1], flush=True)
    finally:
        shutil.rmtree(root)
    text = "\n\n".join("\n".join(table) for table in tables) + "\n"
    print(text)
    if given.write:
        _write(text)


def _cells(tree: str, words: Sequence[str], other: str, runs: int) -> list[str]:
    """The ratios on two processors, and on one."""
    ours = [LSMEM, "-s", tree, *words]
    theirs = [other, "-s", tree, *(() if words == BESIDE_PLAIN else words)]
    *both, reference = medians(on(2, ours), on(1, ours), theirs, runs=runs)
    return [_cell(one, reference) for one in both]


def _cell(ours: Timing, theirs: Timing) -> str:
    return f"{ours.seconds / theirs.seconds:.2f} ({ours.cpu / theirs.cpu:.2f}) |"


def _write(text: str) -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
