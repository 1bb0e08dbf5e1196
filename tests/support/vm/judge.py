"""Compares what a real kernel and a simulated one made of the same writes."""

import errno
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from memsim.machine import Fault
from memsim.sysfs import Sysfs
from vm.operations import MEMORY, Write
from vm.replay import WATCHED

Condition = dict[str, str]
"""Text of what is watched, by path below the memory directory."""


Answer = tuple[str, dict[str, str | None]]
"""Of the real kernel to a write: errno name or "", and the attributes that changed, as of
replay.py."""


@dataclass(slots=True)
class Tally:
    """How often the two agreed; the differences in words."""

    agreed: int = 0
    by_page: int = 0
    """The real kernel had EBUSY for a page that only it could know; all else was the same."""
    unexplained: list[str] = field(default_factory=list)

    @property
    def writes(self) -> int:
        """All that were compared."""
        return self.agreed + self.by_page + len(self.unexplained)

    def add(self, path: str, text: str, wrong: list[str], *, by_page: bool) -> None:
        """Count a write of TEXT, or with no path the condition at the start."""
        if wrong:
            self.unexplained.append(f"{text[:20]!r} to {path or 'nothing'}: {'; '.join(wrong)}")
        elif by_page:
            self.by_page += 1
        elif path:
            self.agreed += 1

    def __iadd__(self, other: "Tally") -> "Tally":
        self.agreed += other.agreed
        self.by_page += other.by_page
        self.unexplained += other.unexplained
        return self

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.agreed + other.agreed,
            self.by_page + other.by_page,
            self.unexplained + other.unexplained,
        )

    def __str__(self) -> str:
        return (
            f"{self.writes} writes: {self.agreed} agreed, {self.by_page} explained by a page, "
            f"{len(self.unexplained)} unexplained"
        )


def condition(sysfs: Sysfs) -> Condition:
    """The simulated machine, as replay.py looks at the real one."""
    names = sysfs.listdir(MEMORY[1:])
    blocks = [name for name in names if re.fullmatch(r"memory\d+", name)]
    paths = [f"{block}/{attribute}" for block in blocks for attribute in WATCHED]
    paths.append("auto_online_blocks")
    return {path: sysfs.read(f"{MEMORY[1:]}/{path}").decode() for path in paths}


def attempt(sysfs: Sysfs, path: str, data: bytes) -> str:
    """Write to the simulated machine; the name of the errno, or "" for success."""
    try:
        sysfs.write(path.removeprefix("/"), data)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def differences(real: Mapping[str, str], simulated: Mapping[str, str]) -> list[str]:
    """What is not the same, in words."""
    return [
        f"{path} is {real.get(path)!r}, simulated {simulated.get(path)!r}"
        for path in sorted(real.keys() | simulated.keys())
        if real.get(path) != simulated.get(path)
    ]


def compare(sysfs: Sysfs, writes: Iterable[Write], answers: Iterable[Answer]) -> Tally:
    """Give the simulated machine the writes whose outcome on the real one is known.

    `answers` are those of replay.py. Where the real kernel said EBUSY to a write for a block, some
    page of the block could not be moved; which one that is nothing in sysfs tells, so the simulated
    block is told to fail so too, this once, should it come to setting the block offline at all.
    """
    tally = Tally()
    real: Condition = {}
    simulated: Condition = condition(sysfs)
    for (path, text), (failed, changes) in zip([("", ""), *writes], answers, strict=True):
        real |= {path: text for path, text in changes.items() if text is not None}
        real = {path: text for path, text in real.items() if changes.get(path, "") is not None}
        block = re.search(r"/memory(\d+)/", path)
        by_page = failed == "EBUSY" and block is not None
        if block and by_page:
            sysfs.kernel.set_fault("offline", int(block[1]), Fault("EBUSY", 1))
        answer = attempt(sysfs, path, text.encode("latin-1")) if path else ""
        if block and by_page:
            sysfs.kernel.set_fault("offline", int(block[1]), None)
        simulated = condition(sysfs)
        wrong = differences(real, simulated)
        if answer != failed:
            wrong.insert(0, f"{failed or 'success'}, simulated {answer or 'success'}")
        tally.add(path, text, wrong, by_page=by_page)
    return tally
