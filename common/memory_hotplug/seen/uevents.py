"""The kernel's uevents about memory blocks.

The kernel sends a uevent when a block is added or removed, and when its state changes
(drivers/base/memory.c, drivers/base/core.c). It sends none for memmap_on_memory, valid_zones or
the module's parameters. No uevent reaches the network namespace of a container.
"""

import errno
import math
import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from memory_hotplug.checks import seconds

__all__ = ["NETLINK_KOBJECT_UEVENT", "Uevent", "Uevents", "parse"]

NETLINK_KOBJECT_UEVENT = 15
"""include/uapi/linux/netlink.h"""
_FROM_KERNEL = 1
"""The multicast group of the kernel's own messages; udev sends its copies to another group."""
_LONGEST = 8192
_DAY = 86400.0
"""Seconds; poll(2) cannot wait for more than 24 days."""


@dataclass(frozen=True, slots=True)
class Uevent:
    """A uevent about a memory block."""

    action: str
    """add, remove, online, offline or change."""
    block: int


def parse(message: bytes) -> Uevent | None:
    """The event in a message; None if it is not about a memory block."""
    header = rb"(\w+)@/devices/system/memory/memory([0-9]{1,18})\0"
    found = re.match(header, message)
    return Uevent(found[1].decode(), int(found[2])) if found else None


class Uevents:
    """A socket that receives the kernel's uevents about memory blocks of this machine.

    A context manager. select, poll and event loops can wait for it, by its `fileno`; `wait` does so
    itself. A simulated machine sends no uevents.
    """

    def __init__(self) -> None:
        """Raises OSError where the kernel has no such socket or does not permit it."""
        kinds = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kinds, NETLINK_KOBJECT_UEVENT)
        try:
            self._socket.bind((0, _FROM_KERNEL))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor that is readable once an event has arrived."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def wait(self, timeout: float | None = None) -> list[Uevent | None]:
        """Wait until an event about a block arrives, TIMEOUT seconds at most, and return those that
        have arrived; an empty list if there was none in time. See `pending` for None."""
        seconds("timeout", timeout)
        ends = math.inf if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(self, select.POLLIN)
        while True:
            # Most uevents are about something else.
            left = max(ends - time.monotonic(), 0)
            poll.poll(min(left, _DAY) * 1000)
            found = list(self.pending())
            if found or not left:
                return found

    def pending(self) -> Iterator[Uevent | None]:
        """The events that have arrived, without waiting. None stands for events that were lost
        because too many arrived."""
        while True:
            try:
                message, (sender, _) = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None
                continue
            # A privileged process may also send to the group; only the kernel has the number 0.
            event = parse(message) if sender == 0 else None
            if event:
                yield event
