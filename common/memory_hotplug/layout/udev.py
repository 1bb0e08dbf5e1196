"""The udev rules that set added memory blocks online, read from the files of a machine.

The rules are gone through as udev does for a block that was just added (udev(7)), with what is
known of the event. A match that cannot be known, such as the result of a program, may hold or not.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from memory_hotplug.trees.files import Packed
from memory_hotplug.trees.root_files import RULES, is_masked, names_in, read_file

__all__ = ["OnlineRule", "online_rules"]

_MOST_RULES = 100_000
_LONGEST_RULE = 16384
"""udev takes no longer line (systemd, src/udev/udev-def.h, UDEV_LINE_SIZE)."""
_EVENT = {
    "SUBSYSTEM": "memory",
    "ACTION": "add",
    "KERNEL": "memory",
    "DEVPATH": "/devices/system/memory/memory",
    "ATTR{state}": "offline",
    "ATTR{online}": "0",
    "TEST": "state",
}
"""What is known of a block that was added. The number that follows in its names is not known."""

_NUMBERS = ("0", *(f"{first}{'2' * more}" for more in range(6) for first in range(1, 10)))
"""Block numbers of each length and first digit, to try patterns with."""


class OnlineRule(NamedTuple):
    """A rule that sets an added block online."""

    file: str
    """Below the root, with a slash at its beginning."""
    line: int
    """From 1."""
    words: tuple[str, ...]
    """What it writes to `state`; empty for a program that does."""
    certain: bool
    """Whether all its matches are known to hold."""


class _Token(NamedTuple):
    key: str
    operator: str
    value: str


# A name and its attribute have their limits, so that no text takes long.
_TOKEN = re.compile(
    r"(?<![A-Z_])([A-Z_]{1,40}(?:\{[^}]{0,255}\})?)"
    r"\s{0,99}(==|!=|\+=|-=|:=|=)\s{0,99}[ei]?\"((?:[^\"\\]|\\.)*+)\""
)


def online_rules(root: str | Packed) -> list[OnlineRule]:
    """The rules that may set an added block online, in the order in which udev carries them out.

    Raises OSError if a directory or a file cannot be read.
    """
    found: dict[str, str] = {}
    for directory in RULES:
        for name in names_in(root, directory):
            if name.endswith(".rules"):
                found.setdefault(name, f"{directory}/{name}")
    rules: list[OnlineRule] = []
    for _, path in sorted(found.items()):
        rules += _rules_of(path, _text(root, path))
    return rules


def _text(root: str | Packed, path: str) -> str:
    """The text of a file; "" for a link to /dev/null, which masks."""
    try:
        return read_file(root, path).decode(errors="replace")
    except OSError:
        if is_masked(root, path):
            return ""
        raise


def _rules_of(path: str, text: str) -> Iterator[OnlineRule]:
    """The rules of one file that set a block online."""
    label: str | None = None
    variables: dict[str, tuple[str, ...]] = {}
    for line, rule in _lines(text):
        tokens = [_Token(*match.groups()) for match in _TOKEN.finditer(rule)]
        if label is not None:
            if _Token("LABEL", "=", label) not in tokens:
                continue
            label = None
        matches = [_holds(token, variables) for token in tokens if token.operator in ("==", "!=")]
        if False in matches:
            continue
        certain = None not in matches
        about_memory = any(token.key in ("SUBSYSTEM", "KERNEL", "DEVPATH") for token in tokens)
        for token in tokens:
            if token.operator in ("==", "!="):
                continue
            if token.key == "GOTO" and certain:
                label = token.value
            elif token.key.startswith("ENV{"):
                before = () if certain else variables.get(token.key, ())
                variables[token.key] = (*before, token.value)
            elif (words := _words(token, variables, about_memory)) is not None:
                yield OnlineRule(f"/{path}", line, words, certain)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Rules with the numbers of their first lines. A backslash at its end continues a line."""
    start, rule = 1, ""
    for number, line in enumerate(text.splitlines()[:_MOST_RULES], 1):
        if not rule:
            start = number
            if line.lstrip().startswith("#"):
                continue
        rule += line.removesuffix("\\")
        if not line.endswith("\\"):
            if rule.strip() and len(rule) < _LONGEST_RULE:
                yield start, rule
            rule = ""


def _holds(token: _Token, variables: dict[str, tuple[str, ...]]) -> bool | None:
    """Whether a match holds for an added block; None if that cannot be known."""
    wanted = token.operator == "=="
    if token.key.startswith("TEST"):
        return wanted if token.value == "state" else None
    if token.key.startswith("ENV{"):
        values = variables.get(token.key, ())
    elif token.key in ("KERNEL", "DEVPATH"):
        numbers = (*_NUMBERS, *re.findall("[0-9]+", token.value))
        values = tuple(_EVENT[token.key] + number for number in numbers)
    else:
        values = (_EVENT[token.key],) if token.key in _EVENT else ()
    found = {_matches(value, token.value) for value in values}
    return found.pop() is wanted if len(found) == 1 else None


def _matches(text: str, patterns: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns.split("|"))


_VARIABLE = re.compile(r"\$env\{([^}]*)\}|%E\{([^}]*)\}")


def _words(
    token: _Token, variables: dict[str, tuple[str, ...]], about_memory: bool
) -> tuple[str, ...] | None:
    """The words that a token writes to `state`; None if it sets no block online."""
    if token.key in ("ATTR{state}", "ATTR{online}"):
        found = _VARIABLE.search(token.value)
        values: tuple[str, ...] = (token.value,)
        if found:
            values = variables.get(f"ENV{{{found[1] or found[2]}}}", ())
        if token.key == "ATTR{online}":
            return ("online",) if token.value == "1" and about_memory else None
        words = tuple(dict.fromkeys(value for value in values if value.startswith("online")))
        return words or None
    if token.key.startswith(("RUN", "PROGRAM")) and about_memory:
        return () if re.search(r"online.*state|state.*online", token.value) else None
    return None
