"""The JSON document of --json, and its schema: one table of keys for each of its objects."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chmem_py.block_objects import BLOCK, ERRNO, NO_ERROR, InRun, Tried, errno_of
from chmem_py.message_objects import MESSAGE, objects_of
from chmem_py.output import Output
from chmem_py.run import Done
from hotplug_cli.documents import (
    BYTES,
    COUNT,
    FLAG,
    TEXT,
    TEXTS,
    Key,
    array_of,
    described,
    filled,
    nullable,
    object_of,
    version_of,
)
from hotplug_cli.exits import Exit
from hotplug_cli.message import Sentence
from memory_hotplug.change.plan import Action

SCHEMA_VERSION = 1
"""The version of the document."""

_OUTCOMES = {Exit.SUCCESS: "done", Exit.PARTLY: "partial", Exit.FAILURE: "failed"}


class _Told(NamedTuple):
    """What the document is about."""

    status: int
    signal: int | None
    messages: Sequence[Sentence]
    run: Tried | None
    """None if the command line is wrong, or there is no machine."""


def document_of(done: Done, options: Mapping[str, Any], output: Output, root: str) -> str:
    """The document about a request that was tried below ROOT. OPTIONS has the action, and how it
    was done; OUTPUT what was told."""
    run = Tried(done.tally, done.forecast, options, output, os.path.abspath(root).rstrip("/"))
    return _text(_Told(done.status, done.signal, output.messages, run))


def failure(status: int, messages: Sequence[Sentence]) -> str:
    """The document if the command line is wrong or there is no machine."""
    return _text(_Told(status, None, messages, None))


def _text(told: _Told) -> str:
    return json.dumps(filled(_DOCUMENT, told), indent=2)


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return described("chmem --json", object_of(_DOCUMENT))


# The request


def _of_request(name: str) -> Callable[[Tried], Any]:
    return lambda run: getattr(run.tally.selection.request, name)


def _of_options(name: str) -> Callable[[Tried], Any]:
    return lambda run: run.options[name]


def _requested_end(end: int) -> Callable[[Tried], int | None]:
    """The number of the first or of the last block that is requested; None where no blocks are."""

    def number(run: Tried) -> int | None:
        runs = run.tally.selection.request.runs
        return runs[end][end] if runs else None

    return number


_ACTIONS = [*(action.value for action in Action), "total", "undo", "policy"]

_REQUEST = (
    Key("action", "what was asked for", {"enum": _ACTIONS}, _of_options("action")),
    Key("text", "the operand, or what stands for it", TEXT, _of_request("text")),
    Key("size", "bytes that were asked for", nullable(BYTES), _of_request("size")),
    Key(
        "first_block",
        "the first block that was asked for",
        nullable(COUNT),
        _requested_end(0),
    ),
    Key(
        "last_block",
        "the last block that was asked for, inclusive",
        nullable(COUNT),
        _requested_end(-1),
    ),
    Key(
        "zone",
        "the zone that was asked for",
        nullable(TEXT),
        lambda run: zone.value if (zone := run.tally.selection.request.zone) else None,
    ),
    Key(
        "memmap_on_memory",
        "where struct pages are to be; true in the blocks themselves",
        nullable(FLAG),
        lambda run: (order := run.tally.selection.request.order) and order.memmap_on_memory,
    ),
    Key("node", "only blocks of this node are meant", nullable(COUNT), _of_request("node")),
    Key("device", "only blocks of this device are meant", nullable(TEXT), _of_request("device")),
    Key(
        "layout_files",
        "the files, or the directory, that the layout is from",
        TEXTS,
        _of_options("layout_files"),
    ),
    Key("dry_run", "whether nothing was to be written", FLAG, _of_options("dry_run")),
    Key(
        "all_or_nothing",
        "whether all was to be undone if a block failed",
        FLAG,
        _of_options("all_or_nothing"),
    ),
    Key(
        "timeout",
        "seconds that setting one block offline may take",
        nullable({"type": "number", "exclusiveMinimum": 0}),
        _of_options("timeout"),
    ),
    Key("retry", "how often a busy block is tried again", COUNT, _of_options("retry")),
    Key(
        "force",
        "whether memory is taken however much of it is in use",
        FLAG,
        _of_options("force"),
    ),
    Key(
        "keep_free",
        "bytes that were to stay available; null for the default, or with force",
        nullable(BYTES),
        _of_options("keep_free"),
    ),
    Key("order", "the order in which blocks are tried", TEXT, _of_options("order")),
    Key("sysroot", "the directory of the machine", TEXT, _of_options("sysroot")),
)


# Files, settings, devices


def _failure_of(one: InRun) -> str | int | None:
    """Why a setting could not be written."""
    failed = {setting.path: error for setting, error in one.run.tally.settings_failed}
    error = failed.get(one.thing.path)
    return errno_of(error.errno or 0) if error else None


_FILE = (
    Key("path", "the file", TEXT, lambda one: f"{one.run.root}/{one.thing.path}"),
    Key(
        "change",
        "what was done to it",
        {"enum": ["write", "remove"]},
        lambda one: "remove" if one.thing.removed else "write",
    ),
    Key(
        "happened",
        "false if a run would do so, in a dry run",
        FLAG,
        lambda one: not one.thing.rehearsed,
    ),
)

_SETTING = (
    Key("setting", "its key in the policy of a layout", TEXT, lambda one: one.thing.name),
    Key("path", "its file", TEXT, lambda one: f"{one.run.root}/{one.thing.path}"),
    Key("before", "its value before", TEXT, lambda one: one.thing.before),
    Key("value", "the value that was to be written", TEXT, lambda one: one.thing.word),
    Key(
        "changed",
        "whether it was written",
        FLAG,
        lambda one: one.run.real and one.thing.path in {s.path for s in one.run.tally.settings},
    ),
    Key("errno", NO_ERROR, ERRNO, _failure_of),
)

_DEVICE = (
    Key("device", "a device that brought memory", TEXT, lambda one: one.thing.device),
    Key(
        "bytes_taken",
        "bytes of it that were set offline",
        BYTES,
        lambda one: one.thing.taken * one.run.block_size,
    ),
    Key(
        "bytes_online",
        "bytes of it that are online still; it can be removed if there are none",
        BYTES,
        lambda one: one.thing.left * one.run.block_size,
    ),
)


# The document


def _outcome(told: _Told) -> str:
    return "interrupted" if told.signal is not None else _OUTCOMES[Exit(told.status)]


def _of_run(
    key: str, help_: str, typed: dict[str, Any], value: Callable[[Tried], Any], without: Any
) -> Key:
    """A key about a request that was tried; WITHOUT one it has another value."""
    return Key(key, help_, typed, lambda told: value(told.run) if told.run else without)


_DOCUMENT = (
    version_of(SCHEMA_VERSION),
    _of_run(
        "request",
        "what was asked for, and how; null if the command line is wrong, there is no machine, or a "
        "layout or the record of the last change cannot be used",
        nullable(object_of(_REQUEST)),
        lambda run: filled(_REQUEST, run),
        None,
    ),
    Key(
        "outcome",
        "whether all was done that was asked for",
        {"enum": ["done", "partial", "failed", "interrupted"]},
        _outcome,
    ),
    Key("status", "the exit status", COUNT, lambda told: int(told.status)),
    Key(
        "signal",
        "the signal that ended the work early",
        nullable(COUNT),
        lambda told: told.signal,
    ),
    _of_run(
        "block_size",
        "bytes of a memory block",
        nullable(BYTES),
        lambda run: run.block_size,
        None,
    ),
    _of_run(
        "bytes_asked",
        "bytes that were asked for, or that the blocks have that were",
        nullable(BYTES),
        lambda run: None if (of := run.tally.selection).unknown else of.bytes_asked,
        None,
    ),
    _of_run(
        "bytes_changed",
        "bytes of the blocks whose condition is not what it was",
        BYTES,
        lambda run: len(run.tally.changed) * run.block_size,
        0,
    ),
    _of_run(
        "blocks_already",
        "how many blocks were already as requested",
        COUNT,
        lambda run: run.tally.already,
        0,
    ),
    Key(
        "messages",
        "all messages, in order, with all advice",
        array_of(MESSAGE),
        lambda told: objects_of(told.messages),
    ),
    _of_run(
        "forecast",
        "what a dry run finds: the comments of its script, as messages",
        array_of(MESSAGE),
        lambda run: objects_of(run.forecast),
        [],
    ),
    _of_run(
        "files",
        "files of the layout, and of what applies it, that were written or removed",
        array_of(object_of(_FILE)),
        lambda run: run.each(_FILE, run.output.files),
        [],
    ),
    _of_run(
        "settings",
        "settings that were to be written",
        array_of(object_of(_SETTING)),
        lambda run: run.each(_SETTING, run.tally.selection.settings),
        [],
    ),
    _of_run(
        "devices",
        "devices of which memory was set offline",
        array_of(object_of(_DEVICE)),
        lambda run: run.each(_DEVICE, run.tally.emptied),
        [],
    ),
    _of_run(
        "storage_kept",
        "deconfigured blocks of which the hypervisor keeps storage",
        array_of(COUNT),
        lambda run: list(run.tally.storage_kept),
        [],
    ),
    _of_run(
        "restored",
        "the block that a killed process had left half changed",
        array_of(object_of(BLOCK)),
        lambda run: run.each(BLOCK, run.output.restored),
        [],
    ),
    _of_run(
        "blocks",
        "each block that was changed, or that failed",
        array_of(object_of(BLOCK)),
        lambda run: run.each(BLOCK, run.tally.outcomes.values()),
        [],
    ),
)
