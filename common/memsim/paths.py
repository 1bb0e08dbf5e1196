"""Paths of the attributes of memory, relative to the root; which block or node a path is of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = [
    "BLOCK_PATH",
    "FIRMWARE",
    "KERNEL",
    "MEMORY",
    "NODE",
    "NODE_PATH",
    "PARAMETERS",
    "block_named",
    "skeleton",
]

MEMORY: Final = "sys/devices/system/memory"
NODE: Final = "sys/devices/system/node"
FIRMWARE: Final = "sys/firmware/memory"
PARAMETERS: Final = "sys/module/memory_hotplug/parameters"
KERNEL: Final = "proc/sys/kernel"

_BLOCK_NAME: Final = re.compile(r"memory(?P<block>0|[1-9][0-9]{0,17})", re.ASCII)
BLOCK_PATH: Final = re.compile(
    rf"(?P<below>{MEMORY}|{FIRMWARE})/{_BLOCK_NAME.pattern}(?:/(?P<rest>.+))?", re.ASCII
)
NODE_PATH: Final = re.compile(
    rf"{NODE}/node(?P<node>0|[1-9][0-9]{{0,8}})(?:/(?P<rest>.+))?", re.ASCII
)


def block_named(name: str) -> int | None:
    """The number of the block that a directory or link of this name is of; None: of none."""
    match = _BLOCK_NAME.fullmatch(name)
    return int(match["block"]) if match else None


def skeleton(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Every parent directory of these paths, with the names in it and their paths."""
    tree: dict[str, dict[str, str]] = {FIRMWARE: {}}
    for path in paths:
        while path:
            above, _, name = path.rpartition("/")
            tree.setdefault(above, {})[name] = path
            path = above
    return tree
