"""What to take out of a file of udev rules, and what else it does."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import read_file
from memory_hotplug.udev.added import OnlineRule, outcome
from memory_hotplug.udev.event import Course
from memory_hotplug.udev.facts import Facts
from memory_hotplug.udev.matches import Event, place_of
from memory_hotplug.udev.syntax import Rule, RuleFile, Token, TokenKind, rule_files, rules_of
from memory_hotplug.udev.world import World

__all__ = ["OVERRIDING", "FileEdit", "Way", "removal", "rules_to_stop", "to_stop"]

OVERRIDING = "etc/udev/rules.d"
"""The directory whose files come before those of their names elsewhere."""


class Way(Enum):
    """How a rule is stopped."""

    LINE = auto()
    """The whole line goes."""
    PART = auto()
    """What sets memory online goes from the line."""
    MEMORY = auto()
    """The line is for other devices, too, and stays for these."""


class RuleEdit(NamedTuple):
    """How one rule is stopped."""

    line: int
    """Its first line."""
    way: Way
    script: str
    """For sed(1); "" if none does it."""


class FileEdit(NamedTuple):
    """How a file is kept without what some of its rules do with memory."""

    steps: tuple[RuleEdit, ...]
    others: tuple[str, ...]
    """The subsystems that the file is about beside that; "" for any."""

    @property
    def script(self) -> str:
        """For sed(1); "" if none does it."""
        scripts = [step.script for step in self.steps]
        return ";".join(scripts) if all(scripts) else ""

    @property
    def whole(self) -> bool:
        """Whether only whole lines go."""
        return all(step.way is Way.LINE for step in self.steps)


def rules_to_stop(
    tree: Tree, numbers: Sequence[int] | None, but: Collection[str] = ()
) -> Sequence[OnlineRule]:
    """The rules that must all be stopped, so that none sets added memory online; see
    `added_memory`. Rules come in the place of those that are stopped: of many that name units, udev
    heeds the last one. Those in the files BUT, whose names have a slash at their beginning, are not
    stopped. Raises OSError.
    """
    return to_stop(list(rule_files(tree.system)), Facts(tree), numbers, but)


def to_stop(
    files: Sequence[RuleFile], facts: Facts, numbers: Sequence[int] | None, but: Collection[str]
) -> Sequence[OnlineRule]:
    """The same, for files that are read already."""
    found: dict[tuple[str, int], OnlineRule] = {}
    left = list(files)
    while True:
        rules = outcome(left, facts, numbers).rules
        now = {(rule.file, rule.line): rule for rule in rules if rule.file not in but}
        if not now.keys() - found.keys():
            break
        # One that comes in the place of another does nothing as long as that is there.
        later = {place: rule._replace(certain=False) for place, rule in now.items()}
        found = {**(later if found else now), **found}
        left = [_stopped(file, now.keys()) for file in left]
    return sorted(found.values(), key=lambda rule: (rule.file.rpartition("/")[2], rule.line))


def _stopped(file: RuleFile, places: Collection[tuple[str, int]]) -> RuleFile:
    """A file without what sets memory online in the rules at some places."""
    rules = [
        replace(rule, tokens=[token for token in rule.tokens if not _is_online(token)])
        if (f"/{file.path}", rule.line) in places
        else rule
        for rule in file.rules
    ]
    return replace(file, rules=rules)


def removal(tree: Tree, file: str, lines: Iterable[int]) -> FileEdit:
    """How to stop the rules that begin at LINES of a file. Raises OSError."""
    text = read_file(tree.system, file.lstrip("/")).decode(errors="replace")
    rules, sure = rules_of(text)
    shared = _shared(RuleFile(file.lstrip("/"), rules, sure), Facts(tree))
    raws = text.split("\n")
    steps: list[RuleEdit] = []
    others: set[str] = set()
    starts = set(lines)
    for rule in rules:
        if rule.line not in starts:
            others.update(_subsystems(rule))
        elif rule.line in shared:
            others.update(_sharing(rule, rules))
            steps.append(RuleEdit(rule.line, Way.MEMORY, _not_for_memory(rule, raws)))
        elif _alone(rule):
            steps.append(RuleEdit(rule.line, Way.LINE, f"{_ends(rule)}d"))
        else:
            steps.append(RuleEdit(rule.line, Way.PART, _cut(rule, raws, _ends(rule))))
    return FileEdit(tuple(steps), tuple(sorted(others)))


def _shared(file: RuleFile, facts: Facts) -> set[int]:
    """The first lines of rules that do something for other devices, too, and nothing to memory
    then."""
    course = Course([file], Event("add", None, facts, elsewhere=True), changes=False)
    course.worlds(World(others=None, other_tags=None))
    return course.applied - {place.line for place in course.found}


def _sharing(rule: Rule, rules: list[Rule]) -> Iterable[str]:
    """The subsystems of other devices that a rule is for; if it names none, those that others of
    its file name."""
    named = {*_named(rule)} or {name for one in rules for name in _named(one)}
    return named - {"memory"} or ("",)


def _named(rule: Rule) -> Iterable[str]:
    for token in rule.tokens:
        if token.kind in (TokenKind.SUBSYSTEM, TokenKind.SUBSYSTEMS):
            yield from re.findall("(?:^|[|])([a-z]+)", token.value)


def _subsystems(rule: Rule) -> Iterable[str]:
    """What a rule is about, if it does anything."""
    if not any(_has_effect(token) for token in rule.tokens):
        return ()
    for kinds in (
        (TokenKind.SUBSYSTEM, TokenKind.SUBSYSTEMS),
        (TokenKind.KERNEL, TokenKind.KERNELS),
    ):
        tokens = [token for token in rule.tokens if token.kind in kinds and token.equal]
        names = [name for token in tokens for name in re.findall("(?:^|[|])([a-z]+)", token.value)]
        if names:
            return names
    return ("",)


def _has_effect(token: Token) -> bool:
    """Whether a token does something outside of the file."""
    return token.kind > TokenKind.RESULT and not (
        token.kind is TokenKind.SET_ENV and token.name[0] == "."
    )


def _is_online(token: Token) -> bool:
    """Whether a token may set a block online."""
    if token.kind is TokenKind.SET_ATTR:
        return place_of(token.name) is not None
    return token.kind in (TokenKind.RUN_PROGRAM, TokenKind.PROGRAM, TokenKind.IMPORT_PROGRAM) or (
        token.kind is TokenKind.SET_ENV and token.name == "SYSTEMD_WANTS"
    )


def _alone(rule: Rule) -> bool:
    """Whether nothing is lost with the line but what sets memory online."""
    return rule.label is None and _only_online(rule)


def _only_online(rule: Rule) -> bool:
    """Whether a rule does nothing but set memory online, where its matches hold."""
    rest = [token for token in rule.tokens if _has_effect(token) and not _is_online(token)]
    tags = all(token.kind is TokenKind.SET_TAG and token.value == "systemd" for token in rest)
    return rule.goto is None and tags


def _ends(rule: Rule) -> str:
    """The lines of a rule, for sed."""
    return f"{rule.line}" if rule.line == rule.last else f"{rule.line},{rule.last}"


def _cut(rule: Rule, lines: list[str], where: str) -> str:
    """A command of sed that takes what sets memory online out of a rule; "" for none."""
    steps = []
    for token in filter(_is_online, rule.tokens):
        if not any(token.text in line for line in lines[rule.line - 1 : rule.last]):
            return ""
        pattern = re.sub(r"([\\.*\[\]^$/])", r"\\\1", token.text)
        steps.append(f"{where}s/{pattern}//")
    return ";".join(steps)


def _not_for_memory(rule: Rule, lines: list[str]) -> str:
    """A command of sed that keeps a rule from memory, but for what else it does; "" for none."""
    others = 's/^/SUBSYSTEM!="memory", /'
    if _only_online(rule):
        return f"{rule.line}{others}"
    cut = _cut(rule, lines, "")
    if rule.line != rule.last or not cut:
        return ""
    # One line for other devices, and one for memory.
    return f'{rule.line}{{h;{others};p;g;{cut};s/^/SUBSYSTEM=="memory", /}}'
