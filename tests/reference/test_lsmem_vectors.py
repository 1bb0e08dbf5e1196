"""lsmem does what the reference was recorded doing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import VECTORS, Command


def _name(case: dict[str, Any]) -> str:
    return f"{case['machine']} {' '.join(case['argv'])}"


@pytest.mark.parametrize("case", VECTORS["lsmem"], ids=_name)
def test_lsmem_does_as_util_linux_was_recorded(
    case: dict[str, Any], lsmem: Command, machines: Callable[[str], Path]
) -> None:
    done = lsmem("--sysroot", machines(case["machine"]), *case["argv"])
    assert (done.status, done.stdout) == (case["rc"], case["stdout"])
    if case["stderr"]:
        assert done.stderr == case["stderr"]
