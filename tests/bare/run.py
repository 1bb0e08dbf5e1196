#!/usr/bin/env python3
"""The README's two commands, as written, in a fresh Debian that has Python and nothing else.

    python3 tests/bare/run.py SUITE [--root] [--closed-fuse] [--with PACKAGE]...

An ordinary user of that Debian, or root with --root, has a clone of this checkout, an empty home
and the environment of a login. From this machine come only names and addresses of the network, and
the way to the package index that pip is configured with. Exits 1 unless both commands succeed and
the tests end without a failure, an error or a warning, and say in a few lines what was left out.

Needs root, mmdebstrap and debian-archive-keyring. Debian's archive is that of apt's sources here,
or of MEMORY_HOTPLUG_MIRROR. The Debian is kept in ~/.cache/memory-hotplug-tools/bare for a month,
and what came of a user's tests in a Debian with no more packages, for tests/matrix/python.
"""

import argparse
import ast
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

import bare_results
from archive import address
from bare_results import CACHE
from guest.apt import KEYRING, FetchError

TOP = Path(__file__).resolve().parents[2]
CHECKOUT = "memory-hotplug-tools"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
"""What the README asks for, and what pip verifies servers with."""
KEPT = 30 * 24 * 3600
"""Seconds after which a root is made anew: the newest Python does not stay the newest."""

MOST_LINES = 5
"""In which the tests may say what was left out."""

ENTER = """\
root=$1 fuse=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m "$fuse" dev/fuse c 10 229
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
# Not chroot: in one, the kernel refuses user namespaces.
pivot_root . mnt
umount -l /mnt
status=0
runuser --login "$1" --command "$2" || status=$?
exit "$status"
"""
"""Makes a directory the root of this mount namespace, with /proc, /dev and a /sys to read only.

The shell stays, as the first process there: it waits for processes that have lost their parent."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suite", help="a suite of Debian, such as bookworm")
    parser.add_argument("--root", action="store_true", help="as root, not as a user")
    parser.add_argument("--closed-fuse", action="store_true", help="/dev/fuse is root's alone")
    parser.add_argument(
        "--with", action="append", default=[], dest="packages", help="a package that is there, too"
    )
    wanted = parser.parse_args()
    if os.geteuid() or not shutil.which("mmdebstrap") or not KEYRING.exists():
        fail("needs root, and the packages mmdebstrap and debian-archive-keyring")
    user = "root" if wanted.root else "user"
    with unpacked(kept_root(wanted.suite, wanted.packages)) as root:
        home = settle(root, user)
        first, second = readme_commands(home / CHECKOUT / "README.md")
        mode = "600" if wanted.closed_fuse else "666"
        run(root, user, mode, first)
        began, used = time.monotonic(), processor_time()
        said = run(root, user, mode, second)
        took, used = time.monotonic() - began, processor_time() - used
        python = run(root, user, mode, "python3 --version\n")
    if complaint := judge(said):
        fail(complaint)
    if not (wanted.root or wanted.packages):
        bare_results.keep(wanted.suite, bare_results.commit(TOP), python, said)
    print(f"{wanted.suite}, {user}: {took:.0f} s, {used:.0f} s of processors", flush=True)
    return 0


def processor_time() -> float:
    """What the processes that this one has waited for took, in seconds; on a busy machine it says
    more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fail(text: str) -> NoReturn:
    raise SystemExit(f"{Path(__file__).name}: {text}")


# The root


def kept_root(suite: str, packages: Sequence[str]) -> Path:
    """A tar archive with a fresh Debian; made if there is none that is young enough."""
    archive = CACHE / f"{'+'.join([suite, *PACKAGES, *sorted(packages)])}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < KEPT:
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    options = [
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join((*PACKAGES, *packages))}",
        '--aptopt=APT::Install-Recommends "0"',
        # An archive that is a snapshot is older than its own date; its signature is still checked.
        '--aptopt=Acquire::Check-Valid-Until "false"',
    ]
    sources = f"deb [signed-by={KEYRING}] {address(suite)} {suite} main"
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        made = f"{work}/root.tar"
        subprocess.run(["mmdebstrap", "--quiet", *options, suite, made, sources], check=True)
        os.rename(made, archive)
    return archive


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """A context with a root of one's own; what it mounts is gone with its processes."""
    root = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="bare-"))
    try:
        root.chmod(0o755)
        subprocess.run(["tar", "-C", root, "--numeric-owner", "-xf", archive], check=True)
        yield root
    finally:
        shutil.rmtree(root)


def settle(root: Path, user: str) -> Path:
    """Put a user into a root, and a clone of this checkout into the home, which is returned."""
    if user == "root":
        home = root / "root"
    else:
        subprocess.run(
            ["chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", user], check=True
        )
        home = root / "home" / user
    # What systemd makes in a Debian that boots; fusermount3 reads it.
    (root / "etc/mtab").symlink_to("../proc/self/mounts")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copy("/etc/hosts", root / "etc/hosts")
    (root / "etc/pip.conf").write_text(pip_configuration(root))
    checkout = home / CHECKOUT
    clone(checkout)
    owner = home.stat()
    for place, directories, files in os.walk(checkout):
        for name in (".", *directories, *files):
            os.chown(f"{place}/{name}", owner.st_uid, owner.st_gid, follow_symlinks=False)
    return home


def clone(checkout: Path) -> None:
    """Clone this checkout, whoever owns it."""
    with tempfile.NamedTemporaryFile("w", suffix=".gitconfig") as trusting:
        trusting.write("[safe]\n    directory = *\n")
        trusting.flush()
        words = ["git", "clone", "--quiet", "--depth=1", TOP.as_uri(), str(checkout)]
        subprocess.run(words, env={**os.environ, "GIT_CONFIG_GLOBAL": trusting.name}, check=True)


HANDED_OVER = {"index-url", "extra-index-url", "proxy", "timeout", "retries", "trusted-host"}
"""Settings of pip that say how an index is reached. Directories of this machine are no index."""


def pip_configuration(root: Path) -> str:
    """The text of pip.conf for a root, from what pip is told here by files and variables."""
    settings = {}
    for line in pip_settings():
        name, _, text = line.partition("=")
        key, value = name.rpartition(".")[2], str(ast.literal_eval(text))
        if key == "cert":
            shutil.copy(value, root / "etc/pip-cert.pem")
            settings[key] = "/etc/pip-cert.pem"
        elif key in HANDED_OVER:
            settings[key] = " ".join(word for word in value.split() if "file:" not in word)
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy:
        settings.setdefault("proxy", proxy)
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items() if value)


def pip_settings() -> list[str]:
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([sys.executable, "-m", "venv", work], check=True)
        words = [f"{work}/bin/pip", "config", "list"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


# The commands


def readme_commands(readme: Path) -> list[str]:
    """The two shell commands under "Try it from a checkout"."""
    found = re.findall(r"^```sh\n(.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE)
    if len(found) != 2:
        fail(f"{readme} has {len(found)} blocks of sh, not two")
    return found


def run(root: Path, user: str, fuse: str, command: str) -> str:
    """Run a command in the checkout, and return what it printed."""
    print(f"$ {command}", end="", flush=True)
    inside = f"cd {CHECKOUT} && {command}"
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh"]
    said = ""
    with subprocess.Popen(
        [*words, root, fuse, user, inside],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout
        for line in running.stdout:
            print(line, end="", flush=True)
            said += line
    if running.returncode:
        fail(f"exit status {running.returncode}")
    return said


def judge(said: str) -> str:
    """What is wrong with the last lines of the tests; nothing if all is well."""
    counts = bare_results.last_line(said)
    words = set(re.findall(r"\d+ (\w+)", counts or "0 line"))
    if not words <= {"passed", "skipped", "deselected"}:
        return f"the tests end with: {counts or said[-200:]}"
    told = len(re.findall(r"^(?:SKIPPED|left out)", said, re.MULTILINE))
    if told > MOST_LINES:
        return f"{told} lines say what was left out; {MOST_LINES} at most should"
    return ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FetchError as error:
        fail(str(error))
