"""Colour for a terminal: what is not simply online is told apart at a glance."""

from collections.abc import Callable

from memory_hotplug.ranges import MemoryRange

__all__ = ["READS", "painter"]

READS = ("state", "configured")
"""Attributes that the colour of a line follows from."""

_STYLES = {
    "offline": "dim",
    "going-offline": "yellow",
    "disabled": "bright_black",
    "unknown": "red",
}


def painter() -> Callable[[MemoryRange, str], str]:
    """What colours a line by the status of its range."""
    from rich.color import ColorSystem
    from rich.style import Style

    styles = {status: Style.parse(style) for status, style in _STYLES.items()}

    def paint(found: MemoryRange, line: str) -> str:
        style = styles.get(found.block.status or "")
        return style.render(line, color_system=ColorSystem.STANDARD) if style else line

    return paint
