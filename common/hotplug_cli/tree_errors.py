"""Make messages from errors about a tree. The cause is looked up, and never guessed."""

import errno
import os
import re
from collections.abc import Iterable

from hotplug_cli import tree_messages
from hotplug_cli.message import Sentence
from memory_hotplug.errors import (
    BadBlockSizeError,
    BrokenTreeError,
    LayoutError,
    MemoryHotplugError,
    NoBlocksError,
    NoBlockSizeError,
    NoMemoryTreeError,
    NoRootError,
)

__all__ = ["built_with_memory_hotplug", "sentence_of"]


def sentence_of(error: MemoryHotplugError) -> Sentence:
    """The message about an error of the library that is not about a single block."""
    match error:
        case LayoutError():
            return tree_messages.BAD_LAYOUT.of(place=error.place, reason=error.reason)
        case NoRootError():
            return tree_messages.NO_ROOT.of(root=error.root, reason=error.reason)
        case NoMemoryTreeError():
            return _no_memory(error)
        case NoBlockSizeError():
            return tree_messages.NO_BLOCK_SIZE.of()
        case BadBlockSizeError():
            return tree_messages.BAD_BLOCK_SIZE.of(path=error.path, found=error.found)
        case BrokenTreeError():
            return tree_messages.CANNOT_READ.of(path=error.path, reason=error.reason)
        case NoBlocksError():
            here = error.is_this_machine
            beneath = "" if here else f" below {error.root}"
            look = "in a container, look at the host" if here else "check what was captured"
            return tree_messages.NO_BLOCKS.of(beneath=beneath, look=look)
    return Sentence(str(error))


def _no_memory(error: NoMemoryTreeError) -> Sentence:
    reason = error.reason
    if error.errno != errno.ENOENT:
        return tree_messages.CANNOT_OPEN.of(reason=reason)
    if not error.is_this_machine:
        said = tree_messages.NOT_IN_TREE.of(reason=reason, root=error.root)
        above = _root_above(error.root)
        return said.advising(tree_messages.ROOT_ABOVE.of(root=above)) if above else said
    release = os.uname().release
    configs = (
        "/proc/config.gz",
        f"/boot/config-{release}",
        f"/lib/modules/{release}/config",
    )
    for file in configs:
        built = built_with_memory_hotplug(file)
        if built and not os.path.exists("/sys/kernel"):
            return tree_messages.NOT_MOUNTED.of(reason=reason)
        if built is not None:
            row = tree_messages.HIDDEN if built else tree_messages.NOT_BUILT_IN
            return row.of(reason=reason, file=file)
    return tree_messages.ONE_OF_THREE.of(reason=reason)


def _root_above(path: str) -> str | None:
    """The root of the tree, if PATH is a directory below its sys."""
    path = root = os.path.abspath(path)
    while root != "/":
        root = os.path.dirname(root)
        sys = os.path.join(root, "sys")
        if f"{path}/".startswith(f"{sys}/") and os.path.isdir(f"{sys}/devices/system/memory"):
            return root
    return None


def built_with_memory_hotplug(config: str) -> bool | None:
    """Whether a kernel's configuration, which may be compressed, has CONFIG_MEMORY_HOTPLUG.

    None if the file cannot be read, or is not a configuration.
    """
    import gzip
    import zlib

    try:
        opener = gzip.open if config.endswith(".gz") else open
        with opener(config, "rt", errors="replace") as lines:
            return _is_set(lines)
    except (OSError, EOFError, zlib.error):
        return None


def _is_set(lines: Iterable[str]) -> bool | None:
    is_config = False
    for line in lines:
        if line == "CONFIG_MEMORY_HOTPLUG=y\n":
            return True
        is_config = is_config or bool(re.match(r"(# )?CONFIG_\w+[= ]", line))
    return False if is_config else None
