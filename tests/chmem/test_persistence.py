"""chmem --persistent: what is to stay is there after the next boot, or nothing is changed."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chmem_py import persistence
from chmem_py.document import schema
from chmem_py.output import Output
from commands import Command, run_program
from hotplug_cli.program import CommandError
from layouts import INSTALLED, MINE, RULES, SAVED, UNIT, WANTED, layout
from memory_hotplug import Machine
from memory_hotplug.change.undo import Rewritten
from simulated import Make, conditions, online, s390, x86
from static_tree import MEMORY, put
from told import said_in

LATER = "etc/memory-layout.d/60-later.toml"
VENDORS = "usr/lib/memory-layout.d/50-chmem.toml"


@pytest.fixture
def tree(machine: Make) -> Path:
    """Blocks 0-3 online, standby memory in blocks 4-7."""
    return machine(s390(first=4, standby=4))


def boot(tree: Path, chmem: Command, memsim: Command) -> int:
    """Boot the machine, and do what its unit does then; the exit status of that."""
    assert memsim("reboot", tree).status == 0
    lines = (tree / UNIT).read_text().splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    program, *words = shlex.split(start.removeprefix("ExecStart="))
    assert Path(program).name == "chmem"
    assert (tree / WANTED).resolve() == tree / UNIT
    return chmem("-s", tree, *words).status


@pytest.mark.parametrize(
    "words",
    [
        "-e 256m",
        "-e -b 4-5 -z Normal -m 0",
        "-d 128m",
        "-d -b 2",
        "-c -b 4",
        "-g -b 4",
        "--reconfigure -m 1 -b 3",
        "--policy auto_online=online_movable",
    ],
)
@pytest.mark.parametrize("where", [s390(first=4, standby=4), x86()], ids=["s390", "x86"])
def test_a_persistent_change_is_there_after_a_boot(
    words: str, where: dict[str, Any], machine: Make, chmem: Command, memsim: Command
) -> None:
    tree = machine(where)
    policy = tree / MEMORY / "auto_online_blocks"
    first = conditions(tree), policy.read_text()
    done = chmem("-s", tree, *words.split(), "--persistent")
    if done.status:
        # Memory is never configured there.
        assert words[1] in "cg-" or "-m" in words
        assert "firmware" not in where
        assert not (tree / "etc").exists()
        return
    after = conditions(tree), policy.read_text()
    assert done.stdout.endswith(f"wrote /{SAVED}\n{INSTALLED}")
    assert boot(tree, chmem, memsim) == 0
    assert (conditions(tree), policy.read_text()) == after
    assert (first == after) == (words == "-g -b 4")


def test_persistent_says_once_what_it_wrote(tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "--policy", "auto_online=offline", "--persistent")
    # It is so already, but nothing has kept it so.
    assert (done.status, done.stdout) == (0, f"wrote /{SAVED}\n{INSTALLED}")
    done = chmem("-s", tree, "--policy", "auto_online=offline", "--persistent")
    assert (done.status, done.stdout) == (0, "nothing to change\n")
    done = chmem("-s", tree, "-e", "-b", "4", "--persistent")
    assert (done.status, done.stdout) == (0, f"wrote /{SAVED}\nwrote /{RULES}\n")
    done = chmem("-s", tree, "-e", "-b", "4", "--persistent")
    assert (done.status, done.stdout) == (0, "nothing to change\n")


def test_memory_that_is_added_later_has_the_rules_of_the_layout_as_it_is(
    tree: Path, chmem: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert 'KERNEL=="memory4"' in (tree / RULES).read_text()
    assert chmem("-s", tree, "-e", "-b", "5", "--persistent").status == 0
    assert 'KERNEL=="memory5"' in (tree / RULES).read_text()
    assert chmem("-s", tree, "--undo").status == 0
    assert 'KERNEL=="memory5"' not in (tree / RULES).read_text()
    assert 'KERNEL=="memory4"' in (tree / RULES).read_text()


def test_the_unit_of_a_package_that_is_enabled_is_enough(tree: Path, chmem: Command) -> None:
    unit = tree / "usr/lib/systemd/system/memory-layout.service"
    for path in (unit, tree / WANTED):
        path.parent.mkdir(parents=True)
    unit.touch()
    # It is there, and not enabled.
    dry = chmem("-s", tree, "-e", "-b", "4", "--persistent", "--dry-run")
    assert f"# would write /{UNIT}\n" in dry.stdout
    (tree / WANTED).symlink_to("/usr/lib/systemd/system/memory-layout.service")
    done = chmem("-s", tree, "-e", "-b", "4", "--persistent")
    assert (done.status, done.stdout) == (0, f"wrote /{SAVED}\n")


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(tree: Path, chmem: Command) -> None:
    def told() -> list[str]:
        done = chmem("-s", tree, "-e", "-b", "4", "--persistent", "--dry-run")
        assert done.status == 0
        return [line for line in done.stdout.splitlines() if line.startswith("# would")]

    places = [SAVED, UNIT, RULES, WANTED]
    assert told() == [f"# would write /{path}" for path in places]
    assert not (tree / "etc").exists()
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert told() == []
    assert chmem("-s", tree, "-d", "-b", "4", "--persistent").status == 0
    assert told() == [f"# would write /{path}" for path in (SAVED, RULES)]


# What is in the way is told before anything is changed.


def refused(tree: Path, chmem: Command, *words: str) -> str:
    """The message for a change that is refused as a whole."""
    # Whoever holds a simulated machine needs its /run.
    (tree / "run").mkdir(exist_ok=True)
    files = sorted(tree.rglob("*"))
    before = conditions(tree)
    for dry in ([], ["--dry-run"]):
        done = chmem("-s", tree, *(words or ("-e", "-b", "4")), "--persistent", *dry)
        assert (done.status, done.stdout) == (1, "")
        assert conditions(tree) == before
        assert sorted(tree.rglob("*")) == files
    return done.stderr.splitlines()[0] + "\n"


@pytest.mark.parametrize("path", [SAVED, UNIT, RULES, WANTED])
def test_what_is_masked_stays_so_and_nothing_is_changed(
    path: str, tree: Path, chmem: Command
) -> None:
    (tree / path).parent.mkdir(parents=True)
    (tree / path).symlink_to("/dev/null")
    said = f"chmem: /{path} is a link to /dev/null, which masks it; nothing was changed\n"
    assert refused(tree, chmem) == said
    assert refused(tree, chmem, "--policy", "auto_online=online") == said
    if path != SAVED:
        done = chmem("-s", tree, "--apply", "--install")
        assert (done.status, done.stdout) == (1, "")
        assert done.stderr.startswith(said)
        done = chmem("-s", tree, "--uninstall")
        assert (done.status, done.stdout) == (0, "nothing to remove\n")
        assert done.stderr.startswith(f"chmem: /{path}: left as it is, because it masks a unit")
        assert (tree / path).is_symlink()


@pytest.mark.parametrize("path", [UNIT, RULES])
def test_persistent_finds_that_an_empty_file_masks(path: str, tree: Path, chmem: Command) -> None:
    """systemd loads no empty unit, also where it is enabled."""
    assert chmem("-s", tree, "-e", "-b", "5", "--persistent").status == 0
    (tree / path).write_text("")
    if path == RULES:
        (tree / UNIT).unlink()
    said = f"chmem: /{path} is empty, which masks it; nothing was changed\n"
    assert refused(tree, chmem) == said
    done = chmem("-s", tree, "--apply", "--install")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(said)


@pytest.mark.parametrize("path", [SAVED, UNIT, RULES, WANTED])
def test_a_file_in_the_way_is_named_and_nothing_is_changed(
    path: str, tree: Path, chmem: Command
) -> None:
    (tree / path).parent.parent.mkdir(parents=True)
    (tree / path).parent.touch()
    said = refused(tree, chmem)
    assert said == f"chmem: /{path} cannot be written: Not a directory; nothing was changed\n"
    (tree / path).parent.unlink()
    (tree / path).mkdir(parents=True)
    said = refused(tree, chmem)
    assert said == f"chmem: /{path} cannot be written: Is a directory; nothing was changed\n"
    (tree / path).rmdir()
    os.mkfifo(tree / path)
    kind = "symbolic link" if path == WANTED else "regular file"
    said = refused(tree, chmem)
    assert said == f"chmem: /{path} cannot be written: not a {kind}; nothing was changed\n"


def test_a_unit_is_not_enabled_by_what_is_no_link(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    (tree / WANTED).unlink()
    (tree / WANTED).touch()
    said = refused(tree, chmem)
    assert said == f"chmem: /{WANTED} cannot be written: not a symbolic link; nothing was changed\n"


@pytest.mark.needs("user namespaces")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"',
            "Read-only file system",
        ),
        (
            'chmod a-w "$1" && shift && exec setpriv --bounding-set=-dac_override "$@"',
            "Permission denied",
        ),
    ],
    ids=["mount", "mode"],
)
def test_a_directory_that_is_read_only_keeps_the_change_from_being_made(
    script: str, reason: str, tree: Path
) -> None:
    (tree / "etc").mkdir()
    before = conditions(tree)
    within = ("unshare", "-rm", "sh", "-c", script, "-", str(tree / "etc"))
    done = run_program("chmem", "-s", tree, "-e", "-b", "4", "--persistent", within=within)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"chmem: /{SAVED} cannot be written: {reason}; nothing was changed\n"
    )
    assert conditions(tree) == before


def test_where_systemd_does_not_run_nothing_is_changed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "_SYSTEMD_RUNS", str(tmp_path / "systemd"))
    monkeypatch.setattr("chmem_py.install.check_program", lambda: None)
    with Machine.at(tree) as opened:
        opened.tree.is_this_machine = True
        with pytest.raises(CommandError) as caught:
            persistence.check_place(opened)
        assert caught.value.sentences[0].text.startswith("nothing applies the layout at boot: ")
        (tmp_path / "systemd").mkdir()
        persistence.check_place(opened)
        # Somebody has installed it all the same.
        (tmp_path / "systemd").rmdir()
        for path in (UNIT, WANTED):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
        put(tree, UNIT, "[Unit]\n")
        (tree / WANTED).symlink_to("../memory-layout.service")
        persistence.check_place(opened)


def test_commands_that_others_can_change_are_not_made_to_run_at_boot(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "chmem"
    program.touch()
    program.chmod(0o777)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setattr(persistence, "_SYSTEMD_RUNS", str(tmp_path))
    with Machine.at(tree) as opened:
        opened.tree.is_this_machine = True
        with pytest.raises(CommandError, match="users other than root can change "):
            persistence.check_place(opened)


@pytest.mark.parametrize("words", [["-e", "-b", "4"], ["--policy", "auto_online=online"]])
def test_beside_a_layout_that_is_broken_nothing_is_changed(
    words: list[str], tree: Path, chmem: Command
) -> None:
    """At boot nothing of it would be applied."""
    layout(tree, '[[memory]]\nblocks = "x"\n', MINE)
    assert refused(tree, chmem, *words).startswith(f"chmem: /{MINE}:3: ")


# What other files say


def test_a_later_file_that_says_otherwise_is_named_and_nothing_is_changed(
    tree: Path, chmem: Command
) -> None:
    layout(tree, '\n[[memory]]\nblocks = "5-6"\nstate = "deconfigured"\n', LATER)
    assert refused(tree, chmem, "-e", "-b", "4-5") == (
        f"chmem: /{LATER}:3 says otherwise of memory block 5, and counts more than /{SAVED}; "
        "nothing was changed\n"
    )
    assert "memory blocks 5-6," in refused(tree, chmem, "-e", "384m")
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    # What it says itself is no contradiction.
    assert chmem("-s", tree, "-g", "-b", "5", "--persistent").status == 0


def test_a_later_file_that_counts_by_size_is_named_where_it_takes_the_block(
    tree: Path, chmem: Command
) -> None:
    text = '[[memory]]\nblocks = "6-7"\nsize = "256M"\nstate = "deconfigured"\n'
    layout(tree, text, LATER)
    assert "memory block 7," in refused(tree, chmem, "-e", "-b", "7")
    # Half of that can be left to another entry.
    layout(tree, text.replace("256M", "128M"), LATER)
    assert chmem("-s", tree, "-e", "-b", "7", "--persistent").status == 0
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0


def test_persistent_counts_more_than_an_earlier_file(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    layout(tree, '[[memory]]\nblocks = "4-7"\nstate = "deconfigured"\n', MINE)
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert boot(tree, chmem, memsim) == 0
    assert conditions(tree)[4].state == "online"


def test_a_vendors_file_of_the_same_name_is_kept_in_the_new_one(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    layout(tree, '[[memory]]\nblocks = "7"\n', VENDORS)
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert 'blocks = "7"\n' in (tree / SAVED).read_text()
    assert boot(tree, chmem, memsim) == 0
    assert [n for n, found in conditions(tree).items() if found.state == "online"] == [
        *range(5),
        7,
    ]


def test_an_empty_file_goes_on_masking_a_vendors(tree: Path, chmem: Command) -> None:
    layout(tree, '[[memory]]\nblocks = "7"\n', VENDORS)
    (tree / SAVED).parent.mkdir(parents=True)
    (tree / SAVED).touch()
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert 'blocks = "7"\n' not in (tree / SAVED).read_text()
    assert chmem("-s", tree, "--undo").status == 0
    assert (tree / SAVED).read_text().strip() == ""
    assert chmem("-s", tree, "--apply").stdout == "nothing to change\n"


def test_a_later_policy_that_says_otherwise_is_named(tree: Path, chmem: Command) -> None:
    layout(tree, '[policy]\nauto_online = "offline"\n', LATER)
    (tree / "etc/memory-layout.d/70-empty.toml").touch()
    assert refused(tree, chmem, "--policy", "auto_online=online") == (
        f"chmem: /{LATER} says otherwise of auto_online, and counts more than /{SAVED}; "
        "nothing was changed\n"
    )
    done = chmem("-s", tree, "--policy", "auto_online=offline", "--persistent")
    assert done.status == 0


def test_what_is_known_only_afterwards_not_to_stay_is_told(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    """Block 7 takes the place of block 4, and a later file is about it."""
    layout(tree, '[[memory]]\nblocks = "5"\nstate = "deconfigured"\n', LATER)
    memsim("fault", tree, "--config", "4=EIO")
    done = chmem("-s", tree, "-e", "128m", "--persistent")
    assert done.status == 64
    assert (
        f"chmem: /{LATER}:2 says otherwise of memory block 5, and counts more than /{SAVED}: it "
        "does not stay\n"
    ) in done.stderr


def test_more_movable_memory_than_a_layout_gives_is_not_made_persistent(
    machine: Make, chmem: Command
) -> None:
    tree = machine(s390(first=2, standby=10))
    # The ratio is that of a layout, if one has it.
    layout(tree, "[policy]\nauto_movable_ratio = 150\n", MINE)
    assert "no layout gives zone Movable more than 150 %" in refused(
        tree, chmem, "-e", "-b", "2-5", "-z", "Movable"
    )
    (tree / MINE).unlink()
    assert "no layout gives zone Movable more than 301 %" in refused(
        tree, chmem, "-e", "-b", "2-8", "-z", "Movable"
    )
    assert chmem("-s", tree, "-e", "-b", "2-7", "-z", "Movable", "--persistent").status == 0


def test_memory_that_found_its_zone_by_itself_goes_there_again(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    """As much of it as nobody could ask for: any zone will do then."""
    tree = machine(s390(first=2, standby=10))
    assert chmem("-s", tree, "-e", "1152m", "--persistent").status == 0
    after = conditions(tree)
    assert [found.zone for found in after.values()].count("Movable") == 9
    assert 'zone = "Movable"' not in (tree / SAVED).read_text()
    assert boot(tree, chmem, memsim) == 0
    assert conditions(tree) == after


def test_a_block_that_could_not_be_deconfigured_stays_offline(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "4-7", "--persistent").status == 0
    memsim("fault", tree, "--deconfig", "5=EBUSY")
    assert chmem("-s", tree, "-d", "-b", "4-7", "--persistent").status == 64
    boot(tree, chmem, memsim)
    found = conditions(tree)[5]
    assert (found.state, found.config) == ("offline", 1)
    assert online(tree) == [0, 1, 2, 3]


# What does not stay


def test_what_the_layout_changes_back_is_told_in_one_line(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "4-6", "--persistent").status == 0
    told = f"/{SAVED} changes this back at the next boot"
    done = chmem("-s", tree, "-d", "-b", "4-5", "--advice=always")
    assert (done.status, done.stderr) == (
        0,
        f"chmem: memory blocks 4-5: {told}; --persistent keeps it\n",
    )
    done = chmem("-s", tree, "--total", "512m", "--advice=always")
    assert done.stderr == f"chmem: memory block 6: {told}; chmem --save keeps it\n"
    assert chmem("-s", tree, "-d", "-b", "7", "--advice=always").stderr == ""
    # It is advice.
    assert chmem("-s", tree, "-e", "-b", "6", "-z", "Normal", "--advice=never").stderr == ""
    document = json.loads(chmem("-s", tree, "-d", "-b", "6", "--json").stdout)
    assert said_in(document) == [f"memory block 6: {told}; --persistent keeps it"]
    assert chmem("-s", tree, "-d", "-b", "6", "--persistent", "--advice=always").stderr == ""


def test_a_policy_that_the_layout_changes_back_is_told(tree: Path, chmem: Command) -> None:
    words = ("-s", tree, "--policy", "--advice=always")
    assert chmem(*words, "auto_online=online", "--persistent").status == 0
    assert chmem(*words, "auto_online=offline").stderr == (
        f"chmem: auto_online: /{SAVED} changes this back at the next boot; --persistent keeps it\n"
    )
    assert chmem(*words, "auto_online=online").stderr == ""


def test_a_policy_and_blocks_that_are_changed_back_are_told_together(
    tree: Path, chmem: Command, tmp_path: Path
) -> None:
    assert chmem("-s", tree, "-e", "-b", "4-5", "--persistent").status == 0
    assert chmem("-s", tree, "--policy", "auto_online=online", "--persistent").status == 0
    other = tmp_path / "other.toml"
    other.write_text(
        'version = 1\n[policy]\nauto_online = "offline"\n'
        '[[memory]]\nblocks = "4-5"\nstate = "offline"\n'
    )
    told = chmem("-s", tree, "--apply", other, "--advice=always").stderr
    assert told.startswith("chmem: auto_online, memory blocks 4-5: ")


def test_without_what_applies_it_a_layout_changes_nothing_back(tree: Path, chmem: Command) -> None:
    layout(tree, '[[memory]]\nblocks = "4"\n', MINE)
    assert chmem("-s", tree, "-e", "-b", "4").status == 0
    assert chmem("-s", tree, "-d", "-b", "4", "--advice=always").stderr == ""


# Undo


def installed(tree: Path) -> list[bool]:
    return [(tree / path).is_symlink() or (tree / path).exists() for path in (UNIT, RULES, WANTED)]


def test_undo_takes_back_what_was_installed_and_undoing_that_installs_it_again(
    tree: Path, chmem: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    texts = [(tree / path).read_text() for path in (SAVED, UNIT, RULES)]
    done = chmem("-s", tree, "--undo")
    assert (done.status, done.stdout) == (
        0,
        f"128M changed: memory block 4\n/{SAVED} is as it was before\n"
        f"removed /{WANTED}\nremoved /{UNIT}\nremoved /{RULES}\n",
    )
    assert installed(tree) == [False] * 3
    done = chmem("-s", tree, "--undo")
    assert done.stdout.endswith(f"\n/{SAVED} is as it was before\n{INSTALLED}")
    assert [(tree / path).read_text() for path in (SAVED, UNIT, RULES)] == texts
    assert chmem("-s", tree, "--undo").status == 0
    assert installed(tree) == [False] * 3


def test_undoing_an_undo_installs_only_what_that_removed(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert chmem("-s", tree, "--uninstall").status == 0
    saved = (tree / SAVED).read_text()
    for text in (None, saved, None):
        done = chmem("-s", tree, "--undo")
        assert (done.status, installed(tree)) == (0, [False] * 3)
        assert ((tree / SAVED).read_text() if (tree / SAVED).exists() else None) == text


def test_undoing_an_undo_leaves_out_units_that_another_layout_kept(
    tree: Path, chmem: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    layout(tree, '[[memory]]\nblocks = "5"\nstate = "offline"\n', MINE)
    assert chmem("-s", tree, "--undo").status == 0
    assert installed(tree) == [True] * 3
    assert chmem("-s", tree, "--uninstall").status == 0
    assert chmem("-s", tree, "--undo").status == 0
    assert installed(tree) == [False] * 3


def test_undo_after_a_kill_finds_a_layout_that_was_not_written_yet(
    tree: Path, chmem: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    (tree / SAVED).unlink()
    (tree / UNIT).unlink()
    done = chmem("-s", tree, "--undo")
    assert (done.status, done.stderr) == (0, "")
    assert installed(tree) == [False] * 3
    assert conditions(tree)[4].config == 0


def test_an_undo_on_this_machine_says_that_systemd_has_to_read_its_units_again(
    tree: Path, chmem: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    chmem("-s", tree, "-e", "128m", "--persistent")
    layout = Rewritten("", (tree / SAVED).read_text(), installed=True)
    with Machine.at(tree) as machine, machine.hold() as held:
        machine.tree.is_this_machine = True
        assert persistence.put_back(machine, layout, held, Output())
    assert not (tree / UNIT).exists()
    assert "systemctl daemon-reload" in capsys.readouterr().err


def test_an_undo_that_cannot_install_again_says_so(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert chmem("-s", tree, "--undo").status == 0
    (tree / UNIT).symlink_to("/dev/null")
    done = chmem("-s", tree, "--undo")
    assert done.status == 64
    assert done.stderr.startswith(f"chmem: nothing applies /{SAVED} at boot any more\n")
    assert (tree / UNIT).is_symlink()


def test_save_has_the_rules_follow_the_layout(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    assert chmem("-s", tree, "-e", "-b", "5", "-z", "Movable").status == 0
    done = chmem("-s", tree, "--save")
    assert (done.status, done.stdout) == (0, f"wrote /{RULES}\n")
    assert 'KERNEL=="memory[45]"' in (tree / RULES).read_text()


def test_undo_leaves_what_another_layout_needs(tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "4", "--persistent").status == 0
    layout(tree, '[[memory]]\nblocks = "6"\n', MINE)
    done = chmem("-s", tree, "--undo")
    assert (done.status, installed(tree)) == (0, [True] * 3)
    # The rules are those of the layout that is left.
    assert done.stdout.endswith(f"/{SAVED} is as it was before\nwrote /{RULES}\n")
    assert 'KERNEL=="memory6"' in (tree / RULES).read_text()


# The document


def document(chmem: Command, *words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(chmem(*words, "--json").stdout)
    jsonschema.validate(found, schema())
    return found


def test_json_has_the_files_that_persistent_wrote(tree: Path, chmem: Command) -> None:
    def files(*words: str) -> list[tuple[str, str, bool]]:
        found = document(chmem, "-s", tree, *words)["files"]
        return [(one["path"], one["change"], one["happened"]) for one in found]

    def all_of(change: str, happened: bool, *paths: str) -> list[tuple[str, str, bool]]:
        return [(f"{tree}/{path}", change, happened) for path in paths]

    places = SAVED, UNIT, RULES, WANTED
    enable = "-e", "-b", "4", "--persistent"
    assert files(*enable, "--dry-run") == all_of("write", False, *places)
    assert files(*enable) == all_of("write", True, *places)
    assert files(*enable) == []
    assert files("--undo", "--dry-run") == all_of("remove", False, SAVED, WANTED, UNIT, RULES)
    assert files("--undo") == all_of("remove", True, SAVED, WANTED, UNIT, RULES)
    layout(tree, '[[memory]]\nblocks = "6"\n', MINE)
    assert files("--apply", "--install") == all_of("write", True, *places[1:])


def test_the_document_says_which_action_it_was(tree: Path, chmem: Command, tmp_path: Path) -> None:
    layout(tree, '[[memory]]\nblocks = "6"\n', MINE)
    file = layout(tmp_path, '[[memory]]\nblocks = "7"\n')
    for words, action, layouts in (
        ("-e -b 4", "enable", []),
        ("-d -b 4", "disable", []),
        ("-c -b 4", "configure", []),
        ("-g -b 4", "deconfigure", []),
        ("--reconfigure -m 1 -b 3", "reconfigure", []),
        ("--total 640m", "total", []),
        ("--total 640m", "total", []),
        ("--total 512m", "total", []),
        ("--undo", "undo", []),
        ("--policy auto_online=online", "policy", []),
        ("--apply", "apply", [f"/{MINE}"]),
        (f"--apply {file}", "apply", [str(file)]),
    ):
        request = document(chmem, "-s", tree, *words.split())["request"]
        assert (request["action"], request["layout_files"]) == (action, layouts), words
