"""Both commands do what util-linux 2.43 was recorded doing: on a terminal, in Polish, and where the
first block of an s390 is not configured. record.py has recorded it."""

import json
from pathlib import Path
from typing import Any

import pytest

import static_tree
from commands import TOP, run_program
from parity import without_tooltips
from simulated import conditions, make
from terminal import Terminal

FOUND: dict[str, Any] = json.loads((TOP / "tests/reference/vectors-2.43.json").read_text())

pytestmark = pytest.mark.needs("locales", "translations")


def _name(case: dict[str, Any]) -> str:
    return f"{case['machine']} {' '.join(case['argv'])} {case['columns']}"


@pytest.mark.parametrize("case", FOUND["lsmem"], ids=_name)
def test_lsmem_does_as_a_newer_util_linux_was_recorded(
    case: dict[str, Any], tmp_path: Path, polish: dict[str, str]
) -> None:
    root = static_tree.make(tmp_path / "tree", FOUND["machines"][case["machine"]])
    there = {**polish, "TERM": "xterm", "NO_COLOR": "1", **case["environment"]}
    words = ("lsmem", "-s", root, *case["argv"])
    if case["columns"]:
        terminal = Terminal(*words, columns=case["columns"], environment=there)
        seen = terminal.finish(), terminal.written.decode(), ""
    else:
        done = run_program(*words, env=there)
        seen = done.returncode, done.stdout, done.stderr
    assert (seen[0], without_tooltips(seen[1]), seen[2]) == (
        case["rc"],
        case["stdout"],
        case["stderr"],
    )


@pytest.mark.parametrize("index", range(len(FOUND["chmem"])))
def test_chmem_does_as_a_newer_util_linux_was_recorded(
    index: int, tmp_path: Path, polish: dict[str, str]
) -> None:
    case = FOUND["chmem"][index]
    root = make(tmp_path / "machine", FOUND["machines"][case["machine"]])
    before = conditions(root)
    for step in case["steps"]:
        there = {**polish, **case["environment"]}
        done = run_program("chmem", "-s", root, *step["argv"], env=there)
        after = conditions(root)
        changed = {str(block): list(now) for block, now in after.items() if now != before[block]}
        assert (done.returncode, done.stdout) == (step["rc"], step["stdout"]), step["argv"]
        assert done.stderr == step["stderr"]
        assert changed == step["changed"], step["argv"]
        before = after
