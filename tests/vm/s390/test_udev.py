"""A real udev hears of blocks that come and go, and a rule of its own acts beside chmem."""

from guest.s390.lpar import Lpar
from layouts import MOVABLE_RULE
from vm.agreement import conditions
from vm.lpars import call

LOG_RULE = """\
SUBSYSTEM=="memory", RUN+="/bin/sh -c 'echo %E{ACTION} %k >> /tmp/heard'"
"""


def heard(lpar: Lpar) -> list[str]:
    """What udev has been told, as its rule wrote it, when it has nothing more to do."""
    call(lpar, "settle")
    lines: list[str] = lpar.run("cat /tmp/heard; : > /tmp/heard").stdout.splitlines()
    return [line for line in lines if line != "change memory0"]


def test_udev_hears_of_each_step_of_a_block(lpar: Lpar) -> None:
    call(lpar, "udev", rules=LOG_RULE)
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
        assert lpar.run(["chmem", *options.split()]).status == 0
        assert (options, heard(lpar)) == (options, expected)


def test_a_rule_that_sets_added_memory_online_is_no_trouble_to_chmem(lpar: Lpar) -> None:
    call(lpar, "udev", rules=LOG_RULE + MOVABLE_RULE)
    for options in ("-c -b 16", "-e -b 17-18"):
        done = lpar.run(["chmem", *options.split()])
        assert (done.status, done.stderr) == (0, "")
    heard(lpar)
    after = conditions(lpar)
    assert {after[block].state for block in (16, 17, 18)} == {"online"}
    assert lpar.run(["chmem", "-d", "-b", "16-18"]).status == 0
    after = conditions(lpar)
    assert not any(after[block].configured for block in (16, 17, 18))
