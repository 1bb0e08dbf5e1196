"""The demo: what memory hotplug is like on an s390, for people who have none."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from memsim import directory
from memsim.kernel import FIRMWARE, MEMORY
from memsim.profile import boot

_COLUMNS: Final = "RANGE,SIZE,STATE,BLOCK,CONFIGURED,MEMMAP_ON_MEMORY"
_PYTHON_MODULES: Final = {"lsmem": "lsmem_py", "chmem": "chmem_py", "memsim": "memsim"}


def _config(block: int) -> str:
    return f"/{FIRMWARE}/memory{block}/config"


def _memmap(block: int) -> str:
    return f"/{FIRMWARE}/memory{block}/memmap_on_memory"


def _online(block: int) -> str:
    return f"/{MEMORY}/memory{block}/online"


Step = tuple[str, Sequence[tuple[str, str]], str | None]

_SESSION: Final[Sequence[Step]] = (
    ("Configure a standby block. It appears, still offline.", [(_config(16), "1")], "-c 16"),
    ("Deconfigure it. The hypervisor has it back.", [(_config(16), "0")], "-g 16"),
    (
        "Memory that was there at boot can be given back as well, once it is offline.",
        [(_online(5), "0"), (_config(5), "0")],
        "-d 5|-g 5",
    ),
    (
        "Take it again, with its struct pages in the block itself.",
        [(_memmap(5), "1"), (_config(5), "1"), (_online(5), "1")],
        "-c -m 1 5|-e 5",
    ),
    (
        "And give it back once more.",
        [(_online(5), "0"), (_config(5), "0")],
        "-d 5|-g 5",
    ),
    (
        "Take it as it was at boot, with struct pages elsewhere.",
        [(_memmap(5), "0"), (_config(5), "1"), (_online(5), "1")],
        "-c -m 0 5|-e 5",
    ),
)
"""What is said, the writes that do it, and chmem's options that do it."""


def play() -> int:
    """Play the session twice, each time on a machine of its own; 1 when a command has failed."""
    failed = False
    for heading, by_chmem in (("With plain writes", False), ("The same with chmem", True)):
        print(f"# {heading}, on a simulated s390: 2 GiB online, 2 GiB standby.")
        with tempfile.TemporaryDirectory(prefix="memsim.") as temporary:
            root = f"{temporary}/s390"
            directory.create(root, boot("s390-lpar"))
            listing = ["lsmem", "-o", _COLUMNS, "--summary=never", "--sysroot", root]
            failed |= _run(listing)
            for text, writes, options in _SESSION:
                print(f"\n# {text}")
                if by_chmem:
                    for words in str(options).split("|"):
                        failed |= _run(["chmem", "--sysroot", root, "-b", *words.split()])
                else:
                    for path, value in writes:
                        failed |= _run(["memsim", "write", root, path, value])
                failed |= _run(listing)
        print()
    return int(failed)


def _run(words: Sequence[str]) -> bool:
    """Print a command, run it, and tell whether it failed."""
    print(f"$ {shlex.join(words)}", flush=True)
    module = _PYTHON_MODULES[words[0]]
    return subprocess.run([sys.executable, "-m", module, *words[1:]]).returncode != 0
