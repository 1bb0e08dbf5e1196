"""Install what applies the layout at boot and to memory that is added, and remove it again."""

import errno
import os
from collections.abc import Iterator

from chmem_py import messages
from chmem_py.command_lines import program
from chmem_py.output import Output
from chmem_py.root_only import first_open
from chmem_py.rule_advice import format_rules
from hotplug_cli.exits import Exit
from hotplug_cli.getopt import UsageError
from hotplug_cli.message import Sentence
from memory_hotplug.condition import Condition
from memory_hotplug.errors import CannotWriteError
from memory_hotplug.layout.at_boot import RULES, UNIT, WANTED, rules_text, unit_text
from memory_hotplug.layout.model import Layout
from memory_hotplug.layout.places import read_layout
from memory_hotplug.machine import Machine
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import link_file, remove_file, replace_file


def check_program() -> None:
    """Raise UsageError if others than root can change what the unit runs: the commands, their
    packages, or Python."""
    path = first_open()
    if path is not None:
        raise UsageError(messages.PROGRAM_IS_OPEN.of(path=path))


def install_units(machine: Machine, output: Output, *, dry_run: bool) -> None:
    """Write the unit and the rules for the layout in memory-layout.d.

    Raises LayoutError, and OSError if a file cannot be written.
    """
    root = machine.tree.root
    layout = read_layout(root)
    texts = {
        UNIT: unit_text(program()),
        RULES: rules_text(layout, machine.block_size),
    }
    for path, text in texts.items():
        if not dry_run:
            replace_file(root, path, text.encode())
        output.write([_told("write", path, dry_run)])
    if not dry_run:
        link_file(root, WANTED, f"../{os.path.basename(UNIT)}")
    output.write([_told("write", WANTED, dry_run)])
    output.write(_conflicts(machine, layout))
    if not dry_run and machine.tree.is_this_machine:
        output.say(messages.RELOAD.of())


def uninstall(tree: Tree, output: Output, *, dry_run: bool) -> int:
    """Remove what `install` has written; the exit status. Raises CannotWriteError and OSError."""
    root, found = tree.root, False
    refusal = tree.refusal(UNIT)
    if refusal and refusal.errno == errno.EROFS:
        raise CannotWriteError(root, refusal)
    for path in (WANTED, UNIT, RULES):
        if dry_run or remove_file(root, path):
            output.write([_told("remove", path, dry_run)])
            found = True
    if not found:
        output.write(["nothing to remove"])
    elif not dry_run and tree.is_this_machine:
        output.say(messages.RELOAD.of())
    return Exit.SUCCESS


def _told(verb: str, path: str, dry_run: bool) -> str:
    if dry_run:
        return f"# would {verb} /{path}"
    return f"{'wrote' if verb == 'write' else 'removed'} /{path}"


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
