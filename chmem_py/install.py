"""Install what applies the layout at boot and to memory that is added, and remove it again."""

import errno
import os
from collections.abc import Iterator

from chmem_py import messages
from chmem_py.command_lines import program
from chmem_py.lasting_files import bring, mask_of, why_not_made
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
from memory_hotplug.layout.at_boot import RULES, UNIT, WANTED, rules_text, unit_text
from memory_hotplug.layout.model import Layout
from memory_hotplug.layout.places import layout_file_names, read_layout
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import is_there, link_file, remove_file


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
    reasons = (why_not_made(tree, path) for path in (UNIT, WANTED, RULES))
    return next(filter(None, reasons), None)


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
    bring(root, UNIT, unit_text(program()), output, dry_run=dry_run)
    bring(root, RULES, rules_text(layout, machine.block_size), output, dry_run=dry_run)
    if not is_there(root, WANTED):
        if not dry_run:
            link_file(root, WANTED, target)
        output.tell(FileChange(WANTED, rehearsed=dry_run))
    output.write(_conflicts(machine, layout))
    if len(output.files) == before:
        if not output.document:
            output.write(["nothing to install"])
    else:
        _say_reload(machine.tree, output, dry_run=dry_run)


def refresh_rules(
    machine: Machine, layout: Layout, output: Output, *, dry_run: bool = False
) -> None:
    """Write the rules anew, if they are installed and not those of LAYOUT. Raises OSError."""
    root = machine.tree.root
    if is_there(root, RULES) and not mask_of(root, RULES):
        text = rules_text(layout, machine.block_size)
        bring(root, RULES, text, output, dry_run=dry_run)


def remove_units(tree: Tree, output: Output, *, dry_run: bool) -> bool:
    """Remove what --install has written; whether anything was there. What masks was not written by
    it, and stays. Raises OSError."""
    root = tree.root
    there = [path for path in (WANTED, UNIT, RULES) if is_there(root, path)]
    found = [path for path in there if not mask_of(root, path)]
    if masks := [f"/{path}" for path in there if path not in found]:
        output.say(messages.STILL_MASKS.of(file=", ".join(masks)))
    for path in found:
        if not dry_run:
            remove_file(root, path)
        output.tell(FileChange(path, removed=True, rehearsed=dry_run))
    if found:
        _say_reload(tree, output, dry_run=dry_run)
    return bool(found)


def _say_reload(tree: Tree, output: Output, *, dry_run: bool) -> None:
    """Say what makes systemd and udev see that files have changed."""
    if not dry_run and tree.is_this_machine:
        output.say(messages.RELOAD.of())


def uninstall(tree: Tree, output: Output, *, dry_run: bool) -> int:
    """Remove what `install` has written; the exit status. Raises CannotWriteError and OSError."""
    refusal = tree.refusal(UNIT)
    if refusal and refusal.errno == errno.EROFS:
        raise CannotWriteError(tree.root, refusal)
    if not remove_units(tree, output, dry_run=dry_run):
        output.write(["nothing to remove"])
        return Exit.SUCCESS
    files = [f"/{path}" for path in layout_file_names(tree.root)]
    if files and not dry_run:
        output.say(messages.NOT_APPLIED.of(file=", ".join(files)))
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
