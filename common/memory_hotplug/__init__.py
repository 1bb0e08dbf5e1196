"""Read and change the memory blocks of a Linux machine, real or simulated.

>>> from memory_hotplug import Machine
>>> with Machine.at("/") as machine:
...     for found in machine.ranges():
...         print(f"{found.start:#x}-{found.end:#x}", found.block.status)

`Machine` reads a machine: `read` returns a `BlockTable` with its `Remark`s, `blocks` returns
`MemoryBlock`s, and `ranges` returns `MemoryRange`s. `carry_out` carries out an `Order` on blocks,
in a transaction for each block, and yields an `Outcome` for each. memory_hotplug(7) has more.

Addresses and sizes are in bytes. All errors are `MemoryHotplugError`s.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memory_hotplug.attribute import Attribute
    from memory_hotplug.block import NOT_READ, NUMA_NO_NODE, MemoryBlock, State, Zone
    from memory_hotplug.causes import Cause
    from memory_hotplug.errors import (
        BadBlockSizeError,
        BadMachineError,
        BadOrderError,
        BadSizeError,
        BlockError,
        BrokenTreeError,
        CannotWriteError,
        HeldError,
        LayoutError,
        MemoryHotplugError,
        NoBlocksError,
        NoBlockSizeError,
        NoMemoryTreeError,
        NoRootError,
        NoSuchBlockError,
        NotReadError,
        SizeSyntaxError,
        SizeTooLargeError,
        StoppedError,
        StuckError,
        UnknownNameError,
    )
    from memory_hotplug.hold import Held, Holder, Left
    from memory_hotplug.machine import Machine
    from memory_hotplug.outcome import Outcome, Result, Write
    from memory_hotplug.plan import Action, Condition, Order, Plan, Step
    from memory_hotplug.ranges import BlockTable, MemoryRange, Remark, RemarkKind
    from memory_hotplug.size import human, parse_size
    from memory_hotplug.transaction import Patience, Watch, bring_back, carry_out
    from memory_hotplug.uevents import Uevent, Uevents

__all__ = [
    "NOT_READ",
    "NUMA_NO_NODE",
    "Action",
    "Attribute",
    "BadBlockSizeError",
    "BadMachineError",
    "BadOrderError",
    "BadSizeError",
    "BlockError",
    "BlockTable",
    "BrokenTreeError",
    "CannotWriteError",
    "Cause",
    "Condition",
    "Held",
    "HeldError",
    "Holder",
    "LayoutError",
    "Left",
    "Machine",
    "MemoryBlock",
    "MemoryHotplugError",
    "MemoryRange",
    "NoBlockSizeError",
    "NoBlocksError",
    "NoMemoryTreeError",
    "NoRootError",
    "NoSuchBlockError",
    "NotReadError",
    "Order",
    "Outcome",
    "Patience",
    "Plan",
    "Remark",
    "RemarkKind",
    "Result",
    "SizeSyntaxError",
    "SizeTooLargeError",
    "State",
    "Step",
    "StoppedError",
    "StuckError",
    "Uevent",
    "Uevents",
    "UnknownNameError",
    "Watch",
    "Write",
    "Zone",
    "bring_back",
    "carry_out",
    "human",
    "parse_size",
]

_HOMES = {
    "attribute": ("Attribute",),
    "block": ("NOT_READ", "NUMA_NO_NODE", "MemoryBlock", "State", "Zone"),
    "causes": ("Cause",),
    "hold": ("Held", "Holder", "Left"),
    "machine": ("Machine",),
    "plan": ("Action", "Condition", "Order", "Plan", "Step"),
    "ranges": ("BlockTable", "MemoryRange", "Remark", "RemarkKind"),
    "size": ("human", "parse_size"),
    "outcome": ("Outcome", "Result", "Write"),
    "transaction": ("Patience", "Watch", "bring_back", "carry_out"),
    "uevents": ("Uevent", "Uevents"),
}
"""Module -> the names that it has; all other names are those of errors. A name is imported when it
is used, because lsmem must start fast."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "errors")
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
