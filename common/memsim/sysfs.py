"""The /sys of a running kernel: what is at each path, and what a write does. Beside it the release.

Facts: fs/sysfs and fs/kernfs (permissions, how a write reaches an attribute), drivers/base/memory.c
and drivers/base/node.c (which directories and links there are).

Not modelled: device attributes that say nothing about memory (power).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from memsim import attributes
from memsim.attributes import UEVENT, SysfsAttribute
from memsim.kernel import Kernel
from memsim.kernel.blocks import ABSENT, HOLE, MEMMAP, OFFLINE
from memsim.kernel.transitions import UeventAction
from memsim.kernel.zones import Rules
from memsim.paths import (
    BLOCK_PATH,
    FIRMWARE,
    KERNEL,
    MEMORY,
    NODE,
    NODE_PATH,
    PARAMETERS,
    block_named,
    skeleton,
)
from safe_files.errno_names import error_of

__all__ = [
    "FIRMWARE",
    "MEMORY",
    "NODE",
    "PARAMETERS",
    "Changes",
    "FileKind",
    "Sysfs",
    "SysfsEntry",
    "block_named",
]

FileKind = Literal["dir", "file", "link"]


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes since the last ones were taken.

    `blocks` maps indexes into the kernel's places and flags to their new bytes. `paths` are the
    files, links and whole directories that have another content, or came into being, or went.
    """

    blocks: Mapping[int, tuple[int, int]]
    paths: tuple[str, ...]
    live: bool
    """Whether anything has changed, even if no attribute shows it."""


class SysfsEntry(NamedTuple):
    """A file, link or directory of the tree."""

    kind: FileKind
    names: Callable[[], list[str]] | None = None
    """Of a directory."""
    children: Callable[[], Iterator[tuple[str, SysfsEntry]]] | None = None
    """The entries of a directory that makes all of them at once, with their names."""
    attribute: SysfsAttribute | None = None
    """Of a file, as are `block` and `text`."""
    block: int = -1
    text: str = ""
    """What the attribute showed when it was found."""
    target: str = ""
    """Of a link."""

    @property
    def mode(self) -> int:
        """The permission bits."""
        if self.attribute:
            if self.attribute.write_only:
                return 0o200
            return 0o644 if self.attribute.store else 0o444
        return 0o777 if self.kind == "link" else 0o755

    @property
    def content(self) -> bytes:
        """What a read shows of a file, or the target of a link.

        A file that is only written is empty here, and so is uevent.
        """
        if self.attribute is None:
            return os.fsencode(self.target)
        if self.attribute is UEVENT or self.attribute.write_only:
            return b""
        return f"{self.text}\n".encode()


class Sysfs:
    """The tree that a kernel shows of its memory.

    Paths are relative to its root, without a leading slash. Every method that takes a path raises
    the OSError of the system call.
    """

    __slots__ = ("_rules", "_texts", "_unmovable", "kernel", "listeners")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.listeners: list[Callable[[UeventAction, str], None]] = []
        """Called with the action and the devpath of every uevent."""
        kernel.listeners.append(self._emit)
        self._rules, self._texts = self._all_rules(), self._fixed_texts()
        self._unmovable = kernel.unmovable

    def entry(self, path: str) -> SysfsEntry:
        """What is at a path. A link at the end of the path is not followed."""
        entry = self._find(path)
        if entry is None:
            raise error_of(errno.ENOENT, path)
        return entry

    def kind(self, path: str) -> FileKind | None:
        """The kind of what is at a path, or None. A link at the end of the path is not followed."""
        entry = self._find(path)
        return entry.kind if entry else None

    def is_dir(self, path: str) -> bool:
        """Whether a path is a directory or a link; all links lead to directories."""
        return self.kind(path) in ("dir", "link")

    def listdir(self, path: str) -> list[str]:
        entry = self.entry(path)
        if entry.kind == "link":
            return self.listdir(os.path.normpath(f"{os.path.dirname(path)}/{entry.target}"))
        if entry.names is None:
            raise error_of(errno.ENOTDIR, path)
        return entry.names()

    def readlink(self, path: str) -> str:
        entry = self.entry(path)
        if entry.kind != "link":
            raise error_of(errno.EINVAL, path)
        return entry.target

    def read(self, path: str) -> bytes:
        return self._file(path)[0].content

    def entries(self, path: str) -> Iterator[tuple[str, SysfsEntry]]:
        """The entries of a directory, with their names."""
        if children := self.entry(path).children:
            yield from children()
            return
        for name in self.listdir(path):
            yield name, self.entry(f"{path}/{name}")

    def write(self, path: str, data: bytes) -> int:
        """Do one write() to an attribute; return how many bytes it takes, or raise OSError.

        The attribute gets at most a page, up to the first NUL, and nothing of an empty write
        (kernfs_fop_write_iter, fs/kernfs/file.c).
        Calls the kernel's `wait` if the transition has a delay.
        """
        entry, attribute = self._file(path)
        if attribute.store is None:
            raise error_of(errno.EACCES, path)
        page = data[: self.kernel.machine.page_size]
        if page:
            try:
                attribute.store(self.kernel, entry.block, page.split(b"\0")[0].decode("latin-1"))
            except OSError as failure:
                if failure.filename is not None:
                    # Whoever waits has met it with another file.
                    raise
                raise error_of(failure.errno or errno.EIO, path) from None
        return len(page)

    def meanwhile(self) -> dict[str, bytes]:
        """The attributes with other values during a transition that has a delay, and the values."""
        block = self.kernel.going_offline
        if block is None:
            return {}
        path = f"{MEMORY}/memory{block}/state"
        return {path: self.read(path)}

    # Finding a path.

    def _file(self, path: str) -> tuple[SysfsEntry, SysfsAttribute]:
        entry = self.entry(path)
        if entry.attribute is None:
            raise error_of(errno.EISDIR, path)
        return entry, entry.attribute

    def _find(self, path: str) -> SysfsEntry | None:
        """The entry at a path; None if there is none. Links on the way are followed."""
        path = path.strip("/")
        if fixed := _FIXED.get(path):
            return self._shown(fixed, -1)
        if path in _SKELETON:
            exists = path == FIRMWARE and self.kernel.machine.firmware
            exists = exists or any(self.kind(child) for child in _SKELETON[path].values())
            return SysfsEntry("dir", names=lambda: self._skeleton_names(path)) if exists else None
        if match := BLOCK_PATH.fullmatch(path):
            return self._find_block(match["below"], int(match["block"]), match["rest"])
        if match := NODE_PATH.fullmatch(path):
            return self._find_node(int(match["node"]), match["rest"])
        return None

    def _find_block(self, below: str, block: int, rest: str | None) -> SysfsEntry | None:
        if not self._there(below, block):
            return None
        if not rest:
            # A large machine has many of these directories, so no entry is looked for again.
            children = partial(self._in_block, below, block)
            return SysfsEntry("dir", lambda: [name for name, _ in children()], children)
        name, _, beyond = rest.partition("/")
        if target := self._links(below, block).get(name):
            link = SysfsEntry("link", target=target)
            return self._find(f"{NODE}/{name}/{beyond}") if beyond else link
        attribute = _OF_BLOCK[below].get(rest)
        return self._shown(attribute, block) if attribute else None

    def _in_block(self, below: str, block: int) -> Iterator[tuple[str, SysfsEntry]]:
        """The entries of the directory of a block that is there."""
        for name, attribute in _OF_BLOCK[below].items():
            if entry := self._shown(attribute, block):
                yield name, entry
        for name, target in self._links(below, block).items():
            yield name, SysfsEntry("link", target=target)

    def _links(self, below: str, block: int) -> dict[str, str]:
        """The links in the directory of a block, and their targets."""
        if below != MEMORY:
            return {}
        nodes = (f"node{node}" for node in self.kernel.blocks.group(block).nodes)
        return {name: f"../../node/{name}" for name in nodes} | _SUBSYSTEM

    def _shown(self, attribute: SysfsAttribute, block: int) -> SysfsEntry | None:
        """The file of an attribute; None if the machine does not have it."""
        text = attribute.show(self.kernel, block)
        if text is None:
            return None
        return SysfsEntry("file", attribute=attribute, block=block, text=text)

    def _there(self, below: str, block: int) -> bool:
        """Whether a block has a directory."""
        if below == MEMORY:
            return self.kernel.blocks.present(block)
        return self.kernel.machine.firmware and block in self.kernel.blocks

    def _find_node(self, node: int, rest: str | None) -> SysfsEntry | None:
        if node not in self.kernel.nodes:
            return None
        if not rest:
            return SysfsEntry("dir", names=lambda: [f"memory{b}" for b in self._blocks_of(node)])
        name, _, beyond = rest.partition("/")
        block = block_named(name)
        if block is None or not self.kernel.blocks.present(block):
            return None
        if node not in self.kernel.blocks.group(block).nodes:
            return None
        link = SysfsEntry("link", target=f"../../memory/{name}")
        return self._find(f"{MEMORY}/{name}/{beyond}") if beyond else link

    def _skeleton_names(self, path: str) -> list[str]:
        kernel = self.kernel
        names = [name for name, child in _SKELETON[path].items() if self.kind(child)]
        if path == MEMORY:
            names += [f"memory{block}" for block in kernel.blocks if kernel.blocks.present(block)]
        elif path == FIRMWARE and kernel.machine.firmware:
            names += [f"memory{block}" for block in kernel.blocks]
        elif path == NODE:
            names += [f"node{node}" for node in kernel.nodes]
        return names

    def _blocks_of(self, node: int) -> Iterator[int]:
        for group in self.kernel.machine.groups:
            if node in group.nodes:
                blocks = range(group.first, group.last + 1)
                yield from filter(self.kernel.blocks.present, blocks)

    # Changes.

    def take_changes(self) -> Changes:
        """The changes since the last call, for code that stores the machine."""
        blocks = self.kernel.blocks
        paths: dict[str, None] = {}
        now: dict[int, tuple[int, int]] = {}
        for block, before in blocks.take_changed().items():
            index = block - blocks.first
            after = blocks.place[index], blocks.flags[index]
            if after != before:
                now[index] = after
                paths |= dict.fromkeys(self._changed_of(block, before, after))
        rules, texts = self._all_rules(), self._fixed_texts()
        paths |= dict.fromkeys(path for path, text in texts.items() if text != self._texts[path])
        for node, of in rules.items():
            if of != self._rules[node]:
                paths |= dict.fromkeys(self._changed_zones(node, self._rules[node], of))
        unmovable = self.kernel.unmovable
        for block in filter(blocks.present, unmovable ^ self._unmovable):
            paths[f"{MEMORY}/memory{block}/removable"] = None
        self._rules, self._texts, self._unmovable = rules, texts, unmovable
        return Changes(now, tuple(paths), self.kernel.take_changed())

    def _changed_of(
        self, block: int, before: tuple[int, int], after: tuple[int, int]
    ) -> Iterator[str]:
        """The paths of a block that changed, given what was at its number and what is there now."""
        memory, firmware = f"{MEMORY}/memory{block}", f"{FIRMWARE}/memory{block}"
        absent = (HOLE, ABSENT)
        if (before[0] in absent) != (after[0] in absent):
            yield memory
            for node in self.kernel.blocks.group(block).nodes:
                yield f"{NODE}/node{node}/memory{block}"
            if self.kernel.machine.firmware:
                yield f"{firmware}/config"
        elif before[0] != after[0]:
            yield from (f"{memory}/state", f"{memory}/online")
            if self.kernel.machine.valid_zones:
                yield f"{memory}/valid_zones"
            if self.kernel.machine.judges_removable:
                yield f"{memory}/removable"
        if (before[1] ^ after[1]) & MEMMAP and self.kernel.machine.firmware:
            yield f"{firmware}/memmap_on_memory"

    def _all_rules(self) -> dict[int, Rules]:
        machine, zones = self.kernel.machine, self.kernel.zones
        if not machine.contiguous_zones or not machine.valid_zones:
            return {}
        return {node: zones.rules(node) for node in zones.nodes}

    def _fixed_texts(self) -> dict[str, str | None]:
        return {path: attribute.show(self.kernel, -1) for path, attribute in _FIXED.items()}

    def _changed_zones(self, node: int, before: Rules, after: Rules) -> Iterator[str]:
        # All blocks between two neighbouring ends of spans or devices have the same valid_zones, so
        # only blocks for which these changed are looked at.
        blocks = self.kernel.blocks
        ends = {blocks.first, blocks.first + len(blocks.place)}
        for _zone, (low, high) in (*before.spans, *after.spans):
            ends |= {low, high + 1}
        for device, _auto in (*before.auto_of, *after.auto_of):
            ends |= {device.first, device.last + 1}
        for start, end in pairwise(sorted(ends)):
            if before.valid_zones(start) == after.valid_zones(start):
                continue
            block = blocks.find(OFFLINE, start, end - 1)
            while block is not None:
                if blocks.group(block).node == node:
                    yield f"{MEMORY}/memory{block}/valid_zones"
                block = blocks.find(OFFLINE, block + 1, end - 1)

    def _emit(self, uevent: UeventAction, block: int) -> None:
        for listener in self.listeners:
            listener(uevent, f"/devices/system/memory/memory{block}")


_OF_BLOCK: Final = {MEMORY: attributes.BLOCK, FIRMWARE: attributes.FIRMWARE}
_SUBSYSTEM: Final = {"subsystem": "../../../../bus/memory"}

_FIXED: Final[dict[str, SysfsAttribute]] = {
    f"{directory}/{name}": attribute
    for directory, table in (
        (MEMORY, attributes.MEMORY),
        (NODE, attributes.NODE),
        (PARAMETERS, attributes.PARAMETERS),
        (KERNEL, attributes.KERNEL),
    )
    for name, attribute in table.items()
}

_SKELETON: Final = skeleton([*_FIXED, FIRMWARE])
