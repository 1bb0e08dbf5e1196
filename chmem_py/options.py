"""The values of chmem's options, and the errors about wrong ones."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import click

from chmem_py.run import How
from hotplug_cli import advice
from hotplug_cli.getopt import UsageError
from hotplug_cli.messages import chmem as messages
from memory_hotplug.block import Zone
from memory_hotplug.plan import Action

ZONES = (Zone.DMA, Zone.DMA32, Zone.NORMAL, Zone.HIGHMEM, Zone.MOVABLE, Zone.DEVICE)
"""The zones that --zone takes."""

ACTIONS = tuple(action.value for action in Action)

_YES_NO = {"1": True, "yes": True, "on": True, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Options:
    """The values of the options."""

    action: str | None
    blocks: bool
    verbose: bool
    zone: str | None
    sysroot: str
    memmap_on_memory: bool | None
    node: int | None
    dry_run: bool
    json: bool
    all_or_nothing: bool
    timeout: float | None
    retry: int
    advice: str | None

    @property
    def how(self) -> How:
        """The options about how to do it."""
        names = [field.name for field in fields(How)]
        return How(**{name: getattr(self, name) for name in names})


_Value = TypeVar("_Value")
Callback = Callable[[click.Context, click.Parameter, str | None], _Value | None]


def value(parse: Callable[[str], _Value], allowed: str) -> Callback[_Value]:
    """A callback of click that parses a value. PARSE raises ValueError if it is not ALLOWED."""

    def callback(_: click.Context, option: click.Parameter, text: str | None) -> _Value | None:
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError:
            name = next(name for name in option.opts if name.startswith("--"))
            raise UsageError(
                messages.INVALID_ARGUMENT.of(option=name, argument=text, allowed=allowed)
            ) from None

    return callback


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


def _when(text: str) -> str:
    if text not in advice.WHEN:
        raise ValueError
    return text


memmap = value(_memmap, "0 or 1")
seconds = value(_seconds, "seconds, 0.001 or more")
count = value(_count, "a number, 0 or more")
when = value(_when, f"{', '.join(advice.WHEN[:-1])} or {advice.WHEN[-1]}")
