"""Colour for a terminal: lines of memory that is not simply online stand out."""

from collections.abc import Callable

from memory_hotplug.table import MemoryRange

__all__ = ["READS", "painter"]

READS = ("state", "configured")
"""The attributes that decide the colour of a line."""

_STYLES = {
    "offline": "dim",
    "going-offline": "yellow",
    "disabled": "bright_black",
    "unknown": "red",
}


def painter() -> Callable[[MemoryRange, str], str]:
    """A function that colours a line by the status of its range."""
    from rich.color import ColorSystem
    from rich.style import Style

    styles = {status: Style.parse(style) for status, style in _STYLES.items()}

    def paint(found: MemoryRange, line: str) -> str:
        style = styles.get(found.block.status or "")
        return style.render(line, color_system=ColorSystem.STANDARD) if style else line

    return paint
