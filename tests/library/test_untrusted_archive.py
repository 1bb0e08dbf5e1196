"""An archive that was damaged, or made to harm: one sentence names it, and it takes up little."""

import bz2
import errno
import gzip
import io
import lzma
import os
import random
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import static_tree
from commands import run_program
from memory_hotplug import Attribute, Machine, MemoryHotplugError, NoMemoryTreeError
from memory_hotplug.attribute import path_of
from memory_hotplug.trees import archive as archive_module
from memory_hotplug.trees.archive import ArchiveTree
from safe_files import tar
from static_tree import FIRMWARE, MEMORY, NODE

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda data: data,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}
MACHINE = {
    "block_size": 1 << 28,
    "firmware": True,
    "memmap_param": "Y",
    "blocks": [{"range": [0, 1]}, {"range": [2, 3], "config": 0}],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return static_tree.make(tmp_path_factory.mktemp("root"), MACHINE)


@pytest.fixture(scope="module")
def plain(root: Path) -> bytes:
    """The tree in an archive, not compressed."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as packed:
        packed.add(root, "case")
    return file.getvalue()


def blocks(path: Path) -> list[object]:
    with Machine.at(path) as machine:
        return [machine.block_size, *machine.blocks(), machine.parameter("memmap_on_memory")]


def refused(path: Path) -> str:
    """The sentence with which an archive is refused."""
    with pytest.raises(NoMemoryTreeError) as caught:
        Machine.at(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("kind", COMPRESSED)
def test_an_archive_is_read_however_it_is_compressed(
    kind: str, plain: bytes, root: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"case.{kind}"
    path.write_bytes(COMPRESSED[kind](plain))
    assert blocks(path) == blocks(root)


KINDS = {
    tarfile.REGTYPE: "a regular file",
    tarfile.AREGTYPE: "a regular file",
    tarfile.CONTTYPE: "a regular file",
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.DIRTYPE: "a directory",
    tarfile.FIFOTYPE: "a FIFO",
    b"Q": "a device",
}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_read_as_it_was_written_in_every_format(form: int, tmp_path: Path) -> None:
    chance, expected = random.Random(form), []
    with tarfile.open(tmp_path / "x.tar", "w", format=form, pax_headers={"comment": "x"}) as file:
        for count in range(300):
            # ustar has room for 256 bytes of a name if a slash is at the right place.
            parts = chance.choices(["a", "b" * 40, "\u20ac", "c d=e"], k=chance.randrange(1, 6))
            made = tarfile.TarInfo("/".join([*parts, str(count)]))
            made.type = chance.choice(list(KINDS))
            content = chance.randbytes(chance.choice([0, 1, 5, 511, 512, 513, 70_000]))
            has_content = made.isreg() or made.type == b"Q"
            made.size = len(content) if has_content else 0
            if made.islnk() or made.issym():
                made.linkname = chance.choice(["t", "u" * 100, "\u20ac"])
                made.linkname += "/" + "v" * 200 if form != tarfile.USTAR_FORMAT else ""
            file.addfile(made, io.BytesIO(content) if has_content else None)
            kept = content[:600] if made.isreg() else b""
            expected.append((made.name, KINDS[made.type], made.size, kept, made.linkname))
    with open(tmp_path / "x.tar", "rb") as packed:
        assert list(tar.members(packed, lambda name: (name, 600))) == expected


def read_all(data: bytes, end: bytes = bytes(1024)) -> list[tuple[object, ...]]:
    """The members of an archive that is not compressed."""
    return list(tar.members(io.BufferedReader(io.BytesIO(data + end)), lambda name: (name, 9)))


def test_members_are_read_as_other_programs_and_older_ones_write_them() -> None:
    # Before POSIX, a directory was a file with a slash.
    old = with_checksum(header("old", tarfile.AREGTYPE).replace(b"old\0", b"old/"))
    name = header("\udcff")
    # With bytes as signed numbers, as in some old programs.
    signed = name[:148] + b"%06o\0 " % (sum(with_checksum(name, 8 * b" ")) - 256) + name[156:]
    # GNU tar has a time where POSIX has the beginning of a long name.
    timed = with_checksum(name[:345] + b"00000000001\0" + name[357:])
    member = ("\udcff", "a regular file", 0, b"", "")
    assert read_all(old + name + signed + timed) == [
        ("old", "a directory", 0, b"", ""),
        *(3 * [member]),
    ]


def test_an_extended_header_counts_for_one_member_and_a_global_one_for_all() -> None:
    link = header("x", tarfile.SYMTYPE, link="its own")
    members = read_all(
        extended(tarfile.XGLTYPE, b"linkpath=all")
        + header("a", tarfile.SYMTYPE)
        + extended(tarfile.XGLTYPE, b"uname=u")
        + extended(tarfile.XHDTYPE, b"path=b =\xff", b"\xff=") * 2
        + link
        + extended(tarfile.XHDTYPE, b"path=c")
        + extended(tarfile.XHDTYPE, b"linkpath=one")
        + link
        + link
        + extended(tarfile.XHDTYPE, b"size=3")
        + header("file")
        + padded(b"abc")
    )
    assert [(member[0], member[4]) for member in members] == [
        *(("a", "all"), ("b =\udcff", "all"), ("c", "one"), ("x", "all"), ("file", "all")),
    ]
    assert members[-1][1:4] == ("a regular file", 3, b"abc")


def test_a_name_is_no_longer_than_any_path() -> None:
    for length, read in ((4096, True), (4097, False)):
        name = "n" * length
        data = extended(tarfile.XHDTYPE, b"path=" + name.encode()) + header("x") + header("y")
        assert [member[0] for member in read_all(data)] == ([name, "y"] if read else ["y"])


# Damage


def test_a_header_that_is_cut_off_is_none_also_after_one_like_it() -> None:
    with pytest.raises(tar.BrokenArchiveError, match="truncated header"):
        read_all((2 * header("x"))[:-9], end=b"")
    with pytest.raises(tar.BrokenArchiveError, match="empty header"):
        read_all(b"", end=b"")


@pytest.mark.parametrize("kind", COMPRESSED)
def test_an_archive_that_is_cut_off_is_refused(kind: str, plain: bytes, tmp_path: Path) -> None:
    path, data = tmp_path / f"case.{kind}", COMPRESSED[kind](plain)
    # Whatever follows the last member of a plain archive is padding.
    end = len(plain.rstrip(b"\0")) if kind == "tar" else len(data) - 1
    for length in sorted({0, 1, 5, 6, 100, 511, 512, *range(0, end, end // 40), end}):
        path.write_bytes(data[:length])
        assert "not an archive, or a damaged one" in refused(path)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_byte_that_is_wrong_is_found_or_harmless(
    kind: str, plain: bytes, root: Path, tmp_path: Path
) -> None:
    path, data = tmp_path / f"case.{kind}", COMPRESSED[kind](plain)
    expected, chance = blocks(root), random.Random(1)
    for _ in range(150):
        at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        try:
            found = blocks(path)
        except MemoryHotplugError as error:
            assert "\n" not in str(error)
        else:
            # The files in a plain archive have no checksum; a simple one guards their names.
            assert kind == "tar" or found == expected


@pytest.mark.parametrize("option", ["--sysroot", "--diff"])
def test_lsmem_names_the_archive_that_is_damaged(option: str, plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "case.tar.xz"
    path.write_bytes(lzma.compress(plain)[:-9])
    done = run_program("lsmem", option, path)
    assert done.returncode in (1, 2)
    assert str(path) in done.stderr
    assert "damaged" in done.stderr
    assert "Traceback" not in done.stderr


# Harm


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def with_checksum(member: bytes, checksum: bytes = b"") -> bytes:
    """A header that was changed, with the checksum that goes with it."""
    blank = member[:148] + b" " * 8 + member[156:]
    return blank[:148] + (checksum or b"%06o\0 " % sum(blank)) + blank[156:]


def extended(kind: bytes, *said: bytes) -> bytes:
    """A header of pax that says KEY=VALUE of the next member, or of all."""
    text = b"".join(b"%05d " % (len(one) + 7) + one + b"\n" for one in said)
    return header("x", kind, len(text)) + padded(text)


END = b"\0" * 1024
HARMFUL: dict[str, Callable[[], bytes]] = {
    "a long name": lambda: header("x", tarfile.GNUTYPE_LONGNAME, 64 << 20) + b"y" * (64 << 20),
    "a long extended header": lambda: header("x", tarfile.XHDTYPE, 64 << 20) + b"y" * (64 << 20),
    "a global header": lambda: header("x", tarfile.XGLTYPE, 64 << 20) + b"y" * (64 << 20),
    "headers of headers": lambda: (
        3000 * (header("x", tarfile.XHDTYPE, 12) + padded(b"12 path=abc\n"))
    ),
    "a sparse file": lambda: header("sys/x", tarfile.GNUTYPE_SPARSE, 0),
    "a wrong checksum": lambda: header("x").replace(b"x", b"y", 1),
    "a size that is none": lambda: _resized(header("x"), b"0000000000x\0"),
    "a size below 0": lambda: _resized(header("x"), b"\xff" * 12),
    "a size with a minus": lambda: _resized(header("x"), b"-0000000512\0"),
    "a size beyond all": lambda: _resized(header("x"), b"\x80" + b"\x7f" * 11),
    "an extended size": lambda: (
        header("x", tarfile.XHDTYPE, 24) + padded(b"24 size=9999999999999\n\n\n") + header("y")
    ),
    "an extended size that is none": lambda: (
        header("x", tarfile.XHDTYPE, 12) + padded(b"12 size=abc\n") + header("y")
    ),
    "an extended size with very many digits": lambda: (
        header("x", tarfile.XHDTYPE, 5011)
        + padded(b"5011 size=" + b"9" * 5000 + b"\n")
        + header("y")
    ),
    "an extended number": lambda: (
        header("x", tarfile.XHDTYPE, 20) + padded(b"20 mtime=notanumb\n\n\n") + header("y")
    ),
    "a record without its end": lambda: (
        header("x", tarfile.XHDTYPE, 12) + padded(b"12 path=abcd") + header("y")
    ),
    "a record that is cut off": lambda: (
        header("x", tarfile.XHDTYPE, 12) + padded(b"13 path=abc\n") + header("y")
    ),
    "a record without a value": lambda: (
        header("x", tarfile.XHDTYPE, 7) + padded(b"7 path\n") + header("y")
    ),
    "a header that no member follows": lambda: extended(tarfile.XHDTYPE, b"path=abc"),
    "a file that is cut off": lambda: header("x", size=9999),
    "a sparse map": lambda: (
        header("x", tarfile.XHDTYPE, 54)
        + padded(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n9 a=bcde\n\n")
        + header("y", size=512)
        + padded(b"999999999\n")
    ),
    "random bytes": lambda: random.Random(2).randbytes(100_000),
    "nothing but zeros": lambda: b"\0" * 10240,
}


WHY = {
    **dict.fromkeys(["a long name", "a global header"], "it unpacks to too much"),
    "a sparse file": "a sparse file",
    **dict.fromkeys(
        [
            *("a size that is none", "an extended size that is none"),
            "an extended size with very many digits",
        ],
        "not a number in a header",
    ),
    **dict.fromkeys(
        ["a record without its end", "a record that is cut off", "a record without a value"],
        "invalid header",
    ),
    **dict.fromkeys(
        ["a size below 0", "a size with a minus", "a size beyond all", "an extended size"],
        "a member of impossible size",
    ),
    "a wrong checksum": "bad checksum",
    "a header that no member follows": "missing or bad subsequent header",
    "a file that is cut off": "unexpected end of data",
}
"""Of some of them, what is said."""


def _resized(member: bytes, size: bytes) -> bytes:
    """A header with another size, in the binary form, and the checksum that goes with it."""
    return with_checksum(member[:124] + size + member[136:])


@pytest.mark.parametrize("case", HARMFUL)
@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_an_archive_that_was_made_to_harm_is_refused(case: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"case.{kind}"
    path.write_bytes(COMPRESSED[kind](HARMFUL[case]() + END))
    said = refused(path)
    if case in WHY:
        assert said == f"cannot open {path}: not an archive, or a damaged one ({WHY[case]})"


@pytest.mark.parametrize(
    ("name", "kind"),
    [(path_of("state", 0), "tar.gz"), *(("elsewhere", kind) for kind in list(COMPRESSED)[1:])],
)
def test_what_unpacks_to_very_much_takes_little_memory(
    name: str, kind: str, tmp_path: Path
) -> None:
    path, size = tmp_path / f"case.{kind}", 128 << 20
    path.write_bytes(COMPRESSED[kind](header(name, size=size) + b"\0" * size + END))

    done = run_program("lsmem", "-s", path, within=("prlimit", f"--as={size}"))
    assert done.returncode == 1
    assert done.stderr in (
        "lsmem: cannot open /sys/devices/system/memory: No such file or directory\n",
        "lsmem: This system does not support memory blocks\n",
    )


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [
        ("MOST_MEMBERS", 20, "too many members"),
        ("MOST_BYTES", 20_000, "it unpacks to too much"),
    ],
)
def test_an_archive_has_no_end_of_members(
    limit: str, value: int, why: str, plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, limit, value)
    path = tmp_path / "case.tar.gz"
    path.write_bytes(gzip.compress(plain))
    assert refused(path).endswith(f"not an archive, or a damaged one ({why})")


@pytest.mark.parametrize(
    ("limit", "value"),
    [("MOST_MEMBERS", 3), ("MOST_KEPT", 2100), ("MOST_BYTES", 6 * 512 + 3 * 512 + 1024)],
)
def test_a_limit_of_archives_is_the_last_that_is_taken(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = b"".join(header(name, size=700) + b"x" * 1024 for name in "abc") + END
    for most, taken in ((value, True), (value - 1, False)):
        monkeypatch.setattr(tar, limit, most)
        found = tar.members(io.BufferedReader(io.BytesIO(packed)), lambda name: (name, 9999))
        if taken:
            assert [member[3] for member in found] == [b"x" * 700] * 3
        else:
            said = "^(too many members|too large a file, or too many|it unpacks to too much)$"
            with pytest.raises(tar.BrokenArchiveError, match=said):
                list(found)


def test_what_nobody_reads_is_not_kept(plain: bytes, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "case.tar"
    members = b"".join(
        header(f"case/sys/kernel/{n}/notes", size=3) + padded(b"abc") for n in range(999)
    )
    path.write_bytes(members + header("case/sys/x", size=3 << 20) + b"\0" * (3 << 20) + plain)
    assert blocks(path) == blocks(root)
    with pytest.raises(FileNotFoundError):
        archive_module.ArchiveTree(str(path)).names("sys/kernel")


# What is in it


def packed(
    path: Path, root: Path, change: Callable[[tarfile.TarFile], None], *without: Path
) -> Path:
    """An archive of the tree but for some of its parts, with members of its own."""

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if Path(member.name).relative_to("case") in without else member

    with tarfile.open(path, "w") as file:
        file.add(root, "case", filter=keep)
        change(file)
    return path


def member(file: tarfile.TarFile, name: Path | str, kind: bytes, link: str = "") -> None:
    made = tarfile.TarInfo(f"case/{name}")
    made.type, made.linkname = kind, link
    file.addfile(made)


STATE = Path(path_of(Attribute.STATE, 1))


def with_state(tmp_path: Path, root: Path, kind: bytes, link: str) -> Path:
    """An archive of the tree in which a member of this kind is in the place of a block's state."""
    path = tmp_path / "case.tar"
    return packed(path, root, lambda file: member(file, STATE, kind, link), STATE)


def test_links_in_an_archive_are_followed_while_they_stay_in_it(root: Path, tmp_path: Path) -> None:
    def change(file: tarfile.TarFile) -> None:
        file.add(root / MEMORY / "memory1", "case/sys/there")
        member(file, MEMORY / "memory1", tarfile.SYMTYPE, "../../../there")
        member(file, FIRMWARE / "memory1/config", tarfile.SYMTYPE, "..//memory0/./config")
        file.add(root / NODE, "case/sys/nodes")
        member(file, NODE, tarfile.SYMTYPE, "../../nodes/")

    path = tmp_path / "case.tar"
    without = (MEMORY / "memory1", FIRMWARE / "memory1/config", NODE)
    assert blocks(packed(path, root, change, *without)) == blocks(root)


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../../etc/hostname", "/sys/x"])
def test_links_out_of_an_archive_are_not_followed(target: str, root: Path, tmp_path: Path) -> None:
    path = with_state(tmp_path, root, tarfile.SYMTYPE, target)
    with Machine.at(path) as machine:
        table = machine.read(["state"])
    assert [remark.reason for remark in table.remarks] == ["a symbolic link leads out of the tree"]
    assert [remark.blocks for remark in table.remarks] == [(1,)]


@pytest.mark.parametrize(
    ("target", "number"),
    [("/etc/hostname", errno.EXDEV), ("../../../../../../x", errno.EXDEV), ("state", errno.ELOOP)],
)
def test_a_link_that_cannot_be_followed_is_an_error_that_names_the_file(
    target: str, number: int, root: Path, tmp_path: Path
) -> None:
    path = with_state(tmp_path, root, tarfile.SYMTYPE, target)
    with Machine.at(path) as machine, pytest.raises(OSError) as caught:
        machine.tree.read(str(STATE))
    assert (caught.value.errno, caught.value.filename) == (number, str(STATE))


SAID = {
    tarfile.FIFOTYPE: "a FIFO, not a regular file",
    tarfile.CHRTYPE: "a device, not a regular file",
    tarfile.BLKTYPE: "a device, not a regular file",
    tarfile.DIRTYPE: "a directory, not a regular file",
}


@pytest.mark.parametrize("kind", SAID, ids=["FIFO", "chr", "blk", "dir"])
@pytest.mark.parametrize("name", ["state", "zones", "configured", "memmap_on_memory"])
def test_what_is_no_file_in_an_archive_is_unknown_with_a_remark(
    name: str, kind: bytes, root: Path, tmp_path: Path
) -> None:
    where = Path(path_of(name, 1))
    path = packed(tmp_path / "case.tar", root, lambda file: member(file, where, kind), where)
    with Machine.at(path) as machine:
        (remark,) = machine.read([name]).remarks
    assert (remark.blocks, remark.attribute, remark.reason) == ((1,), name, SAID[kind])


def test_an_archive_of_nothing_has_an_empty_root(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "case.tar", "w"):
        pass
    assert archive_module.ArchiveTree(str(tmp_path / "case.tar")).names("") == []


@pytest.mark.parametrize(("text", "told"), [("", ""), ("x", " (x)")])
def test_an_error_without_a_text_is_told_without_one(
    text: str, told: str, plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise EOFError(text)

    (file := tmp_path / "case.tar").write_bytes(plain)
    monkeypatch.setattr(tar, "_unpacked", broken)
    with pytest.raises(OSError) as caught:
        ArchiveTree(str(file))
    assert caught.value.errno == errno.EINVAL
    assert caught.value.strerror == f"not an archive, or a damaged one{told}"


def test_a_hard_link_to_what_is_not_there_is_no_file(root: Path, tmp_path: Path) -> None:
    path = with_state(tmp_path, root, tarfile.LNKTYPE, "/etc/hostname")
    with Machine.at(path) as machine:
        assert machine.read(["state"]).columns["state"][1].value == "unknown"


def test_a_link_that_goes_round_in_an_archive_ends(root: Path, tmp_path: Path) -> None:
    path = packed(
        tmp_path / "case.tar",
        root,
        lambda file: member(file, STATE, tarfile.SYMTYPE, "state"),
        STATE,
    )
    with Machine.at(path) as machine:
        (remark,) = machine.read(["state"]).remarks
    assert remark.reason == "Too many levels of symbolic links"


@pytest.mark.parametrize(("links", "state"), [(39, "online"), (40, "unknown")])
def test_as_many_links_of_an_archive_are_followed_as_by_the_kernel(
    links: int, state: str, root: Path, tmp_path: Path
) -> None:
    def change(file: tarfile.TarFile) -> None:
        for number in range(1, links):
            member(file, STATE.with_name(f"link{number}"), tarfile.SYMTYPE, f"link{number + 1}")
        member(file, STATE.with_name(f"link{links}"), tarfile.SYMTYPE, "../memory0/state")
        member(file, STATE, tarfile.SYMTYPE, "link1")

    path = packed(tmp_path / "case.tar", root, change, STATE)
    with Machine.at(path) as machine:
        assert machine.block(1).state.value == state


@pytest.mark.parametrize("what", ["fifo", "/dev/null", "/dev/zero", "."])
def test_what_is_no_file_is_no_archive(what: str, tmp_path: Path) -> None:
    path = tmp_path / what
    if what == "fifo":
        os.mkfifo(path)
    refused(path)


def test_an_archive_that_needs_much_memory_is_refused(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "case.tar.xz"
    # Unpacking makes room for the whole dictionary at once.
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]
    path.write_bytes(lzma.compress(plain, filters=filters))
    assert "Memory usage limit exceeded" in refused(path)


@pytest.mark.parametrize("between", [b"", bytes(4), bytes(1 << 17)])
def test_the_streams_of_xz_follow_one_another(between: bytes, plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "case.tar.xz"
    half = len(plain) // 2 + 5
    streams = [lzma.compress(part) for part in (plain[:half], plain[half:])]
    path.write_bytes(streams[0] + between + streams[1] + between)
    with Machine.at(path) as machine:
        assert machine.block(0).state.value == "online"


def test_a_python_without_lzma_reads_what_xz_has_not_packed(
    plain: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gzipped, xz = tmp_path / "a.tar.gz", tmp_path / "a.tar.xz"
    gzipped.write_bytes(gzip.compress(plain))
    xz.write_bytes(lzma.compress(plain))
    monkeypatch.setitem(sys.modules, "lzma", None)
    with Machine.at(gzipped) as machine:
        assert machine.block(0).state.value == "online"
    with pytest.raises(MemoryHotplugError, match="this Python has no lzma"):
        Machine.at(xz)


def test_the_errors_of_an_archive_name_what_they_are_about(plain: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(plain)
    with Machine.at(file) as machine:
        tree = machine.tree
        for path, code in ((str(MEMORY), errno.EMEDIUMTYPE), (f"{MEMORY}/none", errno.ENOENT)):
            with pytest.raises(OSError) as caught:
                tree.read(path)
            assert (caught.value.errno, caught.value.filename) == (code, path)
        for path, code in ((f"{MEMORY}/block_size_bytes", errno.ENOTDIR), ("no", errno.ENOENT)):
            with pytest.raises(OSError) as caught:
                tree.names(path)
            assert (caught.value.errno, caught.value.filename) == (code, path)
        refusal = tree.refusal(f"{MEMORY}/memory0/state")
    assert refusal is not None
    assert (refusal.errno, refusal.filename) == (errno.EROFS, f"{file}/{MEMORY}/memory0/state")
    file.write_bytes(plain[:700])
    with pytest.raises(OSError, match="not an archive, or a damaged one") as caught:
        ArchiveTree(str(file))
    assert caught.value.filename == str(file)


def test_an_archive_for_which_memory_runs_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    (file := tmp_path / "a.tar").write_bytes(bytes(10240))
    monkeypatch.setattr(tar, "_unpacked", exhausted)
    with pytest.raises(OSError, match="Cannot allocate memory") as caught:
        ArchiveTree(str(file))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOMEM, str(file))
