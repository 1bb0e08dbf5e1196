"""A memory layout over an IPL, in the real kernel, and its rules in a real udev."""

import json
import shlex

import pytest

from guest.s390.lpar import Lpar
from guest.s390.states import restarted
from memory_hotplug.layout.at_boot import RULES, UNIT
from vm.agreement import conditions
from vm.lpars import call

LAYOUT = """\
version = 1
[[memory]]
blocks = "16-19"
zone = "Movable"
memmap_on_memory = false
[[memory]]
blocks = "20-21"
state = "offline"
memmap_on_memory = true
[[memory]]
blocks = "5"
state = "deconfigured"
"""


def layout(lpar: Lpar, text: str) -> None:
    """Write the layout of the guest."""
    command = "mkdir -p /etc/memory-layout.d; cat > /etc/memory-layout.d/20-mine.toml"
    assert lpar.run(command, stdin=text).status == 0


def unit_command(lpar: Lpar) -> list[str]:
    """What the unit runs at boot."""
    lines = lpar.run(["cat", f"/{UNIT}"]).stdout.splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    program, *words = shlex.split(start.removeprefix("ExecStart="))
    assert program.endswith("/chmem")
    return ["chmem", *words]


def test_the_layout_is_back_after_an_ipl(lpar: Lpar) -> None:
    at_boot = conditions(lpar)
    layout(lpar, LAYOUT)
    done = lpar.run(["chmem", "--apply", "--install"])
    assert (done.status, done.stderr) == (0, ""), done
    assert done.stdout.startswith("896M changed: memory blocks ")
    applied = conditions(lpar)
    assert applied != at_boot
    for block in range(16, 20):
        assert applied[block] == ("online", "Movable", True, False)
    assert [applied[block].state for block in (20, 21)] == ["offline"] * 2
    assert all(applied[block][2:] == (True, True) for block in (20, 21))
    assert not applied[5].configured
    assert lpar.run(["chmem", "--apply"]).stdout == "nothing to change\n"
    assert lpar.run(["lsmem", "--diff", "layout"]).status == 0
    with restarted(lpar) as again:
        assert conditions(again) == at_boot
        assert again.run(["lsmem", "--diff", "layout"]).status == 1
        done = again.run(unit_command(again))
        assert (done.status, done.stderr) == (0, "")
        assert conditions(again) == applied
        done = again.run(["chmem", "--apply", "--json"])
        report = json.loads(done.stdout)
        assert (report["status"], report["blocks"], report["settings"]) == (0, [], [])


def test_a_persistent_change_and_a_policy_outlive_an_ipl(lpar: Lpar) -> None:
    """Debian's kernel sets added memory online, so that configured memory would not stay so."""
    # This system has no systemd: nothing is changed until somebody has seen to the boot.
    done = lpar.run(["chmem", "-e", "-b", "16", "--persistent"])
    assert (done.status, done.stdout) == (1, "")
    assert "does not run systemd" in done.stderr
    assert lpar.run(["chmem", "--apply", "--install"]).status == 0
    for options in (
        "-e -b 16-17 -m 0 -z Movable --persistent",
        "--policy auto_online=online_movable --persistent",
        "-d -b 17 --persistent",
    ):
        assert lpar.run(["chmem", *options.split()]).status == 0
    before = conditions(lpar)
    with restarted(lpar) as again:
        done = again.run(["chmem", "--apply"])
        assert (done.status, done.stderr) == (0, "")
        assert "auto_online_blocks set to online_movable\n" in done.stdout
        assert conditions(again) == before
        assert again.run(["lsmem", "--diff", "layout"]).stdout == ""


def test_a_layout_that_cannot_be_met_is_told(lpar: Lpar) -> None:
    layout(lpar, '[[memory]]\nblocks = "0"\nstate = "offline"\n')
    before = conditions(lpar)
    done = lpar.run(["chmem", "--apply"])
    assert (done.status, conditions(lpar)) == (1, before)
    layout(lpar, 'version = 1\n[[memory]]\nblocks = "0,16"\nstate = "offline"\n')
    done = lpar.run(["chmem", "--apply", "--advice=always", "--timeout", "20"])
    assert done.status == 64
    assert "Memory Block 0 " in done.stderr
    assert conditions(lpar)[16].configured
    assert conditions(lpar)[0] == before[0]


def test_undo_brings_back_what_a_layout_has_done(lpar: Lpar) -> None:
    before = conditions(lpar)
    layout(lpar, LAYOUT)
    assert lpar.run(["chmem", "--apply"]).status == 0
    after = conditions(lpar)
    assert lpar.run(["chmem", "--undo"]).status == 0
    assert conditions(lpar) == before
    assert lpar.run(["chmem", "--undo"]).status == 0
    assert conditions(lpar) == after


@pytest.mark.parametrize("vendor", [False, True], ids=["alone", "beside a vendor's rule"])
def test_udev_does_as_the_layout_says_with_added_memory(lpar: Lpar, vendor: bool) -> None:
    assert lpar.run(["chmem", "--policy", "auto_online=offline"]).status == 0
    layout(
        lpar,
        'version = 1\n[[memory]]\nblocks = "16-31"\nzone = "Movable"\n'
        '[[memory]]\nblocks = "18"\nstate = "offline"\n',
    )
    if vendor:
        rule = 'SUBSYSTEM=="memory", ACTION=="add", ATTR{state}=="offline", ATTR{state}="online"'
        command = "mkdir -p /etc/udev/rules.d; cat > /etc/udev/rules.d/40-vendor.rules"
        assert lpar.run(command, stdin=f"{rule}\n").status == 0
    done = lpar.run(["chmem", "--apply", "--install", "--advice=never"])
    assert ("40-vendor.rules:1 sets added memory online" in done.stderr) is vendor
    for options in ("-d -b 16-17", "-g -b 18"):
        assert lpar.run(["chmem", *options.split()]).status == 0
    call(lpar, "udev")
    # This udev is older than `udevadm verify`; but it says what it cannot read.
    read = lpar.run("udevadm test --action=add /sys/devices/system/memory/memory0 2>&1").stdout
    assert f"/{RULES}" in read
    assert f"{RULES}:" not in read
    for block in (16, 17, 18):
        path = f"/sys/firmware/memory/memory{block}/config"
        assert call(lpar, "write", path=path, text="1\n") == ""
    call(lpar, "settle")
    after = conditions(lpar)
    assert [(after[block].state, after[block].zone) for block in (16, 17)] == [
        ("online", "Movable")
    ] * 2
    # A vendor's rule has to be masked, as the message says.
    assert after[18].state == ("online" if vendor else "offline")
