"""Runs in a guest: kills a process at the moment when a path is no longer there.

`PROCESS PATH`. It runs before all others, so that the process does not come to its next step.
"""

import os
import signal
import sys
import time


def main() -> None:
    """Wait, and kill."""
    process, path = int(sys.argv[1]), sys.argv[2]
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    print("waiting", flush=True)
    while os.path.exists(path):
        time.sleep(0.0002)
    os.kill(process, signal.SIGKILL)
    signal.pause()


if __name__ == "__main__":
    main()
