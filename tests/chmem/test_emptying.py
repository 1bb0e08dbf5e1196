"""A SIZE that is set offline empties devices, and takes last what is not removable."""

import json
from pathlib import Path

import pytest

from commands import Command
from simulated import Make, online, s390, x86
from told import said_in

MIB = 1 << 20
BOOT = list(range(8))


@pytest.fixture
def plugged(machine: Make, memsim: Command) -> Path:
    """Blocks 0 to 7 were there at boot. PNP0C80:00 has 8 to 15, PNP0C80:01 16 to 23, virtio0 24 to
    27, dax0.0 28 to 33 and virtio1 34 to 38, all online."""
    blocks = [{"range": [0, 7]}, {"range": [8, 60], "config": 0}]
    root = machine({**x86(auto_online_blocks="online_movable"), "blocks": blocks})
    for kind, count in (
        *(("dimm", 8), ("dimm", 8), ("virtio-mem", 4), ("cxl", 6)),
        ("virtio-mem", 5),
    ):
        assert memsim("plug", root, "--as", kind, "--memory", f"{count * 128}m").status == 0
    return root


def taken(root: Path) -> list[int]:
    return sorted({*range(39)} - {*online(root)})


@pytest.mark.parametrize(
    ("count", "numbers"),
    [
        (4, range(24, 28)),
        (5, range(34, 39)),
        (8, range(16, 24)),
        (9, [*range(24, 28), *range(34, 39)]),
        (10, range(24, 34)),
        (16, range(8, 24)),
        # No devices have so much in all: the largest that fits, and a part of the smallest.
        (2, [26, 27]),
        (7, [27, *range(28, 34)]),
        (24, [*range(8, 24), 26, 27, *range(28, 34)]),
        # Memory from boot comes last.
        (33, [6, 7, *range(8, 39)]),
    ],
)
def test_a_size_empties_devices_and_the_forecast_knows_it(
    count: int, numbers: list[int], plugged: Path, chmem: Command
) -> None:
    words = ["-s", plugged, "-d", f"{count * 128}m", "--json"]
    dry = json.loads(chmem(*words, "--dry-run").stdout)
    assert taken(plugged) == []
    done = json.loads(chmem(*words).stdout)
    assert done["status"] == 0
    assert taken(plugged) == [*numbers]
    assert dry["devices"] == done["devices"]
    assert [one["block"] for one in dry["blocks"]] == [one["block"] for one in done["blocks"]]


def test_what_is_empty_and_what_is_so_in_part_is_told(
    plugged: Path, chmem: Command, memsim: Command
) -> None:
    words = ["-s", plugged, "-d", "896m"]
    dry = chmem(*words, "--dry-run").stdout.splitlines()
    assert dry[-3:-1] == [
        "# would be empty, and could be removed: dax0.0",
        "# would be emptied in part: virtio0, of which 384M would stay online",
    ]
    promised = json.loads(chmem(*words, "--dry-run", "--json").stdout)
    said = [f"# {message['text']}" for message in promised["forecast"]]
    assert said == dry[-3:]
    codes = {message["code"]: message["values"] for message in promised["forecast"]}
    assert codes["WOULD_BE_EMPTY"] == {"devices": ["dax0.0"]}
    assert codes["WOULD_BE_EMPTY_IN_PART"] == {"device": "virtio0", "size": 384 * MIB}
    assert promised["messages"] == []
    done = chmem(*words, "--json")
    document = json.loads(done.stdout)
    assert document["devices"] == [
        {"device": "dax0.0", "bytes_taken": 768 * MIB, "bytes_online": 0},
        {"device": "virtio0", "bytes_taken": 128 * MIB, "bytes_online": 384 * MIB},
    ]
    assert said_in(document)[:2] == [
        "empty now, and can be removed: dax0.0",
        "emptied in part: virtio0, of which 384M is still online",
    ]
    assert memsim("unplug", plugged, "--as", "cxl", "--memory", "768m").status == 0
    # What was offline before counts.
    done = chmem("-s", plugged, "-d", "384m")
    assert done.stderr == "chmem: empty now, and can be removed: virtio0\n"


def test_without_advice_and_options_of_our_own_nothing_is_told(
    plugged: Path, chmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHMEM_ADVICE")
    assert chmem("-s", plugged, "-d", "896m").stderr == ""


def test_of_a_device_that_cannot_be_emptied_other_devices_come_first(
    plugged: Path, chmem: Command
) -> None:
    """Only part of it is in the zone, on the node, or meant."""
    assert chmem("-s", plugged, "-d", "-b", "34-36").status == 0
    assert chmem("-s", plugged, "-e", "-z", "Normal", "-b", "34-36").status == 0
    assert chmem("-s", plugged, "-d", "-z", "Movable", "256m").status == 0
    assert taken(plugged) == [26, 27]


def test_total_empties_devices(plugged: Path, chmem: Command) -> None:
    done = chmem("-s", plugged, "--total", f"{(39 - 5) * 128}m", "--json")
    assert [one["device"] for one in json.loads(done.stdout)["devices"]] == ["virtio1"]
    assert taken(plugged) == [*range(34, 39)]


@pytest.mark.parametrize("whence", ["", 'from = "highest"\n'])
def test_a_size_of_a_layout_empties_devices(
    whence: str, plugged: Path, chmem: Command, lsmem: Command, tmp_path: Path
) -> None:
    layout = tmp_path / "l.toml"
    layout.write_text(f'version = 1\n[[memory]]\nsize = "768M"\nstate = "offline"\n{whence}')
    differing = lsmem("-s", plugged, "--diff", layout).stdout
    dry = chmem("-s", plugged, "--apply", layout, "--dry-run").stdout
    done = chmem("-s", plugged, "--apply", layout)
    assert (done.status, taken(plugged)) == (0, [*range(28, 34)])
    assert "would be empty, and could be removed: dax0.0" in dry
    assert "empty now, and can be removed: dax0.0" in done.stderr
    assert "memory28-33 768M" in differing
    assert chmem("-s", plugged, "--apply", layout, "--json").stdout.count('"result"') == 0


def test_a_block_that_fails_is_replaced_by_one_of_no_device(
    plugged: Path, chmem: Command, memsim: Command
) -> None:
    memsim("fault", plugged, "--offline", "18=EBUSY")
    memsim("fault", plugged, "--offline", "7=EBUSY")
    done = chmem("-s", plugged, "-d", "1g", "--json")
    assert taken(plugged) == [6, 16, 17, *range(19, 24)]
    assert [one["device"] for one in json.loads(done.stdout)["devices"]] == ["PNP0C80:01"]


def test_a_size_of_a_layout_replaces_a_block_by_one_of_no_device(
    plugged: Path, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    memsim("fault", plugged, "--offline", "30=EBUSY")
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nsize = "768M"\nstate = "offline"\n')
    chmem("-s", plugged, "--apply", layout)
    gone = taken(plugged)
    assert len(gone) == 6
    assert {28, 29, 31, 32, 33} < {*gone}
    assert {*gone} & {*BOOT}


def test_a_size_of_a_layout_replaces_a_block_by_the_rest_of_a_device_that_is_left_in_part(
    plugged: Path, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    memsim("fault", plugged, "--offline", "30=EBUSY")
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nsize = "896M"\nstate = "offline"\n')
    chmem("-s", plugged, "--apply", layout)
    assert taken(plugged) == [24, 25, 28, 29, 31, 32, 33]


def test_order_highest_is_util_linuxs(plugged: Path, chmem: Command) -> None:
    assert chmem("-s", plugged, "-d", "512m", "--order", "highest").status == 0
    assert taken(plugged) == [*range(35, 39)]


def test_all_or_nothing_empties_a_device_or_none(
    plugged: Path, chmem: Command, memsim: Command
) -> None:
    for number in (*BOOT, *range(8, 24)):
        memsim("fault", plugged, "--offline", f"{number}=EBUSY")
    done = chmem("-s", plugged, "-d", "2g", "--all-or-nothing", "--json")
    assert (done.status, taken(plugged)) == (1, [])
    assert json.loads(done.stdout)["devices"] == []
    done = chmem("-s", plugged, "-d", "768m", "--all-or-nothing", "--json")
    assert (done.status, taken(plugged)) == (0, [*range(28, 34)])


# Linux before 5.8


@pytest.fixture
def old(machine: Make) -> Path:
    """Of blocks 0 to 15 those with even numbers hold a page that stays."""
    busy = dict.fromkeys(map(str, range(0, 16, 2)), "EBUSY")
    return machine(
        {**x86(16, 0, release="4.18.0-80.el8.x86_64", used=256 * MIB), "faults": {"offline": busy}}
    )


def test_what_is_not_removable_is_set_offline_last(old: Path, chmem: Command) -> None:
    dry = chmem("-s", old, "-d", "640m", "--dry-run").stdout
    assert "not removable" not in dry
    done = chmem("-s", old, "-d", "640m", "-v")
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["15", "13", "11", "9", "7"]
    assert sorted({*range(16)} - {*online(old)}) == [7, 9, 11, 13, 15]


def test_a_dry_run_says_what_the_kernel_says(old: Path, chmem: Command) -> None:
    line = "not removable, so that the kernel will probably refuse: memory blocks 12, 14"
    words = ["-s", old, "-d", "-b", "12-15", "--dry-run"]
    assert f"# {line}" in chmem(*words).stdout.splitlines()
    (said,) = [
        message
        for message in json.loads(chmem(*words, "--json").stdout)["forecast"]
        if message["code"] == "WILL_BE_REFUSED"
    ]
    runs = [{"first": 12, "last": 12}, {"first": 14, "last": 14}]
    assert (said["text"], said["values"]) == (line, {"blocks": runs})
    size = chmem("-s", old, "-d", "1152m", "--dry-run", "--force").stdout
    assert "# not removable, so that the kernel will probably refuse: memory block 14" in size


def test_a_dry_run_doubts_blocks_that_change_zone(old: Path, chmem: Command) -> None:
    layout = old / "layout.toml"
    layout.write_text('version = 1\n[[memory]]\nblocks = "11-14"\nzone = "Movable"\n')
    said = chmem("-s", old, "--apply", layout, "--dry-run").stdout
    assert "# not in zone Movable, so that the kernel may refuse: memory blocks 11-14\n" in said
    assert (
        "# not removable, so that the kernel will probably refuse: memory blocks 12, 14\n" in said
    )


def test_a_dry_run_doubts_blocks_that_are_reconfigured(chmem: Command, machine: Make) -> None:
    root = machine(s390(first=4, used=256 * MIB))
    said = chmem("-s", root, "--reconfigure", "-m", "1", "-b", "2-3", "--dry-run").stdout
    assert "# not in zone Movable, so that the kernel may refuse: memory blocks 2-3\n" in said
    assert "would remain" not in said


def test_a_size_of_a_layout_leaves_what_is_not_removable(
    old: Path, chmem: Command, tmp_path: Path
) -> None:
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nsize = "640M"\nstate = "offline"\n')
    assert chmem("-s", old, "--apply", layout).status == 0
    assert online(old) == [0, 2, 4, 6, 8, 10, 11, 12, 13, 14, 15]


def test_a_device_with_a_block_that_is_not_removable_comes_later(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    blocks = [{"range": [0, 7]}, {"range": [8, 60], "config": 0}]
    described = x86(
        auto_online_blocks="online", release="4.18", faults={"offline": {"17": "EBUSY"}}
    )
    root = machine({**described, "blocks": blocks})
    for count in (4, 4, 2):
        memsim("plug", root, "--memory", f"{count * 128}m")
    assert chmem("-s", root, "-d", "256m").status == 0
    assert sorted({*range(18)} - {*online(root)}) == [14, 15]


def test_a_newer_kernel_says_nothing_of_a_block(machine: Make, chmem: Command) -> None:
    blocks = [{"range": [0, 5]}, {"range": [6, 7], "removable": 0}]
    root = machine({**x86(release="5.8.0"), "blocks": blocks})
    assert chmem("-s", root, "-d", "128m").status == 0
    assert online(root) == list(range(7))


def test_on_an_s390_nothing_is_told_of_devices(machine: Make, chmem: Command) -> None:
    done = chmem("-s", machine(s390(8, 4)), "-d", "256m", "--json")
    assert json.loads(done.stdout)["devices"] == []
