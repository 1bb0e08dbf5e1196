"""chmem does what the reference was recorded doing, on simulated machines, step after step."""

from pathlib import Path
from typing import Any

import pytest

from commands import VECTORS, Command
from parity import OPTION_ERRORS
from simulated import conditions, make

CASES = VECTORS["chmem"]

LEFT_BEHIND = "configured, but not enabled"
SAYS_WHY = "the reference fails and says nothing"
IN_ANOTHER_ZONE = "the reference passes over a block that is online in another zone"


def difference(step: dict[str, Any]) -> str | None:
    """Which of the deliberate differences a recorded step shows."""
    argv, changed = step["argv"], step["changed"].values()
    if "-e" in argv and any(config == 1 and state == "offline" for config, _, state, _ in changed):
        return LEFT_BEHIND
    if step["rc"] == 1 and not step["stderr"] and not step["stdout"]:
        return SAYS_WHY
    if "-e" in argv and "already enabled" in step["stdout"] and "-z" in argv:
        return IN_ANOTHER_ZONE
    return None


def _name(index: int) -> str:
    case = CASES[index]
    return f"{index} {case['machine']} {' '.join(case['steps'][0]['argv'])}"


@pytest.mark.parametrize("index", range(len(CASES)), ids=_name)
def test_chmem_does_as_util_linux_was_recorded(
    index: int, tmp_path: Path, chmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHMEM_ADVICE")
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
        if difference(step) is SAYS_WHY:
            assert len(said) == 1
        elif difference(step) is IN_ANOTHER_ZONE:
            assert len(said) == 1
            assert "online already, in zone" in said[0]
        elif not any(error in step["stderr"] for error in OPTION_ERRORS):
            assert said == step["stderr"].splitlines(), step["argv"]
        before = after


def test_the_vectors_show_just_these_differences() -> None:
    shown = [difference(step) for case in CASES for step in case["steps"]]
    assert len(CASES) == 462
    assert len(shown) == 715
    assert shown.count(LEFT_BEHIND) == 0
    assert shown.count(SAYS_WHY) == 11
    assert shown.count(IN_ANOTHER_ZONE) == 2
