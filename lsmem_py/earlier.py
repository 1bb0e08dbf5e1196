"""What a machine was: in a document that lsmem wrote, in a directory or in an archive."""

import os
from collections.abc import Mapping
from typing import Any

from hotplug_cli.messages import lsmem as messages
from hotplug_cli.program import CommandError
from lsmem_py import changes as changes_
from lsmem_py import typed
from lsmem_py.changes import Snapshot
from memory_hotplug.errors import NoBlocksError
from memory_hotplug.machine import ADDRESS_LIMIT, Machine
from memory_hotplug.tree import ArchiveTree

__all__ = ["EarlierError", "earlier", "snapshot"]

_MOST_BLOCKS = 1 << 24


class EarlierError(CommandError):
    """The file to compare with is not what it should be."""


def snapshot(machine: Machine) -> Snapshot:
    """The machine as it is. Raises NoBlocksError."""
    table = machine.read(changes_.ATTRIBUTES)
    if not table.numbers:
        raise NoBlocksError(machine.tree.root)
    head = typed.head(machine, table)
    return changes_.snapshot(table, head)


def earlier(path: str) -> Snapshot:
    """What a file, a directory or an archive tells; PATH ``-`` is standard input.

    Raises EarlierError, another MemoryHotplugError, or OSError where it cannot be opened.
    """
    if os.path.isdir(path):
        return snapshot(Machine.at(path))
    with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
        start = file.read(1)
        if start == b"{":
            return _from_document(path, start + file.read())
    if path == "-" or not start:
        found = messages.NOT_A_DOCUMENT if start else messages.EMPTY
        raise EarlierError(found.of(file=path))
    try:
        tree = ArchiveTree(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise EarlierError(messages.UNREADABLE.of(file=path, reason=reason)) from None
    return snapshot(Machine(tree))


def _from_document(path: str, text: bytes) -> Snapshot:
    import json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EarlierError(messages.BROKEN_JSON.of(file=path, reason=error)) from None
    if "memory" in document:
        raise EarlierError(messages.NOT_TYPED.of(file=path))
    version = document.get("schema_version")
    if version != typed.SCHEMA_VERSION:
        expected = typed.SCHEMA_VERSION
        sentence = messages.OTHER_VERSION.of(file=path, found=version, expected=expected)
        raise EarlierError(sentence)
    try:
        return _read_document(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EarlierError(messages.NOT_A_LISTING.of(file=path, reason=repr(error))) from None


def _read_document(document: Mapping[str, Any]) -> Snapshot:
    """Raises KeyError, TypeError, AttributeError or ValueError where it is no such document."""
    block_size = document["block_size"]
    if type(block_size) is not int or not 0 < block_size < ADDRESS_LIMIT:
        raise ValueError("block_size")
    blocks: dict[int, changes_.Values] = {}
    for row in document["ranges"]:
        first, last = _blocks(row, block_size)
        if not 0 <= first <= last < ADDRESS_LIMIT // block_size:
            raise ValueError(f"blocks {first} to {last}")
        if len(blocks) + last - first > _MOST_BLOCKS:
            raise ValueError("too many blocks")
        values = {name: row[name] for name in changes_.ATTRIBUTES if name in row}
        blocks.update(dict.fromkeys(range(first, last + 1), values))
    return Snapshot(block_size, blocks, document)


def _blocks(row: Mapping[str, Any], block_size: int) -> tuple[int, int]:
    """The first and the last block of a range, of whichever columns say so."""
    if "block" in row:
        return int(row["block"]["first"]), int(row["block"]["last"])
    if "range" in row:
        start, end = (int(address, 16) for address in row["range"].split("-"))
    else:
        start, end = int(row["start"]), int(row["end"])
    return start // block_size, end // block_size
