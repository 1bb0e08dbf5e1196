"""Compile Python's modules for a guest, whose Python may be of another version.

An emulated CPU needs most of a minute to compile them.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["PYTHONS", "compiled", "interpreter"]

PYTHONS: Final = {"bookworm": "3.11", "trixie": "3.13"}
"""The version of Python, by release of Debian."""

_PROGRAM: Final = """\
import json, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # never to be checked against its source
for source, place, file in json.load(sys.stdin):
    py_compile.compile(source, cfile=file, dfile=place, doraise=True, invalidation_mode=mode)
"""


@functools.cache
def interpreter(version: str) -> str | None:
    """A Python of a version, such as 3.11, on this machine; None if there is none."""
    if _is(sys.version_info[:2], version):
        return sys.executable
    path = shutil.which(f"python{version}")
    if path is None:
        return None
    # It may be a script that finds no such Python.
    program = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([path, "-I", "-S", "-c", program], capture_output=True, text=True)
    return path if done.returncode == 0 and _is(done.stdout.split(), version) else None


def _is(numbers: Iterable[object], version: str) -> bool:
    return ".".join(map(str, numbers)) == version


def compiled(
    sources: Mapping[str, bytes], version: str, unpacked: Path | None = None
) -> dict[str, bytes] | None:
    """The bytecode of modules, given by their paths in the guest, by these paths.

    None where no Python of that version is here. `unpacked` is a directory with one from Debian's
    packages, which is taken where this machine has none.
    """
    command = _command(version, unpacked)
    if command is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        work = []
        for number, (place, data) in enumerate(sources.items()):
            source = Path(scratch, f"{number}.py")
            source.write_bytes(data)
            work.append((str(source), place, f"{source}c"))
        subprocess.run(
            [*command, "-I", "-S", "-c", _PROGRAM], input=json.dumps(work), text=True, check=True
        )
        return {place: Path(file).read_bytes() for _, place, file in work}


def _command(version: str, unpacked: Path | None) -> Sequence[str] | None:
    if here := interpreter(version):
        return [here]
    if unpacked is None:
        return None
    programs = sorted(unpacked.glob(f"usr/bin/python{version}"))
    loaders = sorted(path for path in unpacked.rglob("ld*.so.[12]") if not path.is_symlink())
    if not (programs and loaders):
        return None
    libraries = {str(path.parent) for path in unpacked.rglob("lib*.so.*")}
    # With its own loader and libraries: it may be newer than those of this machine.
    return [str(loaders[0]), "--library-path", ":".join(sorted(libraries)), str(programs[0])]
