"""A device of virtio-mem with parts of blocks: lsmem, the simulator, QEMU and the kernel agree."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from memsim.sysfs import MEMORY
from simulated import make, x86
from vm.guest import Guest
from vm.machines import GIB, MIB, Machine

DEVICE, FIRST = "virtio1", 32
"""Its name, and its first block: QEMU gives it the address of 4 GiB."""

PLUGGED = """\
import json
found = {}
with open("/proc/kpageflags", "rb") as file:
    for number in range(%d, %d):
        file.seek(number << 18)
        flags = file.read(1 << 18)
        present = sum(not flags[at + 2] & 0x90 for at in range(0, len(flags), 8))
        if present:
            found[number] = present >> 8
print(json.dumps(found))
"""
"""Counts the pages of each block that are neither offline nor missing, in MiB; in the guest."""


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    ram = f"memory-backend-ram,id=ram-virtio,size={GIB},reserve=off"
    device = f"virtio-mem-pci,id=vm0,memdev=ram-virtio,requested-size={384 * MIB}"
    machine = Machine(
        nodes=(768 * MIB,),
        devices=("-object", ram, "-device", device),
        parameters=("memhp_default_state=online",),
    )
    with Guest(machine) as started:
        wait(started, 384)
        yield started


def size(guest: Guest) -> int:
    """What QEMU says the device has, in MiB."""
    (device,) = guest.qmp("query-memory-devices")
    return int(device["data"]["size"]) >> 20


def wait(guest: Guest, mib: int) -> None:
    end = time.monotonic() + 120
    while size(guest) != mib:
        assert time.monotonic() < end, "the guest does not follow"
        time.sleep(0.2)


def plugged(guest: Guest) -> dict[int, int]:
    """Block of the device -> MiB that the kernel has of it, by its pages; of online blocks."""
    script = PLUGGED % (FIRST, FIRST + 8)
    done = guest.run(["python3", "-c", script])
    assert (done.status, done.stderr) == (0, "")
    states = guest.snapshot().blocks("state")
    found = {int(block): int(mib) for block, mib in json.loads(done.stdout).items()}
    return {block: mib for block, mib in found.items() if states.get(block) == "online"}


def told(guest: Guest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(guest.run(["lsmem", "--explain", "-J"]).stdout)
    return found


def simulated_parts(memsim: Command, root: Path) -> dict[int, int]:
    """The same of the simulated machine, in the numbers of the guest's blocks."""
    state = json.loads(memsim("show", root, "--json").stdout)
    online = (root / MEMORY).glob("memory[0-9]*/state")
    numbers = [int(one.parent.name[6:]) for one in online if one.read_text() == "online\n"]
    missing = {int(block): mib >> 20 for block, mib in state["live"]["unplugged"].items()}
    return {number: 128 - missing.get(number, 0) for number in numbers if number >= FIRST}


STEPS: list[tuple[str, int]] = [
    ("unplug", 70),
    ("plug", 30),
    ("offline", 33),
    ("unplug", 100),
    ("unplug", 40),
    ("plug", 64),
    ("plug", 300),
]
"""Changes in MiB, and a block that is set offline between them."""


def test_parts_of_blocks_are_those_of_the_real_device(
    guest: Guest, memsim: Command, tmp_path: Path
) -> None:
    room = {"range": [FIRST, FIRST + 7], "config": False}
    described = x86() | {"blocks": [{"range": [0, 5]}, room], "auto_online_blocks": "online"}
    root = make(tmp_path / "m", described)
    assert memsim("plug", root, "--as", "virtio-mem", "--memory", "384M").status == 0
    wanted = 384
    for word, number in STEPS:
        before = told(guest)
        if word == "offline":
            state = f"{MEMORY}/memory{number}/state"
            assert guest.run(f"echo offline > /{state}").status == 0
            assert memsim("write", root, state, "offline").status == 0
        else:
            wanted += number if word == "plug" else -number
            guest.qmp(
                "qom-set",
                path="/machine/peripheral/vm0",
                property="requested-size",
                value=wanted * MIB,
            )
            wait(guest, wanted)
            words = ("--device", "virtio0", "--memory", f"{number}M")
            assert memsim(word, root, *words).stdout.startswith("virtio0: ")
        parts = plugged(guest)
        assert parts == simulated_parts(memsim, root), (word, number)
        found = told(guest)
        missing = sum(128 - part for part in parts.values()) * MIB
        assert found.get("not_plugged", 0) == missing
        if missing:
            of_device = {"device": DEVICE, "size": missing, "balloon": False}
            assert found["not_plugged_by_device"] == [of_device]
        # What is kept at boot stays the same, whatever the device does; but for a page or two.
        assert abs(found["reserved"] - before["reserved"]) < MIB, (word, number)


def test_zoneinfo_counts_what_is_plugged_only(guest: Guest) -> None:
    text = guest.run("cat /proc/zoneinfo").stdout
    counts = {"present": 0, "managed": 0}
    for line in text.partition("zone   Normal")[2].partition("Node")[0].splitlines():
        name, _, value = line.strip().partition(" ")
        if name in counts:
            counts[name] = int(value)
    parts = plugged(guest)
    assert counts["present"] >> 8 == 128 * len(parts)
    assert counts["managed"] >> 8 == sum(parts.values())


def test_a_capture_of_parts_of_blocks_tells_the_same(guest: Guest) -> None:
    script = 'from memsim.capture import capture_tree; capture_tree("/tmp/c.tar.gz", "/")'
    assert guest.run(["python3", "-c", script]).status == 0
    done = guest.run(["lsmem", "-s", "/tmp/c.tar.gz", "--explain", "-J"])
    names = ("not_plugged", "not_plugged_by_device")
    assert {name: json.loads(done.stdout)[name] for name in names} == {
        name: told(guest)[name] for name in names
    }
