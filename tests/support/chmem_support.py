"""Simulated machines that chmem is run on, and what they are afterwards."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chmem_py.cli import chmem
from commands import Outcome
from hotplug_cli.program import status_of
from memsim import directory
from memsim.kernel import IN_ZONE, MEMMAP, ZONES, Kernel
from memsim.profile import boot

MIB = 1 << 20


class Condition(NamedTuple):
    """A block as the reference vectors write it."""

    config: int | None
    memmap: int | None
    state: str
    zone: str | None


def make(root: Path, machine: Mapping[str, Any] | str) -> Path:
    """A simulated machine in a directory."""
    directory.create(root, boot(machine))
    return root


def s390(first: int = 4, standby: int = 4, **more: Any) -> dict[str, Any]:
    """A machine with FIRST blocks online and STANDBY more to be configured, 128 MiB each."""
    blocks: list[dict[str, Any]] = [{"range": [0, first - 1]}]
    if standby:
        blocks.append({"range": [first, first + standby - 1], "config": 0})
    return {
        "block_size": 128 * MIB,
        "firmware": True,
        "memmap_param": "Y",
        "blocks": blocks,
        **more,
    }


def x86(online: int = 4, offline: int = 4, **more: Any) -> dict[str, Any]:
    """A machine that needs no configuring."""
    blocks: list[dict[str, Any]] = [{"range": [0, online - 1]}]
    if offline:
        blocks.append({"range": [online, online + offline - 1], "state": "offline"})
    return {"block_size": 128 * MIB, "memmap_param": "N", "blocks": blocks, **more}


def kernel_of(root: Path) -> Kernel:
    return directory.Directory(root).kernel()


def conditions(root: Path) -> dict[int, Condition]:
    """Every block as the simulated kernel itself has it."""
    return dict(_conditions(kernel_of(root)))


def _conditions(kernel: Kernel) -> Iterator[tuple[int, Condition]]:
    firmware = kernel.machine.firmware
    for block in kernel.blocks():
        place = kernel.place_of(block)
        memmap = kernel.flags[block - kernel.first] & MEMMAP
        present = kernel.present(block)
        online = place >= IN_ZONE
        yield (
            block,
            Condition(
                int(present) if firmware else None,
                memmap if firmware else None,
                "online" if online else "offline" if present else "absent",
                ZONES[place - IN_ZONE] if online else None,
            ),
        )


def run(capsys: Any, monkeypatch: Any, *arguments: str | Path) -> Outcome:
    """Runs the chmem command line in this process, for the sake of speed."""
    monkeypatch.setattr(sys, "argv", ["chmem", *map(str, arguments)])
    monkeypatch.delenv("POSIXLY_CORRECT", raising=False)
    capsys.readouterr()
    status = status_of(chmem, "chmem")
    written = capsys.readouterr()
    return Outcome(status, written.out, written.err)


def start(*arguments: str | Path, **kwargs: Any) -> subprocess.Popen[str]:
    """chmem as a process of its own, still running."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "chmem_py", *map(str, arguments)]
    return subprocess.Popen(command, text=True, env=environment, **streams)
