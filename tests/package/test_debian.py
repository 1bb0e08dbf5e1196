"""The Debian package: built, tried, installed beside util-linux and removed, in fresh chroots."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chroot import Chroot, bootstrap, copy_checkout
from commands import TOP, run_program
from memsim.capture import capture_tree
from needs import CHROOT
from simulated import make

pytestmark = [pytest.mark.package, pytest.mark.needs(*CHROOT)]

SUITES = ("bookworm", "trixie")
"""Debian 12 and 13."""

OURS = "/usr/lib/memory-hotplug-tools/bin"

SOS_PLUGINS = "usr/lib/python3/dist-packages/sos/report/plugins"


def documented_commands(heading: str) -> list[str]:
    """The bash commands that follow a heading in docs/install.md."""
    _, _, rest = (TOP / "docs/install.md").read_text().partition(heading)
    found = re.search(r"```bash\n(.*?)```", rest, re.DOTALL)
    assert found
    return found[1].strip().split("\n")


BUILD, *INSTALL, TRY = documented_commands("## As a Debian package")


@dataclass(frozen=True)
class Built:
    """The package of a suite, and the Debian that it was built in."""

    suite: str
    chroot: Chroot
    package: Path


@pytest.fixture(scope="module", params=SUITES)
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    chroot = bootstrap(request.param, "lintian,autopkgtest,sudo")
    copy_checkout(chroot.root / "root/source")
    chroot.do(f"apt-get -qq update && cd source && {BUILD} && {INSTALL[0]}")
    (package,) = (chroot.root / "root").glob("*.deb")
    yield Built(request.param, chroot, package)
    shutil.rmtree(chroot.root)


def test_lintian_is_silent(built: Built) -> None:
    # Of source and binary; --build=binary made no source package.
    built.chroot.do("cd source && dpkg-buildpackage --no-sign --build=full")
    assert built.chroot.do("lintian --allow-root --fail-on warning *.changes") == ""


def test_autopkgtest_passes(built: Built) -> None:
    said = built.chroot.do("autopkgtest *.deb source/ -- null 2>&1")
    summary = said.partition("@ summary\n")[2]
    assert re.findall(r"^(\w+) +PASS$", summary, re.M) == ["sessions", "recorded"], said


@pytest.mark.parametrize("built", SUITES[:1], indirect=True)
def test_another_python_that_comes_first_does_not_build_it(built: Built) -> None:
    """As pyenv and virtual environments put theirs before Debian's, without its modules."""
    chroot = built.chroot
    (first := chroot.root / "root/first").mkdir()
    for python in (chroot.root / "usr/bin").glob("python3*"):
        (first / python.name).write_text("#!/bin/sh\necho not for Debian >&2\nexit 1\n")
        (first / python.name).chmod(0o755)
    copy_checkout(chroot.root / "root/again/source")
    assert chroot.run("PATH=/root/first:$PATH python3").returncode == 1
    chroot.do(f"cd again/source && PATH=/root/first:$PATH {INSTALL[0]}")
    assert list((chroot.root / "root/again").glob("*.deb"))


@pytest.mark.parametrize("built", SUITES[1:], indirect=True)  # the sos of bookworm is 4.0
def test_sos_report_takes_what_a_support_case_needs(built: Built) -> None:
    """With the machine of a capture in place of the chroot's empty /sys."""
    chroot = built.chroot
    chroot.do("apt-get -qq install ./*.deb sosreport")
    shutil.copy(TOP / "contrib/sos/memory_hotplug.py", chroot.root / SOS_PLUGINS)
    capture_tree(chroot.root / "root/machine", make(chroot.root / "root/simulated", "s390-lpar"))
    chroot.do("cp -r machine/sys / && mkdir out")
    chroot.do("sos report --batch --only-plugins memory_hotplug --tmp-dir /root/out")
    chroot.do("mkdir report && tar -C report --strip-components=1 -xf out/*.tar.xz")
    said = chroot.root / "root/report/sos_commands/memory_hotplug"
    assert {path.name.partition("lsmem_")[2] for path in said.glob("*lsmem_*")} == {
        *("--output-all", "--json_--typed", "--policy", "--holes", "--explain", "--diff_layout")
    }
    listed = run_program("lsmem", "-s", said / "memory.tar.gz", "-o", "BLOCK,STATUS", "-n", "-r")
    assert listed.stdout.splitlines()[:2] == ["0-15 online", "16-31 disabled"]


def test_the_package_stands_beside_util_linux_and_goes_without_a_trace(built: Built) -> None:
    chroot = bootstrap(built.suite, "sudo,man-db,systemd-sysv,udev")
    try:
        shutil.copy(built.package, chroot.root / "root")
        before = chroot.files()
        (chroot.root / "root/source").mkdir()
        chroot.do(f"apt-get -qq update && cd source && {INSTALL[1]}")
        unchanged = {path: before[path] for path in before if not path.startswith("var/lib/")}
        beside(chroot)
        first_in_path(chroot)
        unit_at_boot(chroot)
        chroot.do("apt-get -qq purge --autoremove memory-hotplug-tools")
        after = chroot.files()
        assert unchanged.items() <= after.items()
        assert set(after) - set(before) == set()
    finally:
        shutil.rmtree(chroot.root)


def beside(chroot: Chroot) -> None:
    """Both lsmem are there, and the last command of the page works with a simulated machine."""
    assert "util-linux" in chroot.do("lsmem --version")
    assert "memory-hotplug-tools" in chroot.do(f"{OURS}/lsmem --version")
    assert f"{OURS}/chmem " in TRY
    chroot.do("memsim create /tmp/m --profile s390-lpar")
    said = chroot.do(TRY.replace("chmem ", "chmem --sysroot /tmp/m "))
    assert said.endswith("# 2G would be enabled: memory blocks 16-31\n")
    assert chroot.do("man -w memsim memory-hotplug; man -w lsmem; man -w 1mht lsmem").split() == [
        "/usr/share/man/man1/memsim.1.gz",
        "/usr/share/man/man7/memory-hotplug.7.gz",
        "/usr/share/man/man1/lsmem.1.gz",
        "/usr/share/man/man1/lsmem.1mht.gz",
    ]


def first_in_path(chroot: Chroot) -> None:
    """As README.Debian says it, for users and for sudo."""
    text = chroot.do("cat /usr/share/doc/memory-hotplug-tools/README.Debian")
    (profile,) = re.findall(r"^    (echo 'PATH.*?)\n\n", text, re.M | re.DOTALL)
    chroot.do(profile)
    (line,) = re.findall(r"^Defaults secure_path.*$", text, re.M)
    sudoers = chroot.root / "etc/sudoers.d/memory-hotplug-tools"
    sudoers.write_text(f"{line}\n")
    sudoers.chmod(0o440)
    chroot.do("visudo --check")
    for command in ("bash -lc 'chmem --version'", "sudo chmem --version"):
        assert "memory-hotplug-tools" in chroot.do(command)
    assert chroot.do("bash -lc 'man -w chmem'") == "/usr/share/man/man8/chmem.8mht.gz\n"
    # They are the administrator's, who removes them.
    sudoers.unlink()
    (chroot.root / "etc/profile.d/memory-hotplug-tools.sh").unlink()


def unit_at_boot(chroot: Chroot) -> None:
    """The unit of the package is not enabled; what --install wrote goes with the package."""
    (unit,) = chroot.root.glob("usr/lib/systemd/system/memory-layout.service")
    assert f"ExecStart={OURS}/chmem --apply" in unit.read_text()
    wants = chroot.root / "etc/systemd/system/sysinit.target.wants"
    assert not (wants / unit.name).is_symlink()
    chroot.do("memsim create /tmp/boot --profile s390-lpar")
    chroot.do(f"{OURS}/chmem -s /tmp/boot -e 1g --persistent")
    chroot.do(f"{OURS}/chmem -s /tmp/boot --apply --install && cp -a /tmp/boot/etc /")
    assert (wants / unit.name).is_symlink()
