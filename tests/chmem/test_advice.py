"""Advice is written on a terminal or when asked for; else standard error is util-linux's text."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import static_tree
from chmem_py.advice import format_advice, format_cannot_write, format_left
from chmem_py.command_lines import command
from chmem_py.request import parse
from commands import Command
from memory_hotplug import Machine
from memory_hotplug.block import State
from memory_hotplug.change.outcome import Outcome, Result, Write
from memory_hotplug.change.plan import NEEDED, Action, Change, Order, Plan, order_to
from memory_hotplug.errors import CannotWriteError
from memory_hotplug.request.selection import select_nothing
from memory_hotplug.request.tally import Tally
from simulated import conditions, make, s390, x86
from terminal import Terminal, clean_environment
from told import said_in

BUSY = {"offline": {"3": "EBUSY"}}
BLOCK_3 = "Memory Block 3 (0x0000000018000000-0x000000001fffffff)"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No terminal, and nobody asks for advice."""
    monkeypatch.delenv("CHMEM_ADVICE")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("description", "arguments", "text"),
    [
        (x86(faults=BUSY), ["-d", "-b", "3"], f"{BLOCK_3} disable failed: Device or resource busy"),
        (s390(), ["-d", "-z", "Movable", "-b", "3"], f"{BLOCK_3} disable failed: Zone mismatch"),
        (x86(), ["-e", "1g"], "Could only enable 512M of memory"),
        (x86(4, 0), ["-e", "1g"], "Could only enable 0B of memory"),
        (x86(4, 0), ["--advice=never", "-e", "1g"], "Could only enable 0B of memory"),
        (x86(4, 10), ["-e", "4096"], "Could only enable 1.3G of memory"),
        (x86(), ["-e", "100m"], "Size must be aligned to memory block size (128M)"),
        (x86(), ["-e", "-b", "5-4"], "Invalid range: 5-4"),
        (x86(), ["-e", "4-7"], "Invalid start address format: 4"),
        (x86(), ["-z", "Foo", "-e", "1g"], "unknown memory zone: Foo\nTry"),
        (x86(), ["4"], "bad usage\nTry"),
    ],
)
def test_away_from_a_terminal_standard_error_is_the_text_of_util_linux(
    description: dict[str, Any], arguments: list[str], text: str, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", description), *arguments)
    text = text.replace("Try", "Try 'chmem --help' for more information.")
    assert done.status != 0
    assert done.stderr == f"chmem: {text}\n"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-b", "-e", "99"], "not on this machine: memory block 99"),
        (["-s", "", "-e", "1g"], "option --sysroot needs a directory"),
        (["-e", "-m", "2", "-b", "4"], "invalid argument of --memmap-on-memory: '2'"),
    ],
)
def test_where_util_linux_would_fail_silently_a_sentence_says_why(
    arguments: list[str], sentence: str, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", s390()), *arguments)
    assert (done.status, done.stdout, done.stderr) == (1, "", f"chmem: {sentence}\n")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], False),
        (["--json", "--advice=never"], False),
        (["--timeout=5"], True),
        (["--timeout", "5"], True),
    ],
)
def test_without_advice_a_success_is_silent_but_with_options_of_our_own(
    options: list[str], told: bool, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", s390()), *options, "-e", "0")
    said = "chmem: nothing to do: a size of 0 was requested\n" if told else ""
    assert (done.status, done.stderr) == (0, said)


@pytest.mark.usefixtures("quiet")
def test_of_what_util_linux_does_not_have_the_messages_are_written_without_advice(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86(5, faults=BUSY))
    done = chmem("-s", root, "--all-or-nothing", "-d", "-b", "3-4")
    assert done.stderr == (
        f"chmem: {BLOCK_3} disable failed: Device or resource busy\n"
        "chmem: Memory Block 4 (0x0000000020000000-0x0000000027ffffff) taken back\n"
    )


@pytest.mark.parametrize(
    ("variable", "option", "advised"),
    [
        ("always", [], True),
        ("never", [], False),
        ("auto", [], False),
        ("nonsense", [], False),
        ("never", ["--advice=always"], True),
        ("always", ["--advice", "never"], False),
        ("always", ["--advice=auto"], False),
        ("never", ["--advice=never", "--advice=always"], True),
    ],
)
def test_advice_is_asked_for_by_an_option_or_a_variable(
    variable: str,
    option: list[str],
    advised: bool,
    chmem: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHMEM_ADVICE", variable)
    root = make(tmp_path / "machine", x86(faults=BUSY))
    done = chmem("-s", root, *option, "-d", "-b", "3")
    assert ("it is in zone Normal, not Movable" in done.stderr) is advised
    wrong = chmem("-s", root, *option, "-d", "-b", "3", "4")
    assert ("give one SIZE, RANGE or BLOCKRANGE" in wrong.stderr) is advised


def test_another_word_for_advice_is_refused_with_those_that_there_are(
    chmem: Command, tmp_path: Path
) -> None:
    done = chmem("--advice=often", "-e", "1g")
    assert done.status == 1
    assert done.stderr == (
        "chmem: invalid argument of --advice: 'often'\n"
        "chmem: --advice takes auto, always or never\n"
    )


def test_on_a_terminal_chmem_writes_advice(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(faults=BUSY))
    words = ("chmem", "-s", root, "-d", "-b", "3")
    terminal = Terminal(*words, columns=200, environment=clean_environment())
    assert terminal.finish() == 1
    assert any("it is in zone Normal, not Movable" in line for line in terminal.text())


@pytest.mark.usefixtures("quiet")
def test_what_the_document_says_is_not_repeated_on_standard_error(
    chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", x86()), "--json", "-b", "-e", "99")
    assert (done.status, done.stderr) == (1, "")
    assert said_in(json.loads(done.stdout)) == ["not on this machine: memory block 99"]


@pytest.mark.usefixtures("quiet")
def test_the_document_has_the_advice_though_standard_error_has_not(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86(faults=BUSY))
    done = chmem("-s", root, "--json", "-d", "-b", "3")
    assert done.stderr == f"chmem: {BLOCK_3} disable failed: Device or resource busy\n"
    _, advice = said_in(json.loads(done.stdout))
    assert advice.startswith("memory block 3: it is in zone Normal, not Movable")


@pytest.mark.usefixtures("quiet")
def test_that_a_block_could_not_be_brought_back_is_always_said(
    chmem: Command, tmp_path: Path
) -> None:
    faults = {"online": {"4": "EIO"}, "deconfig": {"4": "EBUSY"}}
    done = chmem("-s", make(tmp_path / "machine", s390(faults=faults)), "-e", "-b", "4")
    assert "memory block 4 is left offline, configured" in done.stderr


# What is told is what is so


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("blocks", "zone", "sentence"),
    [
        ("120-121", "Normal", "memory blocks 120-121: online already, in zone Movable and not"),
        ("119", "Movable", "memory block 119: online already, in zone Normal and not Movable"),
    ],
)
def test_a_block_that_is_online_in_another_zone_is_said_to_be(
    blocks: str, zone: str, sentence: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", "x86-two-nodes")
    before = conditions(root)
    done = chmem("-s", root, "-b", "-e", "-z", zone, blocks)
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr.startswith(f"chmem: {sentence}")
    document = json.loads(chmem("-s", root, "-b", "-e", "-z", zone, blocks, "--json").stdout)
    assert said_in(document)[0].startswith(sentence)
    assert conditions(root) == before


@pytest.mark.usefixtures("quiet")
def test_a_block_that_is_online_in_the_zone_asked_for_is_no_news(
    chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", "x86-two-nodes")
    assert chmem("-s", root, "-b", "-e", "-z", "Movable", "120").stderr == ""


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("policy", "arguments", "sentence"),
    [
        ("online", ["-e", "-b", "19"], "memory block 19: set online by the kernel itself, in zone"),
        ("online_kernel", ["-e", "-b", "17-18"], "memory blocks 17-18: set online by the kernel"),
        ("online_movable", ["-e", "-b", "17"], ""),
        ("online", ["-e", "-z", "Movable", "-b", "18"], ""),
        ("online_movable", ["-c", "-v", "-b", "16"], "memory block 16: set online by the kernel"),
        ("offline", ["-c", "-b", "16"], ""),
        ("offline", ["-e", "-z", "Normal", "-b", "16"], ""),
    ],
)
def test_a_block_that_the_kernel_itself_set_online_is_said_to_be(
    policy: str, arguments: list[str], sentence: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390(16, 16, auto_online_blocks=policy))
    done = chmem("-s", root, *arguments)
    assert done.status == 0
    if not sentence:
        assert done.stderr == ""
    else:
        assert done.stderr.startswith(f"chmem: {sentence}")
        assert done.stderr.endswith(f"(auto_online_blocks is {policy})\n")


def test_why_a_block_that_is_not_removable_stays_is_said(chmem: Command, tmp_path: Path) -> None:
    blocks = [{"range": [0, 3], "removable": 0}]
    root = make(tmp_path / "machine", {**x86(), "blocks": blocks, "faults": BUSY})
    done = chmem("-s", root, "-d", "-b", "3")
    assert "the kernel says that it is not removable (lsmem -o BLOCK,REMOVABLE)" in done.stderr


@pytest.mark.parametrize(
    ("parameter", "sentence"),
    [
        ("Y", "with -m 1 they are in the block itself"),
        ("N", "with the kernel parameter memory_hotplug.memmap_on_memory=1 and -m 1 they would be"),
        (None, "with the kernel parameter memory_hotplug.memmap_on_memory=1 and -m 1 they would"),
    ],
)
def test_memmap_on_memory_is_offered_only_where_the_kernel_has_it(
    parameter: str | None, sentence: str, chmem: Command, tmp_path: Path
) -> None:
    machine = s390(2, 8) | {"memmap_param": parameter, "faults": {"config": {"5": "ENOMEM"}}}
    root = make(tmp_path / "machine", machine)
    done = chmem("-s", root, "-e", "-b", "5", "-m", "0")
    assert done.status == 1
    assert sentence in done.stderr
    assert "struct pages (2M)" in done.stderr


def test_a_zone_where_a_block_can_go_to_none_is_told(chmem: Command, tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path, ["offline"], "")
    done = chmem("-s", root, "-e", "-z", "DMA", "-b", "0")
    assert "zone DMA was asked for, but it can go to none\n" in done.stderr


def test_a_block_that_the_kernel_set_online_where_no_zones_are_shown_is_in_zone_unknown(
    tmp_path: Path,
) -> None:
    with Machine.at(make(tmp_path / "machine", s390())) as machine:
        before = machine.block(5, NEEDED)
        enable = Change(before, order_to(before), Plan())
        after = before._replace(state=State.ONLINE, configured=True, zones=None)
        configured = Write("configure", "", "1", None, happened=True, undoing=False)
        enabling = Order(Action.ENABLE)
        request = parse("5", machine.block_size, blocks=True)._replace(order=enabling)
        tally = Tally(select_nothing(request, machine))
        tally.add(Outcome(Result.DONE, enable, after, (configured,)))
        (said,) = format_advice(tally, machine)
    assert said.text.startswith("memory block 5: set online by the kernel itself, in zone unknown")


def test_a_block_left_offline_that_showed_no_zone_is_restored_into_any(tmp_path: Path) -> None:
    with Machine.at(make(tmp_path / "machine", x86())) as machine:
        before = machine.block(3, NEEDED)._replace(zones=None)
        change = Change(before, order_to(before), Plan())
        left = Outcome(Result.FAILED, change, before._replace(state=State.OFFLINE))
        said = format_left(left, machine.tree)
    assert said.text == "memory block 3 is left offline"
    assert said.advice.startswith("chmem --enable --blocks 3 --sysroot ")


@pytest.mark.parametrize(
    ("this_machine", "where"), [(True, ""), (False, " --sysroot '{tmp_path}/a machine'")]
)
def test_a_command_that_is_advised_names_the_root_of_another_machine(
    this_machine: bool, where: str, tmp_path: Path
) -> None:
    with Machine.at(make(tmp_path / "a machine", s390())) as machine:
        machine.tree.is_this_machine = this_machine
        where = where.format(tmp_path=tmp_path)
        assert command("--undo", machine.tree) == f"chmem --undo{where}"


@pytest.mark.parametrize(
    ("started", "said"),
    [
        ("/opt/tools/chmem", "/opt/tools/chmem"),
        ("/opt/my tools/chmem", "'/opt/my tools/chmem'"),
        ("/opt/chmem_py/__main__.py", f"{sys.executable} -m chmem_py"),
    ],
)
def test_who_is_not_root_is_told_to_run_the_program_that_is_running(
    started: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # sudo has a PATH of its own, in which chmem may be util-linux's.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", [started])
    denied = CannotWriteError("/sys/x", PermissionError(13, "Permission denied"))
    assert format_cannot_write(denied).advice.endswith(f"run this as root (sudo {said})")


def test_nothing_to_disable_on_a_machine_with_only_offline_memory_is_said(
    chmem: Command, tmp_path: Path
) -> None:
    blocks = [{"range": [0, 3], "state": "offline"}]
    root = make(tmp_path / "machine", {**x86(), "blocks": blocks})
    done = chmem("-s", root, "-d", "128m")
    assert (done.status, done.stderr.count("no memory block is online")) == (1, 1)
