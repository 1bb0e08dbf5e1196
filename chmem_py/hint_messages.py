"""chmem's advice on a wrong request: what may be meant instead."""

from chmem_py import messages
from hotplug_cli.message import Message


def _instead(advice: str, of: Message = messages.CANNOT_PARSE) -> Message:
    return Message("", advice, of.entry)


TAKES = _instead(
    "give a SIZE as in 4g, a RANGE as in 0x80000000-0x87ffffff, or --blocks and numbers as in 16-31"
)
BLOCKS_TAKE = _instead("--blocks takes a number such as 16, or a range such as 16-31")
DECIMAL_SEPARATOR = _instead("in this locale the decimal separator is '{separator}': {instead}")
FRACTION = _instead("a size with a fraction needs a unit, as in {instead}")
NO_SPACE = _instead("no space stands before the unit: {instead}")
NO_LIST = _instead("give one SIZE, RANGE or BLOCKRANGE at a time, not a list")
DECIMAL_SIZE = _instead(
    "{text} is {bytes} bytes, in powers of 1000; {binary} is {instead}", messages.SIZE_NOT_ALIGNED
)
BLOCK_OR_SIZE = _instead("for memory block {text} give --blocks; for a size give a unit, as in 16g")
BLOCKS = _instead("for memory blocks {text} give --blocks", messages.INVALID_ADDRESS)
BLOCKS_OR_ADDRESSES = _instead(
    "for memory blocks {text} give --blocks; addresses begin with 0x: {range}",
    messages.INVALID_ADDRESS,
)
ADDRESSES = _instead("addresses begin with 0x: {range}", messages.INVALID_ADDRESS)
BLOCK_BY_NUMBER = _instead("a memory block is named by its number: {command}")
LAYOUT_BY_APPLY = _instead("for a memory layout: {command}")
RANGE_WITH_DASH = _instead("a range is written with a dash: {range}")
START_FIRST = _instead("the start comes first: {range}", messages.INVALID_RANGE)
END_BELOW = _instead("the end is below the start", messages.INVALID_RANGE)
TWO_ENDS = _instead("a range has a start and an end", messages.INVALID_PARAMETER)
MORE_ONLINE = Message("", "so much more: {command}", messages.TOTAL_OF_WHAT.entry)
LESS_ONLINE = Message("", "so much less: {command}", messages.TOTAL_OF_WHAT.entry)
RANGES_ELSEWHERE = Message("", "--enable and --disable take ranges", messages.TOTAL_OF_WHAT.entry)
TOTAL_TAKES = _instead("--total takes one SIZE, as in 16g")
SHARE = _instead("{text} of the {kind} memory is {size}: {command}")
SHARE_IN_USE = _instead(
    "{text} of the {kind} memory is {size}, of which {possible} can be set offline now: {command}"
)
SHARE_KEPT = _instead(
    "{text} of the {kind} memory is {size}, of which nothing can be set offline now"
)
WHOLE_DEVICE = _instead("--device {device} without SIZE takes all memory of the device")
ADDRESSES_ALONE = _instead("addresses go without --blocks: {command}")
DECIMAL_BLOCKS = _instead("block numbers are decimal: {text} is {numbers}")
SIZE_ALONE = _instead("a size goes without --blocks: {command}")
BLOCKS_HERE = _instead("this machine has memory blocks {numbers}; give one number or range")
