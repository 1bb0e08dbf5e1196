"""What chmem does beyond the recorded reference, and how it takes bad input."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pexpect
import pytest

import static_tree
from chmem_py.advice import format_cannot_write
from chmem_py.document import schema
from commands import Command, Outcome
from memory_hotplug.errors import CannotWriteError
from simulated import Condition, conditions, make, s390, x86
from static_tree import MEMORY

Machines = Callable[[dict[str, Any]], Path]


def plain_tree(root: Path, states: list[str], zones: str = "Normal Movable") -> Path:
    """A captured tree, which no simulated kernel looks after."""
    memory = root / MEMORY
    memory.mkdir(parents=True)
    (memory / "block_size_bytes").write_text("8000000\n")
    for number, state in enumerate(states):
        (memory / f"memory{number}").mkdir()
        (memory / f"memory{number}/state").write_text(f"{state}\n")
        (memory / f"memory{number}/valid_zones").write_text(f"{zones}\n")
    return root


def changed(before: dict[int, Condition], after: dict[int, Condition]) -> list[int]:
    return [number for number in after if after[number] != before[number]]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["1.5"], "Failed to parse size: '1.5': Invalid argument"),
        (["17e"], "Failed to parse size: '17e': Numerical result out of range"),
        (["17592186044416"], "Failed to parse size: '17592186044416': Numerical result"),
        (["9" * 5000], "Numerical result out of range"),
        (["128q"], "Failed to parse size: '128q': Invalid argument"),
        (["0.3g"], "Size must be aligned to memory block size (128M)"),
        (["1"], "Size must be aligned to memory block size (128M)"),
        (["--", "-128m"], "Invalid parameter: -128m"),
        (["-128m"], "invalid option -- '1'"),
        ([""], "Invalid parameter: "),
        (["0x8000000-0x7ffffff"], "Invalid range: 0x8000000-0x7ffffff"),
        (["0x1-0x7ffffff"], "Start address and (end address + 1) must be aligned"),
        (["0x0-"], "Invalid parameter: 0x0-"),
        (["0x0-0xg"], "Failed to parse end address: '0xg'"),
        (["0x0-0x1ffffffffffffffff"], "'0x1ffffffffffffffff': Numerical result out of range"),
        (["0-134217727"], "Invalid start address format: 0"),
        (["-b", "5-4"], "Invalid range: 5-4"),
        (["-b", "4-"], "Invalid parameter: 4-"),
        (["-b", "4-5-6"], "Invalid parameter: 4-5-6"),
        (["-b", "0x4"], "Failed to parse block number: '0x4'"),
        (["-b", "99999999999999999999"], "Numerical result out of range"),
        (["-b", "\x1b[31m"], r"Failed to parse block number: '\x1b[31m'"),
        (["-m", "2", "128m"], "--memmap-on-memory takes 0 or 1"),
        (["-m", "", "128m"], "--memmap-on-memory takes 0 or 1"),
        (["-z", "Foo", "128m"], "unknown memory zone: Foo"),
        (["--node", "x", "128m"], "invalid argument of --node"),
        (["--node", "9", "-b", "4"], "on node 9"),
        (["--timeout", "0", "128m"], "invalid argument of --timeout"),
        (["--timeout", "inf", "128m"], "invalid argument of --timeout"),
        (["--retry", "-1", "128m"], "invalid argument of --retry"),
        (["128m", "128m"], "bad usage"),
        (["-b", "8"], "not on this machine: memory block 8\n"),
        (["-b", "8-99999999999"], "not on this machine: memory blocks 8-99999999999\n"),
        (["--reconfigure", "128m"], "options --enable and --reconfigure cannot be combined"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bad_input_is_told_in_a_sentence_and_changes_nothing(
    arguments: list[str], sentence: str, chmem: Command, machine: Machines
) -> None:
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "-e", *arguments)
    assert (done.status, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert conditions(root) == before


@pytest.mark.parametrize("size", ["0", "0m", "0x0g"])
def test_a_size_of_nothing_is_said_to_be_nothing(
    size: str, chmem: Command, machine: Machines
) -> None:
    done = chmem("-s", machine(s390()), "-e", size)
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == "chmem: nothing to do: a size of 0 was requested\n"


@pytest.mark.parametrize(
    "size", ["256", "256m", "256M", "0x100", "0400", "0.25g", "256MiB", "262144k", " +256m"]
)
def test_sizes_are_read_in_many_ways(size: str, chmem: Command, machine: Machines) -> None:
    root = machine(s390())
    before = conditions(root)
    assert chmem("-s", root, "-e", size).status == 0
    assert changed(before, conditions(root)) == [4, 5]


def test_a_range_beyond_the_end_is_done_as_far_as_there_is_memory(
    chmem: Command, machine: Machines
) -> None:
    root = machine(s390())
    done = chmem("-s", root, "-e", "-b", "6-9")
    assert done.status == 64
    assert "not on this machine: memory blocks 8-9\n" in done.stderr
    assert conditions(root)[7].state == "online"


@pytest.mark.parametrize(
    ("asked", "absent"),
    [
        ("2-9", "not on this machine: memory blocks 4-7\n"),
        ("2-6", "not on this machine: memory blocks 4-6\n"),
        ("5-9", "not on this machine: memory blocks 5-7\n"),
        ("3-12", "not on this machine: 5 of memory blocks 4-12\n"),
        ("7-8", "not on this machine: memory block 7\n"),
    ],
)
def test_of_a_range_with_holes_the_absent_blocks_are_named(
    asked: str, absent: str, chmem: Command, machine: Machines
) -> None:
    root = machine({**x86(), "blocks": [{"range": [0, 3]}, {"range": [8, 11]}]})
    assert absent in chmem("-s", root, "-e", "-b", asked).stderr


@pytest.mark.parametrize(
    "arguments", [["-e", "1g"], ["-d", "2g"], ["-e", "1g", "--json"], ["-e", "1g", "--dry-run"]]
)
def test_what_could_only_be_done_in_part_is_said_once(
    arguments: list[str], chmem: Command, machine: Machines
) -> None:
    done = chmem("-s", machine(x86()), *arguments)
    assert done.status == 64
    verb = "disable" if "-d" in arguments else "enable"
    assert done.stderr.splitlines() == [f"chmem: Could only {verb} 512M of memory"]


def test_that_it_became_less_than_there_is_is_said_in_one_line_at_the_end(
    chmem: Command, machine: Machines
) -> None:
    done = chmem("-s", machine(x86(faults={"online": {"5": "EIO"}})), "-e", "1g")
    said = [line for line in done.stderr.splitlines() if "ould only" in line]
    assert said == ["chmem: Could only enable 384M of memory"]


def test_too_little_to_configure_is_said_once_as_the_reference_says_it(
    chmem: Command, machine: Machines
) -> None:
    done = chmem("-s", machine(s390()), "-c", "1g")
    assert (done.status, done.stdout) == (64, "Could only configure 512M of memory\n")
    assert done.stderr == ""


def test_a_tree_that_is_read_only_is_refused(chmem: Command, tmp_path: Path) -> None:
    root = plain_tree(tmp_path, ["online", "offline"])
    state = root / f"{MEMORY}/memory1/state"
    state.chmod(0o444)
    done = chmem("-s", root, "-e", "-b", "1")
    assert done.status == 1
    assert f"cannot write to {state}: Permission denied; nothing was changed" in done.stderr
    assert state.read_text() == "offline\n"


@pytest.mark.parametrize("link", ["memory1/state", "memory1"])
def test_no_symbolic_link_is_followed_out_of_the_tree(
    link: str, chmem: Command, tmp_path: Path
) -> None:
    root = plain_tree(tmp_path / "tree", ["online", "offline"])
    outside = tmp_path / "outside"
    (root / MEMORY / link).rename(outside)
    (root / MEMORY / link).symlink_to(outside)
    done = chmem("-s", root, "-e", "-b", "1")
    assert done.status == 1
    assert "symbolic link" in done.stderr
    state = outside if outside.is_file() else outside / "state"
    assert state.read_text() == "offline\n"


def test_a_captured_tree_is_written_literally(chmem: Command, tmp_path: Path) -> None:
    root = plain_tree(tmp_path, ["online", "offline", "online"])
    assert chmem("-s", root, "-e", "-b", "1").status == 0
    assert chmem("-s", root, "-d", "-b", "2").status == 0
    states = [(root / f"{MEMORY}/memory{n}/state").read_text() for n in range(3)]
    assert states == ["online\n", "online_movable", "offline"]


@pytest.mark.parametrize("word", ["online_movable", "online_kernel", "online"])
def test_a_block_of_a_captured_tree_that_was_written_online_is_online(
    word: str, chmem: Command, tmp_path: Path
) -> None:
    root = plain_tree(tmp_path, ["online", "offline"])
    state = root / f"{MEMORY}/memory1/state"
    state.write_text(word)
    done = chmem("-s", root, "-v", "-e", "-b", "1")
    assert (done.status, done.stdout.split()[-2:]) == (0, ["already", "enabled"])
    assert state.read_text() == word


# Sequences


def test_reconfigure_is_the_five_echoes(chmem: Command, machine: Machines) -> None:
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "-v", "--reconfigure", "-m", "1", "-b", "1")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.endswith("reconfigured\n")
    assert conditions(root)[1] == Condition(1, 1, "online", "Normal")
    assert chmem("-s", root, "--reconfigure", "-m", "0", "-b", "1").status == 0
    assert conditions(root) == before


def test_reconfigure_leaves_the_state_of_a_block_as_it_was(
    chmem: Command, machine: Machines
) -> None:
    blocks = [
        {"range": [0, 1]},
        {"range": [2, 2], "state": "offline"},
        {"range": [3, 3], "config": 0},
    ]
    root = machine({**s390(), "blocks": blocks})
    assert chmem("-s", root, "--reconfigure", "-m", "on", "-b", "1-2").status == 0
    assert chmem("-s", root, "--reconfigure", "-m", "off", "-b", "3").status == 0
    after = conditions(root)
    assert after[1] == Condition(1, 1, "online", "Normal")
    assert after[2] == Condition(1, 1, "offline", None)
    assert after[3] == Condition(0, 0, "absent", None)


def test_enable_with_memmap_configures_so(chmem: Command, machine: Machines) -> None:
    root = machine(s390())
    assert chmem("-s", root, "-e", "-m", "0", "-b", "4").status == 0
    assert conditions(root)[4] == Condition(1, 0, "online", "Movable")


def test_a_zone_that_a_configured_block_turns_out_not_to_have_leaves_nothing_behind(
    chmem: Command, machine: Machines
) -> None:
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "-e", "-m", "0", "-z", "DMA", "-b", "4")
    assert done.status == 1
    assert (
        "Memory Block 4 (0x0000000020000000-0x0000000027ffffff) enable failed: Zone mismatch"
        in (done.stderr)
    )
    assert conditions(root) == before


@pytest.mark.parametrize("policy", ["online", "online_kernel", "online_movable"])
def test_a_kernel_that_is_quicker_is_no_failure(
    policy: str, chmem: Command, machine: Machines
) -> None:
    root = machine(s390(auto_online_blocks=policy))
    assert chmem("-s", root, "-e", "-b", "4").status == 0
    assert chmem("-s", root, "-e", "-z", "Movable", "-b", "5").status == 0
    after = conditions(root)
    assert after[4].state == "online"
    assert after[5] == Condition(1, 1, "online", "Movable")


def test_what_a_quicker_kernel_set_online_is_undone_too(chmem: Command, machine: Machines) -> None:
    root = machine(s390(auto_online_blocks="online_kernel", faults={"config": {"5": "EIO"}}))
    before = conditions(root)
    done = chmem("-s", root, "--all-or-nothing", "-e", "-b", "4-5")
    assert done.status == 1
    assert conditions(root) == before


def test_a_disabled_block_whose_storage_stays_is_said_how_to_go_on_with(
    chmem: Command, machine: Machines
) -> None:
    root = machine(s390(faults={"deconfig": {"3": {"errno": "EIO", "times": 1}}}))
    done = chmem("-s", root, "-v", "-d", "-b", "3")
    assert done.status == 64
    assert done.stdout.endswith(" disabled\n")
    assert "deconfigure failed: Input/output error" in done.stderr
    assert f"\nchmem: go on with chmem --deconfigure --blocks 3 --sysroot {root}\n" in done.stderr
    assert conditions(root)[3] == Condition(1, 0, "offline", None)
    assert chmem("-s", root, "-g", "-b", "3").status == 0


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
        (x86(4, 4), ["-e", "4-7"], "\nchmem: for memory block 4-7 give --blocks"),
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
    machine: Machines,
) -> None:
    done = chmem("-s", machine(description), *arguments)
    assert done.status in (1, 64)
    assert hint in done.stderr


def test_a_tree_without_the_attribute_is_said_to_be_incomplete(
    chmem: Command, tmp_path: Path
) -> None:
    memory = tmp_path / MEMORY
    (memory / "memory0").mkdir(parents=True)
    (memory / "block_size_bytes").write_text("8000000\n")
    done = chmem("-s", tmp_path, "-e", "-b", "0")
    assert done.status == 1
    missing = f"there is no {memory}/memory0/state: the block is gone, or the tree is incomplete"
    assert done.stderr.splitlines()[-1] == f"chmem: memory block 0: {missing}"


@pytest.mark.parametrize(
    ("where", "user", "said"),
    [
        ("/sys/x", 1000, "only root can change memory: run this as root (sudo /usr/bin/chmem)"),
        ("/sys/x", 0, "root may not do it either: a container or a security module forbids it"),
        ("/tmp/tree/sys/x", 1000, "the permissions of the tree forbid it"),
    ],
)
def test_what_is_forbidden_is_explained(
    where: str, user: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/chmem"])
    error = CannotWriteError(where, PermissionError(13, "Permission denied"))
    sentence = format_cannot_write(error)
    assert sentence.text == f"cannot write to {where}: Permission denied; nothing was changed"
    assert sentence.advice.startswith(said)


@pytest.mark.parametrize(("retries", "status"), [("0", 1), ("1", 1), ("2", 0)])
def test_retry_tries_again_what_is_busy(
    retries: str, status: int, chmem: Command, machine: Machines
) -> None:
    root = machine(x86(faults={"offline": {"3": {"errno": "EBUSY", "times": 2}}}))
    assert chmem("-s", root, "--retry", retries, "-d", "-b", "3").status == status


@pytest.mark.parametrize(
    ("retries", "pauses"),
    [("0", []), ("3", [0.05, 0.1, 0.2]), ("8", [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])],
)
def test_the_pause_between_two_tries_doubles_up_to_two_seconds(
    retries: str,
    pauses: list[float],
    chmem: Command,
    machine: Machines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    root = machine(x86(faults={"offline": {"3": "EBUSY"}}))
    assert chmem("-s", root, "--retry", retries, "-d", "-b", "3").status == 1
    assert slept == pytest.approx(pauses)


def test_a_kernel_that_says_again_for_ever_is_not_asked_for_ever(
    chmem: Command, machine: Machines
) -> None:
    done = chmem("-s", machine(x86(faults={"offline": {"3": "EAGAIN"}})), "--json", "-d", "-b", "3")
    (block,) = json.loads(done.stdout)["blocks"]
    assert block["steps"][0]["tries"] == 4


def test_all_or_nothing_asks_for_all_before_it_begins(chmem: Command, machine: Machines) -> None:
    root = machine(x86())
    before = conditions(root)
    for request in (["1g"], ["-b", "6-9"]):
        done = chmem("-s", root, "--all-or-nothing", "-e", *request)
        assert done.status == 1
        assert "nothing is changed" in done.stderr
        assert conditions(root) == before


def test_all_or_nothing_reaches_a_size_in_spite_of_a_busy_block(
    chmem: Command, machine: Machines
) -> None:
    root = machine(x86(faults={"offline": {"3": "EBUSY"}}))
    assert chmem("-s", root, "--all-or-nothing", "-d", "256m").status == 0
    assert [number for number, now in conditions(root).items() if now.state == "offline"] == [
        1, 2, 4, 5, 6, 7,
    ]  # fmt: skip


def test_a_node_limits_a_request(chmem: Command, machine: Machines) -> None:
    blocks = [
        {"range": [0, 3]},
        {"range": [4, 5], "state": "offline"},
        {"range": [6, 7], "state": "offline", "node": 1},
    ]
    root = machine({**x86(), "blocks": blocks})
    assert chmem("-s", root, "--node", "1", "-e", "128m").status == 0
    assert conditions(root)[6].state == "online"
    assert chmem("-s", root, "--node", "1", "-e", "-b", "0-7").status == 0
    after = conditions(root)
    assert [after[4].state, after[7].state] == ["offline", "online"]


def test_memory_to_be_configured_is_of_the_only_node(chmem: Command, machine: Machines) -> None:
    root = machine(s390())
    assert chmem("-s", root, "--node", "0", "-e", "128m").status == 0
    assert conditions(root)[4].state == "online"


@pytest.mark.parametrize(("nodes", "enabled"), [(2, []), (1, [4])])
def test_memory_to_be_configured_is_of_no_node_where_there_are_several(
    nodes: int, enabled: list[int], chmem: Command, tmp_path: Path
) -> None:
    blocks = [
        {"range": [0, 2]},
        {"range": [3, 3], "node": nodes - 1},
        {"range": [4, 7], "config": 0},
    ]
    root = static_tree.make(tmp_path, {**s390(), "blocks": blocks})
    for request in (["128m"], ["-b", "4"]):
        done = chmem("-s", root, "--dry-run", "--json", "--node", "0", "-c", *request)
        document = json.loads(done.stdout)
        assert [block["block"] for block in document["blocks"]] == enabled


# Dry run and JSON


REQUESTS = [
    ["-e", "256m"],
    ["-e", "-m", "0", "-b", "4-5"],
    ["-d", "256m"],
    ["-c", "-b", "6"],
    ["--reconfigure", "-m", "1", "-b", "0-1"],
    ["-z", "Normal", "-e", "-b", "7"],
]


@pytest.mark.parametrize("arguments", REQUESTS, ids=" ".join)
def test_a_dry_run_says_what_is_then_written(
    arguments: list[str], chmem: Command, machine: Machines
) -> None:
    root = machine(s390())
    before = conditions(root)
    dry = chmem("-s", root, "--dry-run", *arguments)
    assert conditions(root) == before
    *lines, comment = dry.stdout.splitlines()
    assert comment.startswith("# ")
    assert dry.status == 0
    planned = json.loads(chmem("-s", root, "--dry-run", "--json", *arguments).stdout)
    done = json.loads(chmem("-s", root, "--json", *arguments).stdout)
    steps = [step for block in done["blocks"] for step in block["steps"]]
    first, *writes = lines
    assert first.startswith("set -e  # ")
    assert writes == [
        f"memsim write {root} {step['path'].removeprefix(f'{root}/')} {step['value']}"
        for step in steps
    ]
    jsonschema.validate(planned, schema())
    assert planned["request"].pop("dry_run") and not done["request"].pop("dry_run")
    assert planned == done


def test_a_dry_run_knows_the_zone_that_a_block_comes_back_in(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", "s390-lpar")
    arguments = ("-s", root, "--json", "-b", "--reconfigure", "-m1", "5")
    dry = json.loads(chmem(*arguments, "--dry-run").stdout)
    done = json.loads(chmem(*arguments).stdout)
    assert dry["blocks"][0]["after"] == done["blocks"][0]["after"]
    assert dry["blocks"][0]["after"]["zone"] == "DMA"


@pytest.mark.parametrize("policy", ["offline", "online", "online_kernel", "online_movable"])
@pytest.mark.parametrize(
    "arguments",
    [["-c", "4"], ["-e", "4"], ["-e", "-z", "Movable", "5"], ["-e", "-z", "Normal", "6"]],
    ids=" ".join,
)
def test_a_dry_run_knows_what_becomes_of_a_block_that_is_added(
    policy: str, arguments: list[str], chmem: Command, machine: Machines
) -> None:
    root = machine(s390(auto_online_blocks=policy))
    words = ("-s", root, "--json", "-b", *arguments)
    (planned,) = json.loads(chmem(*words, "--dry-run").stdout)["blocks"]
    (done,) = json.loads(chmem(*words).stdout)["blocks"]
    assert planned == done


def test_a_dry_run_can_be_pasted_into_a_shell(chmem: Command, tmp_path: Path) -> None:
    root = plain_tree(tmp_path / "it's a tree", ["online", "offline", "offline"])
    script = chmem("-s", root, "--dry-run", "-e", "256m").stdout
    subprocess.run(["sh", "-e"], input=script, text=True, check=True)
    assert (root / f"{MEMORY}/memory2/state").read_text() == "online_movable\n"


def test_a_dry_run_of_nothing_is_a_comment(chmem: Command, machine: Machines) -> None:
    done = chmem("-s", machine(s390()), "--dry-run", "-v", "-e", "-b", "0-3")
    assert (done.status, done.stdout) == (0, "# nothing would be changed\n")


@pytest.mark.parametrize(
    "arguments",
    [["-c", "128m"], ["-e", "1t"], ["-e", "-b", "99"], ["-e", "-m", "1", "128m"], ["-e", "0"]],
    ids=" ".join,
)
def test_with_json_standard_output_holds_one_document_whatever_happens(
    arguments: list[str], chmem: Command, machine: Machines
) -> None:
    done = chmem("-s", machine(x86()), "-v", "--json", *arguments)
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema())
    assert document["status"] == done.status


def test_the_schema_is_one(chmem: Command) -> None:
    shown = json.loads(chmem("--json-schema").stdout)
    jsonschema.Draft202012Validator.check_schema(shown)
    assert shown == schema()


def test_progress_is_shown_on_a_terminal_when_it_takes_long(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(delays={"online": {"4": 1.5}}))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    child = pexpect.spawn(
        sys.executable, ["-m", "chmem_py", "-s", str(root), "-e", "512m"], env=environment
    )
    child.expect("memory block 4", timeout=20)
    child.expect(pexpect.EOF, timeout=20)
    child.close()
    assert child.exitstatus == 0


def test_help_names_every_option(chmem: Command) -> None:
    done: Outcome = chmem("--help")
    assert done.status == 0
    manual = (Path(__file__).parents[2] / "man/chmem.8").read_text()
    for word in done.stdout.split():
        if word.startswith("--"):
            assert word[2:].rstrip(",") in manual.replace("\\-", "-")


def test_all_that_cannot_be_had_is_refused_in_two_lines(chmem: Command, machine: Machines) -> None:
    done = chmem("-s", machine(s390()), "-e", "100t", "--all-or-nothing")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        "chmem: 100T requested, but only 512M can be enabled\n"
        "chmem: nothing is changed (--all-or-nothing)\n"
    )


def test_a_node_that_is_not_there_is_said(chmem: Command, machine: Machines) -> None:
    done = chmem("-s", machine(s390()), "-d", "128m", "--node", "7")
    assert done.status == 1
    assert "chmem: this machine has no node 7\n" in done.stderr
