"""What chmem tells of a change, compared with what the machine is."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from simulated import Condition

Conditions = dict[int, Condition]


def document_in(out: str) -> dict[str, Any] | None:
    """The document that chmem --json wrote; None if it is none."""
    try:
        found: dict[str, Any] = json.loads(out)
    except ValueError:
        return None
    return found


def said_in(document: dict[str, Any]) -> list[str]:
    """The lines of the messages of a document, each followed by the advice on it."""
    return [
        line
        for message in document["messages"]
        for line in (message["text"], *message["advice"].splitlines())
    ]


def untrue(
    status: int,
    document: dict[str, Any],
    before: Conditions,
    now: Conditions,
    elsewhere: Collection[int] = (),
) -> Iterator[str]:
    """What a document says that is not so. Nothing is said of the blocks ELSEWHERE, which somebody
    else has changed meanwhile."""
    if document["status"] != status:
        yield f"status {status}, told {document['status']}"
    told = {block["block"]: block for block in document["blocks"]}
    for number, condition in now.items():
        if number in elsewhere:
            continue
        was = before.get(number, condition)
        expected = condition if number in told else was
        shown = told[number]["after"] if number in told else shown_as(condition)
        if shown != shown_as(condition):
            yield f"block {number} is {condition}, told {shown}"
        if expected != condition:
            yield f"block {number} was {was} and is {condition}, untold"
        if number in told and told[number]["before"] != shown_as(was):
            yield f"block {number} was {was}, told {told[number]['before']}"
    # A layout may move a block to another zone, and nothing else of it.
    done = {number for number, block in told.items() if block["result"] == "done"}
    moved = [
        n
        for n in now
        if n in before and n not in elsewhere
        if unlike(now[n], before[n]) or (n in done and now[n] != before[n])
    ]
    size = document["block_size"] or 0
    if not elsewhere and document["bytes_changed"] != len(moved) * size:
        yield f"bytes_changed {document['bytes_changed']}, but {moved} changed"
    if status == 1 and moved:
        yield f"status 1, but {moved} changed"
    outcomes = {0: "done", 1: "failed", 64: "partial"}
    if document["outcome"] != outcomes.get(status, "interrupted"):
        yield f"status {status}, outcome {document['outcome']}"


def shown_as(condition: Condition) -> dict[str, Any]:
    """A condition as the document has it."""
    return {
        "state": "offline" if condition.state == "absent" else condition.state,
        # As util-linux writes it.
        "zone": "None" if condition.zone == "none" else condition.zone,
        "configured": None if condition.config is None else bool(condition.config),
        "memmap_on_memory": None if condition.memmap is None else bool(condition.memmap),
    }


def unlike(one: Condition, other: Condition) -> bool:
    """Whether two conditions differ in more than the zone."""
    return one._replace(zone=None) != other._replace(zone=None)
