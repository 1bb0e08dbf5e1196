"""What to take out of a file of udev rules, and what else it does."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from memory_hotplug.trees.files import Packed
from memory_hotplug.trees.root_files import read_file
from memory_hotplug.udev.matches import place_of
from memory_hotplug.udev.syntax import Kind, Rule, Token, rules_of

__all__ = ["OVERRIDING", "Removal", "removal"]

OVERRIDING = "etc/udev/rules.d"
"""The directory whose files come before those of their names elsewhere."""


class Removal(NamedTuple):
    """How a file is kept without some of its rules."""

    script: str
    """For sed(1); "" if none does it."""
    whole: bool
    """Whether the script takes out whole lines."""
    others: tuple[str, ...]
    """The subsystems that other rules of the file are about; "" for any."""


def removal(root: str | Packed, file: str, lines: Iterable[int]) -> Removal:
    """How to take the rules that begin at LINES out of a file. Raises OSError."""
    text = read_file(root, file.lstrip("/")).decode(errors="replace")
    rules, _ = rules_of(text)
    starts = set(lines)
    found = [rule for rule in rules if rule.line in starts]
    others = {name for rule in rules if rule.line not in starts for name in _subsystems(rule)}
    steps = [_step(rule, text.split("\n")) for rule in found]
    script = "" if None in steps else ";".join(filter(None, steps))
    return Removal(script, all(map(_alone, found)), tuple(sorted(others)))


def _subsystems(rule: Rule) -> Iterable[str]:
    """What a rule is about, if it does anything."""
    if not any(_has_effect(token) for token in rule.tokens):
        return ()
    for kinds in ((Kind.SUBSYSTEM, Kind.SUBSYSTEMS), (Kind.KERNEL, Kind.KERNELS)):
        tokens = [token for token in rule.tokens if token.kind in kinds and token.equal]
        names = [name for token in tokens for name in re.findall("(?:^|[|])([a-z]+)", token.value)]
        if names:
            return names
    return ("",)


def _has_effect(token: Token) -> bool:
    """Whether a token does something outside of the file."""
    return token.kind > Kind.RESULT and not (token.kind is Kind.SET_ENV and token.name[0] == ".")


def _is_online(token: Token) -> bool:
    """Whether a token may set a block online."""
    if token.kind is Kind.SET_ATTR:
        return place_of(token.name) is not None
    return token.kind in (Kind.RUN_PROGRAM, Kind.PROGRAM, Kind.IMPORT_PROGRAM) or (
        token.kind is Kind.SET_ENV and token.name == "SYSTEMD_WANTS"
    )


def _alone(rule: Rule) -> bool:
    """Whether nothing is lost with the line but what sets memory online."""
    rest = [token for token in rule.tokens if _has_effect(token) and not _is_online(token)]
    tags = all(token.kind is Kind.SET_TAG and token.value == "systemd" for token in rest)
    return rule.label is None and rule.goto is None and tags


def _step(rule: Rule, lines: list[str]) -> str | None:
    """A command of sed that takes a rule, or what sets memory online in it, out; None for none."""
    ends = f"{rule.line}" if rule.line == rule.last else f"{rule.line},{rule.last}"
    if _alone(rule):
        return f"{ends}d"
    steps = []
    for token in filter(_is_online, rule.tokens):
        if not any(token.text in line for line in lines[rule.line - 1 : rule.last]):
            return None
        pattern = re.sub(r"([\\.*\[\]^$/])", r"\\\1", token.text)
        steps.append(f"{ends}s/{pattern}//")
    return ";".join(steps)
