"""Writes in `memsim shell`: reads are those of plain files, and each way to write is diverted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import run_program
from forking import forks
from memsim import directory, divert, namespace
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, NODE
from simulated import tree_at

pytestmark = pytest.mark.needs("root", "fuse3", "/dev/fuse", "diverted writes")


@pytest.fixture
def lpar(tmp_path: Path) -> Path:
    directory.create(tmp_path / "m", boot("s390-lpar"))
    return tmp_path / "m"


def in_shell(root: Path, script: str, *arguments: object) -> str:
    """What a script of sh prints in the shell of the machine, standard error among it."""
    words = ("sh", "-c", f"exec 2>&1; {script}", "sh", *map(str, arguments))
    done = run_program("memsim", "shell", root, "--", *words)
    assert done.stderr == ""
    return done.stdout


STATE = f"/{MEMORY}/memory3/state"

WAYS = {
    "echo": "echo offline > $1",
    "append": "echo offline >> $1",
    "both": "exec 3<> $1; echo offline >&3",
    "tee": "echo offline | tee $1 > /dev/null",
    "from the directory": "cd ${1%/*}; echo offline > state",
    "by a link": f"echo offline > /{NODE}/node0/memory3/state",
    "by dots": "cd /sys; echo offline > firmware/../devices/system/memory/memory3/../memory3/state",
    "dd": "echo offline | dd of=$1 conv=notrunc status=none",
    "openat": """$0 -c '
import os, sys
at = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
os.write(os.open("state", os.O_WRONLY, dir_fd=at), b"offline")' $1""",
    "creat": "$0 -c 'import ctypes, os, sys; libc = ctypes.CDLL(None); "
    'os.write(libc.creat(sys.argv[1].encode(), 0o644), b"offline")\' $1',
    "openat2": """$0 -c '
import ctypes, os, struct, sys
how = struct.pack("=QQQ", os.O_RDWR | os.O_CLOEXEC, 0, 0)
name = sys.argv[1].encode()
file = ctypes.CDLL(None).syscall(437, -100, name, how, len(how))
assert not os.get_inheritable(file)
os.write(file, b"offline")' $1""",
    "a thread": """$0 -c '
import sys, threading
work = threading.Thread(target=lambda: open(sys.argv[1], "w").write("offline"))
work.start()
work.join()' $1""",
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write_reaches_the_kernel(way: str, lpar: Path) -> None:
    script = WAYS[way].replace("$0", f"{sys.executable}")
    assert in_shell(lpar, f"{script} || echo failed; cat $1", STATE) == "offline\n"
    assert directory.Directory(lpar).kernel().blocks.online(3) is False


def test_what_the_kernel_refuses_arrives_at_a_diverted_writer(lpar: Path) -> None:
    script = """$0 -c '
import errno, json, os, sys
def tried(name, flags, word=b""):
    try:
        file = os.open(name, flags)
        os.write(file, word)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
memory = sys.argv[1]
print(json.dumps([
    tried(f"{memory}/memory3/state", os.O_WRONLY, b"nonsense"),
    tried(f"{memory}/memory3/state", os.O_WRONLY, b"online"),
    tried(f"{memory}/memory3/phys_index", os.O_WRONLY),
    tried(f"{memory}/memory99/state", os.O_WRONLY),
    tried(f"{memory}/memory3/new", os.O_WRONLY | os.O_CREAT),
    tried(f"{memory}/memory3", os.O_WRONLY),
    tried(f"{memory}/memory3/uevent", os.O_WRONLY, b"change 1 A=B"),
    tried(f"{memory}/memory3/uevent", os.O_WRONLY, b"explode"),
    os.access(f"{memory}/memory3/state", os.W_OK),
    os.access(f"{memory}/memory3/state", os.R_OK | os.W_OK),
    os.access(f"{memory}/memory3/state", os.W_OK, effective_ids=True),
    os.access(f"{memory}/memory99/state", os.W_OK),
    os.truncate(f"{memory}/memory3/state", 0),
]))' $1""".replace("$0", sys.executable)
    before = tree_at(lpar)
    assert json.loads(in_shell(lpar, script, f"/{MEMORY}")) == [
        *("EINVAL", "EINVAL", "EACCES", "ENOENT", "EACCES", "EISDIR", "done", "EINVAL"),
        *(True, True, True, False, None),
    ]
    assert tree_at(lpar) == before


@pytest.mark.parametrize("command", ["rm {0}/state", "mv {0}/state {0}/x", "chmod 0 {0}/state"])
def test_the_files_of_the_machine_are_safe_from_whatever_is_not_diverted(
    command: str, lpar: Path
) -> None:
    before = tree_at(lpar)
    said = in_shell(lpar, command.format(f"/{MEMORY}/memory3"))
    assert "Read-only file system" in said
    assert tree_at(lpar) == before


def test_files_elsewhere_are_written_as_ever(lpar: Path, tmp_path: Path) -> None:
    script = "cd $1; echo one > a; echo two >> a; exec 3<> a; cat <&3; test -w a && echo writable"
    assert in_shell(lpar, script, tmp_path) == "one\ntwo\nwritable\n"
    assert "nonexistent" in in_shell(lpar, "cat x >> $1/no/such", tmp_path)


def test_a_read_sees_what_was_written_a_moment_ago_from_anywhere(lpar: Path) -> None:
    script = f"""
for word in offline online offline online; do
    echo $word > {STATE}; cat {STATE} /{MEMORY}/memory3/online
done
echo 1 > /{FIRMWARE}/memory20/config; cat /{MEMORY}/memory20/state
echo 0 > /{FIRMWARE}/memory20/config; ls /{MEMORY} | grep -c memory20"""
    assert in_shell(lpar, script) == "offline\n0\nonline\n1\n" * 2 + "offline\n0\n"


def test_a_program_that_is_killed_while_it_waits_stops_nobody_else(lpar: Path) -> None:
    directory.Directory(lpar).change(lambda kernel: kernel.set_delay("offline", 3, 30.0))
    script = f"""
(echo offline > {STATE}) & pid=$!
while [ "$(cat {STATE})" != going-offline ]; do :; done
kill -9 $pid; wait $pid
echo change > /{MEMORY}/memory4/uevent && cat {STATE}"""
    assert in_shell(lpar, script).splitlines()[-1] == "online"


@pytest.fixture
def undiverted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(namespace, "_can_divert", lambda: False)
    yield


@forks
@pytest.mark.usefixtures("undiverted")
def test_where_the_kernel_does_not_tell_all_is_as_well(lpar: Path, tmp_path: Path) -> None:
    script = f"echo offline > {STATE}; cat {STATE} /{MEMORY}/memory3/uevent > {tmp_path}/out"
    status = namespace.run(str(lpar), ["sh", "-c", script])
    assert status == 0
    assert (tmp_path / "out").read_text() == "offline\n"
    assert directory.Directory(lpar).kernel().blocks.online(3) is False


def test_an_unknown_processor_is_not_diverted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert not divert.available()
