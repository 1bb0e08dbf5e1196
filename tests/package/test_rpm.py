"""The RPM package: built, tried, installed beside util-linux and removed, in a Debian with rpm."""

import gzip
import re
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chroot import Chroot, bootstrap, copy_checkout
from commands import TOP
from memory_hotplug.layout.at_boot import RULES, UNIT, WANTED
from needs import CHROOT

pytestmark = [pytest.mark.package, pytest.mark.needs(*CHROOT)]

SUITE = "bookworm"
PACKAGES = "rpm,rpmlint,systemd,python3-hatchling,python3-click,python3-rich,python3-tabulate"
OURS = "/usr/lib/memory-hotplug-tools"
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
SOURCE = f"memory-hotplug-tools-{VERSION}"
SPEC = f"{SOURCE}/contrib/rpm/memory-hotplug-tools.spec"
RPM = "rpm --nodeps --force-debian"
"""No package of a Debian is in the database of its rpm, which Debian warns of."""

_README = (TOP / "contrib/rpm/README.md").read_text()
(_BUILD,) = re.findall(r"```bash\n(git archive.*?)```", _README, re.DOTALL)
ARCHIVE, _, RPMBUILD, _, TRY = _BUILD.splitlines()


@dataclass(frozen=True)
class Built:
    """The package, the Debian that it was built in, and where its Python packages go."""

    chroot: Chroot
    package: str
    python: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    chroot = bootstrap(SUITE, PACKAGES)
    try:
        yield build(chroot, tmp_path_factory.mktemp("rpm") / "source")
    finally:
        shutil.rmtree(chroot.root)


def build(chroot: Chroot, source: Path) -> Built:
    """Carry out the commands of contrib/rpm/README.md, with a copy of the checkout."""
    copy_checkout(source)
    commit = "git -c user.name=test -c user.email=test commit -q -m all"
    commands = f"git init -q && git add -A && {commit} && {ARCHIVE}"
    subprocess.run(["sh", "-c", commands], cwd=source, check=True)
    (archive,) = source.glob("*.tar.gz")
    shutil.copy(archive, chroot.root / "root")
    # -ta is -tb, and the package with the source.
    chroot.do(f"tar -xf {archive.name} && {RPMBUILD.replace('-tb', '-ta --nodeps')}")
    (python,) = (chroot.root / "usr/lib").glob("python3.*/")
    (package,) = chroot.root.glob("root/rpmbuild/RPMS/noarch/*.rpm")
    return Built(chroot, f"rpmbuild/RPMS/noarch/{package.name}", f"/usr/lib/{python.name}")


def test_rpmlint_is_silent(built: Built) -> None:
    settings = Path(SPEC).with_name("rpmlint.toml")
    said = built.chroot.do(f"rpmlint --strict -c {settings} rpmbuild/RPMS rpmbuild/SRPMS")
    assert " 0 errors, 0 warnings," in said, said


def test_the_rpm_has_what_the_wheel_has_and_bytecode_for_it(built: Built) -> None:
    chroot, packages = built.chroot, f"{built.python}/site-packages/"
    chroot.do(f"cd {SOURCE} && python3 -m hatchling build -t wheel -d /root/wheel")
    (wheel,) = chroot.root.glob("root/wheel/*.whl")
    names = {
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if ".data/" not in name and not name.endswith("/RECORD")
    }
    listed = chroot.do(f"rpm -qp --qf '[%{{FILEMODES:perms}} %{{FILENAMES}}\n]' {built.package}")
    files = {name for mode, name in map(str.split, listed.splitlines()) if mode[0] != "d"}
    found = {name.removeprefix(packages) for name in files if name.startswith(packages)}
    bytecode = {name for name in found if name.endswith(".pyc")}
    assert found - bytecode == names
    assert {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc", r"\1.py", name) for name in bytecode} == {
        name for name in names if name.endswith(".py")
    }


def test_the_rest_is_laid_out_as_in_the_debian_package(built: Built) -> None:
    listed = built.chroot.do(f"rpm -qpl {built.package}").splitlines()
    manuals = {path.name for path in (TOP / "man").glob("*.[1-8]")} - {"lsmem.1", "chmem.8"}
    assert {name for name in listed if not name.startswith((built.python, "/usr/share/doc/"))} == {
        *(
            "/usr/bin/memsim",
            "/etc/memory-layout.d",
            "/usr/lib/systemd/system/memory-layout.service",
        ),
        *(f"/usr/share/licenses/{SOURCE}",),
        *(f"/usr/share/licenses/{SOURCE}/LICENSE",),
        *(f"/usr/share/man/man{name[-1]}/{name}.gz" for name in manuals),
        *("/usr/share/man/man1/lsmem.1mht.gz", "/usr/share/man/man8/chmem.8mht.gz"),
        *(OURS, f"{OURS}/bin", f"{OURS}/bin/lsmem", f"{OURS}/bin/chmem"),
        *(f"{OURS}/share", f"{OURS}/share/man", f"{OURS}/share/man/man1", f"{OURS}/share/man/man8"),
        *(f"{OURS}/share/man/man1/lsmem.1.gz", f"{OURS}/share/man/man8/chmem.8.gz"),
        *completions("/usr/share", "memsim"),
        *completions(f"{OURS}/share", "lsmem", "chmem"),
    }


def completions(share: str, *commands: str) -> Iterator[str]:
    """The files with completions, and their directories."""
    for shell, below in (
        *(("bash-completion", "completions"), ("fish", "vendor_completions.d")),
        ("zsh", "site-functions"),
    ):
        yield f"{share}/{shell}"
        yield (directory := f"{share}/{shell}/{below}")
        name = {"fish": "{}.fish", "zsh": "_{}"}.get(shell, "{}")
        yield from (f"{directory}/{name.format(command)}" for command in commands)


@pytest.mark.parametrize(
    ("system", "python"),
    [
        ("--define 'fedora 43'", "python3"),
        ("--define 'rhel 10'", "python3"),
        ("--define 'rhel 9'", "python3.12"),
        ("--define 'suse_version 1500'", "python311"),
        ("--define 'suse_version 1600'", "python3"),
        ("--define 'suse_version 1600' --define 'python_release 3.13'", "python313"),
    ],
)
def test_the_rpm_asks_for_the_python_packages_of_each_system(
    system: str, python: str, built: Built
) -> None:
    wanted = {f"{python}-{need.replace('>=', ' >= ')}" for need in PROJECT["dependencies"]}
    wanted.add("/bin/sh")  # of its scripts
    wanted.add(f"{python} {PROJECT['requires-python'].replace('>=', '>= ')}")
    said = built.chroot.do(f"rpmspec -q --requires {system} {SPEC}")
    assert set(said.splitlines()) == wanted


@pytest.fixture
def installed(built: Built) -> Iterator[Chroot]:
    """The chroot with the package, which is removed, and must leave nothing behind but layouts."""
    chroot = built.chroot
    # Directories of other packages on Fedora, RHEL and SLES.
    for theirs in (f"{built.python[1:]}/site-packages", "usr/share/licenses", "etc/udev/rules.d"):
        (chroot.root / theirs).mkdir(parents=True, exist_ok=True)
    # Their Python looks there; Debian's does when it is told to.
    also = chroot.root / "usr/lib/python3/dist-packages/site-packages.pth"
    also.write_text(f"{built.python}/site-packages\n")
    before = chroot.files()
    chroot.do(f"{RPM} --install {built.package}")
    yield chroot
    said = chroot.run(f"{RPM} --erase memory-hotplug-tools")
    assert said.returncode == 0, said.stderr
    after = chroot.files()
    shutil.rmtree(chroot.root / "etc/memory-layout.d", ignore_errors=True)
    left = {path for path in set(after) - set(before) if not path.startswith("etc/memory-layout.d")}
    assert left == set()
    assert before.items() <= after.items()


def test_the_rpm_stands_beside_util_linux(installed: Chroot) -> None:
    assert "util-linux" in installed.do("lsmem --version")
    for command in ("lsmem", "chmem"):
        said = installed.do(f"{OURS}/bin/{command} --version")
        assert said == f"{command} from memory-hotplug-tools {VERSION}\n"
    installed.do("memsim create /tmp/m --profile s390-lpar")
    said = installed.do(TRY.removeprefix("sudo ").replace("chmem ", "chmem --sysroot /tmp/m "))
    assert said.endswith("# 2G would be enabled: memory blocks 16-31\n")
    for name in ("man1/lsmem.1", "man8/chmem.8"):
        manual = installed.root / f"{OURS[1:]}/share/man/{name}.gz"
        assert gzip.decompress(manual.resolve().read_bytes()) != b""


def test_its_unit_is_enabled_by_hand_and_disabled_when_it_goes(installed: Chroot) -> None:
    unit = installed.root / "usr/lib/systemd/system/memory-layout.service"
    assert f"ExecStart={OURS}/bin/chmem --apply" in unit.read_text()
    assert not (installed.root / WANTED).is_symlink()
    installed.do("systemctl enable memory-layout.service")
    assert (installed.root / WANTED).is_symlink()


def test_what_install_wrote_stays_over_an_upgrade_and_then_goes_too(
    installed: Chroot, built: Built
) -> None:
    chmem = f"{OURS}/bin/chmem -s /tmp/boot"
    installed.do(f"memsim create /tmp/boot --profile s390-lpar && {chmem} -e 1g --persistent")
    installed.do(f"{chmem} --apply --install && cp -a /tmp/boot/etc / && mkdir /run/memory-hotplug")
    installed.do(RPMBUILD.replace("-tb", "-tb --nodeps --define 'dist .later'"))
    installed.do(f"{RPM} --upgrade {built.package.replace('-1.noarch', '-1.later.noarch')}")
    assert installed.do("rpm -q --qf '%{RELEASE}' memory-hotplug-tools") == "1.later"
    for path in (UNIT, WANTED, RULES, "run/memory-hotplug"):
        assert (installed.root / path).exists()


def test_layouts_stay_when_it_goes(built: Built) -> None:
    chroot = built.chroot
    chroot.do(f"{RPM} --install {built.package} && echo 'version = 1' >/etc/memory-layout.d/a.toml")
    chroot.do(f"{RPM} --erase memory-hotplug-tools")
    assert chroot.do("cat /etc/memory-layout.d/a.toml") == "version = 1\n"
    shutil.rmtree(chroot.root / "etc/memory-layout.d")
