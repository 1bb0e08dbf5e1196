"""Arguments of a wrong type are refused in one sentence that names them, before anything is done: a
program without types is told where it is wrong."""

from __future__ import annotations

import operator
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "check_callable",
    "check_type",
    "optional",
    "refuse",
    "seconds",
    "several",
    "whole_number",
]


def refuse(name: str, words: str, value: object) -> TypeError:
    """The error that the argument NAME is not what WORDS say."""
    return TypeError(f"{name} must be {words}, not {type(value).__name__}")


def check_type(name: str, value: object, wanted: type) -> None:
    """Raises TypeError for a VALUE that is not of the type WANTED."""
    if not isinstance(value, wanted):
        raise refuse(name, f"of type {wanted.__name__}", value)


def optional(name: str, value: object, wanted: type) -> None:
    """The same, but None is right, too."""
    if value is not None and not isinstance(value, wanted):
        raise refuse(name, f"of type {wanted.__name__}, or None", value)


def check_callable(name: str, value: object) -> None:
    """Raises TypeError for a VALUE that cannot be called, and is not None."""
    if value is not None and not callable(value):
        raise refuse(name, "a function, or None", value)


def whole_number(name: str, value: Any) -> int:
    """VALUE as an int, if it is a whole number of any type; else TypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise refuse(name, "a whole number", value) from None


def several(name: str, values: Any) -> list[int]:
    """VALUES as a list of int, if they are whole numbers; else TypeError."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise refuse(name, "several whole numbers", values)
    return [whole_number(f"each of {name}", value) for value in values]


def seconds(name: str, value: Any) -> None:
    """Raises TypeError for a VALUE that is no number of seconds, and not None."""
    if value is not None and not isinstance(value, int | float):
        raise refuse(name, "a number of seconds, or None", value)
