"""The records of a simulated machine: what its files in `.memsim` contain.

A record is checked as a whole before it is used: its checksum, because files get damaged, and every
value, because somebody else may have written the file. The functions that read a record raise
MachineError.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from memsim.description import dump, parse
from memsim.errors import MachineError, wrong
from memsim.kernel import Blocks, Kernel
from memsim.kernel.state import VALUES, KernelState
from memsim.machine import Machine
from memsim.schema import Value, by_block, checked, loads, number, text

__all__ = [
    "MOST",
    "MOST_JOURNAL",
    "THE_BLOCKS",
    "JournalRecord",
    "journal_from",
    "journal_of_change",
    "journal_of_offline",
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


def live_record(kernel: Kernel) -> bytes:
    """The content of live.json: the state, and the checksum of the blocks."""
    return _sealed(kernel.state.dumped() | {"blocks": _crc(kernel.blocks.content())})


def restored(machine: Machine, blocks: bytes, record: bytes) -> Kernel:
    """The kernel from the contents of the files blocks and live.json."""
    values = _unsealed(record, _LIVE_KEYS)
    if values.pop("blocks") != _crc(blocks):
        raise MachineError(THE_BLOCKS, "their checksum in live.json", "not another")
    try:
        known = Blocks.restored(machine, blocks)
    except ValueError as error:
        raise MachineError(THE_BLOCKS, str(error), "not these") from None
    return Kernel(machine, known, KernelState.restored(values, machine, known))


_LIVE_KEYS: Final = {**VALUES, "blocks": Value("a checksum", text, needed=True)}


# The journal


@dataclass(frozen=True, slots=True)
class JournalRecord:
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


def journal_from(record: bytes) -> JournalRecord:
    """The write of a journal.json."""
    values = _unsealed(record, _JOURNAL_KEYS)
    if values.keys() == {"going_offline"}:
        return JournalRecord(values["going_offline"], None, b"")
    if values.keys() == {"blocks", "live"}:
        return JournalRecord(None, values["blocks"], values["live"].encode())
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
