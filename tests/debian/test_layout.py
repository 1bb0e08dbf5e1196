"""A memory layout with Debian's systemd and udev: at boot, and for a DIMM that is plugged later."""

import re

import pytest

from memory_hotplug.layout.at_boot import RULES, UNIT, WANTED
from memory_hotplug.layout.places import SAVED
from vm import debian
from vm.guest import Guest, GuestSnapshot
from vm.machines import GIB, MIB, Dimm, Machine

LAYOUT_FILE = "/etc/memory-layout.d/20-mine.toml"
LAYOUT = """\
version = 1
[policy]
auto_online = "offline"
[[memory]]
range = "0x100000000-0x1ffffffff"
zone = "Movable"
missing = "ignore"
[[memory]]
blocks = "36"
state = "offline"
missing = "ignore"
"""
"""What DIMMs bring is Movable, but for one block."""

VENDOR_RULE = "/usr/lib/udev/rules.d/40-redhat.rules"
RED_HAT = (
    'SUBSYSTEM!="memory", GOTO="memory_hotplug_end"\n'
    'ACTION!="add", GOTO="memory_hotplug_end"\n'
    'PROGRAM="/bin/uname -m", RESULT=="s390*", GOTO="memory_hotplug_end"\n'
    'ENV{.state}="online"\n'
    'ATTR{state}=="offline", ATTR{state}="$env{.state}"\n'
    'LABEL="memory_hotplug_end"\n'
)
"""As RHEL has it: all added memory comes online."""

AT_BOOT, LATER = Dimm("atboot", 256 * MIB), Dimm("later", GIB)
WITH_DIMM = Machine(nodes=(GIB,), dimms=(AT_BOOT,), most=8 * GIB)
"""Blocks 0 to 7, and 32 and 33 of the DIMM; the next DIMM has 34 to 41."""


def condition(guest: Guest) -> dict[int, str]:
    """The state of each block of a DIMM, or its zone if it is online; when udev is done."""
    assert guest.run("udevadm settle").status == 0
    found: GuestSnapshot = guest.snapshot()
    zones = found.blocks("valid_zones")
    return {
        block: zones[block] if state == "online" else state
        for block, state in found.blocks("state").items()
        if block >= 32
    }


MOVABLE_BUT_36 = dict.fromkeys(range(32, 42), "Movable") | {36: "offline"}


@pytest.fixture(scope="module")
def installed() -> dict[str, str]:
    """The files after `chmem --apply --install`, for guests that boot with them."""
    with debian.booted({LAYOUT_FILE: LAYOUT}) as guest:
        done = guest.run("chmem --apply --install")
        assert (done.status, done.stderr) == (0, "")
        wrote = [f"wrote /{path}" for path in (UNIT, RULES, WANTED)]
        assert done.stdout.splitlines()[-3:] == wrote
        for command in ("systemd-analyze verify --man=no", "udevadm verify --no-summary"):
            path = UNIT if "systemd" in command else RULES
            done = guest.run(f"{command} /{path}")
            assert (command, done.status, done.stdout, done.stderr) == (command, 0, "", "")
        texts = {f"/{path}": guest.run(f"cat /{path}").stdout for path in (UNIT, RULES)}
        link = guest.run(f"readlink /{WANTED}").stdout.strip()
        # What is removed leaves nothing.
        done = guest.run("chmem --uninstall")
        assert done.status == 0
        assert done.stderr == f"chmem: nothing applies {LAYOUT_FILE} at boot any more\n"
        left = guest.run(f"ls /{UNIT} /{RULES} /{WANTED} 2>/dev/null").stdout
        assert left == ""
    return {LAYOUT_FILE: LAYOUT, **texts, f"/{WANTED}": f"->{link}"}


def status(guest: Guest) -> str:
    return guest.run("systemctl status --no-pager --full memory-layout.service").stdout


def test_memory_at_boot_and_added_memory_are_as_the_layout_says(installed: dict[str, str]) -> None:
    with debian.booted(installed, WITH_DIMM) as guest:
        assert guest.run("systemctl is-system-running --wait").stdout == "running\n"
        assert "Active: active (exited)" in status(guest)
        # The rules may have been quicker than the unit.
        done = "256M changed: memory blocks 32-33|nothing to change"
        assert re.search(rf"chmem\[\d+\]: ({done})$", status(guest), re.M)
        assert condition(guest) == {32: "Movable", 33: "Movable"}
        guest.plug(LATER)
        assert condition(guest) == MOVABLE_BUT_36
        assert guest.run("lsmem --diff layout").status == 0
        # A second run, as a restart of the unit is one, has nothing to do.
        assert guest.run("systemctl restart memory-layout.service").status == 0
        assert re.search(r"chmem\[\d+\]: nothing to change$", status(guest), re.M)
        guest.unplug(LATER)
        assert condition(guest) == {32: "Movable", 33: "Movable"}


def test_a_vendors_rule_is_named_and_can_be_masked(installed: dict[str, str]) -> None:
    with debian.booted({**installed, VENDOR_RULE: RED_HAT}, WITH_DIMM) as guest:
        assert "Active: active (exited)" in status(guest)
        assert condition(guest) == {32: "Movable", 33: "Movable"}
        guest.plug(LATER)
        # The layout's rules come first; what they leave offline, the vendor's rule sets online,
        # in the zone of its neighbours.
        assert condition(guest) == MOVABLE_BUT_36 | {36: "Movable"}
        drift = guest.run("lsmem --diff layout")
        assert drift.status == 1
        assert drift.stdout.startswith("memory36 ")
        done = guest.run("chmem --apply --install --advice=always")
        told = (
            f"chmem: {VENDOR_RULE}:5 sets added memory online, also where the layout says offline"
        )
        mask = "ln -s /dev/null /etc/udev/rules.d/40-redhat.rules"
        assert done.stderr.splitlines()[:2] == [told, f"chmem: {mask} masks it"]
        assert f"{VENDOR_RULE}:5" in guest.run("lsmem --policy").stdout
        assert condition(guest) == MOVABLE_BUT_36
        guest.unplug(LATER)
        assert (
            guest.run(f"{mask} && systemctl daemon-reload && udevadm control --reload").status == 0
        )
        guest.plug(LATER)
        assert condition(guest) == MOVABLE_BUT_36
        assert guest.run("chmem --apply --install --advice=always").stdout.startswith("nothing")


def test_a_layout_that_cannot_be_met_does_not_hold_up_the_boot(installed: dict[str, str]) -> None:
    """The memory of the kernel itself is to go offline."""
    text = LAYOUT + '[[memory]]\nblocks = "0"\nstate = "offline"\n'
    with debian.booted({**installed, LAYOUT_FILE: text}, WITH_DIMM) as guest:
        assert guest.run("systemctl is-system-running --wait").stdout == "degraded\n"
        said = status(guest)
        assert "status=64" in said
        assert re.search(r"chmem\[\d+\]: chmem: Memory Block 0 .* disable failed: ", said)
        assert condition(guest) == {32: "Movable", 33: "Movable"}
        failed = guest.run("systemctl list-units --failed --plain --no-legend").stdout
        assert [line.split()[0] for line in failed.splitlines()] == ["memory-layout.service"]


def test_a_cloud_machine_keeps_added_memory_movable_and_lets_it_go_again() -> None:
    """As the README says it, without a file written by hand."""
    with debian.booted({}) as guest:
        before = guest.run("cat /sys/devices/system/memory/auto_online_blocks").stdout
        words = "--policy auto_online=online_movable --persistent"
        done = guest.run(f"chmem {words}")
        assert done.status == 0
        wrote = [f"wrote /{path}" for path in (SAVED, UNIT, RULES, WANTED)]
        assert done.stdout.splitlines()[-4:] == wrote
        assert guest.run("chmem --apply --install").stdout.endswith("nothing to install\n")
        guest.plug(LATER)
        assert set(condition(guest).values()) == {"Movable"}
        guest.unplug(LATER)
        for words in ("--uninstall", "--undo"):
            assert guest.run(f"chmem {words}").status == 0
        assert guest.run("cat /sys/devices/system/memory/auto_online_blocks").stdout == before
        guest.plug(LATER)
        assert set(condition(guest).values()) == {"offline"}
