"""A real udev hears of blocks that come and go, and a rule of its own acts beside chmem."""

from collections.abc import Iterator

import pytest

from lpar.machine import Lpar
from vm.agreement import conditions
from vm.lpars import call

LOG_RULE = """\
SUBSYSTEM=="memory", RUN+="/bin/sh -c 'echo %E{ACTION} %k >> /tmp/heard'"
"""

ONLINE_RULE = """\
SUBSYSTEM=="memory", ACTION=="add", ATTR{state}=="offline", ATTR{state}="online_movable"
"""
"""What some distributions have: memory that is added comes online."""


@pytest.fixture
def udev(lpar: Lpar) -> Iterator[Lpar]:
    """The guest, with systemd-udevd running in it."""
    call(lpar, "udev")
    yield lpar


def heard(lpar: Lpar) -> list[str]:
    """What udev has been told, as its rule wrote it, when it has nothing more to do."""
    assert lpar.run("udevadm settle").status == 0
    return lpar.run("cat /tmp/heard; : > /tmp/heard").stdout.splitlines()


def rules(lpar: Lpar, text: str) -> None:
    """Give udev rules."""
    done = lpar.run("cat > /run/udev/rules.d/50-test.rules && udevadm control --reload", stdin=text)
    assert (done.status, done.stderr) == (0, "")


def test_udev_hears_of_each_step_of_a_block(udev: Lpar) -> None:
    rules(udev, LOG_RULE)
    steps = [
        ("-c -b 16", ["add memory16"]),
        ("-e -b 16", ["online memory16"]),
        ("-d -b 16", ["offline memory16", "remove memory16"]),
        ("-e -b 17", ["add memory17", "online memory17"]),
        ("-b --reconfigure -m 0 17", [
            f"{action} memory17" for action in ("offline", "remove", "add", "online")
        ]),
        ("-e -b 17", []),
        ("-d -b 5", ["offline memory5", "remove memory5"]),
    ]  # fmt: skip
    for options, expected in steps:
        assert udev.run(["chmem", *options.split()]).status == 0
        assert (options, heard(udev)) == (options, expected)


def test_a_rule_that_sets_added_memory_online_is_no_trouble_to_chmem(udev: Lpar) -> None:
    rules(udev, LOG_RULE + ONLINE_RULE)
    for options in ("-c -b 16", "-e -b 17-18"):
        done = udev.run(["chmem", *options.split()])
        assert (done.status, done.stderr) == (0, "")
    heard(udev)
    after = conditions(udev)
    assert {after[block].state for block in (16, 17, 18)} == {"online"}
    assert udev.run(["chmem", "-d", "-b", "16-18"]).status == 0
    after = conditions(udev)
    assert not any(after[block].configured for block in (16, 17, 18))
