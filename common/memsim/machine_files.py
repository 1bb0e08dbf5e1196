"""The files that a machine's directory has in `.memsim`, and how they are changed.

records.py says what they contain, and directory.py when they change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from safe_files.linkless import Beneath, close

__all__ = [
    "BLOCKS",
    "JOURNAL",
    "LIVE",
    "LOCK",
    "MARK",
    "NEXT",
    "PRIVATE",
    "blocks_file",
    "patch",
    "staging",
]

PRIVATE: Final = ".memsim"
MARK: Final = f"{PRIVATE}/machine.json"
"""The file that marks a tree as a simulated machine."""

BLOCKS: Final = f"{PRIVATE}/blocks"
LIVE: Final = f"{PRIVATE}/live.json"
JOURNAL: Final = f"{PRIVATE}/journal.json"
"""While neither LIVE nor this file changes, the machine does not."""

LOCK: Final = f"{PRIVATE}/lock"
NEXT: Final = f"{PRIVATE}/next"


@contextmanager
def staging(files: Beneath) -> Iterator[None]:
    """A context with a directory for new files, and for what they replace."""
    files.remove_tree(NEXT)
    files.mkdir(NEXT)
    try:
        yield
    finally:
        with suppress(OSError):
            files.remove_tree(NEXT)


@contextmanager
def blocks_file(
    files: Beneath, changed: Mapping[int, tuple[int, int]] | None
) -> Iterator[int | None]:
    """A context with a descriptor to write to `blocks`; None if no block changes."""
    if not changed:
        yield None
        return
    file = files.open(BLOCKS, os.O_WRONLY)
    try:
        yield file
    finally:
        close(file)


def patch(file: int | None, changed: Mapping[int, tuple[int, int]], count: int) -> None:
    """Write places and flags by their index; the file has COUNT of each."""
    if file is None:
        return
    for index, (place, flags) in changed.items():
        os.pwrite(file, bytes([place]), index)
        os.pwrite(file, bytes([flags]), index + count)
