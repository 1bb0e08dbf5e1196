"""chmem --policy, and the policy of a layout."""

import json
from pathlib import Path

import pytest

import meanwhile
from commands import Command
from layouts import layout
from memory_hotplug import Machine
from memory_hotplug.attribute import AUTO_ONLINE_BLOCKS, path_of
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.settings import present, settings_to
from simulated import Make, s390, x86

AUTO = path_of(AUTO_ONLINE_BLOCKS)
RATIO = path_of("parameters/auto_movable_ratio")
WARNING = (
    "chmem: the kernel expects that online_policy does not change once memory has been set online\n"
)


def settings(tree: Path) -> dict[str, str]:
    with Machine.at(tree) as machine:
        return present(machine)


@pytest.fixture
def tree(machine: Make) -> Path:
    return machine(x86(memmap_param="N"))


AT_BOOT = {
    "auto_online": "offline",
    "online_policy": "contig-zones",
    "auto_movable_ratio": "301",
    "auto_movable_numa_aware": "Y",
}


@pytest.mark.parametrize(
    "word", ["auto_online = online", "auto_online= online", " auto_online=online"]
)
def test_spaces_around_the_equals_sign_are_told(word: str, lpar: Path, chmem: Command) -> None:
    done = chmem("-s", lpar, "--policy", word)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == ("chmem: policy: no space stands around the =: auto_online=online\n")


@pytest.mark.parametrize(
    ("word", "changed", "stderr"),
    [
        ("auto_online=online_movable", {"auto_online": "online_movable"}, ""),
        ("online_policy=auto-movable", {"online_policy": "auto-movable"}, WARNING),
        ("auto_movable_ratio=100", {"auto_movable_ratio": "100"}, ""),
        ("auto_movable_numa_aware=no", {"auto_movable_numa_aware": "N"}, ""),
    ],
)
def test_policy_writes_a_setting_once(
    word: str, changed: dict[str, str], stderr: str, tree: Path, chmem: Command
) -> None:
    assert settings(tree) == AT_BOOT
    done = chmem("-s", tree, "--policy", word, "--advice=never")
    ((_, value),) = changed.items()
    assert (done.status, done.stderr) == (0, stderr)
    assert done.stdout.endswith(f" set to {value}\n")
    assert settings(tree) == AT_BOOT | changed
    done = chmem("-s", tree, "--policy", word)
    assert (done.status, done.stdout, done.stderr) == (0, "nothing to change\n", "")


@pytest.mark.parametrize(("word", "value"), [("yes", "Y"), ("no", "N")])
def test_policy_writes_yes_and_no_as_the_kernel_shows_them(
    word: str, value: str, tree: Path, chmem: Command
) -> None:
    other = "no" if word == "yes" else "yes"
    assert chmem("-s", tree, "--policy", f"auto_movable_numa_aware={other}").status == 0
    done = chmem("-s", tree, "--policy", f"auto_movable_numa_aware={word}", "--dry-run")
    assert f"/auto_movable_numa_aware {value}\n" in done.stdout
    assert chmem("-s", tree, "--policy", f"auto_movable_numa_aware={word}").status == 0
    assert settings(tree) == AT_BOOT | {"auto_movable_numa_aware": value}


def test_a_setting_of_no_layout_that_the_kernel_does_not_have_is_a_fault_of_the_policy(
    machine: Make,
) -> None:
    with Machine.at(machine(x86(online_policy=None))) as opened:
        with pytest.raises(LayoutError) as caught:
            settings_to({"auto_movable_ratio": "3"}, opened)
        assert str(caught.value) == (
            "policy: auto_movable_ratio is impossible: this kernel does not have it"
        )


def test_policy_writes_several_settings_at_once(tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "--policy", "auto_online=online", "auto_movable_ratio=50")
    assert done.stdout == "auto_online_blocks set to online\nauto_movable_ratio set to 50\n"
    report = json.loads(
        chmem(
            "-s", tree, "--policy", "auto_online=offline", "auto_movable_ratio=50", "--json"
        ).stdout
    )
    assert report["settings"] == [
        {
            "setting": "auto_online_blocks",
            "path": f"{tree}/{AUTO}",
            "before": "online",
            "value": "offline",
            "changed": True,
            "errno": None,
        }
    ]
    assert (report["outcome"], report["status"], report["bytes_changed"]) == ("done", 0, 0)
    request = report["request"]
    assert request["text"] == "auto_online=offline auto_movable_ratio=50"
    assert (request["size"], request["first_block"], request["last_block"]) == (None,) * 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["auto_online=sometimes"], 'policy: auto_online is "offline" or "online" or'),
        (["auto_online"], "policy: expected KEY=VALUE, not auto_online"),
        (["auto_online=online", "auto_online=offline"], "policy: auto_online is given twice"),
        (["ratio=3"], "policy: unknown key ratio (known: auto_movable_numa_aware,"),
        (["auto_movable_ratio=much"], "policy: auto_movable_ratio is a whole number, 0 or more"),
        (["auto_movable_numa_aware=3"], "policy: auto_movable_numa_aware is true or false, not 3"),
        ([], "--policy takes KEY=VALUE, with the keys auto_online, online_policy,"),
    ],
)
def test_policy_refuses_what_is_none(
    words: list[str], reason: str, tree: Path, chmem: Command
) -> None:
    done = chmem("-s", tree, "--policy", *words, "--advice=always")
    assert done.status == 1
    assert reason in done.stderr
    assert settings(tree) == AT_BOOT


def test_a_setting_that_the_kernel_does_not_have_is_refused(machine: Make, chmem: Command) -> None:
    tree = machine(x86(online_policy=None))
    assert settings(tree) == {"auto_online": "offline"}
    done = chmem("-s", tree, "--policy", "auto_online=online", "auto_movable_ratio=3")
    assert (done.status, done.stderr) == (
        1,
        "chmem: policy: auto_movable_ratio is impossible: this kernel does not have it\n",
    )
    assert settings(tree) == {"auto_online": "offline"}


def test_policy_with_dry_run_shows_the_writes(tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "--policy", "auto_online=online", "--dry-run")
    assert f"memsim write {tree} {AUTO} online" in done.stdout
    assert done.stdout.endswith("\n# auto_online_blocks would be set to online\n")
    assert settings(tree) == AT_BOOT
    # What is so already is not changed.
    done = chmem("-s", tree, "--policy", "auto_online=offline", "--dry-run")
    assert done.stdout == "# nothing would be changed\n"
    assert chmem("-s", tree, "--policy", "auto_online=online").status == 0
    done = chmem("-s", tree, "--undo", "--dry-run")
    assert done.stdout.endswith("\n# auto_online_blocks would be set to offline\n")


def test_policy_tells_a_setting_that_cannot_be_written(tree: Path, chmem: Command) -> None:
    """In a captured tree: what is no regular file."""
    for path in (tree / ".memsim").iterdir():
        path.unlink()
    (tree / ".memsim").rmdir()
    (tree / RATIO).unlink()
    (tree / RATIO).symlink_to("auto_movable_ratio.real")
    (tree / f"{RATIO}.real").write_text("301\n")
    words = ("-s", tree, "--policy", "auto_online=online", "auto_movable_ratio=3")
    done = chmem(*words)
    assert done.status == 64
    assert done.stdout == "auto_online_blocks set to online\n"
    assert done.stderr.startswith("chmem: auto_movable_ratio: cannot be set to 3: Too many levels")
    chmem("-s", tree, "--policy", "auto_online=offline")
    done = chmem(*words, "--all-or-nothing")
    assert (done.status, done.stdout) == (1, "")
    assert (tree / AUTO).read_text() == "offline"
    report = json.loads(chmem(*words, "--json").stdout)
    assert [(one["changed"], one["errno"]) for one in report["settings"]] == [
        (True, None),
        (False, "ELOOP"),
    ]


BOTH = '[policy]\nauto_online = "online_movable"\n[[memory]]\nblocks = "4-5"\n'


def test_the_policy_of_a_layout_is_written_with_it(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=4))
    file = layout(tmp_path, BOTH)
    done = chmem("-s", tree, "--apply", file)
    assert (done.status, done.stdout) == (
        0,
        "auto_online_blocks set to online_movable\n256M changed: memory blocks 4-5\n",
    )
    assert settings(tree)["auto_online"] == "online_movable"
    assert chmem("-s", tree, "--apply", file).stdout == "nothing to change\n"


def test_a_policy_that_the_kernel_does_not_have_changes_nothing(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(x86(online_policy=None))
    done = chmem("-s", tree, "--apply", layout(tmp_path, "[policy]\nauto_movable_ratio = 3\n"))
    assert done.status == 1
    assert "layout.toml:2: auto_movable_ratio is impossible" in done.stderr


def test_all_or_nothing_takes_the_policy_back(
    machine: Make, chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=4))
    memsim("fault", tree, "--config", "5=EIO")
    done = chmem("-s", tree, "--apply", layout(tmp_path, BOTH), "--all-or-nothing")
    assert done.status == 1
    assert settings(tree)["auto_online"] == "offline"
    done = chmem("-s", tree, "--apply", layout(tmp_path, BOTH))
    assert done.status == 64
    assert settings(tree)["auto_online"] == "online_movable"


def test_a_dry_run_of_all_or_nothing_takes_the_policy_back(
    machine: Make, chmem: Command, tmp_path: Path
) -> None:
    tree = machine(s390(first=4, standby=16))
    file = layout(
        tmp_path,
        '[policy]\nauto_online = "online_movable"\n[[memory]]\nsize = "2G"\nzone = "Movable"\n',
    )
    done = chmem("-s", tree, "--dry-run", "--apply", file, "--all-or-nothing")
    assert done.status == 1
    assert "would have more than 301 %" in done.stderr
    assert done.stdout.endswith("auto_online_blocks offline\n# nothing would be changed\n")


def test_undo_brings_the_policy_back(machine: Make, chmem: Command, tmp_path: Path) -> None:
    tree = machine(s390(first=4, standby=4))
    chmem("-s", tree, "--apply", layout(tmp_path, BOTH))
    done = chmem("-s", tree, "--undo")
    assert done.status == 0
    assert settings(tree)["auto_online"] == "offline"
    with Machine.at(tree) as found:
        assert found.block(4).status == "disabled"
    chmem("-s", tree, "--policy", "auto_online=online")
    assert chmem("-s", tree, "--undo").stdout == "auto_online_blocks set to offline\n"
    record = tree / "run/memory-hotplug/undo.json"
    for key in ("state", "../../x"):
        record.write_text(json.dumps({"version": 1, "before": [], "settings": {key: "online"}}))
        assert "record of the last change is damaged" in chmem("-s", tree, "--undo").stderr


def test_a_persistent_policy_outlives_a_boot(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    tree = machine(s390(first=4, standby=4))
    chmem("-s", tree, "-e", "-b", "4", "--persistent")
    done = chmem("-s", tree, "--policy", "auto_online=online", "--persistent")
    assert done.status == 0
    text = (tree / "etc/memory-layout.d/50-chmem.toml").read_text()
    assert '[policy]\nauto_online = "online"\n' in text
    assert 'blocks = "4"\n' in text
    assert memsim("reboot", tree).status == 0
    assert settings(tree)["auto_online"] == "offline"
    assert chmem("-s", tree, "--apply").status == 0
    assert settings(tree)["auto_online"] == "online"


def test_a_setting_that_is_brought_back_without_its_layout_is_a_part_of_an_undo(
    tree: Path, chmem: Command
) -> None:
    before = settings(tree)
    assert chmem("-s", tree, "--policy", "auto_online=online", "--persistent").status == 0
    with meanwhile.no_room_for_layouts(1):
        done = chmem("-s", tree, "--undo", "--advice=never")
    assert (done.status, settings(tree)) == (64, before)
    assert done.stderr.startswith("chmem: the layout could not be put back: /etc/")
