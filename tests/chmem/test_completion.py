"""chmem --help, and what chmem offers to a shell that completes its command line."""

from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from chmem_py.cli import chmem as command
from commands import Command, Machines
from hotplug_cli.click_command import command_of
from simulated import Make, s390


def offered(typed: str, *words: str | Path) -> list[CompletionItem]:
    shell = ShellComplete(command_of(command), {}, "chmem", "_CHMEM_COMPLETE")
    return shell.get_completions(list(map(str, words)), typed)


def test_help_ends_with_zones_operands_and_an_example(chmem: Command) -> None:
    done = chmem("--help")
    assert done.status == 0
    assert done.stdout.endswith(
        """
Supported zones:
  DMA, DMA32, Normal, Highmem, Movable, Device

A SIZE is in MiB, or with a suffix: 512m, 4g, 1t. A RANGE is
0x<start>-0x<end>, a BLOCKRANGE the number of a block, or <first>-<last>.

Example (for more see chmem(8)):
  chmem --enable 4g --zone Movable --dry-run
"""
    )


@pytest.mark.parametrize(
    ("words", "typed", "values"),
    [
        (["-e", "-b"], "", [str(number) for number in range(8)]),
        (["-e", "-b"], "3", ["3"]),
        (["-e", "-b"], "5-", ["5-5", "5-6", "5-7"]),
        (["-e", "-b"], "x-7", ["x-7"]),
        (["-e", "-b"], "9", []),
        (["-e"], "", []),
        (["--policy"], "auto_o", ["auto_online="]),
        (["--policy"], "o", ["online_policy="]),
        (["--policy", "auto_online=online"], "auto_movable_n", ["auto_movable_numa_aware="]),
    ],
)
def test_completion_offers_blocks_with_their_status_and_keys_of_a_policy(
    words: list[str], typed: str, values: list[str], machine: Make
) -> None:
    found = offered(typed, "-s", machine(s390()), *words)
    assert [item.value for item in found] == values
    status = {"0": "online", "3": "online", "7": "disabled"}
    for item in found:
        assert item.help == status.get(item.value, item.help)


@pytest.mark.parametrize(("typed", "values"), [("", ["0", "1"]), ("1", ["1"]), ("2", [])])
def test_completion_offers_the_nodes_of_the_machine(
    typed: str, values: list[str], profiles: Machines
) -> None:
    found = offered(typed, "-s", profiles("x86-two-nodes"), "-d", "--node")
    assert [item.value for item in found] == values


@pytest.mark.parametrize("action", ["--apply", "--save"])
def test_completion_of_a_layout_asks_the_shell_for_a_file(action: str) -> None:
    (item,) = offered("lay", action)
    assert (item.type, item.value) == ("file", "lay")


@pytest.mark.parametrize("words", [["--node"], ["-e", "-b"]])
def test_completion_offers_nothing_where_there_is_no_machine(
    words: list[str], tmp_path: Path
) -> None:
    assert offered("", "-s", tmp_path, *words) == []
