"""Commands that messages advise: for the same machine, with the options that were given."""

import os
import sys
from collections.abc import Mapping
from functools import cache

from chmem_py.output import NAME
from memory_hotplug.trees.files import Tree

HOW = ("dry-run", "all-or-nothing", "timeout", "retry")
"""The options that every action on memory takes."""
SAME_ACTION = (
    *("memmap-on-memory", "zone", "node", "device", "persistent"),
    *(*HOW, "order", "keep-free", "force"),
)
"""Those that a command keeps which does the same with other memory."""
WITH_ENABLE = tuple(name for name in SAME_ACTION if name not in ("order", "keep-free", "force"))
"""Those of them that --enable takes."""
WITH_DISABLE = tuple(name for name in SAME_ACTION if name != "memmap-on-memory")
"""Those of them that --disable takes; --total takes them all but --device and --persistent."""
SAME_BLOCKS = ("persistent", "timeout", "retry")
"""Those that a command keeps which goes on with blocks that it names."""


def quoted(word: str) -> str:
    """A word of a command line for a shell."""
    import shlex

    return shlex.quote(word)


def command(words: str, tree: Tree) -> str:
    """A command line for the same machine."""
    elsewhere = "" if tree.is_this_machine else f" --sysroot {quoted(tree.root)}"
    return f"chmem {words}{elsewhere}"


def options_of(said: Mapping[str, str], *names: str) -> str:
    """Those of the options SAID that are among NAMES, to be added to a command."""
    given = [(name, said[name]) for name in names if name in said]
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
