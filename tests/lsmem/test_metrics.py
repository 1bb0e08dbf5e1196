"""lsmem --format prometheus, and --output-file."""

import errno
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from commands import Command
from hotplug_cli.output_file import open_output
from simulated import Make, s390, x86

LAYOUT = """\
version = 1
[[memory]]
blocks = "0-1"
state = "online"
[[memory]]
blocks = "2"
state = "offline"
"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_metrics_of_blocks_and_bytes_have_status_zone_and_node(
    machine: Make, lsmem: Command
) -> None:
    root = machine({
        **x86(),
        "blocks": [
            {"range": [0, 1]},
            {"range": [2, 4], "zones": "Movable", "node": 1},
            {"range": [5, 5], "state": "offline", "node": 1},
        ],
    })  # fmt: skip
    done = lsmem("-s", root, "--format", "prometheus")
    assert (done.status, done.stderr) == (0, "")
    assert lines(done.stdout) == [
        "memory_hotplug_block_size_bytes 134217728",
        'memory_hotplug_blocks{status="offline",node="1"} 1',
        'memory_hotplug_blocks{status="online",zone="Movable",node="1"} 3',
        'memory_hotplug_blocks{status="online",zone="Normal",node="0"} 2',
        'memory_hotplug_bytes{status="offline",node="1"} 134217728',
        'memory_hotplug_bytes{status="online",zone="Movable",node="1"} 402653184',
        'memory_hotplug_bytes{status="online",zone="Normal",node="0"} 268435456',
    ]


def test_metrics_count_standby_memory_and_the_layout(machine: Make, lsmem: Command) -> None:
    root = machine(s390())
    found = lines(lsmem("-s", root, "--format=prometheus").stdout)
    assert "memory_hotplug_configured_blocks 4" in found
    assert "memory_hotplug_memmap_on_memory_blocks 4" in found
    assert 'memory_hotplug_blocks{status="disabled"} 4' in found
    assert not any("layout" in line for line in found)
    (root / "etc/memory-layout.d").mkdir(parents=True)
    (root / "etc/memory-layout.d/10.toml").write_text(LAYOUT)
    found = lines(lsmem("-s", root, "--format=prometheus").stdout)
    assert found[-4:] == [
        'memory_hotplug_layout_blocks{as_wanted="differs"} 1',
        'memory_hotplug_layout_blocks{as_wanted="unlisted"} 5',
        'memory_hotplug_layout_blocks{as_wanted="yes"} 2',
        "memory_hotplug_layout_missing_bytes 0",
    ]


def test_metrics_count_what_the_layout_wants_and_the_machine_has_not(
    machine: Make, lsmem: Command
) -> None:
    root = machine(x86(online=4, offline=0))
    (root / "etc/memory-layout.d").mkdir(parents=True)
    text = 'version = 1\n[[memory]]\nblocks = "3,8-9"\n[[memory]]\nsize = "1G"\n'
    (root / "etc/memory-layout.d/10.toml").write_text(text)
    found = lines(lsmem("-s", root, "--format=prometheus").stdout)
    # Two blocks, and four for the size.
    assert found[-1] == f"memory_hotplug_layout_missing_bytes {6 << 27}"


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("profile", ["s390-lpar", "x86-two-nodes", "ppc64-large"])
def test_metrics_pass_promtool(profile: str, machine: Make, lsmem: Command) -> None:
    text = lsmem("-s", machine(profile), "--format=prometheus").stdout
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "option",
    ["--all", "-o+NODE", "--bytes", "--typed", "--map", "--holes", "--why", "-n", "--summary"],
)
def test_metrics_take_no_option_of_a_listing(option: str, machine: Make, lsmem: Command) -> None:
    done = lsmem("-s", machine(x86()), "--format=prometheus", option)
    assert (done.status, done.stdout) == (1, "")
    assert re.fullmatch("lsmem: --[a-z]+ means nothing to --.*\n", done.stderr)


# --output-file


def test_metrics_replace_a_file_whole_and_readable(
    machine: Make, lsmem: Command, tmp_path: Path
) -> None:
    root, file = machine(x86()), tmp_path / "memory.prom"
    before = os.umask(0o077)
    try:
        for options in (["--format=prometheus"], ["-J"], ["--map"], ["--explain"], []):
            said = lsmem("-s", root, *options).stdout
            done = lsmem("-s", root, *options, "--output-file", file)
            assert (done.status, done.stdout, done.stderr) == (0, "", "")
            assert file.read_text() == said
            assert stat.S_IMODE(file.stat().st_mode) == 0o644
    finally:
        os.umask(before)
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_metrics_leave_the_file_as_before_after_an_error(
    machine: Make, lsmem: Command, tmp_path: Path
) -> None:
    file = tmp_path / "memory.prom"
    file.write_text("old\n")
    root = machine(s390())
    (root / "etc/memory-layout.d").mkdir(parents=True)
    (root / "etc/memory-layout.d/10.toml").write_text("nonsense")
    done = lsmem("-s", root, "--format=prometheus", "--output-file", file)
    assert (done.status, done.stdout, file.read_text()) == (1, "", "old\n")
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "nowhere"])
def test_metrics_refuse_what_is_no_file(
    kind: str, machine: Make, lsmem: Command, tmp_path: Path
) -> None:
    file = tmp_path / "there"
    if kind == "directory":
        file.mkdir()
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "link":
        file.symlink_to("elsewhere")
    else:
        file = tmp_path / "none/there"
    done = lsmem("-s", machine(x86()), "--output-file", file)
    assert (done.status, done.stdout) == (1, "")
    reason = "No such file or directory" if kind == "nowhere" else "not a regular file"
    assert done.stderr == f"lsmem: {file}: {reason}\n"


def test_metrics_keep_the_name_of_another_file_in_an_error(tmp_path: Path) -> None:
    file = tmp_path / "there"
    with pytest.raises(OSError, match="elsewhere"), open_output(str(file)):
        raise OSError(errno.EACCES, "Permission denied", "elsewhere")
    with pytest.raises(OSError, match="there"), open_output(str(file)) as stream:
        stream.write("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_metrics_count_what_the_kernel_log_says_of_blocks(
    machine: Make, lsmem: Command, memsim: Command
) -> None:
    root = machine(x86())
    assert "poisoned" not in lsmem("-s", root, "--format=prometheus").stdout
    assert memsim("poison", root, "0x0", "0x1000", "0x18000000").status == 0
    found = lines(lsmem("-s", root, "--format=prometheus").stdout)
    assert 'memory_hotplug_poisoned_pages{block="0"} 2' in found
    assert 'memory_hotplug_poisoned_pages{block="3"} 1' in found
