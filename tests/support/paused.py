"""chmem as a process that stands still in each delay of the simulated kernel until it is told.

So a test knows where it is, on a machine however busy: no test must guess how long something takes.
"""

import os
import subprocess
import sys
from pathlib import Path

from commands import starts_a_process

_PROGRAM = """
import os, select, sys, time

say, told = int(sys.argv.pop(1)), int(sys.argv.pop(1))

def stand_still(seconds):
    os.write(say, f"{seconds}\\n".encode())
    # In short waits: what a signal does that comes just before one of them is done after it.
    while not select.select([told], [], [], 0.05)[0]:
        pass
    os.read(told, 1)

time.sleep = stand_still
from chmem_py.cli import main
main()
"""


class Paused:
    """A chmem that stands still in each delay of a machine, however long that is.

    It goes on to its end when nothing refers to this object any more, such as after a failure.
    """

    def __init__(self, *arguments: str | Path) -> None:
        starts_a_process()
        said, say = os.pipe()
        told, self._tell = os.pipe()
        words = [sys.executable, "-c", _PROGRAM, str(say), str(told), *map(str, arguments)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=(say, told)
        )
        os.close(say)
        os.close(told)
        self._said = os.fdopen(said)

    def until_it_stands_still(self) -> float:
        """Wait for the next delay; its seconds."""
        line = self._said.readline()
        assert line, self.process.communicate()
        return float(line)

    def go_on(self) -> None:
        """End the delay."""
        os.write(self._tell, b".")

    def finish(self) -> tuple[str, str]:
        """Wait for its end; what it has written to standard output and standard error."""
        return self.process.communicate()

    def __del__(self) -> None:
        os.close(self._tell)
        self._said.close()
