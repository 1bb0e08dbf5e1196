"""Compares what a real s390 kernel and a simulated one made of the same writes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from guest.s390.lpar import Lpar
from memsim.machine import Fault
from memsim.sysfs import Sysfs
from vm.judge import Tally, attempt, differences
from vm.lpar_guest import BLOCK_ATTRIBUTES, FIRMWARE, FIRMWARE_ATTRIBUTES, MEMORY, OTHERS
from vm.lpars import call
from vm.operations import Write


class Answer(NamedTuple):
    """Of the real kernel to a write, as of lpar_guest.replay."""

    failed: str
    """The errno's name, or "" for success."""
    changes: dict[str, str | None]
    uevents: list[str]


def replayed(guest: Lpar, writes: Iterable[Write]) -> list[Answer]:
    """What the real kernel made of these writes; before them the condition at the start."""
    return [Answer(*answer) for answer in call(guest, "replay", writes=list(writes))]


def condition(sysfs: Sysfs) -> dict[str, str]:
    """The simulated machine, as lpar_guest.py looks at the real one."""
    return {path: sysfs.read(path[1:]).decode("latin-1") for path in _paths(sysfs)}


def _paths(sysfs: Sysfs) -> Iterator[str]:
    for directory, attributes in ((FIRMWARE, FIRMWARE_ATTRIBUTES), (MEMORY, BLOCK_ATTRIBUTES)):
        for name in sysfs.listdir(directory[1:]):
            if name.startswith("memory"):
                yield from (f"{directory}/{name}/{attribute}" for attribute in attributes)
    yield from OTHERS


def compare(sysfs: Sysfs, writes: Iterable[Write], answers: Iterable[Answer]) -> Tally:
    """Give the simulated machine the writes whose outcome on the real one is known.

    Where the real kernel said EBUSY to setting a block offline, some page of the block could not be
    moved; nothing in sysfs tells which, so the simulated block is told to fail so too, this once.
    """
    tally = Tally()
    heard: list[str] = []
    sysfs.listeners.append(lambda action, path: heard.append(f"{action}@{path}"))
    real: dict[str, str] = {}
    for (path, text), answer in zip([("", ""), *writes], answers, strict=True):
        for name, value in answer.changes.items():
            if value is None:
                del real[name]
            else:
                real[name] = value
        heard.clear()
        by_page = answer.failed == "EBUSY" and path.endswith(("/state", "/online"))
        block = int(path.split("/")[-2].removeprefix("memory")) if by_page else -1
        if by_page:
            sysfs.kernel.set_fault("offline", block, Fault("EBUSY", 1))
        failed = attempt(sysfs, path, text.encode("latin-1")) if path else ""
        if by_page:
            sysfs.kernel.set_fault("offline", block, None)
        wrong = differences(real, condition(sysfs))
        if failed != answer.failed:
            wrong.insert(0, f"{answer.failed or 'success'}, simulated {failed or 'success'}")
        if path and heard != answer.uevents:
            wrong.append(f"uevents {answer.uevents}, simulated {heard}")
        tally.add(path, text, wrong, by_page=by_page)
    return tally
