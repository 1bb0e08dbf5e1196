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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.attribute import Attribute
    from memory_hotplug.block import NOT_READ, NUMA_NO_NODE, MemoryBlock, State, Zone
    from memory_hotplug.causes import Cause
    from memory_hotplug.change.batch import bring_back, carry_out
    from memory_hotplug.change.guard import Guard
    from memory_hotplug.change.journal import Left
    from memory_hotplug.change.lock import Held, Holder
    from memory_hotplug.change.outcome import Outcome, Result, Write
    from memory_hotplug.change.plan import Action, Change, Order, Plan
    from memory_hotplug.change.steps import Step
    from memory_hotplug.change.transaction import Patience, Terms, Watch
    from memory_hotplug.condition import Condition
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
    from memory_hotplug.machine import Machine
    from memory_hotplug.seen.uevents import Uevent, Uevents
    from memory_hotplug.size import human, parse_size
    from memory_hotplug.table import BlockTable, MemoryRange, Remark, RemarkKind

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
    "Change",
    "Condition",
    "Guard",
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
    "Terms",
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
    "change.batch": ("bring_back", "carry_out"),
    "causes": ("Cause",),
    "condition": ("Condition",),
    "change.guard": ("Guard",),
    "change.lock": ("Held", "Holder"),
    "change.journal": ("Left",),
    "machine": ("Machine",),
    "change.plan": ("Action", "Change", "Order", "Plan"),
    "table": ("BlockTable", "MemoryRange", "Remark", "RemarkKind"),
    "size": ("human", "parse_size"),
    "change.outcome": ("Outcome", "Result", "Write"),
    "change.steps": ("Step",),
    "change.transaction": ("Patience", "Terms", "Watch"),
    "seen.uevents": ("Uevent", "Uevents"),
}
"""Module -> the names that it has; all other names are those of errors. A name is imported when it
is used, because lsmem must start fast."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "errors")
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
