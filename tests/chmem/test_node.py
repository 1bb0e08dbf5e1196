"""chmem --node without a SIZE is all memory of that node."""

import json
from pathlib import Path

import pytest

from commands import Command
from simulated import Make, conditions, online, s390, x86


@pytest.fixture
def root(machine: Make) -> Path:
    """Node 0 has blocks 0 to 3. Node 1 has 4 and 5 in Normal, 6 and 7 in Movable, 8 offline."""
    blocks = [
        {"range": [0, 3]},
        {"range": [4, 5], "node": 1},
        {"range": [6, 7], "node": 1, "zones": "Movable"},
        {"range": [8, 8], "node": 1, "state": "offline"},
        {"range": [20, 21], "node": 2, "state": "offline"},
    ]
    return machine({**x86(), "blocks": blocks})


def test_all_memory_of_a_node_is_set_offline_and_online(root: Path, chmem: Command) -> None:
    done = chmem("-s", root, "-d", "--node", "1")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert online(root) == [0, 1, 2, 3]
    assert chmem("-s", root, "-d", "--node", "1").status == 0
    assert chmem("-s", root, "-e", "--node", "1").status == 0
    assert online(root) == list(range(9))
    # The holes below node 2 are not missing.
    assert chmem("-s", root, "-e", "--node", "2").stderr == ""
    assert online(root)[-2:] == [20, 21]


def test_with_a_zone_what_is_in_it_is_set_offline(root: Path, chmem: Command) -> None:
    done = chmem("-s", root, "-d", "--node", "1", "-z", "Movable")
    assert (done.status, done.stderr, online(root)) == (0, "", [0, 1, 2, 3, 4, 5])
    done = chmem("-s", root, "-d", "--node", "0", "-z", "Movable")
    assert (done.status, len(online(root))) == (1, 6)
    assert done.stderr == "chmem: no memory block of node 0 is online in zone Movable\n"


def test_the_document_and_the_dry_run_have_the_node(root: Path, chmem: Command) -> None:
    dry = chmem("-s", root, "-d", "--node", "1", "--dry-run").stdout
    assert dry.endswith("# 512M would be disabled: memory blocks 4-7\n")
    done = json.loads(chmem("-s", root, "-d", "--node", "1", "--json").stdout)
    assert (done["request"]["node"], done["request"]["text"]) == (1, "node 1")
    assert (done["request"]["first_block"], done["request"]["last_block"]) == (4, 8)
    assert (done["bytes_asked"], done["bytes_changed"]) == (5 << 27, 4 << 27)


def test_the_document_names_no_blocks_where_none_were_looked_for(
    root: Path, chmem: Command
) -> None:
    done = chmem("-s", root, "-c", "--node", "1", "--json")
    assert (done.status, done.stderr) == (1, "chmem: Cannot configure. Use -e instead.\n")
    document = json.loads(done.stdout)
    request = document["request"]
    assert (request["node"], request["first_block"], request["last_block"]) == (1, None, None)
    assert document["bytes_asked"] is None
    document = json.loads(chmem("-s", root, "-c", "-b", "4-5", "--json").stdout)
    assert (document["request"]["last_block"], document["bytes_asked"]) == (5, 2 << 27)


def test_all_or_nothing_is_about_the_node(root: Path, chmem: Command, memsim: Command) -> None:
    memsim("fault", root, "--offline", "7=EBUSY")
    before = conditions(root)
    assert chmem("-s", root, "-d", "--node", "1", "--all-or-nothing").status == 1
    assert conditions(root) == before
    done = chmem("-s", root, "-d", "--node", "1")
    assert (done.status, online(root)) == (64, [0, 1, 2, 3, 7])


@pytest.mark.parametrize("action", ["-e", "-d"])
def test_a_node_that_is_not_there_is_told(action: str, root: Path, chmem: Command) -> None:
    done = chmem("-s", root, action, "--node", "9")
    assert (done.status, done.stderr) == (1, "chmem: this machine has no node 9\n")


def test_a_node_is_configured_and_deconfigured(machine: Make, chmem: Command) -> None:
    root = machine(s390(2, 2))
    assert chmem("-s", root, "-c", "--node", "0").status == 0
    assert [one.config for one in conditions(root).values()] == [1, 1, 1, 1]
    done = chmem("-s", root, "-g", "--node", "0")
    assert (done.status, done.stdout.count("must be offline before deconfiguration")) == (64, 2)
    assert [one.config for one in conditions(root).values()] == [1, 1, 0, 0]
    assert chmem("-s", root, "--reconfigure", "-m", "1", "--node", "0").status == 0
    assert [one.memmap for one in conditions(root).values()] == [1, 1, 1, 1]


@pytest.mark.parametrize("words", [["-d", "-b"], ["--total"]])
def test_where_an_argument_is_needed_the_node_is_none(
    words: list[str], root: Path, chmem: Command
) -> None:
    done = chmem("-s", root, "--node", "1", *words)
    assert (done.status, done.stderr.splitlines()[0]) == (1, "chmem: bad usage")


def test_an_order_means_nothing_where_all_is_meant(root: Path, chmem: Command) -> None:
    done = chmem("-s", root, "-d", "--node", "1", "--order", "best")
    said = "chmem: option --order goes with a SIZE, not node 1\n"
    assert (done.status, done.stderr, len(online(root))) == (1, said, 8)


def test_memory_in_use_is_not_taken_with_the_node(machine: Make, chmem: Command) -> None:
    root = machine("x86-two-nodes")
    done = chmem("-s", root, "-d", "--node", "1", "--keep-free", "10g")
    assert done.status == 1
    assert "is in use: " in done.stderr
