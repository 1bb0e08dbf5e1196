"""The s390 machines that tests boot, and the random writes that are made on them."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from guest.judge.writes import JudgedWrite, firmware_writes
from guest.s390.parameters import Partition
from vm.lpars import LPAR, MIB, lpar, of


class Fuzzed(NamedTuple):
    """A machine that gets random writes."""

    machine: dict[str, Any]
    partition: Partition
    writes: Sequence[JudgedWrite]


def _fuzzed(seed: int, machine: dict[str, Any], **how: bool) -> Fuzzed:
    numbers: dict[bool, list[int]] = {True: [], False: []}
    for group in machine["blocks"]:
        first, last = group["range"]
        numbers[group["config"]] += range(first, last + 1)
    writes = firmware_writes(seed, 520, numbers[True], numbers[False])
    return Fuzzed(machine, of(machine, **how), writes)


SMALL: Final = [(0, 7, True), (8, 15, False)]
HOLES: Final = [(0, 4, True), (5, 6, False), (7, 9, True), (10, 15, False)]
LARGE_HOLES: Final = [(0, 5, True), (6, 6, False), (7, 9, True), (10, 13, False)]

FUZZED: Final = {
    "Y, increments of 128 MiB": _fuzzed(1, lpar(SMALL)),
    "N, increments of 8 MiB, added memory online": _fuzzed(
        2, lpar(SMALL, increment=8 * MIB, memmap_param="N", auto_online_blocks="online")
    ),
    "force, increments of 256 MiB, a hole, added memory movable": _fuzzed(
        3,
        lpar(
            LARGE_HOLES,
            block_size=256 * MIB,
            increment=256 * MIB,
            memmap_param="force",
            auto_online_blocks="online_movable",
        ),
    ),
    "Y, a hole, standby not listed, KASLR, added memory for the kernel": _fuzzed(
        4, lpar(HOLES, auto_online_blocks="online_kernel"), listed=False, kaslr=True
    ),
}

SCARCE: Final = of(lpar([(0, 2, True), (3, 66, False)]))
"""384 MiB online and 8 GiB standby: not enough for the struct pages of all."""

COVER_LETTER: Final = of(LPAR)
"""2 GiB online and 2 GiB standby, blocks of 128 MiB."""
