"""Messages about udev rules that would undo a layout, and how to stop each where its file is."""

import os
import shlex
from collections.abc import Iterator
from itertools import groupby

from chmem_py import messages
from hotplug_cli.message import Sentence
from memory_hotplug.condition import Condition
from memory_hotplug.face import Machine
from memory_hotplug.layout.at_boot import RULES
from memory_hotplug.layout.model import Entry, Layout
from memory_hotplug.trees.files import Tree
from memory_hotplug.udev.added import OnlineRule
from memory_hotplug.udev.stopping import OVERRIDING, FileEdit, Way, removal, rules_to_stop

_DEVICES = {
    "": "other devices",
    "block": "disks",
    "cpu": "processors",
    "memory": "memory",
    "net": "network interfaces",
    "usb": "USB devices",
}


_WAYS = {
    Way.LINE: "takes {} out",
    Way.PART: "takes what does it out of {}",
    Way.MEMORY: "keeps {} from memory",
}


def format_rules(machine: Machine, layout: Layout) -> Iterator[Sentence]:
    """Messages about the rules that may set memory online that a layout wants offline.

    Raises OSError if a rule cannot be read.
    """
    tree = machine.tree
    found = rules_to_stop(tree, _offline(machine, layout), but=[f"/{RULES}"])
    for file, group in groupby(found, key=lambda rule: rule.file):
        rules = list(group)
        for rule in rules:
            said = _row(rule)
            yield said.advising(_advice(tree, file, rules)) if rule is rules[-1] else said


def _row(rule: OnlineRule) -> Sentence:
    if not rule.words:
        return messages.PROGRAM_MAY_UNDO.of(place=rule.place)
    row = messages.RULE_UNDOES if rule.certain else messages.RULE_MAY_UNDO
    return row.of(place=rule.place)


def _offline(machine: Machine, layout: Layout) -> list[int] | None:
    """The blocks that are to be offline; None for blocks of any number."""
    if layout.policy.auto_online == "offline":
        return None
    entries = [entry for entry in layout.entries if entry.condition is Condition.OFFLINE]
    if any(entry.size is not None or not (entry.blocks or entry.addresses) for entry in entries):
        return None
    ranges = [ends for entry in entries for ends in _ranges(entry, machine.block_size)]
    if sum(last - first + 1 for first, last in ranges) > 64:
        return None
    return sorted({number for first, last in ranges for number in range(first, last + 1)})


def _ranges(entry: Entry, block_size: int) -> list[tuple[int, int]]:
    by_address = ((first // block_size, last // block_size) for first, last in entry.addresses)
    return list(entry.blocks or by_address)


def _advice(tree: Tree, file: str, rules: list[OnlineRule]) -> Sentence:
    """What stops the rules of a file, and keeps what else it does."""
    how = removal(tree, file, [rule.line for rule in rules])
    here = "" if tree.is_this_machine else tree.root.rstrip("/")
    name = os.path.basename(file)
    target = f"{here}/{OVERRIDING}/{name}"
    lines = " and ".join(_lines(rule) for rule in rules)
    what = " and ".join(_done(how, rules))
    kept = _kept(how)
    if not how.script:
        return messages.STOP_BY_HAND.of(file=file, lines=lines, kept=kept)
    script = shlex.quote(how.script)
    if file == f"/{OVERRIDING}/{name}":
        command = f"sed -i {script} {shlex.quote(target)}"
    elif how.others or not how.whole:
        command = f"sed {script} {shlex.quote(here + file)} >{shlex.quote(target)}"
        what += ", in a copy that comes before it"
    else:
        return messages.STOP_BY_MASK.of(command=f"ln -s /dev/null {shlex.quote(target)}")
    return messages.STOP_BY_EDITING.of(command=command, what=what, kept=kept)


def _done(how: FileEdit, rules: list[OnlineRule]) -> Iterator[str]:
    """What the command does to which lines."""
    lines = {rule.line: _lines(rule) for rule in rules}
    for way, text in _WAYS.items():
        if found := [lines[step.line] for step in how.steps if step.way is way]:
            yield text.format(" and ".join(found))


def _lines(rule: OnlineRule) -> str:
    return f"line {rule.line}" if rule.last == rule.line else f"lines {rule.line} to {rule.last}"


def _kept(how: FileEdit) -> str:
    """What masking the file would drop, too."""
    if not how.others:
        return ""
    things = [_DEVICES.get(name, f"devices of {name}") for name in how.others]
    return f"; masking the file would also drop its rules for {', '.join(things)}"
