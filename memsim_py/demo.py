"""memsim demo: a session with standby memory on a simulated s390."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from memsim.sysfs import FIRMWARE, MEMORY

__all__ = ["play"]

_ROOT: Final = "s390"
_WIDTH: Final = 80
"""No line is wider, so that none is broken in a usual terminal."""
_COLUMNS: Final = "BLOCK,SIZE,STATE,CONFIGURED,MEMMAP_ON_MEMORY"
_PYTHON_MODULES: Final = {"lsmem": "lsmem_py", "chmem": "chmem_py", "memsim": "memsim_py"}


def _config(block: int) -> str:
    return f"/{FIRMWARE}/memory{block}/config"


def _memmap(block: int) -> str:
    return f"/{FIRMWARE}/memory{block}/memmap_on_memory"


def _online(block: int) -> str:
    return f"/{MEMORY}/memory{block}/online"


DemoStep = tuple[str, Sequence[tuple[str, str]], Sequence[str]]

_SESSION: Final[Sequence[DemoStep]] = (
    (
        "Configure a standby block. It appears, still offline.",
        [(_config(16), "1")],
        ["--configure", "16"],
    ),
    ("Deconfigure it. The hypervisor has it back.", [(_config(16), "0")], ["--deconfigure", "16"]),
    (
        "Memory that was there at boot can be given back as well, once it is offline.",
        [(_online(5), "0"), (_config(5), "0")],
        ["--disable", "5"],
    ),
    (
        "Take it again, with its struct pages in the block itself.",
        [(_memmap(5), "1"), (_config(5), "1"), (_online(5), "1")],
        ["--enable", "--memmap-on-memory", "1", "5"],
    ),
    (
        "And give it back once more.",
        [(_online(5), "0"), (_config(5), "0")],
        ["--disable", "5"],
    ),
    (
        "Take it as it was at boot, with struct pages elsewhere.",
        [(_memmap(5), "0"), (_config(5), "1"), (_online(5), "1")],
        ["--enable", "--memmap-on-memory", "0", "5"],
    ),
    (
        "All of that at once, for a block that is in use: five writes, or one command.",
        [
            (_online(6), "0"),
            (_config(6), "0"),
            (_memmap(6), "1"),
            (_config(6), "1"),
            (_online(6), "1"),
        ],
        ["--reconfigure", "--memmap-on-memory", "1", "6"],
    ),
)
"""For each step: a sentence, the writes that do it, and the options of chmem that do the same."""


def play() -> int:
    """Play the session twice, each time on a new machine; return 1 if a command failed, else 0."""
    failed = False
    listing = ["lsmem", "--sysroot", _ROOT, "--summary=never", "--output", _COLUMNS]
    for heading, by_chmem in (("With plain writes", False), ("The same with chmem", True)):
        with tempfile.TemporaryDirectory(prefix="memsim.") as temporary:
            print(f"# {heading}, on a simulated s390: 2 GiB online, 2 GiB standby.")
            failed |= _run(temporary, ["memsim", "create", _ROOT, "--profile", "s390-lpar"])
            failed |= _run(temporary, listing)
            for text, writes, chmem in _SESSION:
                print(f"\n# {text}")
                commands = [["memsim", "write", _ROOT, path, value] for path, value in writes]
                if by_chmem:
                    commands = [["chmem", "--sysroot", _ROOT, "--blocks", *chmem]]
                for command in (*commands, listing):
                    failed |= _run(temporary, command)
            print()
    return int(failed)


def _run(directory: str, words: Sequence[str]) -> bool:
    """Print a command and run it in a directory; return whether it failed."""
    typed = f"$ {shlex.join(words)}"
    if len(typed) > _WIDTH:
        typed = typed.replace(" --output", " \\\n    --output")
    print(typed, flush=True)
    # In another directory, modules that are not installed are found only by absolute paths.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    command = [sys.executable, "-m", _PYTHON_MODULES[words[0]], *words[1:]]
    done = subprocess.run(command, cwd=directory, env=os.environ | {"PYTHONPATH": path})
    return done.returncode != 0
