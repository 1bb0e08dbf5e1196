"""Runs in the guest: fills the kernel's zones with memory that cannot be moved.

`python3 occupy.py MEBIBYTES` writes so much into pipes (whose buffers are unmovable pages of the
kernel zones), prints a line and waits to be killed. While it holds them, a block that it has filled
cannot go offline: EBUSY, at once.
"""

import fcntl
import os
import signal
import sys

PIPE = 1 << 20
"""Bytes in one pipe: what root may ask for without changing a setting (fs.pipe-max-size)."""


def main() -> None:
    """Fill pipes and wait."""
    pipes = []
    for _ in range(int(sys.argv[1])):
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
        os.write(writing, bytes(PIPE))
        pipes.append((reading, writing))
    print(f"{len(pipes)} MiB in pipes", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
