"""Make messages from what a reading left out, and from what a layout names and a machine lacks."""

from __future__ import annotations

from collections.abc import Collection

from hotplug_cli import sizes, tree_messages
from hotplug_cli.block_names import named_runs, worded
from hotplug_cli.message import Sentence, Wording
from memory_hotplug.attribute import TABLE
from memory_hotplug.runs import runs_of
from memory_hotplug.table import Remark, RemarkKind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.change.absence import Absence
    from memory_hotplug.layout.model import Entry

__all__ = ["absent_sentence", "sentence_of"]

_LEFT_OUT = {
    RemarkKind.IMPOSSIBLE_NUMBER: "no memory block has such a number",
    RemarkKind.NOT_A_DIRECTORY: "not a directory",
}


def sentence_of(remark: Remark) -> Sentence:
    """The message about a remark on a table of blocks."""
    blocks, attribute = _blocks(remark.blocks), remark.attribute
    if attribute is None:
        return tree_messages.LEFT_OUT.of(blocks=blocks, reason=_LEFT_OUT[remark.kind])
    return tree_messages.NOT_KNOWN.of(
        attribute=attribute, blocks=blocks, file=TABLE[attribute].file, reason=remark.reason
    )


def _blocks(numbers: Collection[int]) -> Wording:
    """The blocks in a sentence. It names only the first of many."""
    if not numbers:
        return Wording("all memory blocks", None)
    more = len(numbers) - 1
    text = f"memory{min(numbers)}" + (f" and {more} more" if more else "")
    return worded(text, runs_of(sorted(numbers)))


def absent_sentence(absence: Absence, block_size: int) -> Sentence:
    """The message about memory that a layout names, and that the machine does not have. BLOCK_SIZE
    is in bytes."""
    entry = absence.entry
    assert entry is not None
    place = _place(entry)
    what: str
    if absence.ranges:
        what = named_runs(absence.ranges)
    elif entry.size is None:
        what = f"memory of node {entry.node}"
    else:
        size = sizes.exact(absence.blocks * block_size)
        if entry.node is not None:
            size = Wording(f"{size} of node {entry.node}", size.value)
        return _short(absence, entry, place, size)
    return tree_messages.ABSENT.of(where=place, what=what)


def _short(absence: Absence, entry: Entry, place: str, size: str) -> Sentence:
    """Why an entry lacks a size: its zone, another entry, or the machine."""
    if absence.zone and entry.zone:
        return tree_messages.SHORT_ZONE.of(where=place, size=size, zone=entry.zone.value)
    if not absence.holders:
        return tree_messages.SHORT.of(where=place, size=size)
    named = dict.fromkeys(_place(holder) for holder in absence.holders)
    # In JSON no entry has a line.
    names = ["another entry" if name == place else name for name in named]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    shown = [*names[:_NAMED], *more]
    together = ", ".join(shown[:-1]) + " and " * (len(shown) > 1) + shown[-1]
    verb = "has" if len(shown) == 1 else "have"
    return tree_messages.SHORT_HELD.of(where=place, size=size, holders=f"{together} {verb}")


_NAMED = 3
"""How many entries a message names."""


def _place(entry: Entry) -> str:
    """File and line of an entry."""
    file, line = entry.where
    if line is None:
        return "the layout" if file == "-" else file
    return f"line {line} of the layout" if file == "-" else f"{file}:{line}"
