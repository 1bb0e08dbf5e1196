"""Saved guests: a machine is booted only once, and then restored in about a second.

The name of a saved guest has the hashes of everything it was made from: the kernel, the file system
with the agent and our tools, the version of QEMU, the description of the machine, and this code.
After a change of any of these a new guest is booted.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from guest import qemu
from guest.fetch import alone
from guest.machine import GuestError
from guest.s390.lpar import ARCH, Lpar
from guest.s390.parameters import Partition
from guest.userland import FileSystem

BEFORE_SAVING: Final = ("def answer(): return True", "answer")
"""A Python source and a function in it that only shows that the agent answers."""

KEPT: Final = 10
"""The number of saved guests in the cache, each of some 180 MiB; the oldest are removed first."""


def ready(
    partition: Partition,
    kernel: Path,
    files: FileSystem,
    directory: Path,
    tell: Callable[[str], object],
    before: tuple[str, str] = BEFORE_SAVING,
    its: Path | None = None,
) -> Lpar:
    """A guest in the condition after boot, restored or booted. Raises GuestError.

    `directory` has the saved guests. `tell` is called with a line if the guest must be booted.
    `before` is a Python source and a function in it. The guest calls the function before it is
    saved, so that the saved guest has the source compiled. `its` is the guest's own directory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / f"{_name(partition, kernel, files, before)}.state"
    with alone(state.with_suffix(".lock")):
        if state.exists():
            try:
                return _restored(partition, kernel, state, its)
            except GuestError:
                state.unlink()
        tell("booting a guest for the first time; from then on it takes about a second")
        with tempfile.TemporaryDirectory(prefix="boot-", dir=directory) as temporary:
            initrd = Path(temporary) / "initrd"
            files.write(initrd)
            with Lpar(partition, kernel, initrd) as lpar:
                lpar.call(*before)
                lpar.save(state)
        _forget(directory)
        return _restored(partition, kernel, state, its)


def restarted(lpar: Lpar, keep: Sequence[str] = ("/etc",)) -> Lpar:
    """The guest after an IPL; the one that is given ends. Raises GuestError.

    Only the files at the paths in `keep` are as they were. Processes and all other files are gone,
    memory and the service element's refusals are as described. The guest must come from `ready`:
    its saved state is the new start, so that this takes about a second.
    """
    if lpar.state is None:
        raise GuestError("only a guest that was restored can be started again")
    files = lpar.run(["tar", "-c", "-C", "/", *(path.lstrip("/") for path in keep)])
    if files.status:
        raise GuestError(f"the guest's files cannot be read: {files.stderr.strip()}")
    lpar.close()
    again = _restored(lpar.partition, lpar.kernel, lpar.state)
    unpacked = again.run(["tar", "-x", "-C", "/"], stdin=files.stdout)
    if unpacked.status:
        again.close()
        raise GuestError(f"the guest's files cannot be written: {unpacked.stderr.strip()}")
    return again


def _restored(partition: Partition, kernel: Path, state: Path, its: Path | None = None) -> Lpar:
    """The guest restored from a state, after its agent answered."""
    lpar = Lpar(partition, kernel, None, state, its)
    try:
        lpar.call(*BEFORE_SAVING)
    except BaseException:
        lpar.close()
        raise
    state.touch()
    return lpar


def _name(partition: Partition, kernel: Path, files: FileSystem, before: tuple[str, str]) -> str:
    facts = [hashlib.sha256(kernel.read_bytes()).hexdigest(), files.key, qemu.version(ARCH.program)]
    facts += [partition.key, *before]
    facts += [source.read_text() for source in sorted(Path(__file__).parents[1].rglob("*.py"))]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]


def _forget(directory: Path) -> None:
    """Remove the states that were not used for the longest time, and locks without a state."""
    states = sorted(directory.glob("*.state"), key=lambda state: state.stat().st_mtime)
    for state in states[:-KEPT]:
        for file in (state, state.with_suffix(".json"), state.with_suffix(".lock")):
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
