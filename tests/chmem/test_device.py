"""chmem --device: only blocks that a device brought."""

import json
from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from chmem_py.cli import chmem as command
from commands import Command
from hotplug_cli.click_command import command_of
from memory_hotplug import Machine
from simulated import Make, online, x86

ROOM = {**x86(), "blocks": [{"range": [0, 3]}, {"range": [4, 9], "config": 0}]}


@pytest.fixture
def plugged(machine: Make, memsim: Command) -> Path:
    """Blocks 4 and 5 are of virtio0, 6 and 7 of a DIMM, 8 is of dax0.0."""
    root = machine(ROOM)
    for kind, size in (("virtio-mem", "256M"), ("dimm", "256M"), ("cxl", "128M")):
        assert memsim("plug", root, "--as", kind, "--memory", size).status == 0
    return root


def test_a_device_is_emptied_and_can_then_go(
    plugged: Path, chmem: Command, memsim: Command
) -> None:
    for device in ("virtio0", "PNP0C80:00", "dax0.0"):
        assert chmem("-s", plugged, "-e", "--device", device).status == 0
    assert online(plugged) == list(range(9))
    done = chmem("-s", plugged, "-d", "--device", "PNP0C80:00")
    said = "chmem: empty now, and can be removed: PNP0C80:00\n"
    assert (done.status, done.stdout, done.stderr) == (0, "", said)
    assert online(plugged) == [0, 1, 2, 3, 4, 5, 8]
    assert memsim("unplug", plugged, "--as", "dimm", "--memory", "256M").status == 0


def test_a_size_and_a_range_are_of_the_device_alone(plugged: Path, chmem: Command) -> None:
    assert chmem("-s", plugged, "-e", "--device", "PNP0C80:00", "128m").status == 0
    assert online(plugged) == [0, 1, 2, 3, 6]
    assert chmem("-s", plugged, "-e", "--device", "virtio0", "-b", "0-9").status == 0
    assert online(plugged) == [0, 1, 2, 3, 4, 5, 6]
    done = chmem("-s", plugged, "-e", "--device", "virtio0", "128m")
    assert done.status == 1
    assert "no memory block of device virtio0 is offline" in done.stderr


def test_json_names_the_device(plugged: Path, chmem: Command) -> None:
    done = chmem("-s", plugged, "-e", "--device", "dax0.0", "--json")
    request = json.loads(done.stdout)["request"]
    assert (request["device"], request["first_block"], request["last_block"]) == ("dax0.0", 8, 8)


def test_a_device_that_brought_nothing_is_refused(plugged: Path, chmem: Command) -> None:
    done = chmem("-s", plugged, "-d", "--device", "dax9.9")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        "chmem: no memory block here belongs to device dax9.9; devices that brought memory:"
        " PNP0C80:00, dax0.0, virtio0\n"
    )


def test_where_no_device_brought_memory_it_says_so(machine: Make, chmem: Command) -> None:
    done = chmem("-s", machine(ROOM), "-d", "--device", "dax9.9")
    assert done.stderr.endswith("devices that brought memory: none\n")


def test_where_devices_are_not_known_it_says_so(
    plugged: Path, chmem: Command, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "sys/devices/system/memory/memory0").mkdir(parents=True)
    (tree / "sys/devices/system/memory/block_size_bytes").write_text("8000000\n")
    (tree / "sys/devices/system/memory/memory0/state").write_text("online\n")
    done = chmem("-s", tree, "-d", "--device", "virtio0")
    assert done.status == 1
    assert done.stderr == (
        "chmem: cannot tell which memory blocks belong to device virtio0\n"
        "chmem: run this as root, on the machine itself (/proc/iomem)\n"
    )


@pytest.mark.parametrize(
    ("typed", "offered"), [("", ["PNP0C80:00", "dax0.0", "virtio0"]), ("v", ["virtio0"])]
)
def test_completion_offers_the_devices(typed: str, offered: list[str], plugged: Path) -> None:
    found = completed("-s", str(plugged), "-d", "--device", typed=typed)
    assert [item.value for item in found] == offered


def test_no_device_is_offered_where_there_is_no_machine(tmp_path: Path) -> None:
    assert completed("-s", str(tmp_path), "-d", "--device", typed="") == []


def test_the_devices_of_this_machine_are_offered(
    plugged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, at = [], Machine.at

    def noted(root: str) -> Machine:
        opened.append(root)
        return at(plugged)

    monkeypatch.setattr(Machine, "at", noted)
    assert len(completed("-d", "--device", typed="")) == 3
    assert opened == ["/"]


def completed(*words: str, typed: str) -> list[CompletionItem[str]]:
    """What is offered in the place of what was TYPED."""
    shell = ShellComplete(command_of(command), {}, "chmem", "_CHMEM_COMPLETE")
    return shell.get_completions([*words], typed)


@pytest.mark.parametrize(
    ("words", "count"),
    [(["-d", "-b"], "none"), (["-d", "128m", "256m"], "2")],
)
def test_without_device_as_many_arguments_are_taken_as_ever(
    words: list[str], count: str, plugged: Path, chmem: Command
) -> None:
    done = chmem("-s", plugged, "--device", "virtio0", *words, "--advice", "always")
    assert (done.status, done.stdout) == (1, "")
    assert f"give one SIZE, RANGE or BLOCKRANGE, not {count}\n" in done.stderr
    assert online(plugged) == [0, 1, 2, 3]


def test_what_can_go_is_offered_with_the_device(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    root = machine({**ROOM, "used": 512 << 20})
    assert memsim("plug", root, "--as", "virtio-mem", "--memory", "512M").status == 0
    assert chmem("-s", root, "-e", "--device", "virtio0").status == 0
    done = chmem("-s", root, "-d", "--device", "virtio0", "--keep-free", "256m", "512m")
    assert (done.status, online(root)) == (1, list(range(8)))
    assert "--disable 128M --device virtio0" in done.stderr
