"""Random writes to the memory sysfs, the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from guest.judge.replay import FIRMWARE, MEMORY

__all__ = ["MEMORY", "POLICIES", "Write", "block_writes", "firmware_writes"]

Write = tuple[str, str]
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


def _long(made: Sequence[Write], page: int) -> list[Write]:
    """The writes, the long ones a little longer than a page."""
    return [
        (path, re.sub(f"(.){_LONG}", lambda found: found[1] * (page + page // 4), text, flags=re.S))
        for path, text in made
    ]


def firmware_writes(
    seed: int, count: int, boot: Sequence[int], standby: Sequence[int], page: int = 4096
) -> list[Write]:
    """Random writes on an s390: to config and memmap_on_memory, and to the blocks themselves.

    `page` is the kernel's page size, in bytes.
    """
    random_ = random.Random(seed)
    made = []
    for _ in range(count):
        block = random_.choice(boot if random_.random() < 0.25 else standby)
        firmware, memory = f"{FIRMWARE}/memory{block}", f"{MEMORY}/memory{block}"
        kind = random_.random()
        if kind < 0.33:
            made.append((f"{firmware}/config", _line(random_, random_.choice(FLAGS))))
        elif kind < 0.45:
            made.append((f"{firmware}/memmap_on_memory", _line(random_, random_.choice(FLAGS))))
        elif kind < 0.52:
            attribute = random_.choice(("config", "memmap_on_memory"))
            made.append((f"{firmware}/{attribute}", random_.choice(BOOLEANS)))
        elif kind < 0.77:
            made.append((f"{memory}/state", _line(random_, random_.choice(WORDS))))
        elif kind < 0.86:
            made.append((f"{memory}/online", _line(random_, random_.choice(BOOLEANS))))
        elif kind < 0.90:
            made.append((f"{memory}/state", random_.choice(WRONG)))
        elif kind < 0.96:
            words = (*POLICIES, *random_.sample(WRONG, 2))
            made.append((f"{MEMORY}/auto_online_blocks", _line(random_, random_.choice(words))))
        elif kind < 0.98:
            made.append((f"{memory}/{random_.choice(READ_ONLY)}", "1\n"))
        else:
            number = random_.randrange(1 << 16, 1 << 20)
            made.append((f"{FIRMWARE}/memory{number}/config", "1\n"))
    return _long(made, page)


def block_writes(
    seed: int, count: int, boot: Sequence[int], added: Sequence[int], page: int = 4096
) -> list[Write]:
    """Random writes: mostly to blocks that were added, some to those the machine booted on.

    `page` is the kernel's page size, in bytes.
    """
    random_ = random.Random(seed)
    made = []
    for _ in range(count):
        block = random_.choice(boot if random_.random() < 0.06 else added)
        directory = f"{MEMORY}/memory{block}"
        kind = random_.random()
        if kind < 0.60:
            made.append((f"{directory}/state", _line(random_, random_.choice(WORDS))))
        elif kind < 0.78:
            made.append((f"{directory}/online", _line(random_, random_.choice(BOOLEANS))))
        elif kind < 0.88:
            made.append((f"{directory}/state", random_.choice(WRONG)))
        elif kind < 0.95:
            words = (*POLICIES, *random_.sample(WRONG, 2))
            made.append((f"{MEMORY}/auto_online_blocks", _line(random_, random_.choice(words))))
        elif kind < 0.98:
            made.append((f"{directory}/{random_.choice(READ_ONLY)}", "1\n"))
        else:
            made.append((f"{MEMORY}/memory{random_.randrange(1 << 16, 1 << 20)}/state", "online\n"))
    return _long(made, page)
