"""A Debian in a directory, for what is built, installed and removed there."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import archive
from commands import TOP
from guest.apt import KEYRING

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}

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
    """A new Debian with apt's essential packages, and PACKAGES, separated by commas.

    For a test with the needs in CHROOT.
    """
    root = Path(tempfile.mkdtemp(dir="/var/tmp", prefix=f"{suite}-"))
    root.chmod(0o755)
    sources = f"deb [signed-by={KEYRING}] {archive.address(suite)} {suite} main"
    # What others recommend would stay when the package goes.
    options = ("--variant=minbase", '--aptopt=APT::Install-Recommends "0"')
    words = ["mmdebstrap", "--quiet", *options, f"--include={packages}", suite, str(root), sources]
    subprocess.run(words, check=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    chroot = Chroot(root)
    # What mount makes is there from now on, and not taken for what a package has left.
    chroot.do("true")
    return chroot


def copy_checkout(into: Path) -> None:
    """The checkout, without what git does not keep."""
    shutil.copytree(TOP, into, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache"))
