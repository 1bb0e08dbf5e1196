#!/usr/bin/env python3
"""A real udev judges what is said of udev rules: files made at random, two added blocks for each.

    python tests/udev/judge.py [COUNT] [SEED]

In a Debian with systemd and udev, in QEMU, each file is put in place, udev hears that two blocks
were added, and their states are compared with what the library said before: where a block is
online, it never said "no", and where it said "certain", the block is online. 500 files take half
an hour. The same seed makes the same files; a disagreement is printed with its file. Exits 1 after
one.
"""

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from vm.udev_trial import judge


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=500)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    options = parser.parse_args()
    # A guest ends with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, wrong = judge(options.count, options.seed, lambda line: print(line, flush=True))
    print(f"seed {options.seed}: {options.count} files, {len(wrong)} disagreements")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
