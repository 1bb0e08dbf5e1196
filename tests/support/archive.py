"""Debian's archive for tests: one of apt's sources on this machine, or MEMORY_HOTPLUG_MIRROR.

    python3 tests/support/archive.py SUITE      prints the address of one that has this suite

It needs nothing but Python, so that it runs before the project is installed.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "common"))

from guest.apt import Apt, FetchError, archive

VARIABLE = "MEMORY_HOTPLUG_MIRROR"

ARCHITECTURE = "amd64"
"""The tests' chroots and guests have this one."""


def address(suite: str) -> str:
    """The address of an archive that has a suite."""
    with opened(suite) as apt:
        return apt.mirror


@contextmanager
def opened(suite: str) -> Iterator[Apt]:
    """A context with apt for an archive that has a suite. Raises FetchError without one."""
    mirror = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory() as directory:
        yield archive(Path(directory), [suite], ARCHITECTURE, mirror, option=f"{VARIABLE}=URL")


@contextmanager
def new(directory: Path) -> Iterator[Path]:
    """A context with an empty directory, which takes the place of another when all went well."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
        made = Path(temporary, "new")
        made.mkdir()
        yield made
        shutil.rmtree(directory, ignore_errors=True)
        made.rename(directory)


if __name__ == "__main__":
    try:
        print(address(sys.argv[1]))
    except FetchError as error:
        sys.exit(f"archive: {error}")
