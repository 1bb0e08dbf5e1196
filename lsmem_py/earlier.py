"""Read the earlier condition of a machine from a document of lsmem, a directory or an archive."""

import os
import stat
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from hotplug_cli.program import CommandError, standard_input
from hotplug_cli.tree_errors import sentence_of
from lsmem_py import messages, typed
from lsmem_py.changes import ATTRIBUTES, Snapshot, Span, snapshot
from lsmem_py.validation import fault
from memory_hotplug.errors import MemoryHotplugError, NoRootError
from memory_hotplug.machine import Machine
from memory_hotplug.reading import ADDRESS_LIMIT
from memory_hotplug.trees.many import READING

__all__ = ["EarlierError", "earlier_state", "present_state"]

_LONGEST = 1 << 29
"""The maximum size of a document in bytes: enough for a million ranges."""

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class EarlierError(CommandError):
    """The file is not one that --diff can compare with."""


def present_state(machine: Machine) -> Snapshot:
    """The present condition of a machine. Raises NoBlocksError."""
    table = machine.read(ATTRIBUTES)
    head = typed.head(machine, table)
    return snapshot(table, head)


def earlier_state(path: str) -> Snapshot:
    """The condition in a file, a directory or an archive; PATH ``-`` is standard input.

    Raises EarlierError, and OSError if PATH cannot be opened.
    """
    if path == "-":
        return _from_document(path, _read(path, standard_input().fileno()))
    # Without O_NONBLOCK, opening a FIFO waits for a writer.
    opened = os.open(path, READING)
    try:
        kind = stat.S_IFMT(os.fstat(opened).st_mode)
        if kind == stat.S_IFREG:
            start = os.pread(opened, 1, 0)
            if not start:
                raise EarlierError(messages.EMPTY.of(file=path))
            if start == b"{":
                return _from_document(path, _read(path, opened))
        elif kind != stat.S_IFDIR:
            name = _KINDS.get(kind, "no regular file")
            raise EarlierError(messages.NOT_A_FILE.of(file=path, kind=name))
    finally:
        os.close(opened)
    return _from_tree(path)


def _from_tree(path: str) -> Snapshot:
    """The condition in a directory or an archive. Raises EarlierError."""
    try:
        with Machine.at(path) as machine:
            return present_state(machine)
    except NoRootError as error:
        reason = error.reason
    except MemoryHotplugError as error:
        reason = sentence_of(error).text
    raise EarlierError(messages.UNREADABLE.of(file=path, reason=reason))


def _read(path: str, opened: int) -> bytes:
    """The content of an open file. Raises EarlierError if it is too large."""
    with open(opened, "rb", closefd=False) as file:
        text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise EarlierError(messages.TOO_LARGE.of(file=path, size=_LONGEST))
    return text


def _from_document(path: str, text: bytes) -> Snapshot:
    import json

    if not text.startswith(b"{"):
        found = messages.NOT_A_DOCUMENT if text else messages.EMPTY
        raise EarlierError(found.of(file=path))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EarlierError(messages.BROKEN_JSON.of(file=path, reason=error)) from None
    if "memory" in document:
        raise EarlierError(messages.NOT_TYPED.of(file=path))
    version, known = document.get("schema_version"), typed.SCHEMA_VERSION
    if type(version) is int and version != known:
        raise EarlierError(messages.OTHER_VERSION.of(file=path, found=version, expected=known))
    wrong = fault(document, typed.schema(complete=False))
    if wrong is None:
        try:
            return _snapshot_of(document)
        except ValueError as error:
            wrong = str(error)
    raise EarlierError(messages.NOT_A_LISTING.of(file=path, reason=wrong))


def _snapshot_of(document: Mapping[str, Any]) -> Snapshot:
    """The snapshot of a document that is valid by its schema. Raises ValueError for
    contradictions."""
    block_size = document["block_size"]
    spans = []
    for index, row in enumerate(document["ranges"]):
        first, last = _place(row, block_size, f"ranges[{index}]")
        values = {name: row[name] for name in ATTRIBUTES if name in row}
        spans.append(Span(first, last, values))
    if not spans:
        raise ValueError("ranges is empty")
    spans.sort(key=lambda span: span.first)
    for one, other in pairwise(spans):
        if other.first <= one.last:
            raise ValueError(f"block {other.first} is in two ranges")
    return Snapshot(block_size, spans, document)


def _place(row: Mapping[str, Any], block_size: int, name: str) -> tuple[int, int]:
    """The first and the last block of a range, from the columns that have it.

    Raises ValueError if no column has it, if columns contradict each other, and if no machine can
    have such blocks.
    """
    addresses = []
    if "block" in row:
        block = row["block"]
        addresses.append((block["first"] * block_size, (block["last"] + 1) * block_size - 1))
    if "range" in row:
        start, _, end = row["range"].partition("-")
        addresses.append((int(start, 16), int(end, 16)))
    if "start" in row and "end" in row:
        addresses.append((row["start"], row["end"]))
    if not addresses:
        raise ValueError(f"{name} does not say which blocks it has")
    start, end = addresses[0]
    if len(set(addresses)) > 1 or row.get("size", end + 1 - start) != end + 1 - start:
        raise ValueError(f"{name} contradicts itself")
    if not start < end < ADDRESS_LIMIT or start % block_size or (end + 1) % block_size:
        raise ValueError(f"{name} is not a range of memory blocks")
    return start // block_size, end // block_size
