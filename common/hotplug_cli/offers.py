"""What a shell is offered for the value of an option or an argument, as click's shell_complete.

Nothing of click's completion is imported before a shell asks: plain runs do not pay for it.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Known = Callable[[], Iterable[str | tuple[str, str]]]
"""Words, each perhaps with a help."""
Offer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


def words(known: Known) -> Offer:
    """One of some words."""

    def offer(_: click.Context, __: click.Parameter, typed: str) -> "list[CompletionItem[str]]":
        return [item for item in _items(known()) if item.value.lower().startswith(typed.lower())]

    return offer


def lists(known: Known, extends: bool = False) -> Offer:
    """A comma-separated list of some words, after a ``+`` where it EXTENDS something."""

    def offer(_: click.Context, __: click.Parameter, typed: str) -> "list[CompletionItem[str]]":
        plus = "+" if extends and typed.startswith("+") else ""
        before, comma, last = typed.removeprefix(plus).rpartition(",")
        used = before.upper().split(",")
        items = _items(known())
        for item in items:
            if item.value.lower().startswith(last.lower()) and item.value.upper() not in used:
                item.value = f"{plus}{before}{comma}{item.value}"
            else:
                item.value = ""
        return [item for item in items if item.value]

    return offer


def directories(_: click.Context, __: click.Parameter, typed: str) -> "list[CompletionItem[str]]":
    """What the shell itself finds."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="dir")]


def files(_: click.Context, __: click.Parameter, typed: str) -> "list[CompletionItem[str]]":
    """What the shell itself finds."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="file")]


def _items(known: Iterable[str | tuple[str, str]]) -> "list[CompletionItem[str]]":
    from click.shell_completion import CompletionItem

    pairs = ((word, None) if isinstance(word, str) else word for word in known)
    return [CompletionItem(word, help=help) for word, help in pairs]
