"""Find and read the files of memory layouts: in /etc, /run and /usr/lib below a root, or named."""

import errno
import os
import stat
from collections.abc import Iterator

from memory_hotplug.errors import LayoutError, printable
from memory_hotplug.trees.files import Packed
from memory_hotplug.trees.many import READING
from memory_hotplug.trees.root_files import (
    LAYOUTS,
    LONGEST,
    content_of,
    is_masked,
    names_in,
    read_file,
)
from safe_files.beneath import check_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Layout

__all__ = ["SAVED", "decoded", "find_layout", "layout_file_names", "read_layout"]

SAVED = "etc/memory-layout.d/50-chmem.toml"
"""The file that chmem writes."""


def read_layout(root: str | Packed, where: str | None = None) -> "Layout":
    """The layout, as `find_layout`; one that says nothing if there is none."""
    from memory_hotplug.layout.model import Layout

    return find_layout(root, where) or Layout()


def find_layout(root: str | Packed, where: str | None = None) -> "Layout | None":
    """The layout in the file or directory WHERE; by default, in the directories below ROOT, and
    None if none of their files has a text.

    As in sysctl.d(5), the files of all directories are sorted by name, a file overrides those of
    the same name in later directories, and a link to /dev/null masks them. WHERE is a path of this
    machine. Raises LayoutError, also if WHERE has no layout, and OSError if it cannot be read.
    """
    found = []
    for file, data in _bounded(_files(root, where)):
        if data.strip():
            # To set memory offline is to look for a layout, and most machines have none.
            from memory_hotplug.layout.notation import parse_layout

            found.append(parse_layout(decoded(data, file), file))
    if found:
        from memory_hotplug.layout.model import joined

        return joined(found)
    if where is not None:
        ends = "; the names of its files end in .toml" if os.path.isdir(where) else ""
        raise LayoutError(where, None, f"there is no layout{ends}")
    return None


def _files(root: str | Packed, where: str | None) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that counts."""
    if where is None:
        for path in layout_file_names(root):
            yield f"/{path}", read_file(root, path)
    elif os.path.isdir(where):
        for path in (os.path.join(where, name) for name in _toml(os.listdir(where))):
            check_regular(os.stat(path), path)
            yield path, _read_here(path)
    else:
        yield where, _read_here(where, pipe=True)


def _bounded(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The files. Raises OSError if all of them have more than LONGEST bytes."""
    size = 0
    for file, data in files:
        size += len(data)
        if size > LONGEST:
            reason = f"the files of the layout are larger than {LONGEST >> 20}M"
            raise OSError(errno.EFBIG, reason, printable(file))
        yield file, data


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


def decoded(data: bytes, file: str) -> str:
    """The text of a layout. Raises LayoutError; FILE is its name."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LayoutError(file, line, "not UTF-8") from None


def _read_here(path: str, *, pipe: bool = False) -> bytes:
    """The content of a regular file; of a PIPE too, which is read to its end, for a shell's
    <(...)."""
    file = os.open(path, READING)
    try:
        found = os.fstat(file)
        if not (pipe and stat.S_ISFIFO(found.st_mode)):
            check_regular(found, path)
        return content_of(file, path)
    finally:
        os.close(file)
