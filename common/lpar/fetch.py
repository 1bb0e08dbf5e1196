"""Fetch a kernel and programs for s390x from Debian's archive.

No package is installed: they are unpacked into the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lpar.apt import Apt, FetchError, archive, run


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


def fetch_kernel(
    directory: Path, tell: Callable[[str], object], mirror: str | None = None
) -> Artifacts:
    """Fetch all packages into a directory, unless they are there. Raises FetchError.

    `tell` is called with lines about the progress. `mirror` is the address of the archive; without
    it, it is one of apt's sources on this machine.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with alone(directory.with_name(f"{directory.name}.lock")):
        there = fetched(directory)
        if there is not None:
            return there
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=directory.parent) as temporary:
            new = Path(temporary) / "new"
            suites = list(dict.fromkeys(wanted.suite for wanted in ALL))
            apt = archive(Path(temporary) / "apt", suites, "s390x", mirror, tell)
            _fetch_into(new, apt, tell)
            shutil.rmtree(directory, ignore_errors=True)
            new.rename(directory)
    there = fetched(directory)
    assert there is not None
    return there


def _fetch_into(directory: Path, apt: Apt, tell: Callable[[str], object]) -> None:
    kernel = Wanted(apt.kernel(KERNEL.package), KERNEL.suite, KERNEL.part)
    digest, names = hashlib.sha256(), []
    for part, packages in ((kernel.part, (kernel,)), ("userland", USERLAND)):
        tell(f"fetching {part}: {', '.join(wanted.package for wanted in packages)}")
        (directory / part).mkdir(parents=True)
        for file in apt.download(f"{w.package}/{w.suite}" for w in packages):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
            names.append(file.name)
            run(["dpkg-deb", "-x", str(file), str(directory / part)])
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


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """A context that holds a lock on this file; other processes wait."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
