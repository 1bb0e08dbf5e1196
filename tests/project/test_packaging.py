"""What is installed."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from commands import PACKAGES, TOP, Command
from simulated import Make, x86


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    where = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(where)]
    subprocess.run(build, cwd=TOP, check=True, capture_output=True)
    (file,) = where.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def test_the_backend_has_a_name_of_its_own_in_site_packages(wheel: set[str]) -> None:
    packages = {name.partition("/")[0] for name in wheel}
    assert packages >= PACKAGES.keys()
    assert not packages & {"common", "tests"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str, wheel: set[str]) -> None:
    assert f"{package}/py.typed" in wheel


def test_every_manual_is_installed_where_man_looks(wheel: set[str]) -> None:
    manuals = list((TOP / "man").glob("*.[1-8]"))
    assert {manual.name for manual in manuals} == {
        *("lsmem.1", "chmem.8", "memsim.1"),
        *("memory-layout.d.5", "memory-hotplug.7", "memory_hotplug.7"),
    }
    for manual in manuals:
        place = f"data/share/man/man{manual.suffix[1:]}/{manual.name}"
        assert any(name.endswith(place) for name in wheel)


def test_what_stands_beside_util_linux_has_the_unit_that_chmem_installs(
    tmp_path: Path, chmem: Command, machine: Make
) -> None:
    script = TOP / "contrib/install-beside"
    subprocess.run([script, tmp_path, sys.executable, "site-functions"], check=True)
    packaged = (tmp_path / "usr/lib/systemd/system/memory-layout.service").read_text()
    root = machine(x86())
    assert chmem("-s", root, "--apply", "--install", "--advice=never").status == 0
    said, _, written = (
        (root / "etc/systemd/system/memory-layout.service").read_text().partition("\n")
    )
    assert said.startswith("# Made by chmem --apply --install")
    (program,) = re.findall(r"^ExecStart=(.*) --apply ", written, re.MULTILINE)
    ours = "/usr/lib/memory-hotplug-tools/bin/chmem"
    assert packaged == written.replace(f"={program} ", f"={ours} ")
    assert (tmp_path / "etc/memory-layout.d").is_dir()
    assert not list((tmp_path / "etc/memory-layout.d").iterdir())


def test_the_packages_of_others_have_the_same_version() -> None:
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    assert (TOP / "debian/changelog").read_text().startswith(f"memory-hotplug-tools ({version})")
    assert f"\nversion: {version}\n" in (TOP / "ansible/galaxy.yml").read_text()
    spec = (TOP / "contrib/rpm/memory-hotplug-tools.spec").read_text()
    assert re.findall(r"^Version: +(.*)$", spec, re.M) == [version]
    (changed, *_) = re.findall(r"^\* .* - (.*)$", spec, re.M)
    assert changed == f"{version}-1"
    named = re.findall(
        r"memory-hotplug-tools-(\d[\d.]*\d)", (TOP / "contrib/rpm/README.md").read_text()
    )
    assert named and set(named) == {version}
