"""What memsim capture packs beside sysfs, and what it leaves out."""

import json
import os
import re
import subprocess
import tarfile
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Command
from layouts import ONLINE_RULE
from memory_hotplug.trees.archive import ArchiveTree
from memsim.capture import capture_tree
from memsim.offline_pages import offline_bytes
from memsim.system_files import cleaned, read_system_files
from page_flags import BALLOONS, FREE, show_flags
from safe_files.linkless import Beneath
from simulated import make
from static_tree import put

LAYOUT = 'version = 1\n[[memory]]\nblocks = "0-3"\n'

FILES = {
    "proc/cmdline": "root=UUID=1234-abcd ip=10.0.0.1::::db17:eth0 memory_hotplug.online_policy="
    "auto-movable hugepages=4 crashkernel=256M@16M -- db17\n",
    "proc/meminfo": "MemTotal:  2097152 kB\nMemAvailable: 1048576 kB\n",
    "proc/zoneinfo": "Node 0, zone      DMA\n",
    "proc/buddyinfo": "Node 0, zone      DMA      1      1\n",
    "proc/iomem": "00000000-7fffffff : System RAM\n  01000000-01ffffff : Kernel code\n",
    "proc/sys/kernel/osrelease": "6.19.0\n",
    "proc/sys/kernel/arch": "s390x\n",
    "proc/sysinfo": "Sequence Code: 02\nLPAR Name: db17\nVM00 Name: db17\n"
    "VM00 Control Program: z/VM    7.3.0\n",
    "sys/hypervisor/type": "xen\n",
    "sys/class/dmi/id/sys_vendor": "Xen\n",
    "sys/class/dmi/id/product_name": "HVM domU\n",
    "sys/class/dmi/id/product_serial": "db17\n",
    "sys/devices/virtual/dmi/id/board_vendor": "Xen\n",
    "sys/devices/virtual/dmi/id/product_uuid": "db17\n",
    "proc/sys/kernel/hostname": "db17\n",
    "proc/version": "Linux version 6.19.0 (root@db17)\n",
    "etc/hostname": "db17\n",
    "etc/memory-layout.d/10-db.toml": f'# of db17\n{LAYOUT}zone = "Movable" # on db17\n',
    "etc/memory-layout.d/note.txt": "db17\n",
    "usr/lib/udev/rules.d/40-memory.rules": f"# by admin@db17\n{ONLINE_RULE}"
    'ENV{ID_SERIAL}=="WD-99", ATTRS{serial}=="AB\\"C", KERNEL=="sd*"\n',
    "usr/lib/udev/rules.d/60-net.rules": 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:12:34:56"\n',
    "usr/lib/udev/rules.d/41-masked.rules": ONLINE_RULE,
    "usr/lib/udev/rules.d/42-all.rules": 'ACTION=="add", ATTR{state}="online"\n',
    "usr/lib/udev/rules.d/43-others.rules": 'SUBSYSTEM!="memory", GOTO="x"\nLABEL="x"\n',
    "usr/lib/udev/rules.d/44-path.rules": 'RUN+="/bin/x /sys/devices/system/memory"\n',
}
KEPT = {
    "proc/cmdline": "memory_hotplug.online_policy=auto-movable hugepages=4 crashkernel=256M@16M\n",
    **{
        name: FILES[name]
        for name in FILES
        if name.startswith("proc/")
        and name.rpartition("/")[2] not in ("hostname", "version", "cmdline", "sysinfo")
    },
    "etc/memory-layout.d/10-db.toml": f'\n{LAYOUT}zone = "Movable" \n',
    "usr/lib/udev/rules.d/40-memory.rules": f"\n{ONLINE_RULE}"
    'ENV{ID_SERIAL}=="", ATTRS{serial}=="", KERNEL=="sd*"\n',
    "usr/lib/udev/rules.d/41-masked.rules": ONLINE_RULE,
    **{
        name: FILES[name]
        for name in FILES
        if re.search("4[2-4]-.*rules|dmi/id/[a-z]*_(?:name|vendor)|hypervisor", name)
    },
    "proc/sysinfo": "VM00 Control Program: z/VM    7.3.0\n",
    "etc/udev/rules.d/41-masked.rules": "-> /dev/null",
}


def beside_sysfs(tree: Path) -> dict[str, str]:
    """The files and links below a directory, but for sysfs: path -> text."""
    found = {}
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_text()
    ours = re.compile("sys/(?:devices/system|firmware|module)/")
    return {name: text for name, text in found.items() if not ours.match(name)}


@pytest.fixture
def machine(tmp_path: Path, memsim: Command) -> Path:
    """A captured machine with files of many kinds, as somebody might have unpacked it."""
    make(tmp_path / "simulated", "s390-lpar")
    tree = tmp_path / "machine"
    capture_tree(tree, tmp_path / "simulated")
    for name, text in FILES.items():
        put(tree, name, text)
    (tree / "etc/udev/rules.d").mkdir(parents=True)
    for name in ("41-masked.rules", "61-of-nothing.rules"):
        (tree / "etc/udev/rules.d" / name).symlink_to("/dev/null")
    (tree / "lib").symlink_to("usr/lib")
    return tree


def unpacked(archive: Path, target: Path) -> Path:
    target.mkdir()
    subprocess.run(["tar", "-C", target, "-xf", archive], check=True)
    return target


def test_a_capture_has_what_a_support_case_needs_and_no_names(
    machine: Path, tmp_path: Path
) -> None:
    capture_tree(tmp_path / "case.tar.gz", machine)
    case = unpacked(tmp_path / "case.tar.gz", tmp_path / "case")
    assert beside_sysfs(case) == KEPT
    # What was captured once can be captured again.
    capture_tree(tmp_path / "again", tmp_path / "case.tar.gz")
    assert beside_sysfs(tmp_path / "again") == KEPT


def test_an_archive_that_hides_names_gives_them_no_more_than_a_tree(
    machine: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "raw.tar", "w") as archive:
        archive.add(machine, "home/etc/case")
    capture_tree(tmp_path / "case", tmp_path / "raw.tar")
    assert set(beside_sysfs(tmp_path / "case")) - {"etc/udev/rules.d/61-of-nothing.rules"} == set(
        KEPT
    )
    assert "db17" not in "".join(beside_sysfs(tmp_path / "case").values())


@pytest.mark.parametrize("packed", ["case", "case.tar.gz"])
def test_lsmem_reads_what_was_captured(
    packed: str, machine: Path, tmp_path: Path, lsmem: Command
) -> None:
    (machine / "etc/memory-layout.d/10-db.toml").write_text(LAYOUT.replace("0-3", "16-17"))
    capture_tree(tmp_path / packed, machine)
    policy = lsmem("-s", tmp_path / packed, "--policy").stdout
    assert "becomes online: by /usr/lib/udev/rules.d/40-memory.rules:2." in policy
    assert "41-masked" not in policy
    drift = lsmem("-s", tmp_path / packed, "--diff", "layout")
    assert drift.stdout == "memory16-17 256M  online -> disabled\n"
    explained = lsmem("-s", tmp_path / packed, "--explain").stdout
    assert re.search("^  in use +1G$", explained, re.MULTILINE)


@pytest.mark.parametrize("packed", ["case", "case.tar.gz"])
@pytest.mark.parametrize(
    ("match", "becomes"),
    [
        ('ATTR{[dmi/id]sys_vendor}=="Xen"', "becomes online"),
        ('ATTR{[dmi/id]board_vendor}!="Xen"', "stays offline: neither"),
        ('CONST{arch}=="s390*"', "becomes online"),
        ('CONST{virt}=="zvm"', "becomes online"),
        ('ATTRS{auto_online_blocks}=="online"', "stays offline: neither"),
        ('IMPORT{cmdline}="hugepages"', "becomes online"),
        # A file that is not captured may set it.
        ('ENV{WANTED}=="1"', "stays offline, unless one of these rules is for it"),
    ],
)
def test_lsmem_knows_of_a_captured_machine_what_its_rules_ask_for(
    match: str, becomes: str, packed: str, machine: Path, tmp_path: Path, lsmem: Command
) -> None:
    for rules in (machine / "usr/lib/udev/rules.d").iterdir():
        rules.unlink()
    rule = ONLINE_RULE.replace('ACTION=="add"', match)
    (machine / "usr/lib/udev/rules.d/50.rules").write_text(rule)
    (machine / "memsim-capture.json").write_text('{"machine": "s390x"}')
    capture_tree(tmp_path / packed, machine)
    told = lsmem("-s", tmp_path / packed, "--policy").stdout.splitlines()[-1]
    assert told.startswith(f"Memory that is added {becomes}")


def test_an_archive_of_memsim_capture_is_read_once(
    machine: Path, tmp_path: Path, lsmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By lsmem, for the blocks, the rules and the layout in it."""
    capture_tree(tmp_path / "case.tar.gz", machine)
    read: list[str] = []
    begin = ArchiveTree.__init__

    def noted(self: ArchiveTree, path: str) -> None:
        read.append(path)
        begin(self, path)

    monkeypatch.setattr(ArchiveTree, "__init__", noted)
    for words in (["--policy"], ["-o", "BLOCK,PERSISTENT"], ["--explain"]):
        read.clear()
        assert lsmem("-s", tmp_path / "case.tar.gz", *words).status == 0
        assert len(read) == 1


def test_a_capture_becomes_the_same_simulated_machine_as_without(
    machine: Path, tmp_path: Path, memsim: Command
) -> None:
    capture_tree(tmp_path / "case.tar.gz", machine)
    for tree in (machine, tmp_path / "case.tar.gz"):
        done = memsim("create", tmp_path / f"of-{tree.name}", "--capture", tree)
        assert (done.status, done.stderr) == (0, "")


def test_this_machines_page_size_is_told() -> None:
    with Beneath("/") as files:
        found = dict(read_system_files(files))
    about = json.loads(found["memsim-capture.json"])
    about.pop("offline_bytes", None)
    assert about == {"page_size": os.sysconf("SC_PAGESIZE"), "machine": os.uname().machine}
    assert os.uname().nodename.encode() not in bytes(found["proc/cmdline"])  # type: ignore[arg-type]  # no link


@pytest.mark.parametrize(
    ("path", "given", "kept"),
    [
        ("proc/iomem", "00000000-00000000 : System RAM\n  00000000-00000000 : x\n", ""),
        ("proc/cmdline", "quiet ro\n", "\n"),
        (
            "proc/cmdline",
            "mem=4G memory memhp_default_state=online\n",
            "mem=4G memhp_default_state=online\n",
        ),
        ("etc/memory-layout.d/x.toml", "# nothing", "\n"),
        ("etc/memory-layout.d/x.toml", "", ""),
        ("etc/memory-layout.d/x.toml", "a = \"#1\" # 'x'\n", 'a = "#1" \n'),
        ("memsim-capture.json", '{"page_size": 4096, "host": "db17"}', '{"page_size": 4096}'),
        ("memsim-capture.json", '{"machine": ["db17"]}', ""),
        ("memsim-capture.json", "db17", ""),
        ("memsim-capture.json", '{"host": "db17"}', ""),
    ],
)
def test_what_memsim_capture_keeps_of_a_file(path: str, given: str, kept: str) -> None:
    assert cleaned(path, given.encode()) == kept.encode()


HOSTILE = {
    "quotes": 'serial="' * 100_000,
    "names": "serial" * 150_000,
    "attributes": "ATTR{" * 190_000,
    "lines": "x\n" * 500_000,
    "one line": "x" * 1_000_000,
    "strings": '"x" ' * 250_000 + '"',
    "escapes": 'KERNEL=="' + "\\a" * 400_000,
    "spaces": "KERNEL " + " " * 900_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("path", ["etc/udev/rules.d/x.rules", "etc/memory-layout.d/x.toml"])
def test_no_text_takes_long_to_clean(path: str, text: str) -> None:
    """With a pattern that tries all ways, it would be hours."""
    cleaned(path, f"{ONLINE_RULE if path.endswith('rules') else ''}{text}".encode())


@pytest.mark.parametrize("name", ["proc/meminfo", "etc/memory-layout.d/10-db.toml"])
def test_what_is_no_file_is_named(
    name: str, machine: Path, tmp_path: Path, memsim: Command
) -> None:
    (machine / name).unlink()
    os.mkfifo(machine / name)
    done = memsim("capture", "-s", machine, tmp_path / "case")
    assert done.status == 1
    assert done.stderr == f"memsim: {machine / name}: expected a regular file, not a FIFO\n"
    # A machine like it needs no such file.
    assert memsim("create", tmp_path / "like", "--capture", machine).status == 0


@pytest.mark.parametrize("pack", [str, lambda name: f"{name}.tar.gz"])
def test_a_file_that_is_too_long_is_named(
    pack: Callable[[str], str], machine: Path, tmp_path: Path, memsim: Command
) -> None:
    with open(machine / "proc/zoneinfo", "w") as file:
        file.truncate((1 << 20) + 1)
    source = machine
    if pack("x") != "x":
        source = tmp_path / "raw.tar.gz"
        with tarfile.open(source, "w:gz") as archive:
            archive.add(machine, ".")
    done = memsim("capture", "-s", source, tmp_path / "case")
    assert done.status == 1
    assert "proc/zoneinfo: expected 1048576 bytes at most, not more\n" in done.stderr
    assert memsim("create", tmp_path / "like", "--capture", source).status == 0


def test_memsim_capture_does_not_follow_a_link(machine: Path, tmp_path: Path) -> None:
    """Not even where it leads to a file that is wanted."""
    (tmp_path / "secret").write_text(ONLINE_RULE)
    (machine / "usr/lib/udev/rules.d/70-x.rules").symlink_to(tmp_path / "secret")
    (machine / "run").symlink_to("etc")
    capture_tree(tmp_path / "case", machine)
    found = beside_sysfs(tmp_path / "case")
    assert found == KEPT


def test_an_archive_cannot_fill_the_memory(machine: Path, tmp_path: Path, lsmem: Command) -> None:
    with tarfile.open(tmp_path / "raw.tar.gz", "w:gz") as archive:
        archive.add(machine, ".")
        (tmp_path / "large").write_bytes(bytes((1 << 20) - 1))
        for number in range(66):
            archive.add(tmp_path / "large", f"etc/udev/rules.d/{number}.rules")
    done = lsmem("-s", tmp_path / "raw.tar.gz")
    assert done.status == 1
    assert "damaged one (too large a file, or too many)" in done.stderr


OF_VIRTIO = """\
00000000-7fffffff : System RAM
80000000-ffffffff : virtio1
  80000000-8fffffff : System RAM (virtio_mem)
"""


@pytest.mark.parametrize("balloon", [None, *BALLOONS])
def test_what_drivers_keep_is_a_number_for_each_block(
    balloon: str | None, tmp_path: Path, lsmem: Command
) -> None:
    states = {14: "online", 15: "online", 16: "online", 17: "offline"}
    for number, state in states.items():
        block = tmp_path / f"m/sys/devices/system/memory/memory{number}"
        block.mkdir(parents=True)
        (block / "state").write_text(f"{state}\n")
    (block.parent / "block_size_bytes").write_text("8000000\n")
    flags = array("Q", [FREE]) * (18 << 15)
    for number in (15, 16, 17):
        flags[number << 15 : (number << 15) + number] = array("Q", [1 << 23]) * number
    show_flags(tmp_path / "m", flags)
    (tmp_path / "m/proc/iomem").write_text(OF_VIRTIO)
    (tmp_path / "m/proc/meminfo").write_text("MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
    if balloon:
        (tmp_path / "m" / balloon / BALLOONS[balloon]).mkdir(parents=True)
    with Beneath(str(tmp_path / "m")) as files:
        kept = offline_bytes(files, 4096)
    assert kept == {16: 16 * 4096} | ({15: 15 * 4096} if balloon else {})
    # Without the pages, the record of a capture tells it.
    (tmp_path / "m/proc/kpageflags").unlink()
    record = {"page_size": 4096, "offline_bytes": kept}
    (tmp_path / "m/memsim-capture.json").write_text(json.dumps(record))
    capture_tree(tmp_path / "case.tar.gz", tmp_path / "m")
    told = json.loads(lsmem("-s", tmp_path / "case.tar.gz", "--explain", "-J").stdout)
    assert told["not_plugged"] == sum(kept.values())


@pytest.mark.parametrize("told", ["[]", '{"16": "x"}', '{"x": 1}', '{"16": [1]}'])
def test_a_record_of_what_drivers_keep_that_is_none_is_left_out(
    told: str, machine: Path, tmp_path: Path
) -> None:
    record = '{"page_size": 4096, "offline_bytes": %s}'
    (machine / "memsim-capture.json").write_text(record % told)
    capture_tree(tmp_path / "case", machine)
    assert "memsim-capture.json" not in beside_sysfs(tmp_path / "case")
