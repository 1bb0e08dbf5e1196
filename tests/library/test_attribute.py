"""One table says of each sysfs attribute where it is, how it is read and what it takes."""

import pytest

from memory_hotplug.attribute import (
    FIRMWARE,
    MEMORY,
    TABLE,
    Attribute,
    attributes_named,
    block_numbers,
    node_number,
    parameter_path,
    path_of,
)
from memory_hotplug.block import MemoryBlock
from memory_hotplug.errors import MemoryHotplugError, UnknownNameError
from memsim.profile import boot
from memsim.sysfs import Sysfs


def test_the_attributes_are_the_fields_of_a_block() -> None:
    assert list(MemoryBlock._fields) == ["number", *Attribute]


def test_paths_are_made_of_the_table() -> None:
    assert path_of(Attribute.ZONES, 7) == f"{MEMORY}/memory7/valid_zones"
    assert path_of("configured", 0) == "sys/firmware/memory/memory0/config"
    assert path_of("block_size_bytes") == f"{MEMORY}/block_size_bytes"
    assert parameter_path("online_policy") == "sys/module/memory_hotplug/parameters/online_policy"


@pytest.mark.parametrize(
    ("name", "number"), [("sate", 1), ("state", None), ("block_size_bytes", 0), ("", None)]
)
def test_a_path_of_what_is_no_attribute_is_refused(name: str, number: int | None) -> None:
    with pytest.raises(
        UnknownNameError, match=r"^unknown attribute of a (machine|memory block): "
    ) as caught:
        path_of(name, number)
    # Those are named that could have been meant.
    known = str(caught.value).partition("(known: ")[2].removesuffix(")").split(", ")
    assert ("state" in known, "block_size_bytes" in known) == (number is not None, number is None)
    assert name not in known


def test_a_word_of_the_kernel_has_no_newline_and_may_be_no_text() -> None:
    assert TABLE["auto_online_blocks"].parse(b"online\n") == "online"
    assert TABLE["auto_online_blocks"].parse(b"\nonl\xffine") == "\nonl\udcffine"


@pytest.mark.parametrize("name", ["removable", "online"])
def test_a_flag_is_1_or_0_and_anything_else_is_unknown(name: str) -> None:
    texts = (b"1\n", b"0\n", b"1", b" 0 ", b"2\n", b"", b"X0", b"-1\n")
    found = [TABLE[name].parse(text) for text in texts]
    assert found == [True, False, True, False, None, None, None, None]


def test_names_of_attributes_are_checked() -> None:
    assert attributes_named(["state", Attribute.NODE]) == (Attribute.STATE, Attribute.NODE)
    with pytest.raises(MemoryHotplugError, match=r"unknown attribute: sate \(known: state, rem"):
        attributes_named(["state", "sate"])


def test_only_names_that_the_kernel_gives_are_blocks_and_nodes() -> None:
    names = ["memory0", "memory12", "memory012", "memory00", "memory", "memory-1", "memory\u0663"]
    assert block_numbers([*names, "memory1x", "power", "1"]) == {0, 12}
    assert [node_number(name) for name in ("node0", "node10", "node01", "node", "nodex")] == [
        *(0, 10),
        *(None, None, None),
    ]


LINKS = (Attribute.NODE, Attribute.NODES)
"""Attributes that no file has."""


@pytest.fixture
def sysfs() -> Sysfs:
    return Sysfs(boot("s390-lpar"))


@pytest.mark.parametrize("name", [name for name in TABLE if name not in LINKS])
def test_a_row_agrees_with_what_a_kernel_shows_and_takes(name: str, sysfs: Sysfs) -> None:
    row = TABLE[name]
    configured, deconfigured = 5, 16
    number = deconfigured if row.directory == FIRMWARE else configured
    path = path_of(name, number if row.of_block else None)
    assert row.parse(sysfs.read(path)) is not None
    for word in row.words:
        if name == "state":
            sysfs.write(path_of("online", number), b"1" if word == "offline" else b"0")
        sysfs.write(path, word.encode())
    with pytest.raises(OSError):
        sysfs.write(path, b"?")


def test_a_block_becomes_online_in_the_turn_of_its_attributes(sysfs: Sysfs) -> None:
    words = {"memmap_on_memory": "0", "configured": "1", "state": "online_movable"}
    for name in sorted(words, key=lambda name: TABLE[name].turn):
        sysfs.write(path_of(name, 16), words[name].encode())
    assert sysfs.read(path_of("zones", 16)) == b"Movable\n"
    assert sysfs.read(path_of("memmap_on_memory", 16)) == b"0\n"
