"""Make messages from the remarks of a table of blocks."""

from collections.abc import Collection

from hotplug_cli.messages import Sentence, reading
from memory_hotplug.attribute import TABLE
from memory_hotplug.ranges import Remark, RemarkKind

__all__ = ["sentence_of"]

_LEFT_OUT = {
    RemarkKind.IMPOSSIBLE_NUMBER: "no memory block has such a number",
    RemarkKind.NOT_A_DIRECTORY: "not a directory",
}


def sentence_of(remark: Remark) -> Sentence:
    """The message about a remark on a table of blocks."""
    blocks = _blocks(remark.blocks)
    if remark.attribute is None:
        return reading.LEFT_OUT.of(blocks=blocks, reason=_LEFT_OUT[remark.kind])
    name, file = str(remark.attribute), TABLE[remark.attribute].file
    return reading.NOT_KNOWN.of(attribute=name, blocks=blocks, file=file, reason=remark.reason)


def _blocks(numbers: Collection[int]) -> str:
    """The blocks in a sentence. It names only the first of many."""
    if not numbers:
        return "all memory blocks"
    more = len(numbers) - 1
    return f"memory{min(numbers)}" + (f" and {more} more" if more else "")
