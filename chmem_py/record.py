"""The record of the last change, for --undo."""

import contextlib
from collections.abc import Iterable, Sequence

from memory_hotplug.block import MemoryBlock
from memory_hotplug.layout_files import read_file, remove_file, replace_file
from memory_hotplug.saving import UNDO, format_change
from memory_hotplug.settings import Setting


class Record:
    """Blocks and settings as they were before a change: while it lasts, all that it may change, in
    case this process is killed; after it, those that it did. A record that cannot be written is no
    error."""

    def __init__(self, root: str | None) -> None:
        """ROOT is that of the machine; None keeps no record."""
        self._root = root
        self._older: bytes | None = None
        self._kept = False

    def keep(self, blocks: Iterable[MemoryBlock], settings: Sequence[Setting]) -> None:
        """Record what may be changed."""
        if self._root is None:
            return
        before = list(blocks)
        if not (before or settings):
            return
        with contextlib.suppress(OSError):
            self._older = read_file(self._root, UNDO)
        with contextlib.suppress(OSError):
            self._write(before, settings)
            self._kept = True

    def finish(self, before: Sequence[MemoryBlock], settings: Sequence[Setting]) -> None:
        """Record what was changed; if nothing was, the change before remains the last one."""
        if self._root is None or not self._kept:
            return
        with contextlib.suppress(OSError):
            if before or settings:
                self._write(before, settings)
            elif self._older is not None:
                replace_file(self._root, UNDO, self._older, 0o600)
            else:
                remove_file(self._root, UNDO)

    def _write(self, before: Sequence[MemoryBlock], settings: Sequence[Setting]) -> None:
        assert self._root is not None
        words = {setting.key: setting.before for setting in settings}
        replace_file(self._root, UNDO, format_change(before, words), 0o600)
