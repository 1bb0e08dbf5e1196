"""s390 guests for tests: booted once a session, a fresh one restored for each test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from guest import fetch, userland
from guest.arch import ARCHES
from guest.fetch import cache
from guest.s390 import states
from guest.s390.lpar import Lpar
from guest.s390.parameters import Partition, partition
from memsim import profile
from memsim.description import parse

SOURCE: Final = Path(__file__).with_name("lpar_guest.py").read_text()

MIB: Final = 1 << 20

LPAR: Final[dict[str, Any]] = {**profile.PROFILES["s390-lpar"], "increment": 128 * MIB}
"""2 GiB online, 2 GiB standby, blocks of 128 MiB: the machine of the cover letter."""

COLUMNS: Final = "RANGE,SIZE,STATE,BLOCK,CONFIGURED,MEMMAP_ON_MEMORY"
"""What lsmem is asked for."""


def lpar(blocks: Iterable[tuple[int, int, bool]] = (), **keys: Any) -> dict[str, Any]:
    """A machine like LPAR but for some keys, of blocks (first, last, configured)."""
    groups = [{"range": [first, last], "config": config} for first, last, config in blocks]
    return {**LPAR, **({"blocks": groups} if groups else {}), **keys}


class Lpars:
    """The session's guests."""

    def __init__(self) -> None:
        arch = ARCHES["s390x"]
        kernel, programs = fetch.kernel(arch, "sid"), fetch.userland(arch)
        assert kernel is not None
        assert programs is not None
        self._kernel = kernel.image
        self._files = userland.file_system(arch, programs, cache())

    def fresh(self, described: Partition) -> Lpar:
        """A guest that has just booted."""
        return states.ready(
            described,
            self._kernel,
            self._files,
            cache() / "states",
            lambda line: None,
            (SOURCE, "condition"),
        )


class Meanwhile:
    """Work that is done beside the tests, one piece after the other; a test waits for its own."""

    def __init__(self, work: Mapping[str, Callable[[], Any]]) -> None:
        self._done: dict[str, Future[Any]] = {name: Future() for name in work}
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Mapping[str, Callable[[], Any]]) -> None:
        for name, piece in work.items():
            try:
                self._done[name].set_result(piece())
            except Exception as error:
                self._done[name].set_exception(error)

    def result(self, name: str) -> Any:
        """What a piece of work gave, or raised, when it is done."""
        return self._done[name].result()


def of(machine: Mapping[str, Any], **how: bool) -> Partition:
    """The partition of a described machine."""
    return partition(parse(machine), **how)


def call(guest: Lpar, function: str, **arguments: Any) -> Any:
    """A function of lpar_guest.py, in the guest."""
    return guest.call(SOURCE, function, **arguments)
