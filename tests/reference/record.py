#!/usr/bin/env python3
"""Record vectors-2.43.json: util-linux on a terminal, in Polish, and where the first block of an
s390 is not configured.

    python tests/reference/record.py --util-linux DIR [--build DIR]

DIR is a checkout of util-linux; see tests/fuzz/fuzz_util_linux.py for what that needs. The texts of
tooltips are left out.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import static_tree
from made_locale import made
from mounted_machines import mounted
from parity import without_tooltips
from random_trees import COLUMNS
from simulated import conditions, make
from util_linux import Programs, built, observe, program

FILE = Path(__file__).with_name("vectors-2.43.json")

MIB = 1 << 20
_ON = {"state": "online", "zones": "Normal"}
_OFF = {"state": "offline", "off_zones": "Normal Movable"}
MACHINES: dict[str, dict[str, Any]] = {
    "x86-tenths": {
        "block_size": 128 * MIB,
        "memmap_param": "N",
        "blocks": [{"range": [0, 11], **_ON}, {"range": [16, 17], **_OFF}],
    },
    "s390-later": {
        "block_size": 128 * MIB,
        "firmware": True,
        "memmap_param": "Y",
        "blocks": [
            {"range": [0, 0], "config": 0},
            {"range": [1, 2], **_ON},
            {"range": [3, 4], **_OFF},
            {"range": [5, 6], "config": 0},
        ],
    },
}

WITHOUT_NODE = [name for name in COLUMNS if name != "NODE"]
POLISH = {"LC_ALL": "pl_PL.UTF-8"}
LSMEM: tuple[tuple[str, str, dict[str, str], int], ...] = (
    *(("x86-tenths", "", {}, columns) for columns in (200, 80, 65, 64, 63, 20)),
    *(("x86-tenths", "-o SIZE,BLOCK", {}, columns) for columns in (80, 11, 10)),
    *(("x86-tenths", words, {}, 80) for words in ("-n", "-b", "--annotate=never", "-J", "-r")),
    *(("x86-tenths", words, POLISH, 0) for words in ("", "-J", "-b", "--summary", "-o FOO")),
    # Without NODE, of which nothing tells where memory is not configured.
    *(("s390-later", f"-o {','.join(WITHOUT_NODE)}", {}, columns) for columns in (0, 120)),
)
"""Machine, command line, environment, and the width of the terminal, if there is one."""
CHMEM: tuple[tuple[str, dict[str, str], tuple[str, ...]], ...] = (
    ("s390-later", {}, ("-v -b -d 1 -z DMA", "-v -b -d 1 -z Normal", "-v -b -e 1")),
    ("s390-later", {}, ("-v -b -e 3", "-v -b -e 4 -z Normal", "-v -b -e 5-6")),
    ("s390-later", {}, ("-v -b -e 0 -z Normal", "-v -d 256m -z Normal")),
    ("x86-tenths", POLISH, ("-e 1,5g", "-d 1.5g", "-d 1,5g", "-e 0,5g")),
    ("x86-tenths", POLISH, ("-b -e x", "-e 1x", "-b -d 99999999999999999999")),
)


def lsmem(programs: Programs, work: Path, kept: dict[str, str]) -> Iterator[dict[str, Any]]:
    for machine, line, variables, columns in LSMEM:
        root = work / f"tree-{machine}"
        if not root.exists():
            static_tree.make(root, MACHINES[machine])
        words = line.split()
        environment = {**kept, "TERM": "xterm", **variables}
        seen = observe(program(programs.lsmem, ["-s", str(root), *words], environment), columns)
        yield {
            "machine": machine,
            "argv": words,
            "environment": variables,
            "columns": columns,
            "rc": seen.status,
            "stdout": without_tooltips(seen.out),
            "stderr": seen.err,
        }


def chmem(programs: Programs, work: Path, kept: dict[str, str]) -> Iterator[dict[str, Any]]:
    with mounted(work / "machines", work / "mounted") as mountpoint:
        for number, (machine, variables, lines) in enumerate(CHMEM):
            root = make(work / f"machines/{number}", MACHINES[machine])
            before, steps = conditions(root), []
            for line in lines:
                words = line.split()
                given = ["-s", str(mountpoint / str(number)), *words]
                seen = observe(program(programs.chmem, given, {**kept, **variables}))
                after = conditions(root)
                changed = {block: now for block, now in after.items() if now != before[block]}
                steps.append(
                    {"argv": words, "rc": seen.status, "stdout": seen.out, "stderr": seen.err}
                    | {"changed": changed}
                )
                before = after
            yield {"machine": machine, "environment": variables, "steps": steps}


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("--util-linux", type=Path, required=True, metavar="DIR")
    asked.add_argument("--build", type=Path, metavar="DIR")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        kept = made(work, "pl_PL")
        programs = built(options.util_linux, options.build or work / "reference")
        found = {
            "machines": MACHINES,
            "lsmem": list(lsmem(programs, work, kept)),
            "chmem": list(chmem(programs, work, kept)),
        }
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
