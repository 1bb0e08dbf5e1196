"""Each block in the JSON document of --json, with its steps and errors: tables of keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chmem_py.advice import words_of
from chmem_py.output import Output
from hotplug_cli.documents import (
    BYTES,
    COUNT,
    FLAG,
    TEXT,
    TEXTS,
    Key,
    array_of,
    filled,
    nullable,
    object_of,
)
from hotplug_cli.message import Sentence
from memory_hotplug.block import State
from memory_hotplug.causes import Cause
from memory_hotplug.change.guard import GUARDED
from memory_hotplug.change.outcome import Result
from memory_hotplug.condition import condition_of
from memory_hotplug.errors import BlockError, errno_name
from memory_hotplug.request.tally import Tally

__all__ = ["BLOCK", "ERRNO", "NO_ERROR", "InRun", "Tried", "errno_of"]

_WITHOUT_BLOCK = (Result.ALREADY, Result.NOT_TRIED)
"""The results of blocks that the document only counts, or names in a message."""


class Tried(NamedTuple):
    """A request that was tried. In a dry run nothing has happened: steps, settings and files say so
    alike. The results, and the conditions afterwards, are those that are forecast."""

    tally: Tally
    forecast: Sequence[Sentence]
    """What a dry run finds."""
    options: Mapping[str, Any]
    """The action, and how it was done."""
    output: Output
    root: str
    """The absolute path of the root, without a slash at the end."""

    @property
    def real(self) -> bool:
        return not self.options["dry_run"]

    @property
    def block_size(self) -> int:
        return self.tally.selection.block_size

    def each(self, rows: Sequence[Key], things: Iterable[object]) -> list[dict[str, Any]]:
        """An object about each of THINGS."""
        return [filled(rows, InRun(self, thing)) for thing in things]


class InRun(NamedTuple):
    """What a row of a table gets: a block, a step, an error or another thing of a run."""

    run: Tried
    thing: Any


def errno_of(number: int | None) -> str | int | None:
    """The name of an error number; the number itself where Python has no name."""
    return None if number is None else errno_name(number) or number


ERRNO = {"type": ["string", "integer", "null"]}
NO_ERROR = "the kernel's error, such as EBUSY; its number where Python has no name; null if none"

_STEP = (
    Key("step", "what was to be done", TEXT, lambda one: one.thing.step),
    Key("path", "the file", TEXT, lambda one: f"{one.run.root}/{one.thing.path}"),
    Key("value", "what was written to it", TEXT, lambda one: one.thing.word),
    Key(
        "happened",
        "whether the kernel has done it",
        FLAG,
        lambda one: one.run.real and one.thing.happened,
    ),
    Key("errno", NO_ERROR, ERRNO, lambda one: errno_of(one.thing.errno)),
    Key(
        "tries",
        "how often it was written",
        {"type": "integer", "minimum": 1},
        lambda one: one.thing.tries,
    ),
    Key("undoing", "whether it undoes an earlier step", FLAG, lambda one: one.thing.undoing),
)

_ERROR = (
    Key("step", "the step that failed", TEXT, lambda one: one.thing.step),
    Key(
        "cause",
        "the cause, which stays when its words change",
        {"enum": [cause.name.lower() for cause in Cause if cause not in GUARDED]},
        lambda one: one.thing.cause.name.lower(),
    ),
    Key("errno", NO_ERROR, ERRNO, lambda one: errno_of(one.thing.errno)),
    Key(
        "reason",
        "the cause in a few words",
        TEXT,
        lambda one: words_of(one.thing, one.run.tally).reason,
    ),
    Key(
        "advice",
        "the likely cause, and what to do now; empty if nothing is known",
        TEXT,
        lambda one: words_of(one.thing, one.run.tally).advice,
    ),
)

_CONDITION = (
    Key("state", "its state", {"enum": [state.value for state in State]}, lambda one: one["state"]),
    Key("zone", "the zone it is in", nullable(TEXT), lambda one: one["zone"]),
    Key(
        "configured",
        "whether it is configured; null where memory is not configured",
        nullable(FLAG),
        lambda one: one["configured"],
    ),
    Key(
        "memmap_on_memory",
        "whether its struct pages are in the block itself",
        nullable(FLAG),
        lambda one: one["memmap_on_memory"],
    ),
)


def _error_of(run: Tried, error: BlockError | None) -> dict[str, Any] | None:
    return None if error is None else filled(_ERROR, InRun(run, error))


_RESULTS = [result.value for result in Result if result not in _WITHOUT_BLOCK]

BLOCK = (
    Key("block", "its number", COUNT, lambda one: one.thing.number),
    Key("start", "its first address", COUNT, lambda one: one.thing.number * one.run.block_size),
    Key("size", "its bytes", BYTES, lambda one: one.run.block_size),
    Key("result", "what became of it", {"enum": _RESULTS}, lambda one: one.thing.result.value),
    Key(
        "before",
        "its condition before",
        object_of(_CONDITION),
        lambda one: filled(_CONDITION, condition_of(one.thing.before)),
    ),
    Key(
        "after",
        "its condition afterwards",
        object_of(_CONDITION),
        lambda one: filled(_CONDITION, condition_of(one.thing.after)),
    ),
    Key(
        "steps",
        "what was written, in order",
        array_of(object_of(_STEP)),
        lambda one: one.run.each(_STEP, one.thing.writes),
    ),
    Key("undone", "the steps that were undone", TEXTS, lambda one: list(one.thing.undone)),
    Key(
        "error",
        "why it failed; null if it did not",
        nullable(object_of(_ERROR)),
        lambda one: _error_of(one.run, one.thing.error),
    ),
    Key(
        "not_undone",
        "why it could not be brought back; null if it could, or was not to be",
        nullable(object_of(_ERROR)),
        lambda one: _error_of(one.run, one.thing.stuck),
    ),
)
