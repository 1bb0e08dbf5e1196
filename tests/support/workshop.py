"""What fuzzes share: a place for machines, commands in this process, and a report."""

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import click

import hotplug_cli.program
from hotplug_cli.getopt import Command


class Workshop:
    """A place for machines, and what was found out about them."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.results: Counter[str] = Counter()
        self.failures = 0

    def check(self, holds: object, what: str, *more: object) -> None:
        if not holds:
            self.failures += 1
            print(f"FAILED: {what}", *more, sep="\n    ", flush=True)


Shop = TypeVar("Shop", bound=Workshop)
Parts = Mapping[str, tuple[Callable[[Shop, int], None], int]]
"""Name -> what is tried, and how often without an option of this name."""


def run_here(command: Command | click.Command, name: str, *words: object) -> tuple[int, str, str]:
    """A command in this process: its status (-1 after a traceback) and what it writes."""
    out, error = io.StringIO(), io.StringIO()
    sys.argv = [name, *map(str, words)]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = hotplug_cli.program.status_of(command, name)
        except BaseException:
            status = -1
            error.write(traceback.format_exc())
    return status, out.getvalue(), error.getvalue()


def try_parts(
    description: str | None, shop: Callable[[Path, int], Shop], parts: Parts[Shop]
) -> int:
    """Try each part in the working directory, which is its own; the exit status."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    for name, (_, count) in parts.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    given = parser.parse_args()
    failures = 0
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    for name, (part, _) in parts.items():
        count, began = getattr(given, name), time.monotonic()
        if not count:
            continue
        with tempfile.TemporaryDirectory(dir=shared, prefix="fuzz-") as root:
            made = shop(Path(root), given.seed)
            # Some command lines name files.
            os.chdir(root)
            part(made, count)
            os.chdir("/")
        failures += made.failures
        took = time.monotonic() - began
        kinds = ", ".join(f"{many} {what}" for what, many in sorted(made.results.items()))
        print(f"{name}: {count}, {made.failures} failed, {took:.0f} s ({kinds})", flush=True)
    return 1 if failures else 0
