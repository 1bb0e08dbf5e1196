"""What the kernel announces of memory blocks, as it happens.

The kernel sends a uevent when a block is added or removed, and when its state changes
(drivers/base/memory.c, drivers/base/core.c). It sends none for memmap_on_memory, valid_zones or
the module's parameters, and none reaches a container's network namespace.
"""

import errno
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

NETLINK_KOBJECT_UEVENT = 15
"""include/uapi/linux/netlink.h"""
_FROM_KERNEL = 1
"""The multicast group of the kernel's own messages; udev repeats them in another."""
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Uevent:
    """One announcement about a memory block."""

    action: str
    """add, remove, online, offline or change."""
    block: int


def parse(message: bytes) -> Uevent | None:
    """The event in a message, or None where it is not about a memory block."""
    header = rb"(\w+)@/devices/system/memory/memory([0-9]{1,18})\0"
    found = re.match(header, message)
    return Uevent(found[1].decode(), int(found[2])) if found else None


class Uevents:
    """A socket on which the kernel's uevents arrive; it can be waited for with select or poll."""

    def __init__(self) -> None:
        """Raises OSError where the kernel has no such socket, or forbids it."""
        kinds = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kinds, NETLINK_KOBJECT_UEVENT)
        try:
            self._socket.bind((0, _FROM_KERNEL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def pending(self) -> Iterator[Uevent | None]:
        """What has arrived, without waiting. None stands for announcements that were lost because
        too many came."""
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
            # Any process that is privileged enough may send to the group; only the kernel is 0.
            event = parse(message) if sender == 0 else None
            if event:
                yield event
