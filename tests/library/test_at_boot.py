"""The unit and the udev rules that are made from a layout."""

import fnmatch
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_hotplug.layout.at_boot import globs, rules_text, unit_text
from memory_hotplug.layout.notation import parse_layout

BLOCK = 128 << 20


@pytest.mark.parametrize(
    ("first", "last", "patterns"),
    [
        (5, 5, ["5"]),
        (0, 9, ["[0-9]"]),
        (8, 23, ["[89]", "1[0-9]", "2[0-3]"]),
        (16, 31, ["1[6-9]", "2[0-9]", "3[01]"]),
        (0, 10, ["[0-9]", "10"]),
        (95, 1205, ["9[5-9]", "[1-9][0-9][0-9]", "1[01][0-9][0-9]", "120[0-5]"]),
        (100, 199, ["1[0-9][0-9]"]),
    ],
)
def test_block_numbers_of_the_rules_are_patterns(
    first: int, last: int, patterns: list[str]
) -> None:
    assert globs(first, last) == patterns


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_patterns_match_these_numbers_and_no_others(one: int, other: int) -> None:
    first, last = min(one, other), max(one, other)
    patterns = globs(first, last)
    near = {*range(max(first - 30, 0), first + 30), *range(max(last - 30, 0), last + 30), 0, 10000}
    for number in near:
        matched = [pattern for pattern in patterns if fnmatch.fnmatchcase(str(number), pattern)]
        assert len(matched) == (first <= number <= last), number


HEAD = """\
# Made from memory-layout.d by chmem --apply --install; chmem --uninstall removes it.
SUBSYSTEM!="memory", GOTO="memory_layout_end"
ACTION!="add", GOTO="memory_layout_end"
KERNEL!="memory[0-9]*", GOTO="memory_layout_end"
"""
END = 'LABEL="memory_layout_end"\n'


def rules(text: str) -> str:
    found = rules_text(parse_layout(f"version = 1\n{text}", "-"), BLOCK)
    assert found.startswith(HEAD)
    assert found.endswith(END)
    return found.removeprefix(HEAD).removesuffix(END)


def test_the_last_entry_of_a_layout_is_the_first_rule() -> None:
    assert rules(
        '[[memory]]\nblocks = "32-39"\nzone = "Movable"\n'
        '[[memory]]\nblocks = "34"\nstate = "offline"\n'
    ) == (
        'KERNEL=="memory34", ATTR{state}=="online", ATTR{state}="offline"\n'
        'KERNEL=="memory34", GOTO="memory_layout_end"\n'
        'KERNEL=="memory3[2-9]", ATTR{state}=="offline", ATTR{state}="online_movable"\n'
        'KERNEL=="memory3[2-9]", GOTO="memory_layout_end"\n'
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            'range = "0x100000000-0x10fffffff"\nzone = "Normal"',
            'KERNEL=="memory3[23]", ATTR{state}=="offline", ATTR{state}="online_kernel"\n'
            'KERNEL=="memory3[23]", GOTO="memory_layout_end"\n',
        ),
        (
            "node = 1",
            'TEST=="node1", ATTR{state}=="offline", ATTR{state}="online_movable"\n'
            'TEST=="node1", ATTR{state}=="offline", ATTR{state}="online"\n'
            'TEST=="node1", GOTO="memory_layout_end"\n',
        ),
        (
            'node = 0\nblocks = "7,9"\nstate = "offline"',
            'KERNEL=="memory7|memory9", TEST=="node0", '
            'ATTR{state}=="online", ATTR{state}="offline"\n'
            'KERNEL=="memory7|memory9", TEST=="node0", GOTO="memory_layout_end"\n',
        ),
        ('size = "1G"', ""),
        ('blocks = "3"\nstate = "deconfigured"', ""),
    ],
)
def test_an_entry_of_a_layout_has_its_udev_rules(keys: str, expected: str) -> None:
    assert rules(f"[[memory]]\n{keys}\n") == expected


def test_many_blocks_are_several_udev_rules() -> None:
    blocks = ",".join(str(number) for number in range(0, 400, 2))
    found = rules(f'[[memory]]\nblocks = "{blocks}"\nzone = "Movable"\n')
    assert len(found.splitlines()) == 2 * 4
    assert max(map(len, found.splitlines())) < 2048
    named = re.findall(r"memory(\d+)", found.replace("memory_layout", ""))
    assert sorted(set(map(int, named))) == list(range(0, 400, 2))


def test_the_unit_at_boot_starts_the_program() -> None:
    lines = unit_text("/usr/bin/chmem").splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    assert shlex.split(start.removeprefix("ExecStart="))[:2] == ["/usr/bin/chmem", "--apply"]
    assert "WantedBy=sysinit.target" in lines
    # systemd takes %% for a percent sign (systemd.unit(5), SPECIFIERS).
    assert "ExecStart=/opt/50%%s/chmem " in unit_text("/opt/50%s/chmem")
