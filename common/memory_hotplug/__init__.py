"""Read and change the memory blocks of a Linux machine, real or simulated.

>>> from memory_hotplug import Machine
>>> with Machine.at("/") as machine:
...     for found in machine.ranges():
...         print(f"{found.start:#x}-{found.end:#x}", found.block.status)

`Machine` reads a machine: `read` returns a `BlockTable` with its `Remark`s, `blocks` returns
`MemoryBlock`s, and `ranges` returns `MemoryRange`s. `Machine.change` carries out an `Order` on
memory, `Machine.apply` a `Layout`, and both yield an `Outcome` for each block, while the machine is
held and its memory in use is looked at. memory_hotplug(7) has more.

Addresses and sizes are in bytes. All errors are `MemoryHotplugError`s.

`help` writes out only the names that a program begins with, which `dir` has: Action, Layout,
Machine, Order, human and parse_size. Ask it for any other, as in `help(memory_hotplug.Outcome)`:

Blocks          MemoryBlock State Zone MemoryRange BlockTable Remark RemarkKind Attribute NOT_READ
                NUMA_NO_NODE
Changes         Condition What How Work Outcome Result Write Cause
Forecasts       Forecast Remains Emptied Usage NodeUsage
Holding         Held Holder Mended Left Watch
Layouts         Entry Where Missing Policy Differences Absence Setting
Devices, pages  Device Finding
Added memory    AddedPolicy AddedMemory OnlineRule KernelDefault
Block by block  carry_out bring_back Terms Patience Guard Change Plan Step Target
Uevents         Uevents Uevent
Errors          NoMemoryTreeError NoRootError BrokenTreeError NoBlockSizeError BadBlockSizeError
                NoBlocksError NoSuchBlockError NotReadError UnknownNameError BadMachineError
                BadOrderError RefusedError InUseError TooFewError NoUndoError LayoutError HeldError
                CannotWriteError BlockError StuckError StoppedError BadSizeError SizeSyntaxError
                SizeTooLargeError
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.attribute import Attribute
    from memory_hotplug.block import NOT_READ, NUMA_NO_NODE, MemoryBlock, State, Zone
    from memory_hotplug.causes import Cause
    from memory_hotplug.change.absence import Absence
    from memory_hotplug.change.batch import bring_back, carry_out
    from memory_hotplug.change.guard import Guard
    from memory_hotplug.change.journal import Left
    from memory_hotplug.change.lock import Held, Holder, Mended
    from memory_hotplug.change.outcome import Outcome, Result, Write
    from memory_hotplug.change.plan import Action, Change, Order, Plan
    from memory_hotplug.change.removal import Emptied
    from memory_hotplug.change.steps import Step, Target
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
        InUseError,
        LayoutError,
        MemoryHotplugError,
        NoBlocksError,
        NoBlockSizeError,
        NoMemoryTreeError,
        NoRootError,
        NoSuchBlockError,
        NotReadError,
        NoUndoError,
        RefusedError,
        SizeSyntaxError,
        SizeTooLargeError,
        StoppedError,
        StuckError,
        TooFewError,
        UnknownNameError,
    )
    from memory_hotplug.face import Device, Machine
    from memory_hotplug.layout.added_policy import AddedPolicy
    from memory_hotplug.layout.kernel_default import KernelDefault
    from memory_hotplug.layout.model import Entry, Missing, Policy, Where
    from memory_hotplug.layout.settings import Setting
    from memory_hotplug.layout_face import Differences, Layout
    from memory_hotplug.request.how import How, What
    from memory_hotplug.request.outlook import Forecast, Remains
    from memory_hotplug.request.work import Work
    from memory_hotplug.seen.findings import Finding
    from memory_hotplug.seen.in_use import NodeUsage, Usage
    from memory_hotplug.seen.uevents import Uevent, Uevents
    from memory_hotplug.size import human, parse_size
    from memory_hotplug.table import BlockTable, MemoryRange, Remark, RemarkKind
    from memory_hotplug.udev.added import AddedMemory, OnlineRule

__all__ = [
    "NOT_READ",
    "NUMA_NO_NODE",
    "Absence",
    "Action",
    "AddedMemory",
    "AddedPolicy",
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
    "Device",
    "Differences",
    "Emptied",
    "Entry",
    "Finding",
    "Forecast",
    "Guard",
    "Held",
    "HeldError",
    "Holder",
    "How",
    "InUseError",
    "KernelDefault",
    "Layout",
    "LayoutError",
    "Left",
    "Machine",
    "MemoryBlock",
    "MemoryHotplugError",
    "MemoryRange",
    "Mended",
    "Missing",
    "NoBlockSizeError",
    "NoBlocksError",
    "NoMemoryTreeError",
    "NoRootError",
    "NoSuchBlockError",
    "NoUndoError",
    "NodeUsage",
    "NotReadError",
    "OnlineRule",
    "Order",
    "Outcome",
    "Patience",
    "Plan",
    "Policy",
    "RefusedError",
    "Remains",
    "Remark",
    "RemarkKind",
    "Result",
    "Setting",
    "SizeSyntaxError",
    "SizeTooLargeError",
    "State",
    "Step",
    "StoppedError",
    "StuckError",
    "Target",
    "Terms",
    "TooFewError",
    "Uevent",
    "Uevents",
    "UnknownNameError",
    "Usage",
    "Watch",
    "What",
    "Where",
    "Work",
    "Write",
    "Zone",
    "bring_back",
    "carry_out",
    "human",
    "parse_size",
]

_HOMES = {
    "face": ("Device", "Machine"),
    "layout_face": ("Differences", "Layout"),
    "layout.model": ("Entry", "Missing", "Policy", "Where"),
    "layout.settings": ("Setting",),
    "layout.added_policy": ("AddedPolicy",),
    "layout.kernel_default": ("KernelDefault",),
    "udev.added": ("AddedMemory", "OnlineRule"),
    "change.absence": ("Absence",),
    "change.removal": ("Emptied",),
    "change.lock": ("Held", "Holder", "Mended"),
    "request.how": ("How", "What"),
    "request.outlook": ("Forecast", "Remains"),
    "request.work": ("Work",),
    "seen.findings": ("Finding",),
    "seen.in_use": ("NodeUsage", "Usage"),
    "attribute": ("Attribute",),
    "block": ("NOT_READ", "NUMA_NO_NODE", "MemoryBlock", "State", "Zone"),
    "change.batch": ("bring_back", "carry_out"),
    "causes": ("Cause",),
    "condition": ("Condition",),
    "change.guard": ("Guard",),
    "change.journal": ("Left",),
    "change.plan": ("Action", "Change", "Order", "Plan"),
    "table": ("BlockTable", "MemoryRange", "Remark", "RemarkKind"),
    "size": ("human", "parse_size"),
    "change.outcome": ("Outcome", "Result", "Write"),
    "change.steps": ("Step", "Target"),
    "change.transaction": ("Patience", "Terms", "Watch"),
    "seen.uevents": ("Uevent", "Uevents"),
}
"""Module -> the names that it has; all other names are those of errors. A name is imported when it
is used, because lsmem must start fast."""


if TYPE_CHECKING:
    __version__: str
    """The version of memory-hotplug-tools."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), "errors")
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def _version() -> str:
    import importlib.metadata as installed

    try:
        return installed.version("memory-hotplug-tools")
    except installed.PackageNotFoundError:
        return "(not installed)"


def __dir__() -> list[str]:
    """What a program begins with. help() writes out each name of dir() with all that it inherits:
    all names are four thousand lines."""
    return ["Action", "Machine", "Order", "human", "parse_size"]
