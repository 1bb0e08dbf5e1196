"""The JSON document of --json, and its schema."""

import json
import os
from collections.abc import Sequence
from typing import Any

from chmem_py.advice import words_of
from chmem_py.output import FileChange, Output
from chmem_py.selection import Selection
from chmem_py.tally import Tally
from hotplug_cli.exits import Exit
from memory_hotplug.block import State
from memory_hotplug.causes import Cause
from memory_hotplug.change.outcome import Outcome, Result, Write
from memory_hotplug.change.plan import Action
from memory_hotplug.condition import condition_of
from memory_hotplug.errors import BlockError, name_of

SCHEMA_VERSION = 1
"""The version of the document. It grows when scripts that read the document must change."""

_NOT_TRIED = (Cause.KEPT_FREE, Cause.KERNEL_ZONES)
"""Causes for which a block is not tried; a message names it then."""

_WITHOUT_BLOCK = (Result.ALREADY, Result.NOT_TRIED)
"""The results of blocks that the document only counts, or names in a message."""

_OUTCOMES = {Exit.SUCCESS: "done", Exit.PARTLY: "partial"}


def document_of(
    tally: Tally,
    status: int,
    signal: int | None,
    options: dict[str, Any],
    output: Output,
    root: str,
) -> str:
    """The document about a request that was tried below ROOT. OPTIONS has the action, and how it
    was done; OUTPUT what was told.

    In a dry run nothing has happened: steps, settings and files say so alike. The results, and the
    conditions afterwards, are those that are forecast.
    """
    selection, real = tally.selection, not options["dry_run"]
    size = selection.block_size
    top = os.path.abspath(root).rstrip("/")
    outcomes = tally.outcomes.values()
    return _dump(
        request=_request(selection, options),
        status=status,
        signal=signal,
        block_size=size,
        bytes_asked=selection.bytes_asked,
        bytes_changed=len(tally.changed) * size,
        blocks_already=tally.already,
        messages=output.messages,
        forecast=list(tally.forecast),
        files=[_file(change, top) for change in output.files],
        settings=_settings(tally, top, real=real),
        devices=[
            {"device": one.device, "bytes_taken": one.taken * size, "bytes_online": one.left * size}
            for one in tally.emptied
        ],
        storage_kept=list(tally.storage_kept),
        restored=[_block(outcome, tally, top, real=real) for outcome in output.restored],
        blocks=[_block(outcome, tally, top, real=real) for outcome in outcomes],
    )


def failure(status: int, messages: Sequence[str]) -> str:
    """The document if the command line is wrong or there is no machine."""
    return _dump(
        request=None,
        status=status,
        signal=None,
        block_size=None,
        bytes_asked=None,
        bytes_changed=0,
        blocks_already=0,
        messages=messages,
        forecast=[],
        files=[],
        settings=[],
        devices=[],
        storage_kept=[],
        restored=[],
        blocks=[],
    )


def _dump(*, request: Any, status: int, signal: int | None, **more: Any) -> str:
    outcome = "interrupted" if signal is not None else _OUTCOMES.get(Exit(status), "failed")
    head = {
        "schema_version": SCHEMA_VERSION,
        "request": request,
        "outcome": outcome,
        "status": int(status),
        "signal": signal,
    }
    return json.dumps({**head, **more}, indent=2)


def _request(selection: Selection, options: dict[str, Any]) -> dict[str, Any]:
    request = selection.request
    by_number = not (selection.by_size or request.action is Action.APPLY)
    return {
        "action": options["action"],
        "text": request.text,
        "size": request.size,
        "first_block": request.first if by_number else None,
        "last_block": request.last if by_number else None,
        "zone": request.zone.value if request.zone else None,
        "memmap_on_memory": request.memmap_on_memory,
        "node": request.node,
        "device": request.device,
        **options,
    }


def _file(change: FileChange, root: str) -> dict[str, Any]:
    return {
        "path": f"{root}/{change.path}",
        "change": "remove" if change.removed else "write",
        "happened": not change.rehearsed,
    }


def _settings(tally: Tally, root: str, *, real: bool) -> list[dict[str, Any]]:
    """The settings that were to be written."""
    errors = {setting.path: name_of(error.errno or 0) for setting, error in tally.settings_failed}
    done = {setting.path for setting in tally.settings}
    return [
        {
            "setting": setting.name,
            "path": f"{root}/{setting.path}",
            "before": setting.before,
            "value": setting.word,
            "changed": real and setting.path in done,
            "errno": errors.get(setting.path),
        }
        for setting in tally.selection.settings
    ]


def _block(outcome: Outcome, tally: Tally, root: str, *, real: bool) -> dict[str, Any]:
    size = tally.selection.block_size
    return {
        "block": outcome.number,
        "start": outcome.number * size,
        "size": size,
        "result": outcome.result.value,
        "before": condition_of(outcome.before),
        "after": condition_of(outcome.after),
        "steps": [_write(write, root, real=real) for write in outcome.writes],
        "undone": list(outcome.undone),
        "error": _error(outcome.error, tally),
        "not_undone": _error(outcome.stuck, tally),
    }


def _write(write: Write, root: str, *, real: bool) -> dict[str, Any]:
    return {
        "step": write.step,
        "path": f"{root}/{write.path}",
        "value": write.word,
        "happened": real and write.happened,
        "errno": None if write.errno is None else name_of(write.errno),
        "tries": write.tries,
        "undoing": write.undoing,
    }


def _error(error: BlockError | None, tally: Tally) -> dict[str, Any] | None:
    if error is None:
        return None
    words = words_of(error, tally)
    return {
        "step": error.step,
        "cause": _cause(error.cause),
        "errno": error.errno_name,
        "reason": words.reason,
        "advice": words.advice,
    }


def _cause(cause: Cause) -> str:
    return cause.name.lower()


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document."""
    count = {"type": "integer", "minimum": 0}
    names = {"type": "array", "items": {"type": "string"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What chmem --json writes",
        **_object(
            schema_version={"const": SCHEMA_VERSION},
            request=_or_null(_request_schema()),
            outcome={"enum": ["done", "partial", "failed", "interrupted"]},
            status=count,
            signal=_or_null(count),
            block_size=_or_null(count),
            bytes_asked=_or_null(count),
            bytes_changed=count,
            blocks_already=count,
            messages=names,
            forecast=names,
            files={"type": "array", "items": _file_schema()},
            settings={"type": "array", "items": _setting_schema()},
            devices={
                "type": "array",
                "items": _object(device={"type": "string"}, bytes_taken=count, bytes_online=count),
            },
            storage_kept={"type": "array", "items": count},
            restored={"type": "array", "items": _block_schema()},
            blocks={"type": "array", "items": _block_schema()},
        ),
    }


def _request_schema() -> dict[str, Any]:
    text, yes_no = {"type": "string"}, {"type": "boolean"}
    count = {"type": "integer", "minimum": 0}
    return _object(
        action={"enum": [*(action.value for action in Action), "total", "undo", "policy"]},
        layout_files={"type": "array", "items": text},
        text=text,
        size=_or_null(count),
        first_block=_or_null(count),
        last_block=_or_null(count),
        zone=_or_null(text),
        memmap_on_memory=_or_null(yes_no),
        node=_or_null(count),
        device=_or_null(text),
        sysroot=text,
        dry_run=yes_no,
        all_or_nothing=yes_no,
        timeout=_or_null({"type": "number", "exclusiveMinimum": 0}),
        retry=count,
        force=yes_no,
        keep_free=_or_null(count),
        order=text,
    )


def _file_schema() -> dict[str, Any]:
    return _object(
        path={"type": "string"},
        change={"enum": ["write", "remove"]},
        happened={"type": "boolean"},
    )


def _setting_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return _object(
        setting=text,
        path=text,
        before=text,
        value=text,
        changed={"type": "boolean"},
        errno=_or_null(text),
    )


def _block_schema() -> dict[str, Any]:
    text, yes_no = {"type": "string"}, {"type": "boolean"}
    count = {"type": "integer", "minimum": 0}
    causes = [_cause(cause) for cause in Cause if cause not in _NOT_TRIED]
    error = _or_null(
        _object(step=text, cause={"enum": causes}, errno=_or_null(text), reason=text, advice=text)
    )
    condition = _object(
        state={"enum": [state.value for state in State]},
        zone=_or_null(text),
        configured=_or_null(yes_no),
        memmap_on_memory=_or_null(yes_no),
    )
    step = _object(
        step=text,
        path=text,
        value=text,
        happened=yes_no,
        errno=_or_null(text),
        tries={"type": "integer", "minimum": 1},
        undoing=yes_no,
    )
    return _object(
        block=count,
        start=count,
        size=count,
        result={"enum": [result.value for result in Result if result not in _WITHOUT_BLOCK]},
        before=condition,
        after=condition,
        steps={"type": "array", "items": step},
        undone={"type": "array", "items": text},
        error=error,
        not_undone=error,
    )
