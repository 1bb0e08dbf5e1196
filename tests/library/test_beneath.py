"""Opening files below a directory, and no others."""

import errno
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from safe_files.beneath import (
    check_regular,
    check_writable,
    directory_above,
    open_beneath,
)
from safe_files.errors import IrregularError
from safe_files.linkless import Beneath, read_file

READING = os.O_RDONLY | os.O_NONBLOCK


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a file and a subdirectory, beside a file that is not to be reached."""
    root = tmp_path / "root"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/sub/file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return root


@pytest.fixture
def at(place: Path) -> Iterator[int]:
    """A descriptor of that directory; the test leaves no other one open."""
    descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY)
    before = os.listdir("/proc/self/fd")
    yield descriptor
    assert os.listdir("/proc/self/fd") == before
    os.close(descriptor)


def read(at: int, place: Path, path: str) -> str:
    file = open_beneath(at, str(place), path, READING)
    try:
        return os.read(file, 100).decode()
    finally:
        os.close(file)


@pytest.mark.parametrize(
    "path",
    ["dir/sub/file", "dir/./sub/../sub//file", "dir/../dir/sub/file", "./dir/sub/file"],
)
def test_a_file_is_found_by_any_path_that_stays_inside(path: str, at: int, place: Path) -> None:
    assert read(at, place, path) == "inside"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("link", "dir/sub/file"),
        ("link", "dir/./../dir/sub/file"),
        ("link", "dir//../dir/sub/file"),
        ("dir/link", "sub/file"),
        ("dir/link", "../dir/sub/file"),
        ("dir/sub/link", "../../link"),
        ("dir/sub/link", "{root}/dir/sub/file"),
    ],
)
def test_a_link_that_stays_inside_is_followed(link: str, target: str, at: int, place: Path) -> None:
    (place / "link").symlink_to("dir/sub/file")
    (place / link).unlink(missing_ok=True)
    (place / link).symlink_to(target.format(root=place))
    assert read(at, place, link) == "inside"
    assert read(at, place, f"dir/../{link}") == "inside"


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("link", "../secret"),
        ("link", "dir/../../secret"),
        ("link", "dir/../../root/../secret"),
        ("link", "{root}/../secret"),
        ("link", "{root}-not/secret"),
        ("dir/link", "/etc/passwd"),
        ("dir/link", "../../secret"),
    ],
)
def test_a_link_that_leads_out_is_not(link: str, target: str, at: int, place: Path) -> None:
    Path(f"{place}-not").mkdir()
    Path(f"{place}-not/secret").write_text("outside")
    (place / link).symlink_to(target.format(root=place))
    assert (place / link).read_text() != "inside"
    with pytest.raises(OSError, match="a symbolic link leads out of the tree") as caught:
        read(at, place, link)
    assert (caught.value.errno, caught.value.filename) == (errno.EXDEV, link)


@pytest.mark.parametrize("path", ["..", "../secret", "dir/../../secret"])
def test_neither_is_a_path_that_leads_out(path: str, at: int, place: Path) -> None:
    with pytest.raises(OSError, match="leads out of the tree") as caught:
        read(at, place, path)
    assert (caught.value.errno, caught.value.filename) == (errno.EXDEV, path)


def test_as_many_links_are_followed_as_by_the_kernel(at: int, place: Path) -> None:
    (place / "link1").symlink_to("dir/sub/file")
    for number in range(2, 42):
        (place / f"link{number}").symlink_to(f"link{number - 1}")
    assert read(at, place, "link40") == (place / "link40").read_text() == "inside"
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)) as caught:
        read(at, place, "link41")
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, "link41")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        (place / "link41").read_text()


@pytest.mark.parametrize("path", ["dir", "dir/", "dir/.", "dir/sub/..", "link", "link/"])
def test_a_directory_is_opened_by_any_path(path: str, at: int, place: Path) -> None:
    (place / "link").symlink_to("dir")
    opened = open_beneath(at, str(place), path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.path.samestat(os.fstat(opened), os.stat(place / "dir"))
        assert os.listdir(opened) == ["sub"]
    finally:
        os.close(opened)


def test_a_path_of_a_link_can_be_opened_without_reading(at: int, place: Path) -> None:
    (place / "link").symlink_to("dir/sub/file")
    opened = open_beneath(at, str(place), "link", os.O_PATH)
    try:
        assert os.path.samestat(os.fstat(opened), os.stat(place / "dir/sub/file"))
    finally:
        os.close(opened)


@pytest.mark.parametrize("path", ["none", "dir/none", "dangling", "dir/sub/file/x"])
def test_what_is_not_there_has_the_kernels_error(path: str, at: int, place: Path) -> None:
    (place / "dangling").symlink_to("dir/none")
    with pytest.raises((FileNotFoundError, NotADirectoryError)) as expected:
        (place / path).read_text()
    with pytest.raises((FileNotFoundError, NotADirectoryError)) as caught:
        read(at, place, path)
    assert caught.value.errno == expected.value.errno


@pytest.mark.parametrize("path", ["", "file", "dir/", "dir/..", "dir/../x/y", "dir//file", "./a"])
def test_the_directory_above_needs_a_plain_path(path: str, at: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
        directory_above(at, path)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, path)


def test_the_directory_above_is_found_without_links(at: int, place: Path) -> None:
    (place / "link").symlink_to("dir")
    opened, name = directory_above(at, "dir/sub/file")
    try:
        assert os.path.samestat(os.fstat(opened), os.stat(place / "dir/sub"))
        assert name == "file"
    finally:
        os.close(opened)
    for path in ("link/sub/file", "dir/sub/file/x"):
        with pytest.raises(NotADirectoryError):
            directory_above(at, path)


def test_what_is_not_a_regular_file_is_named(place: Path) -> None:
    os.mkfifo(place / "fifo")
    (place / "link").symlink_to("dir")
    kinds = {
        "fifo": "a FIFO, not a regular file",
        "dir": "a directory, not a regular file",
        "link": "a symbolic link, not a regular file",
    }
    for name, reason in kinds.items():
        with pytest.raises(OSError, match=reason) as caught:
            check_regular(os.lstat(place / name), f"the/{name}")
        assert caught.value.errno == errno.EMEDIUMTYPE
        assert (caught.value.strerror, caught.value.filename) == (reason, f"the/{name}")
    # Some file systems have kinds of their own.
    odd = os.stat_result((0o100, *os.stat(place)[1:]))
    with pytest.raises(OSError, match="something else, not a regular file"):
        check_regular(odd, "a")
    with pytest.raises(OSError, match="a character device"):
        check_regular(os.stat("/dev/null"), "a")


def test_a_file_with_another_name_is_not_written_to(place: Path) -> None:
    file = place / "dir/sub/file"
    check_writable(os.stat(file), "the/file")
    (place / "other").hardlink_to(file)
    with pytest.raises(OSError, match="other names") as caught:
        check_writable(os.stat(file), "the/file")
    assert (caught.value.errno, caught.value.filename) == (errno.EMLINK, "the/file")
    check_writable(os.stat(file), "the/file", shared=True)
    (place / "link").symlink_to("other")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)) as caught:
        check_writable(os.lstat(place / "link"), "the/link", shared=True)
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, "the/link")
    with pytest.raises(OSError, match="a directory") as caught:
        check_writable(os.stat(place), "the/place", shared=True)
    assert caught.value.filename == "the/place"


@pytest.mark.parametrize(
    ("expected", "found", "number"),
    [
        ("a directory", "a regular file", errno.ENOTDIR),
        ("a directory", "a symbolic link", errno.ELOOP),
        ("a regular file", "a FIFO", errno.ENXIO),
    ],
)
def test_the_error_about_another_kind_has_a_number_and_can_be_pickled(
    expected: str, found: str, number: int
) -> None:
    error = IrregularError("/x", expected, found)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert (one.errno, str(one)) == (
            number,
            f"[Errno {number}] expected {expected}, not {found}: '/x'",
        )
        assert (one.expected, one.found) == (expected, found)


@pytest.mark.parametrize(
    ("use", "number", "path"),
    [
        (lambda files: files.kind("dir/sub/file/x"), errno.ENOTDIR, "dir/sub/file"),
        (lambda files: files.kind("dir/."), errno.EINVAL, "dir/."),
        (lambda files: files.kind("dir/.."), errno.EINVAL, "dir/.."),
        (lambda files: files.kind("dir/"), errno.EINVAL, "dir/"),
        (lambda files: files.listdir("none"), errno.ENOENT, "none"),
        (lambda files: files.directory("dir/none"), errno.ENOTDIR, "dir/none"),
        (lambda files: files.directory("dir/sub/file"), errno.ENOTDIR, "dir/sub/file"),
        (lambda files: files.directory("dir/link"), errno.ELOOP, "dir/link"),
        (lambda files: files.readlink("dir/sub"), errno.EINVAL, "dir/sub"),
        (lambda files: files.read("dir/none", 9), errno.ENOENT, "dir/none"),
        (lambda files: files.read("none/x/y", 9), errno.ENOENT, "none"),
        (lambda files: files.read("dir/link", 9), errno.ELOOP, "dir/link"),
        (lambda files: files.read("dir/fifo", 9), errno.ENXIO, "dir/fifo"),
        (lambda files: files.read("dir/sub/file", 5), errno.ENXIO, "dir/sub/file"),
        (lambda files: files.open("dir/sub", os.O_WRONLY), errno.ENXIO, "dir/sub"),
        (lambda files: files.open("dir/fifo", os.O_WRONLY), errno.ENXIO, "dir/fifo"),
        (lambda files: files.create("dir/sub/file", b"", 0o600), errno.EEXIST, "dir/sub/file"),
        (lambda files: files.mkdir("dir/sub"), errno.EEXIST, "dir/sub"),
        (lambda files: files.symlink("x", "dir/sub"), errno.EEXIST, "dir/sub"),
        (lambda files: files.rename("dir/sub", "dir/fifo"), errno.ENOTDIR, "dir/fifo"),
        (lambda files: files.unlink("dir/none"), errno.ENOENT, "dir/none"),
        (lambda files: files.remove_tree("dir/fifo"), errno.ENOTDIR, "dir/fifo"),
    ],
)
def test_an_error_names_the_whole_path(
    use: Callable[[Beneath], object], number: int, path: str, place: Path
) -> None:
    (place / "dir/link").symlink_to("sub")
    os.mkfifo(place / "dir/fifo")
    before = len(os.listdir("/proc/self/fd"))
    with Beneath(str(place)) as files, pytest.raises(OSError) as caught:
        use(files)
    assert (caught.value.errno, caught.value.filename) == (number, f"{place}/{path}")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_was_replaced_is_opened_anew(place: Path) -> None:
    (place / "other").mkdir()
    (place / "other/new").touch()
    with Beneath(str(place)) as files:
        files.read("dir/sub/file", 6)
        files.rename("dir", "away")
        files.rename("other", "dir")
        assert files.listdir("dir") == ["new"]
        files.remove_tree("dir")
        files.remove_tree("dir")
        assert files.kind("dir/new") is None
        assert files.read("away/sub/file", 6) == b"inside"
        before = len(os.listdir("/proc/self/fd"))
        for number in range(40):
            files.mkdir(f"dir{number}")
            files.create(f"dir{number}/file", b"%d" % number, 0o600)
        # Few of so many stay open.
        assert len(os.listdir("/proc/self/fd")) < before + 20
        assert files.read("dir0/file", 1) == b"0"
        assert files.kind("dir0") == "dir"


def test_a_directory_in_the_place_of_an_open_one_is_opened_anew(place: Path) -> None:
    (place / "other").mkdir()
    (place / "other/new").touch()
    (place / "empty").mkdir()
    with Beneath(str(place)) as files:
        assert files.listdir("empty") == []
        files.rename("other", "empty")
        assert files.listdir("empty") == ["new"]


def test_a_file_is_read_through_links_up_to_a_length(place: Path) -> None:
    (place / "link").symlink_to("dir/sub/file")
    assert read_file(place / "link", len("inside")) == b"inside"
    for path, most, expected, found in (
        ("link", 5, "5 bytes at most", "more"),
        ("dir", 9, "a regular file", "a directory"),
        ("/dev/null", 9, "a regular file", "a character device"),
    ):
        with pytest.raises(IrregularError) as caught:
            read_file(place / path, most)
        assert (caught.value.expected, caught.value.found) == (expected, found)
        assert caught.value.filename == str(place / path)
