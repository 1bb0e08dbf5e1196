"""util-linux's lsmem and chmem, built from a checkout, and what a command was seen to do."""

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

BUILT_WITH = ("meson", "ninja", "cc", "bison", "flex", "pkg-config")

_OPTIONS = (
    *("-Dauto_features=disabled", "-Dbuild-python=disabled", "-Dnls=disabled"),
    *("-Dbuild-libsmartcols=enabled", "-Dbuild-lsmem=enabled", "-Dbuild-chmem=enabled"),
    "-Dwidechar=enabled",
)

_CONFIGURABLE = r"(desc->have_memconfig = 1);"
_MENDED = r"\1, read_conf(desc);"
"""Since 3f53e5d2d chmem lists /sys/firmware/memory before it knows that there is one, and then does
nothing. The reference is told of the list again, or no such machine could be compared. See
docs/util-linux.md."""


class Programs(NamedTuple):
    """Where the programs of the reference are."""

    lsmem: str
    chmem: str


def built(source: Path, work: Path) -> Programs:
    """Build both from the checkout SOURCE, which is not changed, below WORK, if they are not there.

    Raises SystemExit with a sentence if that is not possible.
    """
    missing = [name for name in BUILT_WITH if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"to build util-linux, install: {', '.join(missing)}")
    if not (source / "sys-utils/lsmem.c").exists():
        raise SystemExit(f"no checkout of util-linux: {source}")
    copy, build = work / "source", work / "build"
    programs = Programs(str(build / "lsmem"), str(build / "chmem"))
    if all(map(os.path.exists, programs)):
        return programs
    shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", "po"))
    shutil.copytree(source / "po", copy / "po", symlinks=True)
    program = copy / "sys-utils/chmem.c"
    program.write_text(re.sub(_CONFIGURABLE, _MENDED, program.read_text()))
    for words in (
        ["meson", "setup", *_OPTIONS, str(build), str(copy)],
        ["ninja", "-C", str(build), "lsmem", "chmem"],
    ):
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return programs


# What a command does


class Seen(NamedTuple):
    """What a command did."""

    status: int
    """-N if signal N ended it."""
    out: str
    err: str


Start = Callable[[], NoReturn]
"""Runs a command in place of a forked process."""


def program(path: str, words: Sequence[str], environment: Mapping[str, str]) -> Start:
    """A program of the reference."""

    def start() -> NoReturn:
        os.execve(path, [path.rpartition("/")[2], *words], dict(environment))

    return start


def ours(name: str, words: Sequence[str], environment: Mapping[str, str]) -> Start:
    """Our own command, in a fork of this process, which has imported it."""

    def start() -> NoReturn:
        import importlib

        from hotplug_cli import program

        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [name, *words]
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # for the rest of the process
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        program.run(getattr(importlib.import_module(f"{name}_py.cli"), name), name)

    return start


def observe(start: Start, columns: int = 0) -> Seen:
    """What a command does; with COLUMNS its standard output is a terminal that is so wide."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child, screen = pty.fork() if columns else (os.fork(), -1)
        if not child:
            _take_place(start, out, err, columns)
        shown = b""
        if columns:
            shown = _read(screen)
            os.close(screen)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not columns:
            out.seek(0)
            shown = out.read()
        err.seek(0)
        return Seen(
            status, *(text.decode(errors="surrogateescape") for text in (shown, err.read()))
        )


def _take_place(
    start: Start, out: io.BufferedRandom, err: io.BufferedRandom, columns: int
) -> NoReturn:
    try:
        if columns:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        else:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        start()
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
        os._exit(99)


def _read(screen: int) -> bytes:
    shown = b""
    while True:
        try:
            piece = os.read(screen, 65536)
        except OSError:
            return shown
        if not piece:
            return shown
        shown += piece
