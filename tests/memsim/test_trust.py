"""A machine's directory, descriptions and archives are not trusted; a write is all or nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from commands import Command, run_program, start_python
from damage import INSTANTS, RECORDS, STRANGERS, damaged, failing
from forking import forks
from memsim import directory, records
from memsim.description import dump
from memsim.directory import PRIVATE, Directory
from memsim.profile import load
from memsim.reader import Reader
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS
from simulated import make, s390, tree_at, write

STATE = f"{MEMORY}/memory3/state"


def sealed(values: dict[str, Any]) -> str:
    """A record with the right checksum, as somebody who knows memsim makes it."""
    checksum = f"{zlib.crc32(json.dumps(values).encode()):08x}"
    return json.dumps(values | {"checksum": checksum})


def everything(root: Path) -> dict[str, bytes | str]:
    """All files and links below a directory."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


# Records


@pytest.mark.parametrize(
    "journal",
    [
        {"show": {"../outside/file": "owned"}},
        {"blocks": {}, "live": {}, "paths": ["../outside"]},
        {"blocks": {}, "live": "{}", "paths": ["../outside"]},
        {"going_offline": 99},
        {"going_offline": 16},
        {"going_offline": -1},
        {"going_offline": None},
        {"going_offline": "../outside"},
        {"blocks": {"99": [1, 1]}, "live": "{}"},
        {"blocks": {"3": [255, 0]}, "live": ""},
        {"blocks": {"3": [1, 0, 0]}, "live": ""},
        {"blocks": [], "live": ""},
        {"blocks": {"../outside": [1, 1]}, "live": "{}"},
        {},
        [],
        None,
        "journal",
    ],
    ids=str,
)
@pytest.mark.parametrize("seal", [False, True])
def test_a_journal_of_somebody_else_changes_nothing_outside(
    journal: Any, seal: bool, tmp_path: Path, lpar: Path, memsim: Command, chmem: Command
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("precious")
    text = sealed(journal) if seal and isinstance(journal, dict) else json.dumps(journal)
    (lpar / PRIVATE / "journal.json").write_text(text)
    before = everything(tmp_path)
    for words in (("show", lpar), ("write", lpar, STATE, "offline"), ("reboot", lpar)):
        done = memsim(*words)
        assert done.status == 1
        assert "damaged (.memsim/journal.json: " in done.stderr
    for options in (("--dry-run",), ()):
        assert chmem("-s", lpar, "-b", "-d", "3", *options).status == 1
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pool", [-1, 1.5, "1", None, True, 1 << 64]),
        ("kept", [[], {"3": 1}, {"99": 1}, {"20": 0}, {"20": 1 << 40}, {"x": 1}]),
        ("devices", [None, {}, [1], [["dimm"]], [["floppy", 16, 17]], [["dimm", 16, 17]]]),
        ("unplugged", [None, [], {"3": 0}, {"3": 1 << 40}, {"99": 1}, {"20": 1}, {"x": 1}]),
        ("log", [None, "line", [1], ["two\nlines"], ["\x1b[2J"], ["line"] * 101]),
        ("auto_online_blocks", ["on", None, 1, ["online"]]),
        ("online_policy", ["any", None, {}]),
        ("auto_movable_ratio", [-1, "301", 1 << 32]),
        ("auto_movable_numa_aware", [2, "Y", None]),
        ("online_types", [[], {"99": "online"}, {"3": "offline"}, {"x": "online"}, {"3": None}]),
        ("faults", [[], {"turn": {}}, {"offline": {"3": "EBUSY"}}, {"offline": {"99": {}}}]),
        ("faults", [{"offline": {"3": {"errno": "EBUSY", "times": 0}}}, {"offline": []}]),
        ("delays", [[], {"offline": {"3": -1}}, {"offline": {"3": 1e300}}, {"offline": {"99": 1}}]),
        ("blocks", [None, 0]),
        ("more", [1]),
    ],
)
def test_a_value_that_no_kernel_can_have_is_named(
    name: str, values: list[Any], lpar: Path, memsim: Command
) -> None:
    record = lpar / PRIVATE / "live.json"
    right = json.loads(record.read_text())
    del right["checksum"]
    for value in values:
        record.write_text(sealed(right | {name: value}))
        done = memsim("show", lpar)
        assert done.status == 1, value
        assert f"damaged (.memsim/live.json: {name}: expected " in done.stderr
    # A record of an older memsim has no poisoned pages, and no parts of blocks.
    for missing in right.keys() - {"poisoned", "unplugged"}:
        record.write_text(sealed({key: value for key, value in right.items() if key != missing}))
        assert f"{missing}: expected " in memsim("show", lpar).stderr


def test_a_machine_of_a_memsim_without_poisoned_pages_is_as_before(
    lpar: Path, memsim: Command
) -> None:
    record = lpar / PRIVATE / "live.json"
    values = json.loads(record.read_text())
    del values["checksum"], values["poisoned"]
    record.write_text(sealed(values))
    done = memsim("poison", lpar, "0x18000000")
    assert (done.status, done.stderr) == (0, "")
    assert json.loads(record.read_text())["poisoned"] == [0x18000]


def test_blocks_that_no_kernel_can_have_made_are_damaged(lpar: Path, memsim: Command) -> None:
    content = (lpar / PRIVATE / "blocks").read_bytes()
    live = json.loads((lpar / PRIVATE / "live.json").read_text())
    del live["checksum"]
    for index, value in ((3, 255), (3, 9), (3 + 32, 4)):
        wrong = content[:index] + bytes([value]) + content[index + 1 :]
        checksum = f"{zlib.crc32(wrong):08x}"
        (lpar / PRIVATE / "blocks").write_bytes(wrong)
        (lpar / PRIVATE / "live.json").write_text(sealed(live | {"blocks": checksum}))
        done = memsim("show", lpar)
        assert done.status == 1
        assert "damaged (.memsim/blocks: expected " in done.stderr


@pytest.mark.parametrize("name", RECORDS[:3])
def test_a_changed_byte_or_a_missing_end_of_a_record_is_found(
    name: str, lpar: Path, memsim: Command
) -> None:
    record, harmless = lpar / PRIVATE / name, 0
    right = record.read_bytes()
    for content in damaged(right, step=7):
        record.write_bytes(content)
        done = memsim("show", lpar)
        if done.status == 0:
            # White space of another kind.
            assert content.split() == right.split()
            harmless += 1
            continue
        assert done.status == 1
        assert f"damaged (.memsim/{name}: " in done.stderr
        assert done.stderr.count("\n") == 2
    assert harmless < 5


def test_a_journal_with_a_changed_byte_changes_nothing(lpar: Path, memsim: Command) -> None:
    machine = Directory(lpar)
    kernel = machine.kernel()
    kernel.offline(3)
    changed = {3: (kernel.blocks.place[3], kernel.blocks.flags[3])}
    right = records.journal_of_change(records.live_record(kernel), changed)
    before = tree_at(lpar)
    for content in damaged(right, step=29):
        (lpar / PRIVATE / "journal.json").write_bytes(content)
        done = memsim("write", lpar, f"{MEMORY}/auto_online_blocks", "offline")
        if done.status:
            assert "damaged (.memsim/journal.json: " in done.stderr
        assert tree_at(lpar) == before
    (lpar / PRIVATE / "journal.json").write_bytes(right)
    # Nothing of this write is in live.json, so that it has not happened.
    machine.settle()
    assert tree_at(lpar) == before


# What is in the place of a file


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_no_file_in_place_of_a_record_is_named(
    name: str, stranger: str, lpar: Path, memsim: Command, chmem: Command
) -> None:
    record = lpar / PRIVATE / name
    record.unlink(missing_ok=True)
    STRANGERS[stranger](record)
    before = everything(lpar)
    for words in (("show", lpar), ("write", lpar, STATE, "offline"), ("fault", lpar, "--clear")):
        done = memsim(*words)
        expected = f"memsim: {record}: expected a regular file, not {stranger}\n"
        assert (done.status, done.stderr) == (1, expected)
    assert chmem("-s", lpar, "-b", "-d", "3").status == 1
    assert everything(lpar) == before


@pytest.mark.parametrize(
    "place",
    [
        PRIVATE,
        "sys",
        "sys/devices",
        MEMORY,
        f"{MEMORY}/memory16",
        f"{FIRMWARE}/memory16",
        FIRMWARE,
        NODE,
        f"{NODE}/node0",
    ],
)
def test_no_directory_is_reached_through_a_link(
    place: str, tmp_path: Path, lpar: Path, memsim: Command
) -> None:
    outside = tmp_path / "outside"
    if place == f"{MEMORY}/memory16":
        write(lpar, f"{FIRMWARE}/memory16/config", "1")
    (lpar / place).rename(outside)
    (lpar / place).symlink_to(outside)
    before = everything(tmp_path)
    for path, value in (
        (f"{MEMORY}/memory16/state", "online"),
        (f"{FIRMWARE}/memory16/config", "1"),
        (f"{FIRMWARE}/memory16/memmap_on_memory", "0"),
        (f"{FIRMWARE}/memory16/config", "0"),
        (STATE, "offline"),
    ):
        done = memsim("write", lpar, path, value)
        assert everything(outside) == {
            name: content for name, content in before.items() if name.startswith(f"{outside}/")
        }
        if done.status == 1 and "expected" in done.stderr:
            assert done.stderr.startswith(
                f"memsim: {lpar / place}: expected a directory, not a symbolic link\n"
            )
            break
    else:
        raise AssertionError("no write needed the directory")


@pytest.mark.parametrize("stranger", ["a FIFO", "a socket"])
@pytest.mark.parametrize("name", ["run", f"{PRIVATE}/next"])
def test_what_is_no_directory_in_place_of_one_that_is_removed_is_named(
    name: str, stranger: str, lpar: Path, memsim: Command
) -> None:
    STRANGERS[stranger](lpar / name)
    done = memsim("reboot", lpar)
    expected = f"memsim: {lpar / name}: expected a directory, not {stranger}\n"
    assert (done.status, done.stderr) == (1, expected)


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("name", ["state", "online", "valid_zones"])
def test_what_is_no_file_in_place_of_an_attribute_is_named(
    name: str, stranger: str, lpar: Path, memsim: Command
) -> None:
    attribute = lpar / MEMORY / "memory3" / name
    attribute.unlink()
    STRANGERS[stranger](attribute)
    before = everything(lpar)
    done = memsim("write", lpar, STATE, "offline")
    expected = f"memsim: {attribute}: expected a regular file, not {stranger}\n"
    assert (done.status, done.stderr) == (1, expected)
    assert everything(lpar) == before


# Arguments


@pytest.mark.parametrize(
    "words",
    [
        ("write", "DIR", "\udc80", "1"),
        ("write", "DIR", STATE, "\udc80"),
        ("write", "\udc80", STATE, "1"),
        ("fault", "DIR", "--offline", "\udc80=EBUSY"),
        ("fault", "DIR", "--offline", "3=\udc80"),
        ("fault", "DIR", "--offline", "3=EBUSY:\u0663"),
        ("fault", "DIR", "--delay", "offline:3=\udc80"),
        ("fault", "DIR", "--offline", "9" * 5000 + "=EBUSY"),
        ("show", "\udc80"),
        ("create", "DIR", "--profile", "\udc80"),
        ("create", "NEW", "--from", "\udc80"),
        ("create", "NEW", "--capture", "\udc80"),
        ("create", "NEW", "--memory", "\udc80"),
        ("create", "NEW", "--memory", "8E", "--nodes", "1"),
        ("create", "NEW", "--memory", "1G", "--nodes", "9" * 30),
        ("mount", "DIR", "\udc80"),
        ("shell", "--profile", "\udc80"),
        ("shell", "DIR", "--", "\udc80"),
        ("\udc80",),
    ],
)
def test_any_bytes_in_an_argument_end_in_a_sentence(
    words: tuple[str, ...], tmp_path: Path, lpar: Path, memsim: Command
) -> None:
    places = {"DIR": str(lpar), "NEW": str(tmp_path / "new")}
    before = everything(tmp_path)
    done = memsim(*(places.get(word, word) for word in words))
    assert done.status == 1
    assert done.stderr.startswith("memsim: ")
    assert "\udc80" not in done.stderr
    assert everything(tmp_path) == before


# Descriptions


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100000,
        b'{"block_size":' * 10000,
        b'{"block_size": 134217728, "blocks": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"block_size": NaN, "blocks": []}',
        b'{"block_size": 1e999, "blocks": [{}]}',
        b'{"block_size": ' + b"9" * 5000 + b', "blocks": [{}]}',
        b'{"block_size": ' + b"9" * 4000 + b', "blocks": [{}]}',
        b'{"\\ud800": 1}',
        b'{"' + b"x" * 100000 + b'": 1}',
        b'{"block_size": 134217728, "blocks": [{"range": [0, 99999999999999999999]}]}',
        b'{"block_size": 134217728, "blocks": [{"range": [0, 16777216]}]}',
        b'{"block_size": 134217728, "blocks": [{"range": [0, 1]}], "delays": '
        b'{"offline": {"1": 1e300}}}',
        b'{"block_size": 134217728, "blocks": [{"range": [0, 1]}], "faults": '
        b'{"offline": {"\\u0661": "EBUSY"}}}',
    ],
)
def test_a_wrong_description_ends_in_a_sentence(
    content: bytes, tmp_path: Path, memsim: Command
) -> None:
    (tmp_path / "file").write_bytes(content)
    done = memsim("create", tmp_path / "m", "--from", tmp_path / "file")
    assert done.status == 1
    assert done.stderr.startswith(f"memsim: {tmp_path}/file: ")
    assert ": expected " in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 2000
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("key", [*dump(load("s390-lpar")), *dump(load("s390-lpar"))["blocks"][0]])
@pytest.mark.parametrize(
    "value", [None, True, -1, 1.5, 1 << 70, "", "x", [], [[]], {}, {"x": {}}], ids=repr
)
def test_a_value_of_any_kind_makes_a_machine_or_a_sentence(
    key: str, value: Any, tmp_path: Path, memsim: Command
) -> None:
    description = dump(load("s390-lpar"))
    if key in description:
        description[key] = value
    else:
        description["blocks"][0][key] = value
    (tmp_path / "file").write_text(json.dumps(description))
    done = memsim("create", tmp_path / "m", "--from", tmp_path / "file")
    if done.status:
        assert done.stderr.startswith(f"memsim: {tmp_path}/file: ")
        assert done.stderr.count("\n") == 1
    else:
        assert memsim("show", tmp_path / "m").status == 0


@pytest.mark.parametrize("option", ["--from", "--capture"])
@pytest.mark.parametrize("stranger", ["a FIFO", "a socket", "a directory"])
def test_what_is_no_file_is_no_description_and_no_archive(
    option: str, stranger: str, tmp_path: Path, memsim: Command
) -> None:
    STRANGERS[stranger](tmp_path / "x")
    done = memsim("create", tmp_path / "m", option, tmp_path / "x")
    assert done.status == 1
    assert done.stderr.startswith(f"memsim: {tmp_path}/x: ")
    assert done.stderr.count("\n") == 1


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, memsim: Command) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    done = memsim("create", tmp_path / "m", "--from", tmp_path / "huge")
    assert (done.status, "expected 16777216 bytes at most" in done.stderr) == (1, True)
    done = memsim("create", tmp_path / "m", "--capture", tmp_path / "huge")
    assert (done.status, "not an archive that memsim capture made" in done.stderr) == (1, True)
    done = memsim("create", tmp_path / "m", "--from", "/dev/zero")
    assert done.stderr == ("memsim: /dev/zero: expected a regular file, not a character device\n")


# Captures


@pytest.mark.parametrize(
    "place",
    [
        f"{MEMORY}/auto_online_blocks",
        f"{MEMORY}/block_size_bytes",
        STATE,
        f"{MEMORY}/memory3",
        f"{MEMORY}/memory3/node0",
        f"{NODE}/node0/memory3",
        f"{NODE}/node0",
        FIRMWARE,
        PARAMETERS,
        "sys",
    ],
)
@pytest.mark.parametrize("name", ["case", "case.tar.gz"])
def test_memsim_capture_follows_no_link(
    place: str, name: str, tmp_path: Path, lpar: Path, memsim: Command
) -> None:
    secret = tmp_path / "secret"
    if (lpar / place).is_dir() and not (lpar / place).is_symlink():
        (lpar / place).rename(secret)
        (secret / "shadow").write_text("secret")
    else:
        (lpar / place).unlink()
        secret.write_text("secret")
    (lpar / place).symlink_to(secret)
    done = memsim("capture", "-s", lpar, tmp_path / name)
    assert done.status == 1
    assert done.stderr.startswith(f"memsim: {lpar / place}: expected ")
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("place", [STATE, f"{NODE}/online", f"{PARAMETERS}/online_policy"])
def test_memsim_capture_names_what_is_no_file(
    place: str, stranger: str, tmp_path: Path, lpar: Path, memsim: Command
) -> None:
    (lpar / place).unlink()
    STRANGERS[stranger](lpar / place)
    done = memsim("capture", "-s", lpar, tmp_path / "case")
    expected = f"memsim: {lpar / place}: expected a regular file, not {stranger}\n"
    assert (done.status, done.stderr) == (1, expected)


@pytest.mark.parametrize("packing", ["", "gz", "bz2", "xz"])
def test_a_damaged_archive_is_no_capture(packing: str, tmp_path: Path, memsim: Command) -> None:
    tree = tmp_path / "tree"
    assert memsim("create", tmp_path / "m", "--memory", "256M").status == 0
    assert memsim("capture", "-s", tmp_path / "m", tree).status == 0
    with tarfile.open(tmp_path / "right", f"w:{packing}") as archive:  # type: ignore[call-overload]  # a mode
        archive.add(tree / "sys", "case/sys")
    right = (tmp_path / "right").read_bytes()
    assert memsim("create", tmp_path / "n", "--capture", tmp_path / "right").status == 0
    for number, content in enumerate(damaged(right, step=len(right) // 40)):
        (tmp_path / "wrong").write_bytes(content)
        done = memsim("create", tmp_path / f"m{number}", "--capture", tmp_path / "wrong")
        if done.status:
            assert done.stderr.startswith(f"memsim: {tmp_path}/wrong"), done.stderr
            assert done.stderr.count("\n") == 1
        else:
            # What is not checked in an archive: padding, times, owners.
            assert not packing or len(content) == len(right)


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **values: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in values.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (f"sys/../{MEMORY}/memory0/state", {"type": tarfile.SYMTYPE, "linkname": "/etc/shadow"}),
        (f"{MEMORY}/memory0/state", {"type": tarfile.FIFOTYPE}),
        (f"{MEMORY}/memory0/state", {"type": tarfile.CHRTYPE}),
        (f"{MEMORY}/memory0/state", {"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"}),
        (f"{MEMORY}/memory0/state", {"type": tarfile.DIRTYPE}),
        (f"{MEMORY}/memory0/node0", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
        (f"{MEMORY}/memory0/node0", {"type": tarfile.FIFOTYPE}),
        (f"{MEMORY}/memory0/state", {"content": b"x" * 5000}),
        (f"{MEMORY}/memory0/phys_device", {"content": b"9" * 4000}),
        (f"{MEMORY}/memory0/phys_device", {"content": "\u0663".encode()}),
        (f"{MEMORY}/memory0/valid_zones", {"content": b"Nowhere"}),
        (f"{MEMORY}/block_size_bytes", {"content": b"f" * 4000}),
        (f"{MEMORY}/block_size_bytes", {"content": b"8 MiB"}),
        (f"{MEMORY}/memory99999999999999/state", {"content": b"online"}),
        (f"{PARAMETERS}/auto_movable_ratio", {"content": b"9" * 4000}),
    ],
    ids=str,
)
def test_a_member_made_to_do_harm_ends_in_a_sentence_or_does_none(
    path: str, values: dict[str, Any], tmp_path: Path, memsim: Command
) -> None:
    with tarfile.open(tmp_path / "case.tar", "w") as archive:
        add(archive, f"{MEMORY}/block_size_bytes", b"8000000\n")
        add(archive, f"{MEMORY}/memory1/state", b"online\n")
        add(archive, f"{PARAMETERS}/online_policy", b"contig-zones\n")
        add(archive, path, **values)
    done = memsim("create", tmp_path / "m", "--capture", tmp_path / "case.tar")
    if done.status:
        assert done.stderr.startswith(f"memsim: {tmp_path}/case.tar: ")
        assert done.stderr.count("\n") == 1
    else:
        assert memsim("show", tmp_path / "m").status == 0


# All or nothing


def outcome(root: Path, path: str, value: str, functions: dict[str, Any]) -> str:
    """What a writer is told when functions of `os` are other ones: "" or the errno."""
    read, told = os.pipe()
    if not (child := os.fork()):
        for name, function in functions.items():
            setattr(os, name, function)
        try:
            directory.write(root, path, value.encode())
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    os.close(told)
    os.close(read)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return errno.errorcode[status] if status else ""


@forks
@pytest.mark.parametrize("number", [0, errno.EACCES, errno.EIO], ids=["short", "EACCES", "EIO"])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{FIRMWARE}/memory4/config", "1"),
        pytest.param(f"{MEMORY}/memory3/state", "offline", marks=pytest.mark.slow),
        pytest.param(f"{FIRMWARE}/memory5/config", "0", marks=pytest.mark.slow),
        pytest.param(f"{MEMORY}/auto_online_blocks", "online", marks=pytest.mark.slow),
    ],
)
def test_a_write_that_fails_at_any_call_has_not_happened_and_never_does(
    number: int, path: str, value: str, tmp_path: Path
) -> None:
    lpar = make(tmp_path / "lpar", s390(contiguous_zones=True))
    write(lpar, f"{FIRMWARE}/memory5/config", "1")
    shutil.copytree(lpar, tmp_path / "after", symlinks=True)
    write(tmp_path / "after", path, value)
    before, after = tree_at(lpar), tree_at(tmp_path / "after")
    failures = 0
    for at in range(200):
        root = tmp_path / f"m{at}"
        shutil.copytree(lpar, root, symlinks=True)
        told = outcome(root, path, value, failing(number, at))
        # One call failed and no more, so that all is well at once, and stays so.
        assert tree_at(root) == (before if told else after), (at, told)
        Directory(root).settle()
        assert tree_at(root) == (before if told else after), (at, told)
        assert Directory(root).kernel().blocks.content() == (
            Directory(lpar if told else tmp_path / "after").kernel().blocks.content()
        )
        assert not (root / PRIVATE / "journal.json").exists()
        failures += bool(told)
        write(root, f"{MEMORY}/memory2/state", "offline")
        shutil.rmtree(root)
        if not told and failures and at > failures + len(INSTANTS) * 4:
            break
    assert failures > 10


FULL = """
import os, subprocess, sys
sys.path[:0] = sys.argv[2].split(os.pathsep)
from memsim.directory import Directory, create, write
from memsim.machine import TRANSITIONS
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY
from simulated import tree_at
from pathlib import Path
top = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", top], check=True)
machine = {"block_size": 1 << 27, "firmware": True, "memmap_param": "Y", "contiguous_zones": True,
           "blocks": [{"range": [0, 15]}, {"range": [16, 47], "config": 0}],
           # So that records are of several pages.
           "delays": {name: {str(n): 0.0 for n in range(48)} for name in TRANSITIONS}}
failed = done = 0
for free in range(0, 32, int(sys.argv[3])):
    root = Path(top, f"m{free}")
    create(root, boot(machine))
    write(root, f"{FIRMWARE}/memory47/config", b"1")
    for path, data in (
        (f"{FIRMWARE}/memory16/config", b"1"),
        (f"{MEMORY}/memory47/state", b"online_movable"),
    ):
        before = tree_at(root)
        with open(f"{top}/fill", "wb", buffering=0) as fill:
            try:
                while True:
                    fill.write(bytes(4096))
            except OSError:
                pass
            os.truncate(fill.fileno(), max(os.fstat(fill.fileno()).st_size - 4096 * free, 0))
        try:
            write(root, path, data)
            told = "done"
        except OSError as error:
            told = error.strerror
        now = tree_at(root)
        os.unlink(f"{top}/fill")
        Directory(root).settle()
        if told == "done":
            done += 1
            assert now == tree_at(root) != before, free
        else:
            failed += 1
            assert told == "No space left on device", told
            assert tree_at(root) == before, free
        if told != "done":
            write(root, path, data)
    subprocess.run(["rm", "-r", root], check=True)
subprocess.run(["umount", "-l", top], check=True)
print(failed, done)
"""


@pytest.mark.needs("root")
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_any_page_leaves_the_machine_as_it_was(
    step: int, tmp_path: Path
) -> None:
    sources = os.pathsep.join([str(Path(__file__).parents[1] / "support")])
    within = ("unshare", "--mount", "--propagation", "private")
    done = start_python(FULL, tmp_path, sources, str(step), within=within)
    written, _ = done.communicate(timeout=120)
    assert done.returncode == 0
    failed, succeeded = map(int, written.split())
    assert failed > 1
    assert succeeded > 1


def test_a_directory_that_nobody_may_write_to_can_be_shown(lpar: Path, memsim: Command) -> None:
    before = memsim("show", lpar).stdout
    for path in (lpar / PRIVATE).iterdir():
        path.chmod(0o444)
    assert memsim("show", lpar).stdout == before


def test_a_running_program_sees_the_machine_and_no_link(tmp_path: Path, lpar: Path) -> None:
    """The reader that a mount has is not led out by what is in the tree."""
    (tmp_path / "secret").write_text("secret")
    (lpar / STATE).unlink()
    (lpar / STATE).symlink_to(tmp_path / "secret")
    machine = Reader(Directory(lpar))
    assert machine.sysfs.read(STATE) == b"online\n"
    for word in ("offline", "online", "offline"):
        write(lpar, f"{MEMORY}/memory5/state", word)
        assert machine.sysfs.read(f"{MEMORY}/memory5/state") == f"{word}\n".encode()


def test_the_installed_command_ends_in_a_sentence_too(lpar: Path) -> None:
    done = run_program("memsim", "write", lpar, STATE, b"\x80".decode(errors="surrogateescape"))
    assert (done.returncode, done.stderr) == (1, f"memsim: {STATE}: Invalid argument\n")


@pytest.mark.parametrize(
    "devices",
    [
        [["dimm", 3, 4]],
        [["dimm", 4, 6]],
        [["dimm", 5, 4]],
        [["dimm", 4, 5], ["dimm", 5, 5]],
        [["dimm", 4, 1 << 40]],
        [["dimm", 8, 8]],
    ],
    ids=str,
)
def test_devices_that_did_not_bring_their_blocks_are_refused(
    devices: Any, tmp_path: Path, memsim: Command
) -> None:
    blocks = [{"range": [0, 3]}, {"range": [4, 7], "config": False}]
    root = make(tmp_path / "m", {"block_size": 1 << 27, "blocks": blocks})
    assert memsim("plug", root, "--memory", "256M").status == 0
    assert memsim("show", root).status == 0
    has_devices(root, devices)
    done = memsim("show", root)
    assert done.status == 1
    assert "devices: expected blocks that " in done.stderr


def has_devices(root: Path, devices: Any) -> None:
    record = root / PRIVATE / "live.json"
    values = json.loads(record.read_text())
    del values["checksum"]
    record.write_text(sealed(values | {"devices": devices}))


@pytest.fixture
def plugged(tmp_path: Path, memsim: Command) -> Path:
    blocks = [{"range": [0, 3]}, {"range": [4, 7], "config": False}]
    root = make(tmp_path / "m", {"block_size": 1 << 27, "blocks": blocks})
    assert memsim("plug", root, "--memory", "512M").status == 0
    return root


@pytest.mark.parametrize("second", [0, 8, -1, "1"])
def test_devices_with_a_number_that_they_cannot_have_are_refused(
    second: Any, plugged: Path, memsim: Command
) -> None:
    has_devices(plugged, [["dimm", 4, 4, 0], ["dimm", 5, 7, second]])
    done = memsim("show", plugged)
    assert done.status == 1
    assert "devices: expected " in done.stderr
    has_devices(plugged, [["dimm", 4, 4, 0], ["dimm", 5, 7, 7]])
    assert memsim("show", plugged).status == 0


def test_a_record_without_numbers_of_devices_has_them_in_the_order_of_blocks(
    plugged: Path, memsim: Command, lsmem: Command
) -> None:
    has_devices(plugged, [["dimm", 4, 4], ["virtio-mem", 5, 5], ["dimm", 6, 7]])
    assert memsim("write", plugged, f"{MEMORY}/memory3/state", "offline").status == 0
    shown = lsmem("-s", plugged, "-n", "-r", "-o", "BLOCK,DEVICE", "--summary=never").stdout
    assert shown.splitlines()[-3:] == ["4 PNP0C80:00", "5 virtio0", "6-7 PNP0C80:01"]
