"""A real udev, in a Debian guest, judges what the library says of random files of udev rules."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vm import debian, udev_judge, udev_rules
from vm.guest import Guest
from vm.machines import GIB, Dimm, Machine

MACHINE = Machine(
    nodes=(GIB,), dimms=(Dimm("added", GIB),), most=8 * GIB, parameters=("movable_node",)
)
"""Blocks 32 to 39 can be set online and offline again: they go into zone Movable."""
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


_ZONES = {"online_kernel": "Normal", "online_movable": "Movable"}


class Verdict(NamedTuple):
    """A file, what became of a block, and what was said of it."""

    text: str
    answer: dict[str, Any]

    @property
    def wrong(self) -> str:
        """What is wrong with what was said; "" for nothing."""
        general, *exact = self.answer["general"]
        for block, state, one in zip(
            self.answer["blocks"], self.answer["states"], exact, strict=True
        ):
            online = state == "online"
            for said, of in ((general, "any block"), (one, f"block {block}")):
                if said == ("no" if online else "certain"):
                    return f"{said!r} was said of {of}, and block {block} is {state}"
        return self._wrong_zone()

    def _wrong_zone(self) -> str:
        """What is wrong with the zone of a block; `online` leaves that to the kernel."""
        exact = list(zip(self.answer["general"], self.answer["words"], strict=True))[1:]
        for zone, (said, words) in zip(self.answer["zones"], exact, strict=True):
            zones = {_ZONES.get(word, zone) for word in words}
            if said == "certain" and zone not in zones:
                return f"{words} was certain, and a block is in zone {zone}"
        return ""


def judged(guest: Guest, texts: list[str]) -> Iterator[Verdict]:
    """What udev makes of the files, in their order."""
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
        pairs = zip(texts, answers, strict=False)
        yield from (Verdict(*pair) for pair in pairs if "endless" not in pair[1])
        texts = texts[len(answers) :]


def prepare(guest: Guest) -> None:
    """Put the programs into the guest that rules run."""
    guest.put(udev_rules.ONLINE_PROGRAM, ENABLE.encode(), 0o755)
    guest.put(udev_rules.QUIET_PROGRAM, b"#!/bin/sh\nexit 0\n", 0o755)


def judge(
    count: int, seed: int, say: Callable[[str], object] = print
) -> tuple[Counter[str], list[Verdict]]:
    """Judge files; how often what was said met which state, and the disagreements."""
    figures: Counter[str] = Counter()
    wrong: list[Verdict] = []
    chance = random.Random(seed)
    texts = [
        udev_rules.random_rules(f"{seed} {index}", tuple(chance.sample(BLOCKS, 2)))
        for index in range(count)
    ]
    with debian.booted(FILES, MACHINE) as guest:
        prepare(guest)
        for first in range(0, count, AT_ONCE):
            for verdict in judged(guest, texts[first : first + AT_ONCE]):
                for said, state in zip(
                    verdict.answer["general"][1:], verdict.answer["states"], strict=True
                ):
                    figures[f"{said}, {state}"] += 1
                figures[f"any block: {verdict.answer['general'][0]}"] += 1
                if verdict.wrong:
                    wrong.append(verdict)
                    say(f"{verdict.wrong}; said: {json.dumps(verdict.answer)}\n{verdict.text}")
            say(f"{min(first + AT_ONCE, count)} files: {dict(sorted(figures.items()))}")
    return figures, wrong
