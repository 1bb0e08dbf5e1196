"""The library's named tuples are used as those of typing are."""

from __future__ import annotations

import copy
import pickle
import typing
from collections.abc import Callable
from typing import Any

import pytest

from memory_hotplug.named_tuple import NamedTuple


class Ours(NamedTuple):
    """A class with all that a class of the house has."""

    first: int
    second: str = "two"
    third: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.first


class Theirs(typing.NamedTuple):
    first: int
    second: str = "two"
    third: tuple[int, ...] = ()


class Below(Ours):
    __slots__ = ()


MADE: list[Callable[[Any], Any]] = [
    lambda kind: kind(1),
    lambda kind: kind(1, "2", (3,)),
    lambda kind: kind(third=(4,), first=1),
    lambda kind: kind(1, third=(4,)),
    lambda kind: kind._make([1, 2, 3]),
    lambda kind: kind(1)._replace(second="new"),
    lambda kind: kind(1)._asdict(),
    lambda kind: (kind(1) == (1, "two", ()), kind(1) < kind(2), hash(kind(1)), len(kind(1))),
    lambda kind: (kind(5).first, kind(5).second, kind(5)[2], [*kind(5)]),
    lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__),
    lambda kind: repr(kind(1)).partition("(")[2],
]

WRONG: list[Callable[[Any], Any]] = [
    lambda kind: kind(),
    lambda kind: kind(second="2"),
    lambda kind: kind(1, first=1),
    lambda kind: kind(1, "2", third=(3,), second="2"),
    lambda kind: kind(1, fourth=4),
    lambda kind: kind(1, "2", (3,), 4),
]


@pytest.mark.parametrize("use", MADE)
def test_a_named_tuple_is_as_one_of_typing(use: Callable[[Any], Any]) -> None:
    assert use(Ours) == use(Below) == use(Theirs)


@pytest.mark.parametrize("use", WRONG)
def test_wrong_fields_are_a_type_error(use: Callable[[Any], Any]) -> None:
    for kind in (Ours, Below, Theirs):
        with pytest.raises(TypeError):
            use(kind)


def test_a_field_that_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises((TypeError, ValueError), match="fourth"):
        Ours(1)._replace(fourth=4)  # type: ignore[call-arg]  # a wrong one


def test_a_named_tuple_can_be_copied_and_has_no_other_attributes() -> None:
    ours = Ours(1, third=(7,))
    for again in (copy.copy(ours), pickle.loads(pickle.dumps(ours))):
        assert again == ours
        assert type(again) is Ours
        assert again.double == 2
    with pytest.raises(AttributeError):
        ours.first = 2  # type: ignore[misc]  # it cannot be set
    with pytest.raises(AttributeError):
        ours.other = 2  # type: ignore[attr-defined]  # there is none
    match ours:
        case Ours(first, second):
            assert (first, second) == (1, "two")
