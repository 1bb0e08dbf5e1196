"""What is said of files of udev rules, beside what a real udev made of blocks with them."""

from collections.abc import Iterable
from typing import NamedTuple

from memory_hotplug.udev.added import AddedMemory, outcome
from memory_hotplug.udev.facts import Facts
from memory_hotplug.udev.syntax import RuleFile, rules_of

_ZONES = {"online_kernel": "Normal", "online_movable": "Movable"}


class Case(NamedTuple):
    """A file, and what a real udev made of two blocks with it."""

    text: str
    blocks: list[int]
    states: list[str]
    zones: list[str]


class Verdict(NamedTuple):
    """A case, and what is said of its file."""

    case: Case
    general: AddedMemory
    """Of a block of any number."""
    exact: list[AddedMemory]
    """Of each of the two."""

    @property
    def wrong(self) -> str:
        """What is wrong with what is said; "" for nothing."""
        for block, state, zone, one in zip(*self.case[1:], self.exact, strict=True):
            online = state == "online"
            for found, of in ((self.general, "any block"), (one, f"block {block}")):
                if word(found) == ("no" if online else "certain"):
                    return f"{word(found)} is said of {of}, and block {block} is {state}"
            zones = {_ZONES.get(written, zone) for written in one.words}
            if one.certain and zone not in zones:
                return f"{one.words} is certain, and block {block} is in zone {zone}"
        return ""


def word(found: AddedMemory) -> str:
    return "certain" if found.certain else "perhaps" if found.rules else "no"


def verdict(case: Case, others: Iterable[RuleFile], facts: Facts) -> Verdict:
    """What is said of a file, among OTHERS, on the machine of which the FACTS are."""
    files = [*others, RuleFile("etc/udev/rules.d/50-judged.rules", *rules_of(case.text))]
    files.sort(key=lambda file: file.path.rpartition("/")[2])
    general, *exact = (
        outcome(files, facts, numbers) for numbers in (None, *([block] for block in case.blocks))
    )
    return Verdict(case, general, exact)
