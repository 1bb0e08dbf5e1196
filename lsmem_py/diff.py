"""What changed since an earlier listing, or since a tree was captured."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hotplug_cli import messages as shared
from hotplug_cli.exits import Exit
from hotplug_cli.message import Sentence
from hotplug_cli.program import complain_of
from hotplug_cli.remarks import sentence_of
from lsmem_py import changes as changes_
from lsmem_py import layout_targets, messages
from lsmem_py.changes import Difference
from lsmem_py.earlier import earlier_state, snapshot
from memory_hotplug.errors import MemoryHotplugError, printable
from memory_hotplug.machine import Machine

__all__ = ["SCHEMA_VERSION", "run_diff"]

SCHEMA_VERSION = 1
"""The version of the document about changes."""


def run_diff(
    path: str,
    root: str,
    json: bool,
    format_size: Callable[[int], str],
    write_message: Callable[[Sentence], None],
) -> int:
    """Compare the machine below ROOT with PATH, and write the changes; return the exit status."""
    try:
        lacking: Sequence[Sentence] = ()
        records: dict[str, Any] = {}
        if layout_targets.is_layout(path):
            with Machine.at(root) as machine:
                after = snapshot(machine)
                wanted = layout_targets.wanted(machine, after, path)
            before, lacking, records = wanted.snapshot, wanted.sentences, wanted.records()
        else:
            before = earlier_state(path)
            with Machine.at(root) as machine:
                after = snapshot(machine)
        settings = dict(_settings(before.head, after.head))
        same_size = before.block_size == after.block_size
        found = changes_.compare(before, after) if same_size else []
        same = not (found or settings or any(records.values()))
        sys.stdout.writelines(
            _format_document(same, found, settings, records)
            if json
            else _format_text(found, settings, format_size)
        )
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (MemoryHotplugError, OSError) as error:
        complain_of("lsmem", error, write_message)
        return Exit.TROUBLE
    for remark in before.remarks:
        write_message(shared.FILE_ERROR.of(file=path, reason=sentence_of(remark)))
    for remark in after.remarks:
        write_message(sentence_of(remark))
    for sentence in lacking:
        write_message(sentence)
    return Exit.SUCCESS if same else Exit.DIFFERENT


def _settings(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The settings of the machine that changed: name -> before and after.

    A setting that only one side knows is not compared.
    """
    old_parameters = before.get("memory_hotplug") or {}
    pairs = [
        *((name, before.get(name), after[name]) for name in ("block_size", "auto_online_blocks")),
        *((name, old_parameters.get(name), new) for name, new in after["memory_hotplug"].items()),
    ]
    for name, old, new in pairs:
        if None not in (old, new) and old != new:
            yield name, {"before": old, "after": new}


def _format_document(
    same: bool,
    found: list[Difference],
    settings: dict[str, dict[str, Any]],
    records: Mapping[str, Any],
) -> Iterator[str]:
    import json

    head = {
        "schema_version": SCHEMA_VERSION,
        "same": same,
        "settings": settings,
        **records,
    }
    yield json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "changes": ['
    between = "\n    "
    for change in found:
        yield between + json.dumps(changes_.record(change))
        between = ",\n    "
    yield "\n  ]\n}\n" if found else "]\n}\n"


def _format_text(
    found: list[Difference], settings: dict[str, dict[str, Any]], format_size: Callable[[int], str]
) -> Iterator[str]:
    """The text of the changes; like diff(1), nothing if there are none."""
    for name, pair in settings.items():
        old, new = pair["before"], pair["after"]
        if name == "block_size":
            old, new = format_size(old), format_size(new)
        yield f"{name}: {printable(str(old))} -> {new}\n"
    if "block_size" in settings:
        yield f"{messages.OTHER_BLOCK_SIZE.of()}\n"
    yield from changes_.format_lines(found, format_size)
