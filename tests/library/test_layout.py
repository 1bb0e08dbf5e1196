"""Memory layouts: what their text means, and which files count."""

import errno
import json
import os
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_hotplug.block import Zone
from memory_hotplug.condition import Condition
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout.model import Entry, Layout, Missing, Policy, Where
from memory_hotplug.layout.notation import format_layout, parse_layout
from memory_hotplug.layout.places import read_layout
from memory_hotplug.trees.root_files import (
    LAYOUTS,
    LONGEST,
    link_file,
    names_in,
    read_file,
    remove_file,
    replace_file,
)

WHOLE = """\
version = 1

[policy]
auto_online = "online_movable"
online_policy = "auto-movable"
auto_movable_ratio = 301

[[memory]]
blocks = "16-31, 40"
zone = "Movable"
memmap_on_memory = true
missing = "ignore"

[[memory]]
size = "8G"
node = 1
from = "highest"
state = "offline"
"""


def test_a_layout_says_what_its_keys_say() -> None:
    layout = parse_layout(WHOLE, "a.toml")
    assert layout == Layout(
        Policy("online_movable", "auto-movable", 301),
        (
            Entry(
                Where("a.toml", 8),
                ((16, 31), (40, 40)),
                zone=Zone.MOVABLE,
                memmap_on_memory=True,
                missing=Missing.IGNORE,
            ),
            Entry(
                Where("a.toml", 14),
                node=1,
                size=8 << 30,
                highest=True,
                condition=Condition.OFFLINE,
            ),
        ),
    )


def test_a_layout_in_json_says_the_same() -> None:
    import tomllib

    as_json = parse_layout(json.dumps(tomllib.loads(WHOLE)), "-")
    as_toml = parse_layout(WHOLE, "-")
    assert as_json.policy == as_toml.policy
    assert [format_layout(Layout(Policy(), (one,))) for one in as_json.entries] == [
        format_layout(Layout(Policy(), (one,))) for one in as_toml.entries
    ]


ENTRY_KEYS = "(known: blocks, from, memmap_on_memory, missing, node, range, size, state, zone)"
POLICY_KEYS = "(known: auto_movable_numa_aware, auto_movable_ratio, auto_online, online_policy)"
TOP_KEYS = "(known: keep_free, memory, policy, version)"
NUMBERS = 'blocks is block numbers as text, such as "0-3,7"'
ADDRESS = 'range is addresses as text, such as "0x80000000-0xffffffff"'
ZONES = 'zone is "DMA" or "DMA32" or "Normal" or "Highmem" or "Movable"'
WHICH = "which memory: blocks, range, node or size is needed"
AFTER = "Expected newline or end of document after a statement"
OF_STATE = "only memory with state online is in a zone"
SIZE_TWICE = "a size for the same memory is given in line 2"
NO_VALUE = "Expected '=' after a key in a key/value pair"
TOO_MUCH = "too much for a layout"
TOO_DEEP = f"{TOO_MUCH}: more than 8 brackets in each other"
TOO_LONG = f"{TOO_MUCH}: a number or a key of more than 64 characters"
TOO_MANY_PARTS = f"{TOO_MUCH}: a key of more than 4 parts"

IN_ENTRY = {
    "block = 3": f"unknown key block {ENTRY_KEYS}",
    "node = 0\n[[memory]]\nnode = -1": "node is a whole number, 0 or more, not -1",
    "node = true": "node is a whole number, 0 or more, not true",
    "blocks = 3": f"{NUMBERS}, not 3",
    'blocks = "3-1"': f'{NUMBERS}, with ends that ascend, not "3-1"',
    'blocks = "0-5,3-8"': 'blocks is ranges that do not overlap, not "0-5,3-8"',
    'blocks = "0"\nrange = "0x0-0xf"': "blocks and range cannot be combined",
    'node = 0\nzone = "Device"': f'{ZONES}, not "Device"',
    'node = 0\nfrom = "lowest"': "from needs size",
    "size = 8": 'size is a size as text, such as "8G", not 8',
    'size = "0"': 'size is a size as text, such as "8G", and more than 0, not "0"',
    "size = 8G": f'not TOML: {AFTER}; text is in quotes: size = "8G"',
    "size = 8G  # half": f'not TOML: {AFTER}; text is in quotes: size = "8G"',
    "blocks = 0-3": f'not TOML: {AFTER}; text is in quotes: blocks = "0-3"',
    "state = online": 'not TOML: Invalid value; text is in quotes: state = "online"',
    "memmap_on_memory = Yes": "not TOML: Invalid value; memmap_on_memory is true or "
    "false, in lower case and without quotes",
    'blocks = "0-3': "not TOML: Illegal character '\\n'; a quote is missing: blocks = \"0-3\"",
    "size = \u201c8G\u201d": 'not TOML: Invalid value; quotes are straight: size = "8G"',
    "node: 1": f"not TOML: {NO_VALUE}; a = stands between a key and its value: node = 1",
    "memory]": f"not TOML: {NO_VALUE}; a table begins with [[memory]]",
    "size = 8 G B": f"not TOML: {AFTER}",
    'blocks = ""': f'{NUMBERS}, not ""',
    "blocks = []": f"{NUMBERS}, not []",
    "blocks = [3]": f"{NUMBERS}, not [3]",
    'blocks = "1000000000000000000"': f'{NUMBERS}, and below {10**18}, not "1000000000000000000"',
    'blocks = "3,3"': 'blocks is ranges that do not overlap, not "3,3"',
    'range = "0x0"': f'{ADDRESS}, not "0x0"',
    'range = "0x1-0x0"': f'{ADDRESS}, with ends that ascend, not "0x1-0x0"',
    'range = "0x0-0x10000000000000000"': f"{ADDRESS}, and below 0x10000000000000000, "
    'not "0x0-0x10000000000000000"',
    "node = 2147483648": "node is a whole number, 0 or more, not 2147483648",
    "node = 0\nmemmap_on_memory = 1": "memmap_on_memory is true or false, not 1",
    'node = 0\nstate = "on"': 'state is "online" or "offline" or "deconfigured", not "on"',
    'node = 0\nzone = "None"': f'{ZONES}, not "None"',
    'node = 0\nmissing = "no"': 'missing is "wait" or "ignore" or "error", not "no"',
    'size = "1G"\nfrom = "top"': 'from is "lowest" or "highest", not "top"',
    'size = "much"': 'size is a size as text, such as "8G", not "much"',
    f'size = "{"1" * 60}"': f'size is a size as text, such as "8G", not "{"1" * 59}...',
    "node = 0\n\n\n[[memory]]\nnode = 1\nx = 1": f"unknown key x {ENTRY_KEYS}",
}
"""Lines of an entry -> what is told of the last one."""
IN_POLICY = {
    "auto_online = 'sometimes'": 'auto_online is "offline" or "online" or "online_kernel" or '
    '"online_movable", not "sometimes"',
    "auto_movable_ratio = -1": "auto_movable_ratio is a whole number, 0 or more, not -1",
    "auto_movable_numa_aware = 'Y'": 'auto_movable_numa_aware is true or false, not "Y"',
    "online_policy = 'auto'": 'online_policy is "contig-zones" or "auto-movable", not "auto"',
    "ratio = 3": f"unknown key ratio {POLICY_KEYS}",
}
LINES = [
    ("memry = 1\n", 2, f"unknown key memry {TOP_KEYS}"),
    ('[[memory]]\nzone = "Movable"\n', 2, WHICH),
    ('[[memory]]\nnode = 0\nzone = "DMA"\nstate = "offline"\n', 4, OF_STATE),
    ('[[memory]]\nsize="1G"\n[[memory]]\nsize="2G"\n', 4, SIZE_TWICE),
    ('[[memory]]\nnode = 0\n[[memory]]\nstate = "offline"\n', 4, WHICH),
    ("memory = 3\n", 2, "memory must be [[memory]], one for each entry"),
    ("policy = 3\n", 2, "policy must be a table"),
    ("version = 1\n", 2, "not TOML: Cannot overwrite a value"),
    ("y = 1", 2, f"unknown key y {TOP_KEYS}"),
    ("\n[a.a.a.b]\nc = 1", 3, f"unknown key a {TOP_KEYS}"),
    ("[memory]\nnode = 1", 2, "memory must be [[memory]], one for each entry"),
    ("memory = [3]", 2, "memory must be [[memory]]"),
    ("a = ", 2, "not TOML: Invalid value; the value of a is missing"),
    ("a = [1\n\n\n", 2, "not TOML: Unclosed array"),
    ("a = 1\nb = =", 3, "not TOML: Invalid value"),
    ("a = 1\nb = =\nc = 1\n", 3, "not TOML: Invalid value"),
    (f"a = {'[' * 5000}", 2, TOO_DEEP),
    (f"a = {'{a=' * 5000}", 2, TOO_DEEP),
    (f"a = {'9' * 5000}", 2, TOO_LONG),
    (f"a = 0x{'f' * 5000}", 2, TOO_LONG),
    (f"{'k' * 65} = 1", 2, TOO_LONG),
    (f"a{'.a' * 5000} = 1", 2, TOO_MANY_PARTS),
    ('a . \'b\'\t."c.\\"" . d.e = 1', 2, TOO_MANY_PARTS),
    (f"[a{'.a' * 5000}]", 2, TOO_MANY_PARTS),
    (f"[[memory]]\nnode.a{'.a' * 5000} = 1", 3, TOO_MANY_PARTS),
    ("".join(f"[a{n}]\n" for n in range(101)), 102, f"{TOO_MUCH}: more than 100 tables"),
    ("[[memory]]\n" * 150_001, 150_002, f"{TOO_MUCH}: more than 300000 brackets"),
    ("b.c.d.e = 1", 2, f"unknown key b {TOP_KEYS}"),
    (f"'{'k' * 99}' = 1", 2, f"unknown key {'k' * 60}... {TOP_KEYS}"),
    (f"{'k' * 60} = 1", 2, f"unknown key {'k' * 60} {TOP_KEYS}"),
    (
        '[[memory]]\nsize = "1G"\n[[memory]]\nnode = 3\nstate = "offline"\n[[memory]]\nsize="2G"',
        7,
        SIZE_TWICE,
    ),
]
"""After the version: lines, the one that is told, and what is told of it."""
AS_JSON = [
    ('{"version": 1,\n "memory": [,]}', 2, "not JSON: Expecting value"),
    (
        f'{{"version": 1,\n{" " * 999}"memory": [{{"size": 8G}}]}}',
        2,
        'not JSON: Expecting \',\' delimiter; text is in quotes: "size": "8G"',
    ),
    ('{"state": online}', 1, 'not JSON: Expecting value; text is in quotes: "state": "online"'),
    ('{"version": 1, "": 1}', None, f"unknown key '' {TOP_KEYS}"),
    ('{"version" 1, "size": 8G}', 1, "not JSON: Expecting ':' delimiter"),
    ('{"version": 1, "version": 1}', None, "version is given twice"),
    (
        '{"version": 1, "memory": [{"node": 0}, {}]}',
        None,
        f"entry 2 of memory: {WHICH}",
    ),
    (
        '{"version": 1, "memory": [{"node": 0, "x": 1}]}',
        None,
        f"entry 1 of memory: unknown key x {ENTRY_KEYS}",
    ),
    ('{"version": 1, "memory": {}}', None, "memory must be [[memory]], one for each entry"),
    ('{"version": 1, "memory": null}', None, "memory must be [[memory]], one for each entry"),
    ('{"version": 1, "policy": []}', None, "policy must be a table"),
    ('{"version": "1"}', None, 'version must be 1, not "1"'),
    ("version = 1.0", 1, "version must be 1, not 1.0"),
    ("version = true", 1, "version must be 1, not true"),
    ("version = 2026-12-01", 1, 'version must be 1, not "2026-12-01"'),
    (f'{{"version": {"[" * 100_000}', 1, TOO_DEEP),
    (f'{{"a":\n{{"version": {"{" * 100_000}', 2, TOO_DEEP),
    (f'{{"version":\n{"9" * 5000}}}', 2, TOO_LONG),
    (f'{{"{"k" * 99}": 1, "{"k" * 99}": 1}}', None, f"{'k' * 60}... is given twice"),
    (
        '{"version": 1, "memory": [{"size": "1G"}, {"size": "2G"}]}',
        None,
        "a size for the same memory is given before",
    ),
]
WRONG = [
    *((f"version = 1\n[[memory]]\n{of}\n", 3 + of.count("\n"), IN_ENTRY[of]) for of in IN_ENTRY),
    *((f"version = 1\n[policy]\n{of}\n", 3, IN_POLICY[of]) for of in IN_POLICY),
    *((f"version = 1\n{of}", line, reason) for of, line, reason in LINES),
    ("", None, "version must be 1, and is missing"),
    ("# a comment\n\nversion = 2\n", 3, "version must be 1, not 2"),
    ("version =", 1, "not TOML: Invalid value; the value of version is missing"),
    *AS_JSON,
]


@pytest.mark.parametrize(("text", "line", "reason"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_in_a_layout_is_told_with_its_line(
    text: str, line: int | None, reason: str
) -> None:
    with pytest.raises(LayoutError) as caught:
        parse_layout(text, "a.toml")
    error = caught.value
    assert (error.file, error.line, error.reason) == ("a.toml", line, reason)
    assert str(error) == f"a.toml{f':{line}' if line else ''}: {reason}"


MANY = "[{(.0f)}]#.a1" * 40
"""Much of what is counted."""


@pytest.mark.parametrize(
    "line",
    [
        f"# it's {MANY}",
        f'a = "" # " {MANY}',
        f'a = "{MANY}"',
        f'a = "\\"{MANY}"',
        f"a = 'x\\' # {MANY}",
        f"a = '{MANY}'",
        f'a = """\n""\\"""{MANY}"""',
        f'a = """x""""" # {MANY}',
        f"a = '''\n''{MANY}'''",
        f"a = '''x''''' # {MANY}",
        "a = [[[[[[[[1]]]]]]]] # [",
        "a = [\n[1],\n" + "[2],\n" * 200 + "]",
    ],
)
def test_what_is_in_strings_and_comments_is_not_counted(line: str) -> None:
    """And what comes after them is."""
    with pytest.raises(LayoutError, match=r"unknown key [ab]"):
        parse_layout(f"version = 1\n{line}\nb = 1\n", "-")
    with pytest.raises(LayoutError, match="8 brackets in each other"):
        parse_layout(f"version = 1\n{line}\nb = {'[' * 9}", "-")


def test_a_text_in_another_encoding_form_is_read_or_refused(tmp_path: Path) -> None:
    file, text = tmp_path / "a.toml", "version = 1\r\n[[memory]]\r\n# \u2028 \x85\r\nnode = 3\r\n"
    for data in (text.encode(), f"\ufeff{text}".encode()):
        file.write_bytes(data)
        (entry,) = read_layout("/", str(file)).entries
        assert (entry.node, entry.where.line) == (3, 2)
    file.write_bytes(text.encode().replace(b"3", b"x"))
    with pytest.raises(LayoutError, match=r"a\.toml:4: not TOML"):
        read_layout("/", str(file))
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(LayoutError, match=r"a\.toml:1: not UTF-8"):
        read_layout("/", str(file))
    file.write_bytes(b'\xef\xbb\xbf {"version": 1}')
    assert read_layout("/", str(file)) == Layout()


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin1")))
def test_any_text_is_a_layout_or_an_error(text: str) -> None:
    for whole in (text, f"version = 1\n[[memory]]\n{text}", f"{{{text}"):
        try:
            parse_layout(whole, "-")
        except LayoutError as error:
            assert str(error).isprintable()


RANGES = st.sampled_from([(), ((0, 0),), ((3, 7), (9, 9)), ((1, 2), (4, 4), (6, 8))])
ADDRESSES = st.sampled_from([((0, 0xFFF),), ((0, 0x7FFFFFF), (0x10000000, 0x1FFFFFFF))])
entries = st.builds(
    lambda ranges, addresses, **rest: (
        Entry(Where("-"), addresses=addresses, **rest)
        if addresses
        else Entry(Where("-"), ranges, **rest)
    ),
    RANGES,
    st.just(()) | ADDRESSES,
    node=st.integers(0, 5),
    size=st.none() | st.integers(1, 1 << 20).map(lambda count: count << 20),
    condition=st.sampled_from([Condition.OFFLINE, Condition.DECONFIGURED]),
    memmap_on_memory=st.none() | st.booleans(),
    missing=st.sampled_from(Missing),
)


@given(
    st.builds(
        Policy,
        st.none() | st.just("offline"),
        auto_movable_ratio=st.none() | st.integers(0, 1 << 20),
    ),
    entries,
)
def test_a_layout_that_is_written_is_read_back(policy: Policy, entry: Entry) -> None:
    text = format_layout(Layout(policy, (entry,)), "a comment\n\nof lines")
    read = parse_layout(text, "-")
    assert read.policy == policy
    assert format_layout(read, "a comment\n\nof lines") == text


def put(root: Path, path: str, node: int) -> None:
    text = f"version = 1\n[[memory]]\nnode = {node}\n"
    replace_file(str(root), path, text.encode())


def test_what_a_killed_process_left_beside_a_file_goes_when_that_is_written(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    runs = f".a.toml.{os.getppid()}"
    for name in (f".a.toml.{ended.pid}", f".b.toml.{ended.pid}", runs, ".a.toml.x"):
        put(tmp_path, name, 1)
    put(tmp_path, "a.toml", 2)
    kept = [f".b.toml.{ended.pid}", runs, ".a.toml.x", "a.toml"]
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def nodes(root: Path) -> list[int | None]:
    return [entry.node for entry in read_layout(str(root)).entries]


def test_files_are_read_by_name_and_the_administrators_come_first(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/memory-layout.d/10-a.toml", 1)
    put(tmp_path, "usr/lib/memory-layout.d/30-c.toml", 2)
    put(tmp_path, "run/memory-layout.d/20-b.toml", 3)
    put(tmp_path, "run/memory-layout.d/30-c.toml", 4)
    put(tmp_path, "etc/memory-layout.d/10-a.toml", 5)
    put(tmp_path, "etc/memory-layout.d/10-a.conf", 6)
    assert nodes(tmp_path) == [5, 3, 4]


def test_a_link_to_dev_null_masks_a_file(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/memory-layout.d/10-a.toml", 1)
    put(tmp_path, "etc/memory-layout.d/20-b.toml", 2)
    (tmp_path / "etc/memory-layout.d/10-a.toml").symlink_to("/dev/null")
    assert nodes(tmp_path) == [2]


def test_no_link_out_of_the_root_is_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    put(outside, "memory-layout.d/10-a.toml", 1)
    root.mkdir()
    (root / "etc").symlink_to(outside)
    with pytest.raises(OSError, match="leads out"):
        read_layout(str(root))
    with pytest.raises(OSError):
        put(root, "etc/memory-layout.d/50-b.toml", 1)
    assert [path.name for path in (outside / "memory-layout.d").iterdir()] == ["10-a.toml"]


def test_a_file_and_a_directory_can_be_named(tmp_path: Path) -> None:
    put(tmp_path, "b/20.toml", 2)
    put(tmp_path, "b/10.toml", 1)
    for where, found in (("b", [1, 2]), ("b/20.toml", [2])):
        layout = read_layout("/nowhere", str(tmp_path / where))
        assert [entry.node for entry in layout.entries] == found


def test_a_policy_is_overridden_key_by_key(tmp_path: Path) -> None:
    for name, policy in (
        ("10", "auto_online = 'offline'\nauto_movable_ratio = 5"),
        ("20", "auto_online = 'online'"),
        ("30", ""),
    ):
        data = f"version = 1\n[policy]\n{policy}\n".encode()
        replace_file(str(tmp_path), f"etc/memory-layout.d/{name}.toml", data)
    found = read_layout(str(tmp_path)).policy
    assert found == Policy("online", auto_movable_ratio=5)
    assert found.where == Where("/etc/memory-layout.d/20.toml", 2)


def read(text: str) -> Layout:
    return parse_layout(f"version = 1\n{text}", "f")


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("blocks", '"3"', ((3, 3),)),
        ("blocks", '"7-9, 3"', ((3, 3), (7, 9))),
        ("blocks", '["7-9", "3"]', ((3, 3), (7, 9))),
        ("blocks", '"0-1,2-3"', ((0, 1), (2, 3))),
        ("blocks", '"999999999999999999"', ((10**18 - 1, 10**18 - 1),)),
        ("addresses", '"0x8000000-0xFFFffff"', ((0x8000000, 0xFFFFFFF),)),
        (
            "addresses",
            '["0x0-0xfff", "0x2000-0xffffffffffffffff"]',
            ((0, 0xFFF), (0x2000, 2**64 - 1)),
        ),
        ("node", "0", 0),
        ("node", "2147483647", 2147483647),
        ("size", '"1.5G"', 3 << 29),
        ("size", '"128"', 128 << 20),
    ],
)
def test_the_values_of_an_entry_of_a_layout(key: str, value: str, found: object) -> None:
    name = "range" if key == "addresses" else key
    (entry,) = read(f"[[memory]]\n{name} = {value}\n").entries
    assert getattr(entry, key) == found


@pytest.mark.parametrize("word", ["online", "offline", "deconfigured"])
def test_the_states_of_an_entry_of_a_layout(word: str) -> None:
    (entry,) = read(f'[[memory]]\nnode = 0\nstate = "{word}"\n').entries
    assert entry.condition is Condition(word)
    assert not entry.highest


@pytest.mark.parametrize("word", ["DMA", "DMA32", "Normal", "Highmem", "Movable"])
def test_the_zones_of_an_entry_of_a_layout(word: str) -> None:
    (entry,) = read(f'[[memory]]\nnode = 0\nzone = "{word}"\n').entries
    assert entry.zone is Zone(word)


@pytest.mark.parametrize(("word", "highest"), [("lowest", False), ("highest", True)])
def test_from_says_at_which_end_a_layout_takes_blocks(word: str, highest: bool) -> None:
    assert read(f'[[memory]]\nsize = "1G"\nfrom = "{word}"\n').entries[0].highest is highest


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        *((f'auto_online = "{word}"', Policy(word)) for word in ("offline", "online")),
        *(
            (f'auto_online = "online_{word}"', Policy(f"online_{word}"))
            for word in ("kernel", "movable")
        ),
        *(
            (f'online_policy = "{word}"', Policy(None, word))
            for word in ("contig-zones", "auto-movable")
        ),
        ("auto_movable_ratio = 0", Policy(auto_movable_ratio=0)),
        ("auto_movable_numa_aware = false", Policy(auto_movable_numa_aware=False)),
    ],
)
def test_the_keys_of_the_policy_of_a_layout(text: str, policy: Policy) -> None:
    found = read(f"[policy]\n{text}\n").policy
    assert found == policy
    assert found.where == Where("f", 2)
    assert read(format_layout(Layout(policy)).partition("\n")[2]).policy == policy
    assert read("").policy.where is None


@pytest.mark.parametrize(
    "other",
    [
        'blocks = "0-63"',
        'range = "0x0-0x7ffffff"',
        "node = 1",
        'state = "offline"',
        'zone = "Movable"',
        "memmap_on_memory = true",
    ],
)
def test_sizes_for_different_memory_do_not_contradict_each_other(other: str) -> None:
    found = read(f'[[memory]]\nsize = "1G"\n[[memory]]\nsize = "2G"\n{other}\n')
    assert len(found.entries) == 2
    with pytest.raises(LayoutError, match="given in line 2"):
        read(f'[[memory]]\nsize = "1G"\n{other}\n[[memory]]\nsize = "2G"\n{other}\n')


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1536, "1.5000000000K"),
        (1025, "1.0009765625K"),
        (1, "0.0009765625K"),
        (2048, "2K"),
        (0, "0K"),
    ],
)
def test_a_size_that_is_written_has_no_rest(size: int, text: str) -> None:
    written = format_layout(Layout(keep_free=size), "")
    assert f'keep_free = "{text}"' in written
    assert parse_layout(written, "f").keep_free == size


def test_the_text_of_a_layout() -> None:
    here = Where("")
    layout = Layout(
        Policy("online", "auto-movable", 301, True),
        (
            Entry(here, ((0, 3), (7, 7)), zone=Zone.MOVABLE, memmap_on_memory=False),
            Entry(here, addresses=((0, 0x7FFFFFF),), node=0, condition=Condition.OFFLINE),
            Entry(here, size=1 << 60, highest=True, missing=Missing.IGNORE),
            Entry(here, size=3 << 29),
        ),
    )
    assert (
        format_layout(layout, "first\n\nlast")
        == """\
# first
#
# last
version = 1

[policy]
auto_online = "online"
online_policy = "auto-movable"
auto_movable_ratio = 301
auto_movable_numa_aware = true

[[memory]]
blocks = "0-3,7"
state = "online"
zone = "Movable"
memmap_on_memory = false

[[memory]]
range = "0x0-0x7ffffff"
node = 0
state = "offline"

[[memory]]
size = "1E"
from = "highest"
state = "online"
missing = "ignore"

[[memory]]
size = "1536M"
state = "online"
"""
    )
    assert format_layout(Layout()) == "version = 1\n"


# The files


def test_a_file_that_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    replace_file(str(tmp_path), "etc/memory-layout.d/a.toml", b"version = 1\n# \xff\n")
    with pytest.raises(LayoutError, match=r": not UTF-8$") as caught:
        read_layout(str(tmp_path))
    assert (caught.value.file, caught.value.line) == ("/etc/memory-layout.d/a.toml", 2)


def test_an_empty_file_masks_and_no_file_is_no_layout(tmp_path: Path) -> None:
    assert read_layout(str(tmp_path)) == Layout()
    put(tmp_path, "usr/lib/memory-layout.d/10-a.toml", 1)
    replace_file(str(tmp_path), "run/memory-layout.d/10-a.toml", b" \n")
    assert read_layout(str(tmp_path)) == Layout()
    # Hidden files are an editor's, and what is no .toml is somebody else's.
    put(tmp_path, "etc/memory-layout.d/.10-a.toml", 1)
    assert read_layout(str(tmp_path)) == Layout()


def test_a_file_is_written_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, path = str(tmp_path), "a/b/file"
    replace_file(root, path, b"one", 0o600)
    assert (tmp_path / path).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755 & ~_umask()
    replace_file(root, "a/c", b"one")
    assert (tmp_path / "a/c").stat().st_mode & 0o777 == 0o644

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space") as caught:
        patched.setattr(os, "fsync", full)
        replace_file(root, path, b"two")
    assert caught.value.filename == "/a/b/file"
    assert (tmp_path / path).read_bytes() == b"one"
    assert os.listdir(tmp_path / "a/b") == ["file"]
    # What a killed process left goes, be it of this one's number or of none's. The rest stays.
    others = {".file.1", ".file.12345678901", ".file.\u0661", ".file.old", ".other.999999999"}
    for name in (f".file.{os.getpid()}", ".file.999999999", *others):
        (tmp_path / "a/b" / name).write_text("half")
    replace_file(root, path, b"two")
    assert (tmp_path / path).read_bytes() == b"two"
    assert {*os.listdir(tmp_path / "a/b")} == {"file", *others}
    assert read_file(root, path) == b"two"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_link_replaces_what_is_no_directory(tmp_path: Path) -> None:
    for target in ("one", "two"):
        link_file(str(tmp_path), "a/link", target)
        assert os.readlink(tmp_path / "a/link") == target
    (tmp_path / "a/directory").mkdir()
    with pytest.raises(OSError, match="Is a directory") as caught:
        link_file(str(tmp_path), "a/directory", "one")
    assert caught.value.filename == "/a/directory"
    assert sorted(os.listdir(tmp_path / "a")) == ["directory", "link"]


def test_a_file_below_a_root_is_removed_once(tmp_path: Path) -> None:
    replace_file(str(tmp_path), "a/file", b"")
    assert remove_file(str(tmp_path), "a/file") is True
    assert remove_file(str(tmp_path), "a/file") is False
    assert remove_file(str(tmp_path), "b/file") is False
    (tmp_path / "a/file").mkdir()
    with pytest.raises(OSError) as caught:
        remove_file(str(tmp_path), "a/file")
    assert caught.value.filename == "/a/file"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError) as caught:
        remove_file(str(tmp_path / "root"), "a/file")
    assert caught.value.filename == "/a/file"
    assert (tmp_path / "outside/file").exists()


def test_only_regular_files_below_a_root_are_read(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("directory", "fifo", "missing"):
        with pytest.raises(OSError) as caught:
            read_file(str(tmp_path), name)
        assert caught.value.filename == f"/{name}"
    with pytest.raises(OSError) as caught:
        read_layout("/", str(tmp_path / "missing"))
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(OSError, match="regular file"):
        read_layout("/", "/dev/null")


@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a directory", "a character device"])
def test_what_is_no_regular_file_is_refused_in_a_directory_of_layouts(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / LAYOUTS[0]
    directory.mkdir(parents=True)
    place = directory / "a.toml"
    with socket.socket(socket.AF_UNIX) as listening, ExitStack() as opened:
        if kind == "a FIFO":
            os.mkfifo(place)
            # A writer that stays: whoever reads it to its end waits for ever.
            opened.callback(os.close, os.open(place, os.O_RDWR))
        elif kind == "a socket":
            monkeypatch.chdir(directory)  # the path of a socket is short
            listening.bind("a.toml")
        elif kind == "a directory":
            place.mkdir()
        else:
            place.symlink_to("/dev/zero")
        roots = ["/"] if kind == "a character device" else [str(tmp_path)]
        for root in roots:
            where = str(directory) if root == "/" else None
            with pytest.raises(OSError) as caught:
                read_layout(root, where)
            assert caught.value.strerror == f"{kind}, not a regular file"
            assert str(caught.value.filename).endswith("/memory-layout.d/a.toml")
        with pytest.raises(OSError, match="not a regular file"):
            read_layout("/", str(directory))


def test_the_files_of_a_layout_have_a_maximum_size_together(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path, f"{LAYOUTS[0]}/{name}.toml", 1)
        with (tmp_path / LAYOUTS[0] / f"{name}.toml").open("a") as file:
            file.write("#" * (LONGEST // 2))
    with pytest.raises(OSError, match="larger than 4M") as caught:
        read_layout(str(tmp_path))
    assert caught.value.filename == f"/{LAYOUTS[0]}/b.toml"


def test_a_pipe_that_is_named_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "version = 1\n[[memory]]\nnode = 4\n" + "# more\n" * 20_000
    # Open before anybody reads, who would find no writer otherwise. O_RDWR waits for no reader.
    descriptor = os.open(pipe, os.O_RDWR)

    def write() -> None:
        with open(descriptor, "w") as file:
            file.write(text)

    writer = threading.Thread(target=write)
    writer.start()
    assert [entry.node for entry in read_layout("/", str(pipe)).entries] == [4]
    writer.join()


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"#" * LONGEST)
    assert len(read_file(str(tmp_path), "long")) == LONGEST
    (tmp_path / "long").write_bytes(b"#" * (LONGEST + 1))
    with pytest.raises(OSError, match="too large, more than 4M") as caught:
        read_file(str(tmp_path), "long")
    assert caught.value.filename == "/long"


def test_names_in_a_directory_below_a_root(tmp_path: Path) -> None:
    replace_file(str(tmp_path), "a/one", b"")
    assert names_in(str(tmp_path), "a") == ["one"]
    assert names_in(str(tmp_path), "b") == []
    assert names_in(str(tmp_path), "a/one") == []
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(OSError) as caught:
        names_in(str(tmp_path), "link")
    assert caught.value.filename == "/link"


def test_a_directory_has_its_own_order_and_names(tmp_path: Path) -> None:
    put(tmp_path, "b/20.toml", 2)
    put(tmp_path, "b/.10.toml", 1)
    put(tmp_path, "b/10.txt", 1)
    layout = read_layout("/", str(tmp_path / "b"))
    assert [entry.where for entry in layout.entries] == [Where(str(tmp_path / "b/20.toml"), 2)]
