"""`lsmem --explain`: why the total of all blocks is not MemTotal, and not what was paid for."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from hotplug_cli.documents import BYTES, FLAG, TEXT, Key, Row, array_of, filled, nullable, object_of
from hotplug_cli.progress import Progress
from lsmem_py.options import Options, on_terminal
from lsmem_py.reports import Pieces, Report, document, schema_of
from lsmem_py.sources import Sources
from memory_hotplug.block import State
from memory_hotplug.errors import printable
from memory_hotplug.machine import Machine
from memory_hotplug.runs import Run, runs_of
from memory_hotplug.seen.beyond import parameters_that_take
from memory_hotplug.seen.failed_adds import NotAdded, not_added_on
from memory_hotplug.seen.in_use import Usage, usage
from memory_hotplug.seen.iomem import Region
from memory_hotplug.seen.unplugged import Keepers, Kept, keepers_of, kept_from
from memory_hotplug.table import MEMMAP_FRACTION

__all__ = ["REPORT"]

_MEMORY = re.compile(r"System RAM( \(.+\))?")
_IMAGE = re.compile(r"Kernel (code|rodata|data|bss)")
_CRASH = re.compile(r"Crash kernel")


class Account(NamedTuple):
    """What the figures are made of, in bytes."""

    blocks: int
    online: int
    memory: int
    """System RAM in online blocks."""
    image: int
    """The kernel, in online blocks."""
    crash: int
    """What is kept for a crash kernel."""
    regions: Sequence[Region]
    """The map of the address space; empty if nobody may know."""
    usage: Usage | None
    keepers: Keepers
    kept: Sequence[Kept] | None
    """What drivers keep in online blocks; None if it is not known."""
    not_configured: int | None
    """None on a machine whose memory is never configured."""
    beyond: int
    """Memory beyond the last block."""
    parameters: Sequence[str]
    """The kernel's parameters that take memory from it."""
    not_added: Sequence[NotAdded]


class Figure(NamedTuple):
    """A line of the account."""

    key: str
    label: str
    """A part of the total above it is indented."""
    size: Callable[[Any], int | None]
    """The bytes, of an Account that has all of NEEDS; None if there is nothing to tell."""
    remark: str = ""
    needs: tuple[str, ...] = ()

    def value(self, account: Account) -> int | None:
        return self.size(account) if all(getattr(account, name) for name in self.needs) else None

    @property
    def optional(self) -> bool:
        return bool(self.needs)

    @property
    def schema(self) -> dict[str, Any]:
        words = {"others": _BY_OTHERS, "by": _BY_PARAMETERS, "kept": _KEPT}
        remark = f" ({self.remark.format(**words)})" if self.remark else ""
        return {**BYTES, "description": f"bytes: {self.label.lstrip()}{remark}"}


_MAP, _USAGE = ("regions",), ("usage",)
_BOTH = _MAP + _USAGE
_BY_OTHERS = ", and where it is not known what drivers keep, by these"
_KEPT = "of a device of virtio-mem, or kept by a balloon"
_BY_PARAMETERS = "reserved, or cut off by mem= or memmap="
_FIGURES = (
    Figure("blocks", "All memory blocks", lambda a: a.blocks),
    Figure("not_online", "  not online", lambda a: a.blocks - a.online, "offline, or deconfigured"),
    Figure(
        "not_configured",
        "    not configured",
        lambda a: a.not_configured,
        "part of that",
        ("not_configured",),
    ),
    Figure("online", "Online memory blocks", lambda a: a.online),
    Figure("memmap", "  struct pages", lambda a: a.online // MEMMAP_FRACTION, "1/64 of them"),
    Figure(
        "no_memory",
        "  no memory there",
        lambda a: a.online - a.memory,
        "holes, firmware, devices",
        _MAP,
    ),
    Figure(
        "memory", "Memory in these blocks", lambda a: a.memory, "System RAM of /proc/iomem", _MAP
    ),
    Figure(
        "not_plugged",
        "  not plugged",
        lambda a: sum(kept.size for kept in a.kept),
        "{kept}",
        (*_BOTH, "kept"),
    ),
    Figure(
        "reserved",
        "  kept from MemTotal",
        lambda a: max(a.memory - a.usage.total - sum(kept.size for kept in a.kept or ()), 0),
        "at boot{others}",
        _BOTH,
    ),
    Figure("kernel_image", "  kernel image", lambda a: a.image or None, "part of that", _BOTH),
    Figure("crash_kernel", "  crash kernel", lambda a: a.crash or None, "part of that", _BOTH),
    Figure("mem_total", "MemTotal", lambda a: a.usage.total, "what the kernel can give", _USAGE),
    Figure("in_use", "  in use", lambda a: a.usage.used, needs=_USAGE),
    Figure(
        "mem_available",
        "MemAvailable",
        lambda a: a.usage.available,
        "what new programs can have",
        _USAGE,
    ),
    Figure(
        "poisoned", "Poisoned pages", lambda a: a.usage.corrupted or None, "they failed", _USAGE
    ),
    Figure("beyond", "Beyond the last block", lambda a: a.beyond, "{by}", ("beyond",)),
)
"""From all blocks down to what new programs can have. What the tree does not tell has no line."""


_PART = (
    Key("start", "address of the first byte", BYTES, lambda fits: fits[0]),
    Key("size", "bytes", BYTES, lambda fits: fits[1]),
)
_SAID = (
    Key("line", "what the kernel said", TEXT, lambda said: said.line),
    Key(
        "fits",
        "the part of the memory that would have made whole blocks",
        nullable(object_of(_PART)),
        lambda said: filled(_PART, said.fits) if said.fits else None,
    ),
)
_OF_DEVICE = (
    Key(
        "device",
        "the device that keeps it, such as virtio1; null for a balloon that is not known by name",
        nullable(TEXT),
        lambda kept: kept.device,
    ),
    Key("size", "bytes", BYTES, lambda kept: kept.size),
    Key(
        "balloon",
        "whether it is a balloon, which takes memory from the kernel, too",
        FLAG,
        lambda kept: kept.balloon,
    ),
)
_ROWS: Sequence[Row] = (
    *_FIGURES,
    Key(
        "not_plugged_by_device",
        "the same as not_plugged, by device",
        array_of(object_of(_OF_DEVICE)),
        lambda account: [filled(_OF_DEVICE, kept) for kept in account.kept or ()] or None,
        optional=True,
    ),
    Key(
        "not_added",
        "what the kernel said of memory that came and was not added",
        array_of(object_of(_SAID)),
        lambda account: [filled(_SAID, said) for said in account.not_added] or None,
        optional=True,
    ),
)


def _read(machine: Machine) -> Account:
    table = machine.read(("state", "configured"))
    sources = Sources(machine, table)
    regions = sources.regions
    online = [block.number for block in table.blocks() if block.state is State.ONLINE]
    size = machine.block_size
    runs = [(first * size, (last + 1) * size - 1) for first, last in runs_of(online)]
    keepers = keepers_of(machine, online)
    return Account(
        len(table.numbers) * size,
        len(online) * size,
        _within(runs, regions, _MEMORY),
        _within(runs, regions, _IMAGE),
        _within(runs, regions, _CRASH),
        regions,
        usage(machine),
        keepers,
        _kept(machine, online, keepers),
        table.columns["configured"].count(False) * size if machine.configurable else None,
        sum(region.end + 1 - region.start for region in sources.beyond),
        parameters_that_take(machine.tree),
        not_added_on(machine),
    )


def _kept(machine: Machine, online: Sequence[int], keepers: Keepers) -> Sequence[Kept] | None:
    with Progress(len(keepers.among(online)), machine.block_size) as progress:

        def began(done: int, number: int) -> None:
            progress.done(done)
            progress.begin(number)

        return kept_from(machine, online, keepers, began)


def _within(runs: Sequence[Run], regions: Iterable[Region], name: re.Pattern[str]) -> int:
    """The bytes of the regions with such a name that are in RUNS of addresses."""
    return sum(
        max(min(last, region.end) + 1 - max(first, region.start), 0)
        for region in regions
        if name.fullmatch(region.name)
        for first, last in runs
    )


def _others(account: Account) -> str:
    """Who else may keep memory from MemTotal, where it is not known how much."""
    if account.kept is not None:
        return ""
    names, balloon = account.keepers.names, account.keepers.balloon
    plugged = f", or not plugged of {', '.join(names)}" if names else ""
    return plugged + (f", or by the balloon {balloon}" if balloon else "")


def _by_whom(kept: Sequence[Kept], format_size: Callable[[int], str]) -> str:
    words = [
        f"kept by {f'the balloon {one.device}' if one.device else 'a balloon'}"
        if one.balloon
        else f"of {one.device}"
        for one in kept
    ]
    if len(kept) > 1:
        words = [f"{format_size(one.size)} {of}" for one, of in zip(kept, words, strict=True)]
    return ", ".join(words)


def _lines(account: Account, format_size: Callable[[int], str], width: int | None) -> Iterator[str]:
    """The lines, with newlines; without remarks if they do not fit into WIDTH columns."""
    by = f"cut off by {' '.join(account.parameters)}" if account.parameters else _BY_PARAMETERS
    words = {
        "others": _others(account),
        "by": by,
        "kept": _by_whom(account.kept or (), format_size),
    }
    rows = [
        (row.label, format_size(size), row.remark.format(**words))
        for row in _FIGURES
        if (size := row.value(account)) is not None
    ]
    label_width, size_width = (max(len(row[index]) for row in rows) for index in (0, 1))
    lines = [
        f"{label:<{label_width}}  {size:>{size_width}}  {remark}".rstrip()
        for label, size, remark in rows
    ]
    narrow = label_width + size_width + 2
    if width is not None and max(map(len, lines)) > width:
        lines = [line[:narrow] for line in lines]
    yield from (f"{line}\n" for line in lines)
    for line, fits in account.not_added:
        yield f"memory was not added: {printable(line)}\n"
        if fits:
            yield f"  {format_size(fits[1])} from 0x{fits[0]:x} on would have made whole blocks\n"


def _pieces(machine: Machine, options: Options) -> Pieces:
    account = _read(machine)
    if options.json:
        return [document(_ROWS, account)], ()
    import shutil

    width = shutil.get_terminal_size().columns if on_terminal("auto") else None
    return _lines(account, options.format_size, width), ()


REPORT = Report(_pieces, lambda: schema_of("lsmem --explain --json", _ROWS))
