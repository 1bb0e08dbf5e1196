"""chmem looks before it takes memory away."""

import json
from pathlib import Path

import pytest

from commands import Command
from layouts import MINE, layout
from memory_hotplug import Machine
from memory_hotplug.block import State
from simulated import Make, conditions, make, online, s390, x86
from told import said_in

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def tree(machine: Make) -> Path:
    """4 GiB online in blocks of 128 MiB, of which 2 GiB are in use, and 1 GiB standby."""
    return machine(s390(first=32, standby=8, used=2 * GIB))


def test_more_than_can_go_is_refused_and_what_can_go_is_offered(tree: Path, chmem: Command) -> None:
    before = conditions(tree)
    done = chmem("-s", tree, "-d", "3g")
    # 4032 MiB without struct pages, 1984 of them free: T + 5 % of (4032 - T) may not be more.
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        "chmem: 2G is in use: 1.8G can be set offline, 3G was requested\n"
        f"chmem: chmem --disable 1792M --sysroot {tree} sets that much offline; "
        "--force takes what the kernel gives\n"
    )
    assert conditions(tree) == before
    assert chmem("-s", tree, "-d", "1792m").status == 0
    assert len(online(tree)) == 32 - 14
    # Now nothing more can go.
    done = chmem("-s", tree, "-d", "128m", "--advice=never")
    assert (done.status, len(online(tree))) == (1, 18)
    assert done.stderr == "chmem: 2G is in use: nothing can be set offline, 128M was requested\n"
    done = chmem("-s", tree, "-d", "128m")
    assert done.stderr.splitlines()[1:] == ["chmem: --force takes what the kernel gives"]
    # What is offline already takes nothing away.
    with Machine.at(tree) as machine:
        offline = [one.number for one in machine.blocks() if one.state is not State.ONLINE][:14]
    done = chmem("-s", tree, "-d", "-b", f"{offline[0]}-{offline[-1]}")
    assert (offline[-1] - offline[0], done.status) == (13, 0), done


def test_the_size_that_was_asked_for_is_told_where_the_machine_has_less(
    tree: Path, chmem: Command
) -> None:
    done = chmem("-s", tree, "-d", "1t", "--advice=never")
    assert done.stderr == "chmem: 2G is in use: 1.8G can be set offline, 1T was requested\n"
    # Of a range only the blocks that are online count.
    assert chmem("-s", tree, "-d", "-b", "30-31").status == 0
    done = chmem("-s", tree, "-d", "-b", "8-31", "--advice=never")
    assert done.stderr == "chmem: 2G is in use: 1.5G can be set offline, 2816M was requested\n"


@pytest.mark.parametrize(
    "words",
    [
        ["-d", "1t"],
        ["-d", "-b", "8-31"],
        ["-d", "0x40000000-0xffffffff"],
        ["-d", "3g", "--all-or-nothing"],
        ["--total", "1g"],
        ["-d", "3g", "--dry-run"],
        ["-d", "3g", "--zone", "Normal", "--node", "0"],
        ["-d", "1g", "--keep-free", "1g"],
        ["-d", "128m", "--keep-free", "5g"],
        ["-d", "256m", "--keep-free", "1855m"],
        ["--reconfigure", "-m", "1", "-b", "16", "--keep-free", "1900m"],
    ],
)
def test_every_way_to_take_memory_away_is_refused(
    words: list[str], tree: Path, chmem: Command
) -> None:
    before = conditions(tree)
    done = chmem("-s", tree, *words, "--advice=never")
    assert done.status == 1
    assert done.stderr.startswith("chmem: 2G is in use: ")
    assert done.stdout == ""
    assert conditions(tree) == before


@pytest.mark.parametrize(
    ("words", "status", "left"),
    [
        (["-d", "3g", "--force"], 64, 17),
        (["-d", "-b", "8-31", "--force"], 64, 17),
        (["-d", "1g", "--keep-free", "900m"], 0, 24),
        (["-d", "128m", "--keep-free", "1856m"], 0, 31),
        (["-d", "1920m", "--keep-free", "0"], 0, 17),
        (["--reconfigure", "-m", "1", "-b", "8-31"], 0, 32),
    ],
)
def test_memory_that_can_go_is_set_offline(
    words: list[str], status: int, left: int, tree: Path, chmem: Command
) -> None:
    done = chmem("-s", tree, *words)
    assert (done.status, len(online(tree))) == (status, left)


def test_the_offered_command_keeps_the_zone_and_the_node(machine: Make, chmem: Command) -> None:
    root = machine(x86(online=32, used=2 * GIB))
    done = chmem("-s", root, "-d", "4g", "--node", "0", "--zone", "Normal", "--advice=always")
    offered = f"chmem --disable 1792M --node 0 --zone Normal --sysroot {root} sets that much"
    assert offered in done.stderr


def test_the_document_says_why_no_memory_was_taken(tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "-d", "3g", "--json", "--keep-free", "128m")
    report = json.loads(done.stdout)
    assert (report["status"], report["outcome"], report["blocks"]) == (1, "failed", [])
    assert report["request"]["keep_free"] == 128 * MIB
    assert report["request"]["force"] is False
    assert said_in(report)[0] == "2G is in use: 1.8G can be set offline, 3G was requested"


@pytest.mark.parametrize("text", ["much", "-1g", "", "1x"])
def test_keep_free_takes_a_size(text: str, tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "-d", "1g", "--keep-free", text, "--advice=always")
    assert done.status == 1
    assert done.stderr.startswith(f"chmem: invalid argument of --keep-free: '{text}'\n")
    assert len(online(tree)) == 32


def test_force_and_keep_free_contradict_each_other(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-d", "1g", "--keep-free", "1g", "--force").status == 1
    assert len(online(tree)) == 32


def test_keep_free_of_a_layout_holds_without_the_option(tree: Path, chmem: Command) -> None:
    layout(tree, 'keep_free = "1856M"\n', MINE)
    assert chmem("-s", tree, "-d", "256m").status == 1
    assert chmem("-s", tree, "-d", "256m", "--keep-free", "0").status == 0
    assert chmem("-s", tree, "-e", "256m").status == 0
    assert chmem("-s", tree, "-d", "128m").status == 0
    # It stays in the file that chmem writes.
    saved = tree / "etc/memory-layout.d/50-chmem.toml"
    saved.write_text('version = 1\nkeep_free = "1000K"\n')
    assert chmem("-s", tree, "--save").status == 0
    assert 'keep_free = "1000K"\n' in saved.read_text()
    layout(tree, 'keep_free = "much"\n', MINE)
    saved.unlink()
    done = chmem("-s", tree, "-d", "128m")
    # A broken layout keeps no memory from going, but it is told.
    assert done.status == 0
    assert done.stderr.startswith(
        "chmem: no layout says how much is to stay available: /etc/memory-layout.d/20-mine.toml:2: "
    )
    assert len(online(tree)) == 30


def test_apply_takes_no_more_than_can_go(tree: Path, chmem: Command) -> None:
    text = '[[memory]]\nblocks = "4-31"\nstate = "offline"\n'
    layout(tree, text, MINE)
    before = conditions(tree)
    done = chmem("-s", tree, "--apply", "--advice=always")
    assert (done.status, conditions(tree)) == (1, before)
    assert done.stderr.startswith(
        "chmem: 2G is in use: 1.8G can be set offline, 3.5G was requested\n"
    )
    # What comes before it counts: 14 blocks can go, and one more for each that comes.
    come = '[[memory]]\nblocks = "32"\n'
    for taken, status in (("16-31", 1), ("17-31", 0)):
        layout(tree, text.replace("4-31", taken) + come, MINE)
        assert chmem("-s", tree, "--apply", "--dry-run").status == status
    layout(tree, text.replace("4-31", "24-31") + '[[memory]]\nblocks = "32-39"\n', MINE)
    assert chmem("-s", tree, "--apply").status == 0
    assert len(online(tree)) == 32
    # The layout that is applied decides, not the one of the machine.
    layout(tree, 'keep_free = "3G"\n', MINE)
    other = tree.parent / "other.toml"
    other.write_text(f'version = 1\nkeep_free = "0"\n{text.replace("4-31", "20-23")}')
    assert chmem("-s", tree, "--apply", other).status == 0
    assert len(online(tree)) == 28


def test_struct_pages_that_will_not_fit_are_told_beforehand(machine: Make, chmem: Command) -> None:
    """16 GiB need 256 MiB; the machine has 1 GiB."""
    root = machine(s390(first=8, standby=128, used=900 * MIB))
    done = chmem("-s", root, "-c", "16g", "-m", "0", "--dry-run", "--advice=always")
    told = "chmem: the struct pages of these blocks need 256M, but only 108M is available\n"
    assert done.stderr == f"{told}chmem: with -m 1 the blocks hold their own\n"
    assert chmem("-s", root, "-c", "1g", "-m", "0", "--dry-run").stderr == ""
    assert "struct pages" not in chmem("-s", root, "-c", "16g", "-m", "1", "--dry-run").stderr
    # What is set online has room for the next ones.
    assert chmem("-s", root, "-e", "16g", "-m", "0", "--dry-run").stderr == ""


def test_memmap_on_memory_is_offered_only_where_the_kernel_has_it(
    machine: Make, chmem: Command
) -> None:
    root = machine(s390(first=8, standby=128, used=900 * MIB, memmap_param="N"))
    done = chmem("-s", root, "-c", "16g", "--dry-run", "--advice=always")
    assert done.stderr == (
        "chmem: the struct pages of these blocks need 256M, but only 108M is available\n"
        "chmem: free some memory first, or take fewer blocks\n"
    )


def test_a_dry_run_tells_what_would_remain_and_what_could_fail(
    machine: Make, tmp_path: Path, chmem: Command
) -> None:
    machine_without_use = make(tmp_path / "without", x86(online=32))
    root = machine("x86-two-nodes")
    done = chmem("-s", root, "-d", "2g", "--dry-run")
    assert done.stdout.splitlines()[-5:] == [
        "# node 0: 7.9G of 7.9G would remain; 1.1G is in use",
        "# node 1: 4.9G of 6.9G would remain; 955.7M is in use",
        "# 12.8G of 14.8G would remain; 2G is in use",
        "# not in zone Movable, so that the kernel may refuse: memory blocks 112-119",
        "# 2G would be disabled: memory blocks 112-127",
    ]
    # What the kernel reserved at boot is in the blocks, and not in what there is.
    whole = chmem("-s", root, "-d", "--node", "1", "--force", "--dry-run").stdout
    assert "# node 1: 0B of 6.9G would remain; 955.7M is in use" in whole.splitlines()
    # Where nothing is taken, or nothing is known, there is nothing to tell.
    assert "remain" not in chmem("-s", root, "-e", "1g", "--dry-run").stdout
    assert "remain" not in chmem("-s", machine_without_use, "-d", "1g", "--dry-run").stdout


def test_no_block_is_tried_in_vain_once_no_memory_is_left_for_struct_pages(
    machine: Make, chmem: Command
) -> None:
    """16 GiB need 256 MiB. Blocks that hold their own struct pages are tried all the same."""
    root = machine(s390(first=8, standby=128, used=900 * MIB))
    done = chmem("-s", root, "-c", "-b", "8-135", "-m", "0", "--json")
    report = json.loads(done.stdout)
    failed = {block["block"]: block["error"] for block in report["blocks"] if block["error"]}
    assert [error["cause"] for error in failed.values()] == ["no_struct_pages"] * 2
    assert done.status == 64
    first = min(failed)
    words = "not tried, because no memory is left for struct pages"
    assert f"memory blocks {first + 2}-135: {words}" in said_in(report)
    layout = root.parent / "layout.toml"
    memmap = ("false", "false", "false", "true")
    layout.write_text(
        "version = 1\n"
        + "".join(
            f"[[memory]]\nblocks = '{number}'\nmemmap_on_memory = {word}\n"
            for number, word in enumerate(memmap, first)
        )
    )
    report = json.loads(chmem("-s", root, "--apply", layout, "--json").stdout)
    results = [(block["block"] - first, block["result"]) for block in report["blocks"]]
    assert results == [(3, "done"), (0, "failed"), (1, "failed")]
    assert f"memory block {first + 2}: {words}" in said_in(report)


def test_no_spare_is_tried_in_vain_once_no_memory_is_left_for_struct_pages(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    root = machine(s390(first=8, standby=128, used=900 * MIB))
    assert chmem("-s", root, "-c", "-b", "8-135", "-m", "0").status == 64
    layout = tmp_path / "layout.toml"
    layout.write_text("version = 1\n[[memory]]\nsize = '16G'\nmemmap_on_memory = false\n")
    done = chmem("-s", root, "--apply", layout, "--json")
    report = json.loads(done.stdout)
    failed = [block["block"] for block in report["blocks"] if block["error"]]
    assert failed[1:] == [128]
    assert f"memory blocks {failed[0] + 1}-127: not tried" in " ".join(said_in(report))


def test_a_refusal_after_memory_has_run_out_is_not_blamed_on_the_hypervisor(
    machine: Make, chmem: Command
) -> None:
    """The kernel says EIO also where it has no page for the question to the hypervisor."""
    faults = {"config": {"8": "EIO", "10": "ENOMEM", "11": "EIO"}}
    root = machine(s390(first=8, standby=8, faults=faults))
    report = json.loads(chmem("-s", root, "-c", "-b", "8-15", "-m", "0", "--json").stdout)
    failed = {
        block["block"]: block["error"]["cause"] for block in report["blocks"][:4] if block["error"]
    }
    assert failed == {8: "storage_refused", 10: "no_struct_pages", 11: "no_memory"}
    assert "memory blocks 12-15: not tried" in " ".join(said_in(report))


def test_memory_that_comes_counts_in_what_would_remain(tree: Path, chmem: Command) -> None:
    layout(
        tree,
        '[[memory]]\nblocks = "32-35"\n[[memory]]\nblocks = "30-31"\nstate = "offline"\n',
        MINE,
    )
    told = chmem("-s", tree, "--apply", "--dry-run").stdout.splitlines()
    # 4032M are there without the struct pages of boot memory; 512M come and 256M go.
    assert "# node 0: 4.2G of 4.4G would remain; 2G is in use" in told
    assert "# 4.2G of 4.4G would remain; 2G is in use" in told


def test_memory_of_which_the_node_is_not_known_yet_counts_for_the_machine_only(
    machine: Make, chmem: Command
) -> None:
    blocks = [
        {"range": [0, 15]},
        {"range": [16, 31], "node": 1},
        {"range": [32, 33], "config": 0, "node": 1},
    ]
    root = machine({**s390(used=GIB), "blocks": blocks})
    layout(
        root,
        '[[memory]]\nblocks = "32-33"\n[[memory]]\nblocks = "14-15"\nstate = "offline"\n',
        MINE,
    )
    told = chmem("-s", root, "--apply", "--dry-run").stdout.splitlines()
    assert [line.partition(";")[0] for line in told if "remain" in line] == [
        "# node 0: 1.7G of 2G would remain",
        "# node 1: 2G of 2G would remain",
        "# 3.9G of 4.2G would remain",
    ]
