"""chmem looks at the memory in use before each block, not only before the first."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from chmem_py.text import Text
from commands import Command
from memory_hotplug import Action, BlockError, Cause, Machine, Order, Result
from memory_hotplug.seen.in_use import usage
from memsim import directory
from memsim.kernel import Kernel
from memsim.machine import Fault
from simulated import Make, conditions, s390, x86
from told import said_in

GIB = 1 << 30


def available(root: Path) -> int:
    with Machine.at(root) as machine:
        now = usage(machine)
    assert now is not None
    return now.available


def refuse_to_configure(root: Path, numbers: Iterable[int]) -> None:
    def change(kernel: Kernel) -> None:
        for number in numbers:
            kernel.set_fault("config", number, Fault("EIO"))

    directory.Directory(root).change(change)


@pytest.fixture
def lpar(machine: Make) -> Path:
    """2 GiB online, 2 GiB of standby memory, 256 MiB in use."""
    return machine(s390(16, 16, used=256 << 20))


def test_memory_that_was_to_come_and_failed_is_not_counted(
    lpar: Path, chmem: Command, tmp_path: Path
) -> None:
    refuse_to_configure(lpar, range(16, 32))
    layout = tmp_path / "l.toml"
    layout.write_text(
        'version = 1\nkeep_free = "1G"\n[[memory]]\nblocks = "16-31"\n'
        '[[memory]]\nblocks = "2-15"\nstate = "offline"\n'
    )
    done = chmem("-s", lpar, "--apply", layout)
    assert done.status == 64
    assert GIB <= available(lpar) < GIB + (128 << 20)
    assert "not set offline, because only" in done.stderr


@pytest.mark.parametrize(
    "words", [["--reconfigure", "-m", "1", "-b", "1-15"], ["--reconfigure", "-m", "1", "1g"]]
)
def test_reconfigure_counts_a_block_that_does_not_come_back_as_taken(
    words: list[str], lpar: Path, chmem: Command
) -> None:
    refuse_to_configure(lpar, range(1, 16))
    done = chmem("-s", lpar, *words, "--keep-free", "1g")
    assert done.status != 0
    assert available(lpar) >= GIB


def test_memmap_of_a_layout_stops_in_time(lpar: Path, chmem: Command, tmp_path: Path) -> None:
    refuse_to_configure(lpar, range(1, 16))
    layout = tmp_path / "l.toml"
    layout.write_text(
        'version = 1\nkeep_free = "1G"\n[[memory]]\nblocks = "1-15"\nmemmap_on_memory = true\n'
    )
    assert chmem("-s", lpar, "--apply", layout).status != 0
    assert available(lpar) >= GIB


def test_force_takes_what_the_kernel_gives(lpar: Path, chmem: Command) -> None:
    refuse_to_configure(lpar, range(1, 16))
    chmem("-s", lpar, "--reconfigure", "-m", "1", "-b", "1-12", "--keep-free", "1g")
    kept = available(lpar)
    chmem("-s", lpar, "--reconfigure", "-m", "1", "-b", "1-12", "--force")
    assert available(lpar) < kept


def test_blocks_that_are_kept_are_told_in_the_document(lpar: Path, chmem: Command) -> None:
    refuse_to_configure(lpar, range(1, 16))
    words = ["--reconfigure", "-m", "1", "-b", "1-15", "--keep-free", "1g", "--json"]
    report = json.loads(chmem("-s", lpar, *words).stdout)
    changed = {block["block"] for block in report["blocks"]}
    assert changed < set(range(1, 16))
    assert any("not set offline, because only" in line for line in said_in(report))


def test_spares_are_looked_at_like_all_others(lpar: Path, chmem: Command, tmp_path: Path) -> None:
    """An entry of which one block fails takes another one, which may be online."""
    refuse_to_configure(lpar, range(16, 32))
    layout = tmp_path / "l.toml"
    layout.write_text(
        'version = 1\nkeep_free = "100G"\n[[memory]]\nsize = "128M"\nmemmap_on_memory = true\n'
    )
    before = conditions(lpar)
    assert chmem("-s", lpar, "--apply", layout).status == 1
    assert conditions(lpar) == before


def test_a_spare_that_is_online_is_looked_at_where_the_others_only_come_online(
    machine: Make, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    blocks = [
        {"range": [0, 3], "zones": "DMA32"},
        {"range": [4, 7]},
        {"range": [8, 9], "state": "offline"},
    ]
    tree = machine(x86() | {"blocks": blocks, "used": 256 << 20})
    memsim("fault", tree, "--online", "8=EIO", "--online", "9=EIO")
    layout = tmp_path / "l.toml"
    entry = '[[memory]]\nblocks = "3,8-9"\nsize = "128M"\nzone = "Normal"\n'
    for keep_free, there in ("100G", []), ("1M", [3]):
        layout.write_text(f'version = 1\nkeep_free = "{keep_free}"\n{entry}')
        report = json.loads(chmem("-s", tree, "--apply", layout, "--json").stdout)
        done = [one["block"] for one in report["blocks"] if one["result"] == "done"]
        assert done == there


def test_a_block_that_was_not_let_go_is_told_though_others_made_up_the_size(
    machine: Make,
) -> None:
    with Machine.at(machine(x86(8, 0, used=256 << 20))) as found:
        work = found.change(Order(Action.DISABLE), size=128 << 20)
        (outcome,) = work
        error = BlockError(outcome.number, "offline", Cause.KEPT_FREE)
        work.tally.add(outcome._replace(result=Result.NOT_TRIED, error=error))
        how = dict.fromkeys(("verbose", "rehearsed", "persistent", "advised"), False)
        (told,) = Text(work.tally, plain=True, said={}, **how).format_end(found, None)
    assert str(told).startswith("memory block 7: not set offline, because only")


def test_all_or_nothing_that_is_refused_writes_no_setting(
    lpar: Path, chmem: Command, tmp_path: Path
) -> None:
    layout = tmp_path / "l.toml"
    layout.write_text(
        'version = 1\n[policy]\nauto_online = "online"\n[[memory]]\nblocks = "16-99"\n'
    )
    for words in (["--dry-run"], []):
        done = chmem("-s", lpar, "--apply", layout, "--all-or-nothing", *words)
        assert done.status == 1
        assert "auto_online_blocks" not in done.stdout


def test_apply_of_what_is_so_needs_no_permission(
    lpar: Path, chmem: Command, tmp_path: Path
) -> None:
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nblocks = "2-5"\n')
    for attribute in lpar.glob("sys/firmware/memory/memory*/config"):
        attribute.chmod(0o444)
    assert chmem("-s", lpar, "--apply", layout).status == 0
