"""Files of memory layouts."""

from pathlib import Path

MINE = "etc/memory-layout.d/20-mine.toml"
"""One of the machine itself, below its root."""


def layout(place: Path, text: str, name: str = "layout.toml") -> Path:
    """A layout in a file below a directory."""
    file = place / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"version = 1\n{text}")
    return file
