"""The real kernel's side: its answers to writes, and a simulated machine like the guest."""

from __future__ import annotations

import json
import math
import re
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from guest.channel import CallError, ChannelMessage, Program
from guest.judge.comparison import Answer, Disagreement
from guest.judge.replay import FIRMWARE, MEMORY
from guest.judge.writes import JudgedWrite, block_writes, firmware_writes
from guest.machine import Guest, GuestError
from memsim.kernel import Kernel
from memsim.profile import from_tree
from memsim.sysfs import Sysfs

__all__ = [
    "LIMIT",
    "SOURCE",
    "GuestSnapshot",
    "captured",
    "given",
    "page_size",
    "replayed",
    "snapshot",
    "unknown",
]

SOURCE: Final = Path(__file__).with_name("replay.py").read_text()
"""Runs in the guest."""

LIMIT: Final = 5.0
"""How long QEMU may use the processor for a write, in seconds; some tenths of a second are usual
under emulation. Unlike the clock, that does not count what else a busy machine does."""

PAUSE: Final = 0.5
"""How often that is looked at, in seconds."""

GRACE: Final = 120.0
"""How long a write may take by the clock, in seconds, and how much later the guest must have said
what came of it."""


@dataclass(frozen=True, slots=True)
class GuestSnapshot:
    """The memory sysfs of a guest: text of every file and target of every link, by absolute
    path."""

    files: dict[str, str]
    links: dict[str, str]

    def write(self, root: Path) -> None:
        """Put it below a directory of the host, as a captured tree for `--sysroot`."""
        for path, text in self.files.items():
            file = root / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode(errors="surrogateescape"))
        for path, target in self.links.items():
            link = root / path.removeprefix("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def blocks(self, attribute: str) -> dict[int, str]:
        """An attribute of every memory block, stripped, by block number."""
        return self._of_blocks(MEMORY, attribute)

    def firmware(self, attribute: str) -> dict[int, str]:
        """The same of the blocks below /sys/firmware/memory."""
        return self._of_blocks(FIRMWARE, attribute)

    def _of_blocks(self, directory: str, attribute: str) -> dict[int, str]:
        prefix, suffix = f"{directory}/memory", f"/{attribute}"
        found = {
            int(path[len(prefix) : -len(suffix)]): text.strip()
            for path, text in self.files.items()
            if path.startswith(prefix) and path.endswith(suffix)
        }
        return dict(sorted(found.items()))


def snapshot(guest: Guest) -> GuestSnapshot:
    """The guest's whole memory sysfs.

    Not while a block is on its way offline: reading its `online` waits for the end of that
    (drivers/base/core.c, online_show takes the device lock).
    """
    return GuestSnapshot(*guest.call(SOURCE, "snapshot"))


def page_size(guest: Guest) -> int:
    """The kernel's page size, in bytes."""
    size: int = guest.call(SOURCE, "page_size")
    return size


def captured(seen: GuestSnapshot, page: int = 4096) -> Sysfs:
    """A simulated machine like a guest with this page size."""
    with tempfile.TemporaryDirectory(prefix="judge-") as temporary:
        seen.write(Path(temporary))
        kernel = from_tree(temporary)
    return Sysfs(Kernel(replace(kernel.machine, page_size=page)))


def given(
    seen: GuestSnapshot, boot: Sequence[int], seed: int, count: int, page: int
) -> list[JudgedWrite]:
    """Random writes for a guest: to the blocks that it booted on, and to others that it has or may
    get."""
    if configured := seen.firmware("config"):
        standby = [block for block, value in configured.items() if value == "0"]
        return firmware_writes(seed, count, boot, standby, page)
    added = [block for block in seen.blocks("state") if block not in boot]
    return block_writes(seed, count, boot, added or boot, page)


def replayed(guest: Guest, wanted: Sequence[JudgedWrite], limit: float = LIMIT) -> list[Answer]:
    """What the real kernel made of these writes; before them the condition at the start.

    A write that does not return is ended by a signal when QEMU has used the processor for `limit`
    seconds. Raises GuestError if that does not end it, or if the guest ends.
    """
    with guest.answering():
        program = guest.start(["python3", "-c", SOURCE])
        program.input(json.dumps({"writes": [list(each) for each in wanted]}).encode())
        program.input(None)
        answers = [Answer(*answer) for answer in _answers(guest, program, wanted, limit)]
    if len(answers) != len(wanted) + 1:
        raise GuestError(f"the guest has answered {len(answers) - 1} of {len(wanted)} writes")
    return answers


def _answers(
    guest: Guest, program: Program, wanted: Sequence[JudgedWrite], limit: float
) -> Iterator[list[Any]]:
    """The lines that the program in the guest writes, as they come."""
    text, done, errors = "", 0, ""
    while True:
        try:
            # Before the first answer, Python has to start.
            message = _next(guest, program, limit if done else math.inf)
        except TimeoutError:
            program.signal(signal.SIGKILL)
            path, data = wanted[max(done - 1, 0)] if wanted else ("", "")
            raise GuestError(f"no signal ends the write of {data[:20]!r} to {path}") from None
        errors += message.get("err", "")
        *lines, text = (text + message.get("out", "")).split("\n")
        for line in lines:
            done += 1
            yield json.loads(line)
        if "status" in message:
            if message["status"]:
                raise CallError(errors)
            return


def _next(guest: Guest, program: Program, limit: float) -> ChannelMessage:
    """The program's next message. A signal ends the write that it makes, when that has taken too
    long; raises TimeoutError if it does not."""
    used, begun = guest.cpu_seconds(), time.monotonic()
    while guest.cpu_seconds() - used < limit and time.monotonic() - begun < GRACE:
        try:
            return program.channel.receive(program.number, PAUSE)
        except TimeoutError:
            continue
    program.signal(signal.SIGALRM)
    return program.channel.receive(program.number, GRACE)


def unknown(sysfs: Sysfs, seen: GuestSnapshot) -> list[Disagreement]:
    """The files about memory that the guest has and the simulated machine has not."""
    found = {
        re.sub(r"/memory\d+/", "/memoryN/", path)
        for path in seen.files
        if path.startswith((f"{MEMORY}/", f"{FIRMWARE}/")) and not sysfs.kind(path[1:])
    }
    return [
        Disagreement(0, "", "", (f"only the real kernel has {path}",)) for path in sorted(found)
    ]
