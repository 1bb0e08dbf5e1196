"""Commands that messages advise: for the same machine, with the options that were given."""

import os
import sys
from collections.abc import Collection, Mapping
from functools import cache

from chmem_py.actions import ACTIONS, goes_with
from chmem_py.output import NAME
from memory_hotplug.trees.files import Tree

_NOT_KEPT = {"blocks", "sysroot", "advice", "json", "verbose"}
"""The options about an operand, about the machine, which `command` adds, and about reports."""
_OF_ALL = {"node", "device", "all-or-nothing", "dry-run"}
"""The options that say what is asked for as a whole, and nothing of a block that is named."""


def quoted(word: str) -> str:
    """A word of a command line for a shell."""
    import shlex

    return shlex.quote(word)


def command(words: str, tree: Tree) -> str:
    """A command line for the same machine."""
    elsewhere = "" if tree.is_this_machine else f" --sysroot {quoted(tree.root)}"
    return f"chmem {words}{elsewhere}"


def kept(said: Mapping[str, str], action: str, *beside: str) -> str:
    """Those of the options SAID that say the same with ACTION and the options BESIDE, to be added
    to a command that has these."""
    taken = ACTIONS[action].takes - _NOT_KEPT
    fit = (name for name in said if all(goes_with(name, other) for other in beside))
    return _options_of(said, taken.intersection(fit))


def kept_for_blocks(said: Mapping[str, str]) -> str:
    """Those of the options SAID that say the same of each block, to be added to a command that has
    certain blocks deconfigured or set online."""
    taken = ACTIONS["deconfigure"].takes & ACTIONS["enable"].takes
    return _options_of(said, taken - _NOT_KEPT - _OF_ALL)


def _options_of(said: Mapping[str, str], names: Collection[str]) -> str:
    """Those of the options SAID that are among NAMES, to be added to a command."""
    given = [(name, value) for name, value in said.items() if name in names]
    words = (f"{name} {quoted(value)}" if value else name for name, value in given)
    return "".join(f" --{word}" for word in words)


def program() -> str:
    """The command that is running. sudo has another PATH, and may find util-linux's."""
    return _command_of(sys.argv[0])


@cache
def _command_of(path: str) -> str:
    if os.path.basename(path) == "__main__.py":
        package = os.path.basename(os.path.dirname(os.path.abspath(path)))
        return f"{quoted(sys.executable)} -m {package}"
    if "/" not in path and not os.path.isfile(path):
        return NAME
    command = quoted(os.path.abspath(path))
    # The single file has all commands; by its own name it wants to be told which.
    return f"{command} {NAME}" if path.endswith(".pyz") else command
