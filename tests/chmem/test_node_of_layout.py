"""The node of memory that a layout has configured is known only then: chmem --apply goes on."""

import json
import signal
from pathlib import Path

import pytest

from commands import Command
from layouts import MINE, layout
from memory_hotplug import Layout, Machine, Watch
from paused import Paused
from simulated import Make, conditions, online, s390, x86

LATE = """\
[[memory]]
blocks = "7"
[[memory]]
node = 1
memmap_on_memory = false
"""
"""Block 7 is configured as memmap_on_memory says, which is true, and is on node 1 then."""


@pytest.fixture
def tree(machine: Make) -> Path:
    """Blocks 0 to 5 are online on node 0. Standby memory is in blocks 6 to 9, of node 1."""
    blocks = [{"range": [0, 5]}, {"range": [6, 9], "config": 0, "node": 1}]
    return machine({**s390(), "blocks": blocks, "memmap_param": "Y", "used": 64 << 20})


def own_struct_pages(tree: Path) -> dict[int, int | None]:
    """Configured blocks of node 1 -> whether they hold their own struct pages."""
    found = conditions(tree)
    return {at: found[at].memmap for at in range(6, 10) if found[at].config}


@pytest.mark.parametrize("words", [[], ["--all-or-nothing"]])
def test_one_run_brings_all_entries_about(words: list[str], tree: Path, chmem: Command) -> None:
    assert chmem("-s", tree, "-e", "-b", "6").status == 0
    before = conditions(tree)
    done = chmem("-s", tree, "--apply", "--verbose", *words, layout(tree, LATE))
    steps = ["configured", "enabled", "disabled", "deconfigured", "configured", "enabled"]
    lines = [line for line in done.stdout.splitlines() if line.startswith("Memory Block 7 ")]
    assert [line.split()[-1] for line in lines] == steps
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.endswith("\n256M changed: memory blocks 6-7\n")
    assert own_struct_pages(tree) == {6: 0, 7: 0}
    again = chmem("-s", tree, "--apply", layout(tree, LATE))
    assert (again.status, again.stdout) == (0, "nothing to change\n")
    assert chmem("-s", tree, "--undo").status == 0
    assert conditions(tree) == before


def test_all_or_nothing_waits_for_the_first_memory_of_a_node(tree: Path, chmem: Command) -> None:
    before = conditions(tree)
    words = ["--apply", "--all-or-nothing"]
    assert chmem("-s", tree, *words, "--dry-run", layout(tree, LATE)).status == 64
    done = chmem("-s", tree, *words, layout(tree, LATE))
    assert (done.status, done.stdout, done.stderr) == (
        *(0, "128M changed: memory block 7\n"),
        "",
    )
    assert chmem("-s", tree, "--undo").status == 0
    # Nothing that is configured could help here.
    offline = 'blocks = "7"\nstate = "deconfigured"\nmemmap_on_memory = false'
    for entry in ('blocks = "0-5"', offline):
        done = chmem(
            "-s", tree, *words, layout(tree, f"[[memory]]\n{entry}\n[[memory]]\nnode = 1\n")
        )
        assert (done.status, conditions(tree)) == (1, before)
        assert "nothing is changed (--all-or-nothing)" in done.stderr
        assert "taken back" not in done.stderr


def test_a_missing_node_is_told_before_the_work_where_no_memory_can_come_to_it(
    machine: Make, chmem: Command, memsim: Command
) -> None:
    groups = [{"range": [0, 5]}, {"range": [6, 7], "state": "offline", "node": 1}]
    tree = machine({**x86(), "blocks": groups})
    memsim("fault", tree, "--online", "6=EIO", "--online", "7=ENOMEM")
    text = '[[memory]]\nblocks = "6-7"\n[[memory]]\nnode = 2\n'
    done = chmem("-s", tree, "--apply", "--advice=always", layout(tree, text))
    assert done.status == 1
    lines = done.stderr.splitlines()
    assert lines[0].endswith("not on this machine: memory of node 2")
    assert [line.split()[3] for line in lines[1:3]] == ["6", "7"]


def test_a_block_that_is_interrupted_while_it_is_changed_once_more_was_changed(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    memsim("fault", tree, "--delay", "offline:7=600")
    run = Paused("-s", tree, "--apply", layout(tree, LATE))
    run.until_it_stands_still()
    run.process.send_signal(signal.SIGTERM)
    _, err = run.finish()
    assert run.process.returncode == 128 + signal.SIGTERM
    assert "interrupted; changed before that: memory block 7\n" in err
    memsim("fault", tree, "--clear")
    assert chmem("-s", tree, "--undo").status == 0
    assert own_struct_pages(tree) == {}


def test_the_document_has_each_block_once_with_all_of_its_steps(tree: Path, chmem: Command) -> None:
    found = json.loads(chmem("-s", tree, "--apply", "--json", layout(tree, LATE)).stdout)
    (block,) = found["blocks"]
    assert (block["before"]["configured"], block["after"]["memmap_on_memory"]) == (False, False)
    assert [step["step"] for step in block["steps"]] == [
        *("configure", "online", "offline", "deconfigure"),
        *("memmap-on-memory", "configure", "online"),
    ]


def test_it_goes_on_as_long_as_nodes_become_known(tree: Path, chmem: Command) -> None:
    """Each block that node 1 gets is taken from the size, which has another one configured."""
    text = """\
[[memory]]
size = "1024M"
[[memory]]
node = 1
size = "256M"
state = "offline"
"""
    done = chmem("-s", tree, "--apply", layout(tree, text))
    assert (done.status, done.stderr) == (0, "")
    assert {at: block.state for at, block in conditions(tree).items() if at > 5} == {
        **dict.fromkeys((6, 7), "offline"),
        **dict.fromkeys((8, 9), "online"),
    }


def test_what_a_node_lacked_is_not_missing_then(tree: Path, chmem: Command) -> None:
    text = '[[memory]]\nblocks = "6-9"\n[[memory]]\nnode = 1\nsize = "512M"\nmissing = "wait"\n'
    done = chmem("-s", tree, "--apply", layout(tree, text))
    assert (done.status, done.stdout, done.stderr) == (
        *(0, "512M changed: memory blocks 6-9\n"),
        "",
    )


def test_what_a_node_takes_from_a_size_is_missing_then(tree: Path, chmem: Command) -> None:
    text = """\
[[memory]]
size = "1280M"
missing = "error"
[[memory]]
node = 1
state = "offline"
"""
    done = chmem("-s", tree, "--apply", layout(tree, text))
    assert done.status == 64
    assert "512M" in done.stderr
    again = chmem("-s", tree, "--apply", layout(tree, text))
    assert (again.status, again.stdout) == (1, "")


def test_all_or_nothing_takes_back_what_is_missing_only_then(tree: Path, chmem: Command) -> None:
    before = conditions(tree)
    text = """\
[[memory]]
size = "1280M"
[[memory]]
node = 1
state = "offline"
memmap_on_memory = false
"""
    done = chmem("-s", tree, "--apply", "--all-or-nothing", layout(tree, text))
    assert (done.status, conditions(tree)) == (1, before)
    assert "512M are missing" in done.stderr
    assert chmem("-s", tree, "--undo").status == 1
    # What the node asks for is not even begun.
    found = json.loads(
        chmem("-s", tree, "--apply", "--all-or-nothing", "--json", tree / "layout.toml").stdout
    )
    assert [[step["step"] for step in block["steps"]] for block in found["blocks"]] == [
        ["configure", "online", "offline", "deconfigure"]
    ] * 4


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_block_that_cannot_be_changed_once_more_is_told(
    words: list[str], tree: Path, chmem: Command, memsim: Command
) -> None:
    memsim("fault", tree, "--offline", "7=EBUSY")
    done = chmem("-s", tree, "--apply", "--retry", "0", *words, layout(tree, LATE))
    assert done.status == 64
    if words:
        (block,) = json.loads(done.stdout)["blocks"]
        assert (block["result"], block["error"]["errno"]) == ("failed", "EBUSY")
        assert (block["before"]["state"], block["after"]["state"]) == ("offline", "online")
    assert "Memory Block 7" in done.stderr
    assert own_struct_pages(tree) == {7: 1}
    memsim("fault", tree, "--clear")
    assert chmem("-s", tree, "--undo").status == 0
    assert own_struct_pages(tree) == {}


def test_all_or_nothing_takes_back_what_could_not_be_changed_once_more(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "6").status == 0
    memsim("fault", tree, "--deconfig", "7=EBUSY:1")
    done = chmem("-s", tree, "--apply", "--retry", "0", "--all-or-nothing", layout(tree, LATE))
    assert (done.status, own_struct_pages(tree)) == (1, {6: 1})
    assert "Memory Block 7" in done.stderr


def test_all_or_nothing_tells_what_can_neither_be_changed_once_more_nor_taken_back(
    tree: Path, chmem: Command, memsim: Command
) -> None:
    assert chmem("-s", tree, "-e", "-b", "6").status == 0
    memsim("fault", tree, "--offline", "7=EBUSY")
    words = ["--apply", "--retry", "0", "--all-or-nothing", "--json"]
    done = chmem("-s", tree, *words, layout(tree, LATE))
    (block,) = (one for one in json.loads(done.stdout)["blocks"] if one["block"] == 7)
    assert (done.status, block["result"], own_struct_pages(tree)) == (64, "failed", {6: 1, 7: 1})


@pytest.mark.parametrize(
    ("state", "sizes", "fault"),
    [
        # Block 3 is what one size wants. Once block 6 is that, the other size takes block 3.
        ("offline", [("768M", "online"), ("128M", "offline")], "--online 3=EBUSY"),
        # Block 5 is set offline for the size, which does not need it once block 6 is.
        ("online", [("128M", "offline")], "--offline 6=EBUSY"),
    ],
)
def test_blocks_that_are_left_to_themselves_do_not_hide_a_failure(
    state: str,
    sizes: list[tuple[str, str]],
    fault: str,
    machine: Make,
    chmem: Command,
    memsim: Command,
) -> None:
    blocks = [
        *({"range": [0, 2]}, {"range": [3, 3], "state": state}, {"range": [4, 5]}),
        {"range": [6, 6], "config": 0, "node": 1},
    ]
    tree = machine({**s390(), "blocks": blocks})
    entries = [f'size = "{size}"\nstate = "{state}"' for size, state in sizes]
    entries += ['blocks = "6"', 'node = 1\nstate = "offline"']
    place = layout(tree, "".join(f"[[memory]]\n{entry}\n" for entry in entries))
    memsim("fault", tree, *fault.split())
    done = chmem("-s", tree, "--apply", "--retry", "0", "--force", place)
    assert (done.status, "failed: Device or resource busy" in done.stderr) == (64, True)


def test_zone_movable_does_not_count_on_what_is_about_to_leave(
    machine: Make, chmem: Command
) -> None:
    """Seven blocks in the kernel's zones would be enough for block 7 in Movable; six are not."""
    blocks = [{"range": [0, 5]}, {"range": [6, 7], "config": 0, "node": 1}]
    tree = machine({**s390(), "blocks": blocks, "auto_movable_ratio": 15})
    text = """\
[[memory]]
blocks = "6"
zone = "Normal"
[[memory]]
blocks = "7"
state = "offline"
[[memory]]
blocks = "7"
node = 1
zone = "Movable"
[[memory]]
blocks = "6"
node = 1
state = "offline"
"""
    done = chmem("-s", tree, "--apply", layout(tree, text))
    assert (done.status, online(tree)) == (64, [0, 1, 2, 3, 4, 5])


def test_what_may_not_be_taken_once_more_is_told(tree: Path, chmem: Command) -> None:
    """Block 7 is not set offline for a moment: too little would stay available."""
    done = chmem("-s", tree, "--apply", "--keep-free", "840m", layout(tree, LATE))
    assert done.status == 64
    assert "memory block 7" in done.stderr
    assert own_struct_pages(tree) == {7: 1}


def test_a_dry_run_says_that_the_node_is_not_known(tree: Path, chmem: Command) -> None:
    said = (
        "# the node is not known before they are configured: memory block 7; "
        "what the layout says of their node would be done then\n"
    )
    assert said in chmem("-s", tree, "--apply", "--dry-run", layout(tree, LATE)).stdout
    only = '[[memory]]\nblocks = "7"\n'
    assert said not in chmem("-s", tree, "--apply", "--dry-run", layout(tree, only)).stdout


def test_a_later_entry_about_the_node_keeps_a_change_from_staying(
    tree: Path, chmem: Command
) -> None:
    later = "etc/memory-layout.d/60-node.toml"
    layout(tree, '[[memory]]\nnode = 1\nstate = "offline"\n', later)
    done = chmem("-s", tree, "-e", "-b", "7", "--persistent")
    assert done.status == 64
    assert f"chmem: /{later}:2 says otherwise of memory block 7" in done.stderr
    (tree / later).rename(tree / MINE)
    assert chmem("-s", tree, "-e", "-b", "8", "--persistent").status == 0


def test_a_program_is_told_all_that_was_done_to_a_block(tree: Path) -> None:
    with Machine.at(tree) as machine:
        work = machine.apply(Layout.parse(f"version = 1\n{LATE}"))
        first, second = work
        assert [one.number for one in (first, second)] == [7, 7]
        assert second.before == first.before
        assert second.writes[: len(first.writes)] == first.writes
        assert (work.complete, work.changed) == (True, (7,))


def test_all_or_nothing_takes_back_what_was_ended_before_it_was_changed_once_more(
    tree: Path,
) -> None:
    watch = Watch()
    with Machine.at(tree) as machine:
        work = machine.apply(
            Layout.parse(f"version = 1\n{LATE}"), all_or_nothing=True, force=True, watch=watch
        )
        results = []
        for outcome in work:
            results.append(outcome.result.value)
            watch.stopping = True
    assert (results, work.complete, own_struct_pages(tree)) == (["done", "taken back"], False, {})
