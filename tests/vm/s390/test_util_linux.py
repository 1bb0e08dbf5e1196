"""lsmem and chmem against util-linux's (Debian's of the day), in the same real kernel."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from guest.channel import Ended
from guest.s390.lpar import Lpar
from guest.s390.parameters import Partition
from guest.s390.service_element import StorageChange
from vm.agreement import conditions, prepare
from vm.lpar_machines import COVER_LETTER

UTIL_LINUX = "/usr/util-linux/bin"

Blocks = dict[int, tuple[str, bool]]

AT_BOOT: Blocks = dict.fromkeys((16, 17, 18, 19), ("disabled", True))
MIXED: Blocks = {
    16: ("disabled", False),
    17: ("offline", True),
    18: ("online_movable", True),
    19: ("online_movable", False),
}
OFFLINE: Blocks = dict.fromkeys((16, 17, 18, 19), ("offline", True))
ONLINE: Blocks = dict.fromkeys((16, 17, 18, 19), ("online_movable", True))

LISTINGS = [
    "", "-a", "-b", "-n", "-r", "-P", "-J", "-J -a", "-r -a -b", "-P -n", "--output-all",
    "-J --output-all", "-r --output-all", "-S none", "-r -S state", "-r -S configured",
    "-r -S zones,memmap-on-memory", "--summary=only", "--summary=never",
    "-o RANGE,SIZE,STATE,BLOCK,CONFIGURED,MEMMAP-ON-MEMORY", "-o +configured -S removable",
    "-P -o zones,configured,memmap-on-memory", "-J -o range,configured,memmap-on-memory",
    "-o nonsense", "-S nonsense", "--summary=nonsense", "--nonsense", "-J -r", "-a -S node",
]  # fmt: skip
"""Options of lsmem; everything that is printed is the same to the byte."""

CHANGES: list[tuple[str, Blocks]] = [
    # configure, deconfigure
    ("-v -c -b 16-17", AT_BOOT),
    ("-c -b 16-19", MIXED),
    ("-v -c -b 16-19", OFFLINE),
    ("-v -c -b 0", AT_BOOT),
    ("-v -c 0x80000000-0x8fffffff", AT_BOOT),
    ("-v -c -m 0 -b 16-17", AT_BOOT),
    ("-v -c -m 1 -b 16-17", dict.fromkeys((16, 17), ("disabled", False))),
    ("-v -c -m 0 -b 17", OFFLINE),
    ("-v -g -b 16-17", OFFLINE),
    ("-g -b 16-19", MIXED),
    ("-v -g -b 16-17", AT_BOOT),
    ("-v -g -b 17-18", ONLINE),
    ("-v -g -b 0", AT_BOOT),
    # enable, disable
    ("-v -e -b 16-17", AT_BOOT),
    ("-v -e -b 16-19", MIXED),
    ("-e -b 16-19", OFFLINE),
    ("-v -e -b 18-19", ONLINE),
    ("-v -e 256m", AT_BOOT),
    ("-v -e 512m", MIXED),
    ("-v -e 256m", OFFLINE),
    ("-v -e 0x88000000-0x97ffffff", AT_BOOT),
    ("-v -d -b 16-19", ONLINE),
    ("-v -d -b 16-19", MIXED),
    ("-d -b 17", OFFLINE),
    ("-v -d -b 16", AT_BOOT),
    ("-v -d 256m", ONLINE),
    ("-v -d 0x90000000-0x9fffffff", ONLINE),
    ("-v -d -b 0", AT_BOOT),
    ("-v -e -z Movable -b 17", OFFLINE),
    ("-v -e -z DMA -b 17", OFFLINE),
    ("-e -z Nonsense -b 17", OFFLINE),
    # what is wrong
    ("-e 100m", AT_BOOT),
    ("-e -b 200", AT_BOOT),
    ("-c -b 200", AT_BOOT),
    ("-g -b 17-16", OFFLINE),
    ("-c", AT_BOOT),
    ("-b 16", AT_BOOT),
    ("--nonsense", AT_BOOT),
]
"""Options of chmem, and the condition of blocks before."""


def named_alike(result: Ended) -> Ended:
    """Without the directory: getopt_long names the program as it was called."""
    return replace(result, stderr=re.sub(rf"^{UTIL_LINUX}/", "", result.stderr, flags=re.M))


def test_lsmem_prints_what_util_linuxs_prints(lpar: Lpar) -> None:
    for blocks, listings in ((AT_BOOT, LISTINGS[:11]), (MIXED, LISTINGS)):
        prepare(lpar, blocks)
        for options in listings:
            theirs = named_alike(lpar.run([f"{UTIL_LINUX}/lsmem", *options.split()]))
            assert lpar.run(["lsmem", *options.split()]) == theirs, options


def compared(lpar: Lpar, options: str, blocks: Blocks) -> None:
    """Both from the same condition: the same status, output and machine.

    Where util-linux's is silent about a failure, or says less, ours says why.
    """
    before = prepare(lpar, blocks)
    theirs = named_alike(lpar.run([f"{UTIL_LINUX}/chmem", *options.split()]))
    after = conditions(lpar)
    # For a size, it may have taken others.
    taken = [number for number in after if after[number] != before[number]]
    blocks = {**dict.fromkeys(taken, ("disabled", True)), **blocks}
    assert prepare(lpar, blocks) == before
    ours = lpar.run(["chmem", *options.split()])
    what = f"chmem {options}"
    assert (what, conditions(lpar)) == (what, after)
    assert (what, ours.status, ours.stdout) == (what, theirs.status, theirs.stdout)
    assert (what, ours.stderr[: len(theirs.stderr)]) == (what, theirs.stderr)
    assert prepare(lpar, blocks) == before


def test_chmem_takes_a_block_into_the_kernels_zone_as_util_linuxs_does(
    boot: Callable[[Partition], Lpar],
) -> None:
    """On a machine for each: from there a block may not come back."""
    afterwards = []
    for program in (f"{UTIL_LINUX}/chmem", "chmem"):
        lpar = boot(COVER_LETTER)
        prepare(lpar, OFFLINE)
        done = named_alike(lpar.run([program, "-v", "-e", "-z", "Normal", "-b", "17"]))
        afterwards.append((done, conditions(lpar)))
    theirs, ours = afterwards
    assert ours == theirs


@pytest.mark.parametrize("part", range(4))
def test_chmem_does_what_util_linuxs_does(lpar: Lpar, part: int) -> None:
    for options, blocks in CHANGES[part::4]:
        compared(lpar, options, blocks)


def test_chmem_undoes_the_configuring_of_a_block_that_util_linuxs_leaves(lpar: Lpar) -> None:
    """The difference on purpose: a block that cannot be enabled is as it was."""
    before = prepare(lpar, AT_BOOT)
    for program, left in ((f"{UTIL_LINUX}/chmem", True), ("chmem", False)):
        prepare(lpar, AT_BOOT)
        failed = lpar.run([program, "-e", "-z", "DMA", "-b", "16"])
        assert failed.status == 1
        assert conditions(lpar)[16].configured is left
        assert conditions(lpar)[17] == before[17]


def test_chmem_fails_as_util_linuxs_where_the_hypervisor_refuses(lpar: Lpar) -> None:
    lpar.element.refuse(StorageChange.ASSIGN, [18])
    for options in ("-v -c -b 16-18", "-v -e -b 16-18", "-v -c -b 17", "-v -e 384m"):
        compared(lpar, options, {16: ("disabled", True)})
        prepare(lpar, AT_BOOT)
