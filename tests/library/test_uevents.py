"""What the kernel announces of memory blocks, and what only pretends to be the kernel."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from commands import start_python
from memory_hotplug.seen.uevents import Uevent, Uevents, parse

FORGER = """
import socket
from memory_hotplug.seen.uevents import NETLINK_KOBJECT_UEVENT, Uevents

def uevents():
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)

ours, witness, forger = Uevents(), uevents(), uevents()
witness.bind((0, 1))
witness.settimeout(60)
forger.sendto(b"online@/devices/system/memory/memory5\\0ACTION=online\\0", (0, 1))
message, (sender, _) = witness.recvfrom(8192)
print(message.partition(b"\\0")[0].decode(), sender != 0, list(ours.pending()))
"""
"""Sends what looks like an event of the kernel, and says who has heard it."""

NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")


@pytest.mark.needs("user namespaces")
def test_an_event_that_another_process_sent_is_not_believed() -> None:
    process = start_python(FORGER, within=NAMESPACE)
    said, _ = process.communicate(timeout=120)
    assert said == "online@/devices/system/memory/memory5 True []\n"


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (
            b"online@/devices/system/memory/memory5\0ACTION=online\0SUBSYSTEM=memory\0",
            Uevent("online", 5),
        ),
        (b"remove@/devices/system/memory/memory262143\0", Uevent("remove", 262143)),
        (b"add@/devices/system/cpu/cpu1\0ACTION=add\0", None),
        (b"add@/devices/system/memory/memory5/x\0", None),
        (b"libudev\0\xfe\xed\xca\xfe", None),
        (b"", None),
    ],
)
def test_the_uevents_of_memory_blocks_are_parsed(message: bytes, event: Uevent | None) -> None:
    assert parse(message) == event


class Socket:
    """In the place of the kernel's socket."""

    def __init__(self, *kinds: int) -> None:
        self.kinds = kinds
        self.bound: Any = None
        self.closed = False
        self.arrived: list[tuple[bytes, tuple[int, int]] | OSError] = []
        self.refused: OSError | None = None
        self.descriptor = 77
        sockets.append(self)

    def bind(self, address: tuple[int, int]) -> None:
        if sockets[0].refused:
            raise sockets[0].refused
        self.bound = address

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        assert size == 8192
        found = self.arrived.pop(0) if self.arrived else BlockingIOError()
        if isinstance(found, OSError):
            raise found
        return found

    def fileno(self) -> int:
        return self.descriptor

    def close(self) -> None:
        self.closed = True


sockets: list[Socket] = []


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets.clear()
    monkeypatch.setattr("socket.socket", Socket)


@pytest.mark.usefixtures("kernel")
def test_the_kernels_events_are_heard_and_no_others() -> None:
    uevents = Uevents()
    (opened,) = sockets
    assert opened.kinds == (
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        15,
    )
    assert opened.bound == (0, 1)
    assert uevents.fileno() == 77
    online = b"online@/devices/system/memory/memory5\0ACTION=online\0"
    opened.arrived = [
        (online, (0, 1)),
        (online, (1, 1)),
        (b"add@/devices/system/cpu/cpu1\0", (0, 1)),
        OSError(errno.ENOBUFS, "lost"),
        (online.replace(b"online@", b"remove@"), (0, 1)),
    ]
    assert list(uevents.pending()) == [Uevent("online", 5), None, Uevent("remove", 5)]
    assert list(uevents.pending()) == []
    opened.arrived = [OSError(errno.EBADF, "closed")]
    with pytest.raises(OSError, match="closed"):
        list(uevents.pending())
    uevents.close()
    assert opened.closed


@pytest.mark.usefixtures("kernel")
def test_a_socket_that_is_refused_is_closed() -> None:
    Socket().refused = PermissionError(errno.EPERM, "refused")
    with pytest.raises(PermissionError, match="refused"):
        Uevents()
    assert sockets[1].closed


@pytest.mark.usefixtures("kernel")
def test_an_event_is_waited_for_until_the_time_is_over() -> None:
    with Uevents() as uevents:
        (opened,) = sockets
        opened.descriptor, other = os.pipe()
        assert uevents.wait(0) == []
        os.write(other, b"x")
        opened.arrived = [(b"online@/devices/system/memory/memory5\0", (0, 1))]
        assert uevents.wait() == [Uevent("online", 5)]
        opened.arrived = [OSError(errno.ENOBUFS, "lost")]
        assert uevents.wait(60) == [None]
        os.close(other)
        os.close(opened.descriptor)
    assert opened.closed


@pytest.mark.usefixtures("kernel")
def test_what_is_no_event_about_memory_does_not_end_the_waiting() -> None:
    uevents = Uevents()
    (opened,) = sockets
    opened.descriptor, other = os.pipe()
    os.write(other, b"x")
    cpu, memory = b"add@/devices/system/cpu/cpu1\0", b"add@/devices/system/memory/memory9\0"
    arrivals = [[], [(cpu, (0, 1))], [(memory, (0, 1))]]

    def later(size: int, receive: Callable[[int], Any] = opened.recvfrom) -> Any:
        if not opened.arrived:
            opened.arrived = [*arrivals.pop(0), BlockingIOError()]
        return receive(size)

    opened.recvfrom = later  # type: ignore[method-assign]  # one event comes after the other
    assert uevents.wait(60) == [Uevent("add", 9)]
    os.close(other)
    os.close(opened.descriptor)
