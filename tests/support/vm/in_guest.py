"""Runs in a guest: what tests ask of it besides running programs. The agent calls its functions."""

import os

TREES = (
    "/sys/devices/system/memory",
    "/sys/devices/system/node",
    "/sys/firmware/memory",
    "/sys/module/memory_hotplug/parameters",
)
"""What a machine's memory consists of in sysfs. Of a node only the links to its memory and to what
lists it."""


def put(path: str, data: str, mode: int) -> None:
    """Write a file, with the directories above it; the data has a character for each byte."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode("latin-1"))
    os.chmod(path, mode)


def snapshot() -> list[dict[str, str]]:
    """Every file and link of the memory sysfs, by path; a file that cannot be read is left out, as
    is one that goes away."""
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
                        with open(path, "rb") as file:
                            files[path] = file.read().decode(errors="surrogateescape")
                except OSError:
                    continue
    return [files, links]
