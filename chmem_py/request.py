"""SIZE | RANGE | BLOCKRANGE -> which blocks."""

import errno
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.errors import MemoryHotplugError, printable
from memory_hotplug.machine import Machine
from memory_hotplug.plan import Action, Order, plan
from memory_hotplug.ranges import BlockTable
from memory_hotplug.size import SIZE_LIMIT, human, parse_size

_SPACE = " \t\n\v\f\r"
_DECIMAL = re.compile(r"[+]?[0-9]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")


class RequestError(MemoryHotplugError, ValueError):
    """What was asked for cannot be understood, or not be met at all."""


@dataclass(frozen=True, slots=True)
class Request:
    """Either an amount of memory, wherever it is, or certain blocks."""

    text: str
    size: int | None = None
    """Bytes, a multiple of the block size."""
    first: int = 0
    last: int = 0
    """Block numbers, both inclusive."""


def parse(text: str, block_size: int, *, blocks: bool) -> Request:
    """The request that TEXT is; with BLOCKS its numbers are of blocks and not addresses.

    Raises RequestError or BadSizeError with the reference's sentences. A range of which one end
    is missing is refused: the reference would take the other end for a whole request.
    """
    parts = text.split("-")
    if not all(parts) or len(parts) > 2:
        raise RequestError(f"Invalid parameter: {printable(text)}")
    if blocks:
        return _block_range(text, parts)
    if len(parts) == 2:
        return _address_range(text, parts, block_size)
    size = parse_size(text)
    if size % block_size:
        raise RequestError(f"Size must be aligned to memory block size ({human(block_size)})")
    return Request(text, size)


def _block_range(text: str, parts: Sequence[str]) -> Request:
    names = ("block number",) if len(parts) == 1 else ("start", "end")
    numbers = [
        _number(part.lstrip(_SPACE), _DECIMAL, 10, name)
        for part, name in zip(parts, names, strict=True)
    ]
    if numbers[0] > numbers[-1]:
        raise RequestError(f"Invalid range: {printable(text)}")
    return Request(text, first=numbers[0], last=numbers[-1])


def _address_range(text: str, parts: Sequence[str], block_size: int) -> Request:
    named = list(zip(parts, ("start", "end"), strict=True))
    for part, name in named:
        if not part.startswith("0x"):
            raise RequestError(f"Invalid {name} address format: {printable(part)}")
    start, end = (_number(part, _HEXADECIMAL, 16, f"{name} address") for part, name in named)
    if start % block_size or (end + 1) % block_size:
        raise RequestError(
            "Start address and (end address + 1) must be aligned to memory block size "
            f"({human(block_size)})"
        )
    if start > end:
        raise RequestError(f"Invalid range: {printable(text)}")
    return Request(text, first=start // block_size, last=end // block_size)


def _number(text: str, pattern: re.Pattern[str], base: int, what: str) -> int:
    sentence = f"Failed to parse {what}: '{printable(text)}'"
    if not pattern.fullmatch(text):
        raise RequestError(sentence)
    # No number of so many digits is below the limit; Python is slow to convert very many.
    digits = text.lstrip("+").removeprefix("0x").lstrip("0")
    number = int(digits or "0", base) if len(digits) <= 20 else SIZE_LIMIT
    if number >= SIZE_LIMIT:
        raise RequestError(f"{sentence}: {os.strerror(errno.ERANGE)}")
    return number


@dataclass(frozen=True, slots=True)
class Selection:
    """The blocks that a request is about, in the order in which they are to be changed."""

    blocks: Sequence[MemoryBlock]
    asked: int
    """Number of blocks asked for."""
    possible: int
    """Number of BLOCKS that nothing speaks against."""
    enough: int | None = None
    """The number of blocks to be changed; None where all are meant."""
    absent: tuple[int, int, int] | None = None
    """Of the numbers asked for: the first and the last that is no block here, and how many."""


_FROM_BELOW = (Action.ENABLE, Action.CONFIGURE)

_CANDIDATES: dict[Action, Callable[[MemoryBlock], bool]] = {
    Action.ENABLE: lambda block: block.state is not State.ONLINE,
    Action.DISABLE: lambda block: block.state is not State.OFFLINE,
    Action.CONFIGURE: lambda block: block.configured is not None,
    Action.DECONFIGURE: lambda block: bool(block.configured),
    Action.RECONFIGURE: lambda block: bool(block.configured),
}
"""Of which blocks a size can be made up."""


def select(
    request: Request, machine: Machine, table: BlockTable, order: Order, node: int | None = None
) -> Selection:
    """The blocks of TABLE that are meant; of that NODE only, for which it must have been read.

    A range goes upwards. A size takes the lowest blocks first to enable and to configure, and
    the highest first otherwise.
    """
    if request.size is not None:
        asked = request.size // machine.block_size
        found = _candidates(table, order)
        blocks = [block for block in found if _is_on(block, node, machine)]
        possible = sum(plan(block, order).refused is None for block in blocks)
        return Selection(blocks, asked, possible, enough=asked)
    start = bisect_left(table.numbers, request.first)
    stop = bisect_right(table.numbers, request.last)
    there = list(islice(table.blocks(), start, stop))
    blocks = [block for block in there if _is_on(block, node, machine)]
    absent = request.last - request.first + 1 - len(there)
    ends = _absent_ends(request, table.numbers[start:stop]) if absent else None
    asked = len(blocks) + absent
    return Selection(blocks, asked, len(blocks), absent=(*ends, absent) if ends else None)


def _is_on(block: MemoryBlock, node: int | None, machine: Machine) -> bool:
    """Whether a block is of a node. Nothing tells it of a block that is not configured, but that
    a machine with one node has no other."""
    if node is None or block.node == node:
        return True
    return block.configured is False and machine.nodes == (node,)


def _candidates(table: BlockTable, order: Order) -> Iterator[MemoryBlock]:
    indexes = range(len(table.numbers))
    candidate = _CANDIDATES[order.action]
    for index in indexes if order.action in _FROM_BELOW else reversed(indexes):
        block = table.block(index)
        if not candidate(block) or _wrong_zone(block, order):
            continue
        if not plan(block, order).already:
            yield block


def _wrong_zone(block: MemoryBlock, order: Order) -> bool:
    """Whether a size is made up without the block, silently, because of its zone."""
    if order.zone is None or block.configured is False:
        return False
    return order.zone not in (block.zones or ())


def _absent_ends(request: Request, numbers: Sequence[int]) -> tuple[int, int]:
    """The first and the last number asked for that is no block."""
    first, last = request.first, request.last
    for number in numbers:
        if number != first:
            break
        first += 1
    for number in reversed(numbers):
        if number != last:
            break
        last -= 1
    return first, last
