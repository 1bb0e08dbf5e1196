#!/usr/bin/env python3
"""A real udev judges what is said of udev rules: files made at random, two added blocks for each.

    python tests/udev/judge.py [COUNT] [SEED] [--keep DIR]
    python tests/udev/judge.py --again DIR

In a Debian with systemd and udev, in QEMU, each file is put in place, udev hears that two blocks
were added, and their states are compared with what the library said before: where a block is
online, it never said "no", and where it said "certain", the block is online. 500 files take half
an hour. The same seed makes the same files; a disagreement is printed with its file. Exits 1 after
one. --keep keeps what udev did, and --again compares it with what the library says now.
"""

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from vm.udev_trial import judge, judge_again


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=500)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--again", type=Path)
    options = parser.parse_args()
    # A guest ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.again:
        figures, wrong = judge_again(options.again, say)
    else:
        figures, wrong = judge(options.count, options.seed, say, options.keep)
    files = sum(count for name, count in figures.items() if name.startswith("any block"))
    say(f"{files} files: {dict(sorted(figures.items()))}; {len(wrong)} disagreements")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
