#!/usr/bin/env python3
"""memsim on what somebody else has made or damaged, and writers that fail or are killed.

    python tests/fuzz/fuzz_memsim.py [--seed N] [--bytes 1] [--calls 1] [--kills 300]
                                     [--archives 3000] [--descriptions 2000] [--lines 2000]

bytes         every byte of every record changed, and every record cut at every length; with a
              larger number, each such byte only
calls         every system call of four writes fails, in three ways
kills         writers are killed at random instants
archives      captured archives with bytes that were changed, cut or put in
descriptions  descriptions with values of another kind
lines         command lines made at random

No command prints a traceback, hangs, or changes a file outside of the machine. What was told as
failed has not happened, and what was told as done has. Exits 1 after a failure; each is printed.
"""

import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from damage import STRANGERS, damaged, failing
from memsim import directory, records
from memsim.capture import capture_tree
from memsim.description import dump
from memsim.directory import PRIVATE, Directory
from memsim.machine import TRANSITIONS
from memsim.profile import PROFILES, load
from memsim.sysfs import FIRMWARE, MEMORY
from memsim_py.cli import commands
from simulated import make, s390, tree_at, tree_of, x86
from workshop import Parts, Workshop, run_here, try_parts

PATIENCE = 30


class Shop(Workshop):
    """A place for machines, beside which is a file that no command may change."""

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, seed)
        self.outside = root / "outside"
        self.outside.mkdir()
        (self.outside / "file").write_text("precious")

    def memsim(self, what: str, *words: object) -> tuple[int, str]:
        """Runs the command in this process; its status and what it says of errors."""
        signal.alarm(PATIENCE)
        status, _, said = run_here(commands, "memsim", *words)
        signal.alarm(0)
        self.check(status in (0, 1), f"{what}: status {status}", said)
        self.check(not status or said.startswith("memsim: "), f"{what}: no sentence", said)
        given = sum(len(str(word)) for word in words)
        self.check(len(said) < 4000 + 2 * given, f"{what}: a long sentence", said[:100])
        self.results["accepted" if status == 0 else "refused"] += 1
        precious = (self.outside / "file").read_text() == "precious"
        self.check(precious and len(list(self.outside.iterdir())) == 1, f"{what}: wrote outside")
        return status, said


def each_byte(shop: Shop, step: int) -> None:
    root = make(shop.root / "m", s390(delays={"offline": {"3": 0.0}}))
    directory.write(root, f"{FIRMWARE}/memory4/config", b"1")
    before = tree_at(root)
    kernel = Directory(root).kernel()
    kernel.offline(3)
    changed = {3: (kernel.blocks.place[3], kernel.blocks.flags[3])}
    journals = {
        "journal.json": records.journal_of_change(records.live_record(kernel), changed),
        "journal.json of offline": records.journal_of_offline(3),
    }
    for name in ("machine.json", "blocks", "live.json", *journals):
        record = root / PRIVATE / name.partition(" ")[0]
        right = journals.get(name) or record.read_bytes()
        for number, content in enumerate(damaged(right, step)):
            record.write_bytes(content)
            what = f"{name}, {number}"
            shop.memsim(what, "show", root)
            status, said = shop.memsim(what, "fault", root, "--delay", "offline:3=0")
            shop.check(not status or record.name in said, f"{what}: not named", said)
            shop.check(tree_at(root) == before, f"{what}: the tree was changed")
            if name in journals:
                record.unlink(missing_ok=True)
            if status == 0:
                shutil.rmtree(root)
                make(root, s390(delays={"offline": {"3": 0.0}}))
                directory.write(root, f"{FIRMWARE}/memory4/config", b"1")
        if name not in journals:
            record.write_bytes(right)


def each_call(shop: Shop, _count: int) -> None:
    original = make(shop.root / "m", s390(contiguous_zones=True))
    directory.write(original, f"{FIRMWARE}/memory5/config", b"1")
    for path, data in (
        (f"{FIRMWARE}/memory4/config", b"1"),
        (f"{FIRMWARE}/memory5/config", b"0"),
        (f"{MEMORY}/memory3/state", b"offline"),
        (f"{MEMORY}/auto_online_blocks", b"online"),
    ):
        after = shop.root / "after"
        shutil.copytree(original, after, symlinks=True)
        directory.write(after, path, data)
        expected = {False: tree_at(original), True: tree_at(after)}
        shutil.rmtree(after)
        for number in (0, errno.EACCES, errno.EIO):
            for at in range(120):
                root = shop.root / "x"
                shutil.copytree(original, root, symlinks=True)
                done = _written(root, path, data, failing(number, at))
                what = f"{path}, errno {number} at call {at}, told {done}"
                shop.check(tree_at(root) == expected[done], f"{what}: at once")
                Directory(root).settle()
                shop.check(tree_at(root) == expected[done], f"{what}: afterwards")
                kernel = Directory(root).kernel()
                shop.check(tree_of(kernel) == expected[done], f"{what}: the kernel")
                shop.results["done" if done else "failed"] += 1
                shutil.rmtree(root)


def _written(root: Path, path: str, data: bytes, functions: dict[str, Any]) -> bool:
    """Whether a writer with these functions of `os` is told that its write was done."""
    if not (child := os.fork()):
        for name, function in functions.items():
            setattr(os, name, function)
        try:
            directory.write(root, path, data)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def kills(shop: Shop, count: int) -> None:
    root = make(shop.root / "m", s390(contiguous_zones=True, firmware=True))
    for number in range(count):
        before = tree_at(root)
        if not (child := os.fork()):
            _write_for_ever(root, shop.random.random())
        time.sleep(shop.random.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shop.results["within a write"] += (root / PRIVATE / "journal.json").exists()
        for path in (root / "sys").rglob("*"):
            # A uevent is empty at all times.
            if path.is_file() and not path.is_symlink() and path.name != "uevent":
                shop.check(path.read_text().endswith("\n"), f"kill {number}: {path} is torn")
        kernel = Directory(root).kernel()
        Directory(root).settle()
        now = tree_at(root)
        shop.check(now == tree_of(kernel), f"kill {number}: the tree is not the kernel's")
        shop.results["after a change"] += now != before


def _write_for_ever(root: Path, seed: float) -> None:
    chance = random.Random(seed)
    while True:
        block = chance.randrange(8)
        state, firmware = f"{MEMORY}/memory{block}/state", f"{FIRMWARE}/memory{block}"
        path, data = chance.choice(
            [
                (state, b"online"),
                (state, b"offline"),
                (state, b"online_movable"),
                (f"{firmware}/config", b"1"),
                (f"{firmware}/config", b"0"),
                (f"{firmware}/memmap_on_memory", b"1"),
            ]
        )
        with contextlib.suppress(OSError):
            directory.write(root, path, data)


def archives(shop: Shop, count: int) -> None:
    shop.root.joinpath("m").mkdir()
    right = []
    for number, machine in enumerate([s390(), x86(), dump(load("x86-two-nodes"))]):
        root = make(shop.root / f"m/{number}", machine)
        capture_tree(shop.root / f"{number}.tar.gz", root)
        right.append((shop.root / f"{number}.tar.gz").read_bytes())
        subprocess.run(["tar", "cf", shop.root / f"{number}.tar", "-C", root, "sys"], check=True)
        right.append((shop.root / f"{number}.tar").read_bytes())
    for number in range(count):
        content = bytearray(shop.random.choice(right))
        for _ in range(shop.random.choice((1, 1, 1, 3, 20))):
            at = shop.random.randrange(max(len(content), 1))
            how = shop.random.randrange(4)
            if how == 0 and content:
                content[at] ^= 1 << shop.random.randrange(8)
            elif how == 1:
                content[at : at + shop.random.randrange(1000)] = b""
            elif how == 2:
                content[at:at] = shop.random.randbytes(shop.random.randrange(1000))
            else:
                del content[max(at, 1) :]
        (shop.root / "wrong").write_bytes(content)
        status, _ = shop.memsim(
            f"archive {number}", "create", shop.root / "made", "--capture", shop.root / "wrong"
        )
        if status == 0:
            shop.memsim(f"archive {number}", "show", shop.root / "made")
            shutil.rmtree(shop.root / "made")


VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2, 1.5, 1 << 31, 1 << 63, 1 << 64, 10**400, "", "x", "1", "\ud800"),
    *([], [0], [1, 0], [0, 1, 2], [[0, 1]], {}, {"x": 1}, {"offline": {"0": "EBUSY"}}, "Normal"),
    *({"offline": {"0": {"errno": "EIO", "times": 1}}}, {"DMA": 1 << 30}, "none", "online"),
)


def descriptions(shop: Shop, count: int) -> None:
    names = [name for name in PROFILES if name not in ("huge", "ppc64-large", "s390-imbalance")]
    for _ in range(count):
        description = dump(load(shop.random.choice(names)))
        for _ in range(shop.random.choice((1, 1, 2, 4))):
            place = shop.random.choice([description, *description["blocks"][:2]])
            key = shop.random.choice([*place, "more"])
            place[key] = shop.random.choice(VALUES)
            if not isinstance(description["blocks"], list) or not description["blocks"]:
                break
            if not all(isinstance(group, dict) for group in description["blocks"]):
                break
        text = json.dumps(description)
        if shop.random.random() < 0.1:
            at = shop.random.randrange(len(text))
            text = text[:at] + shop.random.choice('[]{},:"0\\') + text[at + 1 :]
        (shop.root / "file").write_text(text)
        made = shop.root / "made"
        status, _ = shop.memsim(f"description {text}", "create", made, "--from", shop.root / "file")
        if status == 0:
            shop.memsim(text, "show", made)
            shop.memsim(text, "write", made, f"{MEMORY}/memory0/state", "offline")
            shutil.rmtree(made)


def lines(shop: Shop, count: int) -> None:
    root = make(shop.root / "m", s390())
    for number in range(count):
        words = list(_random_words(shop.random, root, shop.root))
        shop.memsim(f"memsim {words}", *words)
        for made in ("new", "case", "case.tar.gz"):
            path = shop.root / made
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        if number % 20 == 0:
            # Other things in the place of an attribute or a record, for a while.
            name = shop.random.choice(["lock", "live.json", "blocks", "machine.json", "../sys"])
            place = root / PRIVATE / name
            place.rename(shop.root / "kept")
            STRANGERS[shop.random.choice(list(STRANGERS))](place)
            shop.memsim(f"{name} replaced, show", "show", root)
            shop.memsim(f"{name} replaced", "write", root, f"{MEMORY}/memory1/online", "0")
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            else:
                place.unlink()
            (shop.root / "kept").rename(place)


def _random_words(chance: random.Random, root: Path, top: Path) -> Iterator[str]:
    odd = ["", "\udc80", "x" * 5000, "9" * 5000, "-1", "nan", "\u0663", "3=EBUSY"]
    odd.append("../outside/file")
    values = ["0", "1", "offline"]
    attributes = [f"{MEMORY}/memory3/state", f"{FIRMWARE}/memory5/config", f"{MEMORY}/nothing"]
    faults = ["3=EBUSY", "3=EBUSY:2", "99=EIO", "3=none", "x", "3=EFOO", "=", "3=EBUSY:0"]
    lines: dict[str, Callable[[], list[str]]] = {
        "profiles": list,
        "show": lambda: [str(root), *chance.choice([[], ["--json"]])],
        "write": lambda: [
            str(root),
            chance.choice(attributes),
            chance.choice(values),
        ],
        "reboot": lambda: [str(root)],
        "fault": lambda: [
            *(str(root), f"--{chance.choice(TRANSITIONS)}", chance.choice(faults)),
            *chance.choice([[], ["--clear"], ["--delay", f"offline:{chance.choice(faults)}"]]),
        ],
        "create": lambda: [
            str(top / "new"),
            *chance.choice(
                [
                    ["--profile", chance.choice(["s390-lpar", "vax", *odd])],
                    ["--memory", chance.choice(["1G", "2g", "0", "1", "1E", *odd]), "--nodes", "2"],
                    ["--memory", "1G", "--standby", chance.choice(["1G", *odd])],
                    ["--memory", "1G", "--used", chance.choice(["1G", "2G", *odd])],
                    ["--memory", "1G", "--block-size", chance.choice(["1M", "3M", "64M", *odd])],
                    ["--capture", chance.choice([str(root), "/dev/null", *odd])],
                    ["--from", chance.choice(["/dev/zero", "/dev/null", *odd])],
                ]
            ),
        ],
        "capture": lambda: ["-s", str(root), str(top / chance.choice(["case", "case.tar.gz"]))],
        "mount": lambda: [str(root), chance.choice([str(root), *odd])],
        "shell": lambda: ["--profile", chance.choice([*odd, "vax"])],
    }
    name = chance.choice(list(lines))
    words = [name, *lines[name]()]
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        at = chance.randrange(len(words))
        how = chance.randrange(3)
        if how == 0:
            options = ["--clear", "--json", "--", "-h", "-V", "--nonsense"]
            words.insert(at, chance.choice([*odd, *options]))
        elif how == 1:
            words[at] = chance.choice(odd)
        elif len(words) > 1:
            del words[at]
    # Never the commands that mount, run programs or boot, if all is right.
    if words[0] in ("mount", "shell") and not set(words) & {*odd, "vax", "--nonsense"}:
        words.append("--nonsense")
    if not any(words[0].startswith(command) for command in ("demo", "boot")):
        yield from words


PARTS: Parts[Shop] = {
    "bytes": (each_byte, 1),
    "calls": (each_call, 1),
    "kills": (kills, 300),
    "archives": (archives, 3000),
    "descriptions": (descriptions, 2000),
    "lines": (lines, 2000),
}


if __name__ == "__main__":
    sys.exit(try_parts(__doc__, Shop, PARTS))
