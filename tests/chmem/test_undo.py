"""chmem --undo ends where the change began, on every built-in machine."""

import itertools
import json
import shutil
from pathlib import Path

import pytest

import meanwhile
from commands import Command, run_program, start_python
from layouts import SAVED, layout
from memory_hotplug import Machine
from memory_hotplug.attribute import MEMORY
from memory_hotplug.block import MemoryBlock, Zone, zone_of
from memory_hotplug.change.journal import HALF_DONE
from memory_hotplug.change.plan import NEEDED
from memsim.profile import PROFILES
from simulated import Make, Tree, half_done, leave_half_done, tree_at, write, x86
from told import said_in


def blocks(root: Path) -> list[MemoryBlock]:
    with Machine.at(root) as machine:
        return list(machine.read(NEEDED).blocks())


def sysfs(root: Path) -> Tree:
    """Every attribute and every link of the machine."""
    return {path: text for path, text in tree_at(root).items() if path.startswith("sys/")}


def without_zones(tree: Tree) -> Tree:
    return {path: text for path, text in tree.items() if not path.endswith("/valid_zones")}


def status_of(root: Path, *numbers: int) -> list[str]:
    with Machine.at(root) as machine:
        return [machine.block(number).status for number in numbers]


CHANGES = [
    (profile, change)
    for profile in sorted(set(PROFILES) - {"huge"})
    for change in ("-d 256m", "-d 1g --force", "-d -b 3", "-e 512m")
]
VAIN = [
    *(("arm64-offset", change) for change in ("-d 256m", "-d 1g --force", "-d -b 3")),
    ("ppc64-lpar", "-e 512m"),
    ("riscv64-virt", "-d -b 3"),
    ("riscv64-virt", "-e 512m"),
    ("s390-imbalance", "-d 256m"),
    ("x86-laptop", "-e 512m"),
    ("x86-laptop-7.2", "-d -b 3"),
    ("x86-laptop-7.2", "-e 512m"),
    ("x86-rhel8", "-e 512m"),
]
"""Changes of which the machine allows nothing."""
CHANGES += [("arm64-offset", "-e -b 8304-8305"), ("x86-two-nodes", "-d -b 23")]
CHANGES += [("s390-lpar", "--reconfigure -m 1 -b 5-6")]
CHANGES += [
    (profile, "-e -b 16-17")
    for profile in ("s390-debian", "s390-imbalance", "s390-lpar", "s390-pre-6.19")
]


@pytest.mark.parametrize(("profile", "change"), [one for one in CHANGES if one not in VAIN])
def test_undo_ends_where_a_change_began(
    profile: str, change: str, chmem: Command, machine: Make
) -> None:
    root = machine(profile)
    before, zones = sysfs(root), list(map(zone_of, blocks(root)))
    began = chmem("-s", root, *change.split(), "--json")
    assert json.loads(began.stdout)["bytes_changed"]
    done = chmem("-s", root, "--undo", "--json")
    assert done.status == 0
    after = sysfs(root)
    # At the edge of a zone's span the kernel may offer another zone only, which is told.
    moved = list(map(zone_of, blocks(root))) != zones
    assert moved == ("came back in zone" in "".join(said_in(json.loads(done.stdout))))
    if moved:
        # What zones other blocks are offered follows from where these went.
        before, after = (without_zones(found) for found in (before, after))
    assert after == before


@pytest.mark.parametrize(("profile", "change"), VAIN)
def test_a_change_of_nothing_leaves_nothing_to_undo(
    profile: str, change: str, chmem: Command, machine: Make
) -> None:
    root = machine(profile)
    before = blocks(root)
    assert chmem("-s", root, *change.split()).status != 0
    assert blocks(root) == before
    assert chmem("-s", root, "--undo").status == 1


def test_undo_of_a_zone_that_is_gone_says_which_zone_it_took(chmem: Command, lpar: Path) -> None:
    assert chmem("-s", lpar, "-d", "-b", "15").status == 0
    done = chmem("-s", lpar, "--undo", "--advice", "always")
    assert done.status == 0
    assert "memory block 15" in done.stderr
    assert "in zone Normal" in done.stderr
    assert "DMA" in done.stderr


def test_undo_of_a_block_that_somebody_set_online_in_another_zone_says_so(
    chmem: Command, lpar: Path
) -> None:
    assert chmem("-s", lpar, "-d", "-b", "14-15").status == 0
    write(lpar, "sys/firmware/memory/memory14/config", "1")
    write(lpar, f"{MEMORY}/memory14/state", "online")
    done = json.loads(chmem("-s", lpar, "--undo", "--json").stdout)
    assert (done["status"], done["bytes_changed"]) == (0, 128 << 20)
    (message,) = done["messages"]
    assert message["text"] == "memory blocks 14-15 came back in zone Normal; they were in DMA"


def test_a_change_that_was_taken_back_into_another_zone_says_so(
    chmem: Command, memsim: Command, lpar: Path
) -> None:
    memsim("fault", lpar, "--offline", "14=EBUSY")
    done = chmem("-s", lpar, "-d", "-b", "14-15", "--all-or-nothing", "--advice", "always")
    assert done.status == 1
    with Machine.at(lpar) as machine:
        block: MemoryBlock = machine.block(15, NEEDED)
    assert (zone_of(block) is Zone.NORMAL) == ("in zone Normal" in done.stderr)


def test_no_plan_is_made_twice_for_a_block(
    chmem: Command,
    memsim: Command,
    lpar: Path,
    machine: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from memory_hotplug.change import plan

    server = machine({**x86(4, 0), "blocks": [{"range": [0, 3]}, {"range": [4, 9], "config": 0}]})
    assert memsim("plug", server, "--as", "dimm", "--memory", "256M").status == 0

    made: list[int] = []
    for action, function in dict(plan._PLANS).items():

        def counted(block, order, function=function):  # type: ignore[no-untyped-def]  # any plan
            made.append(block.number)
            return function(block, order)

        monkeypatch.setitem(plan._PLANS, action, counted)
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nblocks = "4-20"\nmemmap_on_memory = true\n')
    for words in (
        ["-e", "512m", "--json"],
        ["-d", "256m", "-v"],
        ["-d", "-b", "3-6", "--dry-run"],
        ["-e", "-b", "3-6", "--all-or-nothing"],
        ["--reconfigure", "-m", "1", "-b", "5-6"],
        ["-c", "128m"],
        ["-g", "128m"],
        ["--total", "1536m"],
        ["--apply", str(layout)],
        ["--undo"],
        ["-e", "--device", "PNP0C80:00"],
        ["-d", "128m", "--device", "PNP0C80:00"],
    ):
        made.clear()
        done = chmem("-s", server if "--device" in words else lpar, *words)
        assert done.status == 0, done.stderr
        # The way back is made from what a block is then, not by an order.
        assert (not made) == (words == ["--undo"])
        assert len(made) == len(set(made)), words


def test_after_a_boot_there_is_nothing_to_undo(chmem: Command, memsim: Command, lpar: Path) -> None:
    assert chmem("-s", lpar, "-e", "512m").status == 0
    assert memsim("reboot", lpar).status == 0
    done = chmem("-s", lpar, "--undo")
    assert (done.status, done.stderr) == (1, "chmem: there is no change to undo\n")


def test_undo_takes_back_what_persistent_wrote(chmem: Command, lpar: Path) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 0
    first = (lpar / SAVED).read_text()
    assert chmem("-s", lpar, "-e", "-b", "17", "--persistent").status == 0
    second = (lpar / SAVED).read_text()
    done = chmem("-s", lpar, "--undo")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.startswith(f"128M changed: memory block 17\n/{SAVED} is as it was before\n")
    assert (lpar / SAVED).read_text() == first
    # The undoing is a change, too.
    assert chmem("-s", lpar, "--undo").status == 0
    assert (lpar / SAVED).read_text() == second
    with Machine.at(lpar) as machine:
        assert machine.block(17).status == "online"


def test_undo_removes_a_layout_that_there_was_not(chmem: Command, lpar: Path) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 0
    done = chmem("-s", lpar, "--undo", "--dry-run")
    assert f"# would remove /{SAVED}" in done.stdout.splitlines()
    assert (lpar / SAVED).exists()
    assert chmem("-s", lpar, "--undo").status == 0
    assert not (lpar / SAVED).exists()


def test_undo_of_a_change_that_only_the_layout_saw(chmem: Command, lpar: Path) -> None:
    # Block 5 is online already.
    assert chmem("-s", lpar, "-e", "-b", "5", "--persistent").status == 0
    assert (lpar / SAVED).exists()
    done = chmem("-s", lpar, "--undo")
    assert done.status == 0
    assert done.stdout.startswith(f"/{SAVED} is as it was before\n")
    assert not (lpar / SAVED).exists()


def test_undo_takes_back_a_policy_and_its_layout(chmem: Command, lpar: Path) -> None:
    policy = lpar / "sys/devices/system/memory/auto_online_blocks"
    before = policy.read_text()
    assert chmem("-s", lpar, "--policy", "auto_online=online_movable", "--persistent").status == 0
    assert policy.read_text() == "online_movable\n"
    assert chmem("-s", lpar, "--undo").status == 0
    assert policy.read_text() == before
    assert not (lpar / SAVED).exists()


def test_a_record_with_a_broken_layout_is_not_used(chmem: Command, lpar: Path) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 0
    record = lpar / "run/memory-hotplug/undo.json"
    for damaged in ({"before": "version = 7\n", "after": ""}, {"before": ""}, 3):
        found = json.loads(record.read_text())
        record.write_text(json.dumps({**found, "layout": damaged}))
        done = chmem("-s", lpar, "--undo")
        assert (done.status, done.stdout) == (1, "")
        assert "undo.json" in done.stderr


@pytest.mark.parametrize("refused", [["--keep-free", "100g"], ["--all-or-nothing"]])
def test_an_undo_that_is_refused_can_be_repeated(
    refused: list[str], lpar: Path, chmem: Command, memsim: Command
) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16-17", "--persistent").status == 0
    saved = (lpar / SAVED).read_text()
    memsim("fault", lpar, "--offline", "16=EBUSY:1")
    assert chmem("-s", lpar, "--undo", *refused).status == 1
    assert (lpar / SAVED).read_text() == saved
    assert chmem("-s", lpar, "--undo", "--retry", "1").status == 0
    assert status_of(lpar, 16, 17) == ["disabled", "disabled"]
    assert not (lpar / SAVED).exists()


def test_an_undo_in_part_goes_on_with_the_rest(lpar: Path, chmem: Command, memsim: Command) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16-19").status == 0
    memsim("fault", lpar, "--offline", "18=EBUSY:1")
    assert chmem("-s", lpar, "--undo").status == 64
    assert status_of(lpar, 16, 17, 18, 19) == ["disabled", "disabled", "online", "disabled"]
    done = chmem("-s", lpar, "--undo")
    assert (done.status, done.stdout) == (0, "128M changed: memory block 18\n")
    # Complete now, it is a change that can be undone as well: the whole.
    assert chmem("-s", lpar, "--undo").status == 0
    assert status_of(lpar, 16, 17, 18, 19) == ["online"] * 4
    assert chmem("-s", lpar, "--undo").status == 0
    assert status_of(lpar, 16, 17, 18, 19) == ["disabled"] * 4


def test_an_undo_that_was_killed_can_be_undone_as_a_whole_once_the_rest_is_done(
    lpar: Path, chmem: Command
) -> None:
    """It is killed at its second block, with half of that done."""
    policy = lpar / "sys/devices/system/memory/auto_online_blocks"
    wanted = layout(
        lpar, '[policy]\nauto_online = "online"\n[[memory]]\nblocks = "16-19"\nstate = "online"\n'
    )
    assert chmem("-s", lpar, "--apply", wanted).status == 0
    code = (
        "import os, sys\n"
        "from memory_hotplug.change.transaction import Transaction\n"
        "run_one = Transaction.run\n"
        "def run(work):\n"
        "    if work.change.number == 18:\n"
        "        os._exit(9)\n"
        "    return run_one(work)\n"
        "Transaction.run = run\n"
        "from hotplug_cli.program import run as run_program\n"
        "from chmem_py.cli import chmem\n"
        "run_program(chmem, 'chmem')\n"
    )
    process = start_python(code, "-s", str(lpar), "--undo")
    process.communicate()
    assert process.returncode == 9
    assert status_of(lpar, 16, 17, 18, 19) == ["online", "online", "online", "disabled"]
    assert policy.read_text() == "offline\n"
    done = chmem("-s", lpar, "--undo")
    assert (done.status, done.stdout) == (0, "384M changed: memory blocks 16-18\n")
    assert status_of(lpar, 16, 17, 18, 19) == ["disabled"] * 4
    assert chmem("-s", lpar, "--undo").status == 0
    assert status_of(lpar, 16, 17, 18, 19) == ["online"] * 4
    assert policy.read_text() == "online\n"


def test_an_undo_waits_for_memory_that_was_taken_out(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    root = machine("x86-dimm-slots")
    memsim("plug", root, "--memory", "1G")
    assert chmem("-s", root, "-e", "-b", "104-111", "-z", "Movable").status == 0
    assert chmem("-s", root, "-d", "-b", "38-111").status == 0
    memsim("unplug", root, "--memory", "1G")
    gone = "not on this machine: memory blocks 104-111\n"
    for status, line in (64, "256M changed: memory blocks 38-39\n"), (1, "nothing to change\n"):
        done = chmem("-s", root, "--undo", "--advice=never")
        assert (done.status, done.stdout) == (status, line)
        assert done.stderr.endswith(gone)
    memsim("plug", root, "--memory", "1G")
    done = chmem("-s", root, "--undo")
    assert (done.status, done.stdout) == (0, "1G changed: memory blocks 104-111\n")
    # The whole undoing is the last change.
    done = chmem("-s", root, "--undo")
    assert (done.status, done.stdout) == (0, "1280M changed: memory blocks 38-39, 104-111\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_an_undo_that_a_signal_ends_anywhere_goes_on_up_to_the_layout(
    name: str, lpar: Path, chmem: Command, tmp_path: Path
) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 0
    program = f"import runpy; runpy.run_path({meanwhile.__file__!r}, run_name='__main__')"

    def is_undone(root: Path) -> bool:
        return (status_of(root, 16), (root / SAVED).exists()) == (["disabled"], False)

    ends = []
    for instant in itertools.count(1):
        root = tmp_path / f"m{instant}"
        shutil.copytree(lpar, root, symlinks=True)
        words = ("--at", str(instant), "--signal", name, "--", "chmem", "-s", str(root), "--undo")
        process = start_python(program, *words)
        process.communicate()
        ends.append(process.returncode)
        if not is_undone(root):
            assert chmem("-s", root, "--undo").status == 0, instant
            assert is_undone(root), instant
        if ends[-1] == 0:
            break
    assert len(ends) > 10


@pytest.mark.parametrize("before", ["", "chmem -e -b 5 --persistent"])
def test_an_undo_that_an_error_keeps_from_the_layout_anywhere_goes_on_with_it(
    before: str, lpar: Path, chmem: Command, tmp_path: Path
) -> None:
    """As on a full disk: from some change of a file in /etc on, no further one is possible."""
    if before:
        assert chmem("-s", lpar, *before.split()[1:]).status == 0

    def etc(root: Path) -> Tree:
        found = tree_at(root).items()
        return {path: text for path, text in found if text and path.startswith("etc/")}

    kept = etc(lpar)
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 0
    for instant in itertools.count(1):
        root = tmp_path / f"m{instant}"
        shutil.copytree(lpar, root, symlinks=True)
        with meanwhile.no_room_for_layouts(instant):
            done = chmem("-s", root, "--undo")
        assert status_of(root, 16) == ["disabled"]
        if done.status == 0:
            break
        assert done.status == 64
        said, advice, *_ = done.stderr.splitlines()
        assert said.startswith("chmem: the layout could not be put back: /etc/")
        assert said.endswith(": No space left on device")
        assert advice.endswith(f"goes on with it: chmem --undo --sysroot {root}")
        again = chmem("-s", root, "--undo")
        assert (again.status, again.stderr) == (0, ""), instant
        assert (status_of(root, 16), etc(root)) == (["disabled"], kept), instant
        # The whole undoing is the last change.
        assert chmem("-s", root, "--undo").status == 0
        assert (status_of(root, 16), etc(root)) == (["online"], etc(lpar)), instant
    assert instant > (2 if before else 4)


@pytest.mark.needs("user namespaces")
def test_undo_where_etc_is_read_only_says_so_and_so_does_its_dry_run(lpar: Path) -> None:
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    within = ("unshare", "-rm", "sh", "-c", script, "-", str(lpar / "etc"))
    assert run_program("chmem", "-s", lpar, "-e", "-b", "16", "--persistent").returncode == 0
    said = f"the layout could not be put back: /{SAVED}: Read-only file system"
    for words, status in ((["--dry-run"], 64), ([], 64), ([], 1), (["--json"], 1)):
        done = run_program("chmem", "-s", lpar, "--undo", *words, within=within)
        assert done.returncode == status, words
        assert said in done.stderr
        if "--json" in words:
            (message,) = json.loads(done.stdout)["messages"]
            assert (message["code"], message["text"]) == ("LAYOUT_NOT_BACK", said)
    assert run_program("chmem", "-s", lpar, "--undo").returncode == 0
    assert not (lpar / SAVED).exists()


def test_undo_knows_the_blocks_that_took_the_place_of_others(
    lpar: Path, chmem: Command, memsim: Command
) -> None:
    """Also after a kill, as the record shows that the process has while it works."""
    memsim("fault", lpar, "--offline", "15=EBUSY", "--offline", "14=EBUSY")
    code = (
        "import os, sys\n"
        "from memory_hotplug.change.journal import Journal\n"
        "Journal.finish = lambda *_: os._exit(9)\n"
        "from hotplug_cli.program import run\n"
        "from chmem_py.cli import chmem\n"
        "run(chmem, 'chmem')\n"
    )
    process = start_python(code, "-s", str(lpar), "-d", "256m")
    process.communicate()
    assert process.returncode == 9
    assert status_of(lpar, 12, 13, 14, 15) == ["disabled", "disabled", "online", "online"]
    assert chmem("-s", lpar, "--undo").status == 0
    assert status_of(lpar, 12, 13) == ["online", "online"]


def test_a_captured_tree_has_no_change_to_undo(lpar: Path, chmem: Command, tmp_path: Path) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16").status == 0
    tree = tmp_path / "tree"
    shutil.copytree(lpar, tree, symlinks=True, ignore=shutil.ignore_patterns(".memsim"))
    done = chmem("-s", tree, "--undo")
    assert (done.status, done.stderr) == (1, "chmem: there is no change to undo\n")


@pytest.mark.parametrize(
    "line",
    [
        half_done(16).replace('"configured": true', '"configured": false'),
        half_done(16).replace('"state": "online"', '"state": "offline"'),
        half_done(16).replace('"configured": true', '"configured": null'),
    ],
)
def test_a_line_about_a_block_that_cannot_be_does_no_harm(
    line: str, lpar: Path, chmem: Command
) -> None:
    leave_half_done(lpar, line)
    assert chmem("-s", lpar, "-e", "-b", "17").status == 0
    assert status_of(lpar, 16, 17) == ["disabled", "online"]
    assert not (lpar / "run" / HALF_DONE).exists()


def test_persistent_writes_only_what_is_so(lpar: Path, chmem: Command, memsim: Command) -> None:
    assert chmem("-s", lpar, "-d", "-b", "0-15", "--persistent").status == 1
    assert chmem("-s", lpar, "-e", "-b", "16-99", "--all-or-nothing", "--persistent").status == 1
    assert not (lpar / SAVED).exists()
    for number in range(1, 16):
        memsim("fault", lpar, "--config", f"{number}=EIO")
    words = ["--reconfigure", "-m", "1", "-b", "1-15", "--keep-free", "1500m", "--persistent"]
    assert chmem("-s", lpar, *words).status != 0
    assert not (lpar / SAVED).exists()


def test_a_change_that_cannot_be_recorded_is_made_and_told_once(lpar: Path, chmem: Command) -> None:
    record = lpar / "run/memory-hotplug/undo.json"
    record.mkdir(parents=True)
    (record / "in the way").touch()
    said = "/run/memory-hotplug/undo.json cannot be written: not a regular file; chmem --undo"
    done = chmem("-s", lpar, "-e", "-b", "16-18", "--persistent")
    assert (done.status, status_of(lpar, 16, 18)) == (0, ["online", "online"])
    assert done.stderr == f"chmem: {said} cannot take back all of this change\n"
    document = json.loads(chmem("-s", lpar, "-d", "-b", "16", "--json").stdout)
    assert said_in(document)[0] == f"{said} cannot take back all of this change"
    # Nothing that could be undone was done.
    assert chmem("-s", lpar, "-d", "-b", "16").stderr == ""


def test_undo_leaves_a_layout_that_was_written_since(lpar: Path, chmem: Command) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 0
    mine = (lpar / SAVED).read_text() + '[[memory]]\nblocks = "3"\n'
    (lpar / SAVED).write_text(mine)
    done = chmem("-s", lpar, "--undo")
    assert done.status == 64
    assert f"/{SAVED}: left as it is" in done.stderr
    assert (lpar / SAVED).read_text() == mine
    assert status_of(lpar, 16) == ["disabled"]


def test_persistent_beside_a_broken_layout_changes_nothing(lpar: Path, chmem: Command) -> None:
    (lpar / SAVED).parent.mkdir(parents=True)
    (lpar / SAVED).write_text("version = 2\n")
    assert chmem("-s", lpar, "-e", "-b", "16", "--persistent").status == 1
    assert status_of(lpar, 16) == ["disabled"]


def test_undo_goes_on_beside_a_broken_layout_and_says_so(lpar: Path, chmem: Command) -> None:
    assert chmem("-s", lpar, "-e", "-b", "16").status == 0
    (lpar / SAVED).parent.mkdir(parents=True)
    (lpar / SAVED).write_text("broken")
    done = chmem("-s", lpar, "--undo")
    assert (done.status, status_of(lpar, 16)) == (0, ["disabled"])
    assert "no layout says how much is to stay available" in done.stderr
