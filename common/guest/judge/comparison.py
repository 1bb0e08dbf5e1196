"""Compares what a real kernel and a simulated one made of the same writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from guest.judge.replay import (
    BLOCK_ATTRIBUTES,
    ENDLESS,
    FIRMWARE,
    FIRMWARE_ATTRIBUTES,
    MEMORY,
    OTHERS,
    error_name,
)
from guest.judge.writes import JudgedWrite
from memsim.machine import ENDLESS as ENDLESS_FAULT
from memsim.machine import Fault
from memsim.sysfs import Sysfs

__all__ = ["Answer", "Comparison", "Disagreement", "block_of", "compare"]

SHOWN: Final = 40
"""How much of a long text is shown."""


class Answer(NamedTuple):
    """Of the real kernel to a write, as of replay.py."""

    failed: str
    """The errno's name, or "" for success; ENDLESS or a number of bytes, as `replay.write` says."""
    changes: Mapping[str, str | None]
    """The attributes that changed (None: gone)."""
    uevents: list[str]


class Disagreement(NamedTuple):
    """A write after which the two were not the same."""

    number: int
    """Of the write; 0 is the condition before all of them."""
    path: str
    text: str
    wrong: tuple[str, ...]
    """What was not the same, in words."""

    def __str__(self) -> str:
        what = f"write {self.number}: {shown(self.text)} to {self.path}" if self.path else "before"
        return f"{what}: {'; '.join(self.wrong)}"

    @property
    def kind(self) -> str:
        """The same for differences in other blocks."""
        return re.sub(r"\d+", "N", self.wrong[0])


def shown(text: str) -> str:
    """A text in quotes, not too long."""
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}... ({len(text)} bytes)"


@dataclass(slots=True)
class Comparison:
    """How often the two agreed, and where they did not."""

    agreed: int = 0
    by_page: int = 0
    """The real kernel had EBUSY for a page that only it could know; all else was the same."""
    endless: int = 0
    """The write did not return until a signal came, for a page again; all else was the same."""
    unexplained: list[Disagreement] = field(default_factory=list)

    @property
    def writes(self) -> int:
        """All that were compared."""
        return self.agreed + self.by_page + self.endless + len(self.unexplained)

    def add(self, difference: Disagreement, failed: str, *, by_page: bool) -> None:
        """Count a write, or with no path the condition at the start."""
        if difference.wrong:
            self.unexplained.append(difference)
        elif failed == ENDLESS:
            self.endless += 1
        elif by_page:
            self.by_page += 1
        elif difference.path:
            self.agreed += 1

    def __iadd__(self, other: Comparison) -> Comparison:
        self.agreed += other.agreed
        self.by_page += other.by_page
        self.endless += other.endless
        self.unexplained += other.unexplained
        return self

    def __add__(self, other: Comparison) -> Comparison:
        both = Comparison()
        both += self
        both += other
        return both

    def __str__(self) -> str:
        return (
            f"{self.writes} writes: {self.agreed} agreed, {self.by_page} explained by a page, "
            f"{self.endless} without end, {len(self.unexplained)} unexplained"
        )


def condition(sysfs: Sysfs) -> dict[str, str]:
    """The simulated machine, as replay.py looks at the real one."""
    there = (path for path in _paths(sysfs) if sysfs.kind(path[1:]))
    return {path: sysfs.read(path[1:]).decode("latin-1") for path in there}


def _paths(sysfs: Sysfs) -> Iterator[str]:
    for directory, attributes in ((FIRMWARE, FIRMWARE_ATTRIBUTES), (MEMORY, BLOCK_ATTRIBUTES)):
        for name in sysfs.listdir(directory[1:]) if sysfs.kind(directory[1:]) else ():
            if name.startswith("memory"):
                yield from (f"{directory}/{name}/{attribute}" for attribute in attributes)
    yield from OTHERS


def attempt(sysfs: Sysfs, path: str, text: str) -> str:
    """Write to the simulated machine; what replay.write says of it."""
    data = text.encode("latin-1")
    try:
        taken = sysfs.write(path[1:], data)
    except OSError as error:
        return error_name(error)
    return "" if taken == len(data) else f"{taken} bytes"


def differences(real: Mapping[str, str], simulated: Mapping[str, str]) -> list[str]:
    """What is not the same, in words."""
    return [
        f"{path} is {real.get(path)!r}, simulated {simulated.get(path)!r}"
        for path in sorted(real.keys() | simulated.keys())
        if real.get(path) != simulated.get(path)
    ]


_FAULTS: Final = {"EBUSY": Fault("EBUSY", 1), ENDLESS: Fault(ENDLESS_FAULT, 1)}
"""What the simulated kernel is told when the real one has met a page."""


def compare(sysfs: Sysfs, writes: Iterable[JudgedWrite], answers: Iterable[Answer]) -> Comparison:
    """Give the simulated machine the writes whose outcome on the real one is known.

    Where the real kernel said EBUSY to setting a block offline, or did not come to an end, some
    page of the block could not be moved. Nothing in sysfs tells which, so the simulated block is
    told to fail so too, this once, should it come to setting the block offline at all.
    """
    tally = Comparison()
    heard: list[str] = []
    sysfs.listeners.append(lambda action, path: heard.append(f"{action}@{path}"))
    real: dict[str, str] = {}
    given = enumerate([("", ""), *writes])
    for (number, (path, text)), answer in zip(given, answers, strict=True):
        real |= {name: value for name, value in answer.changes.items() if value is not None}
        for name in [name for name, value in answer.changes.items() if value is None]:
            real.pop(name, None)
        heard.clear()
        fault = _FAULTS.get(answer.failed) if path.endswith(("/state", "/online")) else None
        failed = _attempted(sysfs, path, text, fault) if path else ""
        wrong = differences(real, condition(sysfs))
        if failed != answer.failed:
            wrong.insert(0, f"{answer.failed or 'success'}, simulated {failed or 'success'}")
        if path and heard != answer.uevents:
            wrong.append(f"uevents {answer.uevents}, simulated {heard}")
        difference = Disagreement(number, path, text, tuple(wrong))
        tally.add(difference, answer.failed, by_page=fault is not None)
    return tally


def _attempted(sysfs: Sysfs, path: str, text: str, fault: Fault | None) -> str:
    """Write; a change of the block to offline has a fault this once."""
    block = block_of(path)
    if fault is None or block is None or block not in sysfs.kernel.blocks:
        return attempt(sysfs, path, text)
    before = sysfs.kernel.state.faults.get("offline", {}).get(block)
    sysfs.kernel.set_fault("offline", block, fault)
    failed = attempt(sysfs, path, text)
    met = sysfs.kernel.state.faults["offline"].get(block) is None
    sysfs.kernel.set_fault("offline", block, before)
    return ENDLESS if met and fault.errno == ENDLESS_FAULT else failed


def block_of(path: str) -> int | None:
    """The block that an attribute is of; None: of none."""
    found = re.search(r"/memory(\d+)/", path)
    return int(found[1]) if found else None
