"""Fetch kernels and programs for guests from Debian's archive.

No package is installed: they are unpacked into the cache. A kernel is there once for each
architecture and release, the programs once for each architecture.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from guest.apt import Apt, FetchError, archive, run
from guest.arch import ARCHES, Arch, host
from guest.bytecode import PYTHONS, interpreter

__all__ = ["KernelPackage", "Userland", "alone", "cache", "fetch_missing", "kernel", "userland"]

_LIBRARIES: Final = (
    "libacl1",
    "libblkid1",
    "libcap2",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libkmod2",
    "liblzma5",
    "libpcre2-8-0",
    "libselinux1",
    "libtinfo6",
    "libuuid1",
    "libzstd1",
    "zlib1g",
)
_SSL: Final = {"bookworm": "libssl3", "trixie": "libssl3t64"}

_NEWEST: Final = ("libc6", "libsmartcols1", "util-linux-extra")
"""Of sid: util-linux's lsmem and chmem, and the C library that they need; older programs run on it,
too."""

_COMPILER: Final = ("libc6", "libexpat1", "zlib1g")
"""What the guest's Python needs to run here, to compile."""


IMAGE: Final = "kernel"
MODULES: Final = "kernel-and-modules"
"""What is unpacked of a kernel."""


class WantedPackage(NamedTuple):
    """A package, the release of Debian to take it from, Debian's name of its architecture, and the
    directory that it is unpacked into."""

    package: str
    suite: str
    architecture: str
    part: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Packages that were fetched and unpacked into a directory."""

    directory: Path
    packages: tuple[str, ...]
    """The names of the packages' files, which include versions."""
    digest: str
    """A hash of the contents of the packages."""


class KernelPackage(Fetched):
    """A kernel and its modules."""

    @property
    def image(self) -> Path:
        """The kernel's image. Raises FetchError if the package has none."""
        images = sorted(self.directory.glob("**/vmlinu[xz]*"))
        if not images:
            raise FetchError(f"{self.directory}: the kernel's package has no vmlinuz")
        return images[-1]

    @property
    def modules(self) -> Path | None:
        """The directory with its modules; None where all that a guest needs is built in."""
        found = sorted(self.directory.glob("**/modules.builtin"))
        return found[-1].parent if found else None


class Userland(Fetched):
    """Python, busybox, util-linux's programs, and their libraries."""

    @property
    def root(self) -> Path:
        """The directory that the packages are unpacked into."""
        return self.directory / "userland"

    @property
    def compiler(self) -> Path:
        """The directory with the guest's Python for this machine, if it was wanted."""
        return self.directory / "compiler"


def cache() -> Path:
    """The directory for packages, file systems and saved guests."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "memory-hotplug-tools" / "guest"


def kernel(arch: Arch, release: str) -> KernelPackage | None:
    """The kernel that was fetched; None if there is none."""
    return _there(
        KernelPackage, cache() / f"linux-{arch.name}-{release}", _kernel_packages(arch, release)
    )


def userland(arch: Arch) -> Userland | None:
    """The programs that were fetched; None if some are missing."""
    return _there(Userland, cache() / f"userland-{arch.name}", _programs(arch))


def fetch_missing(
    arch: Arch, release: str | None, tell: Callable[[str], object], mirror: str | None = None
) -> None:
    """Fetch the programs, and the kernel of a release, unless they are there. Raises FetchError.

    `tell` is called with lines about the progress. `mirror` is the address of the archive; without
    it, it is one of apt's sources on this machine.
    """
    wanted: list[tuple[Path, tuple[WantedPackage, ...]]] = []
    if release is not None and kernel(arch, release) is None:
        place = cache() / f"linux-{arch.name}-{release}"
        wanted.append((place, _kernel_packages(arch, release)))
    if userland(arch) is None:
        wanted.append((cache() / f"userland-{arch.name}", _programs(arch)))
    if not wanted:
        return
    cache().mkdir(parents=True, exist_ok=True)
    with (
        alone(cache() / f"{arch.name}.lock"),
        tempfile.TemporaryDirectory(prefix="fetch-", dir=cache()) as temporary,
    ):
        archives = _Archives(Path(temporary), [each for _, many in wanted for each in many])
        archives.open(mirror, tell)
        for number, (place, packages) in enumerate(wanted):
            if _there(Fetched, place, packages) is not None:
                continue  # another process was quicker
            new = Path(temporary) / str(number)
            archives.unpack(new, packages, tell)
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)


class _Archives:
    """apt for each architecture of what is wanted."""

    def __init__(self, directory: Path, wanted: Sequence[WantedPackage]) -> None:
        self._directory = directory
        self._suites = {
            architecture: list(
                dict.fromkeys(each.suite for each in wanted if each.architecture == architecture)
            )
            for architecture in dict.fromkeys(each.architecture for each in wanted)
        }
        self._apts: dict[str, Apt] = {}

    def open(self, mirror: str | None, tell: Callable[[str], object]) -> None:
        """Read the indices of an archive. Raises FetchError."""
        for architecture, suites in self._suites.items():
            place = self._directory / f"apt-{architecture}"
            self._apts[architecture] = archive(place, suites, architecture, mirror, tell)

    def unpack(
        self, new: Path, packages: Sequence[WantedPackage], tell: Callable[[str], object]
    ) -> None:
        """Fetch and unpack packages, and write down what they are."""
        digest, names = hashlib.sha256(), []
        for part, architecture in dict.fromkeys(
            (each.part, each.architecture) for each in packages
        ):
            apt = self._apts[architecture]
            these = [name for each in packages if each.part == part for name in _named(apt, each)]
            tell(f"fetching {part}: {', '.join(name.partition('/')[0] for name in these)}")
            (new / part).mkdir(parents=True)
            for file in apt.download(these):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
                names.append(file.name)
                run(["dpkg-deb", "-x", str(file), str(new / part)])
                file.unlink()
        record = {
            "wanted": [list(each) for each in packages],
            "packages": sorted(names),
            "digest": digest.hexdigest(),
        }
        (new / "fetched.json").write_text(json.dumps(record, indent=1))


def _named(apt: Apt, wanted: WantedPackage) -> Iterator[str]:
    """What apt-get is to download for a package: NAME/SUITE; for a kernel's, all that it needs."""
    if not wanted.package.startswith("linux-image-"):
        yield f"{wanted.package}/{wanted.suite}"
        return
    image = apt.kernel(wanted.package)
    yield f"{image}/{wanted.suite}"
    # Since Linux 7, modules and modules.builtin are in packages of their own.
    if wanted.part == MODULES and image.startswith("linux-binary-"):
        for kind in ("modules", "base"):
            yield f"{image.replace('binary', kind, 1)}/{wanted.suite}"


_Kind = TypeVar("_Kind", bound=Fetched)


def _there(kind: type[_Kind], directory: Path, packages: Sequence[WantedPackage]) -> _Kind | None:
    try:
        record = json.loads((directory / "fetched.json").read_text())
    except (OSError, ValueError):
        return None
    if record["wanted"] != [list(each) for each in packages]:
        return None
    return kind(directory, tuple(record["packages"]), record["digest"])


def _kernel_packages(arch: Arch, release: str) -> tuple[WantedPackage, ...]:
    package = f"linux-image-{arch.flavours[release]}"
    return (WantedPackage(package, release, arch.debian, MODULES if arch.modules else IMAGE),)


def _programs(arch: Arch) -> tuple[WantedPackage, ...]:
    release = arch.userland
    python = f"python{PYTHONS[release]}"
    names = ("busybox-static", "udev", _SSL[release], *_LIBRARIES)
    pythons = (f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib")
    found = [WantedPackage(name, release, arch.debian, "userland") for name in (*names, *pythons)]
    newest = (*_NEWEST, *arch.tools)
    found += [WantedPackage(name, "sid", arch.debian, "userland") for name in newest]
    if interpreter(PYTHONS[release]) is None and (mine := ARCHES.get(host())):
        compilers = (f"{python}-minimal", f"lib{python}-minimal", *_COMPILER)
        found += [WantedPackage(name, release, mine.debian, "compiler") for name in compilers]
    return tuple(found)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """A context that holds a lock on this file; other processes wait."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
