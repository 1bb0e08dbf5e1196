"""The session of the kernel's cover letter, in the kernel: by plain writes and by chmem."""

import pytest

from guest.s390.lpar import Lpar
from guest.s390.service_element import SclpCommand
from vm.lpars import COLUMNS, call

FIRMWARE = "/sys/firmware/memory/memory{}/"
MEMORY = "/sys/devices/system/memory/memory{}/"


AT_BOOT = ["0-15 2G online yes no", "16-31 2G offline no yes"]
GIVEN_BACK = [
    "0-4 640M online yes no",
    "5 128M offline no {}",
    "6-15 1.3G online yes no",
    "16-31 2G offline no yes",
]
TAKEN_AGAIN = [GIVEN_BACK[0], "5 128M online yes yes", *GIVEN_BACK[2:]]

SESSION = [
    # what is written, the options of chmem that do the same, and the rows after it
    ([("config", 16, "1")], "-c -b 16", [
        AT_BOOT[0], "16 128M offline yes yes", "17-31 1.9G offline no yes",
    ]),
    ([("config", 16, "0")], "-g -b 16", AT_BOOT),
    ([("state", 5, "offline"), ("config", 5, "0")], "-d -b 5", [
        row.format("no") for row in GIVEN_BACK
    ]),
    (
        [("memmap_on_memory", 5, "1"), ("config", 5, "1"), ("online", 5, "1")],
        "-e -m 1 -b 5",
        TAKEN_AGAIN,
    ),
    ([("online", 5, "0"), ("config", 5, "0")], "-d -b 5", [
        row.format("yes") for row in GIVEN_BACK
    ]),
    (
        [("memmap_on_memory", 5, "0"), ("config", 5, "1"), ("online", 5, "1")],
        "-e -m 0 -b 5",
        AT_BOOT,
    ),
]  # fmt: skip


def rows(lpar: Lpar) -> list[str]:
    """What our lsmem shows in the kernel: blocks, size, state, configured, memmap on memory."""
    listing = lpar.run(["lsmem", "-n", "--summary=never", "-o", COLUMNS])
    assert (listing.status, listing.stderr) == (0, "")
    found = []
    for line in listing.stdout.splitlines():
        addresses, size, state, blocks, configured, memmap = line.split()
        first, _, last = blocks.partition("-")
        assert addresses == f"{int(first) << 27:#018x}-{(int(last or first) + 1 << 27) - 1:#018x}"
        found.append(f"{blocks} {size} {state} {configured} {memmap}")
    return found


@pytest.mark.parametrize("by_chmem", [False, True], ids=["plain writes", "chmem"])
def test_the_cover_letters_session_goes_as_it_says(lpar: Lpar, by_chmem: bool) -> None:
    assert rows(lpar) == AT_BOOT
    for writes, options, expected in SESSION:
        if by_chmem:
            done = lpar.run(["chmem", *options.split()])
            assert (done.status, done.stdout, done.stderr) == (0, "", "")
        else:
            for attribute, block, text in writes:
                above = MEMORY if attribute in ("state", "online") else FIRMWARE
                path = f"{above.format(block)}{attribute}"
                assert call(lpar, "write", path=path, text=f"{text}\n") == ""
        assert rows(lpar) == expected
    log = [
        asked
        for asked in lpar.element.log
        if asked.command in (SclpCommand.ASSIGN, SclpCommand.UNASSIGN)
    ]
    changes = [f"{asked.command.name} {asked.number}" for asked in log]
    assert changes == ["ASSIGN 17", "UNASSIGN 17", *["UNASSIGN 6", "ASSIGN 6"] * 2]
