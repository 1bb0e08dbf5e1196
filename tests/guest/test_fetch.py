"""What memsim boot --fetch takes from an archive, and what it keeps."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guest import fetch
from guest.apt import FetchError
from guest.arch import ARCHES, Arch, host
from guest.bytecode import interpreter
from static_tree import put

pytestmark = pytest.mark.needs("apt-get", "debian-archive-keyring")

X86, RISCV, S390 = (ARCHES[name] for name in ("x86_64", "riscv64", "s390x"))

RELEASE = "9.9.1"
NEW = {
    f"linux-binary-{RELEASE}": {f"usr/lib/modules/{RELEASE}/vmlinuz": "kernel"},
    f"linux-modules-{RELEASE}": {f"usr/lib/modules/{RELEASE}/kernel/x.ko": "module"},
    f"linux-base-{RELEASE}": {f"usr/lib/modules/{RELEASE}/modules.builtin": ""},
    f"linux-image-{RELEASE}": {},
}
"""The packages of a kernel since Linux 7, and their files."""
OLD = {
    f"linux-image-{RELEASE}": {
        f"boot/vmlinuz-{RELEASE}": "kernel",
        f"lib/modules/{RELEASE}/modules.builtin": "",
    }
}


class Archive:
    """An archive of Debian, without a signature."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"file:{directory}"
        (directory / "pool").mkdir(parents=True)

    def package(self, name: str, files: dict[str, str]) -> Path:
        """A package's file."""
        tree = self.directory / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: M <m@m>\n"
        (tree / "DEBIAN/control").write_text(f"{control}Description: made\n")
        for path, text in files.items():
            put(tree, path, text)
        made = self.directory / f"pool/{name}.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, made],
            check=True,
            capture_output=True,
        )
        shutil.rmtree(tree)
        return made

    def suite(self, suite: str, architecture: str, packages: dict[str, tuple[Path, str]]) -> None:
        """The index of a release for an architecture: names, files, dependences."""
        index = "".join(
            f"Package: {name}\nVersion: 1\nArchitecture: {architecture}\n"
            + (f"Depends: {needs}\n" if needs else "")
            + f"Filename: pool/{file.name}\nSize: {file.stat().st_size}\n"
            f"SHA256: {hashlib.sha256(file.read_bytes()).hexdigest()}\nDescription: made\n\n"
            for name, (file, needs) in packages.items()
        )
        place = self.directory / f"dists/{suite}"
        part = f"main/binary-{architecture}/Packages"
        put(place, part, index)
        lines = [
            f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} "
            f"{file.relative_to(place)}\n"
            for file in sorted(place.rglob("Packages"))
        ]
        architectures = " ".join(file.parent.name[7:] for file in sorted(place.rglob("Packages")))
        (place / "Release").write_text(
            f"Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\n"
            f"Components: main\nArchitectures: {architectures}\n"
            f"Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n{''.join(lines)}"
        )

    def fill(self, arch: Arch, kernel: dict[str, dict[str, str]], release: str = "sid") -> None:
        """All that a guest of an architecture consists of."""
        files = {name: self.package(name, contents) for name, contents in kernel.items()}
        image = f"linux-image-{arch.flavours[release]}"
        some = self.package("some", {"usr/bin/some": "some"})
        of_kernel = {name: (file, "") for name, file in files.items()}
        of_kernel[image] = (some, f"linux-image-{RELEASE}")
        wanted = fetch._programs(arch)
        suites = {(each.suite, each.architecture) for each in wanted} | {(release, arch.debian)}
        for suite, architecture in sorted(suites):
            there = {
                each.package: (some, "")
                for each in wanted
                if (each.suite, each.architecture) == (suite, architecture)
            }
            if (suite, architecture) == (release, arch.debian):
                there |= of_kernel
            self.suite(suite, architecture, there)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An empty archive, and apt and a cache that are not this machine's."""
    (tmp_path / "apt.conf").write_text(
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Archive(tmp_path / "archive")


def get(arch: Arch, archive: Archive, release: str | None = "sid") -> list[str]:
    """Fetch; the lines that are told."""
    told: list[str] = []
    fetch.fetch_missing(arch, release, told.append, archive.url)
    return told


def test_a_kernel_since_linux_7_comes_with_its_modules(archive: Archive) -> None:
    archive.fill(X86, NEW)
    told = get(X86, archive)
    assert "fetching kernel-and-modules: " + ", ".join(list(NEW)[:3]) in told
    kernel, programs = fetch.kernel(X86, "sid"), fetch.userland(X86)
    assert kernel is not None
    assert programs is not None
    assert kernel.image.read_text() == "kernel"
    assert kernel.modules == kernel.image.parent
    assert (programs.root / "usr/bin/some").exists()


def test_fetch_knows_an_older_kernel_that_is_one_package(archive: Archive) -> None:
    archive.fill(X86, OLD, "bookworm")
    get(X86, archive, "bookworm")
    kernel = fetch.kernel(X86, "bookworm")
    assert kernel is not None
    assert (kernel.image.name, kernel.image.read_text()) == (f"vmlinuz-{RELEASE}", "kernel")
    assert kernel.modules == kernel.directory / f"kernel-and-modules/lib/modules/{RELEASE}"
    assert fetch.kernel(X86, "sid") is None


def test_where_all_is_built_in_the_image_alone_is_fetched(archive: Archive) -> None:
    archive.fill(S390, NEW)
    assert f"fetching kernel: linux-binary-{RELEASE}" in get(S390, archive)
    kernel = fetch.kernel(S390, "sid")
    assert kernel is not None
    assert kernel.modules is None


def test_what_is_there_is_not_fetched_again(archive: Archive) -> None:
    archive.fill(X86, NEW)
    get(X86, archive)
    shutil.rmtree(archive.directory)
    assert get(X86, archive) == []
    # Another release needs its kernel alone, but that.
    with pytest.raises(FetchError):
        get(X86, archive, "bookworm")


def test_a_kernel_of_ones_own_needs_the_programs_alone(archive: Archive) -> None:
    archive.fill(X86, {})
    assert not [line for line in get(X86, archive, None) if line.startswith("fetching kernel")]
    assert fetch.userland(X86) is not None


def test_what_is_missing_in_the_archive_leaves_nothing_half_done(archive: Archive) -> None:
    archive.fill(X86, NEW)
    (archive.directory / "pool/some.deb").unlink()
    with pytest.raises(FetchError):
        get(X86, archive)
    assert fetch.userland(X86) is None
    kept = [path.name for path in fetch.cache().iterdir()]
    assert not [name for name in kept if name.startswith(("fetch-", "userland"))]


def test_a_python_that_this_machine_has_not_is_fetched_for_it(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """riscv64 has the Python of a newer Debian than the others; this machine may have either."""
    newer = sys.version_info[:2] == (3, 13)
    arch, version = (ARCHES["aarch64"], "3.11") if newer else (RISCV, "3.13")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("apt-get", "apt-cache", "dpkg-deb", "dpkg", "tar", "sh", "rm"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(programs))
    interpreter.cache_clear()
    try:
        names = {(each.package, each.architecture) for each in fetch._programs(arch)}
        mine = ARCHES[host()].debian
        assert (f"python{version}-minimal", mine) in names
        archive.fill(arch, NEW)
        get(arch, archive)
        programs_there = fetch.userland(arch)
        assert programs_there is not None
        assert (programs_there.compiler / "usr/bin/some").exists()
    finally:
        interpreter.cache_clear()
    assert os.environ["PATH"] == str(programs)
