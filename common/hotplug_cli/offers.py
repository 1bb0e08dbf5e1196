"""Functions for click's ``shell_complete``: completions for the value of an option or argument.

click is imported only when a shell asks, so that start-up stays short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    Known = Callable[[], Iterable[str | tuple[str, str]]]
    """Returns words, or pairs of a word and its help text."""
    Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def words(known: Known) -> Offer:
    """Offer the known words that begin with what is typed, in any case."""

    def offer(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem[str]]:
        return [item for item in _items(known()) if item.value.lower().startswith(typed.lower())]

    return offer


def lists(known: Known, extends: bool = False) -> Offer:
    """Offer the known words as items of a comma-separated list.

    With EXTENDS the list may begin with ``+``.
    """

    def offer(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem[str]]:
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


def directories(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """Have the shell offer directories."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="dir")]


def files(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    """Have the shell offer files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(typed, type="file")]


def _items(known: Iterable[str | tuple[str, str]]) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    pairs = ((word, None) if isinstance(word, str) else word for word in known)
    return [CompletionItem(word, help=help) for word, help in pairs]
