"""chmem --apply, --save, --persistent, --total and --undo."""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import SCRIPTS, Command, run_program, start_program
from layouts import layout, sound
from memory_hotplug import Machine
from memory_hotplug.block import zone_of
from memory_hotplug.change.undo import UNDO
from memory_hotplug.trees.root_files import LONGEST
from memsim.profile import PROFILES
from paused import Paused
from simulated import Make, online, s390
from static_tree import MEMORY, make

EACH = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("huge", "ppc64-large") else name
    for name in PROFILES
]

NOTHING_SPARE = ("x86-laptop", "x86-laptop-7.2", "riscv64-virt", "ppc64-lpar")
"""They have no memory that the kernel does not use."""


def conditions(tree: Path) -> list[tuple[Any, ...]]:
    with Machine.at(tree) as machine:
        return [
            (block.number, block.status, zone_of(block), block.memmap_on_memory)
            for block in machine.blocks()
        ]


def blocks(count: int, tree: Path) -> str:
    """The size of so many blocks, as a layout has it."""
    with Machine.at(tree) as machine:
        return f"{count * machine.block_size >> 20}M"


@pytest.mark.parametrize("words", [[], ["--install"], ["--dry-run"]])
def test_apply_says_that_there_is_no_layout(
    words: list[str], machine: Make, chmem: Command
) -> None:
    tree = machine("x86-dimm-slots")
    told = "chmem: memory-layout.d: there is no layout\n"
    masking = tree / "etc/memory-layout.d/10.toml"
    masking.parent.mkdir(parents=True)
    for _ in range(2):
        done = chmem("-s", tree, "--apply", *words)
        assert (done.status, done.stderr) == (0, told)
        masking.write_text("\n")
    masking.write_text("version = 1\n")
    assert chmem("-s", tree, "--apply", *words).stderr == ""


@pytest.mark.parametrize("place", ["", "x.toml"])
def test_apply_refuses_a_place_without_a_layout(
    place: str, machine: Make, chmem: Command, tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text("")
    (tmp_path / "x.conf").write_text("version = 1\n")
    ends = "" if place else "; the names of its files end in .toml"
    where = tmp_path / place
    done = chmem("-s", machine("x86-dimm-slots"), "--apply", where)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"chmem: {where}: there is no layout{ends}\n"


def test_a_dimm_that_was_removed_for_good_is_as_the_layout_says(
    machine: Make, chmem: Command, memsim: Command, lsmem: Command
) -> None:
    tree = machine("x86-dimm-slots")
    assert memsim("plug", tree, "--as", "dimm", "--memory", "2G").status == 0
    entries = '[[memory]]\nblocks = "104-119"\nstate = "{}"\n'
    layout(tree, entries.format("offline"), "etc/memory-layout.d/10.toml")
    for _ in range(2):
        done = chmem("-s", tree, "--apply", "--advice=always")
        assert (done.status, done.stdout, done.stderr) == (0, "nothing to change\n", "")
        done = lsmem("-s", tree, "--diff", "layout")
        assert (done.status, done.stdout, done.stderr) == (0, "", "")
        if "memory104" in os.listdir(tree / MEMORY):
            assert memsim("unplug", tree, "--memory", "2G").status == 0
    layout(tree, entries.format("online"), "etc/memory-layout.d/10.toml")
    done = chmem("-s", tree, "--apply")
    assert (done.status, done.stderr.count("not on this machine")) == (1, 1)


@pytest.mark.parametrize("profile", EACH)
def test_apply_a_second_time_writes_nothing(
    profile: str, machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(profile)
    file = layout(
        tmp_path,
        f'[[memory]]\nsize = "{blocks(4, tree)}"\nfrom = "highest"\nstate = "offline"\n'
        f'[[memory]]\nsize = "{blocks(8, tree)}"\nzone = "Movable"\n',
    )
    first = chmem("-s", tree, "--apply", file, "--json")
    again = json.loads(chmem("-s", tree, "--apply", file, "--json").stdout)
    status = 64 if profile in NOTHING_SPARE else 0
    assert json.loads(first.stdout)["status"] == first.status == status, first
    assert (again["status"], again["blocks"]) == (status, [])


def test_apply_takes_no_more_of_the_kernels_memory_at_each_run(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    """The size would take what the first entry sets offline, and is refused that."""
    stays = {"range": [0, 0], "holes": True}
    others = [{"range": [1, 3]}, {"range": [4, 6], "state": "offline"}]
    tree = machine({"block_size": 1 << 27, "memmap_param": "N", "blocks": [stays, *others]})
    file = layout(
        tmp_path,
        '[[memory]]\nnode = 0\nstate = "offline"\n[[memory]]\nsize = "768M"\nzone = "Movable"\n',
    )
    assert chmem("-s", tree, "--apply", file).status == 64
    before = conditions(tree)
    assert chmem("-s", tree, "--apply", file).status == 1
    assert conditions(tree) == before


@pytest.mark.parametrize("profile", EACH)
def test_apply_brings_back_what_was_saved_after_a_boot(
    profile: str, machine: Make, chmem: Command, memsim: Command, lsmem: Command, tmp_path: Path
) -> None:
    tree = machine(profile)
    size = blocks(2, tree)
    file = layout(tmp_path, f'[[memory]]\nsize = "{size}"\nfrom="highest"\nstate="offline"\n')
    assert chmem("-s", tree, "--apply", file).status == 0
    assert chmem("-s", tree, "--save").status == 0
    before = conditions(tree)
    assert memsim("reboot", tree).status == 0
    assert chmem("-s", tree, "--apply").status == 0
    assert conditions(tree) == before
    done = chmem("-s", tree, "--apply")
    assert (done.status, done.stdout) == (0, "nothing to change\n")
    assert lsmem("-s", tree, "--diff", "layout").status == 0


def test_apply_brings_a_block_to_its_layout_from_any_condition(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=4))
    chmem("-s", tree, "-e", "-b", "4", "-z", "Normal", "-m", "0")
    chmem("-s", tree, "-c", "-b", "5", "-m", "0")
    file = layout(
        tmp_path,
        '[[memory]]\nblocks = "4-5,7"\nzone = "Movable"\nmemmap_on_memory = true\n'
        '[[memory]]\nblocks = "6"\nstate = "offline"\nmemmap_on_memory = false\n',
    )
    done = chmem("-s", tree, "--apply", file)
    assert (done.status, done.stdout) == (0, "512M changed: memory blocks 4-7\n")
    shown = [(number, status, memmap) for number, status, _, memmap in conditions(tree)[4:]]
    assert shown == [
        (4, "online", True),
        (5, "online", True),
        (6, "offline", False),
        (7, "online", True),
    ]
    zones = [zone.value for _, _, zone, _ in conditions(tree)[4:] if zone]
    assert zones == ["Movable"] * 3


def test_apply_takes_the_last_entry_that_matches(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=2, standby=4))
    text = '[[memory]]\nblocks = "2-5"\n[[memory]]\nblocks = "3"\nstate = "deconfigured"\n'
    assert chmem("-s", tree, "--apply", layout(tmp_path, text)).status == 0
    states = [status for _, status, _, _ in conditions(tree)]
    assert states == ["online", "online", "online", "disabled", "online", "online"]


def test_apply_takes_a_size_as_a_floor(machine: Make, chmem: Command, tmp_path: Path) -> None:
    tree = machine(s390(first=4, standby=4))
    for size, count in (("768M", 6), ("128M", 6)):
        file = layout(tmp_path, f'[[memory]]\nsize = "{size}"\n')
        assert chmem("-s", tree, "--apply", file).status == 0
        assert [status for _, status, _, _ in conditions(tree)].count("online") == count


def test_apply_says_ignores_or_refuses_what_is_missing(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=2, standby=2))
    for missing, status in (("wait", 64), ("ignore", 0), ("error", 1)):
        text = f'[[memory]]\nblocks = "3-5"\nmissing = "{missing}"\n'
        file = layout(tmp_path, text)
        done = chmem("-s", tree, "--apply", file)
        assert done.status == status
        said = f"chmem: {file}:2: not on this machine: memory blocks 4-5\n"
        assert done.stderr == {0: "", 64: said}.get(status, done.stderr)
        if status == 1:
            assert done.stderr == f"chmem: {file}:2: the machine does not have all these blocks\n"


def test_apply_of_a_wrong_layout_changes_nothing(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390())
    before = conditions(tree)
    for text, line in (
        ('[[memory]]\nblocks = "4"\n[[memory]]\nblocks = "x"\n', 5),
        ('[[memory]]\nblocks = "4"\n[[memory]]\nsize = "1M"\n', 4),
        ('[[memory]]\nblocks = "4"\n[[memory]]\nrange = "0x1000-0x1fff"\n', 4),
    ):
        done = chmem("-s", tree, "--apply", layout(tmp_path, text))
        assert (done.status, done.stdout) == (1, "")
        assert f"layout.toml:{line}: " in done.stderr
    assert conditions(tree) == before


def test_apply_with_dry_run_writes_nothing(machine: Make, chmem: Command, tmp_path: Path) -> None:
    tree = machine(s390())
    before = conditions(tree)
    done = chmem("-s", tree, "--apply", layout(tmp_path, '[[memory]]\nsize="1G"\n'), "--dry-run")
    assert done.stdout.endswith("# 512M would be changed: memory blocks 4-7\n")
    assert conditions(tree) == before


def test_undo_brings_back_the_last_change_and_then_redoes_it(machine: Make, chmem: Command) -> None:
    tree = machine(s390(first=4, standby=4))
    before = conditions(tree)
    chmem("-s", tree, "-e", "256m", "-m", "0")
    after = conditions(tree)
    chmem("-s", tree, "-e", "-b", "4")
    assert chmem("-s", tree, "--undo").status == 0
    assert conditions(tree) == before
    assert chmem("-s", tree, "--undo").status == 0
    assert conditions(tree) == after


def test_undo_record_stays_after_a_change_that_fails(machine: Make, chmem: Command) -> None:
    tree = machine(s390(faults={"offline": {"3": "EBUSY"}}))
    assert chmem("-s", tree, "-e", "128m").status == 0
    record = tree / "run/memory-hotplug/undo.json"
    before = record.read_text()
    assert chmem("-s", tree, "-d", "-b", "3").status == 1
    assert record.read_text() == before
    assert record.stat().st_mode & 0o777 == 0o600


def test_undo_record_is_of_blocks_or_of_settings_alone(machine: Make, chmem: Command) -> None:
    tree = machine(s390())
    assert chmem("-s", tree, "-e", "-b", "4").status == 0
    assert json.loads((tree / UNDO).read_text())["before"]
    assert chmem("-s", tree, "--policy", "auto_online=online").status == 0
    assert not json.loads((tree / UNDO).read_text())["before"]
    assert chmem("-s", tree, "--undo").status == 0
    assert (tree / MEMORY / "auto_online_blocks").read_text() == "offline\n"


def test_undo_without_a_change_is_refused(machine: Make, chmem: Command) -> None:
    done = chmem("-s", machine(s390()), "--undo")
    assert (done.status, done.stderr) == (1, "chmem: there is no change to undo\n")


def test_undo_uses_no_damaged_record(machine: Make, chmem: Command) -> None:
    tree = machine(s390())
    chmem("-s", tree, "-e", "256m")
    record = tree / "run/memory-hotplug/undo.json"
    for damaged in ("", "{}", '{"version":1,"before":[[1,"online",null,true]]}', "[" * 100_000):
        record.write_text(damaged)
        done = chmem("-s", tree, "--undo")
        said = f"chmem: /{UNDO}: the record of the last change is damaged\n"
        assert (done.status, done.stderr) == (1, said)


def test_a_total_is_reached_from_both_sides(machine: Make, chmem: Command) -> None:
    tree = machine(s390(first=4, standby=4))
    for size, count in (("1g", 8), ("640m", 5), ("768m", 6)):
        assert chmem("-s", tree, "--total", size).status == 0
        assert [status for _, status, _, _ in conditions(tree)].count("online") == count
        done = chmem("-s", tree, "--total", size)
        assert (done.status, done.stdout, done.stderr) == (0, "nothing to change\n", "")


def test_save_keeps_memory_of_the_boot_away_that_was_given_back(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    tree = machine(s390(first=4, standby=4))
    assert chmem("-s", tree, "-d", "-b", "3").status == 0
    assert chmem("-s", tree, "--save").status == 0
    assert memsim("reboot", tree).status == 0
    assert conditions(tree)[3][1] == "online"
    assert chmem("-s", tree, "--apply").status == 0
    assert conditions(tree)[3][1] == "disabled"


def test_a_persistent_change_outlives_a_boot(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    tree = machine(s390(first=4, standby=4))
    chmem("-s", tree, "-e", "512m", "-z", "Movable", "--persistent")
    chmem("-s", tree, "-d", "-b", "6", "--persistent")
    chmem("-s", tree, "-d", "-b", "5")
    assert memsim("reboot", tree).status == 0
    assert chmem("-s", tree, "--apply").status == 0
    states = [status for _, status, _, _ in conditions(tree)]
    assert states == ["online"] * 6 + ["disabled", "online"]


def test_a_comment_that_is_not_utf_8_does_not_keep_a_change_from_being_persistent(
    machine: Make, chmem: Command
) -> None:
    tree = machine(s390(first=4, standby=4))
    file = tree / "etc/memory-layout.d/50-chmem.toml"
    file.parent.mkdir(parents=True)
    file.write_bytes(b'version = 1\n# K\xf6ln\n[[memory]]\nblocks = "7"\nstate = "offline"\n')
    done = chmem("-s", tree, "-e", "-b", "5", "-z", "Movable", "--persistent")
    assert (done.status, done.stderr) == (0, "")
    assert 'blocks = "7"\n' in file.read_text()
    assert 'blocks = "5"\n' in file.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--undo", "x"], "--undo takes no argument"),
        (["--uninstall", "x"], "--uninstall takes no argument"),
        (["--save", "x", "y"], "--save takes at most 1 argument"),
        (["--apply", "x", "y"], "--apply takes at most 1 argument"),
    ],
)
def test_too_many_arguments_are_bad_usage(
    words: list[str], said: str, machine: Make, chmem: Command
) -> None:
    done = chmem("-s", machine(s390()), *words, "--advice", "always")
    assert (done.status, done.stdout) == (1, "")
    assert f"{said}\n" in done.stderr


ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "blocks": st.sampled_from(["0-3", "2-5", "4-7", "6", "7-9"]),
        "size": st.sampled_from(["128M", "384M", "1G", "2G"]),
        "from": st.sampled_from(["lowest", "highest"]),
        "state": st.sampled_from(["online", "offline", "deconfigured"]),
        "zone": st.sampled_from(["Normal", "Movable"]),
        "memmap_on_memory": st.booleans(),
    },
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    entries=st.lists(
        ENTRY.map(sound), max_size=4, unique_by=lambda entry: entry.get("size", id(entry))
    )
)
def test_apply_of_any_layout_converges_or_says_what_is_missing(
    entries: list[dict[str, Any]], machine: Make, chmem: Command, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "machine", ignore_errors=True)
    tree = machine(s390(first=4, standby=4))
    file = tmp_path / "layout.json"
    file.write_text(json.dumps({"version": 1, "memory": entries}))
    first = chmem("-s", tree, "--apply", file, "--json")
    again = chmem("-s", tree, "--apply", file, "--json")
    found = json.loads(again.stdout)
    if first.status == 0:
        assert (again.status, found["blocks"]) == (0, [])
    else:
        assert found["messages"]


def test_apply_killed_in_the_middle_and_again_converges(
    machine: Make, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=8, delays={"online": {"7": 600}}))
    file = layout(tmp_path, '[[memory]]\nblocks = "4-11"\nmemmap_on_memory = false\n')
    killed = Paused("-s", tree, "--apply", file)
    killed.until_it_stands_still()
    killed.process.kill()
    killed.process.communicate()
    found = [status for _, status, _, _ in conditions(tree)[6:9]]
    assert found == ["online", "offline", "disabled"]
    assert memsim("fault", tree, "--delay", "online:7=0").status == 0
    assert chmem("-s", tree, "--apply", file).status == 0
    done = chmem("-s", tree, "--apply", file)
    assert done.stdout == "nothing to change\n"


def test_apply_twice_at_once_is_as_one_after_the_other(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=8))
    file = layout(tmp_path, '[[memory]]\nsize = "1G"\nzone = "Movable"\n')
    running = [start_program("chmem", "-s", tree, "--apply", file) for _ in range(2)]
    written = sorted(process.communicate()[0] for process in running)
    assert written == ["1G changed: memory blocks 4-11\n", "nothing to change\n"]


HEADING = "# The memory layout as chmem saved it; see memory-layout.d(5)."
SAVED = """
[[memory]]
blocks = "0-3"
state = "online"
zone = "Normal"
memmap_on_memory = false

[[memory]]
blocks = "4"
state = "online"
zone = "Movable"
memmap_on_memory = true

[[memory]]
blocks = "5"
state = "offline"
memmap_on_memory = true

[[memory]]
blocks = "6-7"
state = "deconfigured"
memmap_on_memory = true
"""


def changed(machine: Make, chmem: Command) -> Path:
    """Four blocks from boot, one that is set online, one that is configured, two others."""
    tree = machine(s390(first=4, standby=4))
    assert chmem("-s", tree, "-e", "-b", "4", "-z", "Movable").status == 0
    assert chmem("-s", tree, "-c", "-b", "5").status == 0
    return tree


def test_save_writes_the_layout_where_it_is_wanted(
    machine: Make, chmem: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = changed(machine, chmem)
    done = chmem("-s", tree, "--save", "-")
    assert (done.status, done.stdout) == (0, f"{HEADING}\nversion = 1\n{SAVED}")
    monkeypatch.chdir(tmp_path)
    for name in ("here.toml", str(tmp_path / "there.toml")):
        assert chmem("-s", tree, "--save", name).status == 0
        assert Path(name).read_text() == done.stdout
    assert not (tree / "etc").exists()
    assert chmem("-s", tree, "--save").status == 0
    text = (tree / "etc/memory-layout.d/50-chmem.toml").read_text()
    assert text.startswith(f"{HEADING}\n# chmem --save and --persistent write this file anew.")
    assert text.endswith(f"\nversion = 1\n{SAVED}")
    for name, reason in (
        ("no/x.toml", "No such file or directory"),
        ("machine", "not a regular file"),
    ):
        done = chmem("-s", tree, "--save", name)
        assert (done.status, done.stderr) == (1, f"chmem: {name}: {reason}\n")


def test_save_keeps_the_policy_of_the_file(machine: Make, chmem: Command) -> None:
    tree = changed(machine, chmem)
    file = tree / "etc/memory-layout.d/50-chmem.toml"
    file.parent.mkdir(parents=True)
    file.write_text('version = 1\n[policy]\nauto_online = "online"\n[[memory]]\nblocks = "99"\n')
    assert chmem("-s", tree, "--save").status == 0
    text = file.read_text()
    assert '[policy]\nauto_online = "online"\n' in text
    assert '"99"' not in text
    file.write_text("version = 1\n[policy]\nauto_on = 1\n")
    done = chmem("-s", tree, "--save")
    assert done.status == 1
    assert done.stderr.startswith(
        "chmem: /etc/memory-layout.d/50-chmem.toml:3: unknown key auto_on"
    )
    assert file.read_text() == "version = 1\n[policy]\nauto_on = 1\n"


def test_nothing_is_saved_beside_a_layout_that_is_broken(machine: Make, chmem: Command) -> None:
    tree = changed(machine, chmem)
    broken = tree / "etc/memory-layout.d/10-a.toml"
    broken.parent.mkdir(parents=True)
    broken.write_text("version = 1\nfrom = 3\n")
    done = chmem("-s", tree, "--save")
    assert done.status == 1
    assert done.stderr.startswith("chmem: /etc/memory-layout.d/10-a.toml:2: unknown key from")
    assert os.listdir(broken.parent) == ["10-a.toml"]


@pytest.mark.parametrize(
    ("arguments", "online"),
    [
        (["640m"], [0, 1, 2, 3, 4]),
        (["512m"], [0, 1, 2, 3, 4]),
        (["384m", "-z", "Movable"], [0, 1, 2, 3, 4, 5, 6]),
        (["128m", "-z", "Movable"], [0, 1, 2, 3, 4]),
        (["0", "-z", "Movable"], [0, 1, 2, 3]),
        (["512m", "-z", "Normal"], [0, 1, 2, 3, 4]),
        (["384m", "-z", "Normal"], [0, 1, 2, 4]),
        (["256m", "--node", "0"], [0, 1]),
        (["1g"], list(range(8))),
    ],
    ids=str,
)
def test_a_total_counts_what_is_asked_for(
    arguments: list[str], online: list[int], machine: Make, chmem: Command
) -> None:
    tree = changed(machine, chmem)
    if arguments == ["512m"]:
        online = [0, 1, 2, 3]
    assert chmem("-s", tree, "--total", *arguments).status == 0
    found = [number for number, status, _, _ in conditions(tree) if status == "online"]
    assert found == online


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("EINVAL", "memory block 5: offline, but still configured"),
        ("EIO", "memory block 5: deconfigured, but the hypervisor keeps the storage"),
    ],
)
def test_a_total_counts_memory_that_the_hypervisor_does_not_take_back(
    error: str, said: str, machine: Make, chmem: Command
) -> None:
    root = machine({**s390(6, 2), "faults": {"deconfig": {"5": error}}})
    done = chmem("-s", root, "--total", "640m")
    assert (done.status, online(root)) == (0, [0, 1, 2, 3, 4])
    assert said in done.stderr
    assert chmem("-s", root, "--total", "640m").stdout == "nothing to change\n"


def test_a_total_asks_for_no_zone_where_the_machine_shows_none(
    chmem: Command, tmp_path: Path
) -> None:
    """As util-linux: the word is `online`, and not `online_movable`."""
    groups = [{"range": [0, 1]}, {"range": [2, 3], "state": "offline"}]
    described = {"block_size": 1 << 27, "valid_zones": False, "blocks": groups}
    tree = make(tmp_path, described)
    assert chmem("-s", tree, "--total", "512m").status == 0
    assert {(tree / MEMORY / f"memory{n}/state").read_text() for n in (2, 3)} == {"online"}


def test_a_total_that_cannot_be_had_is_said_to_be_had_in_part(
    machine: Make, chmem: Command
) -> None:
    tree = changed(machine, chmem)
    done = chmem("-s", tree, "--total", "2g")
    assert done.status == 64
    assert "Could only enable 384M" in done.stdout + done.stderr
    assert chmem("-s", tree, "--total", "0x0-0x7ffffff").status == 1
    assert chmem("-s", tree, "--total", "100m").status == 1


def test_undo_names_a_block_that_is_gone(machine: Make, chmem: Command, memsim: Command) -> None:
    room = {
        "block_size": 1 << 27,
        "blocks": [{"range": [0, 3]}, {"range": [8, 11], "config": False}],
    }
    tree = machine(room)
    memsim("plug", tree, "--memory", "256M", "--as", "virtio-mem")
    assert chmem("-s", tree, "-e", "-b", "8-9").status == 0
    assert chmem("-s", tree, "-d", "-b", "8-9").status == 0
    memsim("unplug", tree, "--memory", "128M")
    done = chmem("-s", tree, "--undo")
    assert done.status == 64
    assert done.stderr == (
        "chmem: /run/memory-hotplug/undo.json: not on this machine: memory block 9\n"
    )
    assert conditions(tree)[4][1] == "online"


def test_undo_brings_back_first_what_was_changed_last(machine: Make, chmem: Command) -> None:
    tree = machine(s390(first=4, standby=4))
    assert chmem("-s", tree, "-e", "-b", "4-6").status == 0
    report = json.loads(chmem("-s", tree, "--undo", "--json").stdout)
    assert [block["block"] for block in report["blocks"]] == [6, 5, 4]


def test_undo_names_a_record_that_cannot_be_read(machine: Make, chmem: Command) -> None:
    tree = machine(s390())
    (tree / "run/memory-hotplug/undo.json").mkdir(parents=True)
    done = chmem("-s", tree, "--undo")
    assert done.status == 1
    assert "/run/memory-hotplug/undo.json" in done.stderr


def test_undo_record_stays_after_a_change_of_nothing(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    tree = machine(s390(first=4, standby=4))
    record = tree / "run/memory-hotplug/undo.json"
    memsim("fault", tree, "--config", "6=EIO")
    assert chmem("-s", tree, "-e", "-b", "6").status == 1
    assert not record.exists()
    assert chmem("-s", tree, "-e", "-b", "4").status == 0
    assert record.stat().st_mode & 0o777 == 0o600
    kept = record.read_bytes()
    for words in (["-e", "-b", "4"], ["-e", "-b", "6"], ["-d", "-b", "4", "--dry-run"]):
        chmem("-s", tree, *words)
        assert record.read_bytes() == kept
    # A part of what was asked for: only that part.
    assert chmem("-s", tree, "-e", "-b", "5-6").status == 64
    assert [row["first"] for row in json.loads(record.read_text())["before"]] == [5]


def test_a_persistent_change_writes_what_became_of_the_memory(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    tree = machine(s390(first=4, standby=4))
    file = tree / "etc/memory-layout.d/50-chmem.toml"
    memsim("fault", tree, "--config", "6=EIO")
    # What failed is not written; a size writes the blocks that it took.
    assert chmem("-s", tree, "-e", "-b", "5-6", "-z", "Movable", "--persistent").status == 64
    assert 'blocks = "5"\nstate = "online"\nzone = "Movable"\n' in file.read_text()
    assert chmem("-s", tree, "-e", "128m", "-z", "Movable", "--persistent").status == 0
    assert 'blocks = "4"\n' in file.read_text()
    # What is so already is wanted to stay so.
    assert chmem("-s", tree, "-e", "-b", "4-5", "--persistent").status == 0
    assert 'blocks = "4-5"\n' in file.read_text()
    kept = file.read_text()
    assert chmem("-s", tree, "-e", "-b", "6", "--persistent").status == 1
    dry = chmem("-s", tree, "-d", "-b", "4", "--persistent", "--dry-run")
    assert dry.status == 0
    assert "\n# would write /etc/memory-layout.d/50-chmem.toml\n" in dry.stdout
    assert file.read_text() == kept
    assert chmem("-s", tree, "-d", "-b", "5", "--persistent").status == 0
    assert 'blocks = "5"\nstate = "deconfigured"\n' in file.read_text()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version = 1\n#\xff\n", "-:2: not UTF-8"),
        (b"{", "-:1: not JSON: Expecting property name enclosed in double quotes"),
        (b"version = 3\n", "-:1: version must be 1, not 3"),
        (b"#" * LONGEST, "-: version must be 1, and is missing"),
        (b"#" * (LONGEST + 1), "-: too long"),
        (b"version = 1\nx = 3\n", "-:2: unknown key x (known: keep_free, memory, policy, version)"),
        (None, "-: standard input is closed or a directory"),
    ],
)
def test_apply_refuses_standard_input_that_is_no_layout(
    data: bytes | None,
    reason: str,
    machine: Make,
    chmem: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = None if data is None else io.TextIOWrapper(io.BytesIO(data))
    monkeypatch.setattr("sys.stdin", given)
    done = chmem("-s", machine(s390()), "--apply", "-")
    assert (done.status, done.stdout, done.stderr) == (1, "", f"chmem: {reason}\n")


def test_apply_takes_a_layout_from_standard_input_in_utf_8(
    machine: Make, chmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = machine(s390())
    data = "version = 1\n[[memory]]\nblocks = '5'\n# \N{SNOWMAN}".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))
    done = chmem("-s", tree, "--apply", "-")
    assert (done.status, done.stdout) == (0, "128M changed: memory block 5\n")


def test_apply_takes_toml_or_json_from_standard_input(machine: Make) -> None:
    tree = machine(s390(first=4, standby=4))
    for text in (
        'version = 1\n[[memory]]\nsize = "640M"\n',
        '{"version": 1, "memory": [{"size": "768M"}]}',
    ):
        done = run_program("chmem", "-s", tree, "--apply", "-", input=text)
        assert done.returncode == 0, done.stderr
    assert [status for _, status, _, _ in conditions(tree)].count("online") == 6
    before = conditions(tree)
    script = f"{SCRIPTS / 'chmem'} -s {tree} --apply - <&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "chmem: -: standard input is closed or a directory\n",
    )
    assert conditions(tree) == before


def test_apply_has_a_spare_take_the_place_of_a_block_that_fails(
    machine: Make, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=4))
    memsim("fault", tree, "--config", "4=EIO", "--config", "6=EIO")
    file = layout(tmp_path, '[[memory]]\nsize = "768M"\n')
    assert chmem("-s", tree, "--apply", file).status == 0
    found = [number for number, status, _, _ in conditions(tree) if status == "online"]
    assert found == [0, 1, 2, 3, 5, 7]
    file = layout(tmp_path, '[[memory]]\nsize = "896M"\n')
    done = chmem("-s", tree, "--apply", file)
    assert done.status == 64
    assert [number for number, status, _, _ in conditions(tree) if status == "online"] == found


def test_apply_with_verbose_says_what_was_done_to_each_block(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=4))
    file = layout(tmp_path, '[[memory]]\nblocks = "4"\nmemmap_on_memory = false\n')
    address = "(0x0000000020000000-0x0000000027ffffff)"
    done = chmem("-s", tree, "--apply", file, "-v")
    assert done.stdout == (
        f"Memory Block 4 {address} configured\nMemory Block 4 {address} enabled\n"
        "128M changed: memory block 4\n"
    )
    chmem("-s", tree, "--apply", layout(tmp_path, '[[memory]]\nblocks="4"\nstate="offline"\n'))
    file = layout(tmp_path, '[[memory]]\nblocks = "4"\nstate = "deconfigured"\n')
    assert chmem("-s", tree, "--apply", file, "-v").stdout == (
        f"Memory Block 4 {address} deconfigured\n128M changed: memory block 4\n"
    )


def test_apply_says_what_is_missing_of_a_layout_in_json(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    file = tmp_path / "layout.json"
    file.write_text('{"version": 1, "memory": [{"blocks": "6-9"}, {"node": 3}]}')
    done = chmem("-s", machine(s390(first=4, standby=4)), "--apply", file)
    assert done.status == 64
    assert done.stderr.splitlines()[0] == f"chmem: {file}: not on this machine: memory blocks 8-9"
    assert f"chmem: {file}: not on this machine: " in done.stderr.splitlines()[1]


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_save_replaces_regular_files_only(
    kind: str, machine: Make, chmem: Command, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(tmp_path / "target")
    else:
        place.mkdir()
    mode = place.lstat().st_mode
    done = chmem("-s", machine("s390-lpar"), "--save", place)
    assert done.status == 1
    assert "not a regular file" in done.stderr
    assert place.lstat().st_mode == mode


def test_two_sizes_that_the_same_memory_serves_do_not_grow(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(
        {
            "block_size": 128 << 20,
            "blocks": [{"range": [0, 15]}, {"range": [16, 47], "state": "offline"}],
        }
    )
    file = layout(
        tmp_path,
        '[[memory]]\nsize = "512M"\nzone = "Movable"\n[[memory]]\nsize = "1G"\nfrom = "highest"\n',
    )
    assert chmem("-s", tree, "--apply", file).status == 0
    before = conditions(tree)
    for _ in range(2):
        assert chmem("-s", tree, "--apply", file).stdout == "nothing to change\n"
    assert conditions(tree) == before


def test_blocks_leave_a_zone_that_a_block_in_several_zones_begins(
    chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    """All in the first run, as the dry run says; and what cannot be is not tried."""
    tree = tmp_path / "m"
    memsim("create", tree, "--memory", "4G", "--nodes", 2, "--block-size", "512M")
    file = layout(tmp_path, '[[memory]]\nblocks = "1-2"\nzone = "Normal"\n')
    for words in ([], ["--dry-run"]):
        done = chmem("-s", tree, "--apply", file, "--json", *words)
        assert [block["result"] for block in json.loads(done.stdout)["blocks"]] == ["failed"] * 2
        assert [block["steps"] for block in json.loads(done.stdout)["blocks"]] == [[], []]
    file = layout(tmp_path, '[[memory]]\nblocks = "1-5"\nzone = "Normal"\n')
    dry = chmem("-s", tree, "--apply", file, "--dry-run")
    assert (dry.status, dry.stdout.splitlines()[-1]) == (
        0,
        "# 2.5G would be changed: memory blocks 1-5",
    )
    assert chmem("-s", tree, "--apply", file).status == 0
    assert chmem("-s", tree, "--apply", file).stdout == "nothing to change\n"


@pytest.mark.parametrize(
    ("busy", "status", "told"),
    [
        (["4=EIO"], 0, "256M changed: memory blocks 5-6"),
        (["4=EIO", "5=EIO", "6=EIO"], 1, "memory blocks 4-6: the hypervisor refused"),
    ],
)
def test_all_or_nothing_takes_another_block_for_a_size(
    busy: list[str],
    status: int,
    told: str,
    chmem: Command,
    memsim: Command,
    machine: Make,
    tmp_path: Path,
) -> None:
    tree = machine(s390(4, 4))
    for fault in busy:
        memsim("fault", tree, "--config", fault)
    file = layout(tmp_path, '[[memory]]\nsize = "768M"\n')
    before = conditions(tree)
    done = chmem("-s", tree, "--apply", file, "--all-or-nothing")
    assert done.status == status, done
    assert told in done.stdout + done.stderr
    assert (conditions(tree) == before) is bool(status)
