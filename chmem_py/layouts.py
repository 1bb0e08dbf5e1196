"""Bring a machine to a memory layout, save the layout that it has, and undo the last change."""

import os
from collections.abc import Sequence
from dataclasses import replace

from chmem_py import messages
from chmem_py.job import Job
from chmem_py.lasting_files import text_of
from chmem_py.output import Output
from hotplug_cli.exits import Exit
from hotplug_cli.output_file import open_output
from hotplug_cli.program import CommandError, standard_input
from hotplug_cli.tree_messages import BAD_LAYOUT
from memory_hotplug.change.lock import is_own
from memory_hotplug.change.plan import NEEDED
from memory_hotplug.change.saved import entries_of, stays_by_itself
from memory_hotplug.change.undo import UNDO
from memory_hotplug.errors import LayoutError, NoUndoError
from memory_hotplug.face import Machine
from memory_hotplug.layout.model import Layout
from memory_hotplug.layout.notation import format_layout, parse_layout, parse_policy
from memory_hotplug.layout.places import (
    SAVED,
    decoded,
    find_layout,
    layout_file_names,
    read_layout,
)
from memory_hotplug.request.asked import Request
from memory_hotplug.request.how import How
from memory_hotplug.request.work import Work
from memory_hotplug.trees.root_files import LONGEST, read_file, replace_file

HEADING = """\
The memory layout as chmem saved it; see memory-layout.d(5).
chmem --save and --persistent write this file anew. Lines of your own belong
into another file of this directory; one that sorts later overrides this one."""
SAVED_NAME = os.path.basename(SAVED)
_VENDORS = f"usr/lib/{SAVED.removeprefix('etc/')}"
_NO_HEADING = "The memory layout as chmem saved it; see memory-layout.d(5)."


# Apply


def to_apply(machine: Machine, where: str | None, output: Output) -> Job:
    """The job for --apply. Raises LayoutError, and OSError if the layout cannot be read."""
    found = _standard_input() if where == "-" else find_layout(machine.tree.system, where)
    if found is None:
        told = BAD_LAYOUT.of(place="memory-layout.d", reason="there is no layout")
        output.say(told)
    layout = found or Layout()
    request = Request(where or "memory-layout.d")
    files = [where] if where else [f"/{path}" for path in layout_file_names(machine.tree.system)]
    return Job(request, lambda how: machine.apply(layout, **how), layout_files=files)


def to_set(machine: Machine, words: Sequence[str]) -> Job:
    """The job for --policy. Raises LayoutError for a setting or a value that there is not."""
    policy = parse_policy(words)
    layout = Layout(policy)
    return Job(Request(" ".join(words)), lambda how: machine.apply(layout, **how), policy)


def _standard_input() -> Layout:
    data = standard_input().read(LONGEST + 1)
    if len(data) > LONGEST:
        raise LayoutError("-", None, "too long")
    return parse_layout(decoded(data, "-"), "-")


# Undo


def to_undo(machine: Machine) -> Job:
    """The job for --undo."""

    def undo(how: How) -> Work:
        """Raises CommandError if nothing is recorded."""
        check_own(machine)
        # What has become of the layout is put back afterwards.
        work = machine.undo(layout_too=True, **how)
        try:
            work.selection  # noqa: B018  # it is read now
        except NoUndoError as error:
            row = messages.UNDO_DAMAGED if error.damaged else messages.NOTHING_TO_UNDO
            raise CommandError(row.of(file=f"/{UNDO}")) from None
        return work

    return Job(Request("undo"), undo)


# Save


def check_own(machine: Machine) -> None:
    """Raises CommandError where a simulated machine is mounted over this one's /sys: /etc and /run
    are this one's there."""
    if not is_own(machine.tree.root):
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
        # Of layouts of which one is broken nothing is applied at boot: nothing is saved beside it.
        other_layouts(machine)
        replace_file(machine.tree.root, SAVED, text.encode())
        from chmem_py.install import refresh_rules

        refresh_rules(machine, read_layout(machine.tree.root), output)
    else:
        with open_output(where) as stream:
            stream.write(alone)
    return Exit.SUCCESS


def other_layouts(machine: Machine) -> list[tuple[str, Layout]]:
    """Path and layout of each file, without that which chmem writes; in the order of their names.

    Raises LayoutError, and OSError.
    """
    found, root = [], machine.tree.system
    for path in layout_file_names(root):
        if os.path.basename(path) == SAVED_NAME:
            continue
        text = decoded(read_file(root, path), f"/{path}")
        if text.strip():
            found.append((path, parse_layout(text, f"/{path}")))
    return found


def saved_layout(machine: Machine) -> Layout:
    """The layout in the file that chmem writes, as `layout_in`."""
    return layout_in(machine, saved_text(machine))


def layout_in(machine: Machine, text: str) -> Layout:
    """The layout that the file that chmem writes has with this TEXT; where there is none, that of
    the vendor's file with its name, which a new file hides. Raises LayoutError, and OSError."""
    text = text or text_of(machine.tree.root, _VENDORS)
    return parse_layout(text, f"/{SAVED}") if text.strip() else Layout()


def saved_text(machine: Machine) -> str:
    """The text of the file that chmem writes, as `text_of`."""
    return text_of(machine.tree.root, SAVED)
