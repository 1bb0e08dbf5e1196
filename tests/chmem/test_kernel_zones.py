"""--apply and --total leave zones of the kernel: at least so much that Movable is no larger than
auto_movable_ratio percent of them."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from commands import Command
from memory_hotplug import Machine
from memory_hotplug.block import Zone, zone_of
from memory_hotplug.change.plan import NEEDED
from memsim import directory
from memsim.kernel import Kernel
from memsim.machine import Fault
from simulated import Make, s390, write, x86
from told import said_in

RATIO = "sys/module/memory_hotplug/parameters/auto_movable_ratio"


def zones(root: Path) -> Counter[Zone | None]:
    with Machine.at(root) as machine:
        return Counter(zone_of(block) for block in machine.read(NEEDED).blocks())


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    path = tmp_path / "l.toml"
    path.write_text('version = 1\n[[memory]]\nsize = "8G"\nzone = "Movable"\n')
    return path


@pytest.mark.parametrize("profile", ["s390-lpar", "x86-two-nodes", "x86-dimm-slots"])
def test_a_size_in_movable_is_made_of_memory_that_the_kernel_does_not_use(
    profile: str, layout: Path, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    root = tmp_path / "m"
    memsim("create", root, "--profile", profile)
    before = zones(root)
    done = chmem("-s", root, "--apply", layout)
    after = zones(root)
    assert done.status in (0, 64)
    for zone in before.keys() - {None, Zone.MOVABLE}:
        assert after[zone] == before[zone]
    assert after[Zone.MOVABLE] > before[Zone.MOVABLE]
    if done.status:
        assert "are missing: the machine has no more memory for zone Movable" in done.stderr
    assert chmem("-s", root, "--apply", layout, "--json").stdout.count('"result"') == 0
    assert zones(root) == after


def test_blocks_that_an_entry_names_are_moved(chmem: Command, machine: Make, layout: Path) -> None:
    root = machine(s390(8, 8))
    layout.write_text('version = 1\n[[memory]]\nblocks = "4-7"\nzone = "Movable"\n')
    assert chmem("-s", root, "--apply", layout).status == 0
    assert zones(root) == {Zone.NORMAL: 4, Zone.MOVABLE: 4, None: 8}


def test_movable_grows_no_further_than_the_kernels_ratio(
    chmem: Command, lsmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(4, 28))
    layout.write_text('version = 1\n[[memory]]\nblocks = "4-31"\nzone = "Movable"\n')
    said = "not set online in zone Movable, which would have more than 301 % of all other zones"
    dry = chmem("-s", root, "--apply", layout, "--dry-run")
    assert said in dry.stderr
    assert "memory blocks 16-31" in dry.stderr
    assert said in lsmem("-s", root, "--diff", layout, "--advice=always").stderr
    done = chmem("-s", root, "--apply", layout)
    assert (done.status, zones(root)) == (64, {Zone.NORMAL: 4, Zone.MOVABLE: 12, None: 16})
    assert said in done.stderr
    done = chmem("-s", root, "--apply", layout, "--force", "--advice=always")
    assert (done.status, zones(root)) == (0, {Zone.NORMAL: 4, Zone.MOVABLE: 28})
    assert "chmem: zone Movable has 700 % of all other zones" in done.stderr


def test_movable_may_be_larger_by_what_the_same_run_gives_the_kernel(
    chmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(4, 28))
    layout.write_text(
        'version = 1\n[[memory]]\nblocks = "4-7"\nzone = "Normal"\n'
        '[[memory]]\nblocks = "8-31"\nzone = "Movable"\n'
    )
    assert chmem("-s", root, "--apply", layout).status == 0
    assert zones(root) == {Zone.NORMAL: 8, Zone.MOVABLE: 24}


def test_the_ratio_is_the_machines_parameter(chmem: Command, machine: Make, layout: Path) -> None:
    root = machine(s390(4, 28))
    write(root, RATIO, "100")
    layout.write_text('version = 1\n[[memory]]\nblocks = "4-31"\nzone = "Movable"\n')
    chmem("-s", root, "--apply", layout)
    assert zones(root)[Zone.MOVABLE] == 4


@pytest.mark.parametrize(("ratio", "movable"), [(100, 4), (400, 16)])
def test_the_ratio_is_the_one_that_the_same_layout_sets(
    ratio: int, movable: int, chmem: Command, lsmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(4, 28))
    layout.write_text(
        f"version = 1\n[policy]\nauto_movable_ratio = {ratio}\n"
        '[[memory]]\nblocks = "4-31"\nzone = "Movable"\n'
    )
    rest = (
        f"not set online in zone Movable, which would have more than {ratio} % of all other zones"
    )
    said = f"memory blocks {4 + movable}-31: {rest}"
    whole = chmem("-s", root, "--apply", layout, "--all-or-nothing")
    assert (whole.status, rest in whole.stderr) == (1, True)
    assert said in chmem("-s", root, "--apply", layout, "--dry-run").stderr
    assert said in lsmem("-s", root, "--diff", layout, "--advice=always").stderr
    assert said in chmem("-s", root, "--apply", layout).stderr
    once = zones(root)
    assert once[Zone.MOVABLE] == movable
    assert said in chmem("-s", root, "--apply", layout).stderr
    assert zones(root) == once


def test_memory_that_the_layout_takes_from_the_kernels_zones_counts(
    chmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(4, 28))
    layout.write_text(
        'version = 1\n[[memory]]\nblocks = "4-31"\nzone = "Movable"\n'
        '[[memory]]\nblocks = "2-3"\nstate = "offline"\n'
    )
    chmem("-s", root, "--apply", layout)
    assert zones(root) == {Zone.NORMAL: 2, Zone.MOVABLE: 6, None: 24}


def test_memory_for_the_kernels_zones_that_does_not_come_is_not_counted(
    chmem: Command, machine: Make, layout: Path
) -> None:

    root = machine(s390(2, 30))

    def refuse(kernel: Kernel) -> None:
        for number in range(2, 8):
            kernel.set_fault("config", number, Fault("EIO"))

    directory.Directory(root).change(refuse)
    layout.write_text(
        'version = 1\n[[memory]]\nblocks = "2-7"\nzone = "Normal"\n'
        '[[memory]]\nblocks = "8-31"\nzone = "Movable"\n'
    )
    assert chmem("-s", root, "--apply", layout).status == 64
    assert zones(root) == {Zone.NORMAL: 2, Zone.MOVABLE: 6, None: 24}


def test_what_is_in_movable_already_comes_back_there_however_large_it_is(
    chmem: Command, machine: Make, layout: Path
) -> None:
    blocks = [{"range": [0, 1]}, {"range": [2, 9], "zones": "Movable", "memmap": False}]
    root = machine({**s390(), "blocks": blocks})
    layout.write_text(
        'version = 1\n[[memory]]\nblocks = "2-9"\nzone = "Movable"\nmemmap_on_memory = true\n'
    )
    done = chmem("-s", root, "--apply", layout)
    assert (done.status, done.stdout) == (0, "1G changed: memory blocks 2-9\n")
    assert zones(root) == {Zone.NORMAL: 2, Zone.MOVABLE: 8}


def test_total_in_movable_grows_no_further(chmem: Command, machine: Make) -> None:
    root = machine(s390(4, 28))
    done = chmem("-s", root, "--total", "3g", "-z", "Movable")
    assert (done.status, zones(root)[Zone.MOVABLE]) == (64, 12)
    assert "more than 301 %" in done.stderr
    assert chmem("-s", root, "--total", "3g", "-z", "Movable", "--force").status == 0
    assert zones(root)[Zone.MOVABLE] == 24


def test_a_block_that_is_configured_anew_comes_back_into_its_own_zone(
    chmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(8, 0))
    layout.write_text('version = 1\n[[memory]]\nblocks = "2-5"\nmemmap_on_memory = true\n')
    assert chmem("-s", root, "--apply", layout).status == 0
    assert zones(root) == {Zone.NORMAL: 8}


def test_a_size_of_memmap_on_memory_leaves_zones_as_they_are(
    chmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(8, 0))
    layout.write_text('version = 1\n[[memory]]\nsize = "512M"\nmemmap_on_memory = true\n')
    assert chmem("-s", root, "--apply", layout).status == 0
    assert zones(root) == {Zone.NORMAL: 8}


def test_enable_into_movable_is_as_with_util_linux(chmem: Command, machine: Make) -> None:
    root = machine(s390(4, 28))
    done = chmem("-s", root, "-e", "3g", "-z", "Movable")
    assert (done.status, zones(root)[Zone.MOVABLE]) == (0, 24)


@pytest.mark.parametrize("words", [["-e", "3g", "-z", "Movable"], ["-e", "-b", "4-27"]])
def test_enable_says_that_movable_is_large_and_what_helps(
    words: list[str], chmem: Command, machine: Make
) -> None:
    root = machine(s390(4, 28))
    dry = chmem("-s", root, *words, "--dry-run")
    large = "# zone Movable would have 600 % of all other zones; the kernel itself lets it grow to"
    assert f"{large} 301 %" in dry.stdout.splitlines()
    done = chmem("-s", root, *words, "--advice=always")
    assert (done.status, done.stdout) == (0, "")
    assert "zone Movable has 600 % of all other zones, and the kernel itself lets it" in done.stderr
    commands = re.findall(r"chmem (--\w+ 384M --zone \w+ --sysroot \S+),", done.stderr)
    assert len(commands) == 2
    for command in commands:
        assert chmem(*command.split()).status == 0
    assert zones(root) == {Zone.NORMAL: 7, Zone.MOVABLE: 21, None: 4}
    assert "zone Movable" not in chmem("-s", root, "-e", "-b", "4", "--advice=always").stderr


@pytest.mark.parametrize("words", [["-e", "128m"], ["-e", "-b", "31"]])
def test_all_zones_count_where_only_the_block_that_is_named_is_read(
    words: list[str], chmem: Command, machine: Make
) -> None:
    root = machine(x86(4, 28))
    assert chmem("-s", root, "-e", "-b", "4-26", "-z", "Movable").status == 0
    dry = chmem("-s", root, *words, "--dry-run")
    assert "# zone Movable would have 600 % of all other zones;" in dry.stdout
    done = chmem("-s", root, *words, "--advice=always")
    assert "zone Movable has 600 % of all other zones" in done.stderr


@pytest.mark.parametrize("action", ["--total", "--apply"])
def test_a_size_that_may_be_in_any_zone_says_that_movable_is_large(
    action: str, chmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(4, 28))
    layout.write_text('version = 1\n[[memory]]\nsize = "3584M"\n')
    words = ["-s", root, action, layout if action == "--apply" else "3584m"]
    forecast = "zone Movable would have 600 % of all other zones; the kernel itself lets it grow to"
    assert f"# {forecast} 301 %" in chmem(*words, "--dry-run").stdout.splitlines()
    done = chmem(*words, "--json", "--advice=always")
    (said,) = said_in(json.loads(done.stdout))
    assert said.startswith("zone Movable has 600 % of all other zones, and the kernel itself lets")
    assert done.stderr == f"chmem: {said}\n"
    # Nothing is set online there now.
    again = chmem(*words, "--advice=always")
    assert (again.status, again.stderr) == (0, "")


def test_that_movable_is_large_is_advice(
    chmem: Command, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHMEM_ADVICE")
    assert chmem("-s", machine(s390(4, 28)), "-e", "3g", "-z", "Movable").stderr == ""


def test_the_documents_say_that_movable_is_large(chmem: Command, machine: Make) -> None:
    root = machine(s390(4, 28))
    write(root, RATIO, "50")
    words = ["-s", root, "-e", "384m", "-z", "Movable", "--json"]
    forecast = json.loads(chmem(*words, "--dry-run").stdout)["forecast"]
    (crowded,) = [message for message in forecast if message["code"] == "WOULD_BE_CROWDED"]
    assert crowded["text"].startswith("zone Movable would have 75 % of all other zones; the kernel")
    assert crowded["values"] == {"ratio": 50, "share": 75}
    (said,) = said_in(json.loads(chmem(*words).stdout))
    assert said.startswith("zone Movable has 75 % of all other zones, and the kernel itself lets")


def test_movable_may_have_all_memory(chmem: Command, machine: Make) -> None:
    blocks = [{"range": [0, 3], "zones": "Movable"}, {"range": [4, 7], "config": 0}]
    root = machine({**s390(), "blocks": blocks})
    words = ["-s", root, "-e", "384m", "-z", "Movable", "--dry-run", "--json"]
    crowded, *_ = json.loads(chmem(*words).stdout)["forecast"]
    assert crowded["text"].startswith("zone Movable would have all memory; the kernel itself lets")
    assert crowded["values"] == {"ratio": 301}


def test_where_movable_is_not_too_large_nothing_is_said(chmem: Command, machine: Make) -> None:
    root = machine(s390(4, 28))
    assert chmem("-s", root, "-e", "1536m", "-z", "Movable").stderr == ""
    assert chmem("-s", root, "-e", "128m", "-z", "Normal").stderr == ""


def test_the_kernels_zones_get_theirs_first_and_the_dry_run_says_the_same(
    chmem: Command, machine: Make, layout: Path
) -> None:
    root = machine(s390(4, 28))
    layout.write_text(
        'version = 1\n[[memory]]\nblocks = "4-18"\nzone = "Movable"\n'
        '[[memory]]\nblocks = "19-24"\nzone = "Normal"\n'
    )
    dry = chmem("-s", root, "--apply", layout, "--dry-run")
    assert (dry.status, dry.stdout.splitlines()[-1]) == (
        0,
        "# 2688M would be changed: memory blocks 4-24",
    )
    assert chmem("-s", root, "--apply", layout).status == 0
    assert zones(root) == {Zone.NORMAL: 10, Zone.MOVABLE: 15, None: 7}


def test_total_in_movable_takes_another_block_for_one_that_failed(
    chmem: Command, memsim: Command, machine: Make
) -> None:
    root = machine(s390(4, 28))
    memsim("fault", root, "--config", "4=EIO")
    done = chmem("-s", root, "--total", "3g", "-z", "Movable", "--json")
    assert (done.status, zones(root)[Zone.MOVABLE]) == (64, 12)
    assert len(json.loads(done.stdout)["blocks"]) == 13
