"""Whether only root can change what root would run at boot: Python, the packages, the commands.

A file can be changed by who may write it, and replaced by who may write the directory that it is
in, or one above. Each name on the way to it counts, and each symbolic link.
"""

import os
import stat
import sys
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec

from memory_hotplug.trees.root_files import MOST_LINKS

__all__ = ["first_open"]

_PACKAGES = (
    *("chmem_py", "lsmem_py", "memsim_py"),
    *("hotplug_cli", "memory_hotplug", "memsim", "safe_files"),
    *("click", "rich", "tabulate", "pygments", "markdown_it", "mdurl", "wcwidth"),
)
"""What is imported, some of it only when it is needed."""
_OF_OTHERS = ("site-packages", "dist-packages")
"""Directories in that of the standard library, for packages."""
_AT_START = (".pth", ".egg-link")
_CUSTOMS = ("sitecustomize", "usercustomize")
"""What Python runs when it starts, from a directory of packages."""


def first_open() -> str | None:
    """The first file, link or directory that others than root can change, of what the running
    command consists of; None if there is none."""
    return next((name for file in _files() for name in _open_names(file)), None)


def _files() -> Iterator[str]:
    """The files that are run, or may be."""
    yield os.path.abspath(sys.argv[0])
    # The launcher looks for Python beside itself.
    yield os.path.dirname(os.path.realpath(sys.argv[0]))
    for python in filter(None, (sys.executable, getattr(sys, "_base_executable", ""))):
        yield python
        above = os.path.dirname(python)
        # Python looks for it beside itself and one above.
        for place in (above, os.path.dirname(above)):
            yield from (place, os.path.join(place, "pyvenv.cfg"))
    for kind in ("stdlib", "platstdlib"):
        yield from _below(sysconfig.get_path(kind), without=_OF_OTHERS)
    for directory in filter(os.path.isdir, sys.path):
        yield directory
        for name in os.listdir(directory):
            if name.endswith(_AT_START) or name.startswith(_CUSTOMS):
                yield os.path.join(directory, name)
    modules = (getattr(module, "__file__", None) for module in sys.modules.values())
    yield from filter(None, modules)
    for package in dict.fromkeys((*_PACKAGES, *(name.partition(".")[0] for name in sys.modules))):
        yield from _files_of(package)


def _files_of(package: str) -> Iterator[str]:
    """The files of a package or a module."""
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        return  # a module that was made in memory
    if found is None:
        return
    if found.origin and found.has_location:
        yield found.origin
    for directory in found.submodule_search_locations or ():
        yield from _below(directory)


def _below(directory: str, without: tuple[str, ...] = ()) -> Iterator[str]:
    """A directory and all that is in it."""
    yield directory
    for above, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in without]
        yield from (os.path.join(above, name) for name in (*directories, *files))


def _open_names(file: str) -> Iterator[str]:
    """The names on the way to a file, links and what they lead to included, that others than root
    can change."""
    at, todo, links = "/", ["", *os.path.abspath(file).split("/")[::-1]], 0
    while todo:
        name = todo.pop()
        if name == "..":
            at = os.path.dirname(at)
        elif name not in ("", "."):
            at = os.path.join(at, name)
        try:
            found = os.lstat(at)
        except OSError:
            return  # it is not there, and in a single file it is no file
        if _is_open(found, on_the_way=bool(todo)):
            yield at
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > MOST_LINKS:
                return
            target = os.readlink(at)
            at = "/" if target.startswith("/") else os.path.dirname(at)
            todo += target.split("/")[::-1]


def _is_open(found: os.stat_result, *, on_the_way: bool) -> bool:
    """Whether others than root can change or replace the file, or what is in the directory."""
    if found.st_uid != 0:
        return True
    if stat.S_ISLNK(found.st_mode):
        return False
    # In a sticky directory nobody can replace what root owns, but everybody can add a file.
    sticky = on_the_way and found.st_mode & stat.S_ISVTX
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky)
