"""Runs in a guest: makes writes one after the other and tells what came of each.

The host sends this file, as a program or to the agent, which calls functions of it. A text is
latin-1, a character for each byte. A condition maps the absolute path of an attribute to its text.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator

MEMORY = "/sys/devices/system/memory"
FIRMWARE = "/sys/firmware/memory"
PARAMETERS = "/sys/module/memory_hotplug/parameters"
FIRMWARE_ATTRIBUTES = ("config", "memmap_on_memory")
BLOCK_ATTRIBUTES = ("state", "online", "valid_zones", "removable", "phys_index", "phys_device")
OTHERS = (
    f"{MEMORY}/auto_online_blocks",
    f"{MEMORY}/block_size_bytes",
    f"{MEMORY}/crash_hotplug",
    f"{PARAMETERS}/memmap_on_memory",
    f"{PARAMETERS}/online_policy",
    f"{PARAMETERS}/auto_movable_ratio",
    f"{PARAMETERS}/auto_movable_numa_aware",
)
"""What there is besides the blocks, where the kernel has it."""

TREES = (MEMORY, "/sys/devices/system/node", FIRMWARE, PARAMETERS)
"""What a machine's memory consists of in sysfs. Of a node only the links to its memory and to what
lists it."""

BESIDE = ("/proc/iomem", "/proc/sys/kernel/arch", "/proc/sys/kernel/osrelease")
"""What else tells how a simulated machine is to behave."""

ENDLESS = "no end"
"""In place of an errno: the write did not return, until a signal ended it."""

_open: dict[str, int] = {}
"""Descriptors of attributes: sysfs shows an attribute anew for each read from its beginning."""


def _blocks(directory: str) -> list[str]:
    if not os.path.isdir(directory):
        return []
    return sorted(name for name in os.listdir(directory) if name[:6] == "memory")


def _paths() -> Iterator[str]:
    for name in _blocks(FIRMWARE):
        yield from (f"{FIRMWARE}/{name}/{attribute}" for attribute in FIRMWARE_ATTRIBUTES)
    for name in _blocks(MEMORY):
        yield from (f"{MEMORY}/{name}/{attribute}" for attribute in BLOCK_ATTRIBUTES)
    yield from OTHERS


def read(path: str) -> str:
    """An attribute's text; OSError when there is none."""
    try:
        return os.pread(_open[path], 4096, 0).decode("latin-1")
    except KeyError:
        pass
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        os.close(_open.pop(path))  # of a block that has gone; another may be in its place
    _open[path] = os.open(path, os.O_RDONLY)
    return os.pread(_open[path], 4096, 0).decode("latin-1")


def condition() -> dict[str, str]:
    """Every attribute that there is."""
    found = {}
    for path in _paths():
        try:
            found[path] = read(path)
        except FileNotFoundError:
            continue
    return found


class LateError(Exception):
    """The host has waited long enough for a write."""


_in_write = False


def _late(*_: object) -> None:
    """SIGALRM: the host ends the write that there is, if there still is one."""
    if _in_write:
        raise LateError


def error_name(error: OSError) -> str:
    """The name of its errno; Python knows EHWPOISON since 3.14."""
    return {**errno.errorcode, 133: "EHWPOISON"}[error.errno or 0]


def write(path: str, text: str) -> str:
    """One write(2), even of nothing: "" for success, the errno's name, ENDLESS for a write that did
    not return until SIGALRM came, or how many bytes of more were taken.
    """
    data = text.encode("latin-1")
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            taken = _interruptible(descriptor, data)
        finally:
            os.close(descriptor)
    except LateError:
        return ENDLESS
    except OSError as error:
        return error_name(error)
    return "" if taken == len(data) else f"{taken} bytes"


def _interruptible(descriptor: int, data: bytes) -> int:
    """os.write(). Raises LateError if SIGALRM ended it; a write that has returned when the signal
    comes has an answer, which counts."""
    global _in_write
    taken: list[int] = []
    try:
        try:
            _in_write = True
            # extend() has the answer in the list before Python looks at signals again.
            taken.extend(map(os.write, (descriptor,), (data,)))
        finally:
            _in_write = False
    except LateError as late:
        if isinstance(late.__context__, OSError):
            raise late.__context__ from None
        if not taken:
            raise
    return taken[0]


_events: list[socket.socket] = []


def uevents() -> list[str]:
    """The kernel's uevents about memory since this was last asked, as ACTION@DEVPATH."""
    if not _events:
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
        listener.bind((0, 1))
        listener.setblocking(False)
        _events.append(listener)
    heard: list[str] = []
    while True:
        try:
            event = _events[0].recv(1 << 16).partition(b"\0")[0].decode()
        except BlockingIOError:
            return heard
        if "@/devices/system/memory/" in event:
            heard.append(event)


def answers(writes: list[list[str]]) -> Iterator[list[object]]:
    """Make writes of [path, text]; for each what `write` says, the attributes that are not as they
    were before (null: gone), and the uevents. Before all of them the condition at the start."""
    signal.signal(signal.SIGALRM, _late)
    uevents()
    before: dict[str, str] = {}
    for path, text in [["", ""], *writes]:
        failed = write(path, text) if path else ""
        after = condition()
        changes: dict[str, str | None] = {
            path: text for path, text in after.items() if before.get(path) != text
        }
        changes |= dict.fromkeys(before.keys() - after.keys())
        yield [failed, changes, uevents()]
        before = after


def snapshot() -> list[dict[str, str]]:
    """Every file and link of the memory sysfs, by path, and the files of BESIDE.

    A file that can only be written is there, with no text; one that cannot be read is left out, as
    is one that goes away.
    """
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    for tree in TREES:
        for directory, names, leaves in os.walk(tree):
            names[:] = [name for name in names if name != "power"]
            for name in [*names, *leaves]:
                path = os.path.join(directory, name)
                try:
                    if os.path.islink(path):
                        links[path] = os.readlink(path)
                    elif name in leaves and name != "uevent":
                        files[path] = _text(path)
                except OSError:
                    continue
    files |= {path: _text(path) for path in BESIDE if os.path.exists(path)}
    return [files, links]


def _text(path: str) -> str:
    if not os.stat(path).st_mode & 0o444:
        return ""
    with open(path, "rb") as file:
        return file.read().decode(errors="surrogateescape")


def page_size() -> int:
    """The bytes that one write to an attribute can have (fs/kernfs/file.c)."""
    return os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Replay what is on standard input; a line of JSON for each answer, as it comes."""
    wanted = json.load(sys.stdin)
    for answer in answers(wanted["writes"]):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
