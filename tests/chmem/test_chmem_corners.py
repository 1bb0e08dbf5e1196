"""Corners in which chmem must neither change too much nor claim too much."""

import json
import re
from pathlib import Path

import pytest

import static_tree
from commands import Command, cells, run_program
from memory_hotplug import Machine, State
from memsim import directory
from memsim.sysfs import MEMORY
from simulated import make, s390, write, x86


def state(root: Path, number: int) -> State | None:
    return Machine.at(root).block(number).state


def test_a_reconfigured_block_that_was_offline_stays_so_though_new_blocks_come_online(
    chmem: Command, lpar: Path
) -> None:
    assert chmem("-s", lpar, "-b", "-c", "16").status == 0
    write(lpar, f"{MEMORY}/auto_online_blocks", "online")
    assert chmem("-s", lpar, "-b", "--reconfigure", "-m", "0", "16").status == 0
    block = Machine.at(lpar).block(16)
    assert (block.state, block.memmap_on_memory) == (State.OFFLINE, False)


def test_a_block_that_came_back_in_another_zone_is_told_of(chmem: Command, lpar: Path) -> None:
    done = chmem("-s", lpar, "-b", "--reconfigure", "-m", "1", "15", "--json")
    sentence = "memory block 15 came back in zone Normal; it was in DMA"
    assert (done.status, done.stderr) == (0, f"chmem: {sentence}\n")
    document = json.loads(done.stdout)
    assert document["messages"] == [sentence]
    assert document["blocks"][0]["after"]["zone"] == "Normal"


def test_the_time_limit_holds_for_an_offline_on_the_way_to_another_zone(
    chmem: Command, lpar: Path
) -> None:
    write(lpar, f"{MEMORY}/auto_online_blocks", "online_kernel")
    directory.Directory(lpar).change(lambda kernel: kernel.set_delay("offline", 16, 600))
    done = chmem("-s", lpar, "-b", "-e", "16", "-z", "Movable", "--timeout", "0.3")
    assert done.status == 64
    assert "memory block 16 is left online" in done.stderr
    assert "Interrupted system call" in done.stderr


@pytest.mark.parametrize("spoilt", ["machine.json", "live.json", "blocks", "lock"])
def test_a_simulated_machine_without_its_records_is_not_written_to(
    spoilt: str, chmem: Command, lpar: Path
) -> None:
    (lpar / ".memsim" / spoilt).unlink()
    done = chmem("-s", lpar, "-b", "-c", "16")
    assert done.status == 1
    assert f"records are damaged (.memsim/{spoilt}: " in done.stderr
    assert not (lpar / MEMORY / "memory16").exists()
    assert len(list(Machine.at(lpar).blocks())) == 32


@pytest.mark.parametrize("name", ["pool", "online_types", "faults", "delays"])
def test_records_that_are_json_but_wrong_are_damaged_too(
    name: str, chmem: Command, lpar: Path
) -> None:
    live = lpar / ".memsim/live.json"
    live.write_text(json.dumps({**json.loads(live.read_text()), name: "x"}))
    done = chmem("-s", lpar, "-b", "-c", "16")
    assert done.status == 1
    assert "records are damaged (.memsim/live.json: " in done.stderr


def test_online_memory_that_is_lost_is_said_how_to_have_back(chmem: Command, lpar: Path) -> None:
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


def test_what_is_offline_but_still_configured_is_told_of(chmem: Command, lpar: Path) -> None:
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


def test_of_many_ways_to_go_on_each_is_a_command(chmem: Command, tmp_path: Path) -> None:
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


def test_a_dry_run_shows_no_write_that_would_be_refused(
    chmem: Command, tmp_path: Path, lpar: Path
) -> None:
    make(tmp_path / "zvm", "s390-zvm")
    done = chmem("-s", tmp_path / "zvm", "--dry-run", "-b", "-c", "-m", "1", "20")
    assert done.status == 1
    assert "echo" not in done.stdout
    config = lpar / "sys/firmware/memory/memory17/config"
    config.rename(tmp_path / "outside")
    config.symlink_to(tmp_path / "outside")
    done = chmem("-s", lpar, "--dry-run", "-b", "-c", "17")
    assert done.status == 1
    assert "echo" not in done.stdout


def test_an_empty_sysroot_is_not_this_machine(chmem: Command) -> None:
    done = chmem("-s", "", "--dry-run", "-e", "1g")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == ("chmem: option --sysroot needs a directory\nchmem: / is this machine\n")


def test_a_tree_that_cannot_be_written_to_is_told_of_in_the_document(
    chmem: Command, lpar: Path
) -> None:
    (lpar / "sys/firmware/memory/memory16/config").chmod(0o444)
    done = chmem("-s", lpar, "-b", "-c", "16", "--json")
    document = json.loads(done.stdout)
    assert (done.status, document["outcome"], document["blocks"]) == (1, "failed", [])
    message, advice = document["messages"]
    assert advice == "the permissions of the tree forbid it"
    assert message.startswith(f"cannot write to {lpar}/sys/firmware/memory/memory16/config: ")


def test_reconfigure_keeps_the_zone_and_takes_none(chmem: Command, lpar: Path) -> None:
    done = chmem("-s", lpar, "-b", "--reconfigure", "-m", "1", "5", "-z", "Movable")
    assert done.stderr == "chmem: options --reconfigure and --zone cannot be combined\n"
    assert done.status == 1


def test_a_number_of_thousands_of_digits_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text(f'{{"block_size": {"9" * 5000}}}')
    done = run_program("memsim", "create", tmp_path / "m", "--from", tmp_path / "machine.json")
    assert done.returncode == 1
    assert done.stderr.endswith("machine.json: expected JSON, not something else\n")


def test_a_machine_is_not_mounted_over_itself(lpar: Path) -> None:
    for point in (lpar, lpar / "sys"):
        done = run_program("memsim", "mount", lpar, point)
        assert done.returncode == 1
        assert "the machine's own directory cannot be mounted on" in done.stderr


@pytest.mark.parametrize("word", ["online_movable", "online_kernel"])
def test_what_chmem_wrote_to_a_plain_file_counts_as_online(
    word: str, chmem: Command, lsmem: Command, tmp_path: Path
) -> None:
    root = static_tree.make(tmp_path / "tree", x86())
    static_tree.write(root / MEMORY / "memory4/state", word)
    done = chmem("-s", root, "-v", "-b", "-e", "4")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.endswith("already enabled\n")
    assert (root / MEMORY / "memory4/state").read_text().strip() == word
    assert cells(lsmem, root, "STATE")[4] == "online"
