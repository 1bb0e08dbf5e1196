"""Load a memory layout, TOML or JSON; and what is likely wrong with a text that is neither.

A text is looked through before it is loaded: json and tomllib take memory and time without bound
for a key of many parts, for many brackets in each other, and for a number of many digits.
"""

import json
import re
from typing import Any

from memory_hotplug.errors import LayoutError, printable

__all__ = ["cut", "load_json", "load_toml"]

_MOST_BRACKETS = 300_000
"""The maximum of brackets; an entry of a layout has three at most, two of them in its heading."""
_MOST_TABLES = 100
"""The maximum of headings in single brackets; a layout has one, [policy]."""
_MOST_DEEP = 8
"""The maximum of brackets in each other; a layout has three, in ``memory = [{blocks = ["0"]}]``."""
_MOST_PARTS = 4
"""The maximum of parts of a key; a layout has two, in ``policy.auto_online``."""
_LONGEST_WORD = 64
"""The maximum length of a number or of a key without quotes."""

_TOKEN = re.compile(
    rf"""
      (?P<skipped> \#[^\n]*+
        | \"\"\"(?: [^"\\]++ | \\(?s:.)? | "{{1,2}}[^"\\] | "{{1,2}}\\(?s:.)? )*+"{{0,5}}
        | '''(?: [^']++ | '{{1,2}}[^'] )*+'{{0,5}}
        | "(?: [^"\\\n]++ | \\[^\n]? )*+"?
        | '[^'\n]*+'? )
    | ^[ \t]*+ (?P<heading> \[\[? )
    | (?P<opening> [\[{{] )
    | (?P<closing> [\]}}] )
    | (?P<parts> (?: \. [ \t]*+
        (?: [\w-]++ | "(?: [^"\\\n]++ | \\[^\n]? )*+"? | '[^'\n]*+'? ) [ \t]*+ ){{{_MOST_PARTS}}} )
    | (?P<word> [\w+-]{{{_LONGEST_WORD + 1}}} )
    """,
    re.MULTILINE | re.VERBOSE,
)
"""What is looked at in TOML, and in JSON, whose strings are TOML's. Nothing is tried twice, so that
the time is in proportion to the text. A string without an end takes the rest of its line, or of the
text: a parser gets no further than that."""


def _check_bounds(text: str, file: str) -> None:
    """Raises LayoutError for a text that would take much memory or time to load."""
    deep = brackets = tables = 0
    reason = ""
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "skipped":
            continue
        if kind == "closing":
            deep -= 1
            continue
        if kind == "parts":
            reason = f"a key of more than {_MOST_PARTS} parts"
        elif kind == "word":
            reason = f"a number or a key of more than {_LONGEST_WORD} characters"
        else:
            opened = token.end() - token.start(token.lastindex or 0)
            tables += kind == "heading" and not deep and opened == 1
            deep += opened
            brackets += opened
            if deep > _MOST_DEEP:
                reason = f"more than {_MOST_DEEP} brackets in each other"
            elif brackets > _MOST_BRACKETS:
                reason = f"more than {_MOST_BRACKETS} brackets"
            elif tables > _MOST_TABLES:
                reason = f"more than {_MOST_TABLES} tables"
        if reason:
            line = text.count("\n", 0, token.start()) + 1
            raise LayoutError(file, line, f"too much for a layout: {reason}")


def cut(text: str) -> str:
    """TEXT, of which the beginning is enough in a message; quotes where it is empty."""
    return text or "''" if len(text) <= 60 else f"{text[:60]}..."


def load_json(text: str, file: str) -> dict[str, Any]:
    """The object of a JSON text. Raises LayoutError; FILE is its name for that."""
    _check_bounds(text, file)

    def no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise LayoutError(file, None, printable(f"{cut(key)} is given twice"))
            found[key] = value
        return found

    try:
        found = json.loads(text, object_pairs_hook=no_twice)
    except json.JSONDecodeError as error:
        advice = _advice_on_json(text, error.pos)
        raise _with(advice, file, error.lineno, f"not JSON: {error.msg}") from None
    assert isinstance(found, dict)
    return found


def _with(advice: str | None, file: str, line: int, reason: str) -> LayoutError:
    return LayoutError(file, line, f"{reason}; {printable(advice)}" if advice else reason)


_AT = re.compile(r" ?\(at line ([0-9]+), column [0-9]+\)| ?\(at end of document\)")


def load_toml(text: str, file: str) -> dict[str, Any]:
    """The table of a TOML text. Raises LayoutError; FILE is its name for that."""
    import tomllib  # not at the start of each chmem

    _check_bounds(text, file)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _AT.search(said)
        last = text.rstrip().count("\n") + 1
        line = int(found[1]) if found and found[1] else last
        reason = f"not TOML: {_AT.sub('', said)}"
        raise _with(_advice_on(text.split("\n")[line - 1]), file, line, reason) from None
    except (ValueError, RecursionError):
        raise LayoutError(file, None, "not TOML: a value is too large or too deep") from None


_WHOLE_LINE = re.compile(r"\s*([\w-]+)\s*(=|:)\s*(.*?)\s*(?:#.*)?")
_SHORT = 200
"""A longer line was not written by hand, and could take long."""
_TRUTHS = ("memmap_on_memory", "auto_movable_numa_aware")
"""The keys whose values are true or false."""
_CURLY = "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"


def _advice_on(line: str) -> str | None:
    """How LINE is written; None if that is not known."""
    if len(line) > _SHORT:
        return None
    if found := re.fullmatch(r"\s*\[{0,2}\s*([\w-]+)\s*\]{1,2}\s*(?:#.*)?", line):
        name = found[1]
        return "a table begins with " + (f"[{name}]" if name == "policy" else f"[[{name}]]")
    found = _WHOLE_LINE.fullmatch(line)
    if found is None:
        return None
    key, sign, value = found.groups()
    if sign == ":":
        return f"a = stands between a key and its value: {key} = {_quoted(value)}"
    if any(mark in value for mark in _CURLY):
        return f"quotes are straight: {key} = {_quoted(value)}"
    if not value:
        return f"the value of {key} is missing"
    if value[0] in "\"'":
        ends = value.count(value[0]) > 1
        return None if ends else f"a quote is missing: {key} = {_quoted(value)}"
    if key in _TRUTHS:
        return f"{key} is true or false, in lower case and without quotes"
    if re.fullmatch(r"[\w.,-]+", value) and not value.isdecimal():
        return f"text is in quotes: {key} = {_quoted(value)}"
    return None


def _advice_on_json(text: str, at: int) -> str | None:
    """How the value is written that is at the character AT of a JSON text; None if that is not
    known."""
    for found in re.finditer(r'"(\w+)"\s*:\s*([\w.-]+)', text):
        if found.start(2) <= at <= found.end(2):
            return f'text is in quotes: "{found[1]}": {_quoted(found[2])}'
    return None


def _quoted(value: str) -> str:
    bare = value.strip(f"\"' {_CURLY}")
    return bare if bare.isdecimal() else f'"{bare}"'
