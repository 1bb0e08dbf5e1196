"""The dry run promises what the run then does, on every machine and for every action."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from memory_hotplug import Machine
from memsim import directory
from memsim.kernel import Kernel
from memsim.profile import PROFILES, boot

ACTIONS = {
    "enable": ["-e"],
    "enable into Movable": ["-e", "-z", "Movable"],
    "enable into Normal": ["-e", "-z", "Normal"],
    "disable": ["-d"],
    "disable from Movable": ["-d", "-z", "Movable"],
    "configure": ["-c"],
    "configure with struct pages elsewhere": ["-c", "-m", "0"],
    "deconfigure": ["-g"],
    "reconfigure": ["--reconfigure", "-m", "1"],
    "reconfigure with struct pages elsewhere": ["--reconfigure", "-m", "0"],
}


def requests(machine: Machine) -> list[list[str]]:
    """Ranges at the edges of what the machine has, and sizes of few blocks."""
    ranges = list(machine.ranges(("state", "configured", "zones", "node")))
    found = []
    for one in ranges:
        for first, last in ((one.first, one.first + 1), (one.last - 1, one.last)):
            found.append(["-b", f"{max(first, one.first)}-{min(last, one.last)}"])
    mib = machine.block_size >> 20
    return [*found, [f"{mib}m"], [f"{3 * mib}m"]]


LARGE = ("huge", "ppc64-large")
"""Machines of which a copy for each request would take minutes."""


@pytest.fixture(scope="module", params=[name for name in PROFILES if name not in LARGE])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine of each kind. Which pages of a block can be moved and where there is room for
    them, only the kernel knows: none is in the way."""
    root: Path = tmp_path_factory.mktemp("dry-run") / request.param
    directory.create(root, boot({**PROFILES[request.param], "faults": {}, "used": 0}))
    return root


@pytest.mark.parametrize("action", ACTIONS)
def test_a_dry_run_and_a_run_agree(action: str, root: Path, chmem: Command) -> None:
    for request in requests(Machine.at(root)):
        words = ["-s", root, "--json", *ACTIONS[action], *request]
        promised, done = chmem(*words, "--dry-run"), chmem(*words)
        directory.Directory(root).change(Kernel.reboot)
        assert promised.status == done.status, (request, promised, done)
        assert outcomes(promised.stdout) == outcomes(done.stdout), request


def outcomes(document: str) -> list[tuple[Any, ...]]:
    """What became of each block, and by what."""
    return [
        (
            block["block"],
            block["result"],
            block["after"],
            [(step["path"], step["value"], step["errno"]) for step in block["steps"]],
            block["error"] and block["error"]["errno"],
        )
        for block in json.loads(document)["blocks"]
    ]
