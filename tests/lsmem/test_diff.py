"""`lsmem --diff`: what changed since an earlier listing or a captured tree."""

import io
import json
import os
import re
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

import static_tree
from commands import Command, run_program
from simulated import make, write
from static_tree import FIRMWARE, MEMORY, NODE


def earlier(lsmem: Command, tree: Path, *options: str) -> Path:
    """What `lsmem -J --typed` wrote before anything changed."""
    file = tree.parent / "earlier.json"
    file.write_text(lsmem("-J", "--typed", "-s", tree, *options).stdout)
    return file


def change(tree: Path) -> None:
    """Block 5 goes offline, and 16 and 17 are configured."""
    write(tree, f"{MEMORY}/memory5/state", "offline")
    for number in (16, 17):
        write(tree, f"{FIRMWARE}/memory{number}/config", "1")


def packed(tree: Path, archive: Path, prefix: str = "") -> Path:
    """The tree as a tar archive, as a capture is."""
    with tarfile.open(archive, "w:gz") as out:
        out.add(tree / "sys", f"{prefix}sys")
    return archive


CHANGED = """\
memory5     128M  online -> offline, zones DMA -> DMA/Movable
memory16-17 256M  disabled -> offline
"""


def test_diff_of_an_unchanged_machine_prints_nothing_and_exits_0(
    lsmem: Command, lpar: Path
) -> None:
    done = lsmem("--diff", earlier(lsmem, lpar), "-s", lpar)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


def test_diff_prints_a_line_for_each_group_of_changed_blocks_and_exits_1(
    lsmem: Command, lpar: Path
) -> None:
    file = earlier(lsmem, lpar)
    change(lpar)
    done = lsmem("--diff", file, "-s", lpar)
    assert (done.status, done.stdout, done.stderr) == (1, CHANGED, "")


def test_diff_with_bytes_prints_sizes_in_bytes(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar)
    change(lpar)
    first = lsmem("-b", "--diff", file, "-s", lpar).stdout.splitlines()[0]
    assert first.split()[1] == str(1 << 27)


@pytest.mark.parametrize("kind", ["directory", "archive", "archive below a directory"])
def test_diff_takes_a_captured_directory_or_archive(
    lsmem: Command, lpar: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "directory":
        captured = tmp_path / "captured"
        shutil.copytree(lpar / "sys", captured / "sys", symlinks=True)
    else:
        prefix = "./case-7/" if "below" in kind else ""
        captured = packed(lpar, tmp_path / "captured.tar.gz", prefix)
    assert lsmem("--diff", captured, "-s", lpar).status == 0
    change(lpar)
    done = lsmem("--diff", captured, "-s", lpar)
    assert (done.status, done.stdout, done.stderr) == (1, CHANGED, "")


def test_diff_reads_the_hard_links_of_an_archive(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    archive = packed(lpar, tmp_path / "captured.tar")
    with tarfile.open(archive) as members:
        assert any(member.islnk() for member in members)
    assert lsmem("--diff", archive, "-s", lpar).status == 0


def test_diff_json_holds_the_attributes_that_differ(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar)
    change(lpar)
    done = lsmem("-J", "--diff", file, "-s", lpar)
    document = json.loads(done.stdout)
    assert done.status == 1
    assert document["schema_version"] == 1
    assert document["same"] is False
    first, second = document["changes"]
    assert first == {
        "change": "changed",
        "block": {"first": 5, "last": 5},
        "start": 5 << 27,
        "end": (6 << 27) - 1,
        "size": 1 << 27,
        "before": {"state": "online", "zones": ["DMA"]},
        "after": {"state": "offline", "zones": ["DMA", "Movable"]},
    }
    assert second["block"] == {"first": 16, "last": 17}
    assert (second["before"]["configured"], second["after"]["configured"]) == (False, True)


def test_diff_json_of_an_unchanged_machine_is_a_document(lsmem: Command, lpar: Path) -> None:
    done = lsmem("-J", "--diff", earlier(lsmem, lpar), "-s", lpar)
    assert done.status == 0
    assert json.loads(done.stdout) == {
        "schema_version": 1,
        "same": True,
        "settings": {},
        "changes": [],
    }


def test_diff_calls_blocks_added_or_removed(lsmem: Command, tmp_path: Path) -> None:
    for name, last in (("small", 31), ("large", 39)):
        blocks = [{"range": [0, last]}]
        machine = {"block_size": 1 << 27, "memmap_param": "N", "blocks": blocks}
        make(tmp_path / name, machine)
    small, large = tmp_path / "small", tmp_path / "large"
    assert lsmem("--diff", small, "-s", large).stdout == "memory32-39 1G  added, online\n"
    assert lsmem("--diff", large, "-s", small).stdout == "memory32-39 1G  removed, online\n"
    found = json.loads(lsmem("-J", "--diff", small, "-s", large).stdout)["changes"]
    assert found[0]["before"] is None
    assert found[0]["after"]["state"] == "online"


def test_diff_merges_equal_changes_of_contiguous_blocks_only(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar)
    for number in (3, 4, 6):
        write(lpar, f"{MEMORY}/memory{number}/state", "offline")
    done = lsmem("--diff", file, "-s", lpar)
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["memory3-4", "256M"],
        ["memory6", "128M"],
    ]


def test_diff_of_blocks_added_on_both_sides_of_a_hole_has_two_changes(
    lsmem: Command, tmp_path: Path
) -> None:
    ranges = {"small": [[0, 3]], "large": [[0, 5], [8, 9]]}
    for name, found in ranges.items():
        machine = {"block_size": 1 << 27, "blocks": [{"range": ends} for ends in found]}
        make(tmp_path / name, machine)
    done = lsmem("--diff", tmp_path / "small", "-s", tmp_path / "large")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["memory4-5", "memory8-9"]


def test_diff_compares_auto_online_blocks(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar)
    write(lpar, f"{MEMORY}/auto_online_blocks", "online_movable")
    done = lsmem("--diff", file, "-s", lpar)
    assert (done.status, done.stdout) == (1, "auto_online_blocks: offline -> online_movable\n")
    settings = json.loads(lsmem("-J", "--diff", file, "-s", lpar).stdout)["settings"]
    assert settings == {"auto_online_blocks": {"before": "offline", "after": "online_movable"}}


def test_diff_of_another_block_size_compares_no_blocks(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    make(tmp_path / "older", "s390-pre-6.19")
    done = lsmem("--diff", lpar, "-s", tmp_path / "older")
    assert done.status == 1
    assert done.stdout.startswith("block_size: 128M -> 256M\n")
    assert done.stdout.endswith("Blocks of another size are other blocks: they are not compared.\n")


def test_diff_compares_only_the_columns_of_the_document(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar, "-o", "RANGE,STATE")
    change(lpar)
    done = lsmem("--diff", file, "-s", lpar)
    assert (done.status, done.stdout) == (1, "memory5 128M  online -> offline\n")


def test_diff_reads_a_document_from_standard_input(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar)
    with file.open() as document:
        done = run_program("lsmem", "--diff", "-", "-s", lpar, stdin=document)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "{file} is empty"),
        (b"RANGE SIZE\n", "cannot read {file}: not an archive, or a damaged one"),
        (b'{"memory": []}', "{file} is JSON without --typed"),
        (b'{"schema_version": 99}', "{file} has schema_version 99, and must have 1"),
        (b'{"schema_version": 1', "{file} is broken JSON"),
        (b'{"schema_version": 1, "block_size": "8"}', "{file} is not a listing of memory"),
    ],
)
def test_diff_of_a_damaged_file_names_the_fault_and_exits_2(
    lsmem: Command, lpar: Path, tmp_path: Path, text: bytes, why: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(text)
    done = lsmem("--diff", file, "-s", lpar)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    said, advice = lsmem("--advice=always", "--diff", file, "-s", lpar).stderr.splitlines()
    assert done.stderr == f"{said}\n"
    assert said.startswith(f"lsmem: {why.format(file=file)}")
    assert advice.endswith("files whose names end in .toml")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ('"no"', 'ranges is "no"'),
        ("[]", "ranges is empty"),
        ("[7]", "ranges[0] is 7"),
        ('[{"state": "online"}]', "ranges[0] does not say which blocks it has"),
        ('[{"start": 0}]', "ranges[0] does not say which blocks it has"),
        ('[{"block": {"first": 0}}]', "ranges[0].block.last is missing"),
        ('[{"block": {"first": 2, "last": 1}}]', "ranges[0] is not a range of memory blocks"),
        ('[{"block": {"first": -1, "last": 1}}]', "ranges[0].block.first is -1"),
        ('[{"start": 1, "end": 134217727}]', "ranges[0] is not a range of memory blocks"),
        ('[{"start": 0, "end": 134217726}]', "ranges[0] is not a range of memory blocks"),
        ('[{"range": "0x0-0x7ffffff"}]', 'ranges[0].range is "0x0-0x7ffffff"'),
        ('[{"block": {"first": 0, "last": 0}, "size": 1}]', "ranges[0] contradicts itself"),
        (
            '[{"block": {"first": 0, "last": 0}, "start": 134217728, "end": 268435455}]',
            "ranges[0] contradicts itself",
        ),
        (
            '[{"block": {"first": 0, "last": 137438953472}}]',
            "ranges[0] is not a range of memory blocks",
        ),
        (
            '[{"block": {"first": 4, "last": 8}}, {"block": {"first": 0, "last": 4}}]',
            "block 4 is in two ranges",
        ),
        (
            '[{"block": {"first": 0, "last": 0}, "state": "\\u001b[2J"}]',
            'ranges[0].state is "\\u001b[2J"',
        ),
    ],
)
def test_diff_of_a_document_with_impossible_ranges_names_the_place(
    lsmem: Command, lpar: Path, tmp_path: Path, rows: str, why: str
) -> None:
    file = tmp_path / "file"
    file.write_text(f'{{"schema_version": 1, "block_size": 134217728, "ranges": {rows}}}')
    done = lsmem("--diff", file, "-s", lpar)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith(f"lsmem: {file} is not a listing of memory: {why}\n")


def test_diff_of_a_document_cut_short_at_any_place_exits_2(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    file = earlier(lsmem, lpar)
    whole = file.read_bytes()
    short = tmp_path / "short"
    for length in range(0, len(whole) - 1, 23):
        short.write_bytes(whole[:length])
        done = lsmem("--diff", short, "-s", lpar)
        assert (done.status, done.stdout) == (2, "")
        assert done.stderr.startswith(f"lsmem: {short} is ")


def test_diff_tells_what_could_not_be_read_on_either_side(lsmem: Command, tmp_path: Path) -> None:
    machine = {"block_size": 1 << 27, "blocks": [{"range": [0, 2]}]}
    one, two = (static_tree.make(tmp_path / name, machine) for name in ("one", "two"))
    for tree, number in ((one, 1), (two, 2)):
        (tree / MEMORY / f"memory{number}/state").unlink()
        (tree / MEMORY / f"memory{number}/state").mkdir()
    done = lsmem("--diff", one, "-s", two)
    why = "state: a directory, not a regular file"
    assert done.stderr == (
        f"lsmem: {one}: unknown state of memory1: {why}\nlsmem: unknown state of memory2: {why}\n"
    )
    assert (done.status, done.stdout) == (
        1,
        "memory1 128M  ? -> online\nmemory2 128M  online -> ?\n",
    )


def test_diff_shows_a_node_that_a_block_lost(lsmem: Command, tmp_path: Path) -> None:
    machine = {"block_size": 1 << 27, "blocks": [{"range": [0, 2]}, {"range": [3, 5], "node": 1}]}
    one, two = (static_tree.make(tmp_path / name, machine) for name in ("one", "two"))
    (two / NODE / "node1/memory2").symlink_to("../../memory/memory2")
    assert lsmem("--diff", two, "-s", one).stdout == "memory2 128M  node 0/1 -> 0\n"
    found = json.loads(lsmem("-J", "--diff", two, "-s", one).stdout)["changes"]
    assert [(one["before"], one["after"]) for one in found] == [({"nodes": [0, 1]}, {"nodes": [0]})]


@pytest.mark.parametrize("kind", ["FIFO", "socket", "character device"])
def test_diff_refuses_a_fifo_socket_or_device_without_waiting(
    lsmem: Command, lpar: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "file"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path = Path("/dev/zero")
    done = lsmem("--diff", path, "-s", lpar)
    assert (done.status, done.stdout) == (2, "")
    # A socket cannot even be opened.
    said = "No such device or address" if kind == "socket" else f"a {kind}, not a regular file"
    assert said in done.stderr
    assert str(path) in done.stderr


def test_diff_takes_a_range_of_all_addresses(lsmem: Command, lpar: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    last = 2**64 // (1 << 27) - 1
    rows = f'[{{"block": {{"first": 0, "last": {last}}}, "state": "offline"}}]'
    file.write_text(f'{{"schema_version": 1, "block_size": 134217728, "ranges": {rows}}}')
    done = lsmem("--diff", file, "-s", lpar)
    assert done.status == 1
    assert done.stdout.splitlines() == [
        "memory0-15             2G  offline -> online",
        f"memory32-{last} 16E  removed, offline",
    ]


def test_diff_escapes_control_characters_of_the_document(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    document = json.loads(earlier(lsmem, lpar).read_text())
    document["auto_online_blocks"] = "off\x1b[2J\ud800line"
    document["ranges"][0]["zones"] = ["Nor\x1b[31mmal"]
    file = tmp_path / "file"
    file.write_text(json.dumps(document))
    done = lsmem("--diff", file, "-s", lpar)
    assert done.status == 1
    assert done.stdout.startswith("auto_online_blocks: off\\x1b[2J")
    assert re.search(r"memory0-15 +2G  zones Nor\\x1b\[31mmal -> DMA\n", done.stdout)
    assert "\x1b" not in done.stdout


def test_diff_accepts_keys_of_later_and_earlier_versions(lsmem: Command, lpar: Path) -> None:
    file = earlier(lsmem, lpar)
    document = json.loads(file.read_text())
    document["added"] = document["ranges"][0]["added"] = document["supports"]["added"] = 1
    del document["memory_hotplug"]["online_policy"], document["total_online"]
    file.write_text(json.dumps(document))
    assert lsmem("--diff", file, "-s", lpar).status == 0


def test_diff_across_a_kernel_upgrade_compares_what_both_kernels_tell(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    """The same machine with a kernel that knows no /sys/firmware/memory, and then with ours."""
    old = tmp_path / "old"
    shutil.copytree(lpar / "sys", old / "sys", symlinks=True)
    shutil.rmtree(old / FIRMWARE)
    (old / MEMORY / "auto_online_blocks").unlink()
    shutil.rmtree(old / "sys/module")
    for number in range(16, 32):
        static_tree.write(old / MEMORY / f"memory{number}/state", "offline")
    for before, after in ((old, lpar), (lpar, old)):
        done = lsmem("--diff", before, "-s", after)
        assert (done.status, done.stdout) == (0, "")
        document = tmp_path / "before.json"
        document.write_text(lsmem("-J", "--typed", "-s", before).stdout)
        assert lsmem("-J", "--diff", document, "-s", after).status == 0


def test_diff_of_an_archive_cut_short_exits_2(lsmem: Command, lpar: Path, tmp_path: Path) -> None:
    archive = packed(lpar, tmp_path / "captured.tar.gz")
    archive.write_bytes(archive.read_bytes()[:2000])
    done = lsmem("--diff", archive, "-s", lpar)
    assert done.status == 2
    assert "not an archive, or a damaged one" in done.stderr


def test_diff_of_an_archive_without_a_tree_exits_2(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "other.tar"
    with tarfile.open(archive, "w") as out:
        out.addfile(tarfile.TarInfo("notes"), io.BytesIO())
    done = lsmem("--diff", archive, "-s", lpar)
    assert done.status == 2
    assert done.stderr == (
        f"lsmem: cannot read {archive}: cannot open /sys/devices/system/memory:"
        " No such file or directory\n"
    )


def test_diff_of_a_missing_file_or_machine_exits_2(
    lsmem: Command, lpar: Path, tmp_path: Path
) -> None:
    done = lsmem("--diff", tmp_path / "none", "-s", lpar)
    assert (done.status, done.stderr) == (2, f"lsmem: {tmp_path}/none: No such file or directory\n")
    assert lsmem("--diff", lpar, "-s", tmp_path).status == 2
