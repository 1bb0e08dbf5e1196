"""The values of chmem's options, and the errors about wrong ones."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

import click

from chmem_py import messages
from chmem_py.run import How
from hotplug_cli import advice, sizes, tree_messages
from hotplug_cli.getopt import GetoptUsageError, UsageError, did_you_mean
from hotplug_cli.message import Sentence
from memory_hotplug.block import Zone
from memory_hotplug.plan import Action
from memory_hotplug.settings import ATTRIBUTES

ZONES = (Zone.DMA, Zone.DMA32, Zone.NORMAL, Zone.HIGHMEM, Zone.MOVABLE, Zone.DEVICE)
"""The zones that --zone takes."""

ORDERS = ("auto", "highest", "best")
"""The orders in which blocks are tried, for a size to set offline."""

ACTIONS = (
    *(action.value for action in Action if action is not Action.APPLY),
    *("total", "apply", "save", "undo", "policy", "uninstall"),
)
"""The options that say what to do."""

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
    device: str | None
    persistent: bool
    install: bool
    dry_run: bool
    json: bool
    all_or_nothing: bool
    timeout: float | None
    retry: int
    force: bool
    order: str
    keep_free: int | None
    advice: str | None

    @property
    def how(self) -> How:
        """The options about how to do it."""
        names = [field.name for field in fields(How)]
        return How(**{name: getattr(self, name) for name in names})


def check(options: Options, operands: Sequence[str]) -> None:
    """Raises UsageError if the command line is wrong."""
    if options.install and (options.action != "apply" or operands):
        raise UsageError(messages.INSTALL_WHAT.of())
    if options.action is None:
        *most, last = (f"--{action}" for action in ACTIONS)
        said = messages.WHAT_TO_DO.of(actions=f"{', '.join(most)} or {last}")
        words = [f"--{word}" for word in operands[:1] if word in ACTIONS]
        raise GetoptUsageError(did_you_mean(said, words) if words else said)
    if options.action == "policy":
        if not operands:
            raise GetoptUsageError(messages.POLICY_OF_WHAT.of(keys=", ".join(ATTRIBUTES)))
    elif options.action in ("apply", "save", "undo", "uninstall"):
        most_operands = 0 if options.action in ("undo", "uninstall") else 1
        if len(operands) > most_operands:
            raise GetoptUsageError(
                messages.TOO_MANY.of(
                    action=options.action, count="at most 1" if most_operands else "no"
                )
            )
    elif len(operands) != 1 and (operands or options.device is None or options.blocks):
        raise GetoptUsageError(_not_one(options, operands))
    if not options.sysroot:
        raise UsageError(tree_messages.NO_SYSROOT.of())
    if options.action == "reconfigure" and options.memmap_on_memory is None:
        raise UsageError(messages.RECONFIGURE_WHAT.of())


def _not_one(options: Options, operands: Sequence[str]) -> Sentence:
    """The sentence about a number of operands that is not 1."""
    if len(operands) == 2 and re.fullmatch("[kmgtpe](i?b)?", operands[1], re.IGNORECASE):
        return messages.UNIT_APART.of(size="".join(operands))
    if options.action == "total":
        return messages.ONE_SIZE.of()
    return messages.ONE_OPERAND.of(count=len(operands) or "none")


_Value = TypeVar("_Value")


def _value(
    _: click.Context,
    option: click.Parameter,
    text: str | None,
    *,
    parse: Callable[[str], _Value],
    allowed: str,
) -> _Value | None:
    """Parse the value of an option; PARSE raises ValueError if it is not ALLOWED."""
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError:
        name = next(name for name in option.opts if name.startswith("--"))
        raise UsageError(
            messages.INVALID_ARGUMENT.of(option=name, argument=text, allowed=allowed)
        ) from None


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


def _order(text: str) -> str:
    if text not in ORDERS:
        raise ValueError
    return text


def _size(text: str) -> int:
    return sizes.parse(text)


# The callbacks of click.

memmap = partial(_value, parse=_memmap, allowed="0 or 1")
seconds = partial(
    _value, parse=_seconds, allowed="a number of seconds without a unit, 0.001 or more"
)
order = partial(_value, parse=_order, allowed=f"{', '.join(ORDERS[:-1])} or {ORDERS[-1]}")
size = partial(_value, parse=_size, allowed="a size, such as 2G")
count = partial(_value, parse=_count, allowed="a number, 0 or more")
when = partial(_value, parse=_when, allowed=f"{', '.join(advice.WHEN[:-1])} or {advice.WHEN[-1]}")
