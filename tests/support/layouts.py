"""Files of memory layouts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from static_tree import put

MINE = "etc/memory-layout.d/20-mine.toml"
"""One of the machine itself, below its root."""
SAVED = "etc/memory-layout.d/50-chmem.toml"
"""The one that chmem writes."""
UNIT = "etc/systemd/system/memory-layout.service"
WANTED = "etc/systemd/system/sysinit.target.wants/memory-layout.service"
RULES = "etc/udev/rules.d/10-memory-layout.rules"
INSTALLED = f"wrote /{UNIT}\nwrote /{RULES}\nwrote /{WANTED}\n"
"""What --install writes, and what it says of that."""
ONLINE_RULE = 'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}=="offline", ATTR{state}="online"\n'
MOVABLE_RULE = ONLINE_RULE.replace('"online"', '"online_movable"')
"""What some distributions have: memory that is added comes online."""


def layout(place: Path, text: str, name: str = "layout.toml") -> Path:
    """A layout in a file below a directory."""
    put(place, name, f"version = 1\n{text}")
    return place / name


def sound(keys: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without what would be an error."""
    kept = dict(keys)
    if not {"blocks", "size"} & kept.keys():
        kept["node"] = 0
    if "size" not in kept:
        kept.pop("from", None)
    if kept.get("state", "online") != "online":
        kept.pop("zone", None)
    return kept
