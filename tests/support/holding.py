"""A machine that another process holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import start_python

_PROGRAM = """
import sys, time
from memory_hotplug.change.lock import hold
with hold(sys.argv[1], this_machine=False):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another(root: Path) -> Iterator[int]:
    """Another process holds the machine; its number."""
    other = start_python(_PROGRAM, root)
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    try:
        yield other.pid
    finally:
        other.kill()
        other.wait()
