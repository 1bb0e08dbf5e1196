"""What udev rules make of memory that is added, read from the files of a machine.

The rules are gone through as udev does for a block that was just added (udev(7)), with what is
known of the machine. Each answer is certain, perhaps, or no: no only where no rule can set the
block online.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memory_hotplug.trees.files import Tree
from memory_hotplug.udev.event import ONLINE, Course
from memory_hotplug.udev.facts import Facts
from memory_hotplug.udev.matches import Event, place_of
from memory_hotplug.udev.programs import of_memory
from memory_hotplug.udev.syntax import RuleFile, Token, TokenKind, rule_files
from memory_hotplug.udev.world import RulePlace, World

__all__ = ["AddedMemory", "OnlineRule", "added_memory", "outcome"]

_MOST_NUMBERS = 64
"""For more blocks the rules are gone through once, for blocks of any number."""


class OnlineRule(NamedTuple):
    """A rule that may set an added block online."""

    file: str
    """Below the root, with a slash at its beginning."""
    line: int
    """From 1."""
    words: tuple[str, ...]
    """What it writes to `state`; empty for a program that may do so."""
    certain: bool
    """Whether it is for all blocks of this machine, while they are offline."""
    last: int
    """The last line, where a backslash continues the first."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


class AddedMemory(NamedTuple):
    """What becomes of a block that is added, if the kernel leaves it offline."""

    rules: tuple[OnlineRule, ...]
    """All that may set it online, in the order of udev."""
    certain: bool
    """Whether it becomes online, whatever else is not known."""
    words: tuple[str, ...]
    """The states that it is set to, or may be."""
    by: tuple[OnlineRule, ...]
    """The rules that set it online. A rule that comes later finds it online."""


def added_memory(tree: Tree, numbers: Sequence[int] | None = None) -> AddedMemory:
    """What rules make of memory that is added: blocks of any number, or of one of NUMBERS.

    Raises OSError if a directory or a file cannot be read.
    """
    return outcome(list(rule_files(tree.system)), Facts(tree), numbers)


def outcome(files: list[RuleFile], facts: Facts, numbers: Sequence[int] | None) -> AddedMemory:
    """The same, for files that are read already."""
    asked: Iterable[int | None] = (None,)
    if numbers is not None and len(numbers) <= _MOST_NUMBERS:
        asked = numbers
    found = [_of_one(files, facts, number) for number in asked]
    places = sorted({place for one in found for place in one.words})
    rules = {
        place: OnlineRule(
            place.file,
            place.line,
            _ordered(word for one in found for word in one.words.get(place, ())),
            all(place in one.always for one in found),
            place.last,
        )
        for place in sorted(places, key=lambda place: (place.file.rpartition("/")[2], place.line))
    }
    setters = {place for one in found for place in one.setters}
    return AddedMemory(
        tuple(rules.values()),
        bool(found) and all(one.certain for one in found),
        _ordered(word for one in found for word in one.becomes),
        tuple(rule for place, rule in rules.items() if place in setters),
    )


def _ordered(words: Iterable[str]) -> tuple[str, ...]:
    found = set(words)
    return tuple(word for word in ONLINE if word in found)


class _Found(NamedTuple):
    """What becomes of one block, or of one of any number."""

    words: dict[RulePlace, set[str]]
    always: frozenset[RulePlace]
    """The rules that are reached in all ways."""
    certain: bool
    becomes: frozenset[str]
    setters: frozenset[RulePlace]


def _of_one(files: list[RuleFile], facts: Facts, number: int | None) -> _Found:
    event = Event("add", number, facts)
    start = World(others=None if facts.partial else World().others)
    all_rules = Course(files, event, changes=False)
    always = frozenset.intersection(*(end.reached for end in all_rules.worlds(start.copy())))
    words = all_rules.found
    for file in files:
        if any(_speaks_of_memory(token) for rule in file.rules for token in rule.tokens):
            elsewhere = Course([file], event._replace(elsewhere=True), changes=False)
            elsewhere.worlds(World(others=None, other_tags=None))
            _merge(words, elsewhere.found)
    if not words:
        return _Found({}, frozenset(), False, frozenset(), frozenset())
    course = Course(files, event, changes=True)
    ends = course.worlds(start.copy())
    _merge(words, course.found)
    certain = all(end.online for end in ends)
    # Setting a block online, or offline, is an event, too.
    later = _after(
        files, event._replace(action="online"), [end for end in ends if end.online], words
    )
    offline = [end for end in later if not end.online]
    if offline:
        certain = False
        _after(files, event._replace(action="offline"), offline, words)
    becomes = frozenset(word for end in ends for word in end.words)
    return _Found(words, always, certain, becomes, frozenset(p for end in ends for p in end.by))


def _speaks_of_memory(token: Token) -> bool:
    """Whether a rule with this token may set a block online for the event of another device."""
    if token.kind is TokenKind.SET_ATTR:
        return (place_of(token.name) or "").startswith("*")
    return token.kind in (TokenKind.RUN_PROGRAM, TokenKind.PROGRAM) and of_memory(token.value)


def _after(
    files: list[RuleFile], event: Event, ends: list[World], words: dict[RulePlace, set[str]]
) -> list[World]:
    """The worlds after a further event. What was set before is in udev's data base, or is not."""
    course = Course(files, event, changes=True)
    later = [
        world
        for before in dict.fromkeys(end.words for end in ends)
        for world in course.worlds(World(words=before, others=None, other_tags=None))
    ]
    _merge(words, course.found if event.action == "offline" else {})
    return later


def _merge(words: dict[RulePlace, set[str]], more: dict[RulePlace, set[str]]) -> None:
    for place, found in more.items():
        words.setdefault(place, set()).update(found)
