"""Files of memory layouts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MINE = "etc/memory-layout.d/20-mine.toml"
"""One of the machine itself, below its root."""


def layout(place: Path, text: str, name: str = "layout.toml") -> Path:
    """A layout in a file below a directory."""
    file = place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"version = 1\n{text}")
    return file


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
