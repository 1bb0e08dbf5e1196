"""Make messages from what a reading left out, and from what a layout names and a machine lacks."""

from collections.abc import Collection

from hotplug_cli import sizes, tree_messages
from hotplug_cli.block_names import named_runs
from hotplug_cli.message import Sentence
from memory_hotplug.attribute import TABLE
from memory_hotplug.change.targets import Absence
from memory_hotplug.table import Remark, RemarkKind

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


def _blocks(numbers: Collection[int]) -> str:
    """The blocks in a sentence. It names only the first of many."""
    if not numbers:
        return "all memory blocks"
    more = len(numbers) - 1
    return f"memory{min(numbers)}" + (f" and {more} more" if more else "")


def absent_sentence(absence: Absence, block_size: int) -> Sentence:
    """The message about memory that a layout names, and that the machine does not have. BLOCK_SIZE
    is in bytes."""
    entry = absence.entry
    assert entry is not None
    where = entry.where
    place = "the layout" if where.file == "-" else where.file
    if where.line is not None:
        place = f"{place}:{where.line}" if where.file != "-" else f"line {where.line} of the layout"
    if absence.ranges:
        what = named_runs(absence.ranges)
    elif entry.size is None:
        what = f"memory of node {entry.node}"
    else:
        size = sizes.exact(absence.blocks * block_size)
        return tree_messages.SHORT.of(where=place, size=size)
    return tree_messages.ABSENT.of(where=place, what=what)
