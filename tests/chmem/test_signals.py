"""Ctrl-C, SIGTERM, SIGKILL, time limits and closed pipes in the middle of the work."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chmem_py.text import Text
from commands import Command, start_program, starts_a_process
from layouts import MINE, layout
from memory_hotplug import Action, Machine, Order
from memory_hotplug.attribute import MEMORY
from paused import Paused
from simulated import Condition, Make, conditions, make, online, s390, x86

HELD = 600
"""Seconds for which a delay holds a step; no test waits that long."""

STEPS: list[tuple[tuple[str, ...], list[int], str]] = [
    (("-e", "-m", "0", "-b", "4-7"), [4, 5, 6, 7], transition)
    for transition in ("config", "online")
]
STEPS += [(("-d", "-b", "0-3"), [3, 2, 1, 0], transition) for transition in ("offline", "deconfig")]
STEPS += [
    (("--reconfigure", "-m", "1", "-b", "0-3"), [0, 1, 2, 3], transition)
    for transition in ("offline", "deconfig")
]
STEPS += [(("-c", "-b", "4-7"), [4, 5, 6, 7], "config")]
"""Arguments, the blocks in the order of the work, and the step that is interrupted."""


def held_at(transition: str, block: int, **more: Any) -> dict[str, Any]:
    return {"delays": {transition: {str(block): HELD}}, **more}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("arguments", "order", "transition"), STEPS, ids=lambda value: str(value).replace(" ", "")
)
def test_a_signal_undoes_the_block_at_work_and_begins_no_further_one(
    arguments: tuple[str, ...],
    order: list[int],
    transition: str,
    number: signal.Signals,
    tmp_path: Path,
) -> None:
    first, *others = order
    root = make(tmp_path / "machine", s390(**held_at(transition, others[0])))
    before = conditions(root)
    chmem = Paused("-s", root, "--json", *arguments)
    chmem.until_it_stands_still()
    chmem.process.send_signal(number)
    out, err = chmem.finish()
    after = conditions(root)
    document = json.loads(out)
    assert chmem.process.returncode == document["status"] == 128 + number
    assert (document["outcome"], document["signal"]) == ("interrupted", number)
    assert re.search(rf"interrupted; \w+ before that: memory block {first}\n", err)
    results = {block["block"]: block["result"] for block in document["blocks"]}
    assert results == {first: "done", others[0]: "interrupted"}
    assert after[first] != before[first]
    assert [after[block] for block in others] == [before[block] for block in others]


@contextmanager
def a_signal_at(root: Path, block: int, number: int = signal.SIGINT) -> Iterator[None]:
    """Send a signal to this thread when a block is held while it goes offline."""
    here = threading.get_ident()

    def signal_when_held() -> None:
        while (root / MEMORY / f"memory{block}/state").read_text() != "going-offline\n":
            time.sleep(0.01)
        signal.pthread_kill(here, number)

    sender = threading.Thread(target=signal_when_held, daemon=True)
    sender.start()
    yield
    sender.join()


@pytest.mark.parametrize(
    ("words", "after"),
    [
        ("-d 512m", "chmem --disable 384M --force --sysroot {0}"),
        ("-d 512m --order highest", "chmem --disable 384M --order highest --force --sysroot {0}"),
        ("-d -b 0-3", "the same command"),
        ("--total 128m", "the same command"),
    ],
)
def test_after_a_signal_it_is_told_what_does_the_rest_and_what_takes_it_back(
    words: str, after: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390(4, 0, **held_at("offline", 2)))
    with a_signal_at(root, 2):
        done = chmem("-s", root, *words.split(), "--force", "--advice=always")
    undo = f"chmem --undo --sysroot {root}"
    after = after.format(root)
    assert done.stderr.splitlines()[-1] == (
        f"chmem: {after} goes on with the rest; {undo} takes back what was done"
    )
    assert len(online(root)) == 3
    assert chmem("-s", root, "--undo").status == 0
    assert len(online(root)) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_write_in_this_process_undoes_the_block_at_work(
    number: int, chmem: Command, machine: Make
) -> None:
    root = machine(s390(**held_at("offline", 2)))
    before = conditions(root)
    with a_signal_at(root, 2, number):
        done = chmem("-s", root, "--json", "-d", "-b", "1-3")
    after, document = conditions(root), json.loads(done.stdout)
    assert done.status == document["status"] == 128 + number
    assert (document["outcome"], document["signal"]) == ("interrupted", number)
    assert [block["result"] for block in document["blocks"]] == ["interrupted", "done"]
    assert [after[block] for block in (1, 2)] == [before[block] for block in (1, 2)]
    assert "interrupted; disabled before that: memory block 3\n" in done.stderr


@pytest.mark.parametrize("transition", ["config", "online"])
def test_what_would_have_to_be_done_again_to_undo_it_is_finished(
    transition: str, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390(**held_at(transition, 1)))
    before = conditions(root)
    chmem = Paused("-s", root, "--json", "--reconfigure", "-m", "1", "-b", "0-3")
    chmem.until_it_stands_still()
    chmem.process.send_signal(signal.SIGINT)
    chmem.go_on()
    out, _ = chmem.finish()
    after = conditions(root)
    document = json.loads(out)
    assert (chmem.process.returncode, document["outcome"]) == (130, "interrupted")
    assert [block["result"] for block in document["blocks"]] == ["done", "done"]
    assert after[1] == Condition(1, 1, "online", "Normal")
    assert [after[2], after[3]] == [before[2], before[3]]


def test_a_signal_between_blocks_is_heeded_before_the_next_one(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(4, 60, delays={"online": {"4": HELD, "63": HELD}}))
    chmem = Paused("-s", root, "--json", "-e", "-b", "4-63")
    chmem.until_it_stands_still()
    chmem.go_on()
    # It comes at any of the blocks, and at the latest where chmem stands still again.
    chmem.process.send_signal(signal.SIGINT)
    out, _ = chmem.finish()
    document = json.loads(out)
    assert chmem.process.returncode == 130
    online = [b for b, now in conditions(root).items() if b >= 4 and now.state == "online"]
    done = [b["block"] for b in document["blocks"] if b["result"] == "done"]
    assert online == done


def test_a_signal_that_comes_after_the_last_block_is_told(machine: Make) -> None:
    with Machine.at(machine(x86())) as found:
        work = found.change(Order(Action.ENABLE), blocks=[4])
        assert [outcome.number for outcome in work] == [4]
        how = dict.fromkeys(("verbose", "rehearsed", "persistent", "advised"), False)
        text = Text(work.tally, plain=True, said={}, **how)
        assert [*text.format_end(found, None)] == []
        (told,) = text.format_end(found, signal.SIGINT)
    assert str(told) == "interrupted; enabled before that: memory block 4"


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    delays = {"online": {"4": HELD}, "deconfig": {"4": HELD}}
    root = make(tmp_path / "machine", s390(delays=delays))
    chmem = Paused("-s", root, "-e", "-b", "4-7")
    chmem.until_it_stands_still()
    chmem.process.send_signal(signal.SIGINT)
    # Now the block is undone.
    chmem.until_it_stands_still()
    chmem.process.send_signal(signal.SIGTERM)
    _, err = chmem.finish()
    assert chmem.process.returncode == 143
    assert "ended at once" in err


@pytest.mark.parametrize("transition", ["offline", "deconfig"])
def test_a_signal_does_not_stop_what_is_being_undone(transition: str, tmp_path: Path) -> None:
    machine = s390(faults={"online": {"5": "EIO"}}, **held_at(transition, 4))
    root = make(tmp_path / "machine", machine)
    before = conditions(root)
    chmem = Paused("-s", root, "--json", "--all-or-nothing", "-e", "-b", "4-7")
    chmem.until_it_stands_still()
    chmem.process.send_signal(signal.SIGINT)
    chmem.go_on()
    out, _ = chmem.finish()
    document = json.loads(out)
    assert (chmem.process.returncode, document["outcome"]) == (130, "interrupted")
    results = [(block["block"], block["result"]) for block in document["blocks"]]
    assert results == [(4, "taken back"), (5, "failed")]
    assert conditions(root) == before


def test_all_or_nothing_takes_everything_back_on_a_signal(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390(**held_at("online", 6)))
    before = conditions(root)
    chmem = Paused("-s", root, "--all-or-nothing", "-e", "-b", "4-7")
    chmem.until_it_stands_still()
    chmem.process.send_signal(signal.SIGINT)
    chmem.finish()
    assert chmem.process.returncode == 130
    assert conditions(root) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_installed_command_in_the_middle_of_a_write(
    number: signal.Signals, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86(**held_at("offline", 1)))
    process = start_program("chmem", "-s", root, "--json", "-d", "-b", "1")
    # All readers see that this write has begun.
    state = root / MEMORY / "memory1/state"
    while state.read_text() != "going-offline\n":
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == json.loads(out)["status"] == 128 + number
    assert conditions(root)[1].state == "online"


def test_timeout_ends_an_offline_of_a_process(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(**held_at("offline", 1)))
    process = start_program("chmem", "-s", root, "--json", "--timeout", "0.2", "-d", "-b", "1")
    out, _ = process.communicate()
    (block,) = json.loads(out)["blocks"]
    assert process.returncode == 1
    assert block["error"]["errno"] == "EINTR"
    assert conditions(root)[1] == Condition(None, None, "online", "Normal")


def test_an_offline_that_takes_too_long_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(**held_at("offline", 1)))
    # A limit that none of them reaches, and the signal that comes when one does (setitimer(2)).
    chmem = Paused("-s", root, "--json", "--timeout", str(HELD), "-d", "-b", "0-3")
    chmem.until_it_stands_still()
    chmem.process.send_signal(signal.SIGALRM)
    out, err = chmem.finish()
    blocks = json.loads(out)["blocks"]
    assert chmem.process.returncode == 64
    assert [block["result"] for block in blocks] == ["done", "failed", "done", "done"]
    assert blocks[1]["error"]["errno"] == "EINTR"
    assert "Memory Block 1 (0x0000000008000000-0x000000000fffffff) disable failed" in err
    assert conditions(root)[1] == Condition(None, None, "online", "Normal")


def test_a_time_limit_concerns_nothing_but_offline(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(delays={"online": {"4": 0.5}}))
    process = start_program("chmem", "-s", root, "--timeout", "0.1", "-e", "-b", "4")
    process.communicate()
    assert process.returncode == 0
    assert conditions(root)[4].state == "online"


def test_a_reader_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    read, write = os.pipe()
    process = start_program("chmem", "-s", root, "-v", "-e", "-b", "4-7", stdout=write)
    os.close(read)
    os.close(write)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert {conditions(root)[block].state for block in range(4, 8)} == {"online"}


def test_output_that_is_lost_is_told_of_when_the_work_is_done(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    with open("/dev/full", "w") as full:
        process = start_program("chmem", "-s", root, "-v", "-e", "-b", "4-7", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert "write error: No space left on device" in err
    assert {conditions(root)[block].state for block in range(4, 8)} == {"online"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "target", "steps"),
    [
        (("-e", "-b", "8-15"), Condition(1, 1, "online", "Movable"), 16),
        (("-c", "-m", "0", "-b", "8-15"), Condition(1, 0, "offline", None), 8),
        (("-d", "-b", "0-7"), None, 16),
    ],
    ids=["enable", "configure", "disable"],
)
def test_after_a_kill_in_any_step_the_same_command_converges(
    arguments: tuple[str, ...], target: Condition | None, steps: int, tmp_path: Path
) -> None:
    for step in range(steps):
        transitions = ("config", "online", "offline", "deconfig")
        delays = {name: {str(block): 0.001 for block in range(16)} for name in transitions}
        root = make(tmp_path / str(step), s390(8, 8, delays=delays))
        killed = Paused("-s", root, *arguments)
        killed.until_it_stands_still()
        for _ in range(step):
            killed.go_on()
            killed.until_it_stands_still()
        killed.process.kill()
        killed.process.communicate()
        again = start_program("chmem", "-s", root, *arguments)
        _, err = again.communicate()
        assert again.returncode == 0, err
        now = conditions(root)
        for block in range(8, 16) if target else range(8):
            if target:
                assert now[block] == target
            else:
                # Offline, though the one at work may have kept its storage.
                assert now[block].state != "online"


IN_THE_LAYOUT = """
import os, signal, sys

number = int(sys.argv.pop(1))
signal.signal(signal.SIGVTALRM, lambda *_: os.kill(os.getpid(), number))

def opens(event, words):
    if event == "open" and str(words[0]).endswith(".toml"):
        # Of the processor's time: it is at the same line on a busy machine.
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.005)

sys.addaudithook(opens)
from chmem_py.cli import main
main()
"""
"""A chmem that gets a signal a little after it has begun to read a layout."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_reading_of_a_long_layout(number: int, machine: Make) -> None:
    """Which would say at its end that the layout is broken."""
    starts_a_process()
    root = machine(s390(used=128 << 20))
    before = conditions(root)
    layout(root, "[[memory]]\nnode = 0\n" * 100_000 + "wrong", MINE)
    words = [sys.executable, "-c", IN_THE_LAYOUT, str(number), "-s", str(root), "-d", "-b", "3"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        128 + number,
        "chmem: interrupted; disabled before that: nothing\n",
    )
    assert conditions(root) == before
