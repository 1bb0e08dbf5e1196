"""A machine at boot: its blocks, and the properties of its kernel and hypervisor.

A field whose metadata is a `_key` is a key of a description (description.py), with these values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from memsim.schema import Value, by_block, number, one_of, or_null, seconds, text, yes_no
from safe_files.errno_names import number_of

__all__ = [
    "ENDLESS",
    "GROUP_VALUES",
    "MACHINE_VALUES",
    "MAX_BLOCKS",
    "MIB",
    "ONLINE_POLICIES",
    "ONLINE_WORDS",
    "RELEASE",
    "TRANSITIONS",
    "ZONES",
    "Fault",
    "Group",
    "Machine",
    "by_transition",
    "fault",
    "since",
]

MIB: Final = 1 << 20

ZONES: Final = ("none", "DMA", "DMA32", "Normal", "HighMem", "Movable", "Device")
TRANSITIONS: Final = ("offline", "online", "config", "deconfig")
ONLINE_WORDS: Final = ("online", "online_kernel", "online_movable")
ONLINE_POLICIES: Final = ("contig-zones", "auto-movable")

MAX_BLOCKS: Final = 1 << 24
"""The maximum of block numbers from a machine's first to its last block, holes included."""


ENDLESS: Final = "signal"
"""In place of an errno: the transition goes on until a signal ends it, with EINTR.

So does an offline of Linux 7.2 where the first pages of the block hold slab objects: seen on x86_64
and arm64, not on ppc64le and riscv64, and not on 6.12 (EBUSY).
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A transition fails with `errno` (a name such as EBUSY, or ENDLESS), `times` times or (None)
    always."""

    errno: str
    times: int | None = None


def by_transition(read: Callable[[Any], Any]) -> Callable[[Any], dict[str, dict[int, Any]]]:
    """An object of transitions, each with an object whose keys are block numbers."""
    of_blocks = by_block(read)

    def by_name(value: Any) -> dict[str, dict[int, Any]]:
        if not set(dict(value)) <= set(TRANSITIONS):
            raise ValueError
        return {transition: of_blocks(blocks) for transition, blocks in value.items()}

    return by_name


def fault(value: str | Mapping[str, Any]) -> Fault:
    """The fault of an errno name or ENDLESS, or of a mapping with `errno` and `times`.

    Raises ValueError or TypeError.
    """
    name, times = (value, None) if isinstance(value, str) else (value["errno"], value.get("times"))
    if name != ENDLESS and number_of(text(name)) is None:
        raise ValueError
    return Fault(name, None if times is None else number(1)(times))


# Keys of a description


def _key(expected: str, read: Callable[[Any], Any], *, needed: bool = False) -> dict[str, Value]:
    return {"value": Value(expected, read, needed)}


def _values(of: type) -> dict[str, Value]:
    """The keys that are fields of a class."""
    return {one.name: one.metadata["value"] for one in fields(of) if one.metadata}


def _power_of_two(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if (size := number(least)(value)) & (size - 1):
            raise ValueError
        return size

    return read


def _zone_words(value: Any) -> tuple[str, ...]:
    words = tuple(text(value).split())
    if not words or not set(words) <= set(ZONES):
        raise ValueError
    return words


def _node_numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(sorted({range(1024).index(node) for node in value}))


RELEASE: Final = re.compile(r"(\d{1,3})\.(\d{1,3})(?!\d)[\w.+~-]{0,60}", re.ASCII)
"""A release of Linux: version and patchlevel, and more."""


def since(release: str | None, version: int, patchlevel: int) -> bool:
    """Whether a kernel's release is this Linux or a later one; if it is not known, it is."""
    found = RELEASE.fullmatch(release or "")
    return found is None or (int(found[1]), int(found[2])) >= (version, patchlevel)


def _release(value: Any) -> str:
    if not RELEASE.fullmatch(text(value)):
        raise ValueError
    return text(value)


_YES_NO: Final = _key("true or false", yes_no)
_ZONES: Final = _key(f"zones of {', '.join(ZONES[1:])}, separated by spaces", _zone_words)
_BY_TRANSITION: Final = f"with the transitions {', '.join(TRANSITIONS)}"


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks `first` to `last`, both inclusive, that are equal at boot."""

    first: int
    last: int
    config: bool = field(default=True, metadata=_YES_NO)
    online: bool = True
    zone: str = "Normal"
    off_zones: tuple[str, ...] = field(default=("Normal", "Movable"), metadata=_ZONES)
    node: int = field(default=0, metadata=_key("a node's number, 0 to 1023", range(1024).index))
    has_node: bool = field(default=True, metadata=_YES_NO)
    removable: bool = field(default=True, metadata=_YES_NO)
    memmap: bool = field(default=False, metadata=_YES_NO)
    straddles: tuple[str, ...] = field(default=(), metadata=_ZONES)
    """The zones that a block in zone `none` is in."""
    holes: bool = field(default=False, metadata=_YES_NO)
    """Whether the blocks have memory holes, so that they cannot be set offline (EINVAL)."""
    stays: bool = field(default=False, metadata=_YES_NO)
    """Whether the kernel refuses to set the blocks offline (EPERM), as on arm64 with memory of the
    boot since Linux 5.7 (arch/arm64/mm/mmu.c, prevent_bootmem_remove_notifier)."""
    more_nodes: tuple[int, ...] = ()
    """Further nodes that the blocks are in. Such blocks cannot be set offline (EINVAL)."""

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes that the blocks have links to, ascending."""
        return tuple(sorted((self.node, *self.more_nodes))) if self.has_node else ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine at boot; sizes in bytes, delays in seconds. Keys as in description.py."""

    block_size: int = field(
        metadata=_key("a power of two, 1048576 or more", _power_of_two(MIB), needed=True)
    )
    groups: tuple[Group, ...]
    firmware: bool = field(default=False, metadata=_YES_NO)
    memmap_param: str | None = field(
        default=None, metadata=_key('"Y", "N", "force" or null', one_of("Y", "N", "force", None))
    )
    memmap_supported: bool = field(default=False, metadata=_YES_NO)
    valid_zones: bool = field(default=True, metadata=_YES_NO)
    contiguous_zones: bool = field(default=False, metadata=_YES_NO)
    movable_node: bool = field(default=False, metadata=_YES_NO)
    release: str | None = field(
        default=None, metadata=_key("a text such as 4.18.0, or null", or_null(_release))
    )
    auto_online_blocks: str | None = field(
        default="offline",
        metadata=_key(
            "offline, online, online_kernel, online_movable or null",
            one_of("offline", *ONLINE_WORDS, None),
        ),
    )
    online_policy: str | None = field(
        default=None,
        metadata=_key("contig-zones, auto-movable or null", one_of(*ONLINE_POLICIES, None)),
    )
    auto_movable_ratio: int = field(
        default=301, metadata=_key("a percentage, 0 or more", number(0, 1 << 32))
    )
    auto_movable_numa_aware: bool = field(default=True, metadata=_YES_NO)
    assigned_by: Literal["config", "online"] | None = field(
        default=None, metadata=_key('"config", "online" or null', one_of("config", "online", None))
    )
    hypervisor: int | None = field(
        default=None, metadata=_key("a number of bytes, or null", or_null(number(0)))
    )
    used: int = field(default=0, metadata=_key("a number of bytes", number(0)))
    large_pages: bool = field(default=True, metadata=_YES_NO)
    increment: int | None = field(
        default=None, metadata=_key("a number of bytes, 1 or more, or null", or_null(number(1)))
    )
    has_cpu: tuple[int, ...] | None = field(
        default=None,
        metadata=_key("a list of nodes' numbers, 0 to 1023, or null", or_null(_node_numbers)),
    )
    """The nodes that have processors; None: those that have memory at boot."""
    probe: bool = field(default=False, metadata=_YES_NO)
    """Whether memory can be added by an address written to `probe` (CONFIG_ARCH_MEMORY_PROBE)."""
    page_size: int = field(
        default=4096, metadata=_key("a power of two, 4096 or more", _power_of_two(4096))
    )
    """The maximum of bytes in one write to an attribute; struct pages are of so many bytes each."""
    page_offline: bool = field(default=False, metadata=_YES_NO)
    """Whether there are soft_offline_page and hard_offline_page (CONFIG_MEMORY_FAILURE)."""
    crash_hotplug: int | None = field(
        default=None, metadata=_key("0, 1 or null", or_null(range(2).index))
    )
    """Whether the kernel itself tells a crash kernel of memory that comes and goes; None: there is
    no such file. It is there since Linux 6.6 on x86, since 6.11 on ppc64."""
    dlpar: bool = field(default=False, metadata=_YES_NO)
    """Whether memory that is plugged in comes online whatever auto_online_blocks says, and is set
    offline by the kernel when it goes, as on POWER (dlpar_add_lmb and dlpar_remove_lmb in
    arch/powerpc/platforms/pseries/hotplug-memory.c)."""
    memmap_stays: bool = field(default=False, metadata=_YES_NO)
    """Whether a block with struct pages in itself cannot be set offline (EPERM), as on arm64 since
    Linux 7.1 (arch/arm64/mm/mmu.c, can_unmap_without_split; commit 95a58852b0e5)."""
    faults: Mapping[str, Mapping[int, Fault]] = field(
        default_factory=dict,
        metadata=_key(
            '{transition: {block: "EBUSY" or {"errno": "EBUSY", "times": 1 or more}}} '
            + _BY_TRANSITION,
            by_transition(fault),
        ),
    )
    delays: Mapping[str, Mapping[int, float]] = field(
        default_factory=dict,
        metadata=_key(
            f"{{transition: {{block: seconds}}}} {_BY_TRANSITION}", by_transition(seconds)
        ),
    )

    @property
    def nodes_at_boot(self) -> set[int]:
        """The nodes that have memory blocks at boot."""
        return {node for group in self.groups if group.config for node in group.nodes}

    def since(self, version: int, patchlevel: int) -> bool:
        """Whether the kernel is this Linux or a later one. A kernel without a release is."""
        return since(self.release, version, patchlevel)

    @property
    def judges_removable(self) -> bool:
        """Whether `removable` says of a block what its pages allow, as before Linux 5.8
        (drivers/base/memory.c, show_mem_removable; is_mem_section_removable)."""
        return not self.since(5, 8)


MACHINE_VALUES: Final = _values(Machine)
"""The keys of a description that are fields of Machine, and their values."""

GROUP_VALUES: Final = _values(Group)
"""The same of a group of blocks."""
