"""Which memory to set offline for a size, so that devices become empty.

A device can be removed only once no block of it is online. So a size takes all blocks of a device
before it takes any of the next. Memory of no device, which was there at boot, comes after that; it
takes the place of blocks that fail, so that no further device is left in part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.change.outcome import Outcome
from memory_hotplug.change.plan import Change
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.table import BlockTable

__all__ = [
    "NOTHING_KNOWN",
    "Emptied",
    "Removal",
    "emptied",
    "emptying",
    "not_offline",
    "not_removable",
    "removal_of",
]

_MOST = 64
"""How many devices, the largest, can be those that come to a size exactly. Of N devices there are
2**N choices."""


class Removal(NamedTuple):
    """What is known of memory before it is set offline."""

    devices: Mapping[int, str]
    """Block number -> the device that brought it."""
    online: Mapping[str, Collection[int]]
    """Device -> those of its blocks that are not offline."""
    staying: Collection[int]
    """The blocks of which the kernel says that they cannot be set offline."""


NOTHING_KNOWN = Removal({}, {}, ())


class Emptied(NamedTuple):
    """A device of which memory was set offline."""

    device: str
    taken: int
    """The number of its blocks that were set offline, less those that were set online."""
    left: int
    """The number of its blocks that are still online; if 0, the device can be removed."""


def emptied(removal: Removal, outcomes: Iterable[Outcome]) -> Sequence[Emptied]:
    """The devices of which OUTCOMES have set memory offline, by name."""
    taken: Counter[str] = Counter()
    for outcome in outcomes:
        if device := removal.devices.get(outcome.number):
            taken[device] += outcome.after.state is State.OFFLINE
            taken[device] -= outcome.before.state is State.OFFLINE
    return [
        Emptied(device, count, len(removal.online[device]) - count)
        for device, count in sorted(taken.items())
        if count > 0
    ]


def removal_of(machine: Machine, table: BlockTable) -> Removal:
    """What is known of the memory of a machine; TABLE has all of its blocks, with their states."""
    from memory_hotplug.seen.owners import owners_of

    owners = owners_of(machine, table.numbers)
    return Removal(owners.devices, owners.parts(not_offline(table)), not_removable(machine))


def not_offline(table: BlockTable) -> Iterator[int]:
    """The blocks of TABLE that keep their device from being removed."""
    states = zip(table.numbers, table.columns[Attribute.STATE], strict=True)
    return (number for number, state in states if state is not State.OFFLINE)


def not_removable(machine: Machine) -> Collection[int]:
    """The blocks of which the kernel says that they cannot be set offline: Linux before 5.8 looks
    at their pages; later it says the same of all blocks (drivers/base/memory.c, removable_show)."""
    if not machine.judges_removable:
        return ()
    table = machine.read((Attribute.REMOVABLE,))
    return {block.number for block in table.blocks() if block.removable is False}


def emptying(
    changes: Iterable[Change],
    count: int,
    removal: Removal,
    holds: Callable[[MemoryBlock], bool] = lambda _: False,
    *,
    fewest: bool = True,
) -> Iterator[Change]:
    """CHANGES that set blocks offline, of which COUNT are wanted, in the order of trying.

    With FEWEST, those devices come first that COUNT empties exactly, as few as can be; where no
    devices come to COUNT, always the largest that it empties, and at the end a part of the
    smallest. Without FEWEST, devices come in the order of their first changes. A device comes later
    if a block of it is not among CHANGES, or is known to stay: by REMOVAL, or because it HOLDS what
    cannot be moved. Memory of no device comes once the devices before it come to COUNT: it is first
    to take the place of what fails. Blocks that stay come last of all. Otherwise changes keep their
    order.
    """
    last: list[Change] = []

    def stays(change: Change) -> bool:
        return change.number in removal.staying or holds(change.block)

    def going(part: Iterable[Change]) -> Iterator[Change]:
        for change in part:
            if stays(change):
                last.append(change)
            else:
                yield change

    whole, later, at_boot = _by_device(changes, removal)

    def emptied_next() -> list[Change]:
        """A device that can become empty; nothing if one cannot."""
        name = _next({one: len(part) for one, part in whole.items()}, count, fewest=fewest)
        part = whole.pop(name)
        if not any(map(stays, part)):
            return part
        later.append(part)
        return []

    while whole and count > 0:
        part = emptied_next()
        yield from part
        count -= len(part)
    while later and count > 0:
        for change in going(later.pop(0)):
            yield change
            count -= 1
    yield from going(at_boot)
    while whole:
        yield from emptied_next()
    yield from going(chain(*later))
    yield from last


def _by_device(
    changes: Iterable[Change], removal: Removal
) -> tuple[dict[str, list[Change]], list[list[Change]], list[Change]]:
    """The changes of each device that CHANGES can empty, of other devices, and of no device."""
    parts: dict[str | None, list[Change]] = {}
    for change in changes:
        parts.setdefault(removal.devices.get(change.number), []).append(change)
    at_boot = parts.pop(None, [])
    whole, later = {}, []
    for name, part in parts.items():
        if name is not None and len(part) == len(removal.online[name]):
            whole[name] = part
        else:
            later.append(part)
    return whole, later, at_boot


def _next(sizes: Mapping[str, int], count: int, *, fewest: bool) -> str:
    """The device to empty next, of devices with so many blocks each."""
    if not fewest:
        return next(iter(sizes))
    if exact := _exact(sizes, count):
        return exact[0]
    fitting = [name for name, size in sizes.items() if size <= count]
    return max(fitting, key=sizes.__getitem__) if fitting else min(sizes, key=sizes.__getitem__)


def _exact(sizes: Mapping[str, int], count: int) -> Sequence[str]:
    """The fewest devices whose blocks come to COUNT; none if there are no such devices."""
    best: dict[int, tuple[str, ...]] = {0: ()}
    for name in sorted(sizes, key=lambda one: -sizes[one])[:_MOST]:
        for total, chosen in sorted(best.items(), reverse=True):
            reached = total + sizes[name]
            known = best.get(reached)
            if reached <= count and (known is None or len(chosen) + 1 < len(known)):
                best[reached] = (*chosen, name)
    return best.get(count, ())
