"""Simulated machines in tests: their trees, and the memsim command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import memsim.directory
from memsim.kernel import Kernel

Tree = dict[str, str | None]
"""Every path of a tree: a file's or a link's text, None for a directory."""

SOURCES = os.pathsep.join(map(str, (Path(memsim.directory.__file__).parents[2], *sys.path)))

needs_fuse = pytest.mark.skipif(
    not (os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("fusermount3")),
    reason="needs FUSE: install fuse3, and mfusepy",
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")


def tree_of(kernel: Kernel, path: str = "") -> Tree:
    """The tree that a kernel shows."""
    found: Tree = {}
    for name in kernel.listdir(path):
        child = f"{path}/{name}".lstrip("/")
        kind = kernel.kind(child)
        if kind == "dir":
            found |= {child: None, **tree_of(kernel, child)}
        else:
            found[child] = kernel.readlink(child) if kind == "link" else kernel.read(child).decode()
    return found


def tree_at(root: Path) -> Tree:
    """The tree of real files below a root, but for what the kernel keeps to itself."""
    found: Tree = {}
    for above, directories, files in os.walk(root):
        if memsim.directory.PRIVATE in directories:
            directories.remove(memsim.directory.PRIVATE)
        for name in (*directories, *files):
            path = Path(above, name)
            link = path.is_symlink()
            text = os.readlink(path) if link else None if path.is_dir() else path.read_text()
            found[str(path.relative_to(root))] = text
    return found


def start_python(
    program: str, *arguments: str, within: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Runs a program on the modules under test, its standard output to be read.

    WITHIN is a command that starts the program, such as unshare.
    """
    return subprocess.Popen(
        [*within, sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": SOURCES},
    )


def run_memsim(*words: str | Path, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Runs the memsim command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "memsim", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": SOURCES},
        **keywords,
    )
