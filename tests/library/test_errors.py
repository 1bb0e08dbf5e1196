"""The text of each error, and what it carries for a program."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from memory_hotplug import (
    BadBlockSizeError,
    BadMachineError,
    BadSizeError,
    BlockError,
    BrokenTreeError,
    CannotWriteError,
    Cause,
    HeldError,
    Machine,
    MemoryHotplugError,
    NoBlocksError,
    NoBlockSizeError,
    NoMemoryTreeError,
    NoRootError,
    NoSuchBlockError,
    NotReadError,
    SizeSyntaxError,
    SizeTooLargeError,
    State,
    StoppedError,
    StuckError,
    UnknownNameError,
    Zone,
)

DENIED = PermissionError(errno.EACCES, "Permission denied")
NAMELESS = OSError("no number at all")
MEMORY = "/sys/devices/system/memory"

BUSY = BlockError(
    5,
    "offline",
    Cause.UNMOVABLE,
    errno=errno.EBUSY,
    zone=Zone.NORMAL,
    zones=(Zone.NORMAL, Zone.MOVABLE),
    where="sys/x/state",
)


def errors() -> list[tuple[MemoryHotplugError, str, dict[str, object]]]:
    """Errors, what they say, and what they carry. They are made in each test anew, so that a change
    of what makes them is in force."""
    return [
        (
            NoMemoryTreeError("/r\n", DENIED),
            rf"cannot open {MEMORY} below /r\x0a: Permission denied",
            {
                "root": "/r\n",
                "errno": errno.EACCES,
                "reason": "Permission denied",
                "is_this_machine": False,
            },
        ),
        (
            NoMemoryTreeError("/", NAMELESS, is_this_machine=True),
            f"cannot open {MEMORY}: no number at all",
            {"root": "/", "errno": None, "reason": "no number at all", "is_this_machine": True},
        ),
        (
            NoRootError("/r", DENIED),
            "cannot open /r: Permission denied",
            {"root": "/r", "errno": errno.EACCES, "is_this_machine": False},
        ),
        (
            BrokenTreeError("sys/x", "why"),
            "cannot read /sys/x: why",
            {"path": "sys/x", "reason": "why"},
        ),
        (
            NoBlockSizeError("sys/x"),
            "cannot read /sys/x: No such file or directory",
            {"path": "sys/x", "reason": "No such file or directory"},
        ),
        (
            BadBlockSizeError("sys/x", "zz"),
            "cannot read /sys/x: no block size in hexadecimal, but zz",
            {"path": "sys/x", "found": "zz"},
        ),
        (UnknownNameError("zone", "a\tb"), r"unknown zone: a\x09b", {"name": "a\tb"}),
        (UnknownNameError("zone", "\u2028"), r"unknown zone: \xe2\x80\xa8", {"name": "\u2028"}),
        (
            UnknownNameError("zone", "X", ["DMA", "Normal"]),
            "unknown zone: X (known: DMA, Normal)",
            {"name": "X"},
        ),
        (SizeSyntaxError("1\x1b"), r"Failed to parse size: '1\x1b': Invalid argument", {}),
        (SizeTooLargeError("9e"), "Failed to parse size: '9e': Numerical result out of range", {}),
        (
            CannotWriteError("/r/\n", DENIED),
            r"cannot write to /r/\x0a: Permission denied",
            {"where": "/r/\n", "errno": errno.EACCES, "reason": "Permission denied"},
        ),
        (
            CannotWriteError("/r", NAMELESS),
            "cannot write to /r: no number at all",
            {"errno": None, "reason": "no number at all"},
        ),
        (StoppedError(), "interrupted", {}),
        (BadSizeError("1\n", "no"), r"Failed to parse size: '1\x0a': no", {}),
        (
            NotReadError(iter(["state", "zones"])),
            "state, zones of the memory blocks must be read before",
            {"attributes": ("state", "zones"), "number": None},
        ),
        (
            NotReadError(["state"], 0),
            "state of memory block 0 must be read before",
            {"attributes": ("state",), "number": 0},
        ),
        (
            HeldError(7, 12.5),
            "process 7 is changing the memory of this machine",
            {"pid": 7, "since": 12.5},
        ),
        (
            HeldError(None, None),
            "another process is changing the memory of this machine",
            {"pid": None, "since": None},
        ),
        (NoSuchBlockError(3), "memory block 3 is not on this machine", {"number": 3}),
        (
            NoBlocksError("/r\n"),
            rf"no memory blocks in {MEMORY} below /r\x0a",
            {"root": "/r\n", "is_this_machine": False},
        ),
        (
            NoBlocksError("/", is_this_machine=True),
            f"no memory blocks in {MEMORY}",
            {"root": "/", "is_this_machine": True},
        ),
        (
            BUSY,
            "memory block 5: offline failed: Device or resource busy",
            {
                "number": 5,
                "step": "offline",
                "cause": Cause.UNMOVABLE,
                "errno": errno.EBUSY,
                "errno_name": "EBUSY",
                "zone": Zone.NORMAL,
                "zones": (Zone.NORMAL, Zone.MOVABLE),
                "where": "sys/x/state",
                "reason": "Device or resource busy",
            },
        ),
        (
            BlockError(5, "online", Cause.ZONE_NOT_VALID),
            f"memory block 5: online failed: {Cause.ZONE_NOT_VALID.value}",
            {"errno": None, "errno_name": None, "zone": None, "zones": (), "where": ""},
        ),
        (
            BlockError(5, "online", Cause.UNMOVABLE, errno=4095),
            "memory block 5: online failed: Unknown error 4095",
            {"errno_name": "4095"},
        ),
        (
            StuckError(BUSY),
            str(BUSY),
            {
                name: getattr(BUSY, name)
                for name in ("number", "step", "cause", "errno", "zone", "zones", "where")
            },
        ),
    ]


@pytest.mark.parametrize(
    "at", range(len(errors())), ids=[type(error).__name__ for error, _, _ in errors()]
)
def test_an_error_says_what_happened_and_carries_it(at: int) -> None:
    error, text, carried = errors()[at]
    assert str(error) == text
    assert {name: getattr(error, name) for name in carried} == carried


def test_a_machine_without_its_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BadMachineError) as caught:
        Machine.simulated(tmp_path / "m.json")
    assert str(caught.value) == f"{tmp_path / 'm.json'}: No such file or directory"


def test_a_root_that_no_file_can_have_is_refused_with_the_reason() -> None:
    with pytest.raises(MemoryHotplugError, match=r"null (byte|character)"):
        Machine.at("a\0b")


@pytest.mark.parametrize("profile", ["./nix\0", "./\ud800"])
def test_a_machine_that_cannot_be_made_is_named_even_if_no_file_has_that_name(
    profile: str,
) -> None:
    with pytest.raises(BadMachineError) as caught:
        Machine.simulated(profile)
    assert str(caught.value).startswith(os.fsdecode(profile))
    assert not str(caught.value).endswith(": ")


def test_a_setting_is_a_word_without_its_newline(tmp_path: Path) -> None:
    memory = tmp_path / "sys/devices/system/memory"
    (memory / "memory0").mkdir(parents=True)
    (memory / "block_size_bytes").write_text("8000000\n")
    (memory / "auto_online_blocks").write_bytes(b"\nodd\xff\n")
    with Machine.at(tmp_path) as machine:
        assert machine.auto_online_blocks == r"\x0aodd\xff"


def test_an_error_of_undoing_is_that_which_caused_it() -> None:
    caused_by = BlockError(
        5, "offline", Cause.UNMOVABLE, errno=errno.EBUSY, zone=Zone.NORMAL, zones=(Zone.NORMAL,)
    )
    assert vars(StuckError(caused_by)) == vars(caused_by)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({}, "either a profile or sizes must be given"),
        ({"standby": 1 << 30}, "memory: expected a size in bytes, but it is missing"),
        ({"memory": "1G"}, "memory: expected a size in bytes, not '1G'"),
        ({"memory": -1}, "memory: expected a size in bytes, not -1"),
        ({"memory": True}, "memory: expected a size in bytes, not True"),
        *(
            (
                {"memory": 1 << 30, "block_size": size},
                f"block_size: expected a power of two from 1 MiB on, not {size}",
            )
            for size in (0, 1 << 19, 3 << 20)
        ),
    ],
)
def test_sizes_of_which_no_machine_can_be_made_are_told(sizes: dict[str, Any], text: str) -> None:
    with pytest.raises(BadMachineError) as caught:
        Machine.simulated(**sizes)
    assert str(caught.value) == text


@pytest.mark.parametrize("block_size", [1 << 20, 1 << 27, None])
def test_a_machine_of_sizes_has_them(block_size: int | None) -> None:
    more: dict[str, Any] = {"block_size": block_size} if block_size else {}
    with Machine.simulated(memory=3 << 27, standby=1 << 27, **more) as machine:
        assert machine.block_size == (block_size or 1 << 27)
        blocks = machine.read(["state"]).blocks()
    online = [block.state is State.ONLINE for block in blocks]
    assert online == sorted(online, reverse=True)
    assert (online.count(True), online.count(False)) == (
        (3 << 27) // machine.block_size,
        (1 << 27) // machine.block_size,
    )
