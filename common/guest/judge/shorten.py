"""Fewer writes after which a real kernel and the simulated one still differ, as a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from guest.judge.comparison import Comparison, Disagreement, block_of
from guest.judge.writes import JudgedWrite

__all__ = ["TRIES", "script", "shortened"]

TRIES: Final = 24
"""How many shorter lists are tried. For each, a guest boots."""


def shortened(
    wanted: Sequence[JudgedWrite],
    found: Disagreement,
    judged: Callable[[Sequence[JudgedWrite]], Comparison],
    tries: int = TRIES,
) -> list[JudgedWrite]:
    """Fewer of these writes, with a difference of the same kind as the one that was found.

    `judged` makes writes on a machine that has just booted. Halves, quarters and so on are left out
    in turn (delta debugging), after a guess: only what was written to the same block, or to none.
    """
    left = list(wanted[: found.number])
    guess = [each for each in left if block_of(each[0]) in (None, block_of(found.path))]
    size = len(left)
    while size and tries and left:
        start = 0
        while start < len(left) and tries:
            fewer = guess or [*left[:start], *left[start + size :]]
            if not fewer or len(fewer) == len(left):
                if not guess:
                    start += size
                guess = []
                continue
            tries -= 1
            differs = [each for each in judged(fewer).unexplained if each.kind == found.kind]
            if differs:
                left = fewer[: differs[0].number]
            elif not guess:
                start += size
            guess = []
        size = size // 2 if size < len(left) else len(left) // 2
    return left


def script(wanted: Sequence[JudgedWrite]) -> str:
    """Shell commands that make these writes."""
    return "".join(f"printf '{_octal(text)}' > {path}\n" for path, text in wanted)


def _octal(text: str) -> str:
    """A text for printf(1): letters, digits and what is plain, everything else in octal."""
    escaped = {"\n": "\\n", "\\": "\\\\"}
    return "".join(
        escaped.get(one)
        or (one if one.isascii() and (one.isalnum() or one in "_ ") else f"\\{ord(one):03o}")
        for one in text
    )
