"""Writes each of the kernel's uevents about memory blocks to a file, as ACTION@DEVPATH, in the
guest, until it is ended: python3 hear.py FILE."""

import socket
import sys

NETLINK_KOBJECT_UEVENT = 15

with (
    socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT) as heard,
    open(sys.argv[1], "w", buffering=1) as file,
):
    heard.bind((0, 1))
    file.write("listening\n")
    while True:
        event = heard.recv(8192).split(b"\0")[0].decode()
        if "@/devices/system/memory/memory" in event:
            file.write(f"{event}\n")
