"""One of the ways that udev may go through its rules for a block: what is set on it so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from memory_hotplug.udev.facts import NOTHING, Values

__all__ = ["MOST_WORLDS", "RulePlace", "World", "fewer", "limited"]

_MOST_VALUES = 16
"""A variable with more values than these has an unknown one."""
MOST_WORLDS = 16
"""More ways than these are not told apart by what they have in variables."""
_MOST_NAMES = 128
"""More variables, tags or attributes than these are not told apart, either."""


class RulePlace(NamedTuple):
    """Where a rule is."""

    file: str
    """Below the root, with a slash at its beginning."""
    line: int
    """From 1."""
    last: int
    """The last line, where a backslash continues the first."""


@dataclass(slots=True)
class World:
    """What a block and udev's event have. No dictionary is changed in place: a copy shares them."""

    words: frozenset[str] = frozenset()
    """The words that may have set the block online; none while it is offline."""
    by: frozenset[RulePlace] = frozenset()
    """The rules that did."""
    reached: frozenset[RulePlace] = frozenset()
    """All rules that write such a word."""
    touched: bool = False
    """Whether a program has run that may have set the block online, or offline."""
    cache: dict[str, Values] = field(default_factory=dict)
    """The attributes of the block that udev has read, and does not read again."""
    variables: dict[str, Values] = field(default_factory=dict)
    others: Values = NOTHING
    """The value of all other variables."""
    tags: dict[str, bool] = field(default_factory=dict)
    other_tags: bool | None = False
    result: Values = NOTHING
    """What PROGRAM printed."""
    commands: frozenset[RulePlace] = frozenset()
    """The rules whose programs, which may set memory online, will run after all rules."""
    final: bool = False
    """Whether no further RUN counts."""
    wants: RulePlace | None = None
    """The rule that names units for systemd to start."""
    known: dict[str, bool] = field(default_factory=dict)
    """Matches that depend on the machine alone, and whether they hold with == in this world."""

    def copy(self) -> Self:
        return replace(self)

    @property
    def online(self) -> bool:
        return bool(self.words)

    def variable(self, name: str) -> Values:
        return self.variables.get(name, self.others)

    def assume(self, match: str, holds: bool) -> Self:
        """A copy of this world, in which a match holds or does not."""
        known = self.known
        if match and len(known) < _MOST_NAMES:
            known = {**known, match: holds}
        return replace(self, known=known)

    def keep(self, name: str, values: Values) -> None:
        """Keep an attribute that was read."""
        if len(self.cache) < _MOST_NAMES:
            self.cache = {**self.cache, name: values}

    def set(self, name: str, values: Values) -> None:
        """Set a variable."""
        if name in self.variables or len(self.variables) < _MOST_NAMES:
            self.variables = {**self.variables, name: values}
        else:
            self.others = None

    def tag(self, name: str, here: bool) -> None:
        """Add a tag, or remove it."""
        if name in self.tags or len(self.tags) < _MOST_NAMES:
            self.tags = {**self.tags, name: here}
        else:
            self.other_tags = None

    def _key(self) -> tuple[object, ...]:
        """Worlds with the same one go on in the same way."""
        return (
            *(self.words, self.by, self.reached, self.touched, self.others, self.other_tags),
            *(self.result, self.commands, self.final, self.wants),
            *(frozenset(self.cache.items()), frozenset(self.variables.items())),
            frozenset(self.tags.items()),
        )


def fewer(worlds: Sequence[World], most: int = MOST_WORLDS) -> list[World]:
    """The same ways with fewer worlds: those that go on alike are one."""
    if len(worlds) < 2:
        return list(worlds)
    found: dict[object, World] = {}
    for world in worlds:
        key = world._key()
        if key in found:
            found[key] = _joined(found[key], world)
        else:
            found[key] = world
    if len(found) <= most:
        return list(found.values())
    rough: dict[object, World] = {}
    for world in found.values():
        key = (world.online, world.touched, world.final)
        rough[key] = _joined(rough[key], world) if key in rough else world
    return list(rough.values())


def _joined(one: World, other: World) -> World:
    """A world that stands for two. What is in one only may not be."""
    return replace(
        one,
        words=one.words | other.words,
        by=one.by | other.by,
        reached=one.reached & other.reached,
        cache={
            name: _either(one.cache[name], other.cache[name])
            if name in one.cache and name in other.cache
            else None
            for name in one.cache.keys() | other.cache.keys()
        },
        variables={
            name: _either(one.variable(name), other.variable(name))
            for name in one.variables.keys() | other.variables.keys()
        },
        others=_either(one.others, other.others),
        tags={name: here for name, here in one.tags.items() if other.tags.get(name) is here},
        other_tags=False if _same_tags(one, other) else None,
        result=_either(one.result, other.result),
        commands=one.commands | other.commands,
        wants=one.wants or other.wants,
        known={match: so for match, so in one.known.items() if other.known.get(match) is so},
    )


def _same_tags(one: World, other: World) -> bool:
    return one.tags == other.tags and one.other_tags is False and other.other_tags is False


def _either(one: Values, other: Values) -> Values:
    return limited(one | other) if one is not None and other is not None else None


def limited(values: Iterable[str]) -> Values:
    """The values; None if they are too many to tell apart."""
    found = frozenset(values)
    return found if len(found) <= _MOST_VALUES else None
