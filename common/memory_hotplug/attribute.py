"""One table, with a row for each sysfs attribute that is read or written.

Only this module has the paths of attributes of memory blocks and of memory hotplug. They are
relative to the root of a tree, without a leading slash. Versions are of the first Linux release
that has the attribute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import StrEnum

from memory_hotplug.block import State, Zone
from memory_hotplug.checks import check_type, refuse
from memory_hotplug.errors import UnknownNameError
from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ACPI",
    "AUTO_ONLINE_BLOCKS",
    "BLOCK_SIZE",
    "DLPAR",
    "FIRMWARE",
    "MEMORY",
    "NODE",
    "PARAMETERS",
    "TABLE",
    "TIERS",
    "Attribute",
    "SysfsAttribute",
    "attributes_named",
    "block_numbers",
    "directory_of",
    "node_number",
    "node_numbers",
    "nodes_to_try",
    "parameter_path",
    "path_of",
]

MEMORY = "sys/devices/system/memory"
NODE = "sys/devices/system/node"
FIRMWARE = "sys/firmware/memory"
ACPI = "sys/bus/acpi/devices"
TIERS = "sys/devices/virtual/memory_tiering"
DLPAR = "sys/kernel/dlpar"
"""Through this file drmgr adds memory to an LPAR on POWER, and removes it
(arch/powerpc/platforms/pseries/dlpar.c)."""
RELEASE = "proc/sys/kernel/osrelease"
PARAMETERS = "sys/module/memory_hotplug/parameters"


_TRIED = 4
"""So many names of nodes can be looked up in a block's directory before listing it is faster."""


class Attribute(StrEnum):
    """The attributes of a memory block, in the order of MemoryBlock's fields. Each member is equal
    to the name of that field, as a string."""

    STATE = "state"
    REMOVABLE = "removable"
    NODE = "node"
    NODES = "nodes"
    ZONES = "zones"
    CONFIGURED = "configured"
    MEMMAP_ON_MEMORY = "memmap_on_memory"
    PHYS_DEVICE = "phys_device"


BLOCK_SIZE = "block_size_bytes"
AUTO_ONLINE_BLOCKS = "auto_online_blocks"


class SysfsAttribute(NamedTuple):
    """A row: where an attribute is, how it is parsed, and what may be written to it.

    A named tuple because every start of lsmem makes the class, and a dataclass takes longer to
    make.
    """

    directory: str
    file: str
    """The name of the file: in DIRECTORY, or in memoryN there for an attribute of a block. The node
    is not a file, but a link with the name nodeM; a block in several nodes has several, whose
    names, with a slash between two, are its text."""
    since: str
    """The first release that has the attribute."""
    source: str
    """Where in the kernel's source it is shown and stored."""
    parse: Callable[[bytes], Any]
    of_block: bool = True
    unreadable: Any = None
    """The value if the file is missing or cannot be read."""
    absent: Any = None
    """The value for a block without memoryN in DIRECTORY: a block that is not configured."""
    words: tuple[str, ...] = ()
    """The words that may be written; empty if the attribute is read-only."""
    turn: int = 0
    """The position of its write, from 1, in the order in which a deconfigured block is brought
    online; the way back has the reverse order. memmap_on_memory comes first, because it takes
    effect when the block is configured."""


_STATES = {state.value.encode(): state for state in State if state is not State.UNKNOWN}
# The kernel shows neither. In a tree of plain files they stand where chmem has written them.
_STATES |= dict.fromkeys((b"online_kernel", b"online_movable"), State.ONLINE)


def _state(text: bytes) -> State:
    return _STATES.get(text.removesuffix(b"\n"), State.UNKNOWN)


def _zones(text: bytes) -> tuple[Zone, ...]:
    return tuple(Zone.named(word) for word in text.decode("ascii", "replace").split())


def _flag(text: bytes) -> bool | None:
    return {b"1": True, b"0": False}.get(text.strip())


def _one(text: bytes) -> bool:
    return text.strip() == b"1"


def _number(text: bytes) -> int | None:
    digits = text.rstrip()
    return int(digits) if digits.isdigit() else None


def _hexadecimal(text: bytes) -> int | None:
    digits = text.rstrip().lower().removeprefix(b"0x")
    return int(digits, 16) if digits and not digits.strip(b"0123456789abcdef") else None


def _word(text: bytes) -> str:
    return text.removesuffix(b"\n").decode("utf-8", "surrogateescape")


def _linked_nodes(names: bytes) -> tuple[int, ...]:
    """The nodes, ascending, to which the links in a block's directory lead; NAMES are those of the
    links, with a slash between two."""
    return tuple(node_numbers(os.fsdecode(names).split("/")))


_CORE, _HOTPLUG = "drivers/base/memory.c", "mm/memory_hotplug.c"
_SCLP = "drivers/s390/char/sclp_mem.c"
_YES_NO = ("1", "0")

_NODE = SysfsAttribute(
    MEMORY,
    "node",
    "2.6.33; nodeM/memoryN: 2.6.29",
    "drivers/base/node.c, do_register_memory_block_under_node",
    _linked_nodes,
    unreadable=(),
)

TABLE: dict[str, SysfsAttribute] = {
    Attribute.STATE: SysfsAttribute(
        MEMORY,
        "state",
        "2.6.15; the words for a zone: 3.8",
        f"{_CORE}, state_show, state_store",
        _state,
        unreadable=State.UNKNOWN,
        absent=State.OFFLINE,
        words=("online", "online_kernel", "online_movable", "offline"),
        turn=3,
    ),
    "online": SysfsAttribute(
        MEMORY,
        "online",
        "3.11",
        "drivers/base/core.c, online_show, online_store",
        _flag,
        words=_YES_NO,
        turn=3,
    ),
    Attribute.REMOVABLE: SysfsAttribute(
        MEMORY, "removable", "2.6.27", f"{_CORE}, removable_show", _flag, absent=False
    ),
    Attribute.NODE: _NODE,
    Attribute.NODES: _NODE,
    Attribute.ZONES: SysfsAttribute(
        MEMORY, "valid_zones", "3.18", f"{_CORE}, valid_zones_show", _zones
    ),
    Attribute.PHYS_DEVICE: SysfsAttribute(
        MEMORY, "phys_device", "2.6.15", f"{_CORE}, phys_device_show", _number
    ),
    "phys_index": SysfsAttribute(
        MEMORY, "phys_index", "2.6.15", f"{_CORE}, phys_index_show", _hexadecimal
    ),
    Attribute.CONFIGURED: SysfsAttribute(
        FIRMWARE,
        "config",
        "6.19",
        f"{_SCLP}, sclp_config_mem_show, sclp_config_mem_store",
        _one,
        words=_YES_NO,
        turn=2,
    ),
    Attribute.MEMMAP_ON_MEMORY: SysfsAttribute(
        FIRMWARE,
        "memmap_on_memory",
        "6.19",
        f"{_SCLP}, sclp_memmap_on_memory_show, sclp_memmap_on_memory_store",
        _one,
        words=_YES_NO,
        turn=1,
    ),
    BLOCK_SIZE: SysfsAttribute(
        MEMORY,
        BLOCK_SIZE,
        "2.6.15",
        f"{_CORE}, block_size_bytes_show",
        _hexadecimal,
        of_block=False,
    ),
    AUTO_ONLINE_BLOCKS: SysfsAttribute(
        MEMORY,
        AUTO_ONLINE_BLOCKS,
        "4.6; the words for a zone: 5.7",
        f"{_CORE}, auto_online_blocks_show, auto_online_blocks_store",
        _word,
        of_block=False,
        words=("offline", "online", "online_kernel", "online_movable"),
    ),
    "parameters/memmap_on_memory": SysfsAttribute(
        PARAMETERS,
        "memmap_on_memory",
        "5.13; force: 6.6",
        f"{_HOTPLUG}, get_memmap_mode",
        _word,
        of_block=False,
    ),
    "parameters/online_policy": SysfsAttribute(
        PARAMETERS,
        "online_policy",
        "5.15",
        f"{_HOTPLUG}, set_online_policy",
        _word,
        of_block=False,
        words=("contig-zones", "auto-movable"),
    ),
    "parameters/auto_movable_ratio": SysfsAttribute(
        PARAMETERS, "auto_movable_ratio", "5.15", _HOTPLUG, _word, of_block=False
    ),
    "parameters/auto_movable_numa_aware": SysfsAttribute(
        PARAMETERS,
        "auto_movable_numa_aware",
        "5.15",
        _HOTPLUG,
        _word,
        of_block=False,
        words=("Y", "N"),
    ),
}
"""Name -> row. The name of an attribute of a block is that of its Attribute. auto_movable_ratio
takes a number."""


def directory_of(attribute: str, number: int) -> str:
    """The path of the memoryN of block NUMBER that has this attribute."""
    return f"{TABLE[attribute].directory}/memory{number}"


def path_of(attribute: str, number: int | None = None) -> str:
    """The path of an attribute of block NUMBER or, without a number, of the machine.

    ATTRIBUTE is a name of TABLE, such as an Attribute. Raises UnknownNameError for other names, and
    if NUMBER is missing, or given for an attribute of the machine.
    """
    row = TABLE.get(attribute)
    if row is None or row.of_block is (number is None):
        kind = "attribute of a machine" if number is None else "attribute of a memory block"
        known = [name for name, row in TABLE.items() if row.of_block is not (number is None)]
        raise UnknownNameError(kind, attribute, known)
    if number is None:
        return f"{row.directory}/{row.file}"
    return f"{row.directory}/memory{number}/{row.file}"


def parameter_path(name: str) -> str:
    """The path of a parameter of the memory_hotplug module. Raises UnknownNameError."""
    return path_of(f"parameters/{name}")


def attributes_named(names: Iterable[str]) -> tuple[Attribute, ...]:
    """The attributes of a block with these names. Raises UnknownNameError, and TypeError for what
    are no names."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise refuse("attributes", "several names", names)
    found = []
    for name in names:
        try:
            found.append(Attribute(name))
        except ValueError:
            check_type("each of attributes", name, str)
            raise UnknownNameError("attribute", name, list(Attribute)) from None
    return tuple(found)


def block_numbers(names: Iterable[str]) -> set[int]:
    """The N of all names ``memoryN``. Names that the kernel does not give to blocks are left
    out."""
    # Without a call for each: a machine can have a quarter of a million.
    return {
        int(number)
        for name in names
        if name[:6] == "memory"
        and (number := name[6:]).isdecimal()
        and number.isascii()
        and (number[0] != "0" or number == "0")
    }


def node_number(name: str) -> int | None:
    """The M of a directory or link ``nodeM``; None for names that the kernel gives no node."""
    number = name.removeprefix("node")
    counts = number != name and number.isdecimal() and number.isascii() and len(number) <= 9
    return int(number) if counts and (number[0] != "0" or number == "0") else None


def node_numbers(names: Iterable[str]) -> list[int]:
    """The numbers of the nodes among NAMES, ascending."""
    return sorted(number for name in names if (number := node_number(name)) is not None)


def nodes_to_try(sample: Iterable[bytes]) -> tuple[str, ...]:
    """The names of the links to node 0, 1, and so on, of which each block of a sample has one. The
    first of them that a block has leads to its lowest node. None if listing would be faster."""
    count = max((nodes[0] + 1 for nodes in map(_linked_nodes, sample) if nodes), default=0)
    return tuple(f"node{node}" for node in range(count)) if count <= _TRIED else ()
