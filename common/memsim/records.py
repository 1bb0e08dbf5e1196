"""The records of a simulated machine: what its files in `.memsim` contain.

A record is checked as a whole before it is used: its checksum, because files get damaged, and every
value, because somebody else may have written the file. The functions that read a record raise
MachineError.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from memsim.description import dump, parse
from memsim.errors import MachineError, wrong
from memsim.kernel import Blocks, Kernel
from memsim.kernel.blocks import ABSENT
from memsim.kernel.devices import KINDS, Device
from memsim.kernel.state import LOG_LENGTH
from memsim.kernel.storage import Hypervisor
from memsim.kernel.zones import Policy
from memsim.machine import ONLINE_POLICIES, ONLINE_WORDS, Fault, Machine
from memsim.schema import (
    Value,
    by_block,
    by_transition,
    checked,
    fault,
    loads,
    number,
    one_of,
    seconds,
    text,
    yes_no,
)

__all__ = [
    "MOST",
    "MOST_JOURNAL",
    "THE_BLOCKS",
    "Journal",
    "journal_from",
    "journal_of_change",
    "journal_of_offline",
    "live",
    "live_record",
    "machine_from",
    "machine_record",
    "restored",
]

MOST: Final = 16 << 20
"""Most bytes of a record in JSON: a machine of some 100,000 different groups of blocks."""

THE_BLOCKS: Final = "the blocks"
"""Where an error is that is in the file blocks, and not in live.json."""

MOST_JOURNAL: Final = 4 * MOST
"""Most bytes of a journal: a reboot can change every block of a large machine."""


# The machine


def machine_record(machine: Machine) -> bytes:
    """The content of machine.json. Raises MachineError for a machine that is too large for it."""
    text = json.dumps(dump(machine))
    record = f"{_crc(text.encode())}\n{text}\n".encode()
    if len(record) > MOST:
        raise MachineError("blocks", "fewer groups of blocks", f"not {len(machine.groups)}")
    return record


def machine_from(record: bytes) -> Machine:
    """The machine that a machine.json describes."""
    checksum, _, content = record.partition(b"\n")
    content, _, rest = content.partition(b"\n")
    if rest or checksum.decode("latin-1") != _crc(content):
        raise MachineError("checksum", "that of the content", "not another")
    description = loads(content, "description")
    return parse(description, "description")


# What changes


def live(kernel: Kernel) -> dict[str, Any]:
    """All that changes in a kernel, except for its blocks, as JSON values."""
    return {
        "pool": kernel.hypervisor.pool,
        "kept": {str(block): size for block, size in kernel.hypervisor.kept.items()},
        "devices": [[device.kind, device.first, device.last] for device in kernel.zones.devices],
        "log": kernel.log,
        "auto_online_blocks": kernel.auto_online_blocks,
        **asdict(kernel.zones.policy),
        "online_types": {str(block): word for block, word in kernel.online_types.items()},
        "faults": {
            transition: {str(block): asdict(fault) for block, fault in of.items()}
            for transition, of in kernel.faults.items()
        },
        "delays": {
            transition: {str(block): delay for block, delay in of.items()}
            for transition, of in kernel.delays.items()
        },
    }


def live_record(kernel: Kernel) -> bytes:
    """The content of live.json: what `live` says, and the checksum of the blocks."""
    return _sealed(live(kernel) | {"blocks": _crc(kernel.blocks.content())})


def restored(machine: Machine, blocks: bytes, record: bytes) -> Kernel:
    """The kernel from the contents of the files blocks and live.json."""
    values = _unsealed(record, _LIVE_KEYS)
    if values["blocks"] != _crc(blocks):
        raise MachineError(THE_BLOCKS, "their checksum in live.json", "not another")
    try:
        known = Blocks.restored(machine, blocks)
    except ValueError as error:
        raise MachineError(THE_BLOCKS, str(error), "not these") from None
    for key, at_boot in (
        ("auto_online_blocks", machine.auto_online_blocks),
        ("online_policy", machine.online_policy),
    ):
        if (values[key] is None) != (at_boot is None):
            raise wrong(key, "null where the machine has no such file, and only there", values[key])
    for block, size in values["kept"].items():
        if known.at(block) != ABSENT or size > machine.block_size:
            raise wrong("kept", "at most the size of blocks that are not configured", block)
    devices: tuple[Device, ...] = values["devices"]
    _check_devices(machine, known, devices)
    for key, tables in (
        ("online_types", [values["online_types"]]),
        ("faults", values["faults"].values()),
        ("delays", values["delays"].values()),
    ):
        for block in (block for table in tables for block in table):
            if block not in known:
                raise wrong(key, "blocks that the machine has", block)
    policy = Policy(
        values["online_policy"], values["auto_movable_ratio"], values["auto_movable_numa_aware"]
    )
    kernel = Kernel.restored(
        machine,
        known,
        Hypervisor(machine, values["pool"], values["kept"]),
        policy,
        auto_online_blocks=values["auto_online_blocks"],
        online_types=values["online_types"],
        log=values["log"],
        faults=values["faults"],
        delays=values["delays"],
    )
    kernel.zones.devices = devices
    return kernel


def _check_devices(machine: Machine, blocks: Blocks, devices: tuple[Device, ...]) -> None:
    last = -1
    for device in devices:
        ends = [device.first, device.last]
        if device.first <= last or device.last < device.first or device.last not in blocks:
            raise wrong("devices", "blocks that the machine has, ascending", ends)
        group = blocks.group(device.first)
        came = not (machine.firmware or group.config) and group.first <= device.first
        if not came or device.last > group.last or blocks.count(ABSENT, *ends):
            raise wrong("devices", "blocks that were plugged in", ends)
        last = device.last


def _kept_fault(value: Mapping[str, Any]) -> Fault:
    if set(value) != {"errno", "times"}:
        raise ValueError
    return fault(value)


def _log(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > LOG_LENGTH:
        raise ValueError
    lines = [text(line) for line in value]
    if not all(line.isprintable() for line in lines):
        raise ValueError
    return lines


def _device(value: Any) -> Device:
    kind, first, last = value
    return Device(one_of(*KINDS)(kind), number(0)(first), number(0)(last))


def _devices(value: Any) -> tuple[Device, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(map(_device, value))


_LIVE_KEYS: Final = {
    "pool": Value("a number of bytes", number(0), needed=True),
    "kept": Value("{block: bytes}", by_block(number(1)), needed=True),
    "devices": Value("a list of [kind, first block, last block]", _devices, needed=True),
    "log": Value(f"at most {LOG_LENGTH} lines of text", _log, needed=True),
    "auto_online_blocks": Value(
        "offline, online, online_kernel, online_movable or null",
        one_of("offline", *ONLINE_WORDS, None),
        needed=True,
    ),
    "online_policy": Value(
        "contig-zones, auto-movable or null", one_of(*ONLINE_POLICIES, None), needed=True
    ),
    "auto_movable_ratio": Value("a percentage, 0 or more", number(0, 1 << 32), needed=True),
    "auto_movable_numa_aware": Value("true or false", yes_no, needed=True),
    "online_types": Value(
        "{block: online, online_kernel or online_movable}",
        by_block(one_of(*ONLINE_WORDS)),
        needed=True,
    ),
    "faults": Value("{transition: {block: fault}}", by_transition(_kept_fault), needed=True),
    "delays": Value("{transition: {block: seconds}}", by_transition(seconds), needed=True),
    "blocks": Value("a checksum", text, needed=True),
}


# The journal


@dataclass(frozen=True, slots=True)
class Journal:
    """A write that has begun: either a change, or a block that goes offline."""

    going_offline: int | None
    """The block whose state is going-offline, while its memory is moved away."""
    blocks: Mapping[int, tuple[int, int]] | None
    """The places and flags that change, by their index."""
    live: bytes
    """The content of live.json after the change."""

    def patched(self, content: bytes) -> bytes:
        """The content of `blocks` after the change. Raises MachineError for unknown blocks."""
        patched, count = bytearray(content), len(content) // 2
        for index, (place, flags) in (self.blocks or {}).items():
            if index >= count:
                raise wrong("blocks", "blocks that the machine has", index)
            patched[index], patched[count + index] = place, flags
        return bytes(patched)


def journal_of_offline(block: int) -> bytes:
    """The content of journal.json while a block's memory is moved away."""
    return _sealed({"going_offline": block})


def journal_of_change(live: bytes, blocks: Mapping[int, tuple[int, int]]) -> bytes:
    """The content of journal.json before a change."""
    values = {str(index): list(of) for index, of in blocks.items()}
    return _sealed({"blocks": values, "live": live.decode()})


def journal_from(record: bytes) -> Journal:
    """The write of a journal.json."""
    values = _unsealed(record, _JOURNAL_KEYS)
    if values.keys() == {"going_offline"}:
        return Journal(values["going_offline"], None, b"")
    if values.keys() == {"blocks", "live"}:
        return Journal(None, values["blocks"], values["live"].encode())
    raise MachineError("keys", "going_offline, or blocks and live", f"not {sorted(values)}")


def _place_and_flags(value: Any) -> tuple[int, int]:
    place, flags = (number(0, 256)(part) for part in value)
    return place, flags


_JOURNAL_KEYS: Final = {
    "going_offline": Value("a block number", number(0)),
    "blocks": Value("{index: [place, flags]}", by_block(_place_and_flags)),
    "live": Value("the text of a live.json", text),
}


# Checksums


def _crc(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"


def _sealed(values: dict[str, Any]) -> bytes:
    checksum = _crc(json.dumps(values).encode())
    return f"{json.dumps(values | {'checksum': checksum})}\n".encode()


def _unsealed(record: bytes, keys: Mapping[str, Value]) -> dict[str, Any]:
    """The values of a record, checked against KEYS."""
    given = loads(record, "content")
    if not isinstance(given, dict):
        raise wrong("content", "an object", given)
    checksum = given.pop("checksum", None)
    values = checked("", keys, given)
    if checksum != _crc(json.dumps(given).encode()):
        raise MachineError("checksum", "that of the content", "not another")
    return values
