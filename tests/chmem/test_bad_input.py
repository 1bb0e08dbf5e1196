"""Bad input, and trees that cannot be written to: a sentence says why, and nothing is changed."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

import static_tree
from chmem_py.advice import format_cannot_write
from commands import Command, Outcome
from memory_hotplug import Machine
from memory_hotplug.errors import CannotWriteError
from simulated import Make, conditions, s390
from static_tree import MEMORY


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["1.5"], "Failed to parse size: '1.5': Invalid argument"),
        (["17e"], "Failed to parse size: '17e': Numerical result out of range"),
        (["17592186044416"], "Failed to parse size: '17592186044416': Numerical result"),
        (["9" * 5000], "Numerical result out of range"),
        (["128q"], "Failed to parse size: '128q': Invalid argument"),
        (["1x"], "Failed to parse size: '1x': Invalid argument"),
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
        (["-b", "x-5"], "Failed to parse start: 'x'\n"),
        (["-b", "5-x"], "Failed to parse end: 'x'\n"),
        (["-b", " x"], "Failed to parse block number: 'x'\n"),
        (["-b", f"1-{'9' * 30}"], f"end: '{'9' * 30}': Numerical result out of range\n"),
        (["-b", f"{2**64}"], f"block number: '{2**64}': Numerical result out of range\n"),
        (["-b", "\x1b[31m"], r"Failed to parse block number: '\x1b[31m'"),
        (["-m", "2", "128m"], "--memmap-on-memory takes 0 or 1"),
        (["-m", "", "128m"], "--memmap-on-memory takes 0 or 1"),
        (["-z", "Foo", "128m"], "unknown memory zone: Foo"),
        (["--node", "x", "128m"], "invalid argument of --node"),
        (["--node", "9", "-b", "4"], "on node 9"),
        (["--timeout", "0", "128m"], "invalid argument of --timeout"),
        (["--timeout", "0.0009", "128m"], "invalid argument of --timeout"),
        (["--timeout", "1000001", "128m"], "invalid argument of --timeout"),
        (["--timeout", "inf", "128m"], "invalid argument of --timeout"),
        (["--retry", "-1", "128m"], "invalid argument of --retry"),
        (["--retry", "1000000000", "128m"], "invalid argument of --retry"),
        (["128m", "128m"], "bad usage"),
        (["-b", "8"], "not on this machine: memory block 8\n"),
        (["-b", "8-99999999999"], "not on this machine: memory blocks 8-99999999999\n"),
        (["--reconfigure", "128m"], "options --enable and --reconfigure cannot be combined"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bad_input_is_told_in_a_sentence_and_changes_nothing(
    arguments: list[str], sentence: str, chmem: Command, machine: Make
) -> None:
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "-e", *arguments)
    assert (done.status, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert conditions(root) == before


@pytest.mark.parametrize("size", ["0", "0m", "0x0g"])
def test_size_0_is_nothing_to_do(size: str, chmem: Command, machine: Make) -> None:
    done = chmem("-s", machine(s390()), "-e", size)
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr == "chmem: nothing to do: a size of 0 was requested\n"


def test_empty_sysroot_is_an_error_and_not_this_machine(chmem: Command) -> None:
    done = chmem("-s", "", "--dry-run", "-e", "1g")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == ("chmem: option --sysroot needs a directory\nchmem: / is this machine\n")


def test_read_only_tree_is_refused_before_anything_is_written(
    chmem: Command, tmp_path: Path
) -> None:
    root = static_tree.plain(tmp_path, ["online", "offline"])
    state = root / f"{MEMORY}/memory1/state"
    state.chmod(0o444)
    done = chmem("-s", root, "-e", "-b", "1")
    assert done.status == 1
    assert f"cannot write to {state}: Permission denied; nothing was changed" in done.stderr
    assert state.read_text() == "offline\n"


def test_missing_state_attribute_is_named(chmem: Command, tmp_path: Path) -> None:
    memory = tmp_path / MEMORY
    (memory / "memory0").mkdir(parents=True)
    (memory / "block_size_bytes").write_text("8000000\n")
    done = chmem("-s", tmp_path, "-e", "-b", "0")
    assert done.status == 1
    missing = f"there is no {memory}/memory0/state: the block is gone, or the tree is incomplete"
    assert done.stderr.splitlines()[-1] == f"chmem: memory block 0: {missing}"


@pytest.mark.parametrize("link", ["memory1/state", "memory1"])
def test_symbolic_link_out_of_the_tree_is_not_followed(
    link: str, chmem: Command, tmp_path: Path
) -> None:
    root = static_tree.plain(tmp_path / "tree", ["online", "offline"])
    outside = tmp_path / "outside"
    (root / MEMORY / link).rename(outside)
    (root / MEMORY / link).symlink_to(outside)
    done = chmem("-s", root, "-e", "-b", "1")
    assert done.status == 1
    assert "symbolic link" in done.stderr
    state = outside if outside.is_file() else outside / "state"
    assert state.read_text() == "offline\n"


def test_a_fifo_in_the_place_of_an_attribute_is_named(chmem: Command, tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path / "tree", ["online", "online"])
    state = root / MEMORY / "memory1/state"
    state.unlink()
    os.mkfifo(state)
    done = chmem("-s", root, "-d", "-b", "1")
    assert done.status == 1
    assert f"{root}/{MEMORY}/memory1/state is not a regular file" in done.stderr


@pytest.mark.parametrize(
    ("where", "user", "said"),
    [
        ("/sys/x", 1000, "only root can change memory: run this as root (sudo /usr/bin/chmem)"),
        ("/sys/x", 0, "root may not do it either: a container or a security module forbids it"),
        ("/tmp/tree/sys/x", 1000, "the permissions of the tree forbid it"),
    ],
)
def test_permission_denied_is_explained_by_tree_and_user(
    where: str, user: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/chmem"])
    error = CannotWriteError(where, PermissionError(13, "Permission denied"))
    sentence = format_cannot_write(error)
    assert sentence.text == f"cannot write to {where}: Permission denied; nothing was changed"
    assert sentence.advice.startswith(said)


@pytest.mark.parametrize("spoilt", ["machine.json", "live.json", "blocks", "lock"])
def test_simulated_machine_without_its_records_is_not_written_to(
    spoilt: str, chmem: Command, lpar: Path
) -> None:
    (lpar / ".memsim" / spoilt).unlink()
    done = chmem("-s", lpar, "-b", "-c", "16")
    assert done.status == 1
    assert f"records are damaged (.memsim/{spoilt}: " in done.stderr
    assert not (lpar / MEMORY / "memory16").exists()
    assert len(list(Machine.at(lpar).blocks())) == 32


@pytest.mark.parametrize("name", ["pool", "online_types", "faults", "delays"])
def test_simulated_machine_with_wrong_records_is_not_written_to(
    name: str, chmem: Command, lpar: Path
) -> None:
    live = lpar / ".memsim/live.json"
    live.write_text(json.dumps({**json.loads(live.read_text()), name: "x"}))
    done = chmem("-s", lpar, "-b", "-c", "16")
    assert done.status == 1
    assert "records are damaged (.memsim/live.json: " in done.stderr


def test_help_names_every_option(chmem: Command) -> None:
    done: Outcome = chmem("--help")
    assert done.status == 0
    manual = (Path(__file__).parents[2] / "man/chmem.8").read_text()
    for word in re.split(r"[\s|]", done.stdout):
        if word.startswith("--"):
            assert word[2:].rstrip(",") in manual.replace("\\-", "-")
