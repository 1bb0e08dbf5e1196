"""What programs other than ours find in `memsim shell`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import SCRIPTS, run_program
from simulated import make, x86

pytestmark = pytest.mark.needs("root", "fuse3", "/dev/fuse")

MEMORY, NODE = "/sys/devices/system/memory", "/sys/devices/system/node"


def inside(root: Path, script: str) -> str:
    """What a shell script writes in a shell on a machine."""
    done = run_program("memsim", "shell", root, "--", "sh", "-c", script)
    # libcxl of Debian 12 says that no file of the shell is a device.
    said = [line for line in done.stderr.splitlines() if not line.startswith("libcxl: ")]
    assert (done.returncode, said) == (0, [])
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


def test_memsim_shell_shows_the_kernel_log_of_the_machine(tmp_path: Path) -> None:
    """Each read has one record, as from a real /dev/kmsg."""
    root = make(tmp_path / "m", x86())
    assert run_program("memsim", "poison", root, "0x18005678", "0x0").returncode == 0
    read = "import os; log = os.open('/dev/kmsg', 0); [print(os.read(log, 8192)) for _ in '123']"
    page = "recovery action for free buddy page: Recovered"
    assert inside(root, f'{sys.executable} -c "{read}"').splitlines() == [
        f"b'6,0,0,-;Memory failure: 0x18005: {page}\\n'",
        f"b'6,1,0,-;Memory failure: 0x0: {page}\\n'",
        "b''",
    ]


def test_poisoned_pages_in_memsim_shell_are_those_of_the_machine(tmp_path: Path) -> None:
    root = make(tmp_path / "m", x86())
    assert run_program("memsim", "poison", root, "0x18005678").returncode == 0
    script = (
        "grep HardwareCorrupted /proc/meminfo; lsmem='lsmem -n -r --summary=never';"
        f"PATH={SCRIPTS}:$PATH; $lsmem -o BLOCK,POISONED; chmem -d -b 3;"
        "$lsmem --why=3-4 -o BLOCK,STATE,POISONED 2>&1;"
        "chmem -e -b 3 --advice=always 2>&1; true"
    )
    first, *lines = inside(root, script).splitlines()
    assert first.split() == ["HardwareCorrupted:", "4", "kB"]
    assert lines[:5] == ["0-2 0", "3 1", "4-7 0", "3 offline 1", "4 offline 0"]
    assert "enable failed: Memory page has hardware error" in "\n".join(lines)
    assert "chmem: memory block 3: the page at 0x0000000018005000 is poisoned" in lines


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


CXL: dict[str, Any] = {
    "block_size": 1 << 27,
    "blocks": [
        {"range": [0, 15]},
        {"range": [16, 31], "node": 1},
        {"range": [64, 71], "config": False, "node": 2},
    ],
}
"""Two nodes of DRAM, and room for CXL memory on a third."""

TIERS = "/sys/devices/virtual/memory_tiering"


def with_cxl(root: Path, description: dict[str, Any]) -> Path:
    """A machine with CXL memory, offline."""
    machine = make(root, description)
    done = run_program("memsim", "plug", machine, "--memory", "1G", "--as", "cxl")
    assert done.stdout == "memory blocks 64-71\n"
    return machine


def test_nodes_of_plugged_cxl_memory_have_no_processors(tmp_path: Path) -> None:
    script = f"cat {NODE}/has_cpu; for n in 0 1 2; do cat {NODE}/node$n/cpulist; done"
    everywhere, *lists = inside(with_cxl(tmp_path / "m", CXL), script).split("\n")[:4]
    assert "2" not in everywhere
    assert lists[2] == ""
    assert lists[:2] != ["", ""]


def test_a_description_says_which_nodes_have_processors(tmp_path: Path) -> None:
    root = with_cxl(tmp_path / "m", CXL | {"has_cpu": [2]})
    assert inside(root, f"cat {NODE}/has_cpu; cat {NODE}/node0/cpulist") == "2\n"


def test_memory_tiers_in_memsim_shell_are_those_of_the_machine(tmp_path: Path) -> None:
    root = with_cxl(tmp_path / "m", CXL)
    listing = f"cd {TIERS}; grep -H . */nodelist"
    assert inside(root, listing) == "memory_tier4/nodelist:0-1\n"
    online = f"for n in 64 65; do echo online > {MEMORY}/memory$n/state; done; {listing}"
    shown = "memory_tier22/nodelist:2\nmemory_tier4/nodelist:0-1\n"
    assert inside(root, online) == shown
    command = f"{SCRIPTS}/lsmem -o BLOCK,NODE,TIER -r -n --summary=never"
    tiers = "0-15 0 4\n16-31 1 4\n64-71 2 22\n"
    assert inside(root, command) == tiers
    assert run_program(*command.split(), "-s", root).stdout == tiers


def test_a_kernel_without_memory_tiers_shows_none_of_this_machine(tmp_path: Path) -> None:
    root = make(tmp_path / "m", CXL | {"release": "5.19.0"})
    assert inside(root, f"ls {TIERS}") == ""


def test_a_machine_without_cxl_memory_has_no_dax_devices(tmp_path: Path) -> None:
    assert inside(make(tmp_path / "m", CXL), "ls /sys/bus/dax/devices") == ""


@pytest.mark.needs("daxctl")
def test_daxctl_lists_cxl_memory_and_sets_it_online_and_offline(tmp_path: Path) -> None:
    root = with_cxl(tmp_path / "m", CXL)
    (shown,) = json.loads(inside(root, "daxctl list"))
    assert (shown["chardev"], shown["mode"], shown["target_node"]) == ("dax0.0", "system-ram", 2)
    assert (shown["size"], shown["online_memblocks"], shown["total_memblocks"]) == (1 << 30, 0, 8)
    for verb, state, zone in (
        ("online-memory", "online", "Movable"),
        ("offline-memory", "offline", "Normal Movable"),
        ("online-memory --no-movable", "online", "Normal"),
    ):
        done = run_program("memsim", "shell", root, "--", "daxctl", *verb.split(), "dax0.0")
        assert done.returncode == 0
        memory = root / "sys/devices/system/memory/memory71"
        assert (memory / "state").read_text() == f"{state}\n"
        assert (memory / "valid_zones").read_text() == f"{zone}\n"
    # It also reads the tiers of what it has set online, and the file in /dev is not the host's.
    assert "memory_tier22" in inside(root, f"ls {TIERS}")
    assert not Path("/dev/dax0.0").exists()


def cxl(root: Path, words: str) -> Any:
    """What `cxl list` writes of a machine."""
    return json.loads(inside(root, f"cxl list {words}"))


@pytest.mark.needs("cxl")
def test_cxl_lists_the_way_from_the_window_to_the_memory(tmp_path: Path) -> None:
    root = with_cxl(tmp_path / "m", CXL)
    where = {"resource": 64 << 27, "size": 1 << 30}
    (memory,) = cxl(root, "-M")
    assert (memory["memdev"], memory["ram_size"]) == ("mem0", 1 << 30)
    assert memory["host"] == "0000:0d:00.0"
    assert cxl(root, "-R") == [
        {
            "region": "region0",
            **where,
            "interleave_ways": 1,
            "interleave_granularity": 256,
            "decode_state": "commit",
        }
    ]
    memories, *decoders = cxl(root, "-M -R -D")
    assert memories == {"memdevs": [memory]}
    found = {next(iter(one)): next(iter(one.values()))[0] for one in decoders}
    assert {kind: one["decoder"] for kind, one in found.items()} == {
        "root decoders": "decoder0.0",
        "port decoders": "decoder1.0",
        "endpoint decoders": "decoder2.0",
    }
    assert all({key: one[key] for key in where} == where for one in found.values())
    assert found["endpoint decoders"]["region"] == "region0"
    (bus,) = cxl(root, "-vvv")
    (region,) = bus["decoders:root0"][0]["regions:decoder0.0"]
    (mapping,) = region["mappings"]
    assert (mapping["memdev"], mapping["decoder"]) == ("mem0", "decoder2.0")
    (port,) = bus["ports:root0"]
    assert port["endpoints:port1"][0]["memdev"] == memory


@pytest.mark.needs("cxl")
def test_each_cxl_device_has_its_own_memory_window_and_region(tmp_path: Path) -> None:
    root = make(tmp_path / "m", CXL)
    for _ in range(2):
        assert run_program("memsim", "plug", root, "--memory", "512M", "--as", "cxl").stdout
    assert sorted(one["memdev"] for one in cxl(root, "-M")) == ["mem0", "mem1"]
    assert sorted(one["resource"] >> 27 for one in cxl(root, "-R")) == [64, 68]
    regions = json.loads(inside(root, "daxctl list -R"))
    assert sorted(one["path"][-11:] for one in regions) == ["dax_region0", "dax_region1"]
    # The lower one goes, and the other keeps its number.
    assert run_program("memsim", "unplug", root, "--device", "dax0.0").returncode == 0
    assert [one["memdev"] for one in cxl(root, "-M")] == ["mem1"]
    assert not Path("/dev/cxl/mem1").exists()


@pytest.mark.needs("cxl")
def test_a_machine_without_cxl_memory_has_nothing_of_cxl(tmp_path: Path) -> None:
    root = make(tmp_path / "m", CXL)
    done = run_program("memsim", "shell", root, "--", "cxl", "list", "-M")
    assert json.loads(done.stdout) == []
    assert inside(root, "ls /sys/bus/cxl/devices") == ""
