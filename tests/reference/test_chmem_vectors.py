"""chmem does what the reference was recorded doing, on simulated machines, step after step."""

from pathlib import Path
from typing import Any

import pytest

from commands import VECTORS, Command
from simulated import conditions, make

CASES = VECTORS["chmem"]

OPTION_ERRORS = ("unrecognized option", "ambiguous", "requires an argument", "invalid option")
"""Errors of which only the exit status counts."""

LEFT_BEHIND = "configured, but not enabled"
SAYS_WHY = "the reference fails and says nothing"


def difference(step: dict[str, Any]) -> str | None:
    """Which of the deliberate differences a recorded step shows."""
    argv, changed = step["argv"], step["changed"].values()
    if "-e" in argv and any(config == 1 and state == "offline" for config, _, state, _ in changed):
        return LEFT_BEHIND
    if step["rc"] == 1 and not step["stderr"] and not step["stdout"]:
        return SAYS_WHY
    return None


def _name(index: int) -> str:
    case = CASES[index]
    return f"{index} {case['machine']} {' '.join(case['steps'][0]['argv'])}"


@pytest.mark.parametrize("index", range(len(CASES)), ids=_name)
def test_chmem_does_as_recorded(index: int, tmp_path: Path, chmem: Command) -> None:
    case = CASES[index]
    root = make(tmp_path / "machine", VECTORS["machines"][case["machine"]])
    before = conditions(root)
    for step in case["steps"]:
        done = chmem("--sysroot", root, *step["argv"])
        after = conditions(root)
        changed = {str(block): list(now) for block, now in after.items() if now != before[block]}
        assert (done.status, done.stdout) == (step["rc"], step["stdout"]), step["argv"]
        assert changed == step["changed"], step["argv"]
        said = done.stderr.splitlines()
        if not any(error in step["stderr"] for error in OPTION_ERRORS):
            for line in step["stderr"].splitlines():
                assert line in said
        if difference(step) is SAYS_WHY:
            assert said
        before = after


def test_the_vectors_show_just_these_differences() -> None:
    shown = [difference(step) for case in CASES for step in case["steps"]]
    assert len(CASES) == 462
    assert len(shown) == 715
    assert shown.count(LEFT_BEHIND) == 0
    assert shown.count(SAYS_WHY) == 11
