"""Fetch a kernel and programs for s390x from Debian's archive, with apt.

apt uses a directory of its own in the cache, so that sources, indices and packages of this machine
do not change. It verifies the signatures of the indices with Debian's keys, and the packages with
the checksums in the indices. No package is installed: they are unpacked into the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR: Final = "http://deb.debian.org/debian"
"""The mirror to use if apt of this machine has none."""

PROGRAMS: Final = ("apt-get", "apt-cache", "dpkg-deb")


class Wanted(NamedTuple):
    """A package, the release of Debian to take it from, and the part that it belongs to."""

    package: str
    suite: str
    part: str


KERNEL: Final = Wanted("linux-image-s390x", "sid", "kernel")
"""This package depends on the newest kernel. Memory can be configured in /sys since 6.19."""

USERLAND: Final = (
    *(
        Wanted(name, "bookworm", "userland")
        for name in (
            "busybox-static",
            "libacl1",
            "libblkid1",
            "libcap2",
            "libexpat1",
            "libffi8",
            "libgcc-s1",
            "libkmod2",
            "liblzma5",
            "libpcre2-8-0",
            "libpython3.11-minimal",
            "libpython3.11-stdlib",
            "libselinux1",
            "libssl3",
            "libtinfo6",
            "libuuid1",
            "libzstd1",
            "python3.11-minimal",
            "udev",
            "zlib1g",
        )
    ),
    # util-linux's lsmem and chmem, and the C library that they need; older programs run on it, too.
    *(Wanted(name, "sid", "userland") for name in ("libc6", "libsmartcols1", "util-linux-extra")),
)

ALL: Final = (KERNEL, *USERLAND)


class FetchError(Exception):
    """A package cannot be fetched; the text is the message for the user."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The fetched packages, unpacked into a directory for each part."""

    directory: Path
    packages: tuple[str, ...]
    """The names of the packages' files, which include versions."""
    digest: str
    """A hash of the contents of the packages."""

    @property
    def userland(self) -> Path:
        """The directory with Python, busybox, util-linux's programs, and their libraries."""
        return self.directory / "userland"

    @property
    def kernel(self) -> Path:
        """The kernel's image. Raises FetchError if the package has none."""
        return _image(self.directory)


def cache() -> Path:
    """The directory for packages, file systems and saved guests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "memory-hotplug-tools" / "lpar"


def fetched(directory: Path) -> Artifacts | None:
    """The packages that were fetched into a directory; None if some are missing."""
    try:
        record = json.loads((directory / "fetched.json").read_text())
    except (OSError, ValueError):
        return None
    if record["wanted"] != _wanted():
        return None
    return Artifacts(directory, tuple(record["packages"]), record["digest"])


def fetch(directory: Path, tell: Callable[[str], object]) -> Artifacts:
    """Fetch all packages into a directory, unless they are there. Raises FetchError.

    `tell` is called with lines about the progress.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise FetchError(
            f"fetching needs {', '.join(missing)}: packages come from Debian's archive by apt"
        )
    if not KEYRING.exists():
        raise FetchError("fetching needs Debian's keys: apt-get install debian-archive-keyring")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with alone(directory.with_name(f"{directory.name}.lock")):
        there = fetched(directory)
        if there is not None:
            return there
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=directory.parent) as temporary:
            new = Path(temporary) / "new"
            _fetch_into(new, _Apt(Path(temporary) / "apt"), tell)
            shutil.rmtree(directory, ignore_errors=True)
            new.rename(directory)
    there = fetched(directory)
    assert there is not None
    return there


def _fetch_into(directory: Path, apt: _Apt, tell: Callable[[str], object]) -> None:
    tell(f"reading the indices of {apt.mirror} for s390x")
    apt.run("apt-get", "update")
    kernel = Wanted(_kernel_package(apt), KERNEL.suite, KERNEL.part)
    digest, names = hashlib.sha256(), []
    for part, packages in ((kernel.part, (kernel,)), ("userland", USERLAND)):
        tell(f"fetching {part}: {', '.join(wanted.package for wanted in packages)}")
        (directory / part).mkdir(parents=True)
        for file in apt.download(packages):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
            names.append(file.name)
            _run(["dpkg-deb", "-x", str(file), str(directory / part)])
            file.unlink()
    _image(directory)
    record = {"wanted": _wanted(), "packages": sorted(names), "digest": digest.hexdigest()}
    (directory / "fetched.json").write_text(json.dumps(record, indent=1))


def _image(directory: Path) -> Path:
    images = sorted((directory / "kernel").glob("**/vmlinuz*"))
    if not images:
        raise FetchError(f"{directory}/kernel: the kernel's package has no vmlinuz")
    return images[-1]


def _wanted() -> list[list[str]]:
    return [list(wanted) for wanted in ALL]


def _kernel_package(apt: _Apt) -> str:
    """The package with the kernel image, on which the package KERNEL depends."""
    listing = apt.run("apt-cache", "depends", "--no-recommends", KERNEL.package)
    match = re.search(r"Depends: linux-image-(\S*\d\S*)", listing)
    if match is None:
        raise FetchError(f"{KERNEL.package} depends on no kernel: {listing.strip()}")
    # Since Linux 7 the image is in the package linux-binary, and linux-image only installs it
    # (Debian's changelog).
    names = [f"{kind}-{match[1]}" for kind in ("linux-binary", "linux-image")]
    for name in names:
        if apt.run("apt-cache", "search", "--names-only", f"^{re.escape(name)}$"):
            return name
    raise FetchError(f"the archive has neither {' nor '.join(names)}")


class _Apt:
    """apt with its own root directory, for s390x."""

    def __init__(self, root: Path) -> None:
        self.mirror = _mirror()
        for name in ("lists/partial", "archives/partial"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        self._downloads = root / "downloads"
        self._downloads.mkdir()
        suites = dict.fromkeys(wanted.suite for wanted in ALL)
        (root / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {self.mirror} {suite} main\n" for suite in suites)
        )
        options = {
            "APT::Architecture": "s390x",
            "APT::Architectures": "s390x",
            # Without its sandbox, apt accepts a directory of any user. No download is run here.
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            # The copy of sid on a mirror may be out of date; its signature is still checked.
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "Dir::State::lists": f"{root}/lists",
            "Dir::State::status": f"{root}/status",
            "Dir::Cache": str(root),
            "Dir::Cache::archives": f"{root}/archives",
            "Dir::Etc::sourcelist": f"{root}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "pkgCacheFile::Generate": "true",
        }
        self._options = [
            word for key, value in options.items() for word in ("-o", f"{key}={value}")
        ]

    def run(self, program: str, *arguments: str) -> str:
        """The output of a program of apt. Raises FetchError with its last error message."""
        return _run([program, "-q", *self._options, *arguments], self._downloads)

    def download(self, wanted: Iterable[Wanted]) -> list[Path]:
        """A context with the files of packages in a temporary directory."""
        self.run("apt-get", "download", *(f"{w.package}/{w.suite}" for w in wanted))
        return sorted(self._downloads.glob("*.deb"))


def _mirror() -> str:
    """The mirror of Debian that apt of this machine uses, else MIRROR."""
    form = "$(REPO_URI) $(ORIGIN) $(LABEL)"
    with contextlib.suppress(FetchError):
        listing = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
        for line in listing.splitlines():
            uri, _, origin = line.partition(" ")
            if origin == "Debian Debian":
                return uri.rstrip("/")
    return MIRROR


def _run(command: list[str], directory: Path | None = None) -> str:
    environment: dict[str, Any] = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line[:2] in ("E:", "W:")]
        reason = (said or done.stderr.splitlines() or [f"exit status {done.returncode}"])[0]
        raise FetchError(f"{command[0]}: {reason.removeprefix('E: ')}")
    return done.stdout


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """A context that holds a lock on this file; other processes wait."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
