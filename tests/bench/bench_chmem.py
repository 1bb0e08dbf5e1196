"""What chmem costs beyond the writes themselves: 8,192 blocks of a static tree are enabled. And how
long it takes to enable one block beside `import click`.

    python tests/bench/bench_chmem.py [BLOCKS]

Compared are whole processes, in turn: chmem, and a Python that opens, writes and closes the same
files and does nothing else. The trees lie in the directory for temporary files (TMPDIR).
"""

import os
import statistics
import sys
import sysconfig
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from static_tree import MEMORY, plain
from timings import run

ROUNDS = 9
CHMEM = str(Path(sysconfig.get_path("scripts")) / "chmem")
BARE = """
import sys
for number in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/memory{number}/state", "w") as state:
        state.write("online_movable")
"""


def measure(blocks: int) -> tuple[float, float]:
    """Medians, in seconds, of chmem and of the bare writes."""
    ours, bare = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            plain(Path(folder, "a"), ["offline"] * blocks)
            plain(Path(folder, "b"), ["offline"] * blocks)
            os.sync()
            last = f"0-{blocks - 1}"
            chmem = [CHMEM, "-s", f"{folder}/a", "-e", "-b", last]
            bare.append(
                run([sys.executable, "-c", BARE, f"{folder}/b/{MEMORY}", str(blocks)]).seconds
            )
            ours.append(run(chmem).seconds)
            for tree in "ab":
                written = Path(folder, tree, MEMORY, f"memory{blocks - 1}", "state").read_text()
                assert written == "online_movable"
    return statistics.median(ours), statistics.median(bare)


def one_block() -> tuple[float, float]:
    """Medians, in seconds of processor time, of `chmem -e -b 5` and of `import click`."""
    ours, theirs = [], []
    for _ in range(25):
        with tempfile.TemporaryDirectory() as folder:
            plain(Path(folder, "a"), ["offline"] * 200)
            ours.append(run([CHMEM, "-s", f"{folder}/a", "-e", "-b", "5"]).cpu)
            theirs.append(run([sys.executable, "-c", "import click"]).cpu)
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 8192
    ours, bare = measure(blocks)
    print(f"{blocks} blocks: chmem {ours:.3f} s, bare writes {bare:.3f} s, {ours / bare:.2f} times")
    ours, click = one_block()
    print(f"one block: chmem {ours:.3f} s, import click {click:.3f} s, {ours / click:.2f} times")


if __name__ == "__main__":
    main()
