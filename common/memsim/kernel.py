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
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from memsim.machine import (
    ABSENT,
    EARLY,
    FIRMWARE,
    FLAGS,
    HOLE,
    IN_ZONE,
    MEMMAP,
    MEMORY,
    MOVABLE,
    NODE,
    NONE,
    NORMAL,
    OFFLINE,
    ONLINE_WORDS,
    PAGE_SIZE,
    PLACES,
    STRUCT_PAGE_SHARE,
    TRANSITIONS,
    ZONES,
    Fault,
    Group,
    Live,
    Machine,
    Rules,
)
from memsim.sysfs import (
    FIRMWARE_ATTRIBUTES,
    FIXED,
    NODE_LISTS,
    PARAMETER_PATHS,
    Attribute,
    Entry,
    Kind,
    Step,
    error,
    find,
)

__all__ = ["IN_ZONE", "MEMMAP", "ZONES", "Changes", "Fault", "Group", "Kernel", "Machine"]


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
        if place.translate(None, PLACES) or flags.translate(None, FLAGS):
            raise ValueError("expected bytes that a kernel can have written")
        kernel.place, kernel.flags, kernel.live = bytearray(place), bytearray(flags), live
        return kernel

    def _prepare(self, machine: Machine) -> None:
        self.machine: Machine = machine
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

    def room_for_struct_pages(self) -> int:
        """Bytes that struct pages of further blocks can take outside of them.

        The kernel allocates these with GFP_KERNEL (mm/sparse-vmemmap.c, vmemmap_alloc_block), so
        never from zone Movable. What is in use is taken to be in the other zones; struct pages
        inside of blocks there, 1/64 of them, are not taken into account.
        """
        size = self.machine.block_size
        blocks = sum(count for (_, zone), count in self.live.online.items() if zone != MOVABLE)
        pages = self.live.outside_memmap * size // STRUCT_PAGE_SHARE
        return min(self.free_memory(), blocks * size - pages - self.machine.used)

    # The tree.

    def kind(self, path: str) -> Kind | None:
        """What is at a path, or None. Does not follow a link at its end."""
        entry = find(self, path)
        return entry.kind if entry else None

    def is_dir(self, path: str) -> bool:
        """Whether a path is a directory, or a link (all of them lead to directories)."""
        return self.kind(path) in ("dir", "link")

    def listdir(self, path: str) -> list[str]:
        entry = self._entry(path)
        if entry.kind == "link":
            return self.listdir(self._follow(path, entry.target))
        if entry.names is None:
            raise error(errno.ENOTDIR, path)
        return entry.names()

    def readlink(self, path: str) -> str:
        entry = self._entry(path)
        if entry.kind != "link":
            raise error(errno.EINVAL, path)
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
        except OSError as failure:
            raise error(failure.errno or errno.EIO, path) from None

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
        self._touch(*(path for path in FIXED if self.kind(path)))

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
        entry = find(self, path)
        if entry is None:
            raise error(errno.ENOENT, path)
        return entry

    def _file(self, path: str) -> tuple[Attribute, int]:
        entry = self._entry(path)
        if entry.attribute is None:
            raise error(errno.EISDIR, path)
        return entry.attribute, entry.block

    @staticmethod
    def _follow(path: str, target: str) -> str:
        return os.path.normpath(f"{os.path.dirname(path.strip('/'))}/{target}")

    # What a write asks for.

    def _plan(self, path: str, data: bytes) -> Step | None:
        attribute, block = self._file(path)
        if attribute.plan is None:
            raise error(errno.EACCES, path)
        # An empty write never reaches the attribute; the attribute sees a C string.
        text = data[:PAGE_SIZE].split(b"\0")[0].decode("latin-1")
        if not data:
            return None
        try:
            return attribute.plan(self, block, text)
        except OSError as failure:
            raise error(failure.errno or errno.EIO, path) from None

    # What is done.

    def _leave_word(self, block: int, word: str | int) -> None:
        """Raises EINVAL: the block is online already. But how it was to come online is kept.

        drivers/base/memory.c: state_store notes the word as the block's online_type before it
        finds the device online; only memory_subsys_online, which is then not called, clears it. So
        the next `online` 1 after an offline takes this word (seen on 6.1).
        """
        self.live.words[block] = str(word)
        self._live_changed = True
        raise error(errno.EINVAL)

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
            raise error(errno.EINVAL)
        self._fail("offline", block)
        usable = self.machine.block_size
        if self.flags[index] & MEMMAP:
            usable -= usable // STRUCT_PAGE_SHARE
        # Linux would look for a place for the block's pages until a signal comes.
        if self.machine.used and self.free_memory() < usable:
            raise error(errno.EBUSY)
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
            if not memmap and self.room_for_struct_pages() < pages:
                raise error(errno.ENOMEM)
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
        self._touch(PARAMETER_PATHS[name])

    # Parts of it.

    def _take_storage(self) -> None:
        if self.live.pool < self.machine.block_size:
            raise error(errno.EIO)
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
        raise error(getattr(errno, fault.errno))

    def _zone_for(self, block: int, online_as: str) -> int:
        if online_as == "online_movable":
            return MOVABLE
        if self.machine.contiguous_zones:
            rules = self.rules(self.group(block).node)
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

    def rules(self, node: int) -> Rules:
        """What decides on the zones of a node's offline blocks."""
        spans = tuple((zone, span) for (of, zone), span in self.live.spans.items() if of == node)
        auto = self._may_be_movable(node) if self.live.online_policy == "auto-movable" else None
        return Rules(spans, auto, self.machine.movable_node)

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

    def _all_rules(self) -> dict[int, Rules]:
        if not self.machine.contiguous_zones or not self.machine.valid_zones:
            return {}
        return {node: self.rules(node) for node in {g.node for g in self.machine.groups}}

    def _node_lists(self) -> dict[str, str]:
        return {path: FIXED[path].show(self, -1) or "" for path in NODE_LISTS}

    def _touch_valid_zones(self, node: int, before: Rules, after: Rules) -> None:
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
            self._touch(*(f"{FIRMWARE}/memory{block}/{name}" for name in FIRMWARE_ATTRIBUTES))

    def _emit(self, action: str, block: int) -> None:
        for listener in self.listeners:
            listener(action, f"/devices/system/memory/memory{block}")


def _setter(name: str) -> Callable[[Kernel, int, str | int], None]:
    return lambda kernel, _block, value: kernel._set_parameter(name, value)


_ACTIONS: Final[dict[str, Callable[[Kernel, int, str | int], None]]] = {
    "word": Kernel._leave_word,
    "online": Kernel._online,
    "offline": Kernel._offline,
    "config": Kernel._config,
    "deconfig": Kernel._deconfig,
    "memmap": Kernel._set_memmap,
    **{name: _setter(name) for name in PARAMETER_PATHS},
}
