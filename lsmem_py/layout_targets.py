"""The memory layout of a machine beside what it is: the column PERSISTENT, and --diff LAYOUT."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hotplug_cli import tree_messages
from hotplug_cli.block_names import named
from hotplug_cli.message import Sentence
from hotplug_cli.remarks import absent_sentence
from lsmem_py.changes import ATTRIBUTES, Snapshot, snapshot
from memory_hotplug.block import MemoryBlock
from memory_hotplug.causes import Cause
from memory_hotplug.change.guard import balanced, ratio_of
from memory_hotplug.change.plan import Change
from memory_hotplug.change.targets import targets_on
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Policy
from memory_hotplug.layout.places import read_layout
from memory_hotplug.machine import Machine
from memory_hotplug.table import BlockTable
from memory_hotplug.trees.root_files import LONGEST

__all__ = ["DEFAULT", "is_layout", "persistence", "wanted"]

DEFAULT = "layout"
"""What stands for the layout in the directories memory-layout.d, where a file is named."""


def is_layout(path: str) -> bool:
    """Whether a path is that of a layout: DEFAULT, a file with the name of one, a file in JSON with
    the key that only a layout has, or a directory with such names."""
    if path == DEFAULT or path.endswith(".toml"):
        return True
    if os.path.isdir(path) and not os.path.isdir(f"{path}/sys"):
        return any(name.endswith(".toml") for name in os.listdir(path))
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(LONGEST)
    return start.lstrip(_BEFORE).startswith(b"{") and bool(_VERSION.search(start))


_BEFORE = b"\xef\xbb\xbf \t\r\n"
"""A byte order mark, and white space."""
_VERSION = re.compile(rb'"version"\s*:')


def persistence(machine: Machine, table: BlockTable) -> Mapping[int, str | None]:
    """What the layout of the machine says of each block of TABLE: ``yes`` if the block is as it
    says, ``differs`` if it is not, ``no`` if no entry is about it; None if there is no layout.

    Raises LayoutError, and OSError if the layout cannot be read.
    """
    layout = read_layout(machine.tree.system)
    if not layout.entries:
        return dict.fromkeys(table.numbers)
    changes = targets_on(machine, layout, table).changes
    already = {change.number: change.plan.already for change in changes}
    return {number: _WORDS[already.get(number)] for number in table.numbers}


_WORDS = {None: "no", True: "yes", False: "differs"}


def wanted(machine: Machine, now: Snapshot, path: str) -> tuple[Snapshot, Sequence[Sentence]]:
    """What the machine is to be by the layout in PATH, and messages about what it lacks.

    NOW is what it is. Raises LayoutError, and OSError if the layout cannot be read.
    """
    layout = read_layout(machine.tree.system, None if path == DEFAULT else path)
    if path == DEFAULT and not (layout.entries or layout.policy.said):
        raise LayoutError("memory-layout.d", None, "there is no layout")
    table = machine.read(ATTRIBUTES)
    found = targets_on(machine, layout, table)
    ratio = ratio_of(machine)
    changes = balanced(found.changes, table, ratio)
    after = {change.number: _after(change) for change in changes}
    blocks = [after.get(block.number, block) for block in table.blocks()]
    columns = {name: [getattr(block, name) for block in blocks] for name in ATTRIBUTES}
    head = _head(now.head, layout.policy)
    then = snapshot(table._replace(columns=columns, remarks=()), head)
    missing = [absent_sentence(absence, table.block_size) for absence in found.absences]
    causes = {change.number: change.plan.refused.cause for change in changes if change.plan.refused}
    kept = [number for number, cause in causes.items() if cause is Cause.KERNEL_ZONES]
    if kept:
        missing.append(tree_messages.KERNEL_ZONES.of(blocks=named(kept), ratio=ratio))
    return then, missing


def _after(change: Change) -> MemoryBlock:
    """The block as the layout wants it. What nobody knows before is left out."""
    before, after = change.block, change.after
    return after._replace(removable=before.removable if after.state is before.state else None)


def _head(now: Mapping[str, Any], policy: Policy) -> Mapping[str, Any]:
    """The head of the machine's document with what a policy wants."""
    said = policy.said
    auto_online = said.pop("auto_online", now["auto_online_blocks"])
    parameters = {**now["memory_hotplug"], **said}
    return {**now, "auto_online_blocks": auto_online, "memory_hotplug": parameters}
