"""Saved guests: a machine is booted once, and from then on it is there in about a second.

A saved guest is named by the hashes of everything that it was made from: kernel, file system (the
agent and our tools in it), QEMU's version, the description of the machine, and the code that plays
it. So none is ever taken for another, and after a change of any of them a new one is booted.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lpar import qemu
from lpar.description import Partition
from lpar.fetch import alone
from lpar.machine import Lpar, LparError
from lpar.userland import FileSystem

KEPT: Final = 10
"""How many saved guests stay in the cache, each of some 180 MiB; the oldest go first."""


def ready(
    partition: Partition,
    kernel: Path,
    files: FileSystem,
    directory: Path,
    tell: Callable[[str], object],
) -> Lpar:
    """A fresh guest, just booted as far as it can tell; LparError when it does not boot.

    `directory` holds the saved guests, `tell` is given a line where a boot is needed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / f"{_name(partition, kernel, files)}.state"
    with alone(state.with_suffix(".lock")):
        if state.exists():
            try:
                return _restored(partition, kernel, state)
            except LparError:
                state.unlink()
        tell("booting a guest for the first time; from then on it takes about a second")
        with tempfile.TemporaryDirectory(prefix="boot-", dir=directory) as temporary:
            initrd = Path(temporary) / "initrd"
            files.write(initrd)
            with Lpar(partition, kernel, initrd) as lpar:
                lpar.save(state)
        _forget(directory)
        return _restored(partition, kernel, state)


def _restored(partition: Partition, kernel: Path, state: Path) -> Lpar:
    """The guest of a state, when it has answered."""
    lpar = Lpar(partition, kernel, None, state)
    try:
        lpar.call("def here(): return True", "here")
    except BaseException:
        lpar.close()
        raise
    state.touch()
    return lpar


def _name(partition: Partition, kernel: Path, files: FileSystem) -> str:
    facts = [hashlib.sha256(kernel.read_bytes()).hexdigest(), files.key, qemu.version()]
    facts.append(partition.key)
    facts += [source.read_text() for source in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]


def _forget(directory: Path) -> None:
    """Remove the states that were used longest ago, and locks that nobody can want."""
    states = sorted(directory.glob("*.state"), key=lambda state: state.stat().st_mtime)
    for state in states[:-KEPT]:
        for file in (state, state.with_suffix(".json"), state.with_suffix(".lock")):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
