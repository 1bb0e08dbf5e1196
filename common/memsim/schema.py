"""Check JSON objects: descriptions and records are not trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from memsim.errors import MachineError, shortened, wrong

__all__ = [
    "Value",
    "by_block",
    "checked",
    "loads",
    "number",
    "one_of",
    "or_null",
    "seconds",
    "text",
    "yes_no",
]

LIMIT: Final = 1 << 64
"""All numbers are less: an address and a number of bytes have 64 bits."""

LONGEST_DELAY: Final = 1e6
"""The maximum of a delay in seconds; time.sleep() fails from some 1e9 on."""


def loads(content: bytes, where: str) -> Any:
    """The value of a JSON text. Raises MachineError, also if it is nested too deep."""
    try:
        return json.loads(content, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"{where}: line {error.lineno}, column {error.colno}"
        raise MachineError(place, "JSON", f"but: {error.msg}") from None
    except (ValueError, RecursionError):
        raise MachineError(where, "JSON", "not something else") from None


def _no_constant(_name: str) -> Any:
    """JSON knows no NaN and no Infinity."""
    raise ValueError


@dataclass(frozen=True, slots=True)
class Value:
    """The values that a key takes. `read` returns the value, or raises ValueError or TypeError."""

    expected: str
    read: Callable[[Any], Any]
    needed: bool = False


def yes_no(value: Any) -> bool:
    if value not in (0, 1) or isinstance(value, float):
        raise ValueError
    return bool(value)


def number(least: int, limit: int = LIMIT) -> Callable[[Any], int]:
    """A whole number from `least` on and below `limit`."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < limit:
            raise ValueError
        return value

    return read


def one_of(*words: str | None) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if (value is not None and not isinstance(value, str)) or value not in words:
            raise ValueError
        return value

    return read


def or_null(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def by_block(read: Callable[[Any], Any]) -> Callable[[Any], dict[int, Any]]:
    """An object whose keys are block numbers, in decimal."""

    def by_number(value: Any) -> dict[int, Any]:
        if not all(key.isascii() and key.isdecimal() for key in value):
            raise ValueError
        return {number(0)(int(block)): read(of) for block, of in value.items()}

    return by_number


def seconds(value: float | str) -> float:
    """A number of seconds. Raises ValueError if it is negative or more than LONGEST_DELAY."""
    if isinstance(value, bool) or not 0 <= (delay := float(value)) <= LONGEST_DELAY:
        raise ValueError
    return delay


def checked(where: str, keys: Mapping[str, Value], given: Any) -> dict[str, Any]:
    """The values of an object, checked against KEYS. MachineError names the first wrong one."""
    if not isinstance(given, Mapping):
        raise wrong(where.rstrip(". :"), "an object", given)
    for key in given:
        if key not in keys:
            odd = f"{where}{shortened(key)}"
            raise MachineError(odd, f"only {', '.join(keys)}", "not this key")
    values = {}
    for key, allowed in keys.items():
        if key not in given:
            if allowed.needed:
                raise MachineError(f"{where}{key}", allowed.expected, "but it is missing")
            continue
        try:
            values[key] = allowed.read(given[key])
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise wrong(where + key, allowed.expected, given[key]) from None
    return values
