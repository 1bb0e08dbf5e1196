"""Every block of a DIMM, a virtio-mem device and a dax device has its owner, in a real kernel, and
chmem --device sets just these blocks offline, after which the device can go."""

import json
import time
from collections.abc import Iterator

import pytest

from vm.guest import Guest, QmpError
from vm.machines import VIRTIO_MEM_AND_DAX, VIRTIO_MEM_BLOCKS

DAX, VIRTIO, DIMM = "dax0.0", "virtio1", "PNP0C80:00"
OWNED = {2: DAX, 3: DAX, 32: DIMM, 33: DIMM}
"""The blocks of the machine, but for those of virtio-mem: QEMU gives that an address of its own."""


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    with Guest(VIRTIO_MEM_AND_DAX) as started:
        # As daxctl reconfigure-device --mode=system-ram does.
        drivers = "/sys/bus/dax/drivers"
        move = f"echo {DAX} > {drivers}/device_dax/unbind; echo {DAX} > {drivers}/kmem/new_id"
        assert started.run(move).status == 0
        end = time.monotonic() + 60
        while list(devices(started).values()).count(VIRTIO) < VIRTIO_MEM_BLOCKS:
            assert time.monotonic() < end, "virtio-mem brings no memory"
            time.sleep(0.2)
        yield started


def devices(guest: Guest) -> dict[int, str]:
    """The device of each block that has one, by lsmem."""
    done = guest.run(["lsmem", "-J", "--typed", "--all", "-o", "BLOCK,DEVICE"])
    assert (done.status, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["ranges"]
    return {row["block"]["first"]: row["device"] for row in rows if row["device"]}


def test_device_names_the_owner_of_every_block(guest: Guest) -> None:
    found = devices(guest)
    of_virtio = [block for block, device in found.items() if device == VIRTIO]
    assert len(of_virtio) == VIRTIO_MEM_BLOCKS
    assert {block: found[block] for block in found if block not in of_virtio} == OWNED
    boot = guest.snapshot().blocks("state").keys() - found.keys()
    assert boot == {0, 1, 4, 5}


def test_the_map_tells_what_is_in_the_hole(guest: Guest) -> None:
    lines = guest.run(["lsmem", "--holes", "-n"]).stdout.splitlines()
    assert lines[0].split()[2:5] == ["6-31", "PCI", "Bus"]


def test_the_account_is_that_of_the_kernel(guest: Guest) -> None:
    told = json.loads(guest.run(["lsmem", "--explain", "-J"]).stdout)
    total = int(guest.run("grep MemTotal /proc/meminfo").stdout.split()[1]) << 10
    assert told["mem_total"] == total
    assert told["online"] - told["no_memory"] == told["memory"]
    assert told["memory"] - told["reserved"] == total


def test_a_dax_device_can_be_taken_back_when_chmem_has_emptied_it(guest: Guest) -> None:
    before = guest.snapshot().blocks("state")
    assert guest.run(["chmem", "-e", "--device", DAX]).status == 0
    on = guest.snapshot().blocks("state")
    assert on == before | {2: "online", 3: "online"}
    assert guest.run(["chmem", "-d", "--device", DAX]).status == 0
    assert guest.snapshot().blocks("state") == on | {2: "offline", 3: "offline"}
    assert guest.run(f"echo {DAX} > /sys/bus/dax/drivers/kmem/unbind").status == 0
    assert {2, 3}.isdisjoint(guest.snapshot().blocks("state"))
    assert DAX not in devices(guest).values()


def test_a_virtio_mem_device_is_emptied_alone(guest: Guest) -> None:
    others = guest.snapshot().blocks("state")
    mine = [block for block, device in devices(guest).items() if device == VIRTIO]
    for option, state in (("-e", "online"), ("-d", "offline")):
        assert guest.run(["chmem", option, "--device", VIRTIO]).status == 0
        assert guest.snapshot().blocks("state") == others | dict.fromkeys(mine, state)


def test_a_dimm_that_chmem_has_emptied_is_ejected(guest: Guest) -> None:
    (dimm,) = VIRTIO_MEM_AND_DAX.dimms
    assert guest.run(["chmem", "-e", "--device", DIMM]).status == 0
    assert guest.run(["chmem", "-d", "--device", DIMM]).status == 0
    guest.unplug(dimm)
    assert {32, 33}.isdisjoint(guest.snapshot().blocks("state"))
    with pytest.raises(QmpError):
        guest.qmp("device_del", id=dimm.name)
