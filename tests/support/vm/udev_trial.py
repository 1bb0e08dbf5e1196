"""A real udev, in a Debian guest, judges what the library says of random files of udev rules."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from judged_rules import Case, Verdict, verdict, word
from memory_hotplug.trees.files import FileTree
from memory_hotplug.udev.facts import Facts
from memory_hotplug.udev.syntax import rule_files
from vm import debian, udev_judge, udev_rules
from vm.guest import Guest
from vm.machines import GIB, Dimm, Machine

MACHINE = Machine(
    nodes=(GIB,),
    dimms=(Dimm("added", 4 * GIB),),
    most=8 * GIB,
    parameters=("movable_node", "no_timer_check"),
)
"""Blocks 32 to 63. In zone Movable, where `online` sets them, they can be set offline again."""
BLOCKS = tuple(range(32, 40))
AT_ONCE = 50
"""So many files are judged between two lines of figures."""

UNIT = """\
[Unit]
Description=Sets %i online
[Service]
Type=oneshot
ExecStart={program} %i
"""
ENABLE = '#!/bin/sh\necho online > "/sys/devices/system/memory/$1/state"\n'
FILES = {
    "/usr/lib/systemd/system/memory-online@.service": UNIT.format(
        program=udev_rules.ONLINE_PROGRAM
    ),
    "/etc/memory.env": "MEMORY=yes\n.go=yes\n",
}


RULES = "usr/lib/udev/rules.d"
KEPT = ("71-seat.rules", "73-seat-late.rules", "80-drivers.rules", "99-systemd.rules")
"""Debian's files that do anything for a block. udev reads its files for each file that is judged,
and looks up the groups that others name."""
CASES = "cases"
"""The file that keeps cases, a line of JSON each."""

FACTS = (
    *("/proc/sys/kernel/arch", "/proc/cmdline", "/proc/cpuinfo"),
    *(f"/sys/class/dmi/id/{name}" for name in ("sys_vendor", "product_name", "bios_vendor")),
)
"""What files of rules may ask for beside the memory in sysfs."""


class Library:
    """What the library says of files, for the machine whose files are below a directory."""

    def __init__(self, root: Path) -> None:
        with FileTree(str(root)) as tree:
            self._facts = Facts(tree, whole=True)
        files = rule_files(str(debian.fetched()))
        self._others = [file for file in files if file.path.rpartition("/")[2] in KEPT]

    def says(self, case: Case) -> Verdict:
        return verdict(case, self._others, self._facts)


def cases(guest: Guest, texts: list[str]) -> Iterator[Case]:
    """What udev makes of the files, in their order, but for those with which it comes to no end."""
    script = Path(udev_judge.__file__)
    while texts:
        done = guest.python(script, json.dumps(texts), timeout=60 + 30 * len(texts))
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        if done.status != 0 or not answers:
            raise SystemExit(f"the guest that judges udev rules: {done.stdout}{done.stderr}")
        if "stuck" in answers[-1]:
            # Blocks that cannot go offline again: memory of the kernel is in them.
            answers.pop()
            guest.restart()
            prepare(guest)
        for text, answer in zip(texts, answers, strict=False):
            if "endless" not in answer:
                yield Case(text, answer["blocks"], answer["states"], answer["zones"])
        texts = texts[len(answers) :]


def prepare(guest: Guest) -> None:
    """Put the programs into the guest that rules run."""
    guest.put(udev_rules.ONLINE_PROGRAM, ENABLE.encode(), 0o755)
    guest.put(udev_rules.QUIET_PROGRAM, b"#!/bin/sh\nexit 0\n", 0o755)
    for name in KEPT:
        guest.run(f"mkdir -p /run/kept && cp /{RULES}/{name} /run/kept")
    done = guest.run(f"mount --bind /run/kept /{RULES}")
    assert (done.status, done.stderr) == (0, "")


def copy_facts(guest: Guest, root: Path) -> None:
    """Put what rules ask for below a directory of the host."""
    guest.tree(root)
    for path in FACTS:
        file = root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(guest.run(["cat", path]).stdout)


def judge(
    count: int, seed: int, say: Callable[[str], object] = print, keep: Path | None = None
) -> tuple[Counter[str], list[Verdict]]:
    """Have udev judge files; how often what was said met which state, and the disagreements.

    KEEP is a new directory for what `judge_again` needs.
    """
    chance = random.Random(seed)
    texts = [
        udev_rules.random_rules(f"{seed} {index}", tuple(chance.sample(BLOCKS, 2)))
        for index in range(count)
    ]
    with tempfile.TemporaryDirectory() as scratch, debian.booted(FILES, MACHINE) as guest:
        root = keep or Path(scratch)
        prepare(guest)
        copy_facts(guest, root)
        with (root / CASES).open("w") as file:

            def found() -> Iterator[Case]:
                for first in range(0, count, AT_ONCE):
                    for case in cases(guest, texts[first : first + AT_ONCE]):
                        print(json.dumps(case), file=file, flush=True)
                        yield case

            return _compared(found(), Library(root), say)


def judge_again(
    keep: Path, say: Callable[[str], object] = print
) -> tuple[Counter[str], list[Verdict]]:
    """Compare what is said now with what udev did then."""
    kept = (Case(*json.loads(line)) for line in (keep / CASES).read_text().splitlines())
    return _compared(kept, Library(keep), say)


def _compared(
    found: Iterable[Case], library: Library, say: Callable[[str], object]
) -> tuple[Counter[str], list[Verdict]]:
    figures: Counter[str] = Counter()
    wrong: list[Verdict] = []
    for number, case in enumerate(found, 1):
        verdict = library.says(case)
        for state, one in zip(case.states, verdict.exact, strict=True):
            figures[f"{word(one)}, {state}"] += 1
        figures[f"any block: {word(verdict.general)}"] += 1
        if verdict.wrong:
            wrong.append(verdict)
            said = [[rule.place, rule.words, rule.certain] for rule in verdict.general.rules]
            say(f"{verdict.wrong}; rules: {said}\n{case.text}")
        if number % AT_ONCE == 0:
            say(f"{number} files: {dict(sorted(figures.items()))}")
    return figures, wrong
