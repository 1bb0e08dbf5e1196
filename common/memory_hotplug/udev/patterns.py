"""Patterns of udev rules: alternatives, and in each of them ``*``, ``?`` and classes (fnmatch(3)).

A text is gone through once, so no pattern takes long.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

__all__ = ["match_numbers", "match_text"]

_DIGITS = 9
"""Digits of the largest block number that is thought of: 64-bit addresses have few more blocks."""

_MOST_STATES = 4096
"""So many ways through a pattern are followed before it is said to match some numbers."""

_POSIX = {"digit": "09", "alpha": "azAZ", "lower": "az", "upper": "AZ", "alnum": "09azAZ"}
_CLASS = re.compile(r"\[([!^]?)(\]?(?:\[:\w+:\]|\\.|[^\]])*)\]", re.DOTALL)
_MEMBER = re.compile(r"\[:(\w+):\]|(\\?.)(?:-(\\?[^\]]))?", re.DOTALL)


class _One(NamedTuple):
    """One character of a text: any in these ranges, or any other."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def holds(self, character: str, fold: bool) -> bool:
        forms = {character, character.lower(), character.upper()} if fold else {character}
        inside = any(low <= form <= high for form in forms for low, high in self.ranges)
        return inside is not self.negated


_STAR = None
_Glob = tuple[_One | None, ...]


def _elements(pattern: str) -> Iterator[_One | None]:
    at = 0
    while at < len(pattern):
        character = pattern[at]
        found = _CLASS.match(pattern, at) if character == "[" else None
        if found:
            yield _One(tuple(_ranges(found[2])), bool(found[1]))
            at = found.end()
            continue
        if character == "*":
            yield _STAR
        elif character == "?":
            yield _One((), negated=True)
        else:
            if character == "\\" and at + 1 < len(pattern):
                at += 1
            yield _One(((pattern[at], pattern[at]),))
        at += 1


def _ranges(members: str) -> Iterator[tuple[str, str]]:
    for member in _MEMBER.finditer(members):
        if member[1]:
            ends = _POSIX.get(member[1], "")
            yield from zip(ends[::2], ends[1::2], strict=True)
        else:
            yield member[2][-1], (member[3] or member[2])[-1]


@cache
def _alternatives(value: str) -> tuple[tuple[_Glob, ...], bool]:
    """The patterns between the bars, and whether the empty text matches, too.

    Without any special character of a pattern a backslash is no special one, either (systemd,
    src/udev/udev-rules.c, rule_line_add_token).
    """
    parts = value.split("|")
    if re.search(r"[*?\[]", value):
        globs = [tuple(_elements(part)) for part in parts if part]
    else:
        globs = [tuple(_One(((one, one),)) for one in part) for part in parts if part]
    return tuple(globs), "" in parts


def _closed(glob: _Glob, positions: set[int]) -> frozenset[int]:
    """The positions in a pattern, and those behind stars, which may stand for nothing."""
    todo = list(positions)
    while todo:
        at = todo.pop()
        if at < len(glob) and glob[at] is _STAR and at + 1 not in positions:
            positions.add(at + 1)
            todo.append(at + 1)
    return frozenset(positions)


def _step(glob: _Glob, positions: frozenset[int], character: str, fold: bool) -> frozenset[int]:
    after: set[int] = set()
    for at in positions:
        if at < len(glob):
            one = glob[at]
            if one is _STAR:
                after.add(at)
            elif one.holds(character, fold):
                after.add(at + 1)
    return _closed(glob, after)


def match_text(text: str, value: str, fold: bool = False) -> bool:
    """Whether a text matches the value of a match; FOLD ignores case."""
    if value == "?*":
        return bool(text)
    globs, empty = _alternatives(value)
    if not text and empty:
        return True
    for glob in globs:
        positions = _closed(glob, {0})
        for character in text:
            positions = _step(glob, positions, character, fold)
            if not positions:
                break
        if len(glob) in positions:
            return True
    return False


@cache
def match_numbers(prefix: str, value: str, fold: bool = False) -> frozenset[bool]:
    """Whether PREFIX with a block number behind it matches: for all numbers, for none, for some."""
    if value == "?*":
        return frozenset({True})
    globs, _ = _alternatives(value)
    state = tuple(_closed(glob, {0}) for glob in globs)
    for character in prefix:
        state = _steps(globs, state, character, fold)
    found: set[bool] = set()
    states = {_steps(globs, state, digit, fold) for digit in "123456789"}
    found.add(_accepts(globs, _steps(globs, state, "0", fold)))
    for _ in range(_DIGITS):
        found |= {_accepts(globs, one) for one in states}
        if len(found) > 1 or len(states) > _MOST_STATES:
            return frozenset({True, False})
        states = {_steps(globs, one, digit, fold) for one in states for digit in "0123456789"}
    return frozenset(found)


def _steps(
    globs: tuple[_Glob, ...], state: tuple[frozenset[int], ...], character: str, fold: bool
) -> tuple[frozenset[int], ...]:
    pairs = zip(globs, state, strict=True)
    return tuple(_step(glob, positions, character, fold) for glob, positions in pairs)


def _accepts(globs: tuple[_Glob, ...], state: tuple[frozenset[int], ...]) -> bool:
    return any(len(glob) in positions for glob, positions in zip(globs, state, strict=True))
