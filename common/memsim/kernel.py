"""A machine's memory blocks and a kernel's answers about them: no files, no clock, no randomness.

Facts modelled: drivers/base/memory.c and drivers/base/core.c (the attributes of a block),
mm/memory_hotplug.c (zones, spans, the online policy), drivers/s390/char/sclp_mem.c
(/sys/firmware/memory, and the older kernels that assign storage when a block goes online),
fs/kernfs and lib/kstrtox.c (how a write reaches an attribute).

Not modelled: memory groups (a block of a DIMM decides on its zone alone, as memory added without
a group does), the pages of single processes, and device attributes that say nothing about
memory (power, uevent, subsystem).
"""

from __future__ import annotations

import errno
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

MEMORY: Final = "sys/devices/system/memory"
NODE: Final = "sys/devices/system/node"
FIRMWARE: Final = "sys/firmware/memory"
PARAMETERS: Final = "sys/module/memory_hotplug/parameters"

ZONES: Final = ("none", "DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
TRANSITIONS: Final = ("offline", "online", "config", "deconfig")
ONLINE_WORDS: Final = ("online", "online_kernel", "online_movable")
ONLINE_POLICIES: Final = ("contig-zones", "auto-movable")

MAX_BLOCKS: Final = 1 << 24
"""Most block numbers between a machine's first and last block, holes included."""

STRUCT_PAGE_SHARE: Final = 64
"""One part in so many of a block holds its struct pages: 64 bytes for each page of 4 KiB."""

PAGE_SIZE: Final = 4096
"""Most bytes of one write that reach an attribute."""

# What is at a block number: nothing the machine could have, no memoryN directory, an offline
# block, or (from here on) an online block of the zone with that index in ZONES.
HOLE, ABSENT, OFFLINE, IN_ZONE = 255, 0, 1, 2
NONE, DMA, DMA32, NORMAL, _HIGHMEM, MOVABLE, _DEVICE = range(IN_ZONE, IN_ZONE + len(ZONES))

_PLACES: Final = bytes([HOLE, ABSENT, OFFLINE, *range(IN_ZONE, IN_ZONE + len(ZONES))])

# Flags of a block: its memmap_on_memory, and whether it is there since boot.
MEMMAP, EARLY = 1, 2

Kind = Literal["dir", "file", "link"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks `first` to `last`, both inclusive, that are alike at boot."""

    first: int
    last: int
    config: bool = True
    online: bool = True
    zone: str = "Normal"
    off_zones: tuple[str, ...] = ("Normal", "Movable")
    node: int = 0
    has_node: bool = True
    removable: bool = True
    memmap: bool = False
    straddles: tuple[str, ...] = ()
    """The zones that a block in zone `none` lies in."""
    holes: bool = False
    """The blocks have memory holes, so they cannot be set offline (EINVAL)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A transition fails with `errno` (a name such as EBUSY), `times` times or (None) always."""

    errno: str
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine at boot; sizes in bytes, delays in seconds. The keys are those of profile.py."""

    block_size: int
    groups: tuple[Group, ...]
    firmware: bool = False
    memmap_param: str | None = None
    memmap_supported: bool = True
    valid_zones: bool = True
    contiguous_zones: bool = False
    movable_node: bool = False
    auto_online_blocks: str | None = "offline"
    online_policy: str | None = None
    auto_movable_ratio: int = 301
    auto_movable_numa_aware: bool = True
    assigned_by: Literal["config", "online"] | None = None
    hypervisor: int | None = None
    used: int = 0
    increment: int | None = None
    faults: Mapping[str, Mapping[int, Fault]] = field(default_factory=dict)
    delays: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Live:
    """What a running kernel and its hypervisor know beyond the blocks themselves.

    Counts are of blocks; `online`, `spans` and `early` are by node and, the first two, by zone
    code; spans go from the lowest to the highest online block, both inclusive.
    """

    pool: int
    auto_online_blocks: str | None
    online_policy: str | None
    auto_movable_ratio: int
    auto_movable_numa_aware: bool
    own_memmap: int = 0
    outside_memmap: int = 0
    online: dict[tuple[int, int], int] = field(default_factory=dict)
    spans: dict[tuple[int, int], Span] = field(default_factory=dict)
    early: dict[int, int] = field(default_factory=dict)
    words: dict[int, str] = field(default_factory=dict)
    """By block: the word that a write to `state` left behind when the block was online already."""
    faults: dict[str, dict[int, Fault]] = field(default_factory=dict)
    delays: dict[str, dict[int, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `Live.from_json` is its inverse."""
        values = {name: getattr(self, name) for name in _PLAIN_LIVE}
        return values | {
            "online": [[*key, count] for key, count in self.online.items()],
            "spans": [[*key, *span] for key, span in self.spans.items()],
            "early": list(self.early.items()),
            "words": list(self.words.items()),
            "faults": {
                transition: {
                    str(block): list(asdict(fault).values()) for block, fault in of.items()
                }
                for transition, of in self.faults.items()
            },
            "delays": self.delays,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Live:
        """Raises KeyError, TypeError or ValueError for anything `to_json` cannot have written."""
        return Live(
            **{name: values[name] for name in _PLAIN_LIVE},
            online={(node, zone): count for node, zone, count in values["online"]},
            spans={(node, zone): (low, high) for node, zone, low, high in values["spans"]},
            early=dict(values["early"]),
            words=dict(values["words"]),
            faults={
                transition: {int(block): Fault(*fault) for block, fault in of.items()}
                for transition, of in values["faults"].items()
            },
            delays={
                transition: {int(block): float(seconds) for block, seconds in of.items()}
                for transition, of in values["delays"].items()
            },
        )


_PLAIN_LIVE: Final = (
    "pool",
    "auto_online_blocks",
    "online_policy",
    "auto_movable_ratio",
    "auto_movable_numa_aware",
    "own_memmap",
    "outside_memmap",
)


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed since the changes were last taken.

    `blocks` maps indexes into the kernel's `place` and `flags` to their new bytes; `paths` are
    the files, links and whole directories that now read differently, or exist or not.
    """

    blocks: Mapping[int, tuple[int, int]]
    paths: tuple[str, ...]
    live: bool

    def __bool__(self) -> bool:
        return self.live or bool(self.blocks) or bool(self.paths)


@dataclass(frozen=True, slots=True)
class Step:
    """What a write asks for: a transition of a block, or a value for one attribute."""

    action: str
    block: int
    value: str | int


@dataclass(frozen=True, slots=True)
class Attribute:
    """A file: its text (None: not on this machine), and what a write to it asks for.

    A `plan` of None makes the file read-only; a plan that gives None has nothing to do.
    """

    show: Callable[[Kernel, int], str | None]
    plan: Callable[[Kernel, int, str], Step | None] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path."""

    kind: Kind
    names: Callable[[], list[str]] | None = None
    attribute: Attribute | None = None
    block: int = -1
    target: str = ""


@dataclass(frozen=True, slots=True)
class _Rules:
    """What decides on the zones of a node's offline blocks; `auto` is None without the policy."""

    spans: tuple[tuple[int, Span], ...]
    auto: bool | None
    movable_node: bool

    def meets(self, zone: int, block: int) -> bool:
        return any(z == zone and low <= block <= high for z, (low, high) in self.spans)

    def kernel_zone(self, block: int) -> int:
        return next((zone for zone in (DMA, DMA32) if self.meets(zone, block)), NORMAL)

    def default_zone(self, block: int) -> int:
        """The zone that plain `online` chooses (mm/memory_hotplug.c, zone_for_pfn_range)."""
        kernel_zone = self.kernel_zone(block)
        if self.auto is not None:
            return MOVABLE if self.auto else kernel_zone
        in_kernel, in_movable = self.meets(kernel_zone, block), self.meets(MOVABLE, block)
        if in_kernel != in_movable:
            return kernel_zone if in_kernel else MOVABLE
        return MOVABLE if self.movable_node else kernel_zone

    def valid_zones(self, block: int) -> str:
        zones = (self.default_zone(block), self.kernel_zone(block), MOVABLE)
        return " ".join(dict.fromkeys(ZONES[zone - IN_ZONE] for zone in zones))


class Kernel:
    """A running machine.

    Paths are POSIX paths below its root, without a leading slash. Every method that takes one
    raises OSError as the system call would.
    """

    __slots__ = (
        "_first",
        "_firsts",
        "_live_changed",
        "_paths",
        "_straddling",
        "_touched",
        "flags",
        "listeners",
        "live",
        "machine",
        "nodes",
        "place",
    )

    def __init__(self, machine: Machine) -> None:
        """Boot the machine. Its groups are in order and do not overlap."""
        self._prepare(machine)
        self.place, self.flags, self.live = self._at_boot()

    @classmethod
    def restored(cls, machine: Machine, place: bytes, flags: bytes, live: Live) -> Kernel:
        """The machine as it was when these were taken; ValueError when they do not fit it."""
        kernel = cls.__new__(cls)
        kernel._prepare(machine)
        if not len(place) == len(flags) == kernel._numbers():
            raise ValueError("expected one byte for each block")
        if place.translate(None, _PLACES) or max(flags) > MEMMAP | EARLY:
            raise ValueError("expected bytes that a kernel can have written")
        kernel.place, kernel.flags, kernel.live = bytearray(place), bytearray(flags), live
        return kernel

    def _prepare(self, machine: Machine) -> None:
        self.machine = machine
        self.listeners: list[Callable[[str, str], None]] = []
        """Called with the action and the devpath of every uevent."""
        self._firsts = [group.first for group in machine.groups]
        self._first = self._firsts[0]
        self.nodes = sorted({group.node for group in machine.groups if group.has_node})
        self._touched: set[int] = set()
        self._paths: dict[str, None] = {}
        self._live_changed = False
        self._straddling = [
            (group.node, IN_ZONE + ZONES.index(zone), group.first, group.last)
            for group in machine.groups
            for zone in group.straddles
        ]

    def _numbers(self) -> int:
        return self.machine.groups[-1].last + 1 - self._first

    def _at_boot(self) -> tuple[bytearray, bytearray, Live]:
        machine = self.machine
        place = bytearray([HOLE]) * self._numbers()
        flags = bytearray(len(place))
        live = Live(
            pool=0,
            auto_online_blocks=machine.auto_online_blocks,
            online_policy=machine.online_policy,
            auto_movable_ratio=machine.auto_movable_ratio,
            auto_movable_numa_aware=machine.auto_movable_numa_aware,
            faults={t: dict(of) for t, of in machine.faults.items()},
            delays={t: dict(of) for t, of in machine.delays.items()},
        )
        unassigned = 0
        for group in machine.groups:
            start, count = group.first - self._first, group.last + 1 - group.first
            online = group.config and group.online
            zone = IN_ZONE + ZONES.index(group.zone)
            code = zone if online else OFFLINE if group.config else ABSENT
            place[start : start + count] = bytes([code]) * count
            flag = (MEMMAP if group.memmap else 0) | (EARLY if online else 0)
            flags[start : start + count] = bytes([flag]) * count
            if group.config and not group.memmap:
                live.outside_memmap += count
            if online:
                live.own_memmap += count if group.memmap else 0
                key = (group.node, zone)
                live.online[key] = live.online.get(key, 0) + count
                if zone != MOVABLE:
                    live.early[group.node] = live.early.get(group.node, 0) + count
                self._widen(live, key, group.first, group.last)
            elif not group.config or machine.assigned_by == "online":
                unassigned += count
        for node, zone, first, last in self._straddling:
            self._widen(live, (node, zone), first, last)
        if machine.assigned_by:
            live.pool = unassigned * machine.block_size
            if machine.hypervisor is not None:
                live.pool = machine.hypervisor
        return place, flags, live

    @staticmethod
    def _widen(live: Live, key: tuple[int, int], first: int, last: int) -> None:
        low, high = live.spans.get(key, (first, last))
        live.spans[key] = (min(low, first), max(high, last))

    # What a person or a listing asks.

    @property
    def first(self) -> int:
        """The number of the block that index 0 of `place` and `flags` is about."""
        return self._first

    def group(self, block: int) -> Group:
        """The group of a block number that the machine has."""
        return self.machine.groups[bisect_right(self._firsts, block) - 1]

    def place_of(self, block: int) -> int:
        """The code of what is at a block number: HOLE, ABSENT, OFFLINE, or an online zone's."""
        index = block - self._first
        return self.place[index] if 0 <= index < len(self.place) else HOLE

    def blocks(self) -> Iterator[int]:
        """Every block number the machine has or may get, in order."""
        for group in self.machine.groups:
            yield from range(group.first, group.last + 1)

    def present(self, block: int) -> bool:
        """Whether the block has a memoryN directory below /sys/devices/system/memory."""
        return self.place_of(block) not in (HOLE, ABSENT)

    def online_blocks(self) -> int:
        """The number of online blocks."""
        return sum(self.live.online.values())

    def free_memory(self) -> int:
        """Bytes of online memory that neither struct pages nor `used` take."""
        size = self.machine.block_size
        pages = (self.live.own_memmap + self.live.outside_memmap) * size // STRUCT_PAGE_SHARE
        return self.online_blocks() * size - pages - self.machine.used

    # The tree.

    def kind(self, path: str) -> Kind | None:
        """What is at a path, or None. Does not follow a link at its end."""
        entry = self._find(path)
        return entry.kind if entry else None

    def is_dir(self, path: str) -> bool:
        """Whether a path is a directory, or a link (all of them lead to directories)."""
        return self.kind(path) in ("dir", "link")

    def listdir(self, path: str) -> list[str]:
        entry = self._entry(path)
        if entry.kind == "link":
            return self.listdir(self._follow(path, entry.target))
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
        entry = self._entry(path)
        if entry.attribute is None:
            return 0o777 if entry.kind == "link" else 0o755
        return 0o644 if entry.attribute.plan else 0o444

    def read(self, path: str) -> bytes:
        attribute, block = self._file(path)
        text = attribute.show(self, block)
        assert text is not None, "an attribute that is found is shown"
        return text.encode() + b"\n"

    # Writes.

    def write(self, path: str, data: bytes) -> None:
        """Store one write() to an attribute; OSError with the kernel's errno when it fails."""
        step = self._plan(path, data)
        if step is None:
            return
        try:
            _ACTIONS[step.action](self, step.block, step.value)
        except OSError as error:
            raise _error(error.errno or errno.EIO, path) from None

    def delay(self, path: str, data: bytes) -> float:
        """Seconds that a transition takes which this write would begin; 0.0 for any other write.

        Whoever keeps the time waits so long before the write. When a signal ends the wait the
        write is not made: the kernel's answer is then EINTR.
        """
        try:
            step = self._plan(path, data)
        except OSError:
            return 0.0
        if step is None:
            return 0.0
        seconds = self.live.delays.get(step.action, {}).get(step.block, 0.0)
        if step.action == "config" and self.live.auto_online_blocks in ONLINE_WORDS:
            seconds += self.live.delays.get("online", {}).get(step.block, 0.0)
        return seconds

    def meanwhile(self, path: str, data: bytes) -> dict[str, bytes]:
        """What attributes read while the transition that this write begins is under way."""
        try:
            step = self._plan(path, data)
        except OSError:
            return {}
        if step is None or step.action != "offline":
            return {}
        return {f"{MEMORY}/memory{step.block}/state": b"going-offline\n"}

    def set_fault(self, transition: str, block: int, fault: Fault | None) -> None:
        """From now on a transition of a block fails so; None: no more. KeyError: no such block."""
        self._set_by_block(self.live.faults, transition, block, fault)

    def set_delay(self, transition: str, block: int, seconds: float | None) -> None:
        """From now on a transition of a block takes so long. KeyError: no such block."""
        self._set_by_block(self.live.delays, transition, block, seconds)

    def clear_faults(self) -> None:
        """From now on no transition fails or takes time unless asked to again."""
        self.live.faults, self.live.delays = {}, {}
        self._live_changed = True

    def _set_by_block(
        self, table: dict[str, dict[int, Any]], transition: str, block: int, value: object
    ) -> None:
        if transition not in TRANSITIONS:
            raise KeyError(transition)
        if self.place_of(block) == HOLE:
            raise KeyError(block)
        if value is None:
            table.get(transition, {}).pop(block, None)
        else:
            table.setdefault(transition, {})[block] = value
        self._live_changed = True

    def reboot(self) -> None:
        """Start again: memory that was hot-added is standby again, parameters as booted.

        Faults and delays stay: they are the experiment's, not the kernel's.
        """
        place, flags, live = self._at_boot()
        live.faults, live.delays = self.live.faults, self.live.delays
        with self._watched():
            old = zip(self.place, self.flags, place, flags, strict=True)
            for index, (was_place, was_flag, new_place, new_flag) in enumerate(old):
                if (was_place, was_flag) != (new_place, new_flag):
                    self._touch_block(self._first + index)
            self.place, self.flags, self.live = place, flags, live
        self._touch(*(path for path in _FIXED if self.kind(path)))

    def take_changes(self) -> Changes:
        """What has changed since this was last asked, for whoever keeps the machine elsewhere."""
        changes = Changes(
            blocks={i: (self.place[i], self.flags[i]) for i in sorted(self._touched)},
            paths=tuple(self._paths),
            live=self._live_changed,
        )
        self._touched, self._paths, self._live_changed = set(), {}, False
        return changes

    # How a path is found.

    def _entry(self, path: str) -> Entry:
        entry = self._find(path)
        if entry is None:
            raise _error(errno.ENOENT, path)
        return entry

    def _file(self, path: str) -> tuple[Attribute, int]:
        entry = self._entry(path)
        if entry.attribute is None:
            raise _error(errno.EISDIR, path)
        return entry.attribute, entry.block

    @staticmethod
    def _follow(path: str, target: str) -> str:
        return os.path.normpath(f"{os.path.dirname(path.strip('/'))}/{target}")

    def _find(self, path: str) -> Entry | None:
        path = path.strip("/")
        if fixed := _FIXED.get(path):
            return Entry("file", attribute=fixed) if fixed.show(self, -1) is not None else None
        if path in _SKELETON:
            exists = path == FIRMWARE and self.machine.firmware
            exists = exists or any(self.kind(child) for child in _SKELETON[path].values())
            return Entry("dir", names=lambda: self._skeleton_names(path)) if exists else None
        if match := _BLOCK_PATH.fullmatch(path):
            return self._find_block(match["below"], int(match["block"]), match["rest"])
        if match := _NODE_PATH.fullmatch(path):
            return self._find_node(int(match["node"]), match["rest"])
        return None

    def _find_block(self, below: str, block: int, rest: str | None) -> Entry | None:
        attributes = _BLOCK_ATTRIBUTES[below]
        if below == MEMORY:
            if not self.present(block):
                return None
        elif not self.machine.firmware or self.place_of(block) == HOLE:
            return None
        group = self.group(block)
        node = f"node{group.node}" if below == MEMORY and group.has_node else None
        if not rest:
            names = [name for name, found in attributes.items() if found.show(self, block)]
            return Entry("dir", names=lambda: [*names, *([node] if node else [])])
        name, _, beyond = rest.partition("/")
        if node and name == node:
            link = Entry("link", target=f"../../node/{node}")
            return self._find(f"{NODE}/{node}/{beyond}") if beyond else link
        attribute = attributes.get(rest)
        if attribute is None or attribute.show(self, block) is None:
            return None
        return Entry("file", attribute=attribute, block=block)

    def _find_node(self, node: int, rest: str | None) -> Entry | None:
        if node not in self.nodes:
            return None
        if not rest:
            return Entry("dir", names=lambda: [f"memory{b}" for b in self._blocks_of(node)])
        name, _, beyond = rest.partition("/")
        match = _BLOCK_NAME.fullmatch(name)
        if not match or not self.present(block := int(match["block"])):
            return None
        if (group := self.group(block)).node != node or not group.has_node:
            return None
        link = Entry("link", target=f"../../memory/{name}")
        return self._find(f"{MEMORY}/{name}/{beyond}") if beyond else link

    def _skeleton_names(self, path: str) -> list[str]:
        names = [name for name, child in _SKELETON[path].items() if self.kind(child)]
        if path == MEMORY:
            names += [f"memory{block}" for block in self.blocks() if self.present(block)]
        elif path == FIRMWARE and self.machine.firmware:
            names += [f"memory{block}" for block in self.blocks()]
        elif path == NODE:
            names += [f"node{node}" for node in self.nodes]
        return names

    def _blocks_of(self, node: int) -> Iterator[int]:
        for group in self.machine.groups:
            if group.node == node and group.has_node:
                yield from (b for b in range(group.first, group.last + 1) if self.present(b))

    # What a write asks for.

    def _plan(self, path: str, data: bytes) -> Step | None:
        attribute, block = self._file(path)
        if attribute.plan is None:
            raise _error(errno.EACCES, path)
        # An empty write never reaches the attribute; the attribute sees a C string.
        text = data[:PAGE_SIZE].split(b"\0")[0].decode("latin-1")
        if not data:
            return None
        try:
            return attribute.plan(self, block, text)
        except OSError as error:
            raise _error(error.errno or errno.EIO, path) from None

    def _plan_state(self, block: int, text: str) -> Step:
        word = _word(text, (*ONLINE_WORDS, "offline"))
        step = self._switch(block, None if word == "offline" else word)
        if step is None and word != "offline":
            return Step("word", block, word)
        if step is None:
            raise _error(errno.EINVAL)
        return step

    def _plan_online(self, block: int, text: str) -> Step | None:
        return self._switch(block, self.live.words.get(block, "online") if _boolean(text) else None)

    def _switch(self, block: int, online_as: str | None) -> Step | None:
        is_online = self.place_of(block) >= IN_ZONE
        if is_online == (online_as is not None):
            return None
        return Step("online", block, online_as) if online_as else Step("offline", block, "")

    def _plan_config(self, block: int, text: str) -> Step | None:
        wanted = _boolean(text)
        if wanted == self.present(block):
            return None
        if wanted:
            return Step("config", block, "")
        if self.place_of(block) != OFFLINE:
            raise _error(errno.EBUSY)
        return Step("deconfig", block, "")

    def _plan_memmap(self, block: int, text: str) -> Step:
        wanted = _boolean(text)
        if wanted and not self.machine.memmap_supported:
            raise _error(errno.EOPNOTSUPP)
        if self.present(block):
            raise _error(errno.EBUSY)
        return Step("memmap", block, MEMMAP if wanted else 0)

    # What is done.

    def _leave_word(self, block: int, word: str | int) -> None:
        """Raises EINVAL: the block is online already. But how it was to come online is kept.

        drivers/base/memory.c: state_store notes the word as the block's online_type before it
        finds the device online; only memory_subsys_online, which is then not called, clears it. So
        the next `online` 1 after an offline takes this word (seen on 6.1).
        """
        self.live.words[block] = str(word)
        self._live_changed = True
        raise _error(errno.EINVAL)

    def _forget_word(self, block: int) -> None:
        if self.live.words.pop(block, None):
            self._live_changed = True

    def _online(self, block: int, online_as: str | int) -> None:
        """Raises EIO when an older s390 kernel's hypervisor has no storage for the block."""
        self._forget_word(block)
        if self.machine.assigned_by == "online":
            self._take_storage()
        try:
            self._fail("online", block)
        except OSError:
            if self.machine.assigned_by == "online":
                self.live.pool += self.machine.block_size
            raise
        zone = self._zone_for(block, str(online_as))
        node, index = self.group(block).node, block - self._first
        with self._watched():
            self.place[index] = zone
            self.live.online[node, zone] = self.live.online.get((node, zone), 0) + 1
            self._widen(self.live, (node, zone), block, block)
            self._count_online(index, node, zone, 1)
        self._touch_state(block)
        self._emit("online", block)

    def _offline(self, block: int, _value: str | int) -> None:
        """Raises EINVAL for a block in several zones or with holes, EBUSY for one in use."""
        group, index, zone = self.group(block), block - self._first, self.place_of(block)
        if zone == NONE or group.holes:
            raise _error(errno.EINVAL)
        self._fail("offline", block)
        usable = self.machine.block_size
        if self.flags[index] & MEMMAP:
            usable -= usable // STRUCT_PAGE_SHARE
        # Linux would look for a place for the block's pages until a signal comes.
        if self.machine.used and self.free_memory() < usable:
            raise _error(errno.EBUSY)
        key = (group.node, zone)
        with self._watched():
            self.place[index] = OFFLINE
            self.live.online[key] -= 1
            self._narrow(key, block)
            self._count_online(index, group.node, zone, -1)
        if self.machine.assigned_by == "online":
            self.live.pool += self.machine.block_size
        self._touch_state(block)
        self._emit("offline", block)

    def _config(self, block: int, _value: str | int) -> None:
        """Raises EIO without storage from the hypervisor, ENOMEM without struct pages."""
        self._take_storage()
        memmap = self.flags[block - self._first] & MEMMAP
        try:
            self._fail("config", block)
            pages = self.machine.block_size // STRUCT_PAGE_SHARE
            if not memmap and self.free_memory() < pages:
                raise _error(errno.ENOMEM)
        except OSError:
            self.live.pool += self.machine.block_size
            raise
        self.live.outside_memmap += 0 if memmap else 1
        self.place[block - self._first] = OFFLINE
        self._touch_block(block)
        self._emit("add", block)
        if self.live.auto_online_blocks in ONLINE_WORDS:
            try:
                self._online(block, self.live.auto_online_blocks)
            except OSError:
                # The block stays offline, and adding it has succeeded all the same.
                return

    def _deconfig(self, block: int, _value: str | int) -> None:
        self._fail("deconfig", block)
        self._forget_word(block)
        index = block - self._first
        self.live.outside_memmap -= 0 if self.flags[index] & MEMMAP else 1
        self.place[index] = ABSENT
        self.flags[index] &= ~EARLY
        self.live.pool += self.machine.block_size
        self._touch_block(block)
        self._emit("remove", block)

    def _set_memmap(self, block: int, value: str | int) -> None:
        index = block - self._first
        self.flags[index] = (self.flags[index] & ~MEMMAP) | int(value)
        self._touched.add(index)
        self._touch(f"{FIRMWARE}/memory{block}/memmap_on_memory")

    def _set_parameter(self, name: str, value: str | int) -> None:
        with self._watched():
            setattr(self.live, name, value)
        self._touch(_PARAMETER_PATHS[name])

    # Parts of it.

    def _take_storage(self) -> None:
        if self.live.pool < self.machine.block_size:
            raise _error(errno.EIO)
        self.live.pool -= self.machine.block_size

    def _fail(self, transition: str, block: int) -> None:
        faults = self.live.faults.get(transition, {})
        fault = faults.get(block)
        if fault is None:
            return
        if fault.times is not None:
            self._live_changed = True
            if fault.times > 1:
                faults[block] = Fault(fault.errno, fault.times - 1)
            else:
                del faults[block]
        raise _error(getattr(errno, fault.errno))

    def _zone_for(self, block: int, online_as: str) -> int:
        if online_as == "online_movable":
            return MOVABLE
        if self.machine.contiguous_zones:
            rules = self._rules(self.group(block).node)
            choose = rules.kernel_zone if online_as == "online_kernel" else rules.default_zone
            return choose(block)
        if online_as == "online_kernel":
            return NORMAL
        return IN_ZONE + ZONES.index(self.group(block).off_zones[0])

    def _count_online(self, index: int, node: int, zone: int, by: int) -> None:
        if self.flags[index] & MEMMAP:
            self.live.own_memmap += by
        if self.flags[index] & EARLY and zone != MOVABLE:
            self.live.early[node] = self.live.early.get(node, 0) + by

    def _narrow(self, key: tuple[int, int], block: int) -> None:
        """Draw a zone's span in when its lowest or highest block has gone offline."""
        low, high = self.live.spans[key]
        if block not in (low, high):
            return
        ends = [
            end
            for node, zone, first, last in self._straddling
            if (node, zone) == key
            for end in (first, last)
        ]
        ends += self._outermost(key, low, high)
        if ends:
            self.live.spans[key] = (min(ends), max(ends))
        else:
            del self.live.spans[key]

    def _outermost(self, key: tuple[int, int], low: int, high: int) -> Iterator[int]:
        """The lowest and the highest online block of a node's zone, looked for from the ends."""
        node, zone = key
        start, end = low - self._first, high + 1 - self._first
        while (start := self.place.find(zone, start, end)) >= 0:
            if self.group(start + self._first).node == node:
                yield start + self._first
                break
            start += 1
        else:
            return
        while (end := self.place.rfind(zone, start, end)) >= 0:
            if self.group(end + self._first).node == node:
                yield end + self._first
                return

    def _rules(self, node: int) -> _Rules:
        spans = tuple((zone, span) for (of, zone), span in self.live.spans.items() if of == node)
        auto = self._may_be_movable(node) if self.live.online_policy == "auto-movable" else None
        return _Rules(spans, auto, self.machine.movable_node)

    def _may_be_movable(self, node: int) -> bool:
        """Whether the auto-movable policy puts one more block into Movable.

        mm/memory_hotplug.c: movable memory, this block included, must not be more than
        auto_movable_ratio percent of the kernel zones' boot memory, on the machine and (with
        auto_movable_numa_aware) on the node.
        """
        live = self.live
        if not live.auto_movable_ratio:
            return False
        nodes = {of for of, _zone in live.online} | set(live.early) | {node}
        for among in [nodes, {node}] if live.auto_movable_numa_aware else [nodes]:
            movable = sum(live.online.get((of, MOVABLE), 0) for of in among)
            early = sum(live.early.get(of, 0) for of in among)
            if movable + 1 > early * live.auto_movable_ratio // 100:
                return False
        return True

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note every other attribute that a change within reads differently after."""
        before = self._all_rules(), self._node_lists()
        yield
        after = self._all_rules(), self._node_lists()
        self._live_changed = True
        for path, text in after[1].items():
            if before[1][path] != text:
                self._touch(path)
        for node, rules in after[0].items():
            if before[0][node] != rules:
                self._touch_valid_zones(node, before[0][node], rules)

    def _all_rules(self) -> dict[int, _Rules]:
        if not self.machine.contiguous_zones or not self.machine.valid_zones:
            return {}
        return {node: self._rules(node) for node in {g.node for g in self.machine.groups}}

    def _node_lists(self) -> dict[str, str]:
        return {path: _FIXED[path].show(self, -1) or "" for path in _NODE_LISTS}

    def _touch_valid_zones(self, node: int, before: _Rules, after: _Rules) -> None:
        # Between two neighbouring ends of spans all blocks get one answer, so that only the
        # blocks whose answer changed are looked at.
        ends = {self._first, self._first + len(self.place)}
        for _zone, (low, high) in (*before.spans, *after.spans):
            ends |= {low, high + 1}
        edges = sorted(ends)
        for start, end in pairwise(edges):
            if before.valid_zones(start) == after.valid_zones(start):
                continue
            index = start - self._first
            while (index := self.place.find(OFFLINE, index, end - self._first)) >= 0:
                block = index + self._first
                if self.group(block).node == node:
                    self._touch(f"{MEMORY}/memory{block}/valid_zones")
                index += 1

    def _touch(self, *paths: str) -> None:
        self._live_changed = True
        self._paths.update(dict.fromkeys(paths))

    def _touch_state(self, block: int) -> None:
        self._touched.add(block - self._first)
        names = ("state", "online", *(("valid_zones",) if self.machine.valid_zones else ()))
        self._touch(*(f"{MEMORY}/memory{block}/{name}" for name in names))

    def _touch_block(self, block: int) -> None:
        self._touched.add(block - self._first)
        self._touch(f"{MEMORY}/memory{block}")
        group = self.group(block)
        if group.has_node:
            self._touch(f"{NODE}/node{group.node}/memory{block}")
        if self.machine.firmware:
            self._touch(*(f"{FIRMWARE}/memory{block}/{name}" for name in _FIRMWARE_ATTRIBUTES))

    def _emit(self, action: str, block: int) -> None:
        for listener in self.listeners:
            listener(action, f"/devices/system/memory/memory{block}")


def _error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def _word(text: str, words: Iterable[str]) -> str:
    """The word a write names, one trailing newline ignored (sysfs_streq); else EINVAL."""
    word = text.removesuffix("\n")
    if word not in words:
        raise _error(errno.EINVAL)
    return word


def _boolean(text: str) -> bool:
    """What a write of a boolean means: its first characters decide (lib/kstrtox.c), else EINVAL."""
    for length in (1, 2):
        if (value := _BOOLEANS.get(text[:length].lower())) is not None:
            return value
    raise _error(errno.EINVAL)


_BOOLEANS: Final = dict.fromkeys(("y", "t", "1", "e", "on"), True) | dict.fromkeys(
    ("n", "f", "0", "d", "of"), False
)


def _number_list(numbers: Iterable[int]) -> str:
    """Numbers in order as the kernel lists them: 0-2,5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


# The attributes.


def _show_state(kernel: Kernel, block: int) -> str:
    return "online" if kernel.place_of(block) >= IN_ZONE else "offline"


def _show_online(kernel: Kernel, block: int) -> str:
    return str(int(kernel.place_of(block) >= IN_ZONE))


def _show_removable(kernel: Kernel, block: int) -> str:
    return str(int(kernel.group(block).removable))


def _show_valid_zones(kernel: Kernel, block: int) -> str | None:
    if not kernel.machine.valid_zones:
        return None
    place, group = kernel.place_of(block), kernel.group(block)
    if place >= IN_ZONE:
        return ZONES[place - IN_ZONE]
    if kernel.machine.contiguous_zones:
        return kernel._rules(group.node).valid_zones(block)
    return " ".join(group.off_zones)


def _show_phys_index(_kernel: Kernel, block: int) -> str:
    return f"{block:08x}"


def _show_phys_device(kernel: Kernel, block: int) -> str:
    increment = kernel.machine.increment
    return str(block * kernel.machine.block_size // increment if increment else 0)


def _show_config(kernel: Kernel, block: int) -> str:
    return str(int(kernel.present(block)))


def _show_memmap(kernel: Kernel, block: int) -> str:
    return str(int(bool(kernel.flags[block - kernel.first] & MEMMAP)))


def _show_block_size(kernel: Kernel, _block: int) -> str:
    return f"{kernel.machine.block_size:x}"


def _show_nodes(kernel: Kernel, _block: int) -> str | None:
    return _number_list(kernel.nodes) if kernel.nodes else None


def _show_nodes_with(zones: tuple[int, ...]) -> Callable[[Kernel, int], str | None]:
    def show(kernel: Kernel, _block: int) -> str | None:
        if not kernel.nodes:
            return None
        online = {
            node for (node, zone), count in kernel.live.online.items() if count and zone in zones
        }
        return _number_list(node for node in kernel.nodes if node in online)

    return show


def _parameter(
    name: str, to_value: Callable[[str], str | int], show: Callable[[Any], str] = str
) -> Attribute:
    """A value that is kept in `Live`, on a machine that has it at boot."""

    def show_value(kernel: Kernel, _block: int) -> str | None:
        value = getattr(kernel.live, name)
        if name.startswith("auto_movable") and kernel.live.online_policy is None:
            return None
        return None if value is None else show(value)

    def plan(_kernel: Kernel, _block: int, text: str) -> Step:
        return Step(name, -1, to_value(text))

    return Attribute(show_value, plan)


def _unsigned(text: str) -> int:
    """An unsigned int in any base that C knows, else EINVAL (lib/kstrtox.c); too large: ERANGE."""
    match = _UNSIGNED.fullmatch(text)
    if not match or match.lastgroup is None:
        raise _error(errno.EINVAL)
    number = int(match[match.lastgroup], {"hex": 16, "oct": 8, "dec": 10}[match.lastgroup])
    if number >= 1 << 32:
        raise _error(errno.ERANGE)
    return number


_UNSIGNED: Final = re.compile(
    r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<oct>0[0-7]+)|(?P<dec>[1-9][0-9]*|0))\n?"
)

_FIRMWARE_ATTRIBUTES: Final = {
    "config": Attribute(_show_config, Kernel._plan_config),
    "memmap_on_memory": Attribute(_show_memmap, Kernel._plan_memmap),
}

_BLOCK_ATTRIBUTES: Final = {
    MEMORY: {
        "online": Attribute(_show_online, Kernel._plan_online),
        "phys_device": Attribute(_show_phys_device),
        "phys_index": Attribute(_show_phys_index),
        "removable": Attribute(_show_removable),
        "state": Attribute(_show_state, Kernel._plan_state),
        "valid_zones": Attribute(_show_valid_zones),
    },
    FIRMWARE: _FIRMWARE_ATTRIBUTES,
}

_PARAMETER_PATHS: Final = {
    "auto_online_blocks": f"{MEMORY}/auto_online_blocks",
    "online_policy": f"{PARAMETERS}/online_policy",
    "auto_movable_ratio": f"{PARAMETERS}/auto_movable_ratio",
    "auto_movable_numa_aware": f"{PARAMETERS}/auto_movable_numa_aware",
}

_KERNEL_ZONES: Final = (NONE, DMA, DMA32, NORMAL)

_NODE_LISTS: Final = {
    f"{NODE}/has_memory": Attribute(_show_nodes_with((*_KERNEL_ZONES, _HIGHMEM, MOVABLE))),
    f"{NODE}/has_normal_memory": Attribute(_show_nodes_with(_KERNEL_ZONES)),
}

_FIXED: Final[dict[str, Attribute]] = {
    f"{MEMORY}/block_size_bytes": Attribute(_show_block_size),
    f"{NODE}/online": Attribute(_show_nodes),
    f"{NODE}/possible": Attribute(_show_nodes),
    **_NODE_LISTS,
    f"{PARAMETERS}/memmap_on_memory": Attribute(lambda kernel, _: kernel.machine.memmap_param),
    _PARAMETER_PATHS["auto_online_blocks"]: _parameter(
        "auto_online_blocks", lambda text: _word(text, ("offline", *ONLINE_WORDS))
    ),
    _PARAMETER_PATHS["online_policy"]: _parameter(
        "online_policy", lambda text: _word(text, ONLINE_POLICIES)
    ),
    _PARAMETER_PATHS["auto_movable_ratio"]: _parameter("auto_movable_ratio", _unsigned),
    _PARAMETER_PATHS["auto_movable_numa_aware"]: _parameter(
        "auto_movable_numa_aware", _boolean, lambda value: "Y" if value else "N"
    ),
}


def _skeleton(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every directory above these paths, with the names in it and their paths."""
    tree: dict[str, dict[str, str]] = {FIRMWARE: {}}
    for path in paths:
        while path:
            above, _, name = path.rpartition("/")
            tree.setdefault(above, {})[name] = path
            path = above
    return tree


_SKELETON: Final = _skeleton([*_FIXED, FIRMWARE])
_BLOCK_NAME: Final = re.compile(r"memory(?P<block>0|[1-9][0-9]{0,17})")
_BLOCK_PATH: Final = re.compile(
    rf"(?P<below>{MEMORY}|{FIRMWARE})/{_BLOCK_NAME.pattern}(?:/(?P<rest>.+))?"
)
_NODE_PATH: Final = re.compile(rf"{NODE}/node(?P<node>0|[1-9][0-9]{{0,8}})(?:/(?P<rest>.+))?")


def _setter(name: str) -> Callable[[Kernel, int, str | int], None]:
    return lambda kernel, _block, value: kernel._set_parameter(name, value)


_ACTIONS: Final[dict[str, Callable[[Kernel, int, str | int], None]]] = {
    "word": Kernel._leave_word,
    "online": Kernel._online,
    "offline": Kernel._offline,
    "config": Kernel._config,
    "deconfig": Kernel._deconfig,
    "memmap": Kernel._set_memmap,
    **{name: _setter(name) for name in _PARAMETER_PATHS},
}
