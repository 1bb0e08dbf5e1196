"""What chmem writes, offers and says of itself, called as functions."""

import errno
import io
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click import Context
from click.shell_completion import ShellComplete

from chmem_py.advice import _on_online, format_cannot_write, format_left, words_of
from chmem_py.cli import chmem as command
from chmem_py.command import _machine
from chmem_py.document import failure
from chmem_py.holding import _named, say_held, say_left
from chmem_py.install import uninstall
from chmem_py.interrupts import Interrupts
from chmem_py.layouts import save
from chmem_py.output import Output
from chmem_py.request import parse
from chmem_py.selection import select_nothing
from chmem_py.tally import Tally
from commands import Command
from hotplug_cli.getopt import GIVEN
from hotplug_cli.message import Sentence
from hotplug_cli.program import CommandError
from memory_hotplug import Machine
from memory_hotplug.block import MemoryBlock, State, Zone
from memory_hotplug.boot_files import UNIT
from memory_hotplug.causes import Cause
from memory_hotplug.errors import BlockError, CannotWriteError, HeldError, StuckError
from memory_hotplug.hold import Held, Holder, hold
from memory_hotplug.journal import HALF_DONE
from memory_hotplug.outcome import Outcome, Result
from memory_hotplug.plan import Action, Change, Plan, order_to
from memory_hotplug.rehearsal import Rehearsal
from memory_hotplug.simulated import SimulatedTree
from memory_hotplug.tree import Tree
from memsim import directory
from simulated import Make, conditions, half_done, s390, write
from static_tree import FIRMWARE, MEMORY, PARAMETERS, plain

# Output


class Lost(io.StringIO):
    """A standard output that takes nothing."""

    def __init__(self, number: int, *, late: bool) -> None:
        super().__init__()
        self.error = OSError(number, errno.errorcode[number])
        self.late = late

    def write(self, text: str) -> int:
        if self.late:
            return super().write(text)
        raise self.error

    def flush(self) -> None:
        if self.late:
            raise self.error


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("number", "status", "after"),
    [(errno.ENOSPC, 0, 1), (errno.ENOSPC, 64, 64), (errno.EPIPE, 0, 0), (errno.EPIPE, 64, 64)],
)
def test_output_that_cannot_be_written_is_told_once_and_python_does_not_try_again(
    number: int,
    status: int,
    after: int,
    late: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output()
    lost = Lost(number, late=late)
    monkeypatch.setattr(sys, "stdout", lost)
    output.write(["one", Sentence("said"), "two"])
    assert (sys.stdout is lost) is late
    assert output.finish(status) == after
    assert sys.stdout is not lost
    assert sys.stdout.name == "/dev/null"
    sys.stdout.write("nothing happens")
    sys.stdout.close()
    told = "" if number == errno.EPIPE else f"chmem: write error: {errno.errorcode[number]}\n"
    assert capsys.readouterr().err == f"chmem: said\n{told}"


SILENT = [
    # own, reference, always -> written at once
    (False, False, False, False),
    (True, False, False, True),
    (False, True, False, True),
    (False, False, True, True),
]


@pytest.mark.parametrize(("own", "reference", "always", "at_once"), SILENT)
@pytest.mark.parametrize("status", [0, 1])
def test_without_advice_a_failure_is_not_silent(
    own: bool,
    reference: bool,
    always: bool,
    at_once: bool,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output()
    output.advice, output.own = False, own
    output.say(Sentence("first", advice="do this", reference=reference, always=always))
    output.say(Sentence("second"))
    said = "chmem: first\n" if at_once else ""
    if own:
        said += "chmem: second\n"
    assert capsys.readouterr().err == said
    assert output.finish(status) == status
    assert capsys.readouterr().err == ("" if at_once or not status else "chmem: first\n")
    assert output.messages == ["first", "do this", "second"]


def test_what_was_written_to_standard_output_is_not_silence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output()
    output.advice = False
    output.write(["a line"])
    output.say(Sentence("kept"))
    assert output.finish(1) == 1
    assert capsys.readouterr() == ("a line\n", "")


# Words


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (Holder(None, None), "another process"),
        (Holder(7, None), "process 7"),
        (Holder(7, 0.0), "process 7 (since 1970-01-01 00:00:00)"),
        (Holder(7, 86400.0 * 365), "process 7 (since 1971-01-01 00:00:00)"),
        (Holder(7, 86400.0 * 365 + 3600 * 5 + 62), "process 7 (since 05:01:02)"),
    ],
)
def test_a_holder_is_named_with_the_day_if_it_was_another(
    holder: Holder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    real = time.gmtime
    monkeypatch.setattr("time.localtime", lambda when=86400.0 * 365 + 80000: real(when))
    if holder.since == 86400.0 * 365:
        name = "process 7 (since 00:00:00)"
    assert _named(holder) == name


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EROFS, False), (errno.EACCES, True), (errno.EPERM, True)]
)
def test_a_tree_that_cannot_be_written_to_is_told_with_what_helps(
    number: int, advice: bool
) -> None:
    sentence = format_cannot_write(CannotWriteError("/r/sys/x", OSError(number, "no")))
    assert sentence.text == "cannot write to /r/sys/x: no; nothing was changed"
    assert bool(sentence.advice) is advice
    assert "None" not in "".join(sentence.lines)
    assert "XX" not in "".join(sentence.lines)


def test_a_document_of_a_failure_says_that_nothing_was_changed() -> None:
    document = json.loads(failure(1, ["why"]))
    assert document["bytes_changed"] == 0
    assert document["status"] == 1
    assert document["messages"] == ["why"]
    assert document["blocks"] == []


LARGE = "9" * 30


@pytest.mark.parametrize(
    ("text", "blocks", "said"),
    [
        ("x-5", True, ["Failed to parse start: 'x'"]),
        ("5-x", True, ["Failed to parse end: 'x'"]),
        (" x", True, ["Failed to parse block number: 'x'"]),
        (f"1-{LARGE}", True, [f"Failed to parse end: '{LARGE}': Numerical result out of range"]),
        (
            "18446744073709551616",
            True,
            ["Failed to parse block number: '18446744073709551616': Numerical result out of range"],
        ),
        ("17e", False, ["Failed to parse size: '17e': Numerical result out of range"]),
        ("1x", False, ["Failed to parse size: '1x': Invalid argument"]),
        (
            "0x0-0xfffffffffffffffffff",
            False,
            ["Failed to parse end address: '0xfffffffffffffffffff': Numerical result out of range"],
        ),
        (
            "17592186044415m",
            False,
            [
                "Size must be aligned to memory block size (128M)",
                f"the nearest size is {17592186044416 - 128}M",
            ],
        ),
        (
            "1m",
            False,
            ["Size must be aligned to memory block size (128M)", "the nearest size is 128M"],
        ),
        (
            "0x8000000-0x7ffffff",
            False,
            ["Invalid range: 0x8000000-0x7ffffff"],
        ),
        (
            "0x8000001-0x8000001",
            False,
            [
                "Start address and (end address + 1) must be aligned to memory block size (128M)",
                "the nearest range is 0x8000000-0xfffffff",
            ],
        ),
    ],
)
def test_a_wrong_request_is_told_to_the_word(text: str, blocks: bool, said: list[str]) -> None:
    with pytest.raises(CommandError) as caught:
        parse(text, 128 << 20, blocks=blocks)
    lines = [line for sentence in caught.value.sentences for line in sentence.lines]
    assert lines[: len(said)] == said


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("+007", 7, 7),
        (" 5-\t+6", 5, 6),
        ("18446744073709551615", 18446744073709551615, 18446744073709551615),
        ("000000000000000000000000000012", 12, 12),
        ("+00000000000000000000000000012", 12, 12),
    ],
)
def test_numbers_of_blocks_are_read_as_strtoull_does(text: str, first: int, last: int) -> None:
    found = parse(text, 128 << 20, blocks=True)
    assert (found.first, found.last, found.size) == (first, last, None)


def test_addresses_become_numbers_of_blocks() -> None:
    found = parse("0x8000000-0x00017ffffff", 128 << 20, blocks=False)
    assert (found.first, found.last) == (1, 2)
    assert isinstance(found.first, int)


# What became of blocks


def condition(
    state: State,
    configured: bool | None = True,
    memmap: bool | None = False,
    zone: Zone | None = None,
) -> MemoryBlock:
    zones = (zone,) if zone else None
    return MemoryBlock(5, state, zones=zones, configured=configured, memmap_on_memory=memmap)


class Here:
    """A tree, as far as a command line names it."""

    def __init__(self, *, this: bool) -> None:
        self.root, self.is_this_machine = "/a tree", this


@pytest.mark.parametrize(
    ("before", "after", "text", "words"),
    [
        (
            condition(State.ONLINE, zone=Zone.MOVABLE),
            condition(State.OFFLINE, configured=False, memmap=True),
            "memory block 5 is left offline, deconfigured, memmap_on_memory 1",
            "--enable --blocks 5 --memmap-on-memory 0 --zone Movable",
        ),
        (
            condition(State.ONLINE, memmap=True),
            condition(State.OFFLINE),
            "memory block 5 is left offline, configured, memmap_on_memory 0",
            "--enable --blocks 5",
        ),
        (
            condition(State.ONLINE, None, None, Zone.NONE),
            condition(State.OFFLINE, None, None),
            "memory block 5 is left offline",
            "--enable --blocks 5",
        ),
        (
            condition(State.OFFLINE),
            condition(State.OFFLINE, configured=False),
            "memory block 5 is left offline, deconfigured, memmap_on_memory 0",
            None,
        ),
        (
            condition(State.OFFLINE),
            condition(State.ONLINE),
            "memory block 5 is left online, configured, memmap_on_memory 0",
            None,
        ),
        (
            condition(State.ONLINE),
            condition(State.ONLINE, memmap=True),
            "memory block 5 is left online, configured, memmap_on_memory 1",
            None,
        ),
    ],
)
@pytest.mark.parametrize("this", [True, False])
def test_a_block_that_is_left_is_named_with_the_command_that_restores_it(
    before: MemoryBlock, after: MemoryBlock, text: str, words: str | None, this: bool
) -> None:
    outcome = Outcome(Result.FAILED, Change(before, order_to(before), Plan()), after)
    sentence = format_left(outcome, cast(Tree, Here(this=this)))
    assert sentence.text == text
    where = "" if this else " --sysroot '/a tree'"
    restores = f"chmem {words}{where} restores it once the cause is fixed" if words else ""
    assert sentence.advice == restores


@pytest.fixture
def tally(machine: Make) -> Iterator[Tally]:
    with Machine.at(machine(s390())) as opened:
        request = replace(parse("5", opened.block_size, blocks=True), action=Action.ENABLE)
        yield Tally(select_nothing(request, opened))


ZONES = (Zone.NORMAL, Zone.MOVABLE)


@pytest.mark.parametrize(("zone", "name"), [(None, "unknown"), (Zone.NORMAL, "Normal")])
def test_a_block_that_came_online_by_itself_is_told_with_its_zone(
    zone: Zone | None, name: str, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tally, "set_online", {zone: [5]})
    (said,) = _on_online(tally, cast(Machine, SimpleNamespace(auto_online_blocks="online")))
    assert said.text == (
        f"memory block 5: set online by the kernel itself, in zone {name} "
        "(auto_online_blocks is online)"
    )


@pytest.mark.parametrize(
    ("error", "reason", "advice"),
    [
        (
            BlockError(5, "offline", Cause.WRONG_ZONE, zone=Zone.DMA, zones=ZONES),
            "Zone mismatch",
            "zone DMA was asked for, but it is in zone Normal, Movable",
        ),
        (
            BlockError(5, "online", Cause.ZONE_NOT_VALID, zone=Zone.DMA),
            "Zone mismatch",
            "zone DMA was asked for, but it can go to none",
        ),
        (
            BlockError(5, "offline", Cause.WRONG_ZONE, zones=ZONES),
            "Zone mismatch",
            "zone none was asked for, but it is in zone Normal, Movable",
        ),
        (
            StuckError(BlockError(5, "online", Cause.BUSY, errno=errno.EBUSY)),
            "Device or resource busy",
            "",
        ),
        (
            BlockError(5, "online", Cause.NO_ATTRIBUTE, errno=errno.ENOENT, where="/r/sys/x"),
            "No such file or directory",
            "there is no /r/sys/x: the block is gone, or the tree is incomplete",
        ),
    ],
)
def test_an_error_of_a_block_is_put_into_words(
    error: BlockError, reason: str, advice: str, tally: Tally
) -> None:
    assert words_of(error, tally) == (reason, advice)


def test_the_words_for_struct_pages_say_how_much(tally: Tally) -> None:
    error = BlockError(5, "configure", Cause.NO_STRUCT_PAGES, errno=errno.ENOMEM)
    assert "2M" in words_of(error, tally).advice


@pytest.mark.parametrize("user", [0, 1000])
def test_who_may_not_write_is_told_which_command_to_run(
    user: int, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setattr(sys, "argv", ["/opt/chmem"])
    error = BlockError(5, "online", Cause.DENIED, errno=errno.EACCES, where="/sys/x")
    assert ("sudo /opt/chmem" in words_of(error, tally).advice) is bool(user)


def left_half_done(machine: Make, **more: Any) -> Path:
    """A machine of which a killed process has left block 1 offline."""
    root = machine(s390(**more))
    write(root, f"{MEMORY}/memory1/state", "offline")
    (root / HALF_DONE).write_text(half_done(1, pid=77))
    return root


def test_what_a_killed_process_left_is_brought_back_and_told(chmem: Command, machine: Make) -> None:
    root = left_half_done(machine)
    done = chmem("-s", root, "-b", "-e", "4")
    assert done.status == 0
    assert done.stderr == (
        "chmem: process 77 ended while it changed memory block 1 (--reconfigure); the block was "
        "restored: online, configured, memmap_on_memory 0\n"
    )
    assert conditions(root)[1].state == "online"
    assert not (root / HALF_DONE).exists()


def test_what_cannot_be_brought_back_is_told_each_time(chmem: Command, machine: Make) -> None:
    root = left_half_done(machine, faults={"online": {"1": "EIO"}})
    for _ in range(2):
        done = chmem("-s", root, "-b", "-e", "4")
        assert done.status == 0
        assert done.stderr == (
            "chmem: memory block 1 online failed while undoing: Input/output error\n"
            "chmem: memory block 1 is left offline, configured, memmap_on_memory 0\n"
            f"chmem: chmem --enable --blocks 1 --zone Normal --sysroot {root} restores it once the "
            "cause is fixed\n"
        )


def test_a_dry_run_says_what_a_run_would_bring_back_and_waits_for_nobody(
    chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = left_half_done(machine)
    words = ("-s", root, "-b", "-e", "4", "--dry-run")
    assert chmem(*words).stderr == (
        "chmem: process 77 ended while it changed memory block 1 (--reconfigure); without "
        "--dry-run the block is restored first: online, configured, memmap_on_memory 0\n"
    )
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    with hold(str(root), this_machine=False):
        assert chmem(*words).status == 0
    assert slept == []


@pytest.mark.parametrize("this", [True, False])
def test_a_dry_run_looks_where_this_machine_is_held(
    this: bool, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def held(root: str, *, this_machine: bool, timeout: float | None) -> Held:
        asked.append((root, this_machine, timeout))
        raise HeldError(7, None)

    monkeypatch.setattr("chmem_py.holding.hold", held)
    with Machine.at(machine(s390())) as opened:
        opened.tree.is_this_machine = this
        say_left(opened, Output())
        opened.tree.is_this_machine = False
        assert asked == [(opened.tree.root, this, 0)]


class Bar:
    """In the place of the progress bar."""

    def __init__(self, blocks: int, block_size: int) -> None:
        bars.append(self)
        self.said: list[object] = [blocks, block_size]

    def start(self) -> None:
        self.said.append("start")

    def begin(self, number: int) -> None:
        self.said.append(f"block {number}")

    def done(self, blocks: int) -> None:
        self.said.append(blocks)

    def stop(self) -> None:
        self.said.append("stop")

    def abandon(self) -> bytes:
        return b"cleared"


bars: list[Bar] = []


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> None:
    bars.clear()
    monkeypatch.setattr("chmem_py.run.Progress", Bar)


@pytest.mark.usefixtures("bar")
def test_progress_follows_the_blocks(chmem: Command, machine: Make) -> None:
    root = machine(s390(faults={"config": {"5": "EIO"}}))
    assert chmem("-s", root, "-e", "-b", "3-6").status == 64
    (one,) = bars
    assert one.said == [
        *(4, 128 << 20, "start", "block 3", 1, "block 4", 2, "block 5", 2, "block 6", 3, "stop")
    ]


@pytest.mark.usefixtures("bar")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_write_stops_the_work(
    number: int, chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[bytes] = []
    interrupts: list[Interrupts] = []
    enter, change = Interrupts.__enter__, SimulatedTree.write

    def entered(self: Interrupts) -> Interrupts:
        interrupts.append(self)
        return enter(self)

    def interrupted(tree: SimulatedTree, path: str, word: str) -> None:
        if path.endswith("memory2/config"):
            words.append(interrupts[0].last_words())
            os.kill(os.getpid(), number)
            for _ in range(1000):
                pass
        change(tree, path, word)

    monkeypatch.setattr(Interrupts, "__enter__", entered)
    monkeypatch.setattr(SimulatedTree, "write", interrupted)
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "--json", "-d", "-b", "1-3")
    after = conditions(root)
    document = json.loads(done.stdout)
    assert (done.status, document["status"]) == (128 + number, 128 + number)
    assert (document["outcome"], document["signal"]) == ("interrupted", number)
    assert [block["result"] for block in document["blocks"]] == ["done", "interrupted"]
    assert after[2] == before[2]
    assert after[3] == before[3]
    assert "interrupted; disabled before that: memory block 1" in done.stderr
    assert words[0] == b"cleared"


def test_an_interrupted_dry_run_says_that_nothing_was_changed(
    chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Rehearsal.write

    def interrupted(rehearsal: Rehearsal, path: str, word: str) -> None:
        if path.endswith("memory2/config"):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass
        change(rehearsal, path, word)

    monkeypatch.setattr(Rehearsal, "write", interrupted)
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "--dry-run", "-d", "-b", "1-3")
    assert (done.status, conditions(root)) == (143, before)
    assert "interrupted; disabled before that: nothing" in done.stderr


def test_a_signal_during_the_wait_for_another_chmem_ends_it(
    chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(_: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    root = machine(s390())
    monkeypatch.setattr("time.sleep", signalled)
    with hold(str(root), this_machine=False):
        done = chmem("-s", root, "--json", "-e", "-b", "4")
    document = json.loads(done.stdout)
    assert (done.status, document["status"], document["signal"]) == (143, 143, 15)
    assert document["outcome"] == "interrupted"
    assert document["request"]["text"] == "4"
    assert document["blocks"] == []
    assert done.stderr == "chmem: interrupted; enabled before that: nothing\n"
    assert conditions(root)[4].state == "absent"


def test_the_text_says_what_could_not_be_undone(chmem: Command, machine: Make) -> None:
    faults = {"offline": {"2": "EBUSY"}, "online": {"1": "EIO"}}
    root = machine(s390(faults=faults))
    done = chmem("-s", root, "-v", "-d", "--all-or-nothing", "-b", "1-2")
    assert done.status == 64
    assert (
        "chmem: Memory Block 1 (0x0000000008000000-0x000000000fffffff) enable failed "
        "while undoing: Input/output error\n" in done.stderr
    )
    document = json.loads(chmem("-s", root, "--json", "-e", "-b", "1").stdout)
    assert document["blocks"][0]["error"]["errno"] == "EIO"


def test_a_document_is_indented_by_two(chmem: Command, machine: Make) -> None:
    done = chmem("-s", machine(s390()), "--json", "-e", "-b", "4")
    assert done.stdout.startswith('{\n  "schema_version": 1,\n  "request": {\n    "action"')


# Help and completion


def test_help_ends_with_zones_operands_and_an_example(chmem: Command) -> None:
    done = chmem("--help")
    assert done.status == 0
    assert done.stdout.endswith(
        """
Supported zones:
  DMA, DMA32, Normal, Highmem, Movable, Device

A SIZE is in MiB, or with a suffix: 512m, 4g, 1t. A RANGE is
0x<start>-0x<end>, a BLOCKRANGE the number of a block, or <first>-<last>.

Example (for more see chmem(8)):
  chmem --enable 4g --zone Movable --dry-run
"""
    )


@pytest.mark.parametrize(
    ("words", "typed", "offered"),
    [
        (["-e", "-b"], "", [str(number) for number in range(8)]),
        (["-e", "-b"], "3", ["3"]),
        (["-e", "-b"], "5-", ["5-5", "5-6", "5-7"]),
        (["-e", "-b"], "x-7", ["x-7"]),
        (["-e", "-b"], "9", []),
        (["-e"], "", []),
        (["--policy"], "auto_o", ["auto_online="]),
        (["--policy"], "o", ["online_policy="]),
        (["--policy", "auto_online=online"], "auto_movable_n", ["auto_movable_numa_aware="]),
    ],
)
def test_what_is_offered_fits_the_options_before(
    words: list[str], typed: str, offered: list[str], machine: Make
) -> None:
    root = machine(s390())
    shell = ShellComplete(command, {}, "chmem", "_CHMEM_COMPLETE")
    found = shell.get_completions(["-s", str(root), *words], typed)
    assert [item.value for item in found] == offered
    status = {"0": "online", "3": "online", "7": "disabled"}
    for item in found:
        if item.value in status:
            assert item.help == status[item.value]


def test_the_nodes_of_the_machine_are_offered(machine: Make) -> None:
    root = machine("x86-two-nodes")
    shell = ShellComplete(command, {}, "chmem", "_CHMEM_COMPLETE")
    for typed, offered in (("", ["0", "1"]), ("1", ["1"]), ("2", [])):
        found = shell.get_completions(["-s", str(root), "-d", "--node"], typed)
        assert [item.value for item in found] == offered


@pytest.mark.parametrize("action", ["--apply", "--save"])
def test_a_shell_is_asked_for_the_file_of_a_layout(action: str) -> None:
    shell = ShellComplete(command, {}, "chmem", "_CHMEM_COMPLETE")
    (item,) = shell.get_completions([action], "lay")
    assert (item.type, item.value) == ("file", "lay")


def test_nothing_is_offered_where_there_is_no_machine(tmp_path: Path) -> None:
    shell = ShellComplete(command, {}, "chmem", "_CHMEM_COMPLETE")
    assert shell.get_completions(["-s", str(tmp_path), "--node"], "") == []
    assert shell.get_completions(["-s", str(tmp_path), "-e", "-b"], "") == []


def test_a_rehearsal_reads_all_blocks_as_they_would_be(machine: Make) -> None:
    with Machine.at(machine(s390())) as opened:
        rehearsal = Rehearsal(opened)
        before = opened.tree.read_each(str(MEMORY), [2, 3, 4], "state")
        assert [str(text) for text in before[:2]] == ["b'online\\n'"] * 2
        assert rehearsal.read_each(str(MEMORY), [2, 3], "state") == before[:2]
        rehearsal.write(f"{MEMORY}/memory3/state", "offline")
        online, offline, gone = rehearsal.read_each(str(MEMORY), [2, 3, 4], "state")
        assert (online, offline) == (b"online\n", b"offline\n")
        assert isinstance(gone, FileNotFoundError)
        assert [block.state for block in Machine(rehearsal).blocks()][2:4] == [
            State.ONLINE,
            State.OFFLINE,
        ]


def test_a_block_that_is_configured_in_a_rehearsal_appears_offline(machine: Make) -> None:
    with Machine.at(machine(s390())) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{FIRMWARE}/memory5/config", "1")
        paths = [f"{MEMORY}/memory5/{name}" for name in ("state", "valid_zones")]
        shown = list(map(rehearsal.read, paths))
        directory.write(opened.tree.root, f"{FIRMWARE}/memory5/config", b"1")
        assert shown == list(map(opened.tree.read, paths))
        rehearsal = Rehearsal(opened)
        for number, word in ((3, "offline"), (5, "online"), (5, "offline")):
            rehearsal.write(f"{MEMORY}/memory{number}/state", word)
            opened.tree.write(f"{MEMORY}/memory{number}/state", word)
            for path in (f"{MEMORY}/memory{number}/state", f"{MEMORY}/memory{number}/valid_zones"):
                assert rehearsal.read(path) == opened.tree.read(path), path


def test_online_is_the_first_of_the_zones_in_a_rehearsal(tmp_path: Path) -> None:
    with Machine.at(plain(tmp_path, ["offline"] * 3, "Movable Normal")) as opened:
        rehearsal = Rehearsal(opened)
        for number, word in enumerate(("online", "online_movable", "online_kernel")):
            rehearsal.write(f"{MEMORY}/memory{number}/state", word)
        zones = [rehearsal.read(f"{MEMORY}/memory{n}/valid_zones") for n in range(3)]
        assert zones == [b"Movable\n", b"Movable\n", b"Normal\n"]


def test_a_block_of_several_zones_cannot_go_offline_in_a_rehearsal(tmp_path: Path) -> None:
    with Machine.at(plain(tmp_path, ["online"], "none")) as opened:
        path = f"{MEMORY}/memory0/state"
        with pytest.raises(OSError, match="Invalid argument") as caught:
            Rehearsal(opened).write(path, "offline")
    assert caught.value.filename == path


@pytest.mark.parametrize("parameter", [None, "Y", "N"])
def test_memmap_on_memory_is_refused_in_a_rehearsal_where_the_kernel_has_it_not(
    parameter: str | None, tmp_path: Path
) -> None:
    root = plain(tmp_path, ["offline"])
    if parameter:
        (root / PARAMETERS).mkdir(parents=True)
        (root / PARAMETERS / "memmap_on_memory").write_text(f"{parameter}\n")
    with Machine.at(root) as opened:
        rehearsal, path = Rehearsal(opened), f"{FIRMWARE}/memory0/memmap_on_memory"
        if parameter == "N":
            with pytest.raises(OSError, match="Operation not supported") as caught:
                rehearsal.write(path, "1")
            assert caught.value.filename == path
        else:
            rehearsal.write(path, "1")
            assert rehearsal.read(path) == b"1\n"


def test_online_kernel_is_zone_normal_in_a_rehearsal_where_only_movable_is_shown(
    tmp_path: Path,
) -> None:
    with Machine.at(plain(tmp_path, ["offline"], "Movable")) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{MEMORY}/memory0/state", "online_kernel")
        assert rehearsal.read(f"{MEMORY}/memory0/valid_zones") == b"Normal\n"


def test_a_block_that_is_deconfigured_in_a_rehearsal_is_gone(machine: Make) -> None:
    with Machine.at(machine(s390())) as opened:
        rehearsal = Rehearsal(opened)
        rehearsal.write(f"{MEMORY}/memory3/state", "offline")
        rehearsal.write(f"{FIRMWARE}/memory3/config", "0")
        for name in ("state", "valid_zones"):
            with pytest.raises(FileNotFoundError) as caught:
                rehearsal.read(f"{MEMORY}/memory3/{name}")
            assert caught.value.strerror == "No such file or directory"
            assert caught.value.filename == f"{MEMORY}/memory3/{name}"


@pytest.mark.parametrize(
    ("given", "own"),
    [([], False), (["-d", "--json", "--advice=never"], False), (["--timeout=5"], True)],
)
def test_texts_are_written_where_util_linux_has_none_for_the_options(
    given: list[str], own: bool
) -> None:
    ctx = Context(command, obj=Output())
    ctx.meta[GIVEN] = given
    assert command.prepare(ctx).own is own


# Errors before there is anything to do


def test_an_error_without_a_context_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    command.write_error(CommandError(Sentence("nothing works")), None)
    assert capsys.readouterr() == ("", "chmem: nothing works\n")


@pytest.mark.parametrize(
    ("where", "root", "name"),
    [("/layout.toml", "/", "layout.toml"), ("a/b.toml", "a", "b.toml"), ("b.toml", ".", "b.toml")],
)
def test_a_layout_is_saved_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, machine: Make, where: str, root: str, name: str
) -> None:
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(
        "chmem_py.layouts.replace_file", lambda root, path, _data: written.append((root, path))
    )
    with Machine.at(machine(s390())) as opened:
        assert save(opened, where, Output()) == 0
    assert written == [(root, name)]


@pytest.mark.parametrize("this_machine", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_systemd_has_to_read_its_units_again_after_one_of_this_machine_was_removed(
    capsys: pytest.CaptureFixture[str], machine: Make, this_machine: bool, dry_run: bool
) -> None:
    with Machine.at(machine(s390())) as opened:
        tree = opened.tree
        unit = Path(tree.root, UNIT)
        unit.parent.mkdir(parents=True)
        unit.write_text("")
        tree.is_this_machine = this_machine
        assert uninstall(tree, Output(), dry_run=dry_run) == 0
    assert unit.exists() is dry_run
    told = "systemctl daemon-reload" in capsys.readouterr().err
    assert told is (this_machine and not dry_run)


@pytest.mark.parametrize("name", ["treeX", "a tree"])
def test_paths_of_a_dry_run_begin_with_the_root(
    name: str, machine: Make, chmem: Command, tmp_path: Path
) -> None:
    root = plain(tmp_path / name, ["online", "offline"])
    words = ["-s", root, "-e", "-b", "1", "--dry-run"]
    path = f"{root}/{MEMORY}/memory1/state"
    script = chmem(*words).stdout.splitlines()
    assert script[1] == f"echo online_movable > {shlex.quote(path)}"
    (step,) = json.loads(chmem(*words, "--json").stdout)["blocks"][0]["steps"]
    assert step["path"] == path


def test_a_second_signal_has_nothing_to_say_where_nothing_is_shown() -> None:
    assert Interrupts(None).last_words() == b""


def test_without_a_root_the_machine_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def noted(root: str) -> Tree:
        opened.append(root)
        raise OSError

    monkeypatch.setattr("memory_hotplug.machine.open_tree", noted)
    with pytest.raises(OSError):
        Machine.at()
    with pytest.raises(OSError):
        _machine(Context(command))
    assert opened == ["/", "/"]


@pytest.mark.parametrize(
    ("pid", "since", "said"),
    [
        (7, 0.0, f"process 7 (since {time.strftime('%F %T', time.localtime(0))})"),
        (7, None, "process 7"),
        (None, None, "another process"),
    ],
)
def test_who_holds_the_machine_is_said(pid: int | None, since: float | None, said: str) -> None:
    output = Output()
    say_held(HeldError(pid, since), output)
    changing = "is still changing the memory of this machine; nothing was changed"
    assert output.messages == [f"{said} {changing}"]
