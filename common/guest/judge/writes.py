"""Random writes to the memory sysfs, the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

from guest.judge.replay import FIRMWARE, MEMORY

__all__ = ["MEMORY", "POLICIES", "JudgedWrite", "block_writes", "firmware_writes"]

JudgedWrite = tuple[str, str]
"""An absolute path and what is written there, each character a byte."""

WORDS: Final = ("offline",) * 6 + ("online_movable",) * 4 + ("online",) * 3 + ("online_kernel",)
"""A block in a kernel zone soon holds a page that cannot move, and has then said all that it will
say: most go to Movable."""

_LONG: Final = "\r"
"""Stands for characters until a text is longer than a page."""

WRONG: Final = (
    "", "\n", "\0", " ", "0", "1", "2", "on", "Online", "ONLINE", " online", "online ",
    "online\n\n", "online_", "online_keep", "online-movable", "onlin", "going-offline",
    "offline\t", "off", "offline\nonline", "online\0", "online\0x", "offline\0", "\xff\xfe",
    "x" + _LONG, "online" + "\n" + _LONG,
)  # fmt: skip
"""For a state: all wrong but those with a NUL, where the word ends for the kernel."""

BOOLEANS: Final = (
    "0", "1", "0", "1", "y", "Y", "n", "N", "t", "T", "f", "F", "yes", "no", "on", "ON",
    "off", "oF", "of", "one", "o", "o\n", "O", "2", "-1", "01", "10", "1 ", " 1", "", "\n",
    "\0", "1\0", "true", "false", "online", "offline", "00", "\xb9", "+1", "x", "1" + _LONG,
)  # fmt: skip

FLAGS: Final = ("0", "1", "0", "1", "y", "n", "on", "off")
"""What config and memmap_on_memory are mostly given."""

POLICIES: Final = ("offline", "online", "online_kernel", "online_movable")

READ_ONLY: Final = ("removable", "valid_zones", "phys_index", "phys_device")


def _line(random_: random.Random, text: str) -> str:
    """As echo writes it, three times of four."""
    return f"{text}\n" if random_.random() < 0.75 else text


def _long(made: Sequence[JudgedWrite], page: int) -> list[JudgedWrite]:
    """The writes, the long ones a little longer than a page."""
    return [
        (path, re.sub(f"(.){_LONG}", lambda found: found[1] * (page + page // 4), text, flags=re.S))
        for path, text in made
    ]


Likely = tuple[float, Callable[[random.Random, int], JudgedWrite]]
"""A kind of write: up to which number below 1 it is chosen, and what makes one to a block."""


def _made(
    seed: int,
    count: int,
    choose: Callable[[random.Random], int],
    kinds: Sequence[Likely],
    page: int,
) -> list[JudgedWrite]:
    """COUNT random writes, each to a block that is chosen first and of a kind of KINDS."""
    random_, made = random.Random(seed), []
    for _ in range(count):
        block, number = choose(random_), random_.random()
        make = next(make for limit, make in kinds if number < limit)
        made.append(make(random_, block))
    return _long(made, page)


def _at(attribute: str, words: Sequence[str], above: str = MEMORY) -> Callable[..., JudgedWrite]:
    """What makes a write of one of WORDS to an attribute of a block, as echo writes it."""
    return lambda random_, block: (
        f"{above}/memory{block}/{attribute}",
        _line(random_, random_.choice(words)),
    )


def _to_flag(random_: random.Random, block: int) -> JudgedWrite:
    attribute = random_.choice(("config", "memmap_on_memory"))
    return f"{FIRMWARE}/memory{block}/{attribute}", random_.choice(BOOLEANS)


def _wrong(random_: random.Random, block: int) -> JudgedWrite:
    return f"{MEMORY}/memory{block}/state", random_.choice(WRONG)


def _policy(random_: random.Random, block: int) -> JudgedWrite:
    words = (*POLICIES, *random_.sample(WRONG, 2))
    return f"{MEMORY}/auto_online_blocks", _line(random_, random_.choice(words))


def _read_only(random_: random.Random, block: int) -> JudgedWrite:
    return f"{MEMORY}/memory{block}/{random_.choice(READ_ONLY)}", "1\n"


def _to_nothing(path: str, text: str) -> Callable[..., JudgedWrite]:
    """What makes a write to a block that no machine has."""
    return lambda random_, block: (path.format(random_.randrange(1 << 16, 1 << 20)), text)


_ON_S390: Final[tuple[Likely, ...]] = (
    (0.33, _at("config", FLAGS, FIRMWARE)),
    (0.45, _at("memmap_on_memory", FLAGS, FIRMWARE)),
    (0.52, _to_flag),
    (0.77, _at("state", WORDS)),
    (0.86, _at("online", BOOLEANS)),
    (0.90, _wrong),
    (0.96, _policy),
    (0.98, _read_only),
    (1, _to_nothing(FIRMWARE + "/memory{}/config", "1\n")),
)
_ELSEWHERE: Final[tuple[Likely, ...]] = (
    (0.60, _at("state", WORDS)),
    (0.78, _at("online", BOOLEANS)),
    (0.88, _wrong),
    (0.95, _policy),
    (0.98, _read_only),
    (1, _to_nothing(MEMORY + "/memory{}/state", "online\n")),
)


def firmware_writes(
    seed: int, count: int, boot: Sequence[int], standby: Sequence[int], page: int = 4096
) -> list[JudgedWrite]:
    """Random writes on an s390: to config and memmap_on_memory, and to the blocks themselves.

    `page` is the kernel's page size, in bytes.
    """

    def choose(random_: random.Random) -> int:
        return random_.choice(boot if random_.random() < 0.25 else standby)

    return _made(seed, count, choose, _ON_S390, page)


def block_writes(
    seed: int, count: int, boot: Sequence[int], added: Sequence[int], page: int = 4096
) -> list[JudgedWrite]:
    """Random writes: mostly to blocks that were added, some to those the machine booted on.

    `page` is the kernel's page size, in bytes.
    """

    def choose(random_: random.Random) -> int:
        return random_.choice(boot if random_.random() < 0.06 else added)

    return _made(seed, count, choose, _ELSEWHERE, page)
