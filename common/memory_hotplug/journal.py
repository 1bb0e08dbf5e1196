"""The journal of a machine that is changed: which block is half done, and what can be undone.

    with hold(tree) as held:
        held.note(block, "enable")      # before the first of several writes to a block
        held.clear()                    # after the last
        held.begin(changes, settings)   # before a whole change
        held.finish(outcomes, settings) # after it

What is half done is one line about one block, for the next process if this one is killed. What can
be undone is a JSON document: every block and setting that a change touches, as it was before. Both
have the same words for the condition of a block. For this machine both are in RUN, to which only
root can write, and which is empty after a boot. In any other tree the line is a file in its root;
only this machine and a simulated one keep what can be undone. Where a file cannot be written, as in
a read-only tree, the work goes on without it.

This module opens files itself, because they are not part of sysfs.
"""

import contextlib
import errno
import json
import os
import re
import stat
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.condition import condition_of, parse_condition
from memory_hotplug.layout_files import LONGEST, read_file, remove_file, replace_file
from memory_hotplug.layout_text import parse_layout
from memory_hotplug.plan import Change, change_back
from memory_hotplug.settings import ATTRIBUTES, Setting

__all__ = [
    "HALF_DONE",
    "RUN",
    "UNDO",
    "Before",
    "Journal",
    "Left",
    "Record",
    "format_record",
    "last_change",
    "parse_record",
]

RUN = "run/memory-hotplug"
"""The directory for this machine, below its root."""
HALF_DONE = ".memory-hotplug-block"
"""The name of the line about a block in the root of any other tree."""
UNDO = f"{RUN}/undo.json"
"""The record of the last change, below the root of this machine and of simulated ones."""

_LONGEST_LINE = 4096
"""Bytes; this module writes much shorter ones."""


# What is half done.


class Left(NamedTuple):
    """A block that a process was changing when it was killed."""

    before: MemoryBlock
    """The block before that change."""
    action: str
    pid: int


def _before(block: MemoryBlock) -> dict[str, Any]:
    """The condition to which a block is brought back. One that is just going offline was online."""
    if block.state not in (State.ONLINE, State.OFFLINE):
        block = block._replace(state=State.ONLINE, zones=None)
    return condition_of(block)


def _line(before: MemoryBlock, action: str) -> bytes:
    words = {"block": before.number, **_before(before), "action": action, "pid": os.getpid()}
    return json.dumps(words).encode() + b"\n"


_ACTION = re.compile("[a-z-]{1,20}")


def _left(data: bytes) -> Left | None:
    """What the first line says; None if it is damaged."""
    line, newline, _ = data.partition(b"\n")
    try:
        found = json.loads(line) if newline else None
        if not isinstance(found, dict):
            return None
        action, pid = found.get("action"), found.get("pid")
        if type(pid) is not int or not 0 <= pid < 1 << 30:
            return None
        if not (isinstance(action, str) and _ACTION.fullmatch(action)):
            return None
        return Left(parse_condition(found.get("block", -1), found), action, pid)
    except (ValueError, RecursionError):
        return None


class Journal:
    """The journal of one machine."""

    def __init__(self, root: str, directory: int | None, name: str, *, undoable: bool) -> None:
        """The line about a block is the file NAME in the open DIRECTORY; without one nothing is
        recorded. ROOT is that of the machine, UNDOABLE whether it keeps what can be undone."""
        self._root, self._directory, self._name = root, directory, name
        self._line: int | None = None
        self._stuck = False
        self._undoable = undoable and directory is not None
        self._older: bytes | None = None
        self._begun = False
        self._done: tuple[Sequence[MemoryBlock], Sequence[Setting]] = ((), ())
        self.left = self._read()
        """The block that a killed process left; None if there is none, or the line is damaged."""

    def close(self) -> None:
        """Remove an empty line, and close the files."""
        if self._line is not None and os.fstat(self._line).st_size == 0:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        for descriptor in (self._line, self._directory):
            if descriptor is not None:
                os.close(descriptor)
        self._line = self._directory = None

    def note(self, before: MemoryBlock, action: str) -> None:
        """Record the block that is about to be changed, in its present condition."""
        if self._line is None:
            self._line = self._open(os.O_RDWR | os.O_CREAT)
        if self._line is not None:
            # One write. An older line may be longer, so only the first line counts.
            self._write(self._line, _line(before, action))

    def clear(self) -> None:
        """Clear the line: no block is half changed any more."""
        self.left = None
        if self._line is None:
            self._line = self._open(os.O_RDWR)
        if self._line is not None:
            os.ftruncate(self._line, 0)

    def keep(self) -> None:
        """Leave the line about a block that could not be brought back as it is, for the next time.
        No other block is recorded meanwhile."""
        if self._line is not None:
            os.close(self._line)
        self._line = None
        self._stuck = True

    @staticmethod
    def _write(file: int, line: bytes) -> None:
        try:
            if os.pwrite(file, line, 0) != len(line):
                os.ftruncate(file, 0)
        except OSError:
            # The work goes on, even on a full disk.
            os.ftruncate(file, 0)

    def _open(self, flags: int) -> int | None:
        if self._directory is None or self._stuck:
            return None
        try:
            found = os.open(
                self._name,
                flags | os.O_NOFOLLOW | os.O_NONBLOCK,
                0o600,
                dir_fd=self._directory,
            )
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(found).st_mode) or os.fstat(found).st_nlink > 1:
            os.close(found)
            return None
        return found

    def _read(self) -> Left | None:
        self._line = self._open(os.O_RDWR)
        if self._line is None:
            return None
        return _left(os.pread(self._line, _LONGEST_LINE, 0))

    # What can be undone.

    def begin(self, changes: Iterable[Change], settings: Sequence[Setting]) -> None:
        """Record all that may be changed, in case this process is killed."""
        if not self._undoable:
            return
        before = [one.block for one in changes if one.is_ahead]
        if not (before or settings):
            return
        with contextlib.suppress(OSError):
            self._older = read_file(self._root, UNDO)
        with contextlib.suppress(OSError):
            self._record(before, settings)
            self._begun = True

    def finish(self, before: Sequence[MemoryBlock], settings: Sequence[Setting]) -> None:
        """Record what was changed, as it was BEFORE; if nothing was, the change before remains the
        last one."""
        self._done = before, settings
        if not self._begun:
            return
        with contextlib.suppress(OSError):
            if before or settings:
                self._record(before, settings)
            elif self._older is not None:
                replace_file(self._root, UNDO, self._older, 0o600)
            else:
                remove_file(self._root, UNDO)

    def add_layout(self, before: str) -> None:
        """Record also the text that the layout of chmem had BEFORE the change; empty for none."""
        if self._undoable:
            with contextlib.suppress(OSError):
                self._record(*self._done, before)

    def _record(
        self,
        before: Sequence[MemoryBlock],
        settings: Sequence[Setting],
        layout: str | None = None,
    ) -> None:
        words = {setting.key: setting.before for setting in settings}
        data = format_record(before, words, layout)
        if len(data) > LONGEST:
            # Nobody could read it, and the record of an older change is not that of the last.
            remove_file(self._root, UNDO)
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), UNDO)
        replace_file(self._root, UNDO, data, 0o600)


class Before(NamedTuple):
    """Blocks in a row that had the same condition before they were changed."""

    first: int
    last: int
    """The numbers of the first block that was changed and of the last, both inclusive; the last may
    be the lower one."""
    block: MemoryBlock
    """The condition, as that of the first block."""

    @property
    def lowest(self) -> int:
        return min(self.first, self.last)

    @property
    def highest(self) -> int:
        return max(self.first, self.last)


class Record(NamedTuple):
    """The record of a change: what it changed, as it was before."""

    rows: Sequence[Before]
    """In the order of the change; no block is in two of them."""
    settings: Mapping[str, str] = {}
    """Key of a policy -> the word."""
    layout: str | None = None
    """The text of the layout that chmem writes, if the change wrote it; empty if there was none."""

    def changes(self, blocks: Sequence[MemoryBlock]) -> list[Change]:
        """The changes back, for those of BLOCKS (which ascend) that are in the record. What was
        changed last comes first."""
        numbers = [block.number for block in blocks]
        found = []
        for row in reversed(self.rows):
            there = blocks[bisect_left(numbers, row.lowest) : bisect_right(numbers, row.highest)]
            for now in there if row.last < row.first else reversed(there):
                found.append(change_back(row.block._replace(number=now.number), now))
        return found


def format_record(
    before: Iterable[MemoryBlock], settings: Mapping[str, str] = {}, layout: str | None = None
) -> bytes:
    """The record of a change of blocks and settings that were as BEFORE and SETTINGS say, and of
    the layout that chmem writes, which had the text LAYOUT; None if it was not changed."""
    rows: list[dict[str, Any]] = []
    condition, way = None, 0
    for block in before:
        number, found = block.number, _before(block)
        step = number - rows[-1]["last"] if rows else 0
        if found == condition and step in ((1, -1) if way == 0 else (way,)):
            rows[-1]["last"], way = number, step
        else:
            rows.append({"first": number, "last": number, **found})
            condition, way = found, 0
    record = {"version": 1, "before": rows, "settings": dict(settings), "layout": layout}
    return json.dumps(record).encode() + b"\n"


def last_change(root: str) -> Record | None:
    """What can be undone; None if there is nothing. Raises ValueError if the record is damaged, and
    OSError if it cannot be read."""
    try:
        data = read_file(root, UNDO)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_record(data)


_KEYS = {"version", "before", "settings", "layout"}
_ROW = {"first", "last", "state", "zone", "configured", "memmap_on_memory"}
_WORD = re.compile("[A-Za-z0-9_-]{1,40}")


def parse_record(data: bytes) -> Record:
    """The record of a change. Raises ValueError if it is damaged."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(found, dict) or found.keys() != _KEYS or found["version"] != 1:
        raise ValueError("no record")
    settings = found["settings"]
    if not isinstance(settings, dict) or not ATTRIBUTES.keys() >= settings.keys():
        raise ValueError("no settings")
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in settings.values()):
        raise ValueError("no settings")
    if not isinstance(found["before"], list):
        raise ValueError("no record")
    rows = [_row(row) for row in found["before"]]
    ascending = sorted(rows, key=lambda row: row.lowest)
    if any(row.highest >= after.lowest for row, after in pairwise(ascending)):
        raise ValueError("a block twice")
    layout = found["layout"]
    if not (layout is None or isinstance(layout, str)):
        raise ValueError("no layout")
    if layout:
        # Also a LayoutError is a ValueError.
        parse_layout(layout, f"/{UNDO}")
    return Record(rows, settings, layout)


def _row(found: Any) -> Before:
    if not isinstance(found, dict) or found.keys() != _ROW:
        raise ValueError("no row")
    parse_condition(found["last"], found)
    return Before(found["first"], found["last"], parse_condition(found["first"], found))
