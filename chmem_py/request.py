"""Parse the argument: SIZE, RANGE or BLOCKRANGE."""

import errno
import os
from collections.abc import Iterator, Sequence

from chmem_py import messages
from hotplug_cli import sizes
from hotplug_cli.message import Sentence
from hotplug_cli.program import CommandError
from memory_hotplug.errors import BadSizeError, SizeTooLargeError
from memory_hotplug.request.asked import Request
from memory_hotplug.size import SIZE_LIMIT

_SPACE = " \t\n\v\f\r"
_DIGITS = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdefABCDEF")}
"""Base -> what a number consists of."""


class RequestError(CommandError):
    """The argument is wrong."""


def parse(text: str, block_size: int, *, blocks: bool) -> Request:
    """The request in TEXT. With BLOCKS its numbers are block numbers, else addresses.

    Raises RequestError with util-linux's messages, and the nearest sizes or ranges. A range without
    one of its ends is an error, while util-linux takes the other end for a request.
    """
    parts = text.split("-")
    if not all(parts) or len(parts) > 2:
        raise RequestError(messages.INVALID_PARAMETER.of(text=text))
    if blocks:
        return _block_range(text, parts)
    if len(parts) == 2:
        return _address_range(text, parts, block_size)
    try:
        size = sizes.parse(text, plus=True)
    except BadSizeError as error:
        too_large = isinstance(error, SizeTooLargeError)
        reason = os.strerror(errno.ERANGE if too_large else errno.EINVAL)
        raise RequestError(
            messages.CANNOT_PARSE_WHY.of(what="size", text=text, reason=reason)
        ) from None
    if size % block_size:
        raise RequestError(
            messages.SIZE_NOT_ALIGNED.of(size=sizes.human(block_size)),
            _nearest_sizes(size, block_size),
        )
    return Request(text, size)


def _block_range(text: str, parts: Sequence[str]) -> Request:
    names = ("block number",) if len(parts) == 1 else ("start", "end")
    numbers = [
        _number(part.lstrip(_SPACE), 10, name) for part, name in zip(parts, names, strict=True)
    ]
    if numbers[0] > numbers[-1]:
        raise RequestError(messages.INVALID_RANGE.of(text=text))
    return Request(text, runs=((numbers[0], numbers[-1]),))


def _address_range(text: str, parts: Sequence[str], block_size: int) -> Request:
    named = {"start": parts[0], "end": parts[1]}
    for name, part in named.items():
        # Like util-linux, look at the second letter; the first one is no digit then.
        if part[1:2] != "x":
            raise RequestError(messages.INVALID_ADDRESS.of(end=name, text=part))
    start, end = (_number(part, 16, f"{name} address") for name, part in named.items())
    if start % block_size or (end + 1) % block_size:
        raise RequestError(
            messages.RANGE_NOT_ALIGNED.of(size=sizes.human(block_size)),
            *_nearest_ranges(start, end, block_size),
        )
    if start > end:
        raise RequestError(messages.INVALID_RANGE.of(text=text))
    return Request(text, runs=((start // block_size, end // block_size),))


def _nearest_sizes(size: int, block_size: int) -> Sentence:
    below = size - size % block_size
    above = below + block_size
    if not below:
        return messages.NEAREST_SIZE.of(nearest=sizes.exact(above))
    if above >= SIZE_LIMIT:
        return messages.NEAREST_SIZE.of(nearest=sizes.exact(below))
    alike = sizes.alike(below, above)
    return messages.NEAREST_SIZES.of(nearest_below=alike[0], nearest_above=alike[1])


def _nearest_ranges(start: int, end: int, block_size: int) -> Iterator[Sentence]:
    """The range of whole blocks within, if there is one, and the one around."""
    if start > end:
        return
    first, after = start // block_size, end // block_size + 1
    outer = _range(first, after, block_size)
    first, after = -(-start // block_size), (end + 1) // block_size
    if first < after:
        inner = _range(first, after, block_size)
        yield messages.NEAREST_RANGES.of(inner=inner, outer=outer)
    else:
        yield messages.NEAREST_RANGE.of(range=outer)


def _range(first: int, after: int, block_size: int) -> str:
    return f"{first * block_size:#x}-{after * block_size - 1:#x}"


def _number(text: str, base: int, what: str) -> int:
    """A number with 0x in front if BASE is 16, else perhaps with a plus."""
    digits = text.removeprefix("0x" if base == 16 else "+")
    if not digits or not _DIGITS[base].issuperset(digits) or (base == 16 and digits == text):
        raise RequestError(messages.CANNOT_PARSE.of(what=what, text=text))
    # A number with so many digits is above the limit, and Python takes long to convert very many.
    digits = digits.lstrip("0")
    number = int(digits or "0", base) if len(digits) <= 20 else SIZE_LIMIT
    if number >= SIZE_LIMIT:
        reason = os.strerror(errno.ERANGE)
        raise RequestError(messages.CANNOT_PARSE_WHY.of(what=what, text=text, reason=reason))
    return number
