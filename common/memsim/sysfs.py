"""The /sys of a running kernel: what is at each path, and what a write does.

Facts: fs/sysfs and fs/kernfs (permissions, how a write reaches an attribute), drivers/base/memory.c
and drivers/base/node.c (which directories and links there are).

Not modelled: device attributes that say nothing about memory (power).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from memsim import attributes
from memsim.attributes import UEVENT, Attribute
from memsim.kernel import Kernel
from memsim.kernel.blocks import ABSENT, HOLE, MEMMAP, OFFLINE
from memsim.kernel.state import Uevent
from memsim.kernel.zones import Rules

__all__ = [
    "FIRMWARE",
    "MEMORY",
    "NODE",
    "PAGE_SIZE",
    "PARAMETERS",
    "Changes",
    "Kind",
    "Sysfs",
]

MEMORY: Final = "sys/devices/system/memory"
NODE: Final = "sys/devices/system/node"
FIRMWARE: Final = "sys/firmware/memory"
PARAMETERS: Final = "sys/module/memory_hotplug/parameters"

PAGE_SIZE: Final = 4096
"""The maximum of bytes in one write to an attribute (kernfs_fop_write_iter, fs/kernfs/file.c)."""

Kind = Literal["dir", "file", "link"]


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


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file, link or directory of the tree."""

    kind: Kind
    names: Callable[[], list[str]] | None = None
    attribute: Attribute | None = None
    block: int = -1
    target: str = ""


class Sysfs:
    """The tree that a kernel shows of its memory.

    Paths are relative to its root, without a leading slash. Every method that takes a path raises
    the OSError of the system call.
    """

    __slots__ = ("_rules", "_texts", "kernel", "listeners")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.listeners: list[Callable[[Uevent, str], None]] = []
        """Called with the action and the devpath of every uevent."""
        kernel.listeners.append(self._emit)
        self._rules, self._texts = self._all_rules(), self._fixed_texts()

    def kind(self, path: str) -> Kind | None:
        """The kind of what is at a path, or None. A link at the end of the path is not followed."""
        entry = self._find(path)
        return entry.kind if entry else None

    def is_dir(self, path: str) -> bool:
        """Whether a path is a directory or a link; all links lead to directories."""
        return self.kind(path) in ("dir", "link")

    def listdir(self, path: str) -> list[str]:
        entry = self._entry(path)
        if entry.kind == "link":
            return self.listdir(os.path.normpath(f"{os.path.dirname(path)}/{entry.target}"))
        if entry.names is None:
            raise _error(errno.ENOTDIR, path)
        return entry.names()

    def readlink(self, path: str) -> str:
        entry = self._entry(path)
        if entry.kind != "link":
            raise _error(errno.EINVAL, path)
        return entry.target

    def mode(self, path: str) -> int:
        """The permission bits."""
        return self.stat(path)[1]

    def stat(self, path: str) -> tuple[Kind, int]:
        """The kind of what is at a path, and its permission bits."""
        entry = self._entry(path)
        return entry.kind, _mode(entry)

    def read(self, path: str) -> bytes:
        attribute, block = self._file(path)
        text = attribute.show(self.kernel, block)
        assert text is not None, "an attribute that is found is shown"
        return _content(attribute, text)

    def entries(self, path: str) -> Iterator[tuple[str, Kind, bytes, int]]:
        """For each entry of a directory: path, kind, content or target, permission bits."""
        for name in self.listdir(path):
            child = f"{path}/{name}".lstrip("/")
            entry, content = self._entry(child), b""
            if entry.attribute:
                text = entry.attribute.show(self.kernel, entry.block) or ""
                content = _content(entry.attribute, text)
            elif entry.kind == "link":
                content = os.fsencode(entry.target)
            yield child, entry.kind, content, _mode(entry)

    def write(self, path: str, data: bytes) -> int:
        """Do one write() to an attribute; return how many bytes it takes, or raise OSError.

        The attribute gets at most a page, up to the first NUL, and nothing of an empty write.
        Calls the kernel's `wait` if the transition has a delay.
        """
        attribute, block = self._file(path)
        if attribute.store is None:
            raise _error(errno.EACCES, path)
        page = data[:PAGE_SIZE]
        if page:
            try:
                attribute.store(self.kernel, block, page.split(b"\0")[0].decode("latin-1"))
            except OSError as failure:
                if failure.filename is not None:
                    # Whoever waits has met it with another file.
                    raise
                raise _error(failure.errno or errno.EIO, path) from None
        return len(page)

    def meanwhile(self) -> dict[str, bytes]:
        """The attributes with other values during a transition that has a delay, and the values."""
        block = self.kernel.going_offline
        if block is None:
            return {}
        path = f"{MEMORY}/memory{block}/state"
        return {path: self.read(path)}

    # Finding a path.

    def _entry(self, path: str) -> _Entry:
        entry = self._find(path)
        if entry is None:
            raise _error(errno.ENOENT, path)
        return entry

    def _file(self, path: str) -> tuple[Attribute, int]:
        entry = self._entry(path)
        if entry.attribute is None:
            raise _error(errno.EISDIR, path)
        return entry.attribute, entry.block

    def _find(self, path: str) -> _Entry | None:
        """The entry at a path; None if there is none. Links on the way are followed."""
        path = path.strip("/")
        if fixed := _FIXED.get(path):
            there = fixed.show(self.kernel, -1) is not None
            return _Entry("file", attribute=fixed) if there else None
        if path in _SKELETON:
            exists = path == FIRMWARE and self.kernel.machine.firmware
            exists = exists or any(self.kind(child) for child in _SKELETON[path].values())
            return _Entry("dir", names=lambda: self._skeleton_names(path)) if exists else None
        if match := _BLOCK_PATH.fullmatch(path):
            return self._find_block(match["below"], int(match["block"]), match["rest"])
        if match := _NODE_PATH.fullmatch(path):
            return self._find_node(int(match["node"]), match["rest"])
        return None

    def _find_block(self, below: str, block: int, rest: str | None) -> _Entry | None:
        kernel, listed = self.kernel, below == MEMORY
        attributes_ = attributes.BLOCK if listed else attributes.FIRMWARE
        if not kernel.blocks.present(block) if listed else not self._in_firmware(block):
            return None
        group = kernel.blocks.group(block)
        links = [*(f"node{node}" for node in group.nodes), "subsystem"] if listed else []
        if not rest:
            shown = ((name, found.show(kernel, block)) for name, found in attributes_.items())
            names = [name for name, text in shown if text is not None]
            return _Entry("dir", names=lambda: [*names, *links])
        name, _, beyond = rest.partition("/")
        if name in links:
            below = "../../../../bus/memory" if name == "subsystem" else f"../../node/{name}"
            link = _Entry("link", target=below)
            return self._find(f"{NODE}/{name}/{beyond}") if beyond else link
        attribute = attributes_.get(rest)
        if attribute is None or attribute.show(kernel, block) is None:
            return None
        return _Entry("file", attribute=attribute, block=block)

    def _in_firmware(self, block: int) -> bool:
        return self.kernel.machine.firmware and block in self.kernel.blocks

    def _find_node(self, node: int, rest: str | None) -> _Entry | None:
        if node not in self.kernel.nodes:
            return None
        if not rest:
            return _Entry("dir", names=lambda: [f"memory{b}" for b in self._blocks_of(node)])
        name, _, beyond = rest.partition("/")
        match = _BLOCK_NAME.fullmatch(name)
        if not match or not self.kernel.blocks.present(block := int(match["block"])):
            return None
        if node not in self.kernel.blocks.group(block).nodes:
            return None
        link = _Entry("link", target=f"../../memory/{name}")
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
        self._rules, self._texts = rules, texts
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

    def _emit(self, uevent: Uevent, block: int) -> None:
        for listener in self.listeners:
            listener(uevent, f"/devices/system/memory/memory{block}")


def _mode(entry: _Entry) -> int:
    """The permission bits."""
    if entry.attribute:
        if entry.attribute.write_only:
            return 0o200
        return 0o644 if entry.attribute.store else 0o444
    return 0o777 if entry.kind == "link" else 0o755


def _content(attribute: Attribute, text: str) -> bytes:
    """The content of a file; that of uevent is empty, and so is that of what is only written."""
    return b"" if attribute is UEVENT or attribute.write_only else f"{text}\n".encode()


def _error(number: int, path: str) -> OSError:
    """The error that a system call ends with."""
    return OSError(number, os.strerror(number), path)


_FIXED: Final[dict[str, Attribute]] = {
    f"{directory}/{name}": attribute
    for directory, table in (
        (MEMORY, attributes.MEMORY),
        (NODE, attributes.NODE),
        (PARAMETERS, attributes.PARAMETERS),
    )
    for name, attribute in table.items()
}


def _skeleton(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every parent directory of these paths, with the names in it and their paths."""
    tree: dict[str, dict[str, str]] = {FIRMWARE: {}}
    for path in paths:
        while path:
            above, _, name = path.rpartition("/")
            tree.setdefault(above, {})[name] = path
            path = above
    return tree


_SKELETON: Final = _skeleton([*_FIXED, FIRMWARE])
_BLOCK_NAME: Final = re.compile(r"memory(?P<block>0|[1-9][0-9]{0,17})", re.ASCII)
_BLOCK_PATH: Final = re.compile(
    rf"(?P<below>{MEMORY}|{FIRMWARE})/{_BLOCK_NAME.pattern}(?:/(?P<rest>.+))?", re.ASCII
)
_NODE_PATH: Final = re.compile(
    rf"{NODE}/node(?P<node>0|[1-9][0-9]{{0,8}})(?:/(?P<rest>.+))?", re.ASCII
)
