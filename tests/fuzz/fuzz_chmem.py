#!/usr/bin/env python3
"""chmem killed, interrupted, refused twice, and given command lines made at random.

    python tests/fuzz/fuzz_chmem.py [--seed N] [--kills 300] [--signals 200] [--pairs 1000]
                                    [--lines 3000] [--layouts 1000]

What chmem tells is compared with the machine: status, document and every block. After a kill the
same command must end where it ends without one. A layout that was applied is so, also after it was
saved, and a boot. No command prints a traceback, hangs, or leaves a block between two conditions.
Exits 1 after a failure, each of which is printed with its command.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import documents
import workshop
from chmem_py.cli import chmem
from commands import SCRIPTS
from memsim.directory import Directory
from memsim.machine import TRANSITIONS, Fault
from simulated import HALF_ONLINE, conditions, make, s390, x86
from told import Conditions, document_in, untrue
from workshop import Parts, Workshop, try_parts

PATIENCE = 60
ERRORS = ("EBUSY", "EAGAIN", "EIO", "ENOMEM", "EINVAL", "EACCES", "ENODEV", "EINTR", "ENOSPC")
STATUSES = {0, 1, 64, 129, 130, 143}


class Work(NamedTuple):
    """A machine, and a request that takes several writes to each block."""

    machine: dict[str, Any]
    words: tuple[str, ...]


SEQUENCES = (
    Work(s390(), ("--reconfigure", "-m", "1", "-b", "1-3")),
    Work(HALF_ONLINE, ("--reconfigure", "-m", "1", "-b", "2-6")),
    Work(s390(), ("-e", "-b", "4-7")),
    Work(s390(), ("-e", "-m", "0", "-b", "4-7")),
    Work(s390(auto_online_blocks="online_kernel"), ("-e", "-z", "Movable", "-b", "4-7")),
    Work(s390(), ("-d", "-b", "1-3")),
    Work(s390(), ("-c", "-m", "0", "-b", "4-7")),
    Work(HALF_ONLINE, ("-g", "-b", "4-7")),
    Work(x86(), ("-e", "-b", "4-7")),
    Work(x86(), ("-d", "-b", "0-2")),
)


class Shop(Workshop):
    """A place for machines that are slow."""

    _made = 0

    def machine(self, description: dict[str, Any], seconds: float = 0.0) -> Path:
        """A new machine, of which every transition takes so long."""
        self._made += 1
        slow = {transition: {str(n): seconds for n in range(8)} for transition in TRANSITIONS}
        more = {"delays": slow} if seconds else {}
        return make(self.root / f"m{self._made}", {**description, **more})

    def remove(self, root: Path) -> None:
        shutil.rmtree(root)

    def some_instant(self, machine: dict[str, Any], words: Sequence[str], seconds: float) -> float:
        """Seconds until an instant within a run, most often after the start of Python."""
        root = self.machine(machine, seconds)
        began = time.monotonic()
        run(root, *words)
        self.remove(root)
        return (time.monotonic() - began) * self.random.betavariate(2, 1)


def command(root: Path, words: Sequence[str]) -> list[str]:
    return [str(SCRIPTS / "chmem"), "-s", str(root), *words]


def run(root: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(command(root, words), capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr


def run_here(root: Path, *words: str) -> tuple[int, str, str]:
    """chmem in this process, which is faster by far."""
    return workshop.run_here(chmem, "chmem", "-s", root, *words)


def kills(shop: Shop, count: int) -> None:
    """SIGKILL at a random instant, then the same command again."""
    for number in range(count):
        machine, words = SEQUENCES[number % len(SEQUENCES)]
        twin = shop.machine(machine)
        before = conditions(twin)
        expected_status = run_here(twin, *words)[0]
        expected = conditions(twin)
        instant = shop.some_instant(machine, words, seconds=0.01)
        root = shop.machine(machine, seconds=0.01)
        process = subprocess.Popen(
            command(root, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(instant)
        process.kill()
        killed = process.wait(PATIENCE) == -signal.SIGKILL
        between = conditions(root)
        status, out, error = run(root, *words)
        after = conditions(root)
        shop.results["killed" if killed and between != before else "too early or late"] += 1
        shop.check(
            (status, after) == (expected_status, expected),
            f"kill {number}: {' '.join(words)}: status {status}",
            f"between {between}",
            f"after {after}",
            out + error,
        )
        shop.check("Traceback" not in error, f"kill {number}", error)
        left = set(os.listdir(root)) - {"sys", ".memsim", "run"}
        left |= set(os.listdir(root / "run/memory-hotplug")) - {"undo.json"}
        shop.check(not left, f"kill {number}: left in the tree: {left}")
        shop.remove(root)
        shop.remove(twin)


def agree(
    shop: Shop, what: str, status: int, out: str, before: Conditions, now: Conditions
) -> None:
    """A document against the machine."""
    document = document_in(out)
    shop.check(document, f"{what}: no document", out)
    fault = documents.fault("chmem", ["--json"], status, out)
    shop.check(fault is None, f"{what}: by its schema", fault)
    for reason in untrue(status, document, before, now) if document else ():
        shop.check(False, f"{what}: {reason}", out)


def signals(shop: Shop, count: int) -> None:
    """SIGINT, SIGTERM or SIGHUP at a random instant."""
    for number in range(count):
        machine, words = SEQUENCES[number % len(SEQUENCES)]
        instant = shop.some_instant(machine, words, seconds=0.02)
        root = shop.machine(machine, seconds=0.02)
        before = conditions(root)
        process = subprocess.Popen(
            command(root, [*words, "--json"]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(instant)
        which = shop.random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        process.send_signal(which)
        out, error = process.communicate(timeout=PATIENCE)
        status, now = process.returncode, conditions(root)
        what = f"signal {number}: {which.name} {' '.join(words)}: status {status}"
        shop.check("Traceback" not in error, what, error)
        if not out:
            # It had not begun: the signal ended it as it ends any process.
            shop.results["too early"] += 1
            shop.check(status in (1, -which, 128 + which) and now == before, what, error, now)
        else:
            shop.results["done" if status == 0 else "stopped"] += 1
            shop.check(status in (0, 128 + which), what, error)
            agree(shop, what, status, out, before, now)
        shop.remove(root)


def pairs(shop: Shop, count: int) -> None:
    """Two faults in one call."""
    for number in range(count):
        machine, words = SEQUENCES[number % len(SEQUENCES)]
        root = shop.machine(machine)
        faults = [
            (
                shop.random.choice(TRANSITIONS),
                shop.random.randrange(8),
                Fault(shop.random.choice(ERRORS), shop.random.choice((1, 2, None))),
            )
            for _ in range(2)
        ]

        def spoil(kernel: Any, faults: Any = faults) -> None:
            for transition, block, fault in faults:
                kernel.set_fault(transition, block, fault)

        Directory(root).change(spoil)
        before = conditions(root)
        more = shop.random.choice(([], ["--all-or-nothing"]))
        status, out, error = run_here(root, *words, *more, "--json")
        what = f"pair {number}: {' '.join([*words, *more])} with {faults}"
        shop.check(status in STATUSES, what, error)
        agree(shop, what, status, out, before, conditions(root))
        shop.results[f"status {status}"] += 1
        shop.remove(root)


def lines(shop: Shop, count: int) -> None:
    """Command lines of all options, with values that fit and that do not."""
    roots = [shop.machine(description) for description in (s390(), x86(), HALF_ONLINE)]
    for number in range(count):
        root = shop.random.choice(roots)
        words = list(random_words(shop.random))
        before = conditions(root)
        status, out, error = run_here(root, *words)
        what = f"line {number}: {words!r}"
        shop.check(status in STATUSES, what, error)
        shop.check("Traceback" not in error, what, error)
        now = conditions(root)
        if "--dry-run" in words:
            shop.check(now == before, f"{what}: a dry run changed something")
        if status == 1:
            shop.check(now == before, f"{what}: status 1, and changed", out + error)
        shop.check(not status or out or error, f"{what}: status {status}, and nothing is said")
        shop.results[f"status {status}"] += 1
        if number % 50 == 49:
            for machine in roots:
                Directory(machine).change(lambda kernel: kernel.reboot())


def random_words(chance: random.Random) -> Iterator[str]:
    options = ["-e", "-d", "-c", "-g", "--reconfigure", "-b", "-b", "-v", "--json", "--dry-run"]
    options += ["--all-or-nothing", "--enable", "--dis", "--nonsense", "-q", "--", "-bev", "-h"]
    options += ["--total", "--apply", "--undo", "--policy", "--persistent", "--install", "--save"]
    options += ["--uninstall"]
    valued = {
        "-m": ["0", "1", "yes", "2", "", "\udc80"],
        "-z": ["Movable", "Normal", "DMA", "none", "movable", "", "\udcff", "x" * 5000],
        "--node": ["0", "1", "-1", "x", "9" * 30],
        "--timeout": ["1", "0.01", "0", "-1", "nan", "inf", "x"],
        "--retry": ["0", "1", "x", "9" * 12],
    }
    operands = ["1", "0-3", "4-7", "3-1", "99", "128m", "256M", "1g", "1.5g", "100m", "0", "-1", ""]
    operands += ["0x0-0x7ffffff", "0x0", "0x8000000-0xfffffff", "1,2", "4-", "-", "1e9", "9" * 40]
    operands += ["auto_online=online", "auto_movable_ratio=7", "x=1", "/no/such", "here.toml", "/"]
    operands += ["\udc80", "\n", "1t", "16e", "0x", "\uff11", "\u0663"]
    for _ in range(chance.randrange(1, 6)):
        if chance.random() < 0.3:
            name = chance.choice(list(valued))
            yield name
            yield chance.choice(valued[name])
        else:
            yield chance.choice(options)
    for _ in range(chance.choice((0, 1, 1, 1, 1, 2))):
        yield chance.choice(operands)


def layouts(shop: Shop, count: int) -> None:
    """Layouts of all keys, with values that fit and that do not, applied twice."""
    for number in range(count):
        machine = shop.random.choice(
            (s390(), x86(), HALF_ONLINE, s390(auto_online_blocks="online"))
        )
        root = shop.machine(machine)
        text = random_layout(shop.random)
        file = shop.root / "layout.toml"
        file.write_text(text, errors="surrogateescape")
        words = ["--apply", str(file), *shop.random.choice(((), ("--all-or-nothing",)))]
        before = conditions(root)
        status, out, error = run_here(root, *words)
        now = conditions(root)
        what = f"layout {number}: {text!r} {words[2:]}"
        shop.check(status in STATUSES, what, error)
        shop.check("Traceback" not in error, what, error)
        if status == 1:
            shop.check(now == before, f"{what}: status 1, and changed", out + error)
        again, out, error = run_here(root, *words)
        if status == 0:
            shop.check(out == "nothing to change\n", f"{what}: not so the second time", out, error)
            shop.check(conditions(root) == now, f"{what}: changed the second time")
        if status != 1:
            now = conditions(root)
            shop.check(run_here(root, "--save")[0] == 0, f"{what}: cannot be saved")
            Directory(root).change(lambda kernel: kernel.reboot())
            status_back, out, error = run_here(root, "--apply")
            shop.check(status_back == 0, f"{what}: not back after a boot", out, error)
            shop.check(conditions(root) == now, f"{what}: another machine after a boot", out, error)
        shop.results[f"status {status}, then {again}"] += 1
        shop.remove(root)


def random_layout(chance: random.Random) -> str:
    values = {
        "blocks": ['"4-5"', '"0"', '"6-9"', '"3,5"', '"x"', "3", '["4", "6-7"]', '"5-4"'],
        "range": ['"0x20000000-0x2fffffff"', '"0x0-0x7ffffff"', '"0x1-0x2"', "[]"],
        "node": ["0", "1", "-1", '"0"'],
        "size": ['"256M"', '"1G"', '"100M"', '"9E"', "8", '"0"'],
        "from": ['"lowest"', '"highest"', '"top"'],
        "state": ['"online"', '"offline"', '"deconfigured"', '"on"'],
        "zone": ['"Movable"', '"Normal"', '"DMA"', '"none"'],
        "memmap_on_memory": ["true", "false", "1"],
        "missing": ['"wait"', '"ignore"', '"error"', "true"],
        "odd": ["1"],
    }
    lines = [f"version = {chance.choice((1, 1, 1, 1, 1, 1, 1, 1, 2))}"]
    if chance.random() < 0.3:
        word = chance.choice(("offline", "online", "online_movable", "online_kernel", "x"))
        lines += ["[policy]", f'auto_online = "{word}"']
    for _ in range(chance.randrange(4)):
        lines.append("[[memory]]")
        for name in chance.sample(list(values), chance.randrange(1, 5)):
            # Mostly what fits comes first.
            found = values[name]
            place = min(int(chance.expovariate(1.2)), len(found) - 1)
            if name != "odd" or chance.random() < 0.1:
                lines.append(f"{name} = {found[place]}")
    text = "\n".join([*lines, ""])
    if chance.random() < 0.1:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(("\udcff", '"', "[", "\0", "=")) + text[at + 1 :]
    return text


PARTS: Parts[Shop] = {
    "kills": (kills, 300),
    "signals": (signals, 200),
    "pairs": (pairs, 1000),
    "lines": (lines, 3000),
    "layouts": (layouts, 1000),
}


if __name__ == "__main__":
    sys.exit(try_parts(__doc__, Shop, PARTS))
