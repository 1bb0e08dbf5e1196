"""What is at a path that a machine's directory does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Shown", "at"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A file with its content, a link with its target, or a directory with its names."""

    text: str = ""
    target: str | None = None
    names: tuple[str, ...] | None = None
    writable: bool = False
    by_line: bool = False
    """Whether each read returns one line, as of /dev/kmsg."""


def at(path: str, files: Mapping[str, Shown]) -> Shown | None:
    """What is at a path, where FILES are all files and links; None for nothing."""
    if path in files:
        return files[path]
    below = (name[len(path) + 1 :] for name in files if name.startswith(f"{path}/"))
    names = tuple(dict.fromkeys(name.partition("/")[0] for name in below))
    return Shown(names=names) if names else None
