"""What is done to a block: configure, online, offline, deconfigure, and tries again."""

import json
import signal
from pathlib import Path

import pytest

import static_tree
from commands import Command, cells
from memory_hotplug import Machine, State
from memsim import directory
from memsim.machine import ENDLESS
from simulated import Condition, Make, conditions, make, s390, write, x86
from static_tree import MEMORY
from terminal import Terminal
from told import said_in


def test_reconfigure_is_the_five_echoes(chmem: Command, machine: Make) -> None:
    root = machine(s390())
    before = conditions(root)
    done = chmem("-s", root, "-v", "--reconfigure", "-m", "1", "-b", "1")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.endswith("reconfigured\n")
    assert conditions(root)[1] == Condition(1, 1, "online", "Normal")
    assert chmem("-s", root, "--reconfigure", "-m", "0", "-b", "1").status == 0
    assert conditions(root) == before


def test_reconfigure_leaves_the_state_of_a_block_as_it_was(chmem: Command, machine: Make) -> None:
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


def test_reconfigure_keeps_the_zone_and_takes_none(chmem: Command, lpar: Path) -> None:
    done = chmem("-s", lpar, "-b", "--reconfigure", "-m", "1", "5", "-z", "Movable")
    assert done.stderr == "chmem: --zone means nothing to --reconfigure\n"
    assert done.status == 1


def test_reconfigure_leaves_an_offline_block_offline_under_auto_online_blocks(
    chmem: Command, lpar: Path
) -> None:
    assert chmem("-s", lpar, "-b", "-c", "16").status == 0
    write(lpar, f"{MEMORY}/auto_online_blocks", "online")
    assert chmem("-s", lpar, "-b", "--reconfigure", "-m", "0", "16").status == 0
    block = Machine.at(lpar).block(16)
    assert (block.state, block.memmap_on_memory) == (State.OFFLINE, False)


def test_reconfigure_that_ends_in_another_zone_says_so(chmem: Command, lpar: Path) -> None:
    done = chmem("-s", lpar, "-b", "--reconfigure", "-m", "1", "15", "--json")
    sentence = "memory block 15 came back in zone Normal; it was in DMA"
    assert (done.status, done.stderr) == (0, f"chmem: {sentence}\n")
    document = json.loads(done.stdout)
    assert said_in(document) == [sentence]
    assert document["blocks"][0]["after"]["zone"] == "Normal"


def test_enable_with_memmap_on_memory_configures_the_block_so(
    chmem: Command, machine: Make
) -> None:
    root = machine(s390())
    assert chmem("-s", root, "-e", "-m", "0", "-b", "4").status == 0
    assert conditions(root)[4] == Condition(1, 0, "online", "Movable")


def test_zone_mismatch_after_configure_deconfigures_the_block_again(
    chmem: Command, machine: Make
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
def test_auto_online_blocks_that_is_quicker_is_no_failure(
    policy: str, chmem: Command, machine: Make
) -> None:
    root = machine(s390(auto_online_blocks=policy))
    assert chmem("-s", root, "-e", "-b", "4").status == 0
    assert chmem("-s", root, "-e", "-z", "Movable", "-b", "5").status == 0
    after = conditions(root)
    assert after[4].state == "online"
    assert after[5] == Condition(1, 1, "online", "Movable")


def test_all_or_nothing_undoes_what_auto_online_blocks_set_online(
    chmem: Command, machine: Make
) -> None:
    root = machine(s390(auto_online_blocks="online_kernel", faults={"config": {"5": "EIO"}}))
    before = conditions(root)
    done = chmem("-s", root, "--all-or-nothing", "-e", "-b", "4-5")
    assert done.status == 1
    assert conditions(root) == before


def test_timeout_holds_for_an_offline_on_the_way_to_another_zone(
    chmem: Command, lpar: Path
) -> None:
    write(lpar, f"{MEMORY}/auto_online_blocks", "online_kernel")
    directory.Directory(lpar).change(lambda kernel: kernel.set_delay("offline", 16, 600))
    done = chmem("-s", lpar, "-b", "-e", "16", "-z", "Movable", "--timeout", "0.3")
    assert done.status == 64
    assert "memory block 16 is left online" in done.stderr
    assert "Interrupted system call" in done.stderr


@pytest.mark.parametrize(("retries", "status"), [("0", 1), ("1", 1), ("2", 0)])
def test_retry_tries_again_what_is_busy(
    retries: str, status: int, chmem: Command, machine: Make
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
    machine: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    root = machine(x86(faults={"offline": {"3": "EBUSY"}}))
    assert chmem("-s", root, "--retry", retries, "-d", "-b", "3").status == 1
    assert slept == pytest.approx(pauses)


@pytest.mark.parametrize(("retries", "tries"), [("0", 4), ("2", 4), ("5", 6)])
def test_eagain_is_tried_again_three_times_or_as_often_as_asked(
    retries: str, tries: int, chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    root = machine(x86(faults={"offline": {"3": "EAGAIN"}}))
    done = chmem("-s", root, "--json", "--retry", retries, "-d", "-b", "3")
    (block,) = json.loads(done.stdout)["blocks"]
    assert block["steps"][0]["tries"] == tries


def test_captured_tree_is_written_literally(chmem: Command, tmp_path: Path) -> None:
    root = static_tree.plain(tmp_path, ["online", "offline", "online"])
    assert chmem("-s", root, "-e", "-b", "1").status == 0
    assert chmem("-s", root, "-d", "-b", "2").status == 0
    states = [(root / f"{MEMORY}/memory{n}/state").read_text() for n in range(3)]
    assert states == ["online\n", "online_movable", "offline"]


def test_progress_on_a_terminal_counts_the_blocks_done_and_goes_at_a_second_signal(
    tmp_path: Path,
) -> None:
    delays = {transition: {"6": 600} for transition in ("online", "deconfig")}
    root = make(tmp_path / "machine", s390(faults={"config": {"4": "EIO"}}, delays=delays))
    terminal = Terminal("chmem", "-s", root, "-e", "-m", "0", "-b", "4-7", columns=100)
    # Block 6 is shown before it is changed; from its storage on, there is something to undo.
    storage = root / "sys/firmware/memory/memory6/config"
    terminal.read_until(lambda: storage.read_text() == "1\n" and terminal.shows("block 6")())
    assert any("1 of 4 blocks" in line and "128M of 512M" in line for line in terminal.text())

    def ended() -> bool:
        # Not by a key: the terminal would throw away what has been written and not been read.
        terminal.process.kill(signal.SIGINT)
        return terminal.shows("ended at once")()

    terminal.read_until(ended)
    assert b"\x1b[?25h\r\r\nchmem: ended at once" in terminal.written
    assert terminal.finish() == 130


def test_progress_says_what_an_offline_without_end_waits_for(tmp_path: Path) -> None:
    root = make(tmp_path / "machine", x86(faults={"offline": {"2": ENDLESS}}))
    terminal = Terminal("chmem", "-s", root, "-d", "-b", "2-3", columns=80)
    terminal.read_until(terminal.shows("memory block 2: moving its pages, "))
    terminal.process.kill(signal.SIGINT)
    assert terminal.finish() == 130
    assert (root / MEMORY / "memory2/state").read_text() == "online\n"


@pytest.mark.parametrize("word", ["online_movable", "online_kernel"])
def test_captured_tree_block_that_chmem_wrote_online_counts_as_online(
    word: str, chmem: Command, lsmem: Command, tmp_path: Path
) -> None:
    root = static_tree.make(tmp_path / "tree", x86())
    static_tree.write(root / MEMORY / "memory4/state", word)
    done = chmem("-s", root, "-v", "-b", "-e", "4")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.endswith("already enabled\n")
    assert (root / MEMORY / "memory4/state").read_text().strip() == word
    assert cells(lsmem, root, "STATE")[4] == "online"
