"""What changed since an earlier listing, or since a tree was captured."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from hotplug_cli.program import complain
from lsmem_py import changes as changes_
from lsmem_py import typed
from lsmem_py.changes import Change, Snapshot
from memory_hotplug.errors import MemoryHotplugError, NoBlocksError, printable
from memory_hotplug.machine import ADDRESS_LIMIT, Machine
from memory_hotplug.size import human
from memory_hotplug.tree import ArchiveTree

SAME, DIFFERENT, TROUBLE = 0, 1, 2
"""Exit statuses, as of diff(1)."""

SCHEMA_VERSION = 1
_MOST_BLOCKS = 1 << 24


class EarlierError(MemoryHotplugError):
    """The file to compare with is not what it should be."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            f"{printable(path)}: {why}; --diff takes what lsmem --json --typed wrote earlier,"
            " or a directory or tar archive made by memsim capture"
        )


def run(path: str, root: str, json: bool, bytes: bool) -> int:
    """Compare the machine below ROOT with what is at PATH; the exit status."""
    try:
        before = _earlier(path)
        machine = Machine.at(root)
        after = _snapshot(machine)
        settings = dict(_settings(before.head, after.head))
        found: list[Change] = []
        if before.block_size == after.block_size:
            found = changes_.compare(before, after)
        sys.stdout.writelines(
            _document(found, settings) if json else _text(path, found, settings, bytes)
        )
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (MemoryHotplugError, OSError) as error:
        complain("lsmem", _sentence(error))
        return TROUBLE
    for remark in machine.remarks:
        complain("lsmem", remark)
    return DIFFERENT if found or settings else SAME


def _sentence(error: MemoryHotplugError | OSError) -> str:
    if isinstance(error, OSError):
        where = os.fsdecode(error.filename) if error.filename else "write error"
        return f"{where}: {error.strerror or error}"
    return str(error)


def _snapshot(machine: Machine) -> Snapshot:
    table = machine.read(changes_.ATTRIBUTES)
    if not table.numbers:
        raise NoBlocksError(machine.tree.root)
    head = typed.head(machine, table)
    return changes_.snapshot(table, head)


def _earlier(path: str) -> Snapshot:
    """What a file, a directory or an archive tells."""
    if os.path.isdir(path):
        return _snapshot(Machine.at(path))
    with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
        start = file.read(1)
        if start == b"{":
            return _from_document(path, start + file.read())
    if path == "-" or not start:
        raise EarlierError(path, "not a JSON document" if start else "empty")
    try:
        tree = ArchiveTree(path)
    except OSError as error:
        raise EarlierError(path, error.strerror or str(error)) from None
    return _snapshot(Machine(tree))


def _from_document(path: str, text: bytes) -> Snapshot:
    import json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EarlierError(path, f"broken JSON ({error})") from None
    if "memory" in document:
        raise EarlierError(path, "the JSON of util-linux, which leaves out too much (no --typed)")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise EarlierError(path, f"schema_version {version}, expected {SCHEMA_VERSION}")
    try:
        return _read_document(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EarlierError(path, f"not a listing of memory ({error!r})") from None


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


def _settings(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What differs of the machine as a whole: a name -> before and after."""
    old_parameters = before.get("memory_hotplug") or {}
    pairs = [
        *((name, before.get(name), after[name]) for name in ("block_size", "auto_online_blocks")),
        *((name, old_parameters.get(name), new) for name, new in after["memory_hotplug"].items()),
    ]
    for name, old, new in pairs:
        if old != new:
            yield name, {"before": old, "after": new}


def _document(found: list[Change], settings: dict[str, dict[str, Any]]) -> Iterator[str]:
    import json

    head = {
        "schema_version": SCHEMA_VERSION,
        "same": not (found or settings),
        "settings": settings,
    }
    yield json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "changes": ['
    between = "\n    "
    for change in found:
        yield between + json.dumps(changes_.record(change))
        between = ",\n    "
    yield "\n  ]\n}\n" if found else "]\n}\n"


def _text(
    path: str, found: list[Change], settings: dict[str, dict[str, Any]], bytes: bool
) -> Iterator[str]:
    """Nothing where nothing differs, as diff does."""
    for name, pair in settings.items():
        old, new = pair["before"], pair["after"]
        if name == "block_size" and not bytes:
            old, new = human(old), human(new)
        yield f"{name}: {'-' if old is None else old} -> {'-' if new is None else new}\n"
    if "block_size" in settings:
        yield "Blocks of another size are other blocks: they are not compared.\n"
    yield from changes_.lines(found, bytes)
