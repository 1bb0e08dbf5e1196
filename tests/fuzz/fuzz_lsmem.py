#!/usr/bin/env python3
"""lsmem on trees that were tampered with, and with command lines made at random.

    python tests/fuzz/fuzz_lsmem.py [--seed N] [--trees 400] [--lines 1000] [--only INDEX]

Every command must end within some seconds, with a status of its manual, without a traceback, and
without having opened anything outside of the tree. Commands run in forks of this process, and as
another user where attributes may not be read. The same seed makes the same commands; a failure
names its index, and ``--only`` runs that one again. Exits 1 after a failure.
"""

import argparse
import contextlib
import ctypes
import importlib
import io
import os
import pty
import random
import resource
import shutil
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import hotplug_cli.program
import simulated
import static_tree
from hotplug_cli.getopt import Option
from lsmem_py.cli import lsmem
from lsmem_py.columns import COLUMNS
from lsmem_py.formats import names as format_names

PATIENCE = 20.0
"""Seconds after which a command hangs."""
GLIMPSE = 0.6
"""Seconds that a watch is let run."""
MEMORY_LIMIT = 1 << 31
"""Bytes of address space that a command may take."""
NOBODY = 65534
SECRET = "c0ffee5ec2e7"
"""In every file outside of the trees; hexadecimal, as a block size is."""
STATUSES = {0, 1, 2, 130, 141}


@dataclass(slots=True)
class Run:
    """What a command did."""

    status: int | None
    """None for one that hung."""
    output: str
    opened: list[str] = field(default_factory=list)
    """Names outside of the tree that were opened."""


# Whether something outside is opened (inotify(7))

_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_CREATE = 0x1, 0x2, 0x20, 0x100
_EVENT = struct.Struct("iIII")


class Outside:
    """A directory that nobody may open, and what becomes of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        memory = root / "memory"
        for path in ("secret", "size", "node0/secret", "memory/memory3/state"):
            static_tree.write(root / path, SECRET)
        (memory / "block_size_bytes").write_text("8000000\n")
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK)
        what = _IN_ACCESS | _IN_MODIFY | _IN_OPEN | _IN_CREATE
        for directory in (root, root / "node0", memory, memory / "memory3"):
            if libc.inotify_add_watch(self._events, os.fsencode(directory), what) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self.opened()

    def opened(self) -> list[str]:
        """What was opened since the last question."""
        names: list[str] = []
        while True:
            try:
                data = os.read(self._events, 65536)
            except BlockingIOError:
                return names
            at = 0
            while at < len(data):
                _, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                name = data[at : at + length].rstrip(b"\0").decode(errors="replace")
                names.append(f"{name or '.'} ({mask:#x})")
                at += length


# Running a command


def run(
    arguments: Sequence[str],
    outside: Outside,
    environment: dict[str, str],
    *,
    unprivileged: bool = False,
    terminal: bool = False,
    out: str | None = None,
) -> Run:
    """Run lsmem in a fork. OUT is a file in place of standard output."""
    outside.opened()
    with tempfile.TemporaryFile() as captured:
        child, screen = _started(arguments, environment, captured, unprivileged, terminal, out)
        status = _waited(child, screen, watches=any("--w" in word for word in arguments))
        captured.seek(0)
        text = captured.read().decode(errors="surrogateescape")
    return Run(status, text, outside.opened())


def _started(
    arguments: Sequence[str],
    environment: dict[str, str],
    captured: io.BufferedRandom,
    unprivileged: bool,
    terminal: bool,
    out: str | None,
) -> tuple[int, int | None]:
    """The process, and the master of its terminal."""
    child, screen = pty.fork() if terminal else (os.fork(), -1)
    if child:
        return child, screen if terminal else None
    try:
        if not terminal:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(out, os.O_WRONLY) if out else captured.fileno(), 1)
        os.dup2(captured.fileno(), 2)
        if unprivileged and os.geteuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["lsmem", *arguments]
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # for the rest of the process
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        hotplug_cli.program.run(lsmem, "lsmem")
    except BaseException:
        os.write(2, traceback.format_exc().encode(errors="backslashreplace"))
        os._exit(99)


def _waited(child: int, screen: int | None, *, watches: bool) -> int | None:
    """The status of the process; a watch is ended by Ctrl-C, and what hangs is killed."""
    start = time.monotonic()
    interrupted = killed = False
    while True:
        if screen is not None:
            _drain(screen)
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        taken = time.monotonic() - start
        if taken > PATIENCE and not killed:
            killed = True
            os.kill(child, signal.SIGKILL)
        elif watches and taken > GLIMPSE and not interrupted:
            interrupted = True
            os.kill(child, signal.SIGINT)
        time.sleep(0.002)
    if screen is not None:
        os.close(screen)
    if killed:
        return None
    return os.waitstatus_to_exitcode(status)


def _drain(screen: int) -> None:
    import select

    while select.select([screen], [], [], 0)[0]:
        try:
            if not os.read(screen, 65536):
                return
        except OSError:
            return


# Trees that were tampered with

Mutation = Callable[[random.Random, Path, Path], None]
"""Takes a file or directory of a tree, and the directory outside."""


def _gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _missing(_: random.Random, path: Path, __: Path) -> None:
    _gone(path)


def _garbage(rng: random.Random, path: Path, _: Path) -> None:
    _gone(path)
    texts = [b"", b"\n", b"\0", b"\xff\xfe\x80", b"\x1b[2J\x1b]0;x\a", b"-1\n", b"0x", b"9" * 5000]
    texts += [b"online\n" * 700, b"offline", b"Y" * 127, b"1" * 128, b"0" * 4096, b"  1  \n", b"\r"]
    texts += ["\u0663\n".encode(), b"1e9\n", b"ffffffffffffffff\n", b"1\n", rng.randbytes(200)]
    path.write_bytes(rng.choice(texts))


def _huge(rng: random.Random, path: Path, _: Path) -> None:
    _gone(path)
    with path.open("wb") as file:
        file.write(rng.choice([b"f", b"1\n", b"\0", b"online "]))
        file.truncate(rng.choice([1 << 20, 1 << 40]))


def _directory(rng: random.Random, path: Path, _: Path) -> None:
    _gone(path)
    path.mkdir()
    if rng.random() < 0.5:
        (path / "memory3").mkdir()


def _fifo(_: random.Random, path: Path, __: Path) -> None:
    _gone(path)
    os.mkfifo(path)


def _socket(_: random.Random, path: Path, __: Path) -> None:
    _gone(path)
    above = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as bound:
        # The path itself may be too long for a socket's address.
        bound.bind(f"/proc/self/fd/{above}/{path.name}")
    os.close(above)


def _device(rng: random.Random, path: Path, outside: Path) -> None:
    if os.geteuid():
        _fifo(rng, path, outside)
        return
    _gone(path)
    number = rng.choice([os.makedev(1, 5), os.makedev(1, 7), os.makedev(5, 0), os.makedev(250, 3)])
    os.mknod(path, stat.S_IFCHR | 0o666, number)


def _link(rng: random.Random, path: Path, outside: Path) -> None:
    _gone(path)
    up = "../" * len(path.parts)
    places = [outside / "secret", outside / "size", outside, outside / "memory", outside / "node0"]
    place = rng.choice(places)
    targets: list[str | Path] = [
        place,
        f"{up}{str(place).lstrip('/')}",
        path.name,
        "nowhere",
        ".",
        "..",
        "/",
    ]
    targets += [outside / "memory/memory3", outside / "memory/memory3/state", "memory1", "../.."]
    path.symlink_to(rng.choice(targets))


def _denied(rng: random.Random, path: Path, _: Path) -> None:
    if not path.is_symlink():
        path.chmod(rng.choice([0, 0o111, 0o222, 0o444]))


def _stranger(rng: random.Random, path: Path, _: Path) -> None:
    """Another name beside the path."""
    names = ["memory", "memory-1", "memory007", "memory99999999999", "memory" + "9" * 200]
    names += ["memory\u0663", "node", "node1", "node999999999", "node9999999999", "memory1\n"]
    names += ["memory0x1", "memory 5", "\udcff", "memory4294967295", "node-1", "node00"]
    new = path.parent / rng.choice(names)
    if os.path.lexists(new):
        return
    if rng.random() < 0.7:
        new.mkdir()
        (new / "state").write_text("online\n")
    else:
        new.write_text("")


MUTATIONS: tuple[Mutation, ...] = (
    *(_missing, _garbage, _garbage, _huge, _directory, _fifo, _socket, _device),
    *(_link, _link, _link, _denied, _stranger),
)

_S390 = {"block_size": 1 << 28, "firmware": True, "memmap_param": "Y"}
BASES = (
    {
        "block_size": 1 << 27,
        "memmap_param": "N",
        "blocks": [{"range": [0, 5]}, {"range": [8, 11], "node": 1, "zones": "Movable"}],
    },
    {**_S390, "blocks": [{"range": [0, 5]}, {"range": [6, 11], "config": 0}]},
    {**_S390, "blocks": [{"range": [2, 4], "state": "offline"}, {"range": [90, 92], "config": 0}]},
    {"block_size": 1 << 30, "valid_zones": False, "blocks": [{"range": [0, 3], "has_node": False}]},
)


def _base(rng: random.Random, root: Path) -> None:
    """A tree of plain files, or a machine that memsim keeps."""
    description = rng.choice(BASES)
    if rng.random() < 0.3:
        simulated.make(root, description)
    else:
        static_tree.make(root, description)
        static_tree.write(root / static_tree.MEMORY / "auto_online_blocks", "offline")


def _places(root: Path) -> list[Path]:
    """What is in a tree and may be changed, links themselves and nothing behind a link.

    A link that an earlier change has made can lead to this machine's own files.
    """
    found: list[Path] = []
    below = [root / "sys", root / ".memsim"]
    while below:
        path = below.pop()
        if os.path.lexists(path):
            found.append(path)
        if path.is_dir() and not path.is_symlink():
            below += path.iterdir()
    private = root / ".memsim"
    # As often as they matter.
    return sorted([*found, *[path for path in found if private in path.parents] * 2])


def _is_within(path: Path, root: Path) -> bool:
    """Whether a change of PATH is one of the tree, and of nothing else."""
    return root.resolve() in (path.parent.resolve() / path.name).parents


def tampered(rng: random.Random, root: Path, outside: Path) -> bool:
    """Make a tree and change it in a few places; whether it must be read by another user."""
    _base(rng, root)
    denied = False
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        places = _places(root)
        if not places:
            break
        # A name of a few is drawn first, or nearly all changes would be to blocks.
        kind = rng.choice(sorted({place.name.rstrip("0123456789") for place in places}))
        place = rng.choice([one for one in places if one.name.rstrip("0123456789") == kind])
        mutation = rng.choice(MUTATIONS)
        denied = denied or mutation is _denied
        assert _is_within(place, root), place
        mutation(rng, place, outside)
    return denied


# Command lines made at random

_WORDS = ("", "-", "--", "=", "extra", "\x1b[31m", "\udcff\udc80", "\u65e5\u672c", "a" * 5000, "\n")
_VALUES: dict[str, Callable[[random.Random], str]] = {
    "output": lambda rng: _list(rng),
    "split": lambda rng: rng.choice([_list(rng), "none", "NONE"]),
    "summary": lambda rng: rng.choice(["never", "always", "only", "onli"]),
    "annotate": lambda rng: rng.choice(["never", "always", "auto", "x"]),
    "color": lambda rng: rng.choice(["never", "always", "auto", "x"]),
    "map": lambda rng: rng.choice(["status", "zones", "node"]),
    "watch": lambda rng: rng.choice(["0.1", "1", "0", "nan", "1e400", "99999999999", "-1"]),
    "format": lambda rng: rng.choice([*format_names(), "yaml", "TABLE"]),
}


def _list(rng: random.Random) -> str:
    words = [column.heading for column in COLUMNS]
    words = rng.choices([*words, *map(str.lower, words), "FOO", ""], k=rng.randint(1, 5))
    return rng.choice(["", "", "", "+"]) + ",".join(words)


def _value(rng: random.Random, name: str, roots: Sequence[str]) -> str:
    if rng.random() < 0.15:
        return rng.choice(_WORDS)
    if name == "sysroot" or name == "diff":
        return rng.choice([*roots, "/nowhere", "-", "/dev/null", "/dev/zero", "/proc/self/mem"])
    return _VALUES[name](rng) if name in _VALUES else rng.choice(_WORDS)


def _option(rng: random.Random, option: Option, roots: Sequence[str]) -> list[str]:
    """The option as somebody may write it."""
    long = option.long
    short = option.names[0] if len(option.names) > 1 else None
    if rng.random() < 0.1:
        long = long[: rng.randint(3, len(long))]
    if option.metavar is None:
        written = short if short and rng.random() < 0.6 else long
        return [written + rng.choice(["", "", "", "", "", "J", "x", "=1"])]
    value = _value(rng, option.key, roots)
    if option.bare and rng.random() < 0.4:
        return [long]
    if option.bare or rng.random() < 0.4:
        return [f"{long}={value}"]
    if short and rng.random() < 0.7:
        return rng.choice([[short, value], [short + value]])
    return [long, value]


def command_line(rng: random.Random, roots: Sequence[str]) -> list[str]:
    """Options, values and words that make sense more often than not."""
    words = ["-s", rng.choice(roots)] if rng.random() < 0.9 else []
    for _ in range(rng.choice([1, 1, 2, 2, 3, 5])):
        words += _option(rng, rng.choice(lsmem.options), roots)
        if rng.random() < 0.05:
            words.append(rng.choice(_WORDS))
    return [word.replace("\0", "") for word in words]


def environment(rng: random.Random) -> dict[str, str]:
    """What a person may have set."""
    some = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    for name, values in {
        "LSMEM_COLUMNS": ["SIZE,BLOCK", "+NODE", "FOO", "", "\udcff"],
        "LIBSMARTCOLS_JSON": ["compact", "lines", "x"],
        "COLUMNS": ["0", "1", "7", "80", "99999", "-5", "x", "\u0663", ""],
        "LINES": ["0", "1", "5", "x", "99999"],
        "NO_COLOR": ["", "1"],
        "TERM": ["dumb", "", "xterm-256color", "\udcff"],
        "POSIXLY_CORRECT": ["1"],
        "LC_ALL": ["C", "C.UTF-8", "de_DE.UTF-8", "nowhere", ""],
        "MEMORY_HOTPLUG_DEBUG": ["0"],
        "FORCE_COLOR": ["1"],
        "TTY_COMPATIBLE": ["0", "1"],
        "COLORTERM": ["truecolor", ""],
    }.items():
        if rng.random() < 0.15:
            some[name] = rng.choice(values)
    if rng.random() < 0.05:
        # A shell asks, or somebody pretends to be one.
        asked = ["bash_complete", "zsh_complete", "fish_source", "x", "_", "\udcff"]
        some["_LSMEM_COMPLETE"] = rng.choice(asked)
        some["COMP_WORDS"] = rng.choice(
            ["", "lsmem ", "lsmem -s /", "lsmem '", "lsmem --di", "\udcff"]
        )
    return some


# What is wrong


def wrong(done: Run, *, full: bool = False) -> Iterator[str]:
    """What must not be so of a command that ended."""
    if done.status is None:
        yield f"hangs for {PATIENCE:g} s"
    elif done.status not in STATUSES:
        yield f"status {done.status}"
    if "Traceback (most recent call last)" in done.output:
        yield "traceback"
    if SECRET in done.output:
        yield "shows a secret"
    if done.opened:
        yield f"opened outside: {', '.join(done.opened)}"
    if full and done.status == 0 and "write error" not in done.output:
        yield "status 0 on a full disk"


TREE_COMMANDS: tuple[tuple[str, ...], ...] = (
    (),
    ("-a", "-J", "--output-all"),
    ("-J", "--typed", "-b"),
    ("-o", "+STATUS,NODE,ZONES,PHYS_DEVICE,CONFIGURED,MEMMAP-ON-MEMORY", "-P"),
    ("--map",),
    ("--map=zones", "--color"),
    ("--summary",),
)


class Fuzz:
    """Counts what was run, and tells of what went wrong."""

    def __init__(self, seed: int, work: Path, only: int | None) -> None:
        self.seed = seed
        self.work = work
        self.only = only
        self.outside = Outside(work / "outside")
        self.statuses: Counter[int | None] = Counter()
        self.failures = 0

    def trees(self, count: int) -> None:
        for index in range(count):
            if self.only in (None, index):
                rng = random.Random(f"{self.seed} tree {index}")
                self._tree(rng, f"tree {index}", self.work / f"tree{index}")

    def _tree(self, rng: random.Random, name: str, root: Path) -> None:
        denied = tampered(rng, root, self.outside.root)
        whole = self.work / "whole.json"
        commands = [("-s", str(root), *options) for options in TREE_COMMANDS]
        commands += [
            ("--diff", str(whole), "-s", str(root)),
            ("--diff", str(root), "-s", str(self.work / "whole")),
            ("-J", "--diff", str(root), "-s", str(root)),
        ]
        if rng.random() < 0.1:
            commands.append(("--watch=0.1", "-s", str(root)))
        for words in commands:
            unprivileged = denied and rng.random() < 0.7
            self._judge(name, words, {"PATH": os.environ["PATH"]}, unprivileged=unprivileged)
        # Of a directory that may not be listed nothing could be removed.
        for above, _, _ in os.walk(root):
            os.chmod(above, 0o755)
        _gone(root)

    def lines(self, count: int) -> None:
        roots = [str(self.work / name) for name in ("whole", "machine", "whole.json")]
        for index in range(count):
            if self.only in (None, index):
                rng = random.Random(f"{self.seed} line {index}")
                words, variables = command_line(rng, roots), environment(rng)
                chance = rng.random()
                terminal, full = chance < 0.15, 0.15 <= chance < 0.2
                out = "/dev/full" if full else None
                self._judge(f"line {index}", words, variables, terminal=terminal, out=out)

    def _judge(
        self,
        name: str,
        words: Sequence[str],
        variables: dict[str, str],
        *,
        unprivileged: bool = False,
        terminal: bool = False,
        out: str | None = None,
    ) -> None:
        command = partial(
            run,
            *(words, self.outside, variables),
            unprivileged=unprivileged,
            terminal=terminal,
            out=out,
        )
        done = command()
        if done.opened:
            # It may have been anybody who looks around in the temporary directory.
            done = command()
        self.statuses[done.status] += 1
        for fault in wrong(done):
            self.failures += 1
            print(f"{name}: {fault}\n  lsmem {words!r}\n  {variables!r}", flush=True)
            print("    " + done.output[-1500:].replace("\n", "\n    "), flush=True)


def preload() -> None:
    """Import what commands import while they run: another user may not read this Python."""
    runs = [
        ["--map", "--color=always"],
        ["--format", "html"],
        ["--format", "csv"],
        ["-J", "--typed"],
        ["--color=always"],
        ["--diff", "/"],
        ["--watch=x"],
        ["--nonsense"],
    ]
    read, write = os.pipe()
    if not os.fork():
        names = set(sys.modules)
        with open(os.devnull, "w") as nowhere:
            sys.stdout = sys.stderr = nowhere
            for words in runs:
                sys.argv = ["lsmem", "-s", "/", *words]
                hotplug_cli.program.status_of(lsmem, "lsmem")
        more = sorted(set(sys.modules) - names)
        os.write(
            write, " ".join([*more, "lsmem_py.screen", "memory_hotplug.trees.archive"]).encode()
        )
        os._exit(0)
    os.wait()
    for name in os.read(read, 1 << 16).decode().split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--trees", type=int, default=400)
    asked.add_argument("--lines", type=int, default=1000)
    asked.add_argument("--only", type=int)
    options = asked.parse_args()
    work = Path(tempfile.mkdtemp(prefix="fuzz-lsmem-"))
    work.chmod(0o755)
    try:
        fuzz = Fuzz(options.seed, work, options.only)
        static_tree.make(work / "whole", BASES[0])
        simulated.make(work / "machine", BASES[1])
        done = run(("-J", "--typed", "-s", str(work / "whole")), fuzz.outside, {})
        (work / "whole.json").write_text(done.output)
        preload()
        fuzz.trees(options.trees)
        fuzz.lines(options.lines)
        counted = ", ".join(
            f"{status}: {count}" for status, count in sorted(fuzz.statuses.items(), key=str)
        )
        print(
            f"seed {options.seed}: {options.trees} trees and {options.lines} command lines,"
            f" {fuzz.statuses.total()} commands (by status {counted}), {fuzz.failures} failures"
        )
        return int(fuzz.failures > 0)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
