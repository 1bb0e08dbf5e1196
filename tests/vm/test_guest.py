"""The machines themselves: what the other tests here take for granted about the real kernel."""

import pytest

from guest.judge.writes import MEMORY, POLICIES
from vm.guest import Guest
from vm.machines import GIB, MEMMAP_ON_MEMORY, MIB, TWO_NODES_NO_DIMM, Dimm, Machine

PARAMETER = "/sys/module/memory_hotplug/parameters/memmap_on_memory"


def test_a_command_gives_status_and_both_outputs(one_node: Guest) -> None:
    result = one_node.run("cat; echo oops >&2; exit 3", stdin="in\n")
    assert (result.status, result.stdout, result.stderr) == (3, "in\n", "oops\n")


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_runs(one_node: Guest) -> None:
    assert one_node.run("sleep 60 & sleep 60", timeout=0.5).status is None
    assert one_node.run("true").status == 0


def test_a_dimm_at_boot_is_there_and_offline() -> None:
    machine = Machine(dimms=(Dimm("dimm0", GIB),))
    with Guest(machine) as guest:
        states = guest.snapshot().blocks("state")
    assert [block for block, state in states.items() if state == "online"] == [0, 1, 2, 3]
    assert [block for block, state in states.items() if state == "offline"] == [*range(32, 40)]


def test_the_kernel_takes_memmap_on_memory_from_its_command_line() -> None:
    with Guest(MEMMAP_ON_MEMORY) as guest:
        assert guest.snapshot().files[PARAMETER] == "Y\n"
        online = guest.run(
            f"echo online_movable > {MEMORY}/memory32/state; grep -c . {MEMORY}/memory32/state"
        )
        assert online.status == 0
        # 1/64 of the block holds its own struct pages.
        zone = guest.run("sed -n '/zone  Movable/,/managed/p' /proc/zoneinfo").stdout.split()
        assert int(zone[zone.index("managed") + 1]) * 4096 == 128 * MIB * 63 // 64


@pytest.mark.parametrize("node", [0, 1])
def test_a_dimm_comes_as_auto_online_blocks_says_and_goes(node: int) -> None:
    zones = {
        "offline": "Normal Movable",
        "online": "Normal",
        "online_kernel": "Normal",
        "online_movable": "Movable",
    }
    assert set(zones) == set(POLICIES)
    dimm = Dimm("dimm0", 256 * MIB, node)
    with Guest(TWO_NODES_NO_DIMM) as guest:
        boot = guest.snapshot().blocks("state")
        # Movable first: once a page of the kernel is in it, a DIMM stays.
        for word in ("online_movable", "offline", "online_kernel"):
            guest.run(f"echo {word} > {MEMORY}/auto_online_blocks")
            guest.plug(dimm)
            snapshot = guest.snapshot()
            found = snapshot.blocks("valid_zones")
            assert (found[32], found[33]) == (zones[word], zones[word])
            assert f"/sys/devices/system/node/node{node}/memory32" in snapshot.links
            if word != "online_kernel":
                guest.unplug(dimm)
                assert guest.snapshot().blocks("state") == boot
