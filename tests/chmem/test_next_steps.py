"""What to do now: where something failed, or was left half done, a sentence says how to go on."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands import Command, run_program
from memory_hotplug import Machine
from simulated import Condition, Make, conditions, make, s390, write, x86
from static_tree import MEMORY
from told import said_in


@pytest.mark.parametrize(
    ("description", "arguments", "hint"),
    [
        (s390(faults={"offline": {"3": "EBUSY"}}), ["-d", "-b", "3"], "zone Normal, not Movable"),
        (s390(faults={"config": {"4": "ENOMEM"}}), ["-e", "-m0", "-b", "4"], "with -m 1"),
        (s390(faults={"config": {"4": "EIO"}}), ["-e", "-b", "4"], "hypervisor refused"),
        (s390(faults={"config": {"4": "EIO"}, "online": {}}), ["-e", "512m"], "hypervisor refused"),
        (s390(), ["-g", "-b", "3"], "chmem --disable"),
        (s390(faults={"offline": {"3": "EIO"}}), ["-d", "-b", "3"], "the kernel log (dmesg)"),
        (s390(faults={"online": {"4": "EINVAL"}}), ["-e", "-b", "4"], "lsmem -o BLOCK,STATE,ZONES"),
        (
            s390(faults={"offline": {"3": "EACCES"}}),
            ["-d", "-b", "3"],
            "the permissions of the tree",
        ),
        (s390(faults={"offline": {"3": "ENOSPC"}}), ["-d", "-b", "3"], "the tree is full"),
        (
            s390(),
            ["-e", "-b", "4,5"],
            "'4,5'\nchmem: give one SIZE, RANGE or BLOCKRANGE at a time, not a list",
        ),
        (x86(4, 0), ["-e", "1g"], "\nchmem: no memory block is offline\n"),
        (x86(4, 4), ["-d", "1g", "-z", "Device"], "no memory block is online in zone Device\n"),
        (
            x86(4, 4),
            ["-e", "1g", "-z", "DMA"],
            "no memory block is offline and can go to zone DMA",
        ),
        (x86(4, 4), ["-e", "0x8000000"], "chmem: 0x8000000 is taken for a size, 128T: a range"),
        (
            x86(4, 4),
            ["-e", "16"],
            "\nchmem: for memory block 16 give --blocks; for a size give a unit",
        ),
        (x86(4, 4), ["-e", "4-7"], "\nchmem: for memory blocks 4-7 give --blocks"),
        (x86(4, 4), ["16"], "information.\nchmem: say what to do: --enable, --disable, "),
        (x86(4, 4), ["-be", "4", "7"], "give one SIZE, RANGE or BLOCKRANGE, not 2\n"),
        (s390(4, 0), ["--reconfigure", "-m0", "1g"], "no memory block can be reconfigured\n"),
        (s390(memmap_supported=False), ["-c", "-m1", "-b", "4"], "memmap_on_memory"),
    ],
)
def test_a_failure_comes_with_a_sentence_that_helps(
    description: dict[str, Any],
    arguments: list[str],
    hint: str,
    chmem: Command,
    machine: Make,
) -> None:
    done = chmem("-s", machine(description), *arguments)
    assert done.status in (1, 64)
    assert hint in done.stderr


def test_disable_whose_deconfigure_fails_says_how_to_go_on(chmem: Command, machine: Make) -> None:
    root = machine(s390(faults={"deconfig": {"3": {"errno": "EBUSY", "times": 1}}}))
    done = chmem("-s", root, "-v", "-d", "-b", "3")
    assert done.status == 64
    assert done.stdout.endswith(" disabled\n")
    assert "deconfigure failed: Device or resource busy" in done.stderr
    assert f"\nchmem: go on with chmem --deconfigure --blocks 3 --sysroot {root}\n" in done.stderr
    assert conditions(root)[3] == Condition(1, 0, "offline", None)
    assert chmem("-s", root, "-g", "-b", "3").status == 0


@pytest.mark.parametrize("words", [["-d", "256m"], ["--total", "256m"], ["-d", "-b", "2-3"]])
@pytest.mark.parametrize("advice", ["never", "always"])
def test_that_a_block_stays_configured_is_always_told_and_the_status_agrees(
    words: list[str], advice: str, chmem: Command, machine: Make
) -> None:
    root = machine(s390(faults={"deconfig": {"3": "EBUSY"}}))
    done = chmem("-s", root, *words, f"--advice={advice}")
    # A total is of memory that is online.
    assert done.status == (0 if "--total" in words else 64)
    assert "chmem: memory block 3: offline, but still configured\n" in done.stderr


def test_the_document_says_that_a_block_stays_configured(chmem: Command, machine: Make) -> None:
    root = machine(s390(faults={"deconfig": {"3": "EBUSY"}}))
    document = json.loads(chmem("-s", root, "-d", "256m", "--json").stdout)
    assert (document["status"], document["outcome"]) == (64, "partial")
    assert "memory block 3: offline, but still configured" in said_in(document)
    failed = document["blocks"][0]
    assert (failed["block"], failed["error"]["step"]) == (3, "deconfigure")
    assert failed["after"]["configured"] is True


@pytest.mark.parametrize("increment", [16, 128])
@pytest.mark.parametrize("words", [["-d", "-b", "12-15"], ["-d", "512m"], ["--total", "1536m"]])
def test_storage_that_the_hypervisor_keeps_is_told_though_the_kernel_succeeds(
    words: list[str], increment: int, chmem: Command, machine: Make
) -> None:
    faults = {"deconfig": {"13": {"errno": "EIO", "times": 2}, "14": "EIO"}}
    root = machine(s390(16, 0, faults=faults, increment=increment << 20))
    done = chmem("-s", root, *words, "--advice=never")
    told = "memory blocks 13-14: deconfigured, but the hypervisor keeps the storage"
    status = 0 if "--total" in words else 64
    assert (done.status, done.stderr) == (status, f"chmem: {told}\n")
    # What the log says of earlier times is no news.
    assert chmem("-s", root, "-e", "-b", "12-15").status == 0
    report = json.loads(chmem("-s", root, "-d", "-b", "12-14", "--json").stdout)
    assert (report["status"], report["storage_kept"]) == (64, [13, 14])
    assert told in said_in(report)
    assert chmem("-s", root, "-e", "-b", "12-15").status == 0
    assert chmem("-s", root, "-d", "-b", "12-13").status == 0
    assert conditions(root)[14].state == "online"


def test_storage_that_is_refused_is_none_that_is_kept(chmem: Command, machine: Make) -> None:
    root = machine(s390(4, 4, faults={"config": {"5": "EIO"}}))
    report = json.loads(chmem("-s", root, "--reconfigure", "-m", "0", "-b", "2-5", "--json").stdout)
    assert report["storage_kept"] == []
    assert chmem("-s", root, "-e", "-b", "4-7", "--json").status == 64


def test_reconfigure_that_loses_online_memory_gives_the_command_that_restores_it(
    chmem: Command, lpar: Path
) -> None:
    before = Machine.at(lpar).block(5)
    run_program("memsim", "fault", lpar, "--config", "5=EIO")
    done = chmem("-s", lpar, "-b", "--reconfigure", "-m", "1", "5")
    assert done.status == 64
    assert (
        "chmem: memory block 5 is left offline, deconfigured, memmap_on_memory 0\n"
        "chmem: chmem --enable --blocks 5 --memmap-on-memory 0 --zone DMA "
        f"--sysroot {lpar} restores it once the cause is fixed\n"
    ) in done.stderr
    (command,) = re.findall("chmem (--enable .*) restores it", done.stderr)
    run_program("memsim", "fault", lpar, "--clear")
    assert chmem(*command.split()).status == 0
    assert Machine.at(lpar).block(5) == before


@pytest.mark.parametrize(
    ("words", "advised"),
    [
        # Another size
        (
            "-d 50% -z DMA --node 0 --order best --keep-free 512m --retry 2 --timeout=9",
            "--disable --zone DMA --node 0 --order best --keep-free 512m --retry 2 --timeout 9 1G",
        ),
        ("-d 50% --force --all-or-nothing", "--disable --force --all-or-nothing 1G"),
        ("-d 50% --keep-free none --persistent", "--disable --keep-free none --persistent 1G"),
        ("--total 50% -m 1 -z Movable --dry-run", "--total --memmap-on-memory 1 --zone Movable"),
        ("-e all -m0 --node=0", "--enable --memmap-on-memory 0 --node 0 2G"),
        ("-d 1400m", "nothing"),
        # Another kind of argument
        ("-d memory5 --order best --timeout 3", "--disable --blocks --timeout 3 5"),
        ("-b -d 256m --device virtio0 --keep-free 1g", "nothing"),
        ("-b -d 256m --keep-free 1g", "--disable --keep-free 1g 256m"),
        ("-d /x/memory5 --keep-free 1g", "nothing"),
        # Another action
        (
            "--total +1g -z Movable --order best --keep-free 1g --retry 2",
            "--enable 1g --zone Movable --retry 2",
        ),
        (
            "--total \u22121g --zone Movable --memmap-on-memory 1 --order best --keep-free 1g",
            "--disable 1g --zone Movable --order best --keep-free 1g",
        ),
        ("-d big.toml --keep-free 1g -z DMA", "--apply big.toml --keep-free 1g"),
        ("-c all -z Movable -m 1", "--configure --memmap-on-memory 1 2G"),
        ("-e 'my big.toml' --dry-run", "--apply 'my big.toml' --dry-run"),
    ],
)
def test_an_advised_command_keeps_the_options(
    words: str, advised: str, chmem: Command, lpar: Path
) -> None:
    done = chmem("-s", lpar, *shlex.split(words), "--advice=always")
    if advised == "nothing":
        assert "chmem --disable" not in done.stderr
        return
    assert f"chmem {advised}" in done.stderr
    assert f" --sysroot {lpar}" in done.stderr


def test_what_can_go_is_offered_with_the_options(chmem: Command, lpar: Path) -> None:
    words = "-d 2g --keep-free 1g --order best --retry 3 -z DMA --dry-run --persistent"
    done = chmem("-s", lpar, *words.split(), "--advice=always")
    (command,) = re.findall("chmem (--disable .*) sets that much", done.stderr)
    offered = "--keep-free 1g --order best --retry 3 --zone DMA --persistent"
    assert command == f"--disable 640M {offered} --sysroot {lpar}"
    assert chmem(*command.split()).status == 0


def test_what_can_go_of_a_total_is_offered_as_a_command_that_is_taken(
    chmem: Command, lpar: Path
) -> None:
    done = chmem("-s", lpar, "--total", "128m", "-m", "1", "--advice=always")
    (command,) = re.findall("chmem (--disable .*) sets that much", done.stderr)
    assert chmem(*command.split()).status == 0


def test_a_command_that_goes_on_with_blocks_keeps_what_is_about_all(
    chmem: Command, lpar: Path
) -> None:
    run_program("memsim", "fault", lpar, "--deconfig", "5=EBUSY:1", "--config", "7=EIO")
    words = ["-s", lpar, "--retry", "0", "--persistent", "--timeout", "60", "--advice=always"]
    done = chmem(*words, "-d", "-b", "5", "-v")
    more = "--retry 0 --persistent --timeout 60"
    assert f"go on with chmem --deconfigure --blocks 5 {more} --sysroot {lpar}\n" in done.stderr
    done = chmem(*words, "--reconfigure", "-m", "1", "-b", "7")
    way = f"chmem --enable --blocks 7 --memmap-on-memory 0 --zone DMA {more} --sysroot {lpar} rest"
    assert way in done.stderr


def test_disable_of_offline_but_configured_blocks_says_how_to_deconfigure_them(
    chmem: Command, lpar: Path
) -> None:
    for block in (5, 7, 8):
        write(lpar, f"{MEMORY}/memory{block}/state", "offline")
    done = chmem("-s", lpar, "-b", "-d", "5-8")
    assert (done.status, done.stdout) == (0, "")
    ways = [f"chmem --deconfigure --blocks {run} --sysroot {lpar}" for run in ("5", "7-8")]
    assert done.stderr == (
        "chmem: memory blocks 5, 7-8: offline, but still configured\n"
        f"chmem: go on with {'; '.join(ways)}\n"
    )
    for way in ways:
        assert chmem(*way.split()[1:]).status == 0
    assert Machine.at(lpar).block(8).configured is False


def test_of_many_commands_to_go_on_eight_are_shown_each_complete(
    chmem: Command, tmp_path: Path
) -> None:
    make(tmp_path / "m", s390(20, 0))
    for block in range(0, 20, 2):
        write(tmp_path / "m", f"{MEMORY}/memory{block}/state", "offline")
    said = chmem("-s", tmp_path / "m", "-b", "-d", "0-19").stderr
    blocks, ways = re.findall(
        "^chmem: memory blocks (.*): offline, .*\nchmem: go on with (.*)$", said, re.M
    )[0]
    assert blocks == "0, 2, 4, 6, 8, 10, 12, 14, ..."
    *commands, rest = ways.split("; ")
    assert rest == "..."
    assert commands == [
        f"chmem --deconfigure --blocks {block} --sysroot {tmp_path}/m" for block in range(0, 16, 2)
    ]


@pytest.mark.parametrize(
    ("description", "left"),
    [(s390, "offline, configured, memmap_on_memory 0"), (x86, "offline")],
)
def test_all_or_nothing_that_cannot_go_back_gives_the_command_that_restores_a_block(
    description: Callable[..., dict[str, Any]], left: str, chmem: Command, machine: Make
) -> None:
    faults = {"offline": {"1": "EBUSY"}, "online": {"2": {"errno": "EIO", "times": 1}}}
    root = machine(description(faults=faults))
    before = conditions(root)
    done = chmem("-s", root, "-v", "-d", "--all-or-nothing", "-b", "1-2")
    assert done.status == 64
    assert (
        "chmem: Memory Block 2 (0x0000000010000000-0x0000000017ffffff) enable failed "
        "while undoing: Input/output error\n" in done.stderr
    )
    assert (
        f"chmem: memory block 2 is left {left}\nchmem: chmem --enable --blocks 2 --zone Normal "
        f"--sysroot {root} restores it once the cause is fixed\n" in done.stderr
    )
    (command,) = re.findall("chmem (--enable .*) restores it", done.stderr)
    assert chmem(*command.split()).status == 0
    assert conditions(root) == before
