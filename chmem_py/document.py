"""What a script is told: one JSON document, and the schema it keeps to."""

import json
import os
from typing import Any

from chmem_py.causes import reason_of
from chmem_py.report import Report, differs
from memory_hotplug.block import MemoryBlock, State, zone_of
from memory_hotplug.errors import BlockError
from memory_hotplug.plan import Action
from memory_hotplug.transaction import Outcome, Result, Write

OUTCOMES = {0: "done", 64: "partial"}


def document(report: Report, status: int, signal: int | None, options: dict[str, Any]) -> str:
    """The whole document. OPTIONS are those that say how, as they are to be shown."""
    request, order, size = report.request, report.order, report.machine.block_size
    by_size = request.size is not None
    outcome = "interrupted" if signal is not None else OUTCOMES.get(status, "failed")
    touched = list(report.outcomes.values())
    return json.dumps(
        {
            "request": {
                "action": order.action.value,
                "text": request.text,
                "size": request.size,
                "first_block": None if by_size else request.first,
                "last_block": None if by_size else request.last,
                "zone": order.zone.value if order.zone else None,
                "memmap_on_memory": order.memmap_on_memory,
                **options,
            },
            "outcome": outcome,
            "status": status,
            "signal": signal,
            "block_size": size,
            "bytes_asked": report.selection.asked * size,
            "bytes_changed": sum(map(differs, touched)) * size,
            "blocks_already": report.already,
            "messages": report.messages,
            "blocks": [_block(one, report) for one in touched],
        },
        indent=2,
    )


def _block(outcome: Outcome, report: Report) -> dict[str, Any]:
    size = report.machine.block_size
    root = os.path.abspath(report.machine.tree.root).rstrip("/")
    return {
        "block": outcome.number,
        "start": outcome.number * size,
        "size": size,
        "result": outcome.result.value,
        "before": _condition(outcome.before),
        "after": _condition(outcome.after),
        "steps": [_write(write, root) for write in outcome.writes],
        "undone": list(outcome.undone),
        "error": _error(outcome.error, report),
        "not_undone": _error(outcome.stuck, report),
    }


def _condition(block: MemoryBlock) -> dict[str, Any]:
    zone = zone_of(block)
    return {
        "state": block.state.value if block.state else None,
        "zone": zone.value if zone else None,
        "configured": block.configured,
        "memmap_on_memory": block.memmap_on_memory,
    }


def _write(write: Write, root: str) -> dict[str, Any]:
    return {
        "step": write.step,
        "path": f"{root}/{write.path}",
        "value": write.word,
        "happened": write.happened,
        "errno": None if write.errno is None else _errno_name(write.errno),
        "tries": write.tries,
        "undoing": write.undoing,
    }


def _errno_name(number: int) -> str:
    import errno

    return errno.errorcode.get(number, str(number))


def _error(error: BlockError | None, report: Report) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "step": error.step,
        "errno": error.errno_name,
        "reason": reason_of(error),
        "hint": report.advice_on(error),
    }


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
    text, yes_no = {"type": "string"}, {"type": "boolean"}
    count = {"type": "integer", "minimum": 0}
    seconds = {"type": "number", "exclusiveMinimum": 0}
    names = {"type": "array", "items": text}
    error = _or_null(_object(step=text, errno=_or_null(text), reason=text, hint=text))
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
    block = _object(
        block=count,
        start=count,
        size=count,
        result={"enum": [result.value for result in Result if result is not Result.ALREADY]},
        before=condition,
        after=condition,
        steps={"type": "array", "items": step},
        undone=names,
        error=error,
        not_undone=error,
    )
    request = _object(
        action={"enum": [action.value for action in Action]},
        text=text,
        size=_or_null(count),
        first_block=_or_null(count),
        last_block=_or_null(count),
        zone=_or_null(text),
        memmap_on_memory=_or_null(yes_no),
        node=_or_null(count),
        sysroot=text,
        dry_run=yes_no,
        all_or_nothing=yes_no,
        timeout=_or_null(seconds),
        retry=count,
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What chmem --json writes",
        **_object(
            request=request,
            outcome={"enum": ["done", "partial", "failed", "interrupted"]},
            status=count,
            signal=_or_null(count),
            block_size=count,
            bytes_asked=count,
            bytes_changed=count,
            blocks_already=count,
            messages=names,
            blocks={"type": "array", "items": block},
        ),
    }
