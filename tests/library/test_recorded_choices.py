"""Which blocks a layout takes on many machines, as it was recorded.

A machine that boots with a newer release must not have other memory online, in another zone, for
the same layout. So what is chosen changes only where that is meant: then
`RECORD=1 pytest tests/library/test_recorded_choices.py` records it anew, and the diff shows what
became of it. What stands there is not right because it was recorded: that it converges, takes no
memory of the kernel, and the like, is tested in test_targets.py.
"""

import json
import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

from layouts import sound
from memory_hotplug import Machine
from memory_hotplug.change.absence import Absence
from memory_hotplug.change.plan import Change
from memory_hotplug.change.removal import Removal
from memory_hotplug.change.targets import NEEDED_FOR_LAYOUT, targets_of
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Entry
from memory_hotplug.layout.notation import parse_layout
from memory_hotplug.trees.simulated import KernelTree
from memsim.profile import boot
from simulated import s390, x86

RECORDED = Path(__file__).with_name("recorded_choices.txt")
COUNT = 1000
MACHINES: dict[str, Callable[..., dict[str, Any]]] = {"s390": s390, "x86": x86}


def maybe(random: Random, percent: int, **keys: Sequence[Any]) -> dict[str, Any]:
    """Each key with one of its values, or without."""
    drawn = {key: random.choice(values) for key, values in keys.items()}
    return {key: value for key, value in drawn.items() if random.randrange(100) < percent}


def a_machine(random: Random) -> tuple[str, dict[str, Any]]:
    """Blocks 0 to 3 are online in one of the kernel's zones."""
    kind = random.choice(sorted(MACHINES))
    nodes = random.choice([[0], [0], [0, 1]])
    blocks: list[dict[str, Any]] = [{"range": [0, 3]}]
    at = 4
    for _ in range(random.randrange(2, 7)):
        at += random.choice([0, 0, 0, 1, 3])
        group: dict[str, Any] = {"range": [at, at + random.randrange(4)]}
        group |= maybe(random, 50, node=nodes)
        group |= maybe(random, 40, state=["offline"])
        group |= maybe(random, 30, config=[0]) if kind == "s390" else {}
        group |= maybe(random, 30, memmap=[True, False]) if kind == "s390" else {}
        if "config" in group:
            group.pop("state", None)
        if not {"config", "state"} & group.keys():
            group |= maybe(random, 50, zones=["Movable", "Normal", "none"])
        blocks.append(group)
        at = group["range"][1] + 1
    more = maybe(random, 25, auto_movable_ratio=[50, 1000], zone_limits=[{"DMA": 256 << 20}])
    more |= {"contiguous_zones": random.randrange(4) > 0}
    return kind, {"blocks": blocks, **more}


def a_layout(random: Random, kind: str) -> dict[str, Any]:
    states = ["offline", "online", "deconfigured"]
    entries = []
    for _ in range(random.choice([2, 3, 3, 4])):
        blocks = ["0-3", "2-5", "4-9", "6", "7-12", "9", "0-99"]
        drawn = maybe(random, 50, blocks=blocks, node=[0, 1])
        drawn |= maybe(random, 70, size=["128M", "256M", "384M", "512M", "768M", "1G"])
        drawn |= maybe(random, 40, zone=["Normal", "Movable", "Movable", "DMA"])
        drawn |= maybe(random, 30, missing=["ignore", "wait"])
        drawn |= maybe(random, 40, state=states[: 3 if kind == "s390" else 2])
        drawn |= maybe(random, 30, memmap_on_memory=[True, False]) if kind == "s390" else {}
        drawn |= {"from": "highest"} if random.randrange(4) == 0 else {}
        entries.append(sound(drawn))
    return {"version": 1, "memory": entries}


def some_devices(random: Random, numbers: Sequence[int]) -> dict[int, str]:
    """Blocks of devices that can be removed, at most three; mostly there are none."""
    if random.randrange(3):
        return {}
    return {number: random.choice("abc") for number in numbers if number > 5}


def entry_of(entries: Sequence[Entry], entry: Entry | None) -> int | None:
    return next((n for n, one in enumerate(entries, start=1) if one is entry), None)


def told(change: Change, entries: Sequence[Entry]) -> str:
    """By which entry a block is claimed, what is done, where to, and what would stand in for it."""
    target = change.plan.target
    steps = [step.name for step, _ in change.stages()]
    if change.plan.refused:
        steps = [f"refused {change.plan.refused.cause}"]
    words = [f"entry {entry_of(entries, change.entry)}:", *(steps or ["as it is"])]
    words += [target.zone.value] if target.zone else []
    words += [] if target.memmap_on_memory is None else [f"memmap {target.memmap_on_memory:d}"]
    words += [f"or {' '.join(str(one.number) for one in change.spares)}"] if change.spares else []
    return " ".join(words)


def lacking(absence: Absence, entries: Sequence[Entry]) -> str:
    runs = [f"{first}-{last}" for first, last in absence.ranges]
    holders = [str(entry_of(entries, holder)) for holder in absence.holders]
    words = [f"entry {entry_of(entries, absence.entry)} lacks {absence.blocks}", *runs]
    words += [f"which {','.join(holders)} has"] if holders else []
    words += ["but for the zone"] if absence.zone else []
    return " ".join(words)


def a_case(number: int) -> list[str]:
    """A machine and a layout, drawn at random, and what is made of them."""
    random = Random(number)
    kind, more = a_machine(random)
    layout_text = json.dumps(a_layout(random, kind))
    description = {**MACHINES[kind](), **more, "auto_online_blocks": "offline"}
    ratio = random.choice([None, 301, 100, 1000])
    found = [f"== {number}", f"{kind} {json.dumps(more)}", layout_text]
    try:
        layout = parse_layout(layout_text, "file")
    except LayoutError as error:
        return [*found, str(error)]
    with Machine(KernelTree(boot(description))) as machine:
        table = machine.read(NEEDED_FOR_LAYOUT)
        devices = some_devices(random, table.numbers)
        online: dict[str, list[int]] = {}
        for block, name in devices.items():
            online.setdefault(name, []).append(block)
        try:
            targets = targets_of(
                layout,
                table,
                configurable=machine.configurable,
                zones=table.has_zones,
                nodes=machine.nodes,
                removal=Removal(devices, online, ()),
                ratio=ratio,
            )
        except LayoutError as error:
            return [*found, str(error)]
    found += [f"ratio {ratio}, devices {devices}"] if ratio or devices else []
    for what, alike in groupby(targets.changes, key=lambda change: told(change, layout.entries)):
        found.append(f"{' '.join(str(change.number) for change in alike)} {what}")
    return found + [lacking(absence, layout.entries) for absence in targets.absences]


def test_the_same_blocks_are_chosen_as_by_the_release_before() -> None:
    now = [line for number in range(COUNT) for line in a_case(number)]
    if os.environ.get("RECORD"):
        RECORDED.write_text("\n".join(now) + "\n")
    assert now == RECORDED.read_text().splitlines()
