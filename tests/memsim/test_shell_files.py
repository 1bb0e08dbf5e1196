"""What programs other than ours find in `memsim shell`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from commands import SCRIPTS, run_program
from simulated import make

pytestmark = pytest.mark.needs("root", "fuse3", "/dev/fuse")

MEMORY, NODE = "/sys/devices/system/memory", "/sys/devices/system/node"


def inside(root: Path, script: str) -> str:
    """What a shell script writes in a shell on a machine."""
    done = run_program("memsim", "shell", root, "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


@pytest.mark.needs("numactl")
def test_memsim_shell_shows_nodes_to_lscpu_and_numactl(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "x86-two-nodes")
    out = inside(root, f"lscpu; numactl -H; cat {NODE}/node*/distance; cat /proc/meminfo")
    assert re.search(r"^NUMA node\(s\): +2$", out, re.M)
    assert "available: 2 nodes (0-1)\n" in out
    sizes = [int(size) for size in re.findall(r"^node \d size: (\d+) MB$", out, re.M)]
    # 8 and 7 GiB are online, less 1/64 for struct pages, which node 1's offline GiB takes, too.
    assert [size >> 7 for size in sizes] == [62, 55]
    total, free = (re.search(rf"^Mem{name}: +(\d+) kB$", out, re.M) for name in ("Total", "Free"))
    assert total
    assert free
    assert int(total[1]) >> 20 == 14
    assert int(total[1]) - int(free[1]) == 2 << 20
    assert abs(int(total[1]) // 1024 - sum(sizes)) <= 2
    assert "\n10 20\n20 10\n" in out


def test_memory_that_goes_offline_in_memsim_shell_leaves_the_sizes(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "x86-two-nodes")
    total = "grep -h MemTotal /proc/meminfo"
    write = f"echo offline > {MEMORY}/memory127/state"
    meminfo = f"{NODE}/node1/meminfo"
    lines = inside(root, f"{total} {meminfo}; {write}; {total} {meminfo}").splitlines()
    before, before_1, after, after_1 = (int(line.split()[-2]) for line in lines)
    assert before - after == 128 << 10
    assert abs(before_1 - after_1 - (128 << 10)) < 2 << 10


def test_memsim_shell_hides_what_this_machines_pages_are(tmp_path: Path) -> None:
    """chmem and lsmem would take it for the simulated machine's."""
    root = make(tmp_path / "m", "s390-lpar")
    files = "/proc/kpageflags /proc/kpagecount /dev/kmsg /proc/sys/vm/min_free_kbytes"
    script = f"for file in {files}; do [ ! -e $file ] || head -c 9 $file | wc -c; done"
    assert set(inside(root, script).split()) == {"0"}
    script = f"{sys.executable} -m lsmem_py --why=0-1 -a -r -n -o CANDIDATE,FREE 2>&1"
    assert inside(root, script) == (
        "maybe \nmaybe \nlsmem: what the pages hold is not known: "
        "CANDIDATE goes by zone and REMOVABLE alone\n"
    )


def test_memsim_shell_shows_the_devices_of_both_buses(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "s390-lpar")
    buses = "/sys/bus/memory/devices"
    script = (
        f"ls {buses} | wc -l; echo 1 > /sys/firmware/memory/memory16/config; ls {buses} | wc -l;"
        f"cat {buses}/memory16/state; ls /sys/bus/node/devices; cd {MEMORY}/memory16;"
        f"readlink subsystem; cat uevent; echo change > uevent; cd /sys/bus/node/devices/node0;"
        "cat memory15/state; readlink subsystem"
    )
    assert inside(root, script).split() == [
        *("16", "17", "offline", "node0"),
        *("../../../../bus/memory", "online", "../../../../bus/node"),
    ]


def test_memsim_shell_on_a_machine_without_nodes_shows_none(tmp_path: Path) -> None:
    description = {"block_size": 1 << 27, "blocks": [{"range": [0, 7], "has_node": False}]}
    root = make(tmp_path / "m", description)
    script = f"ls /sys/bus/node/devices; grep MemTotal /proc/meminfo; ls -d {NODE} || ls {MEMORY}"
    shown = run_program("memsim", "shell", root, "--", "sh", "-c", script)
    first, *names = str(shown.stdout).splitlines()
    assert first.split() == ["MemTotal:", str(1008 << 10), "kB"]
    assert "memory7" in names
    assert "No such file" in shown.stderr


@pytest.mark.needs("lstopo")
@pytest.mark.parametrize(
    ("profile", "nodes"),
    [("x86-two-nodes", ["P#0 8055MB", "P#1 7049MB"]), ("s390-debian", ["P#0 2016MB"])],
)
def test_lstopo_shows_the_nodes_of_the_machine(
    profile: str, nodes: list[str], tmp_path: Path
) -> None:
    """Also those on which this process may not run; of a machine without nodes, its memory."""
    out = inside(make(tmp_path / "m", profile), "lstopo --of console --no-io")
    assert re.findall(r"NUMANode L#\d \((.*)\)", out) == nodes


@pytest.mark.parametrize(
    ("value", "path", "complaint"),
    [
        ("1", f"{NODE}/node0/meminfo", "Permission denied"),
        ("1", f"{NODE}/node0/new", "Permission denied"),
        ("sideways", f"{MEMORY}/memory5/uevent", "Invalid argument"),
    ],
)
def test_what_surrounds_a_machine_is_written_as_in_sysfs(
    value: str, path: str, complaint: str, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", "s390-lpar")
    script = ["bash", "-c", f"echo {value} > {path}"]
    done = run_program("memsim", "shell", root, "--", *script)
    assert complaint in done.stderr


def test_the_processors_of_all_nodes_are_all_processors(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "x86-two-nodes")
    out = inside(root, f"cat {NODE}/node0/cpumap {NODE}/node1/cpumap; nproc --all")
    *maps, count = out.replace(",", "").split()
    first, second = (int(digits, 16) for digits in maps)
    assert first & second == 0
    assert (first | second).bit_count() == int(count)


def test_memsim_shell_shows_the_devices_of_the_simulated_machine(tmp_path: Path) -> None:
    root = make(tmp_path / "m", "x86-dimm-slots")
    for kind in ("virtio-mem", "dimm"):
        assert run_program("memsim", "plug", root, "--memory", "1G", "--as", kind).returncode == 0
    out = inside(root, f"cat /proc/iomem; {SCRIPTS}/lsmem -o BLOCK,DEVICE --summary=never -n -r")
    assert "  340000000-37fffffff : System RAM (virtio_mem)\n" in out
    assert out.endswith("104-111 virtio0\n112-119 PNP0C80:00\n")
