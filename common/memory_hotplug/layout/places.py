"""Find and read the files of memory layouts: in /etc, /run and /usr/lib below a root, or named."""

import os
import stat

from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Layout, joined
from memory_hotplug.layout.notation import parse_layout
from memory_hotplug.trees.files import Packed
from memory_hotplug.trees.root_files import LAYOUTS, content_of, is_masked, names_in, read_file
from safe_files.beneath import check_regular

__all__ = ["SAVED", "layout_file_names", "read_layout"]

SAVED = "etc/memory-layout.d/50-chmem.toml"
"""The file that chmem writes."""

_READING = os.O_RDONLY | os.O_NONBLOCK


def read_layout(root: str | Packed, where: str | None = None) -> Layout:
    """The layout in the file or directory WHERE; by default, in the directories below ROOT.

    As in sysctl.d(5), the files of all directories are sorted by name, a file overrides those of
    the same name in later directories, and a link to /dev/null masks them. WHERE is a path of this
    machine. Raises LayoutError, and OSError if WHERE cannot be read.
    """
    if where is None:
        found = [(f"/{path}", read_file(root, path)) for path in layout_file_names(root)]
    elif os.path.isdir(where):
        names = _toml(os.listdir(where))
        found = [
            (os.path.join(where, name), _read_here(os.path.join(where, name))) for name in names
        ]
    else:
        found = [(where, _read_here(where))]
    return joined(
        [parse_layout(_decoded(data, file), file) for file, data in found if data.strip()]
    )


def _toml(names: list[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(".toml") and not name.startswith("."))


def layout_file_names(root: str | Packed) -> list[str]:
    """The paths of the files that count, below ROOT, in the order of reading."""
    found: dict[str, str | None] = {}
    for directory in LAYOUTS:
        for name in _toml(names_in(root, directory)):
            if name not in found:
                path = f"{directory}/{name}"
                found[name] = None if is_masked(root, path) else path
    return [path for _, path in sorted(found.items()) if path]


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LayoutError(file, line, "not UTF-8") from None


def _read_here(path: str) -> bytes:
    """The content of a file that is named. A pipe is read to its end, for a shell's <(...)."""
    file = os.open(path, _READING)
    try:
        found = os.fstat(file)
        if not stat.S_ISFIFO(found.st_mode):
            check_regular(found, path)
        return content_of(file, path)
    finally:
        os.close(file)
