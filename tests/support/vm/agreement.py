"""Whether chmem's report, its exit status and the machine say the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from guest.channel import Ended
from guest.judge.replay import FIRMWARE, MEMORY
from guest.s390.lpar import Lpar
from vm.lpars import call


class Condition(NamedTuple):
    """A memory block as the kernel shows it, and as chmem reports it."""

    state: str
    zone: str | None
    configured: bool
    memmap_on_memory: bool


Conditions = dict[int, Condition]


def conditions(guest: Lpar) -> Conditions:
    """Every block that the machine has or may get."""
    files: dict[str, str] = {path: t.strip() for path, t in call(guest, "condition").items()}
    found = {}
    for path, text in files.items():
        if path.startswith(FIRMWARE) and path.endswith("/config"):
            number = int(path.split("/")[-2].removeprefix("memory"))
            state = files.get(f"{MEMORY}/memory{number}/state", "offline")
            zones = files.get(f"{MEMORY}/memory{number}/valid_zones")
            memmap = files[f"{FIRMWARE}/memory{number}/memmap_on_memory"] == "1"
            zone = zones if state == "online" else None
            found[number] = Condition(state, zone, text == "1", memmap)
    return found


def prepare(guest: Lpar, blocks: Mapping[int, Any]) -> Conditions:
    """Bring blocks to a condition; the machine then."""
    call(guest, "prepare", blocks=blocks)
    return conditions(guest)


GOALS: Final[dict[str, Callable[[Condition, Condition], bool]]] = {
    "enable": lambda before, after: after.state == "online" and after.configured,
    "disable": lambda before, after: (
        after.state == "offline"
        and after.configured is (before.configured and before.state == "offline")
    ),
    "configure": lambda before, after: after.configured and after.state == before.state,
    "deconfigure": lambda before, after: not after.configured and after.state == "offline",
    "reconfigure": lambda before, after: after[:3] == before[:3],
}
"""An action, and what it makes of a block: its condition before and after."""


def check(result: Ended, before: Conditions, after: Conditions) -> dict[str, Any]:
    """The report, when it, the status and the machine agree and no block is half done."""
    assert result.stdout, f"no document, status {result.status}: {result.stderr}"
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["status"] == result.status
    told = {block["block"]: block for block in report["blocks"]}
    for number, block in told.items():
        assert Condition(**block["before"]) == before[number], f"before, block {number}"
        assert Condition(**block["after"]) == after[number], f"after, block {number}"
    untouched = before.keys() - told.keys()
    assert {n: after[n] for n in untouched} == {n: before[n] for n in untouched}
    done = {n for n in told if _as_asked(report["request"], before[n], after[n])}
    for number in told.keys() - done:
        # Not done is as it was, unless the report says that it could not be brought back.
        if told[number]["not_undone"] is None:
            assert after[number] == before[number], f"block {number} is half done"
    if report["outcome"] == "done":
        assert result.status == 0
        assert done == told.keys()
    # That the hypervisor keeps storage is found in the log when all is done.
    kept = report["storage_kept"]
    if report["request"]["all_or_nothing"] and result.status != 0 and not kept:
        brought_back = {n for n in told if told[n]["not_undone"] is None}
        assert {n: after[n] for n in brought_back} == {n: before[n] for n in brought_back}
    return report


def _as_asked(request: Mapping[str, Any], before: Condition, after: Condition) -> bool:
    wanted = request["memmap_on_memory"]
    right = wanted is None or after.memmap_on_memory is wanted
    return right and GOALS[request["action"]](before, after)
