#!/usr/bin/env python3
"""How long chmem takes on a real kernel to set all memory of a DIMM online and offline, beside
util-linux's chmem.

    python tests/bench/bench_kernel.py [--dimm 8G] [--rounds 7] [--instructions]

The two take turns in one guest of `memsim boot`, which must have been fetched. Compared are the
medians of what they take beyond their start-up, which a run measures that finds all as asked for.
With --instructions the clock of the guest counts what its processor does, a nanosecond for each
instruction: so it does not matter what else this machine does. QEMU takes longer, without KVM.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

QEMU = "qemu-system-x86_64"
MEMSIM = str(Path(sysconfig.get_path("scripts")) / "memsim")
GOAL = 1.1
IN_GUEST = """
import json, os, statistics, subprocess, sys, time
from pathlib import Path

MEMORY = Path("/sys/devices/system/memory")
COMMANDS = {"ours": "chmem", "theirs": "chmem.ul"}

def states():
    return {int(path.parent.name[6:]): path.read_text().strip()
            for path in MEMORY.glob("memory*/state")}

def taken(*words):
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, words
    return seconds, usage.ru_utime + usage.ru_stime

plugged = sorted(number for number, state in states().items() if state == "offline")
blocks = f"{plugged[0]}-{plugged[-1]}"
seen = {}
size = sys.argv[1]
for counted in range(int(sys.argv[2]) + 1):
    for who, command in COMMANDS.items():
        for what, words, after in (
            ("start", ("-e", "-b", "0"), "offline"),
            ("-e -b RANGE", ("-e", "-z", "Movable", "-b", blocks), "online"),
            ("-d -b RANGE", ("-d", "-b", blocks), "offline"),
            ("-e SIZE", ("-e", "-z", "Movable", size), "online"),
            ("-d SIZE", ("-d", size), "offline"),
        ):
            found = taken(command, *words)
            assert {states()[number] for number in plugged} == {after}, (command, words)
            if counted:
                seen.setdefault(f"{who} {what}", []).append(found)
medians = {name: [statistics.median(one) for one in zip(*found)] for name, found in seen.items()}
print(json.dumps({"release": os.uname().release, "blocks": len(plugged), "medians": medians}))
"""


def _beyond(medians: Mapping[str, Sequence[float]], who: str, what: str) -> list[float]:
    """The seconds beyond the start-up: elapsed, and of processor time."""
    pairs = zip(medians[f"{who} {what}"], medians[f"{who} start"], strict=True)
    return [taken - start for taken, start in pairs]


@contextmanager
def _counting() -> Iterator[dict[str, str]]:
    """An environment in which QEMU's clock counts instructions."""
    with tempfile.TemporaryDirectory() as directory:
        program, real = Path(directory, QEMU), shutil.which(QEMU)
        assert real
        words = f'{shlex.quote(real)} "$@" -icount shift=0,sleep=off'
        program.write_text(f"#!/bin/sh\nexec {words}\n")
        program.chmod(0o755)
        yield {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}


def _measured(words: Sequence[str], *, instructions: bool) -> bytes:
    if not instructions:
        return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    with _counting() as environment:
        return subprocess.run(words, stdout=subprocess.PIPE, check=True, env=environment).stdout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dimm", default="8G")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--instructions", action="store_true")
    given = parser.parse_args()
    guest = ["--arch", "x86_64", "--memory", "1G", "--dimm", given.dimm]
    words = [MEMSIM, "boot", *guest, "--", "python3", "-c", IN_GUEST]
    words += [given.dimm, str(given.rounds)]
    found = json.loads(_measured(words, instructions=given.instructions).splitlines()[-1])
    medians = found["medians"]
    print(f"Linux {found['release']}, {found['blocks']} blocks of 128 MiB")
    print("| what | ours | util-linux's | ratio | ratio of processor time | goal |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for what in ("-e -b RANGE", "-d -b RANGE", "-e SIZE", "-d SIZE"):
        ours, theirs = (_beyond(medians, who, what) for who in ("ours", "theirs"))
        print(
            f"| `chmem {what}` | {ours[0]:.3f} s | {theirs[0]:.3f} s | {ours[0] / theirs[0]:.2f}"
            f" | {ours[1] / theirs[1]:.2f} | {GOAL:.2f} |"
        )
    starts = (medians["ours start"], medians["theirs start"])
    print(f"start-up: {starts[0][0]:.3f} s and {starts[1][0]:.3f} s")


if __name__ == "__main__":
    main()
