"""The journal of a machine that is changed: which block is half done, and what can be undone.

    with hold(tree) as held:
        held.note(block, "enable")      # before the first of several writes to a block
        held.clear()                    # after the last
        held.begin(changes, settings)   # before a whole change
        held.touch(block)               # before each block of it
    held.finish(before, settings)   # after it

What is half done is one line about one block, for the next process if this one is killed. What can
be undone is a JSON document: every block and setting that a change touches, as it was before. Both
have the same words for the condition of a block. For this machine both are in RUN, to which only
root can write, and which is empty after a boot. In any other tree the line is a file in its root;
only this machine and a simulated one keep what can be undone. Where a file cannot be written, as in
a read-only tree, the work goes on without it, and a record that lacks something is told once.

This module opens files itself, because they are not part of sysfs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from memory_hotplug.block import MemoryBlock
from memory_hotplug.change.plan import Change
from memory_hotplug.change.undo import (
    UNDO,
    Record,
    Rewritten,
    format_record,
    format_row,
    json_line,
    parse_record,
)
from memory_hotplug.condition import parse_condition, settled_condition
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.trees.root_files import (
    LONGEST,
    append_to_file,
    read_file,
    remove_file,
    replace_file,
)
from safe_files.errno_names import error_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.settings import Setting

__all__ = ["HALF_DONE", "RUN", "Journal", "Left", "last_change", "left_in", "words_before"]

RUN = "run/memory-hotplug"
"""The directory for this machine, below its root."""
HALF_DONE = ".memory-hotplug-block"
"""The name of the line about a block in the root of any other tree."""

_LONGEST_LINE = 4096
"""Bytes; this module writes much shorter ones."""


# What is half done.


class Left(NamedTuple):
    """A block that a process was changing when it was killed."""

    before: MemoryBlock
    """The block before that change."""
    action: str
    pid: int


def _line(before: MemoryBlock, action: str) -> bytes:
    words = {
        "block": before.number,
        **settled_condition(before),
        "action": action,
        "pid": os.getpid(),
    }
    return json_line(words)


def _left(data: bytes) -> Left | None:
    """What the first line says; None if it is damaged."""
    line, newline, _ = data.partition(b"\n")
    if not newline:
        return None
    import json
    import re

    try:
        found = json.loads(line)
        if not isinstance(found, dict):
            return None
        action, pid = found.get("action"), found.get("pid")
        if type(pid) is not int or not 0 <= pid < 1 << 30:
            return None
        if not (isinstance(action, str) and re.fullmatch("[a-z-]{1,20}", action)):
            return None
        return Left(parse_condition(found.get("block", -1), found), action, pid)
    except (ValueError, RecursionError):
        return None


def _line_file(directory: int, name: str, flags: int) -> int | None:
    """A descriptor of the file with the line; None if there is none that can be used."""
    try:
        found = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=directory)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(found).st_mode) or os.fstat(found).st_nlink > 1:
        os.close(found)
        return None
    return found


def left_in(directory: int, name: str) -> Left | None:
    """What the line in the file NAME of an open DIRECTORY says; nothing is written."""
    file = _line_file(directory, name, os.O_RDONLY)
    if file is None:
        return None
    try:
        return _left(os.pread(file, _LONGEST_LINE, 0))
    finally:
        os.close(file)


class Journal:
    """The journal of one machine."""

    def __init__(
        self,
        root: str,
        directory: int | None,
        name: str,
        *,
        undoable: bool,
        missing: OSError | None = None,
        unrecorded: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        """The line about a block is the file NAME in the open DIRECTORY; without one nothing is
        recorded. ROOT is that of the machine, UNDOABLE whether it keeps what can be undone, and
        MISSING why there is no directory for it. UNRECORDED is called, once, if the record of what
        can be undone lacks something."""
        self._root, self._directory, self._name = root, directory, name
        self._line: int | None = None
        self._stuck = False
        self._undoable = undoable and (directory is not None or missing is not None)
        self._missing, self._unrecorded = missing, unrecorded
        self._told = False
        self._size = 0
        self._older: bytes | None = None
        self._begun = False
        self._before: dict[int, MemoryBlock] = {}
        self._settings: Sequence[Setting] = ()
        self._done: tuple[Sequence[MemoryBlock], Mapping[str, str]] = ((), {})
        self._layout = False
        """Whether the record has what was made of the layout."""
        self.action: str | None = None
        """What a person asked for, where that is more than the action on each block."""
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
            self._write(self._line, _line(before, self.action or action))

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
        return _line_file(self._directory, self._name, flags)

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
        self._before = {one.number: one.block for one in changes}
        self._settings = settings
        if not (self._before or settings):
            return
        with contextlib.suppress(OSError):
            self._older = read_file(self._root, UNDO)
        try:
            self._record(list(self._before.values()), words_before(settings))
        except OSError as error:
            # That of an older change is not that of the last one.
            with contextlib.suppress(OSError):
                remove_file(self._root, UNDO)
            self._tell(error)
            return
        self._begun = True

    def touch(self, before: MemoryBlock) -> None:
        """Add a block that is about to be changed to the record, if it is not there: what takes the
        place of a block that failed was not known when the change began."""
        if not self._begun or before.number in self._before:
            return
        self._before[before.number] = before
        row = format_row(before)
        with self._telling():
            if self._size + len(row) > LONGEST:
                # As a whole it may be shorter: blocks in a row that were alike have one row.
                self._record(list(self._before.values()), words_before(self._settings))
                return
            append_to_file(self._root, UNDO, row)
            self._size += len(row)

    def finish(self, before: Sequence[MemoryBlock], settings: Sequence[Setting]) -> None:
        """Record what was changed, as it was BEFORE; if nothing was, the change before remains the
        last one."""
        self._finish(before, words_before(settings))

    def _finish(self, before: Sequence[MemoryBlock], words: Mapping[str, str]) -> None:
        self._done = before, words
        if not self._begun:
            return
        with self._telling():
            if before or words:
                self._record(before, words)
            elif self._older is not None:
                replace_file(self._root, UNDO, self._older, 0o600)
            else:
                remove_file(self._root, UNDO)

    def begin_undo(self, record: bytes) -> None:
        """Add what an undoing may change to the RECORD of what is to be undone, in case this
        process is killed. One that cannot be written, or is too long, stays without it."""
        self._layout = False
        if self._undoable and not self._missing and len(record) <= LONGEST:
            with contextlib.suppress(OSError):
                replace_file(self._root, UNDO, record, 0o600)

    def finish_undo(
        self,
        before: Sequence[MemoryBlock],
        words: Mapping[str, str],
        rest: bytes | None,
    ) -> None:
        """Record an undoing: if it was complete, as any change, of blocks and of settings with
        their WORDS before; else REST, the record of what is still to be undone, so that it can be
        repeated."""
        if not self._undoable:
            return
        if rest is not None:
            self._done = before, words
            with self._telling():
                self._put(rest)
            return
        with contextlib.suppress(OSError):
            self._older = read_file(self._root, UNDO)
        self._begun = True
        self._finish(before, words)

    def add_layout(self, layout: Rewritten) -> None:
        """Record also what the change makes of the layout that chmem writes."""
        self._layout = True
        if self._undoable:
            with self._telling():
                self._record(*self._done, layout)

    def finish_layout(self) -> None:
        """Record an undoing of which only the layout was left, once that is as it was, or is left
        alone."""
        before, words = self._done
        if self._undoable and not self._layout and (before or words):
            with self._telling():
                self._record(before, words)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """A context in which a record that cannot be written is told, and keeps nothing back."""
        try:
            yield
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            self._unrecorded(error)

    def _record(
        self,
        before: Sequence[MemoryBlock],
        words: Mapping[str, str],
        layout: Rewritten | None = None,
    ) -> None:
        self._put(format_record(before, words, layout))

    def _put(self, data: bytes) -> None:
        if self._missing:
            raise self._missing
        if len(data) > LONGEST:
            # Nobody could read it, and the record of an older change is not that of the last.
            remove_file(self._root, UNDO)
            raise error_of(errno.EFBIG, UNDO)
        replace_file(self._root, UNDO, data, 0o600)
        self._size = len(data)


def words_before(settings: Iterable[Setting]) -> dict[str, str]:
    """Key of each of SETTINGS -> the word that it has before it is written."""
    return {setting.key: setting.before for setting in settings}


def last_change(root: str) -> Record | None:
    """What can be undone; None if there is nothing. Raises ValueError if the record is damaged, and
    OSError if it cannot be read."""
    try:
        data = read_file(root, UNDO)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_record(data)
