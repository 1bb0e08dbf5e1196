"""The memory layout of a machine beside what it is: the column PERSISTENT, and --diff LAYOUT."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hotplug_cli import tree_messages
from hotplug_cli.block_names import named
from hotplug_cli.documents import (
    BYTES,
    COUNT,
    RUN,
    TEXT,
    Key,
    array_of,
    filled,
    nullable,
    object_of,
)
from hotplug_cli.message import Sentence
from hotplug_cli.remarks import absent_sentence
from lsmem_py.changes import ATTRIBUTES, Snapshot, snapshot
from memory_hotplug.block import MemoryBlock
from memory_hotplug.causes import Cause
from memory_hotplug.change.absence import Absence
from memory_hotplug.change.guard import ratio_of
from memory_hotplug.change.plan import Change
from memory_hotplug.change.targets import forecast_on, targets_on
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Policy
from memory_hotplug.layout.places import find_layout, read_layout
from memory_hotplug.machine import Machine
from memory_hotplug.runs import runs_of
from memory_hotplug.table import BlockTable
from memory_hotplug.trees.root_files import LONGEST

__all__ = ["DEFAULT", "LACKING", "Persistence", "Wanted", "is_layout", "persistence", "wanted"]

DEFAULT = "layout"
"""What stands for the layout in the directories memory-layout.d, where a file is named."""


def is_layout(path: str) -> bool:
    """Whether a path is that of a layout: DEFAULT, a file with the name of one, a file that begins
    as one in TOML, a file in JSON with the key that only a layout has, or a directory with such
    names."""
    if path == DEFAULT or path.endswith(".toml"):
        return True
    if os.path.isdir(path) and not os.path.isdir(f"{path}/sys"):
        return any(name.endswith(".toml") for name in os.listdir(path))
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(LONGEST)
    if _TOML.match(start):
        return True
    return start.lstrip(_BEFORE).startswith(b"{") and bool(_VERSION.search(start))


_BEFORE = b"\xef\xbb\xbf \t\r\n"
"""A byte order mark, and white space."""
_TOML = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[ \t\r]*(?:#[^\n]*)?\n)*[ \t]*"
    rb"(?:(?:version|keep_free)[ \t]*=|\[policy\]|\[\[memory\]\])"
)
"""How a layout in TOML begins, behind comments."""
_VERSION = re.compile(rb'"version"\s*:')


class Persistence(NamedTuple):
    """What the layout of a machine says of its blocks."""

    words: Mapping[int, str | None]
    """Of each block: ``yes`` if it is as the layout says, ``differs`` if it is not, ``no`` if no
    entry is about it; None if no entry is about any memory."""
    missing: int = 0
    """Blocks that the layout wants, and that the machine does not have."""


def persistence(machine: Machine, table: BlockTable) -> Persistence:
    """What the layout of the machine says of the blocks of TABLE, which has all blocks.

    Raises LayoutError, and OSError if the layout cannot be read.
    """
    layout = read_layout(machine.tree.system)
    if not layout.entries:
        return Persistence(dict.fromkeys(table.numbers))
    found = targets_on(machine, layout, table)
    already = {change.number: change.plan.already for change in found.changes}
    words = {number: _WORDS[already.get(number)] for number in table.numbers}
    return Persistence(words, sum(absence.blocks for absence in found.absences))


_WORDS = {None: "no", True: "yes", False: "differs"}


class Wanted(NamedTuple):
    """What a machine is to be by a layout, as far as it can be so."""

    snapshot: Snapshot
    absences: Sequence[Absence]
    """What the machine lacks."""
    refused: Sequence[int]
    """Blocks that are not changed, though the layout wants it."""
    sentences: Sequence[Sentence]
    """Messages about what is lacking and refused."""


_MISSING = (
    Key("file", "the file of the entry", TEXT, lambda one: one[0].entry.where.file),
    Key(
        "line",
        "the line of the entry, from 1; null if it is not known, as in JSON",
        nullable({**COUNT, "minimum": 1}),
        lambda one: one[0].entry.where.line,
    ),
    Key(
        "size",
        "bytes that are missing; of a node without any memory, those of one block",
        BYTES,
        lambda one: one[0].blocks * one[1],
    ),
    Key("node", "the node that the entry names", nullable(COUNT), lambda one: one[0].entry.node),
    Key(
        "blocks",
        "the blocks that are missing, where these are known",
        array_of(RUN),
        lambda one: _runs(one[0].ranges),
    ),
)


def _runs(ranges: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"first": first, "last": last} for first, last in ranges]


def _missing(wanted: Wanted) -> list[dict[str, Any]]:
    size = wanted.snapshot.block_size
    return [filled(_MISSING, (absence, size)) for absence in wanted.absences]


LACKING = (
    Key(
        "missing",
        "only with a memory layout: what it wants, and the machine does not have",
        array_of(object_of(_MISSING)),
        lambda wanted: wanted and _missing(wanted),
        optional=True,
    ),
    Key(
        "refused",
        "only with a memory layout: blocks that chmem would not change as it says, because of "
        "their zone",
        array_of(RUN),
        lambda wanted: wanted and _runs(runs_of(wanted.refused)),
        optional=True,
    ),
)
"""What is lacking and refused, as JSON has it; from what is wanted, None without a layout."""


def wanted(machine: Machine, now: Snapshot, path: str) -> Wanted:
    """What the machine is to be by the layout in PATH.

    NOW is what it is. Raises LayoutError, and OSError if the layout cannot be read.
    """
    layout = find_layout(machine.tree.system, None if path == DEFAULT else path)
    if layout is None:
        raise LayoutError("memory-layout.d", None, "there is no layout")
    table = machine.read(ATTRIBUTES)
    found = forecast_on(machine, layout, table)
    after = {change.number: _after(change) for change in found.changes}
    blocks = [after.get(block.number, block) for block in table.blocks()]
    columns = {name: [getattr(block, name) for block in blocks] for name in ATTRIBUTES}
    head = _head(now.head, layout.policy)
    then = snapshot(table._replace(columns=columns, remarks=()), head)
    said = [absent_sentence(absence, table.block_size) for absence in found.absences]
    refused = [change.plan.refused for change in found.changes if change.plan.refused]
    kept = [one.number for one in refused if one.cause is Cause.KERNEL_ZONES]
    if kept:
        ratio = ratio_of(machine, layout.policy)
        said.append(tree_messages.KERNEL_ZONES.of(blocks=named(kept), ratio=ratio))
    return Wanted(then, found.absences, sorted(one.number for one in refused), said)


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
