"""What changed since an earlier listing, or since a tree was captured."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hotplug_cli import messages as shared
from hotplug_cli.documents import (
    FLAG,
    Key,
    array_of,
    closed,
    described,
    filled,
    object_of,
    version_of,
)
from hotplug_cli.exits import Exit
from hotplug_cli.message import Sentence
from hotplug_cli.program import complain_of
from hotplug_cli.remarks import sentence_of
from lsmem_py import layout_targets, messages, typed
from lsmem_py.changes import CHANGE, Difference, compare, format_lines
from lsmem_py.earlier import earlier_state, present_state
from lsmem_py.layout_targets import Wanted
from memory_hotplug.errors import MemoryHotplugError, printable
from memory_hotplug.machine import Machine

__all__ = ["run_diff", "schema"]


class _Compared(NamedTuple):
    """What --diff has found."""

    changes: list[Difference]
    settings: dict[str, dict[str, Any]]
    """The settings of the machine that changed: name -> before and after."""
    wanted: Wanted | None
    """What the machine is to be, by a layout."""

    @property
    def same(self) -> bool:
        wanted = self.wanted
        lacking = bool(wanted and (wanted.absences or wanted.refused))
        return not (self.changes or self.settings or lacking)


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
        wanted = None
        if layout_targets.is_layout(path):
            with Machine.at(root) as machine:
                after = present_state(machine)
                wanted = layout_targets.wanted(machine, after, path)
            before, lacking = wanted.snapshot, wanted.sentences
        else:
            before = earlier_state(path)
            with Machine.at(root) as machine:
                after = present_state(machine)
        settings = dict(_settings(before.head, after.head))
        same_size = before.block_size == after.block_size
        changes = compare(before, after) if same_size else []
        found = _Compared(changes, settings, wanted)
        sys.stdout.writelines(
            _format_document(found) if json else _format_text(changes, settings, format_size)
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
    return Exit.SUCCESS if found.same else Exit.DIFFERENT


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


def _both(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a setting before and after."""
    return closed(
        {
            "before": {**schema, "description": "its value before"},
            "after": {**schema, "description": "its value afterwards"},
        }
    )


def _settings_schema() -> dict[str, Any]:
    each = {
        name: {**_both(known), "description": known.get("description", name)}
        for name, known in typed.settings().items()
    }
    return closed(each, ())


def _of_wanted(row: Key) -> Key:
    return row._replace(value=lambda found: row.value(found.wanted))


_HEAD = (
    version_of(1),
    Key(
        "same",
        "whether nothing changed; with a memory layout, whether the machine is as it says",
        FLAG,
        lambda found: found.same,
    ),
    Key(
        "settings",
        "the settings of the machine as a whole that changed",
        _settings_schema(),
        lambda found: found.settings,
    ),
    *map(_of_wanted, layout_targets.LACKING),
)
_CHANGES = Key(
    "changes",
    "blocks that follow each other and changed in the same way",
    array_of(object_of(CHANGE)),
    lambda found: (filled(CHANGE, change) for change in found.changes),
)


def schema() -> dict[str, Any]:
    """The JSON Schema of the document about changes."""
    return described("lsmem --diff --json", object_of((*_HEAD, _CHANGES)))


def _format_document(found: _Compared) -> Iterator[str]:
    """The document, with one change on each line."""
    import json

    yield json.dumps(filled(_HEAD, found), indent=2).removesuffix("\n}") + ',\n  "changes": ['
    between = "\n    "
    for change in _CHANGES.value(found):
        yield between + json.dumps(change)
        between = ",\n    "
    yield "\n  ]\n}\n" if found.changes else "]\n}\n"


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
    yield from format_lines(found, format_size)
