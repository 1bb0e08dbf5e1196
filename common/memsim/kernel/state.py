"""What changes in a running machine and its hypervisor, apart from the blocks.

`KernelState` is the one list of it. Each field says what it is at boot, whether a reboot leaves it
alone, and how it is written in a record and checked when that is read. Boot, reboot, records and
what `memsim show --json` writes follow from the fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from typing import Any, Final

from memsim.errors import wrong
from memsim.kernel.blocks import ABSENT, OFFLINE, Blocks
from memsim.kernel.devices import KINDS, Device
from memsim.machine import MACHINE_VALUES, ONLINE_WORDS, Fault, Machine, by_transition, fault
from memsim.schema import Value, by_block, number, one_of, seconds, text

__all__ = ["LOG_LENGTH", "MOST_POISONED", "PAGE", "VALUES", "KernelState"]

LOG_LENGTH: Final = 100
"""The maximum of lines of the kernel log that are kept."""

MOST_POISONED: Final = 4096
"""The maximum of pages that are poisoned."""
PAGE: Final = 4096
"""Bytes."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """What a field of KernelState says about itself."""

    value: Value
    """What a record may have, and how it is read."""
    at_boot: Callable[[Machine, Blocks], Any]
    dumped: Callable[[Any], Any] = lambda value: value
    """The JSON value for a record; `value.read` is the inverse."""
    check: Callable[[str, Any, Machine, Blocks], None] = lambda *_: None
    """Raises MachineError, given the field's name, for what no kernel of this machine can have."""
    survives: bool = False
    """Whether it is not the kernel's, so that a reboot leaves it alone."""


def _fact(
    expected: str,
    read: Callable[[Any], Any],
    at_boot: Callable[[Machine, Blocks], Any],
    needed: bool = True,
    **more: Any,
) -> dict[str, _Fact]:
    """The metadata of a field. A record of an older memsim has none that is not NEEDED."""
    return {"fact": _Fact(Value(expected, read, needed), at_boot, **more)}


def _as_described(name: str) -> _Fact:
    """The fact of a field that says nothing: what the machine's field of the same name says."""
    value = replace(MACHINE_VALUES[name], needed=True)
    return _Fact(value, lambda machine, _: getattr(machine, name), check=_check_exists)


# What is at boot


def _all_without_storage(machine: Machine, blocks: Blocks) -> int:
    """Unless the machine says how much, what all blocks without storage need."""
    if not machine.assigned_by:
        return 0
    if machine.hypervisor is not None:
        return machine.hypervisor
    without = [ABSENT] if machine.assigned_by == "config" else [ABSENT, OFFLINE]
    first, last = machine.groups[0].first, machine.groups[-1].last
    return machine.block_size * sum(blocks.count(place, first, last) for place in without)


# What a record may have


def _log(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > LOG_LENGTH:
        raise ValueError
    lines = [text(line) for line in value]
    if not all(line.isprintable() for line in lines):
        raise ValueError
    return lines


def _devices(value: Any) -> tuple[Device, ...]:
    if not isinstance(value, list):
        raise ValueError
    kind, end = one_of(*KINDS), number(0)
    before: Counter[str] = Counter()
    devices = []
    for of, first, last, *more in value:
        # In a record without numbers, devices are numbered as their blocks are.
        (own,) = more or (before[kind(of)],)
        before[of] += 1
        devices.append(Device(kind(of), end(first), end(last), end(own)))
    return tuple(devices)


def _frames(value: Any) -> tuple[int, ...]:
    frames = tuple(map(number(0), value if isinstance(value, list) else [None]))
    if len(frames) > MOST_POISONED or list(frames) != sorted(set(frames)):
        raise ValueError
    return frames


def _fault(value: Mapping[str, Any]) -> Fault:
    if set(value) != {"errno", "times"}:
        raise ValueError
    return fault(value)


def _check_absent(name: str, kept: Mapping[int, int], machine: Machine, blocks: Blocks) -> None:
    for block, size in kept.items():
        if blocks.at(block) != ABSENT or size > machine.block_size:
            raise wrong(name, "at most the size of blocks that are not configured", block)


def _check_plugged(name: str, devices: Iterable[Device], machine: Machine, blocks: Blocks) -> None:
    last = -1
    numbers: set[tuple[str, int]] = set()
    for device in devices:
        ends = [device.first, device.last]
        if device.first <= last or device.last < device.first or device.last not in blocks:
            raise wrong(name, "blocks that the machine has, ascending", ends)
        group = blocks.group(device.first)
        came = not (machine.firmware or group.config) and group.first <= device.first
        absent = blocks.count(ABSENT, *ends)
        # A device of virtio-mem may have given blocks back, but not the last one.
        gaps = blocks.at(device.last) == ABSENT if not device.whole else absent
        if not came or device.last > group.last or gaps:
            raise wrong(name, "blocks that were plugged in", ends)
        if (device.kind, device.number) in numbers or device.number >= len(blocks):
            raise wrong(name, "numbers of their own, lower than that of blocks", device.number)
        numbers.add((device.kind, device.number))
        last = device.last


def _check_unplugged(
    name: str, unplugged: Mapping[int, int], machine: Machine, blocks: Blocks
) -> None:
    for block, size in unplugged.items():
        if not blocks.present(block) or size > machine.block_size:
            raise wrong(name, "at most the size of blocks that are there", block)


def _check_frames(name: str, frames: Iterable[int], machine: Machine, blocks: Blocks) -> None:
    for frame in frames:
        if not blocks.present(frame * PAGE // machine.block_size):
            raise wrong(name, "page frames of blocks that are there", frame)


def _check_exists(name: str, word: str | None, machine: Machine, _blocks: Blocks) -> None:
    if (word is None) != (getattr(machine, name) is None):
        raise wrong(name, "null where the machine has no such file, and only there", word)


def _check_known(name: str, table: Iterable[int], _machine: Machine, blocks: Blocks) -> None:
    for block in table:
        if block not in blocks:
            raise wrong(name, "blocks that the machine has", block)


def _check_all_known(
    name: str, tables: Mapping[str, Mapping[int, Any]], machine: Machine, blocks: Blocks
) -> None:
    for table in tables.values():
        _check_known(name, table, machine, blocks)


@dataclass(slots=True)
class KernelState:
    """All that changes in a running machine, apart from its blocks. Sizes are in bytes.

    A field without more is as the field of Machine with the same name.
    """

    pool: int = field(metadata=_fact("a number of bytes", number(0), _all_without_storage))
    """The storage that the hypervisor can still give."""
    kept: dict[int, int] = field(
        metadata=_fact("{block: bytes}", by_block(number(1)), lambda *_: {}, check=_check_absent)
    )
    """Block that is not configured -> its storage that is assigned all the same."""
    devices: tuple[Device, ...] = field(
        metadata=_fact(
            "a list of [kind, first block, last block, number]",
            _devices,
            lambda *_: (),
            dumped=lambda devices: [list(astuple(one)) for one in devices],
            check=_check_plugged,
        )
    )
    """The devices that were plugged in, by their blocks, ascending."""
    unplugged: dict[int, int] = field(
        metadata=_fact(
            "{block: bytes}",
            by_block(number(1)),
            lambda *_: {},
            needed=False,
            check=_check_unplugged,
        )
    )
    """Block of a device of virtio-mem -> how much at its end is not plugged."""
    log: list[str] = field(
        metadata=_fact(f"at most {LOG_LENGTH} lines of text", _log, lambda *_: [])
    )
    """The last lines of the kernel log about memory."""
    auto_online_blocks: str | None
    """What becomes of a block that is added; None if there is no such file."""
    online_policy: str | None
    """How `online` chooses a zone; None if there are no parameters for it."""
    auto_movable_ratio: int
    auto_movable_numa_aware: bool
    poisoned: tuple[int, ...] = field(
        metadata=_fact(
            f"at most {MOST_POISONED} numbers of page frames, ascending",
            _frames,
            lambda *_: (),
            needed=False,
            dumped=list,
            check=_check_frames,
        )
    )
    """The page frames that are poisoned, ascending, in pages of 4096 bytes."""
    online_types: dict[int, str] = field(
        metadata=_fact(
            "{block: online, online_kernel or online_movable}",
            by_block(one_of(*ONLINE_WORDS)),
            lambda *_: {},
            check=_check_known,
        )
    )
    """Block -> the word of a write to `state` that found the block already online."""
    faults: dict[str, dict[int, Fault]] = field(
        metadata=_fact(
            "{transition: {block: fault}}",
            by_transition(_fault),
            lambda machine, _: {name: dict(of) for name, of in machine.faults.items()},
            dumped=lambda faults: {
                transition: {block: asdict(of) for block, of in table.items()}
                for transition, table in faults.items()
            },
            check=_check_all_known,
            survives=True,
        )
    )
    delays: dict[str, dict[int, float]] = field(
        metadata=_fact(
            "{transition: {block: seconds}}",
            by_transition(seconds),
            lambda machine, _: {name: dict(of) for name, of in machine.delays.items()},
            check=_check_all_known,
            survives=True,
        )
    )

    @classmethod
    def at_boot(
        cls, machine: Machine, blocks: Blocks, before: KernelState | None = None
    ) -> KernelState:
        """The state of a machine that boots, for the first time or after BEFORE."""
        stays = {name for name, fact in _FACTS.items() if before and fact.survives}
        return cls(
            **{
                name: getattr(before, name) if name in stays else fact.at_boot(machine, blocks)
                for name, fact in _FACTS.items()
            }
        )

    @classmethod
    def restored(cls, values: Mapping[str, Any], machine: Machine, blocks: Blocks) -> KernelState:
        """The state with these values, which were read as VALUES says; one that is not there is as
        at boot. Raises MachineError."""
        whole = {
            name: values[name] if name in values else fact.at_boot(machine, blocks)
            for name, fact in _FACTS.items()
        }
        for name, fact in _FACTS.items():
            fact.check(name, whole[name], machine, blocks)
        return cls(**whole)

    def dumped(self) -> dict[str, Any]:
        """The JSON values of a record; the numbers of blocks are still numbers."""
        return {name: fact.dumped(getattr(self, name)) for name, fact in _FACTS.items()}


_FACTS: Final[dict[str, _Fact]] = {
    one.name: one.metadata.get("fact") or _as_described(one.name) for one in fields(KernelState)
}

VALUES: Final = {name: fact.value for name, fact in _FACTS.items()}
"""The values that a record of a state has."""
