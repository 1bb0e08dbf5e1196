"""The simulated firmware interface against the real one: the same writes, the same machine.

The real kernel's part is done while other tests run; a test waits for its own machine.
"""

from collections.abc import Mapping
from typing import Any

import pytest

from guest.judge.comparison import Answer, Comparison, compare
from guest.s390.lpar import Lpar
from memsim import profile
from memsim.sysfs import Sysfs
from vm.lpar_machines import FUZZED
from vm.lpars import LPAR, call


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fuzzed", list(FUZZED))
def test_random_writes_have_the_same_outcome(
    fuzzed: str, answers: list[Answer], tally: Comparison
) -> None:
    machine, _, writes = FUZZED[fuzzed]
    tally += compare(_without_nodes(machine), writes, answers)
    assert tally.writes == len(writes)
    assert not tally.unexplained


@pytest.mark.parametrize("top", ["sys/firmware/memory", "sys/devices/system/memory"])
def test_the_simulated_tree_has_the_files_and_modes_of_the_real_one(lpar: Lpar, top: str) -> None:
    assert _tree(_without_nodes(LPAR), top) == call(lpar, "tree", top=f"/{top}")


def _without_nodes(machine: Mapping[str, Any]) -> Sysfs:
    """Debian's kernel for s390 has no NUMA: it has no nodes, nor links to them."""
    groups = [{**group, "has_node": False} for group in machine["blocks"]]
    return Sysfs(profile.boot({**machine, "blocks": groups}))


def _tree(sysfs: Sysfs, top: str) -> dict[str, str]:
    """The simulated counterpart of lpar_guest.tree."""
    found: dict[str, str] = {}
    for name in sysfs.listdir(top):
        path = f"{top}/{name}"
        kind = sysfs.kind(path)
        found[name] = f"{sysfs.entry(path).mode:o}" if kind == "file" else str(kind)
        if kind == "dir":
            found |= {f"{name}/{below}": what for below, what in _tree(sysfs, path).items()}
    return found
