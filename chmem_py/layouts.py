"""Bring a machine to a memory layout, save the layout that it has, and undo the last change."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from chmem_py import messages
from chmem_py.output import Output
from chmem_py.request import Request
from chmem_py.selection import Selection, Undoing, needed, select, select_changes
from hotplug_cli.exits import Exit
from hotplug_cli.output_file import open_output
from hotplug_cli.program import CommandError
from hotplug_cli.tree_messages import BAD_LAYOUT
from memory_hotplug.block import State
from memory_hotplug.change.guard import ZoneBalance, ratio_of
from memory_hotplug.change.journal import last_change
from memory_hotplug.change.lock import is_own
from memory_hotplug.change.plan import NEEDED, Action, change_back
from memory_hotplug.change.saved import entries_of, stays_by_itself
from memory_hotplug.change.targets import (
    NEEDED_FOR_LAYOUT,
    absence_of,
    is_on,
    removal_for,
    targets_on,
)
from memory_hotplug.change.undo import UNDO
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Entry, Layout, Policy, Where
from memory_hotplug.layout.notation import format_layout, parse_layout, parse_policy
from memory_hotplug.layout.places import (
    SAVED,
    decoded,
    find_layout,
    layout_file_names,
    read_layout,
)
from memory_hotplug.layout.settings import differing, settings_to
from memory_hotplug.machine import Machine
from memory_hotplug.runs import gaps
from memory_hotplug.table import BlockTable
from memory_hotplug.trees.root_files import LONGEST, is_there, read_file, replace_file
from memory_hotplug.trees.simulated import is_simulated

HEADING = """\
The memory layout as chmem saved it; see memory-layout.d(5).
chmem --save and --persistent write this file anew. Lines of your own belong
into another file of this directory; one that sorts later overrides this one."""
_VENDORS = f"usr/lib/{SAVED.removeprefix('etc/')}"
_NO_HEADING = "The memory layout as chmem saved it; see memory-layout.d(5)."


class Job(NamedTuple):
    """What is asked for, and how its blocks are selected once the machine is held."""

    request: Request
    select: Callable[[], Selection]
    policy: Policy | None = None
    """The policy that is asked for, with --policy."""
    layout_files: Sequence[str] = ()
    """The files, or the directory, that the layout of --apply is read from."""


# Apply


def to_apply(machine: Machine, where: str | None, output: Output, *, force: bool) -> Job:
    """The job for --apply. With FORCE zone Movable may become of any size.

    Raises LayoutError, and OSError if the layout cannot be read.
    """
    found = _standard_input() if where == "-" else find_layout(machine.tree.system, where)
    if found is None:
        told = BAD_LAYOUT.of(place="memory-layout.d", reason="there is no layout")
        output.say(told)
    layout = found or Layout()
    request = Request(where or "memory-layout.d")

    def chosen() -> Selection:
        table = machine.read(NEEDED_FOR_LAYOUT)
        removal = removal_for(machine, layout)
        targets = targets_on(machine, layout, table, removal)
        settings = differing(layout.policy, machine)
        found = select_changes(request, machine, *targets, settings, layout.keep_free)
        found = replace(found, removal=removal, zones=partial(ZoneBalance, table))
        return found if force else _balanced(found, machine, table)

    files = [where] if where else [f"/{path}" for path in layout_file_names(machine.tree.system)]
    return Job(request, chosen, layout_files=files)


def _balanced(selection: Selection, machine: Machine, table: BlockTable) -> Selection:
    """The selection with a bound for zone Movable."""
    # Of a size nobody knows before which of its blocks are taken.
    ahead = () if selection.by_size else selection.changes
    return replace(selection, balance=ZoneBalance(table, ratio_of(machine), ahead))


def to_set(machine: Machine, words: Sequence[str]) -> Job:
    """The job for --policy. Raises LayoutError for a setting or a value that there is not."""
    policy = parse_policy(words)
    request = Request(" ".join(words))

    def chosen() -> Selection:
        return select_changes(request, machine, settings=differing(policy, machine))

    return Job(request, chosen, policy)


def _standard_input() -> Layout:
    if sys.stdin is None:
        raise LayoutError("-", None, "standard input is closed")
    data = sys.stdin.buffer.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise LayoutError("-", None, "too long")
    return parse_layout(decoded(data, "-"), "-")


# A total


def to_total(machine: Machine, request: Request, *, force: bool) -> Job:
    """The job for --total: REQUEST is the size to have online. With FORCE zone Movable may become
    of any size."""

    def chosen() -> Selection:
        node = request.node
        table, nodes = machine.read(needed(node)), machine.nodes
        have = machine.block_size * sum(
            block.state is State.ONLINE
            and is_on(block, node, nodes)
            and (request.zone is None or request.zone in (block.zones or ()))
            for block in table.blocks()
        )
        want = request.size or 0
        if have == want:
            return select_changes(Request(request.text), machine)
        rest = replace(request, size=abs(want - have))
        if want < have:
            rest = replace(rest, action=Action.DISABLE, memmap_on_memory=None)
        found = select(rest, machine, table)
        # What is offline counts, whether the hypervisor takes it back or not.
        counting = [one._replace(plan=one.plan._replace(suffices=True)) for one in found.changes]
        found = replace(found, changes=counting)
        return found if force else _balanced(found, machine, table)

    return Job(request, chosen)


# Undo


def to_undo(machine: Machine) -> Job:
    """The job for --undo. Raises CommandError if nothing is recorded."""
    request = Request("undo")

    def chosen() -> Selection:
        check_own(machine)
        tree = machine.tree
        lives = tree.is_this_machine or is_simulated(tree.root)
        try:
            record = last_change(tree.root) if lives else None
        except ValueError:
            raise CommandError(messages.UNDO_DAMAGED.of(file=f"/{UNDO}")) from None
        if record is None:
            raise CommandError(messages.NOTHING_TO_UNDO.of())
        table = machine.read(NEEDED)
        blocks = list(table.blocks())
        present = record.present(blocks)
        changes = [change_back(before, now) for before, now in reversed(present)]
        ends = sorted((row.lowest, row.highest) for row in record.rows)
        gone = [gap for first, last in ends for gap in gaps(table.numbers, first, last)]
        absences = [absence_of(gone, Entry(Where(f"/{UNDO}")))] if gone else []
        settings = settings_to(record.settings, machine)
        found = select_changes(request, machine, changes, absences, settings)
        before = [before for before, _ in present]
        return replace(found, undoes=Undoing(record, before, record.present_undone(blocks)))

    return Job(request, chosen)


# Save


def check_own(machine: Machine) -> None:
    """Raises CommandError where a simulated machine is mounted over this one's /sys: /etc and /run
    are this one's there."""
    if machine.tree.root == "/" and not is_own("/"):
        raise CommandError(messages.NOT_ITS_FILES.of())


def save(machine: Machine, where: str | None, output: Output) -> int:
    """Write the present layout to the file WHERE, by default below the root; the exit status."""
    if where is None:
        check_own(machine)
    found = [block for block in machine.read(NEEDED).blocks() if not stays_by_itself(block)]
    entries = entries_of(found)
    alone = format_layout(Layout(entries=entries), _NO_HEADING)
    if where == "-":
        output.write([alone.removesuffix("\n")])
        return Exit.SUCCESS
    if where is None:
        text = format_layout(replace(saved_layout(machine), entries=entries), HEADING)
        replace_file(machine.tree.root, SAVED, text.encode())
        from chmem_py.install import refresh_rules

        refresh_rules(machine, read_layout(machine.tree.root), output)
    else:
        with open_output(where) as stream:
            stream.write(alone)
    return Exit.SUCCESS


def saved_layout(machine: Machine) -> Layout:
    """The layout in the file that chmem writes, as `layout_in`."""
    return layout_in(machine, saved_text(machine))


def layout_in(machine: Machine, text: str) -> Layout:
    """The layout that the file that chmem writes has with this TEXT; where there is none, that of
    the vendor's file with its name, which a new file hides. Raises LayoutError, and OSError."""
    text = text or _text(machine, _VENDORS)
    return parse_layout(text, f"/{SAVED}") if text.strip() else Layout()


def saved_text(machine: Machine) -> str:
    """The text of the file that chmem writes; empty without one, and a line without text for an
    empty file, which masks those with its name."""
    text = _text(machine, SAVED)
    return text or ("\n" if is_there(machine.tree.root, SAVED) else "")


def _text(machine: Machine, path: str) -> str:
    try:
        return read_file(machine.tree.root, path).decode(errors="replace")
    except FileNotFoundError:
        return ""
