"""What the kernel announces of memory blocks, and what only pretends to be the kernel."""

import subprocess

import pytest

from commands import start_python

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
