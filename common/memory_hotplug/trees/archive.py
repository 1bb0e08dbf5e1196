"""A tree in a tar archive, which may be damaged or malicious: it is read once, and closed."""

import errno
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Self

from memory_hotplug.attribute import TABLE, node_number
from memory_hotplug.trees.files import ABOUT, names_of
from memory_hotplug.trees.many import PAGE, READING, Links, or_error
from memory_hotplug.trees.root_files import (
    ARCH,
    CMDLINE,
    DMI,
    HYPERVISOR,
    LAYOUTS,
    RULES,
    SYSINFO,
)
from safe_files.beneath import MOST_LINKS, check_regular, os_error
from safe_files.tar import BrokenArchiveError, Member, members

__all__ = ["ArchiveTree"]

_FILES = frozenset(row.file for row in TABLE.values())
"""The files of sysfs that programs read. Other members of the archive are skipped."""

_NUMBERED = ("memory", "node")
"""The directories of blocks and nodes, and links to them, begin with one of these."""

_ROOT = re.compile(r"(?:^|/)(sys(?:/.+)?)\Z")
_SYSTEM_FILE = re.compile(
    rf"(?:^|/)(proc/(?:iomem|meminfo)|{'|'.join(map(re.escape, (ABOUT, ARCH, CMDLINE, SYSINFO)))}"
    rf"|{HYPERVISOR}|(?:{'|'.join(DMI)})/[a-z_]{{1,40}}"
    rf"|(?:{'|'.join(map(re.escape, LAYOUTS))})/[^/]+\.toml"
    rf"|(?:{'|'.join(map(re.escape, RULES))})/[^/]+\.rules)\Z"
)
"""What else is read."""
_REMEMBERED = 64
"""The maximum of directories whose place is remembered."""
_LONGEST = 1 << 20
"""The maximum size of such a file, in bytes."""


class ArchiveTree:
    """A tree in a tar archive, compressed or not, as ``memsim capture`` writes; read-only."""

    is_this_machine = False

    def __init__(self, path: str) -> None:
        """Raises OSError if the file cannot be read, or is not a complete archive."""
        self.root = self.place = path
        self.system = self
        self._directories: dict[str, dict[str, bytes | OSError | None]] = {"": {}}
        """Directory -> its names, with the text of a file or why there is none; None for others."""
        self._links: dict[str, str] = {}
        """The symbolic links that can be part of the path of an attribute."""
        self._texts: dict[bytes, bytes] = {}
        file = os.open(path, READING)
        with open(file, "rb") as packed:
            check_regular(os.fstat(file), path)
            try:
                for member in members(packed, _places()):
                    self._add(member)
            except BrokenArchiveError as error:
                why = f" ({error})" if str(error) else ""
                text = f"not an archive, or a damaged one{why}"
                raise OSError(errno.EINVAL, text, path) from None
            except MemoryError:
                raise os_error(errno.ENOMEM, path) from None

    def _add(self, member: Member) -> None:
        name, kind, size, content, target = member
        above, _, last = name.rpartition("/")
        found: bytes | OSError | None = None
        is_link = kind == "a symbolic link"
        if kind != "a directory" and not is_link:
            longest = PAGE if last in _FILES else _longest(name)
            if not longest:
                return
            if kind == "a regular file":
                if size > longest > PAGE:
                    raise BrokenArchiveError("too large a file, or too many")
                found = self._texts.setdefault(content, content)
            elif kind == "a hard link":
                linked = self._file(target)
                found = os_error(errno.ENOENT, name) if linked is None else linked
            else:
                found = OSError(errno.EMEDIUMTYPE, f"{kind}, not a regular file", name)
        names = self._directories.get(above)
        (self._directory(above) if names is None else names)[last] = found
        if kind == "a directory":
            self._directory(name)
        if self._links:
            self._links.pop(name, None)
        # Of a node's link the name says all, and a machine has two for each block.
        if is_link and node_number(last) is None and node_number(above.rpartition("/")[2]) is None:
            self._links[name] = target

    def _directory(self, path: str) -> dict[str, bytes | OSError | None]:
        """The names in a directory, which those above it have, too."""
        made = self._directories.setdefault(path, {})
        while path:
            path, _, last = path.rpartition("/")
            known = path in self._directories
            self._directories.setdefault(path, {}).setdefault(last)
            if known:
                break
        return made

    def _file(self, path: str) -> bytes | OSError | None:
        above, _, last = path.rpartition("/")
        return self._directories.get(above, {}).get(last)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""

    def revision(self) -> object:
        return None

    def names(self, directory: str) -> list[str]:
        directory = self._resolved(directory)
        try:
            return list(self._directories[directory])
        except KeyError:
            kind = errno.ENOENT if self._file(directory) is None else errno.ENOTDIR
            raise os_error(kind, directory) from None

    def read(self, path: str) -> bytes:
        path = self._resolved(path)
        found = self._file(path)
        if isinstance(found, bytes):
            return found
        if path in self._directories:
            raise OSError(errno.EMEDIUMTYPE, "a directory, not a regular file", path)
        raise found or os_error(errno.ENOENT, path)

    def link(self, path: str) -> str | None:
        """The target of a symbolic link; None if it is none."""
        return self._links.get(path)

    def read_each(
        self,
        directory: str,
        numbers: Iterable[int],
        *attributes: str,
        links: Links | None = None,
    ) -> list[bytes | OSError]:
        missing = os_error(errno.ENOENT, directory)
        values: list[bytes | OSError] = []
        for number in numbers:
            block = f"{directory}/memory{number}"
            files = self._directories.get(block, {})
            for name in attributes:
                found, path = files.get(name), f"{block}/{name}"
                if found is None and (self._links or path in self._directories):
                    found = or_error(self.read, path)
                values.append(missing if found is None else found)
            if links:
                values.append(or_error(partial(names_of, self, links), block))
        return values

    def _resolved(self, path: str) -> str:
        """The path without symbolic links. Raises OSError; EXDEV for a link out of the tree."""
        if not self._links:
            return path
        todo, way, links = path.split("/")[::-1], list[str](), 0
        while todo:
            name = todo.pop()
            if name == "..":
                if not way:
                    raise os_error(errno.EXDEV, path)
                way.pop()
            elif name not in ("", "."):
                way.append(name)
                target = self._links.get("/".join(way))
                if target is None:
                    continue
                links += 1
                if links > MOST_LINKS or target.startswith("/"):
                    raise os_error(errno.EXDEV if target.startswith("/") else errno.ELOOP, path)
                way.pop()
                todo += target.split("/")[::-1]
        return "/".join(way)

    def write(self, path: str, word: str) -> None:
        raise os_error(errno.EROFS, f"{self.root}/{path}")

    def refusal(self, path: str) -> OSError | None:
        return os_error(errno.EROFS, f"{self.root}/{path}")


def _places() -> Callable[[str], tuple[str, int] | None]:
    """A function that says where a member is.

    It remembers directories of the archive, and their paths relative to the root, which may be a
    directory in the archive: the members of a directory follow each other.
    """
    known: dict[str, str] = {}

    def place(name: str) -> tuple[str, int] | None:
        """The path of a member relative to the root, and how much of it is read; None for a member
        that is not part of the tree."""
        directory, _, last = name.rpartition("/")
        if last in _FILES or last.startswith(_NUMBERED):
            above = known.get(directory)
            if above is None and (found := _ROOT.search(os.path.normpath(directory))):
                if len(known) >= _REMEMBERED:
                    known.clear()
                above = known[directory] = found[1]
            if above is not None:
                return f"{above}/{last}", PAGE if last in _FILES else 0
        path = os.path.normpath(name)
        found = _SYSTEM_FILE.search(path) or _ROOT.search(path)
        return (found[1], _longest(found[1])) if found else None

    return place


def _longest(path: str) -> int:
    """The maximum size of a file that is read, in bytes; 0 for others."""
    if path.rpartition("/")[2] in _FILES:
        return PAGE
    return _LONGEST if _SYSTEM_FILE.fullmatch(path) else 0
