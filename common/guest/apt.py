"""Debian's archive, read with apt: one that this machine's sources name, or another.

apt gets a directory of its own, so that sources, indices and packages of this machine do not
change. It keeps this machine's settings, so that a proxy is used and a password is found. It
verifies the signatures of the indices with Debian's keys, and packages with the checksums there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS: Final = ("apt-get", "apt-cache", "dpkg-deb")

MIRROR_LIST: Final = "mirror+file:"
"""The scheme of a file with one mirror in each line; Debian's images for clouds use one."""

CDROM: Final = "cdrom:"

PACKAGES: Final = "Created-By: Packages"
"""What picks the indices of packages from those that apt-get indextargets lists."""


class FetchError(Exception):
    """A package cannot be fetched; the text is the message for the user."""


class Apt:
    """apt for suites and an architecture of an archive; `archive` makes one and reads its indices.

    `mirror` is the archive's address.
    """

    def __init__(self, root: Path, mirror: str, suites: Sequence[str], architecture: str) -> None:
        self.mirror = mirror
        self._suites = suites
        self._architecture = architecture
        for name in ("lists/partial", "archives/partial", "downloads"):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        self._downloads = root / "downloads"
        (root / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in suites)
        )
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Install-Recommends": "false",
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
        """The output of a program of apt. Raises FetchError with its first error message."""
        return run([program, "-q", *self._options, *arguments], self._downloads)

    def read(self) -> None:
        """Read the indices. Raises FetchError where the archive has not all that is wanted."""
        self.run("apt-get", "update")
        # An architecture that an archive does not have is no error for apt.
        listing = self.run("apt-get", "indextargets", "--format", "$(RELEASE)", PACKAGES)
        missing = [suite for suite in self._suites if suite not in listing.split()]
        if missing:
            raise FetchError(f"no {' and '.join(missing)} for {self._architecture}")

    def kernel(self, package: str) -> str:
        """The package with the kernel's image, on which a package of no version depends."""
        listing = self.run("apt-cache", "depends", "--no-recommends", package)
        match = re.search(r"Depends: linux-image-(\S*\d\S*)", listing)
        if match is None:
            raise FetchError(f"{package} depends on no kernel: {listing.strip()}")
        # Since Linux 7 the image is in the package linux-binary, and linux-image only installs it
        # (Debian's changelog).
        names = [f"{kind}-{match[1]}" for kind in ("linux-binary", "linux-image")]
        for name in names:
            if self.run("apt-cache", "search", "--names-only", f"^{re.escape(name)}$"):
                return name
        raise FetchError(f"the archive has neither {' nor '.join(names)}")

    def download(self, packages: Iterable[str]) -> list[Path]:
        """The files of packages, NAME or NAME/SUITE, which the caller takes from there."""
        self.run("apt-get", "download", *packages)
        return sorted(self._downloads.glob("*.deb"))

    def download_all(self, packages: Iterable[str]) -> list[Path]:
        """The files of packages and of all that they need, to the last one."""
        self.run("apt-get", "--yes", "--download-only", "install", *packages)
        return sorted((self._downloads.parent / "archives").glob("*.deb"))


def archive(
    root: Path,
    suites: Sequence[str],
    architecture: str,
    mirror: str | None = None,
    tell: Callable[[str], object] = lambda line: None,
    option: str = "--mirror URL",
) -> Apt:
    """apt for an archive that has these suites, with its indices read: that of `mirror`, else the
    first of this machine's sources. Raises FetchError if there is none.

    `root` is an empty directory, in which apt keeps its files. `option` is how a person says which
    mirror.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise FetchError(
            f"fetching needs {', '.join(missing)} and an archive of Debian: where apt's sources "
            f"have none, {option} names one"
        )
    if not KEYRING.exists():
        raise FetchError("fetching needs Debian's keys: apt-get install debian-archive-keyring")
    failures = []
    for number, url in enumerate([mirror] if mirror else mirrors()):
        apt = Apt(root / str(number), url, suites, architecture)
        tell(f"reading the indices of {shown(url)} for {architecture}")
        try:
            apt.read()
        except FetchError as error:
            failures.append(f"{shown(url)}: {error}")
        else:
            return apt
    if mirror:
        raise FetchError(failures[0])
    if failures:
        raise FetchError(f"{'; '.join(failures)} ({option} names another archive)")
    raise FetchError(
        "apt's sources have no archive of Debian, or none that apt-get update has read: "
        f"{option} names one"
    )


def mirrors() -> list[str]:
    """Debian's archives in apt's sources on this machine, in their order and each once.

    Archives for security and backports are not among them, nor media that somebody must insert.
    Sources of which apt has no indices are not either: nothing tells whose they are.
    """
    form = "$(REPO_URI) $(ORIGIN)|$(LABEL)"
    listing = run(["apt-get", "indextargets", "--format", form, PACKAGES])
    found: dict[str, None] = {}
    for line in listing.splitlines():
        url, _, origin = line.partition(" ")
        if origin == "Debian|Debian" and not url.startswith(CDROM):
            found.update(dict.fromkeys(filter(is_address, _listed(url.rstrip("/")))))
    return list(found)


def _listed(url: str) -> list[str]:
    """The mirrors in a list of mirrors (apt-transport-mirror(1)); another address is its own."""
    if not url.startswith(MIRROR_LIST):
        return [url]
    try:
        lines = Path(url.removeprefix(MIRROR_LIST)).read_text().splitlines()
    except (OSError, ValueError):
        return []
    return [line.split()[0].rstrip("/") for line in lines if line.strip() and line[0] != "#"]


def is_address(text: str) -> bool:
    """Whether a text can be an archive's address in apt's sources, and nothing more."""
    return re.fullmatch(r"[a-z][a-z0-9+.-]*:[^\s\[\]]+", text) is not None


def shown(url: str) -> str:
    """An address as a person may see it: without a name and a password."""
    return re.sub(r"//[^/]*@", "//", url)


def run(command: list[str], directory: Path | None = None) -> str:
    """What a command writes. Raises FetchError with its first error message if it fails."""
    environment: dict[str, Any] = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = done.stderr.splitlines()
        reason = next(
            (line for kind in ("E:", "W:", "") for line in lines if line.startswith(kind)),
            f"exit status {done.returncode}",
        )
        raise FetchError(f"{command[0]}: {re.sub('^[EW]: ', '', reason)}")
    return done.stdout
