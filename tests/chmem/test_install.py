"""chmem --apply --install and --uninstall."""

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import pytest

from chmem_py.install import check_program, uninstall
from chmem_py.output import Output
from commands import Command
from hotplug_cli.getopt import UsageError
from layouts import INSTALLED, MINE, ONLINE_RULE, RULES, UNIT, WANTED, layout
from memory_hotplug import Machine
from simulated import Make, online, s390
from static_tree import MEMORY, put


@pytest.fixture
def tree(machine: Make) -> Path:
    root = machine(s390(first=4, standby=4))
    layout(root, '[[memory]]\nblocks = "4-5"\nzone = "Movable"\n', MINE)
    return root


def test_what_is_installed_is_removed_without_a_trace(tree: Path, chmem: Command) -> None:
    before = {path for path in (tree / "etc").rglob("*") if not path.is_dir()}
    done = chmem("-s", tree, "--apply", "--install")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == f"256M changed: memory blocks 4-5\n{INSTALLED}"
    assert online(tree) == [0, 1, 2, 3, 4, 5]
    assert (tree / WANTED).resolve() == tree / UNIT
    assert 'KERNEL=="memory[45]", ATTR{state}=="offline"' in (tree / RULES).read_text()
    assert "ExecStart=" in (tree / UNIT).read_text()
    # Once more is the same again.
    texts = [(tree / path).read_text() for path in (UNIT, RULES)]
    done = chmem("-s", tree, "--apply", "--install")
    assert done.stdout == "nothing to change\nnothing to install\n"
    assert [(tree / path).read_text() for path in (UNIT, RULES)] == texts
    # Only what is not as it should be is written.
    (tree / RULES).write_text("# other rules\n")
    done = chmem("-s", tree, "--apply", "--install")
    assert done.stdout == f"nothing to change\nwrote /{RULES}\n"
    assert [(tree / path).read_text() for path in (UNIT, RULES)] == texts
    done = chmem("-s", tree, "--uninstall")
    assert done.stdout == f"removed /{WANTED}\nremoved /{UNIT}\nremoved /{RULES}\n"
    assert done.stderr.startswith(f"chmem: nothing applies /{MINE} at boot any more\n")
    assert {path for path in (tree / "etc").rglob("*") if not path.is_dir()} == before
    done = chmem("-s", tree, "--uninstall")
    assert (done.status, done.stdout) == (0, "nothing to remove\n")


def test_a_file_that_was_written_is_a_part(tree: Path, chmem: Command) -> None:
    # Nothing but the installing can be done.
    layout(tree, '[[memory]]\nblocks = "32-39"\n', MINE)
    for words, status in (["--dry-run"], 64), ([], 64), ([], 1):
        done = chmem("-s", tree, "--apply", "--install", *words)
        assert (done.status, "not on this machine" in done.stderr) == (status, True)
    assert done.stdout == "nothing to change\nnothing to install\n"


@pytest.mark.parametrize("rehearsal", [(), ("--dry-run",)])
def test_all_or_nothing_installs_nothing_where_the_layout_is_not_applied(
    rehearsal: tuple[str, ...], tree: Path, chmem: Command
) -> None:
    layout(tree, '[[memory]]\nsize = "8G"\n', MINE)
    done = chmem("-s", tree, "--apply", "--install", "--all-or-nothing", *rehearsal)
    assert done.status == 1
    assert done.stderr.endswith("chmem: nothing is changed (--all-or-nothing)\n")
    assert "memory-layout.service" not in done.stdout
    assert not (tree / UNIT).exists() and not (tree / RULES).exists()


def test_install_in_a_dry_run_writes_nothing(tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "--apply", "--install", "--dry-run")
    assert done.status == 0
    assert done.stdout.endswith(
        f"# would write /{UNIT}\n# would write /{RULES}\n# would write /{WANTED}\n"
    )
    assert not (tree / "etc/udev").exists()
    assert online(tree) == [0, 1, 2, 3]
    chmem("-s", tree, "--apply", "--install")
    (tree / UNIT).unlink()
    done = chmem("-s", tree, "--uninstall", "--dry-run")
    # The link leads nowhere, and is there.
    assert done.stdout == f"# would remove /{WANTED}\n# would remove /{RULES}\n"
    assert done.stderr == ""
    assert (tree / WANTED).is_symlink()
    assert chmem("-s", tree, "--uninstall").status == 0
    done = chmem("-s", tree, "--uninstall", "--dry-run")
    assert (done.status, done.stdout) == (0, "nothing to remove\n")


@pytest.mark.parametrize(
    "words",
    [["--apply", "x.toml", "--install"], ["--install"], ["128m", "--install"]],
)
def test_only_the_layout_of_the_machine_is_installed(
    words: list[str], tree: Path, chmem: Command
) -> None:
    done = chmem("-s", tree, *words)
    assert (done.status, done.stderr) == (
        1,
        "chmem: option --install goes with --apply without a FILE\n"
        "chmem: chmem --apply --install applies the layout in memory-layout.d at each boot\n",
    )


VENDOR = "usr/lib/udev/rules.d/40-vendor.rules"
OFFLINE = '[[memory]]\nblocks = "6"\nstate = "offline"\n'
MOVABLE = '[[memory]]\nblocks = "6"\nzone = "Movable"\n'


@pytest.mark.parametrize(
    ("text", "conflict"),
    [
        (OFFLINE, True),
        (MOVABLE, False),
        ('[policy]\nauto_online = "offline"\n', True),
        ('[policy]\nauto_online = "online"\n', False),
    ],
)
def test_a_vendors_rule_that_would_undo_the_layout_is_named(
    text: str, conflict: bool, tree: Path, chmem: Command
) -> None:
    rule = tree / VENDOR
    rule.parent.mkdir(parents=True)
    rule.write_text('\nSUBSYSTEM=="memory", ACTION=="add", ATTR{state}="online"\n')
    layout(tree, text, MINE)
    done = chmem("-s", tree, "--apply", "--install", "--advice=always")
    assert done.status == 0
    expected = (
        f"chmem: /{VENDOR}:2 sets added memory online, also where the layout says offline\n"
        f"chmem: ln -s /dev/null {tree}/etc/udev/rules.d/40-vendor.rules masks it\n"
    )
    assert done.stderr == (expected if conflict else "")
    (tree / "etc/udev/rules.d/40-vendor.rules").symlink_to("/dev/null")
    assert chmem("-s", tree, "--apply", "--install", "--advice=always").stderr == ""


CPUS = 'SUBSYSTEM=="cpu", ACTION=="add", ATTR{online}=="0", ATTR{online}="1"\n'
GUARD = 'SUBSYSTEM!="memory", GOTO="end"\n'
OURS = "etc/udev/rules.d/40-vendor.rules"
WANTS = 'SUBSYSTEM=="memory", TAG+="systemd", ENV{SYSTEMD_WANTS}="memory-online@%k.service"\n'


@pytest.mark.parametrize(
    ("name", "text", "said", "kept"),
    [
        (OURS, CPUS + ONLINE_RULE, "takes line 2 out", "processors"),
        (OURS, ONLINE_RULE + ONLINE_RULE, "takes line 1 and line 2 out", ""),
        (
            VENDOR,
            CPUS + ONLINE_RULE,
            "takes line 2 out, in a copy that comes before it",
            "processors",
        ),
        (
            VENDOR,
            ONLINE_RULE + 'KERNEL=="eth[0-9]*", NAME="x%n"\nATTR{x}=="1", MODE="0600"\n',
            "takes line 1 out, in a copy that comes before it",
            "other devices, devices of eth",
        ),
        (OURS, ONLINE_RULE.replace(", A", ", \\\n A", 1), "takes lines 1 to 2 out", ""),
        # Of many that name units, udev heeds the last one, and the one before it once that is gone.
        (OURS, WANTS + CPUS + WANTS, "takes line 1 and line 3 out", "processors"),
        (VENDOR, f'{GUARD}ENV{{.x}}="1"\n{ONLINE_RULE}LABEL="end"\n', "masks it", None),
        (
            OURS,
            f'{GUARD}SUBSYSTEM=="memory", ATTR{{state}}="online", LABEL="end"\n',
            "takes what does it out of line 2",
            "",
        ),
        (
            VENDOR,
            'SUBSYSTEM=="memory", RUN+="/bin/x /a.b*", GOTO="end"\nLABEL="end"\n',
            "takes what does it out of line 1, in a copy that comes before it",
            "",
        ),
    ],
)
def test_the_advice_stops_a_rule_and_keeps_the_rest(
    name: str, text: str, said: str, kept: str | None, tree: Path, chmem: Command
) -> None:
    """The command of the advice is carried out."""
    file = tree / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    layout(tree, OFFLINE, MINE)
    advice = chmem("-s", tree, "--apply", "--install", "--advice=always").stderr.splitlines()[-1]
    command, _, rest = advice.removeprefix("chmem: ").partition(f" {said}")
    also = f"; masking the file would also drop its rules for {kept}" if kept else ""
    assert (rest, advice.count(said)) == (also, 1)
    subprocess.run(["sh", "-ec", command], check=True)
    assert chmem("-s", tree, "--apply", "--install", "--advice=always").stderr == ""
    if kept is not None:
        left = (tree / OURS).read_text()
        lines = [
            line for line in text.splitlines() if "memory" not in line and "online" not in line
        ]
        assert all(line in left for line in lines)
        assert 'ATTR{state}="online"' not in left


BOTH = 'ATTR{online}=="0", ATTR{online}="1"'
JUMP = 'ACTION!="add", GOTO="end"\n'
NOT_MEMORY = 'SUBSYSTEM!="memory", '


@pytest.mark.parametrize("name", [OURS, VENDOR])
@pytest.mark.parametrize(
    ("before", "rule", "after", "stays"),
    [
        (f'{JUMP}SUBSYSTEM!="cpu|memory", GOTO="end"\n', BOTH, 'LABEL="end"\n', NOT_MEMORY + BOTH),
        (
            "",
            f'SUBSYSTEM=="cpu|memory", {BOTH}',
            "",
            f'{NOT_MEMORY}SUBSYSTEM=="cpu|memory", {BOTH}',
        ),
        (
            'SUBSYSTEM=="cpu", GOTO="on"\nSUBSYSTEM=="memory", GOTO="on"\nGOTO="end"\n',
            f'LABEL="on", {BOTH}',
            'LABEL="end"\n',
            f'{NOT_MEMORY}LABEL="on", {BOTH}',
        ),
        (
            'SUBSYSTEM!="cpu|memory", GOTO="end"\n',
            'ATTR{online}=="0", \\\n ATTR{online}="1"',
            'LABEL="end"\n',
            f'{NOT_MEMORY}ATTR{{online}}=="0", \\\n ATTR{{online}}="1"',
        ),
        # What else the line does stays for memory, too.
        (
            'SUBSYSTEM!="cpu|memory", GOTO="end"\n',
            'ATTR{online}="1", MODE="0600", GOTO="end"',
            'LABEL="end"\n',
            f'{NOT_MEMORY}ATTR{{online}}="1", MODE="0600", GOTO="end"\n'
            'SUBSYSTEM=="memory", , MODE="0600", GOTO="end"',
        ),
    ],
    ids=["guard", "one line", "jumps", "two lines", "more"],
)
def test_the_advice_keeps_a_rule_for_processors(
    before: str, rule: str, after: str, stays: str, name: str, tree: Path, chmem: Command
) -> None:
    file = tree / name
    file.parent.mkdir(parents=True)
    file.write_text(f"{before}{rule}\n{after}")
    layout(tree, OFFLINE, MINE)
    advice = chmem("-s", tree, "--apply", "--install", "--advice=always").stderr.splitlines()[-1]
    first = before.count("\n") + 1
    lines = f"lines {first} to {first + 1}" if "\n" in rule else f"line {first}"
    copied = ", in a copy that comes before it" if name == VENDOR else ""
    command, said, rest = advice.removeprefix("chmem: ").partition(f" keeps {lines} from memory")
    assert said
    assert rest == f"{copied}; masking the file would also drop its rules for processors"
    subprocess.run(["sh", "-ec", command], check=True)
    assert (tree / OURS).read_text() == f"{before}{stays}\n{after}"
    assert chmem("-s", tree, "--apply", "--install", "--advice=always").stderr == ""


@pytest.mark.parametrize(
    "guard",
    [
        GUARD,
        'KERNEL!="memory[0-9]*", GOTO="end"\n',
        'DEVPATH!="/devices/system/memory/*", GOTO="end"\n',
        'SUBSYSTEM=="memory", GOTO="mem"\nGOTO="end"\nLABEL="mem"\n',
    ],
)
def test_a_file_for_memory_only_is_masked(guard: str, tree: Path, chmem: Command) -> None:
    file = tree / VENDOR
    file.parent.mkdir(parents=True)
    file.write_text(f'{guard}{BOTH}\nLABEL="end"\n')
    layout(tree, OFFLINE, MINE)
    advice = chmem("-s", tree, "--apply", "--install", "--advice=always").stderr.splitlines()[-1]
    assert advice == f"chmem: ln -s /dev/null {tree}/{OURS} masks it"


def test_a_rule_of_processors_that_sets_memory_online_is_taken_out(
    tree: Path, chmem: Command
) -> None:
    """To keep it from memory would not stop it."""
    file = tree / OURS
    file.parent.mkdir(parents=True)
    file.write_text('SUBSYSTEM=="cpu|memory", ATTR{[memory/memory6]state}="online"\n')
    layout(tree, OFFLINE, MINE)
    advice = chmem("-s", tree, "--apply", "--install", "--advice=always").stderr.splitlines()[-1]
    assert advice == f"chmem: sed -i 1d {tree}/{OURS} takes line 1 out"


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        ('CONST{virt}=="kvm", ATTR{state}="online"', "may set added memory online"),
        ('RUN+="/bin/x"', "runs a program, which may set added memory online"),
        ('KERNEL=="memory6", ATTR{state}="online"', "sets added memory online"),
        ('KERNEL=="memory[0-57-9]", ATTR{state}="online"', ""),
        ('CONST{arch}=="s390x", ATTR{state}="online"', ""),
    ],
)
def test_a_rule_is_named_that_may_set_a_block_of_the_layout_online(
    match: str, sentence: str, tree: Path, chmem: Command
) -> None:
    """The layout wants block 6 offline."""
    for path, text in (
        (VENDOR, f'SUBSYSTEM=="memory", {match}\n'),
        ("proc/sys/kernel/arch", "x86_64"),
    ):
        put(tree, path, text)
    layout(tree, OFFLINE, MINE)
    told = chmem("-s", tree, "--apply", "--install", "--advice=always").stderr
    expected = f"chmem: /{VENDOR}:1 {sentence}, also where the layout says offline\n"
    assert told.startswith(expected) if sentence else told == ""


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ('range = "0x30000000-0x37ffffff"', False),
        ('range = "0x28000000-0x37ffffff"', True),
        ('blocks = "4,6"', False),
        ("node = 0", True),
        ('size = "128M"', True),
    ],
)
def test_a_rule_is_named_if_the_layout_may_want_its_block_offline(
    entry: str, named: bool, tree: Path, chmem: Command
) -> None:
    put(tree, VENDOR, 'KERNEL=="memory5", SUBSYSTEM=="memory", ATTR{state}="online"\n')
    layout(tree, f'[[memory]]\n{entry}\nstate = "offline"\n', MINE)
    done = chmem("-s", tree, "--apply", "--install", "--advice=never")
    assert (f"/{VENDOR}:1 may set added memory online" in done.stderr) is named


def test_a_kernel_that_is_quicker_than_the_rules_is_named(tree: Path, chmem: Command) -> None:
    chmem("-s", tree, "--policy", "auto_online=online_kernel")
    done = chmem("-s", tree, "--apply", "--install", "--advice=never")
    assert done.stderr == (
        "chmem: auto_online_blocks is online_kernel: the kernel sets added memory online before a "
        "zone of the layout can be chosen\n"
    )
    layout(tree, f'[policy]\nauto_online = "offline"\n{MOVABLE}', MINE)
    assert chmem("-s", tree, "--apply", "--install").stderr == ""


def test_where_nothing_can_be_installed_nothing_is_changed(tree: Path, chmem: Command) -> None:
    (tree / "etc/systemd").write_text("in the way")
    done = chmem("-s", tree, "--apply", "--install", "--advice=never")
    assert (done.status, done.stdout) == (1, "")
    said = f"/{UNIT} cannot be written: Not a directory; nothing was changed"
    assert done.stderr == f"chmem: {said}\n"
    assert online(tree) == [0, 1, 2, 3]


def test_what_cannot_be_made_persistent_is_not_changed(machine: Make, chmem: Command) -> None:
    tree = machine(s390(first=4, standby=4))
    (tree / "etc").write_text("in the way")
    done = chmem("-s", tree, "-e", "-b", "4", "--persistent")
    assert done.status == 1
    assert "/etc/memory-layout.d/50-chmem.toml" in done.stderr
    assert online(tree) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("which", "mode", "owner", "open_to_others"),
    [
        ("the command", 0o755, 0, False),
        ("the command", 0o755, 1000, True),
        ("the command", 0o775, 0, True),
        ("the command", 0o757, 0, True),
        ("its directory", 0o777, 0, True),
        # Everybody could add a python3 to it, which the launcher would find.
        ("its directory", 0o1777, 0, True),
        ("its directory", 0o1777, 1000, True),
        ("what a link leads to", 0o775, 0, True),
        ("the link", 0o777, 0, False),
        ("the link", 0o777, 1000, True),
        ("a link on the way", 0o777, 1000, True),
        ("where that link is", 0o777, 0, True),
        ("where that link is", 0o1777, 0, False),
        ("a module", 0o775, 0, True),
        ("a package", 0o775, 0, True),
        ("a package", 0o1777, 0, True),
        ("where modules are", 0o1777, 0, True),
        ("where pyvenv.cfg would be", 0o1777, 0, True),
        ("its bytecode", 0o664, 0, True),
        ("its data", 0o664, 0, True),
        ("a .pth file", 0o664, 0, True),
        ("sitecustomize", 0o664, 0, True),
        ("pyvenv.cfg", 0o664, 0, True),
        ("the standard library", 0o664, 0, True),
        ("Python", 0o775, 0, True),
        ("Python", 0o1777, 0, True),
    ],
)
def test_what_others_can_change_is_not_run_at_boot(
    which: str, mode: int, owner: int, open_to_others: bool,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    places = {
        "the command": "bin/chmem",
        "its directory": "bin",
        "what a link leads to": "opt/chmem",
        "the link": "bin/chmem",
        "a link on the way": "home/chmem",
        "where that link is": "home",
        "a module": "lib/module.py",
        "a package": "lib/click",
        "where modules are": "lib",
        "where pyvenv.cfg would be": "python",
        "its bytecode": "lib/click/__pycache__/core.cpython-311.pyc",
        "its data": "lib/click/inner/data.json",
        "a .pth file": "lib/evil.pth",
        "sitecustomize": "lib/sitecustomize.py",
        "pyvenv.cfg": "pyvenv.cfg",
        "the standard library": "std/json/__pycache__/x.pyc",
        "Python": "python/python3",
    }
    links = {
        "what a link leads to": "../opt/chmem",
        "the link": "../opt/chmem",
        "a link on the way": "../home/chmem",
        "where that link is": "../home/chmem",
    }
    for place in places.values():
        (tmp_path / place).parent.mkdir(exist_ok=True, parents=True)
        if place not in ("bin", "home", "lib", "lib/click", "home/chmem", "python"):
            (tmp_path / place).touch()
    (tmp_path / "home/chmem").symlink_to("../opt/chmem")
    (tmp_path / "lib/click/__init__.py").touch()
    if which in links:
        (tmp_path / "bin/chmem").unlink()
        (tmp_path / "bin/chmem").symlink_to(links[which])
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin/chmem")])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python/python3"))
    # Python looks into an archive, too, which usually is not there.
    monkeypatch.setattr(sys, "path", [str(tmp_path / "lib"), str(tmp_path / "python311.zip")])
    module = type(sys)("module")
    module.__file__ = str(tmp_path / "lib/module.py")
    monkeypatch.setattr(sys, "modules", {"module": module, "sys": sys})
    monkeypatch.setattr(sysconfig, "get_path", lambda kind: str(tmp_path / "std"))
    real = os.lstat

    def lstat(path: str, **more: Any) -> os.stat_result:
        if more:
            return real(path, **more)
        found: list[Any] = list(real(path))
        found[0], found[4] = stat.S_IFMT(found[0]) | 0o755, 0
        if path == str(tmp_path / places[which]):
            found[0], found[4] = stat.S_IFMT(found[0]) | mode, owner
        return os.stat_result(found)

    monkeypatch.setattr(os, "lstat", lstat)
    if open_to_others:
        with pytest.raises(UsageError) as caught:
            check_program()
        at_fault = tmp_path / places[which]
        assert caught.value.sentence.text == f"users other than root can change {at_fault}"
    else:
        check_program()


def test_what_was_installed_is_removed_where_no_memory_block_is(
    tree: Path, chmem: Command, tmp_path: Path
) -> None:
    """As in a container, or on a kernel without memory hotplug."""
    chmem("-s", tree, "--apply", "--install")
    container = tmp_path / "container"
    shutil.copytree(tree / "etc", container / "etc", symlinks=True)
    done = chmem("-s", container, "--uninstall")
    assert done.status == 0
    assert done.stdout == f"removed /{WANTED}\nremoved /{UNIT}\nremoved /{RULES}\n"
    assert not any((container / path).is_symlink() for path in (WANTED, UNIT, RULES))


def test_nothing_is_removed_from_a_root_that_is_not_there(chmem: Command, tmp_path: Path) -> None:
    done = chmem("-s", tmp_path / "none", "--uninstall")
    assert done.status == 1
    assert done.stderr.startswith("chmem: cannot open ")
    assert "Traceback" not in done.stderr


def test_the_rules_are_for_the_blocks_of_a_range_of_addresses(tree: Path, chmem: Command) -> None:
    layout(tree, '[[memory]]\nrange = "0x20000000-0x2fffffff"\n', MINE)
    assert chmem("-s", tree, "--apply", "--install").status == 0
    assert 'KERNEL=="memory[45]", ' in (tree / RULES).read_text()


def test_a_kernel_without_auto_online_sets_nothing_online_first(tree: Path, chmem: Command) -> None:
    memory = tree / MEMORY
    zone = (memory / "memory0/valid_zones").read_text().strip()
    layout(tree, f'[[memory]]\nblocks = "0"\nzone = "{zone}"\n', MINE)
    (memory / "auto_online_blocks").unlink()
    plain = tree.with_name("plain")
    shutil.copytree(tree, plain, symlinks=True, ignore=shutil.ignore_patterns(".memsim"))
    done = chmem("-s", plain, "--apply", "--install")
    assert (done.status, done.stderr) == (0, "")


def test_uninstall_removes_nothing_from_an_archive(
    tree: Path, chmem: Command, tmp_path: Path
) -> None:
    chmem("-s", tree, "--apply", "--install")
    archive = tmp_path / "case.tar"
    with tarfile.open(archive, "w") as file:
        file.add(tree, ".")
    before = archive.read_bytes()
    done = chmem("-s", archive, "--uninstall")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"chmem: cannot write to {archive}: Read-only file system")
    assert archive.read_bytes() == before


def test_no_change_of_an_archive_can_be_made_to_stay(
    tree: Path, chmem: Command, tmp_path: Path
) -> None:
    archive = tmp_path / "case.tar"
    with tarfile.open(archive, "w") as file:
        file.add(tree, ".")
    done = chmem("-s", archive, "-e", "128m", "--persistent", "--advice=never")
    said = "/etc/memory-layout.d/50-chmem.toml cannot be written: Read-only file system"
    assert (done.status, done.stderr) == (1, f"chmem: {said}; nothing was changed\n")


@pytest.mark.parametrize("this_machine", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_uninstall_on_this_machine_says_that_systemd_has_to_read_its_units_again(
    capsys: pytest.CaptureFixture[str], machine: Make, this_machine: bool, dry_run: bool
) -> None:
    with Machine.at(machine(s390())) as opened:
        tree = opened.tree
        unit = Path(tree.root, UNIT)
        unit.parent.mkdir(parents=True)
        unit.write_text("[Unit]\n")
        tree.is_this_machine = this_machine
        assert uninstall(tree, Output(), dry_run=dry_run) == 0
    assert unit.exists() is dry_run
    told = "systemctl daemon-reload" in capsys.readouterr().err
    assert told is (this_machine and not dry_run)
