"""What the kernel announces of memory blocks, and what only pretends to be the kernel."""

import subprocess

import pytest

from commands import start_python
from memory_hotplug.uevents import Uevent, parse

FORGER = """
import socket
from memory_hotplug.uevents import NETLINK_KOBJECT_UEVENT, Uevents

def uevents():
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)

ours, witness, forger = Uevents(), uevents(), uevents()
witness.bind((0, 1))
witness.settimeout(20)
forger.sendto(b"online@/devices/system/memory/memory5\\0ACTION=online\\0", (0, 1))
message, (sender, _) = witness.recvfrom(8192)
print(message.partition(b"\\0")[0].decode(), sender != 0, list(ours.pending()))
"""
"""Sends what looks like an event of the kernel, and says who has heard it."""

NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")


def can_unshare() -> bool:
    return not subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode


def test_an_event_that_another_process_sent_is_not_believed() -> None:
    if not can_unshare():
        pytest.skip("needs a network namespace: user namespaces must be allowed")
    process = start_python(FORGER, within=NAMESPACE)
    said, _ = process.communicate(timeout=60)
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
