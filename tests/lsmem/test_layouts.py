"""The layout beside the machine: the column PERSISTENT, --diff LAYOUT and --policy."""

import json
import re
from pathlib import Path

import pytest

from commands import Command, cells
from layouts import MINE, MOVABLE_RULE, layout
from lsmem_py.columns import BY_NAME
from memory_hotplug.change.targets import NEEDED_FOR_LAYOUT
from simulated import Make, s390, write, x86
from static_tree import MEMORY, put

ENTRIES = """\
[[memory]]
blocks = "4-5"
zone = "Movable"
[[memory]]
blocks = "3"
zone = "Normal"
[[memory]]
blocks = "6"
state = "deconfigured"
"""


@pytest.fixture
def tree(machine: Make, chmem: Command) -> Path:
    """Blocks 0 to 3 are online, block 4 is, as the layout says, and 5 is not."""
    root = machine(s390(first=4, standby=4))
    assert chmem("-s", root, "-e", "-b", "4", "-z", "Movable").status == 0
    layout(root, ENTRIES, MINE)
    return root


WORDS = ["no"] * 3 + ["yes", "yes", "differs", "yes", "no"]


def test_persistent_says_of_each_block_whether_it_stays(tree: Path, lsmem: Command) -> None:
    assert cells(lsmem, tree, "PERSISTENT", "--all") == WORDS
    rows = lsmem("-s", tree, "-r", "-n", "-o", "BLOCK,PERSISTENT").stdout.splitlines()
    assert rows == ["0-2 no", "3-4 yes", "5 differs", "6 yes", "7 no"]
    # Other columns split it further; --split decides alone.
    rows = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE,PERSISTENT").stdout.splitlines()
    assert rows[2:] == ["5 offline differs", "6 offline yes", "7 offline no"]
    rows = lsmem("-s", tree, "-rn", "-o", "BLOCK,STATE", "--split=persistent").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["0-2", "3-4", "5", "6", "7"]


def test_persistent_in_json_is_a_word_or_null(tree: Path, lsmem: Command, machine: Make) -> None:
    document = json.loads(lsmem("-s", tree, "-J", "--typed", "-o", "BLOCK,PERSISTENT").stdout)
    found = [row["persistent"] for row in document["ranges"]]
    assert found == ["no", "yes", "differs", "yes", "no"]
    plain = json.loads(lsmem("-s", tree, "-J", "-o", "PERSISTENT").stdout)
    assert [row["persistent"] for row in plain["memory"]] == found
    # The default columns of the document need no layout.
    layout(tree, "wrong", MINE)
    assert lsmem("-s", tree, "-J", "--typed").status == 0
    assert lsmem("-s", tree, "-a", "-o", "BLOCK,STATE").status == 0


def test_persistent_without_a_layout_is_empty(machine: Make, lsmem: Command) -> None:
    tree = machine(s390())
    assert lsmem("-s", tree, "-J", "--typed", "-o", "PERSISTENT").stdout.count("null") == 1
    assert cells(lsmem, tree, "PERSISTENT", "--all") == [""] * 8


@pytest.mark.parametrize("columns", ["+PERSISTENT", "PERSISTENT", "BLOCK,PERSISTENT"])
@pytest.mark.parametrize("entry", ['size = "256M"\nzone = "Movable"\n', "node = 0\n"])
def test_persistent_reads_all_that_an_entry_needs(
    columns: str, entry: str, machine: Make, lsmem: Command
) -> None:
    root = machine(x86(online=2, offline=2))
    layout(root, f"[[memory]]\n{entry}", MINE)
    done = lsmem("-s", root, "-o", columns, "-J")
    assert (done.status, done.stderr) == (0, "")
    assert '"persistent": "differs"' in done.stdout
    assert {*NEEDED_FOR_LAYOUT} <= {*BY_NAME["persistent"].reads}


def test_a_wrong_layout_is_told_with_its_line(tree: Path, lsmem: Command) -> None:
    layout(tree, "[[memory]]\nblock = 3\n", MINE)
    done = lsmem("-s", tree, "-o", "PERSISTENT")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "lsmem: /etc/memory-layout.d/20-mine.toml:3: unknown key block (known: "
    )
    done = lsmem("-s", tree, "--diff", "layout")
    assert (done.status, done.stdout) == (2, "")
    assert "unknown key block" in done.stderr


def test_diff_with_a_layout_shows_what_is_not_as_it_says(tree: Path, lsmem: Command) -> None:
    done = lsmem("-s", tree, "--diff", "layout")
    assert (done.status, done.stdout, done.stderr) == (1, "memory5 128M  online -> disabled\n", "")
    write(tree, f"{MEMORY}/memory4/state", "offline")
    document = json.loads(lsmem("-s", tree, "--diff", "layout", "-J").stdout)
    assert [(one["block"]["first"], one["before"]["state"]) for one in document["changes"]] == [
        (4, "online"),
        (5, "online"),
    ]


def test_diff_with_a_layout_of_a_machine_that_is_so_shows_nothing(
    tree: Path, lsmem: Command, chmem: Command
) -> None:
    assert chmem("-s", tree, "--apply").status == 0
    for where in (
        "layout",
        tree / "etc/memory-layout.d",
        tree / "etc/memory-layout.d/20-mine.toml",
    ):
        done = lsmem("-s", tree, "--diff", where)
        assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert set(cells(lsmem, tree, "PERSISTENT", "--all")) == {"yes", "no"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[memory]]\nblocks = "3"\nzone = "Movable"\n', "memory3 128M  zones Movable -> Normal\n"),
        (
            '[[memory]]\nblocks = "3"\nmemmap_on_memory = true\n',
            "memory3 128M  memmap-on-memory yes -> no\n",
        ),
        ('[[memory]]\nblocks = "2-3"\nstate = "offline"\n', "memory2-3 256M  offline -> online\n"),
        ('[[memory]]\nblocks = "4"\nstate = "offline"\n', "memory4 128M  offline -> online\n"),
        ('[[memory]]\nblocks = "7"\nstate = "offline"\n', "memory7 128M  offline -> disabled\n"),
        ('[policy]\nauto_online = "online"\n', "auto_online_blocks: online -> offline\n"),
        ("[policy]\nauto_movable_ratio = 7\n", "auto_movable_ratio: 7 -> 301\n"),
    ],
)
def test_diff_with_a_layout_shows_each_kind_of_drift(
    text: str, told: str, tree: Path, lsmem: Command
) -> None:
    file = layout(tree, text, "one.toml")
    done = lsmem("-s", tree, "--diff", file)
    assert (done.status, done.stderr) == (1, "")
    assert done.stdout == told


@pytest.mark.parametrize("before", ["", "\n  ", "\ufeff"])
@pytest.mark.parametrize("name", ["one.json", "one.toml", "one"])
def test_diff_takes_a_layout_in_json(
    name: str, before: str, tree: Path, lsmem: Command, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text(f'{before}{{"memory": [{{"blocks": "3", "zone": "Movable"}}], "version": 1}}')
    done = lsmem("-s", tree, "--diff", file)
    assert (done.status, done.stderr) == (1, "")
    assert done.stdout == "memory3 128M  zones Movable -> Normal\n"


@pytest.mark.parametrize("before", ["", "\ufeff# mine\n\n  # and more\r\n "])
def test_diff_takes_a_layout_of_any_name(
    before: str, tree: Path, lsmem: Command, tmp_path: Path
) -> None:
    file = tmp_path / "x.conf"
    file.write_text(f'{before}version = 1\n[[memory]]\nblocks = "3"\nzone = "Movable"\n')
    done = lsmem("-s", tree, "--diff", file)
    assert (done.status, done.stderr) == (1, "")
    assert done.stdout == "memory3 128M  zones Movable -> Normal\n"
    # A directory must have files with the names of layouts; the advice says so.
    done = lsmem("-s", tree, "--diff", tmp_path, "--advice=always")
    assert (done.status, done.stdout) == (2, "")
    assert "files whose names end in .toml" in done.stderr


def test_diff_takes_no_listing_for_a_layout(tree: Path, lsmem: Command, tmp_path: Path) -> None:
    file = tmp_path / "listing"
    file.write_text(lsmem("-s", tree, "-J").stdout)
    done = lsmem("-s", tree, "--diff", file)
    assert (done.status, done.stdout) == (2, "")
    assert "--typed" in done.stderr
    file.write_text(lsmem("-s", tree, "-J", "--typed").stdout)
    assert lsmem("-s", tree, "--diff", file).status == 0


def test_a_size_of_a_node_that_is_missing_is_said_to_be_of_the_node(
    tree: Path, lsmem: Command
) -> None:
    file = layout(tree, '[[memory]]\nsize = "1G"\nnode = 3\n', "one.toml")
    done = lsmem("-s", tree, "--diff", file, "--advice=never")
    assert (done.status, done.stderr) == (
        1,
        f"lsmem: {file}:2: 1G of node 3 are missing: the machine has no more memory for it\n",
    )


def test_diff_with_a_layout_shows_what_the_machine_lacks(tree: Path, lsmem: Command) -> None:
    file = layout(tree, '[[memory]]\nblocks = "3,20-21"\n[[memory]]\nsize = "2G"\n', "one.toml")
    done = lsmem("-s", tree, "--diff", file, "--advice=never")
    assert done.status == 1
    assert done.stderr == (
        f"lsmem: {file}:2: not on this machine: memory blocks 20-21\n"
        f"lsmem: {file}:4: 1G are missing: the machine has no more memory for it\n"
    )
    document = json.loads(lsmem("-s", tree, "--diff", file, "-J").stdout)
    assert document["refused"] == []
    assert document["missing"] == [
        {
            "file": str(file),
            "line": 2,
            "size": 2 << 27,
            "node": None,
            "blocks": [{"first": 20, "last": 21}],
        },
        {"file": str(file), "line": 4, "size": 1 << 30, "node": None, "blocks": []},
    ]
    file = layout(tree, '[[memory]]\nblocks = "3,20"\n', "two.toml")
    done = lsmem("-s", tree, "--diff", file, "-J")
    document = json.loads(done.stdout)
    assert (done.status, document["same"], document["changes"]) == (1, False, [])
    file = layout(tree, '[[memory]]\nblocks = "20"\nmissing = "ignore"\n', "two.toml")
    assert lsmem("-s", tree, "--diff", file).status == 0


def test_diff_with_a_layout_says_what_is_refused(machine: Make, lsmem: Command) -> None:
    root = machine(x86(online=1, offline=4))
    file = layout(root, '[[memory]]\nblocks = "1-4"\nzone = "Movable"\n', "one.toml")
    done = lsmem("-s", root, "--diff", file, "-J")
    document = json.loads(done.stdout)
    assert (done.status, document["same"], document["missing"]) == (1, False, [])
    assert document["refused"] == [{"first": 4, "last": 4}]
    assert "memory block 4: not set online in zone Movable" in done.stderr


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (
            ['size = "1G"', 'blocks = "2-3"\nstate = "offline"'],
            "1.toml:2: 256M are missing: 2.toml:2 has the other memory",
        ),
        # An earlier entry that asks for the same, or for nothing of it, does not have it.
        (
            ['blocks = "0-1"', 'size = "2G"', 'size = "256M"\nstate = "offline"'],
            "2.toml:2: 1280M are missing: 3.toml:2 has the other memory",
        ),
        (
            ['blocks = "0"\nstate="offline"', 'size = "1G"']
            + [f'blocks = "{at}"\nstate = "offline"' for at in range(1, 5)],
            "2.toml:2: 512M are missing: 3.toml:2, 4.toml:2, 5.toml:2 and 1 more "
            "have the other memory",
        ),
        (
            ['blocks = "0-3"\nsize = "512M"\nzone = "DMA"'],
            "1.toml:2: 512M are missing: the machine has no more memory for zone DMA",
        ),
    ],
)
def test_what_is_missing_says_who_has_it(
    entries: list[str], reason: str, machine: Make, lsmem: Command, tmp_path: Path
) -> None:
    root, where = machine(x86(4, 4)), tmp_path / "files"
    where.mkdir()
    for count, text in enumerate(entries, 1):
        (where / f"{count}.toml").write_text(f"version = 1\n[[memory]]\n{text}\n")
    told = lsmem("-s", root, "--diff", where, "--advice=always").stderr.splitlines()
    assert told[0].replace(f"{where}/", "") == f"lsmem: {reason}"
    assert any("own zones" in line for line in told) is ("for zone" in reason)


# --policy


def rule(root: Path, text: str, name: str = "usr/lib/udev/rules.d/60-x.rules") -> None:
    put(root, name, text)


PERHAPS = 'SUBSYSTEM=="memory", ACTION=="add", CONST{virt}=="kvm", ATTR{state}="online"\n'
PROGRAM = 'SUBSYSTEM=="memory", ACTION=="add", RUN+="/bin/set-online $sys$devpath/state"\n'
SETTINGS = """\
auto_online_blocks       {}
online_policy            contig-zones
auto_movable_ratio       301
auto_movable_numa_aware  Y
"""
HEADING = "\nudev rules that set memory online:\n"
PLACE = "/usr/lib/udev/rules.d/60-x.rules"


@pytest.mark.parametrize(
    ("auto_online", "text", "told"),
    [
        (
            "offline",
            "",
            "\nMemory that is added stays offline: neither the kernel nor a udev rule sets it"
            " online.\n",
        ),
        ("online", "", "\nMemory that is added becomes online: the kernel does that itself.\n"),
        (
            "offline",
            PERHAPS + MOVABLE_RULE,
            f"{HEADING}  {PLACE}:1 online, perhaps\n  {PLACE}:2 online_movable\n\nMemory that is"
            f" added becomes online or online_movable: by {PLACE}:1 or {PLACE}:2.\n",
        ),
        (
            "online_kernel",
            PROGRAM,
            f"{HEADING}  {PLACE}:1 a program, perhaps\n\nMemory that is added becomes"
            " online_kernel: the"
            " kernel does that itself, and udev comes too late.\n",
        ),
        (
            "offline",
            PERHAPS,
            f"{HEADING}  {PLACE}:1 online, perhaps\n\nMemory that is added stays offline, unless"
            " one of these rules is for it.\n",
        ),
        (
            "offline",
            PROGRAM,
            f"{HEADING}  {PLACE}:1 a program, perhaps\n\nMemory that is added may be set online: a"
            f" program decides: {PLACE}:1.\n",
        ),
        (
            "offline",
            PERHAPS + PROGRAM,
            f"{HEADING}  {PLACE}:1 online, perhaps\n  {PLACE}:2 a program, perhaps\n"
            "\nMemory that is added may be set online: one of these rules may be for it, or a"
            f" program decides: {PLACE}:2.\n",
        ),
    ],
)
def test_policy_says_what_becomes_of_added_memory(
    auto_online: str, text: str, told: str, machine: Make, lsmem: Command
) -> None:
    root = machine(x86(auto_online_blocks=auto_online))
    rule(root, text)
    done = lsmem("-s", root, "--policy")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == SETTINGS.format(auto_online) + told


def test_policy_in_json_has_all_settings(machine: Make, lsmem: Command) -> None:
    root = machine(x86())
    rule(root, MOVABLE_RULE)
    document = json.loads(lsmem("-s", root, "--policy", "-J").stdout)
    assert document == {
        "schema_version": 1,
        "settings": {
            "auto_online_blocks": "offline",
            "online_policy": "contig-zones",
            "auto_movable_ratio": "301",
            "auto_movable_numa_aware": "Y",
        },
        "rules": [{"file": PLACE, "line": 1, "words": ["online_movable"], "certain": True}],
        "added_memory": {
            "words": ["online_movable"],
            "by": "udev",
            "rule": f"{PLACE}:1",
            "certain": True,
        },
        "at_start": None,
        "too_late": False,
        "movable": 0,
        "other_zones": 512 << 20,
        "too_movable": False,
    }
    nobody: dict[str, object] = {"words": [], "by": None, "rule": None}
    for text, certain in ((PERHAPS, False), (PROGRAM, False), ("", True)):
        rule(root, text)
        added = json.loads(lsmem("-s", root, "--policy", "-J").stdout)["added_memory"]
        assert added == {**nobody, "certain": certain}
    write(root, f"{MEMORY}/auto_online_blocks", "online")
    added = json.loads(lsmem("-s", root, "--policy", "-J").stdout)["added_memory"]
    assert added == {"words": ["online"], "by": "kernel", "rule": None, "certain": True}


@pytest.mark.parametrize("now", ["offline", "online"])
def test_policy_says_that_a_setting_came_too_late_for_drivers(
    now: str, machine: Make, lsmem: Command
) -> None:
    root = machine(x86(auto_online_blocks=now))
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text("ro memhp_default_state=offline\n")
    late = (
        "auto_online_blocks was offline when the kernel started (/proc/cmdline): memory that a"
        " driver added before it was set to online was treated so. memhp_default_state=online on"
        " the kernel's command line sets it from the start.\n"
    )
    told = lsmem("-s", root, "--policy").stdout
    assert told.count("the kernel started") == told.count(late) == (now == "online")
    document = json.loads(lsmem("-s", root, "--policy", "-J").stdout)
    assert document["at_start"] == {"word": "offline", "file": "/proc/cmdline"}
    assert document["too_late"] is (now == "online")


@pytest.mark.parametrize(("movable", "warned"), [(8, False), (9, True)])
def test_policy_warns_of_more_movable_memory_than_the_kernel_can_serve(
    movable: int, warned: bool, machine: Make, lsmem: Command
) -> None:
    blocks = [{"range": [0, 1]}, {"range": [2, 1 + movable], "zones": "Movable"}]
    done = lsmem("-s", machine({**x86(), "blocks": blocks}), "--policy")
    warning = (
        "Zone Movable has 1.1G, more than 4 times the 256M of the other zones: the kernel can run"
        " out of memory for itself.\n"
    )
    assert done.stdout.endswith(warning) is warned


@pytest.mark.parametrize("option", ["-a", "--diff=x", "--map", "--summary", "--watch", "-o BLOCK"])
def test_the_policy_is_a_view_of_its_own(option: str, machine: Make, lsmem: Command) -> None:
    done = lsmem("-s", machine(x86()), "--policy", *option.split())
    # 1 would mean for --diff that something has changed.
    assert done.status == (2 if "--diff" in option else 1)
    assert re.search("--policy and .* cannot be combined|means nothing to --policy", done.stderr)


def test_policy_of_a_kernel_without_parameters_shows_what_it_has(
    machine: Make, lsmem: Command
) -> None:
    root = machine(x86(online_policy=None, memmap_param=None))
    assert lsmem("-s", root, "--policy").stdout.splitlines()[:2] == [
        "auto_online_blocks       offline",
        "",
    ]


def test_diff_with_a_layout_that_there_is_not_compares_nothing(
    lsmem: Command, machine: Make
) -> None:
    done = lsmem("-s", machine(s390()), "--diff", "layout")
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == "lsmem: memory-layout.d: there is no layout\n"


@pytest.mark.parametrize("text", ["", 'keep_free = "1G"\n', "[policy]\n"])
def test_diff_with_a_layout_that_names_no_memory_finds_nothing(
    text: str, lsmem: Command, machine: Make
) -> None:
    root = machine(s390())
    layout(root, text, MINE)
    done = lsmem("-s", root, "--diff", "layout")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "words", [["--diff", "layout", "--bogus"], ["--bogus", "--diff", "layout"], ["--diff"]]
)
def test_diff_with_wrong_usage_is_no_difference(
    words: list[str], lsmem: Command, machine: Make
) -> None:
    assert lsmem("-s", machine(s390()), *words).status == 2
