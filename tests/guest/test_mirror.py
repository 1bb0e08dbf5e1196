"""Where `memsim boot --fetch` takes Debian's packages from: apt's sources, or --mirror."""

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from commands import run_program
from guest.arch import ARCHES
from guest.bytecode import PYTHONS

pytestmark = pytest.mark.needs("apt-get", "debian-archive-keyring")

INDEX = "Package: hello\nVersion: 1\nArchitecture: all\nFilename: pool/hello.deb\nSize: 1\n\n"
"""An index of packages; apt does not read one that is empty."""

READING = "memsim: reading the indices of {} for s390x"
ANOTHER = " (--mirror URL names another archive)"
NONE = (
    "memsim: cannot boot: apt's sources have no archive of Debian, or none that apt-get update has "
    "read: --mirror URL names one"
)


class Machine:
    """A machine whose apt has other sources, and which has read some of their indices."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("bin", "sources", "lists/partial", "archives/partial"):
            (directory / name).mkdir(parents=True)
        python = PYTHONS[ARCHES["s390x"].userland]
        programs = {
            "qemu-system-s390x": "false",  # which is never started
            # Without the guest's Python, one is fetched for this machine as well.
            f"python{python}": f"echo {python.replace('.', ' ')}",
        }
        for name, command in programs.items():
            (directory / "bin" / name).write_text(f"#!/bin/sh\n{command}\n")
            (directory / "bin" / name).chmod(0o755)
        settings = {
            "Dir::Etc::sourcelist": directory / "sources.list",
            "Dir::Etc::sourceparts": directory / "sources",
            "Dir::State::lists": directory / "lists",
            "Dir::Cache": directory,
            "APT::Architecture": "s390x",
            "APT::Architectures": "s390x",
            "APT::Sandbox::User": "root",
            "Acquire::AllowInsecureRepositories": "true",  # theirs have no signature
        }
        self.set(**{key: str(value) for key, value in settings.items()})

    def set(self, **settings: str) -> None:
        """More settings for apt."""
        with (self.directory / "apt.conf").open("a") as file:
            file.writelines(f'{key} "{value}";\n' for key, value in settings.items())

    def sources(self, text: str, name: str = "first.list") -> None:
        (self.directory / "sources" / name).write_text(text)

    def archive(
        self, name: str, *suites: str, architecture: str = "s390x", label: str = "Debian"
    ) -> str:
        """The address of an archive without a signature, which has one package."""
        for suite in suites:
            index = self.directory / f"{name}/dists/{suite}/main/binary-{architecture}/Packages"
            index.parent.mkdir(parents=True)
            index.write_text(INDEX)
            digest = hashlib.sha256(INDEX.encode()).hexdigest()
            (index.parents[2] / "Release").write_text(
                f"Origin: {label.partition('-')[0]}\nLabel: {label}\nSuite: {suite}\n"
                f"Codename: {suite}\nComponents: main\nArchitectures: {architecture}\n"
                "Date: Sat, 01 Jan 2022 00:00:00 UTC\n"
                f"SHA256:\n {digest} {len(INDEX)} main/binary-{architecture}/Packages\n"
            )
        return f"file:{self.directory}/{name}"

    def update(self) -> None:
        """apt-get update; sources that cannot be read do not matter."""
        environment = {**os.environ, "APT_CONFIG": f"{self.directory}/apt.conf"}
        subprocess.run(["apt-get", "-qq", "update"], env=environment, capture_output=True)

    def refused(self, *arguments: str) -> list[str]:
        """The lines that memsim boot --fetch writes, of which the last says why it cannot boot."""
        environment = {
            **os.environ,
            "APT_CONFIG": f"{self.directory}/apt.conf",
            "XDG_CACHE_HOME": str(self.directory),
            "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
        }
        for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
            environment.pop(name, None)
        done = run_program("memsim", "boot", "--fetch", *arguments, env=environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert not list(self.directory.glob("memory-hotplug-tools/guest/*-*/"))
        return done.stderr.splitlines()


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_sources_is_told_of_mirror(here: Machine) -> None:
    assert here.refused() == [NONE]


def test_ubuntu_is_told_of_mirror(here: Machine) -> None:
    here.sources(f"deb {here.archive('ubuntu', 'noble', label='Ubuntu')} noble main\n")
    here.update()
    assert here.refused() == [NONE]


def test_sources_that_apt_has_not_read_are_not_asked(here: Machine) -> None:
    here.sources("deb http://unread.example/debian bookworm main\n")
    assert here.refused() == [NONE]


def test_a_source_of_debian_is_asked_and_its_failure_told(here: Machine) -> None:
    url = here.archive("stable-only", "bookworm")
    here.sources(f"deb {url} bookworm main\n")
    here.update()
    here.set(**{"Acquire::AllowInsecureRepositories": "false"})
    told, failed = here.refused()
    assert told == READING.format(url)
    assert failed.startswith(f"memsim: cannot boot: {url}: apt-get: The repository '{url} sid")
    assert failed.endswith(ANOTHER)


def test_comments_disabled_and_other_archives_are_left_out(here: Machine) -> None:
    url = here.archive("stable-only", "bookworm")
    security = here.archive("security", "bookworm", label="Debian-Security")
    others = [here.archive(name, "bookworm") for name in ("comment", "disabled", "of-sources")]
    here.sources(f"deb {security} bookworm main\n# deb {others[0]} bookworm main\n")
    here.sources(
        "".join(
            f"Types: {kind}\nURIs: {address}\nSuites: bookworm\nComponents: main\n"
            f"Enabled: {enabled}\n\n"
            for kind, address, enabled in (
                ("deb", others[1], "no"),
                ("deb-src", others[2], "yes"),
                ("deb", url, "yes"),
            )
        ),
        "debian.sources",
    )
    here.update()
    here.sources("deb cdrom:[Debian]/ bookworm main\n", "medium.list")
    for file in here.directory.glob("lists/*stable-only_dists*"):  # as apt-cdrom does
        name = file.name.partition("stable-only")[2]
        shutil.copy(file, here.directory / f"lists/Debian{name}")
    assert here.refused()[:-1] == [READING.format(url)]


def test_of_several_archives_the_first_is_taken_that_has_all_suites(here: Machine) -> None:
    stable = here.archive("stable-only", "bookworm")
    whole = here.archive("whole", "bookworm", "sid")
    another = here.archive("another", "bookworm", "sid")
    # Two suites of an archive are one archive.
    here.sources(f"deb {stable} bookworm main\ndeb {whole} bookworm main\n")
    here.sources(f"deb {whole} sid main\ndeb {another} bookworm main\n", "then.list")
    here.update()
    *told, failed = here.refused()
    assert told == [READING.format(url) for url in (stable, whole)]
    assert failed == "memsim: cannot boot: apt-cache: No packages found"


def test_where_none_has_all_each_says_what_it_misses(here: Machine) -> None:
    stable = here.archive("stable-only", "bookworm")
    pc = here.archive("pc", "bookworm", "sid", architecture="amd64")
    here.sources(f"deb {stable} bookworm main\ndeb [arch=amd64] {pc} bookworm main\n")
    here.update()
    *_, failed = here.refused()
    assert f"cannot boot: {stable}: apt-get: Failed to fetch" in failed
    assert failed.endswith(f"; {pc}: no sid and bookworm for s390x{ANOTHER}")


def test_the_mirrors_of_a_list_are_archives(here: Machine) -> None:
    urls = [here.archive("stable-only", "bookworm"), here.archive("whole", "bookworm", "sid")]
    listing = here.directory / "mirrors.list"
    listing.write_text(f"# mirrors\n\n{urls[0]}/\tpriority:1\n{urls[1]}\n")
    here.sources(f"deb mirror+file:{listing} bookworm main\n")
    here.update()
    with listing.open("a") as file:
        file.write("no-address\n")
    assert here.refused()[:-1] == [READING.format(url) for url in urls]
    listing.unlink()
    assert here.refused() == [NONE]


def test_mirror_takes_the_place_of_the_sources(here: Machine) -> None:
    url, other = here.archive("whole", "bookworm", "sid"), here.archive("other", "bookworm", "sid")
    here.sources(f"deb {other} bookworm main\n")
    here.update()
    assert here.refused("--mirror", url)[:-1] == [READING.format(url)]


def test_a_mirror_that_has_not_what_is_wanted_is_not_told_of_itself(here: Machine) -> None:
    url = here.archive("pc", "bookworm", "sid", architecture="amd64")
    assert here.refused("--mirror", url)[1:] == [
        f"memsim: cannot boot: {url}: no sid and bookworm for s390x"
    ]


def test_an_archive_whose_key_is_not_debians_is_refused(here: Machine) -> None:
    url = here.archive("whole", "bookworm", "sid")
    here.set(**{"Acquire::AllowInsecureRepositories": "false"})
    *_, failed = here.refused("--mirror", url)
    assert failed.endswith(f"apt-get: The repository '{url} sid Release' is not signed.")


class Proxy(BaseHTTPRequestHandler):
    """Has nothing, and keeps what it was asked for."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Nothing is written while a test runs."""


@pytest.fixture
def proxy() -> Iterator[HTTPServer]:
    Proxy.asked = []
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_proxy_is_apts_and_a_password_is_not_shown(here: Machine, proxy: HTTPServer) -> None:
    here.set(**{"Acquire::http::Proxy": f"http://127.0.0.1:{proxy.server_port}"})
    said = here.refused("--mirror", "http://me:secret@mirror.example/debian")
    assert said[0] == READING.format("http://mirror.example/debian")
    assert not [line for line in said if "secret" in line]
    ask = ("http://me:secret@mirror.example/debian/dists/sid/InRelease", "Basic bWU6c2VjcmV0")
    assert ask in Proxy.asked


@pytest.mark.parametrize(
    "text", ["", "mirror.example/debian", "http://a b", "[trusted=yes] http://a", "http://a\ndeb b"]
)
def test_mirror_refuses_what_is_no_address(text: str) -> None:
    done = run_program("memsim", "boot", "--fetch", "--mirror", text)
    assert done.returncode == 1
    assert done.stderr.startswith("memsim: --mirror: expected the URL of an archive of Debian, not")


def test_mirror_needs_fetch() -> None:
    done = run_program("memsim", "boot", "--mirror", "http://mirror.example/debian")
    assert done.returncode == 1
    assert done.stderr.startswith("memsim: option --mirror needs --fetch\n")
