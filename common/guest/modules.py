"""The modules that a guest's kernel loads at boot, in the order of their loading.

Neither depmod nor its modules.dep is needed: a module names those that it depends on in its
section .modinfo (include/linux/module.h), and modules.builtin those that the kernel has.
"""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

__all__ = ["ModuleError", "in_order"]

_READ: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    ".ko": bytes,
    ".xz": lzma.decompress,
    ".gz": gzip.decompress,
}


class ModuleError(Exception):
    """The modules cannot be taken from a directory; the text is the message for the user."""


def in_order(directory: Path, wanted: Iterable[str]) -> tuple[dict[str, bytes], set[str]]:
    """The modules and what they depend on, each after what it depends on, by name; and the names
    that the kernel has neither built in nor as a module.

    `directory` is /lib/modules/RELEASE of the kernel. Raises ModuleError.
    """
    built_in, files = _built_in_and_files(directory)
    found: dict[str, bytes] = {}
    absent: set[str] = set()

    def take(name: str) -> None:
        if name in found or name in built_in:
            return
        if name not in files:
            absent.add(name)
            return
        data = _content(files[name])
        match = re.search(rb"(?:^|\0)depends=([^\0]*)\0", data)
        for needed in match[1].decode().split(",") if match else ():
            if needed:
                take(needed.replace("-", "_"))
        found[name] = data

    for name in wanted:
        take(name.replace("-", "_"))
    return found, absent


def _built_in_and_files(directory: Path) -> tuple[set[str], Mapping[str, Path]]:
    """The names of what is built in, and the files of the modules by name."""
    try:
        lines = (directory / "modules.builtin").read_text().split()
    except OSError:
        raise ModuleError(
            f"{directory}: no modules.builtin here; it is in /lib/modules/RELEASE of a kernel"
        ) from None
    files = {_name(path): path for path in sorted(directory.rglob("*.ko*"))}
    return {_name(Path(line)) for line in lines}, files


def _name(path: Path) -> str:
    """The name of the module in a file; the kernel takes - for _."""
    return path.name.partition(".")[0].replace("-", "_")


def _content(file: Path) -> bytes:
    read = _READ.get(file.suffix)
    if read is None:
        raise ModuleError(f"{file}: modules are read as .ko, .ko.xz and .ko.gz only")
    try:
        return read(file.read_bytes())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ModuleError(f"{file}: {error}") from error
