"""The values of chmem's options, and the errors about wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from chmem_py import messages
from hotplug_cli import sizes
from hotplug_cli.getopt import Option, UsageError, either
from hotplug_cli.program import ADVICE
from memory_hotplug.block import Zone
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.how import PREFERENCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeVar

    KeepFree = int | Literal["none"] | None

    _Value = TypeVar("_Value")

NONE: Literal["none"] = "none"

ZONES = (Zone.DMA, Zone.DMA32, Zone.NORMAL, Zone.HIGHMEM, Zone.MOVABLE, Zone.DEVICE)
"""The zones that --zone takes."""

ORDERS = PREFERENCES
"""The orders in which blocks are tried, for a size to set offline."""

_YES_NO = {"1": True, "yes": True, "on": True, "0": False, "no": False, "off": False}


class Options(NamedTuple):
    """The values of the options."""

    action: str | None
    blocks: bool
    verbose: bool
    zone: str | None
    sysroot: str
    memmap_on_memory: bool | None
    node: int | None
    device: str | None
    persistent: bool
    """Whether the change is written to the layout afterwards."""
    install: bool
    dry_run: bool
    json: bool
    """Whether a document is written."""
    all_or_nothing: bool
    timeout: float | None
    """Time limit for setting one block offline, in seconds."""
    retry: int
    """Number of times that a busy block is retried."""
    keep_free: KeepFree
    """Bytes that are to stay available; NONE takes memory however much of it is in use, and None
    leaves it to the layout or the default."""
    order: str | None
    advice: str | None
    said: Mapping[str, str] = {}
    """The options as they were given: name without hyphens -> value."""

    @property
    def force(self) -> bool:
        """Whether nothing is to be kept, whatever is in use."""
        return self.keep_free == NONE

    @property
    def prefer(self) -> str:
        """In which order blocks are tried, if there is a choice."""
        return self.order or ORDERS[0]


def _value(option: Option, text: str, *, parse: Callable[[str], _Value], allowed: str) -> _Value:
    """Parse the value of an option; PARSE raises ValueError if it is not ALLOWED."""
    try:
        return parse(text)
    except ValueError:
        raise _invalid(option, text, allowed) from None


def _invalid(option: Option, text: str, allowed: str) -> UsageError:
    return UsageError(
        messages.INVALID_ARGUMENT.of(option=option.long, argument=text, allowed=allowed)
    )


def _memmap(text: str) -> bool:
    if text.lower() not in _YES_NO:
        raise ValueError
    return _YES_NO[text.lower()]


def _seconds(text: str) -> float:
    seconds = float(text)
    # A million seconds are eleven days; setitimer(2) takes no infinity.
    if not 0.001 <= seconds <= 1e6:
        raise ValueError
    return seconds


def _count(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= 9):
        raise ValueError
    return int(text)


def _one_of(option: Option, text: str, *, words: Sequence[str]) -> str:
    if text not in words:
        raise _invalid(option, text, either(words))
    return text


def _kept(text: str) -> KeepFree:
    return NONE if text == NONE else sizes.parse(text)


# What parses the values in the table of options.

memmap = partial(_value, parse=_memmap, allowed="0 or 1")
seconds = partial(
    _value, parse=_seconds, allowed="a number of seconds without a unit, 0.001 or more"
)
order = partial(_one_of, words=ORDERS)
kept = partial(_value, parse=_kept, allowed=f"a size, such as 2G, or {NONE}")
count = partial(_value, parse=_count, allowed="a number, 0 or more")
when = partial(_one_of, words=ADVICE)
