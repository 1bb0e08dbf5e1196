#!/usr/bin/env python3
"""lsmem and chmem beside util-linux's, on trees and command lines made at random.

    python tests/fuzz/fuzz_util_linux.py --util-linux DIR [--seed N] [--commands 2000]
                                         [--sequences 300] [--only NAME] [--build DIR]

DIR is a checkout of util-linux. Its lsmem and chmem are built from a copy (meson, ninja, a C
compiler, bison, flex). Each command line runs in both, a third of those of lsmem on a terminal;
status, standard output and standard error are compared to the byte, and after a chmem every block
of the machine. chmem of util-linux gets a simulated machine through FUSE (root, fuse3), and never
the memory of this machine.

A difference has a name, by the table in tests/support/parity.py, which docs/util-linux.md explains,
or it is a failure. The same seed makes the same commands; a failure says its name, such as
`command 17`, and --only runs that one again. Exits 1 after a failure.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import chmem_py.cli  # noqa: F401  # what is imported here, forks need not import
import lsmem_py.cli  # noqa: F401
import parity
import random_trees
import util_linux
from mounted_machines import mounted
from parity import Again, Case
from simulated import Condition, conditions, make
from util_linux import Programs, observe, ours, program

TREES = 1 / 10
"""For each command of lsmem, how many trees are made."""


class Fuzz:
    """Runs both, and counts the differences by name."""

    def __init__(self, programs: Programs, work: Path, seed: int, only: str | None) -> None:
        self.programs, self.work, self.seed, self.only = programs, work, seed, only
        self._again = Again(
            lambda words, variables, columns: observe(
                program(programs.lsmem, words, variables), columns
            ),
            lambda words, variables, columns: observe(ours("lsmem", words, variables), columns),
        )
        self.found: Counter[str] = Counter()
        self.failures = 0

    def _randoms(self, kind: str, count: int) -> Iterator[tuple[str, random.Random]]:
        for index in range(count):
            name = f"{kind} {index}"
            if self.only in (None, name):
                yield name, random.Random(f"{self.seed} {name}")

    def commands(self, count: int) -> None:
        """Run command lines of lsmem in both."""
        trees: dict[int, Path] = {}
        many = max(int(count * TREES), 1)
        for name, rng in self._randoms("command", count):
            number = rng.randrange(many)
            if number not in trees:
                trees[number] = self.work / f"tree{number}"
                random_trees.make(random.Random(f"{self.seed} tree {number}"), trees[number])
            words = random_trees.lsmem_line(rng, trees[number])
            columns = rng.choice([0, 0, rng.choice([20, 48, 52, 53, 54, 60, 80, 200])])
            variables = random_trees.environment(rng)
            if columns:
                # Colour is our own.
                variables["NO_COLOR"] = "1"
            theirs = self._again.theirs(words, variables, columns)
            mine = self._again.ours(words, variables, columns)
            case = Case("lsmem", words, variables, columns, theirs, mine, trees[number])
            self._compare(name, case, lambda case: parity.named(case, self._again))

    def sequences(self, count: int) -> None:
        """Run sequences of command lines of chmem in both, each on a machine of its own."""
        with mounted(self.work / "machines", self.work / "mounted") as mountpoint:
            for name, rng in self._randoms("sequence", count):
                self._sequence(name, rng, mountpoint)

    def _sequence(self, name: str, rng: random.Random, mountpoint: Path) -> None:
        machine = random_trees.machine(rng)
        number = name.replace(" ", "")
        their_root = make(self.work / "machines" / number, machine)
        our_root = make(self.work / f"ours-{number}", machine)
        before: Mapping[int, Condition] = conditions(our_root)
        for step in range(rng.randint(1, 6)):
            words = random_trees.chmem_line(rng, machine, before)
            variables = random_trees.environment(rng)
            their_words = ["-s", str(mountpoint / number), *words]
            theirs = observe(program(self.programs.chmem, their_words, variables))
            mine = observe(ours("chmem", ["-s", str(our_root), *words], variables))
            case = Case(
                "chmem", words, variables, 0, theirs, mine, our_root, machine, before,
                conditions(their_root), conditions(our_root),
            )  # fmt: skip
            self._compare(f"{name}, step {step}", case, parity.named_of_chmem)
            before = case.our_blocks
            if case.their_blocks != before:
                break
        shutil.rmtree(their_root)
        shutil.rmtree(our_root)

    def _compare(self, name: str, case: Case, named: Callable[[Case], list[str]]) -> None:
        if case.same:
            self.found["the same"] += 1
            return
        names = named(case)
        self.found.update(names)
        if names:
            return
        self.failures += 1
        self.found["WITHOUT A NAME"] += 1
        print(f"{name}: {case.program} {case.words!r}\n  {case.variables!r} columns {case.columns}")
        for title, seen in (("util-linux", case.theirs), ("ours", case.ours)):
            print(f"  {title}: status {seen.status}")
            print("    " + (seen.out + seen.err)[-1500:].replace("\n", "\n    "))
        if case.machine:
            print(f"  machine: {case.machine!r}")
            for block in case.before:
                told = (case.before[block], case.their_blocks.get(block), case.our_blocks[block])
                if len(set(told)) > 1:
                    print(f"    block {block}: before {told[0]}\n      util-linux {told[1]}")
                    print(f"      ours       {told[2]}", flush=True)


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--util-linux", type=Path, required=True, metavar="DIR")
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--commands", type=int, default=2000)
    asked.add_argument("--sequences", type=int, default=300)
    asked.add_argument("--only", metavar="NAME")
    asked.add_argument("--build", type=Path, metavar="DIR", help="build in DIR, and use it again")
    options = asked.parse_args()
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    work = Path(tempfile.mkdtemp(dir=shared, prefix="fuzz-util-linux-"))
    try:
        programs = util_linux.built(options.util_linux, options.build or work / "reference")
        fuzz = Fuzz(programs, work, options.seed, options.only)
        began = time.monotonic()
        fuzz.commands(options.commands)
        fuzz.sequences(options.sequences)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for name, count in fuzz.found.most_common():
        print(f"{count:7} {name}")
    took = time.monotonic() - began
    print(
        f"seed {options.seed}: {options.commands} commands of lsmem and {options.sequences}"
        f" sequences of chmem, {fuzz.failures} differences without a name, {took:.0f} s"
    )
    return int(fuzz.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
