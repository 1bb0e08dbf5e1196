"""What auto_online_blocks is when the kernel starts, before anything in user space can set it.

The parameter memhp_default_state= counts more than the kernel's configuration, and its last valid
value counts (mm/memory_hotplug.c, setup_memhp_default_state). The configuration has
MEMORY_HOTPLUG_DEFAULT_ONLINE, and from Linux 6.14 on MHP_DEFAULT_ONLINE_TYPE_* (mm/Kconfig).
"""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from memory_hotplug.attribute import AUTO_ONLINE_BLOCKS, RELEASE, TABLE
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import CMDLINE, LONGEST, read_file

__all__ = ["KernelDefault", "default_on"]

_WORDS = TABLE[AUTO_ONLINE_BLOCKS].words
_CONFIG = "proc/config.gz"
_GZIP = 16 + zlib.MAX_WBITS
"""Has zlib expect the header of gzip."""
_TYPE = re.compile(
    rb"^CONFIG_MHP_DEFAULT_ONLINE_TYPE_(OFFLINE|ONLINE_AUTO|ONLINE_KERNEL|ONLINE_MOVABLE)=y$",
    re.MULTILINE,
)
_ONLINE = re.compile(rb"^CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE=y$", re.MULTILINE)
_NOT_ONLINE = re.compile(rb"^# CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE is not set$", re.MULTILINE)


class KernelDefault(NamedTuple):
    """The value, and what says it."""

    word: str
    """A word of auto_online_blocks."""
    file: str
    """/proc/cmdline, or the file of the kernel's configuration."""


def default_on(tree: Tree) -> KernelDefault | None:
    """What auto_online_blocks was when this kernel started; None if no file that can be read says
    so."""
    if word := _by_parameter(_read(tree, CMDLINE) or b""):
        return KernelDefault(word, f"/{CMDLINE}")
    for path, text in _configurations(tree):
        if word := _by_configuration(text):
            return KernelDefault(word, f"/{path}")
    return None


def _by_parameter(line: bytes) -> str | None:
    found = None
    for part in line.decode(errors="replace").split():
        if part == "--":
            break
        key, _, word = part.partition("=")
        # The kernel takes a hyphen in the name of a parameter for an underscore (kernel/params.c).
        if key.replace("-", "_") == "memhp_default_state" and word in _WORDS:
            found = word
    return found


def _by_configuration(text: bytes) -> str | None:
    if chosen := _TYPE.search(text):
        return chosen[1].decode().lower().removesuffix("_auto")
    if _ONLINE.search(text):
        return "online"
    return "offline" if _NOT_ONLINE.search(text) else None


def _configurations(tree: Tree) -> Iterator[tuple[str, bytes]]:
    """Path and text of what may be the configuration of this kernel; the first is the surest."""
    if packed := _read(tree, _CONFIG):
        with suppress(zlib.error):
            yield _CONFIG, zlib.decompressobj(_GZIP).decompress(packed, LONGEST)
    release = (_read(tree, RELEASE) or b"").decode(errors="replace").strip()
    if re.fullmatch(r"[\w.+~-]{1,64}", release, re.ASCII):
        for path in (f"boot/config-{release}", f"usr/lib/modules/{release}/config"):
            if text := _read(tree, path):
                yield path, text


def _read(tree: Tree, path: str) -> bytes | None:
    """The content of a file; None if it cannot be read."""
    with suppress(OSError):
        return read_file(tree.system, path)
    return None
