"""The Debian package: built, tried, installed beside util-linux and removed, in fresh chroots."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands import TOP, run_program
from memsim.capture import capture
from simulated import make

pytestmark = pytest.mark.package

SUITES = ("bookworm", "trixie")
"""Debian 12 and 13."""

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OURS = "/usr/lib/memory-hotplug-tools/bin"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}

SOS_PLUGINS = "usr/lib/python3/dist-packages/sos/report/plugins"

UNCOUNTED = ("proc", "sys", "dev", "root", "tmp", "var/cache", "var/lib/apt", "var/log")
"""What apt and the kernel keep for themselves."""


@dataclass(frozen=True)
class Chroot:
    """A Debian in a directory. It has no /sys: nothing in it can change this machine's memory."""

    root: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a bash command in /root, with a /proc of its own."""
        inside = f"mount -t proc proc /proc && cd /root && {command}"
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", str(self.root)]
        return subprocess.run(
            [*words, "bash", "-c", inside], env=ENVIRONMENT, capture_output=True, text=True
        )

    def do(self, command: str) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def files(self) -> dict[str, str]:
        """Each path, and what tells whether it is another: its mode, its target, its content."""
        found = {}
        for parent, names, files in os.walk(self.root):
            below = Path(parent).relative_to(self.root)
            names[:] = [name for name in names if str(below / name) not in UNCOUNTED]
            for name in (*names, *files):
                path = Path(parent, name)
                content = ""
                if path.is_symlink():
                    content = os.readlink(path)
                elif path.is_file() and not below.is_relative_to("var/lib/dpkg"):
                    content = str(hash(path.read_bytes()))
                found[str(below / name)] = f"{path.lstat().st_mode:o} {content}"
        return found


def bootstrap(suite: str, packages: str) -> Chroot:
    """A new Debian with apt's essential packages, and PACKAGES."""
    root = Path(tempfile.mkdtemp(dir="/var/tmp", prefix=f"{suite}-"))
    root.chmod(0o755)
    sources = f"deb [signed-by={KEYS}] http://deb.debian.org/debian {suite} main"
    # What others recommend would stay when the package goes.
    options = ("--variant=minbase", '--aptopt=APT::Install-Recommends "0"')
    words = ["mmdebstrap", "--quiet", *options, f"--include={packages}", suite, str(root), sources]
    subprocess.run(words, check=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    chroot = Chroot(root)
    chroot.do("apt-get -qq update")
    return chroot


def readme_commands(heading: str) -> list[str]:
    """The bash commands that follow a text in the README."""
    _, _, rest = (TOP / "README.md").read_text().partition(heading)
    found = re.search(r"```bash\n(.*?)```", rest, re.DOTALL)
    assert found
    return found[1].strip().split("\n")


BUILD, *INSTALL, TRY = readme_commands("**As a Debian package")


@dataclass(frozen=True)
class Built:
    """The package of a suite, and the Debian that it was built in."""

    suite: str
    chroot: Chroot
    package: Path


@pytest.fixture(scope="module", params=SUITES)
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    if os.geteuid() or not shutil.which("mmdebstrap") or not KEYS.exists():
        pytest.skip("needs root, and the packages mmdebstrap and debian-archive-keyring")
    chroot = bootstrap(request.param, "lintian,autopkgtest,sudo")
    source = chroot.root / "root/source"
    shutil.copytree(TOP, source, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache"))
    chroot.do(f"cd source && {BUILD} && {INSTALL[0]}")
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


@pytest.mark.parametrize("built", SUITES[1:], indirect=True)  # the sos of bookworm is 4.0
def test_sos_report_takes_what_a_support_case_needs(built: Built) -> None:
    """With the machine of a capture in place of the chroot's empty /sys."""
    chroot = built.chroot
    chroot.do("apt-get -qq install ./*.deb sosreport")
    shutil.copy(TOP / "contrib/sos/memory_hotplug.py", chroot.root / SOS_PLUGINS)
    capture(chroot.root / "root/machine", make(chroot.root / "root/simulated", "s390-lpar"))
    chroot.do("cp -r machine/sys / && mkdir out")
    chroot.do("sos report --batch --only-plugins memory_hotplug --tmp-dir /root/out")
    chroot.do("mkdir report && tar -C report --strip-components=1 -xf out/*.tar.xz")
    said = chroot.root / "root/report/sos_commands/memory_hotplug"
    assert {path.name.partition("lsmem_")[2] for path in said.glob("*lsmem_*")} == {
        *("--output-all", "--json_--typed", "--policy", "--holes", "--explain", "--diff_layout")
    }
    listed = run_program("lsmem", "-s", said / "memory.tar.gz", "-o", "BLOCK,STATUS", "-n", "-r")
    assert listed.stdout.splitlines()[:2] == ["0-15 online", "16-31 disabled"]


def test_it_stands_beside_util_linux_and_goes_without_a_trace(built: Built) -> None:
    chroot = bootstrap(built.suite, "sudo,man-db,systemd-sysv,udev")
    try:
        shutil.copy(built.package, chroot.root / "root")
        before = chroot.files()
        (chroot.root / "root/source").mkdir()
        chroot.do(f"cd source && {INSTALL[1]}")
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
    """Both lsmem are there, and the README's last command works with a simulated machine."""
    assert "util-linux" in chroot.do("lsmem --version")
    assert "memory-hotplug-tools" in chroot.do(f"{OURS}/lsmem --version")
    assert f"{OURS}/chmem " in TRY
    chroot.do("memsim create /tmp/m --profile s390-lpar")
    said = chroot.do(TRY.replace("chmem ", "chmem --sysroot /tmp/m "))
    assert said.endswith("# 2G would be enabled: memory blocks 16-31\n")
    assert chroot.do("man -w memsim; man -w lsmem; man -w 1mht lsmem").split() == [
        "/usr/share/man/man1/memsim.1.gz",
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
