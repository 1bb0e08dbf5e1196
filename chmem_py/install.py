"""Install what applies the layout at boot and to memory that is added, and remove it again."""

import errno
import os
from collections.abc import Iterator

from chmem_py import messages
from chmem_py.command_lines import program
from chmem_py.output import FileChange, Output
from chmem_py.root_only import first_open
from chmem_py.rule_advice import format_rules
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import UsageError
from hotplug_cli.message import Sentence
from hotplug_cli.program import CommandError
from memory_hotplug.condition import Condition
from memory_hotplug.errors import CannotWriteError
from memory_hotplug.face import Machine
from memory_hotplug.layout.at_boot import RULES, UNIT, WANTED, is_empty, rules_text, unit_text
from memory_hotplug.layout.model import Layout
from memory_hotplug.layout.places import layout_file_names, read_layout
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import (
    is_masked,
    is_there,
    link_file,
    read_file,
    remove_file,
    replace_file,
    why_not_written,
)


def check_program() -> None:
    """Raise UsageError if others than root can change what the unit runs: the commands, their
    packages, or Python."""
    path = first_open()
    if path is not None:
        raise UsageError(messages.PROGRAM_IS_OPEN.of(path=path))


def hindrance(tree: Tree) -> Sentence | None:
    """Why the unit and the rules cannot be installed; None if nothing is known to be in the way."""
    if tree.is_this_machine:
        try:
            check_program()
        except UsageError as error:
            return error.sentence
    for path in (UNIT, WANTED, RULES):
        if is_masked(tree.root, path):
            return messages.MASKED.of(file=f"/{path}")
        if path is not WANTED and is_empty(tree.root, path):
            return messages.MASKED_BY_EMPTY.of(file=f"/{path}")
        if reason := not_writable(tree, path):
            return reason
    return None


def not_writable(tree: Tree, path: str) -> Sentence | None:
    """Why a file below the root of TREE cannot be written; None if nothing is known against it."""
    refusal = why_not_written(tree.root, path, as_link=path == WANTED)
    if not isinstance(tree.system, str):
        # An archive.
        refusal = OSError(errno.EROFS, os.strerror(errno.EROFS), f"/{path}")
    if refusal is None:
        return None
    return messages.NOT_WRITABLE.of(file=refusal.filename, reason=refusal.strerror)


def check_install(tree: Tree) -> None:
    """Raise CommandError if the unit and the rules cannot be installed."""
    if reason := hindrance(tree):
        raise CommandError(reason)


def install_units(machine: Machine, output: Output, *, dry_run: bool) -> None:
    """Write the unit and the rules for the layout in memory-layout.d, where they are not there.

    Raises LayoutError, and OSError if a file cannot be written.
    """
    root, before = machine.tree.root, len(output.files)
    layout = read_layout(root)
    target = f"../{os.path.basename(UNIT)}"
    _bring(root, UNIT, unit_text(program()), output, dry_run=dry_run)
    _bring(root, RULES, rules_text(layout, machine.block_size), output, dry_run=dry_run)
    if not is_there(root, WANTED):
        if not dry_run:
            link_file(root, WANTED, target)
        output.tell(FileChange(WANTED, rehearsed=dry_run))
    output.write(_conflicts(machine, layout))
    if len(output.files) == before:
        if not output.document:
            output.write(["nothing to install"])
    elif not dry_run and machine.tree.is_this_machine:
        output.say(messages.RELOAD.of())


def refresh_rules(
    machine: Machine, layout: Layout, output: Output, *, dry_run: bool = False
) -> None:
    """Write the rules anew, if they are installed and not those of LAYOUT. Raises OSError."""
    root = machine.tree.root
    if is_there(root, RULES) and not _masks(root, RULES):
        text = rules_text(layout, machine.block_size)
        _bring(root, RULES, text, output, dry_run=dry_run)


def _masks(root: str, path: str) -> bool:
    """Whether a file is there to mask others of its name."""
    return is_masked(root, path) or (path != WANTED and is_empty(root, path))


def _bring(root: str, path: str, text: str, output: Output, *, dry_run: bool) -> None:
    """Have a file with that text."""
    data = text.encode()
    if is_there(root, path) and read_file(root, path) == data:
        return
    if not dry_run:
        replace_file(root, path, data)
    output.tell(FileChange(path, rehearsed=dry_run))


def remove_units(root: str, output: Output, *, dry_run: bool = False) -> bool:
    """Remove what --install has written; whether anything was there. What masks was not written by
    it, and stays. Raises OSError."""
    there = [path for path in (WANTED, UNIT, RULES) if is_there(root, path)]
    found = [path for path in there if not _masks(root, path)]
    if masks := [f"/{path}" for path in there if path not in found]:
        output.say(messages.STILL_MASKS.of(file=", ".join(masks)))
    for path in found:
        if not dry_run:
            remove_file(root, path)
        output.tell(FileChange(path, removed=True, rehearsed=dry_run))
    return bool(found)


def uninstall(tree: Tree, output: Output, *, dry_run: bool) -> int:
    """Remove what `install` has written; the exit status. Raises CannotWriteError and OSError."""
    root = tree.root
    refusal = tree.refusal(UNIT)
    if refusal and refusal.errno == errno.EROFS:
        raise CannotWriteError(root, refusal)
    if not remove_units(root, output, dry_run=dry_run):
        output.write(["nothing to remove"])
        return Exit.SUCCESS
    files = [f"/{path}" for path in layout_file_names(root)]
    if files and not dry_run:
        output.say(messages.NOT_APPLIED.of(file=", ".join(files)))
    if not dry_run and tree.is_this_machine:
        output.say(messages.RELOAD.of())
    return Exit.SUCCESS


def _conflicts(machine: Machine, layout: Layout) -> Iterator[Sentence]:
    """What would undo the layout for memory that is added."""
    setting = layout.policy.auto_online or machine.auto_online_blocks or "offline"
    zones = any(entry.zone for entry in layout.entries)
    offline = any(entry.condition is Condition.OFFLINE for entry in layout.entries)
    if setting != "offline" and zones:
        yield messages.KERNEL_IS_FIRST.of(word=setting)
    if not (offline or layout.policy.auto_online == "offline"):
        # A rule that comes later finds the blocks of the layout online already.
        return
    yield from format_rules(machine, layout)
