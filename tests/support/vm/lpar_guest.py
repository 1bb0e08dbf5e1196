"""Runs in an s390 guest: writes, what came of each, and what tests need besides.

The host sends this file to the agent, which calls functions of it; what is at the top of the file
stays between the calls. A text is latin-1, a character for each byte. A condition maps the absolute
path of an attribute to its text.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

MEMORY = "/sys/devices/system/memory"
FIRMWARE = "/sys/firmware/memory"
PARAMETERS = "/sys/module/memory_hotplug/parameters"
FIRMWARE_ATTRIBUTES = ("config", "memmap_on_memory")
BLOCK_ATTRIBUTES = ("state", "online", "valid_zones", "removable", "phys_index", "phys_device")
OTHERS = (
    f"{MEMORY}/auto_online_blocks",
    f"{MEMORY}/block_size_bytes",
    f"{PARAMETERS}/memmap_on_memory",
    f"{PARAMETERS}/online_policy",
    f"{PARAMETERS}/auto_movable_ratio",
)

_open: dict[str, int] = {}
"""Descriptors of attributes: sysfs shows an attribute anew for each read from its beginning."""


def _blocks(directory: str) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith("memory"))


def _paths() -> Iterator[str]:
    for name in _blocks(FIRMWARE):
        yield from (f"{FIRMWARE}/{name}/{attribute}" for attribute in FIRMWARE_ATTRIBUTES)
    for name in _blocks(MEMORY):
        yield from (f"{MEMORY}/{name}/{attribute}" for attribute in BLOCK_ATTRIBUTES)
    yield from OTHERS


def read(path: str) -> str:
    """An attribute's text; OSError when there is none."""
    try:
        return os.pread(_open[path], 4096, 0).decode("latin-1")
    except KeyError:
        pass
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        os.close(_open.pop(path))  # of a block that has gone; another may be in its place
    _open[path] = os.open(path, os.O_RDONLY)
    return os.pread(_open[path], 4096, 0).decode("latin-1")


def condition() -> dict[str, str]:
    """Every attribute."""
    return {path: read(path) for path in _paths()}


def write(path: str, text: str) -> str:
    """One write(2), even of nothing; the errno's name, or "" for success.

    Of a long text an attribute takes the first page and leaves the rest (fs/kernfs/file.c).
    """
    data = text.encode("latin-1")
    try:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            taken = os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "" if taken == min(len(data), 4096) else f"short: {taken}"


_events: list[socket.socket] = []


def uevents() -> list[str]:
    """The kernel's uevents since this was last asked, as ACTION@DEVPATH."""
    if not _events:
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
        listener.bind((0, 1))
        listener.setblocking(False)
        _events.append(listener)
    heard = []
    while True:
        try:
            heard.append(_events[0].recv(1 << 16).partition(b"\0")[0].decode())
        except BlockingIOError:
            return heard


def replay(writes: list[list[str]]) -> list[list[object]]:
    """Make writes of [path, text]; for each its errno name, the attributes that are not as they
    were before (null: gone), and the uevents. Before all of them the condition at the start."""
    uevents()
    before: dict[str, str] = {}
    answers: list[list[object]] = []
    for path, text in [["", ""], *writes]:
        failed = write(path, text) if path else ""
        after = condition()
        changes: dict[str, str | None] = {
            path: text for path, text in after.items() if before.get(path) != text
        }
        changes |= dict.fromkeys(before.keys() - after.keys())
        answers.append([failed, changes, uevents()])
        before = after
    return answers


def tree(top: str) -> dict[str, str]:
    """What is in a directory and below: a path below it -> dir, link, or the mode of a file.

    Links are not followed, and the power directories, which hold nothing of memory's, left out.
    """
    found = {}
    for above, directories, files in os.walk(top):
        directories[:] = [name for name in directories if name != "power"]
        for name in [*directories, *files]:
            path = os.path.join(above, name)
            kind = "link" if os.path.islink(path) else "dir"
            if kind == "dir" and name in files:
                kind = f"{os.stat(path).st_mode & 0o777:o}"
            found[os.path.relpath(path, top)] = kind
    return found


def prepare(blocks: dict[str, list[object]]) -> None:
    """Bring blocks to a condition by plain writes: number -> [condition, memmap_on_memory].

    A condition is disabled, offline, or the word for `state` that sets a block online.
    """
    for number, (wanted, memmap) in blocks.items():
        firmware, memory = f"{FIRMWARE}/memory{number}", f"{MEMORY}/memory{number}"
        asked = [(f"{memory}/online", "0")] if os.path.exists(memory) else []
        asked += [(f"{firmware}/config", "0"), (f"{firmware}/memmap_on_memory", f"{memmap:d}")]
        if wanted != "disabled":
            asked += [(f"{firmware}/config", "1"), (f"{memory}/online", "0")]
        if wanted not in ("disabled", "offline"):
            asked += [(f"{memory}/state", str(wanted))]
        for path, text in asked:
            failed = write(path, text)
            if failed:
                raise OSError(f"{text} to {path}: {failed}")


def beside(program: str, arguments: list[str]) -> int:
    """Run a Python program in a fork of this process until it is killed; its process id, when it
    has printed a line. OSError when it ends before that."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.dup2(writing, 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.argv = ["beside", *arguments]
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
        try:
            exec(compile(program, "beside", "exec"), {"__name__": "__main__"})
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as said:
        if not said.readline():
            raise OSError("the program has ended")
    return pid


def end(pid: int) -> None:
    """Kill a process that `beside` gave."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def fill(leave: int) -> None:
    """Fill memory with a file in /tmp until only so many MiB are free.

    Page tables are allocated with the help of the OOM killer. It finds processes that nobody needs,
    before it comes to the one that changes memory.
    """
    sleep = "echo 1000 > /proc/self/oom_score_adj; exec sleep 1000"
    for _ in range(24):
        subprocess.Popen(["sh", "-c", sleep])
    subprocess.run(["mount", "-o", "remount,size=100%", "/tmp"], check=True)
    with open("/tmp/filling", "wb") as file:
        while _free() > leave:
            file.write(bytes(1 << 20))
            file.flush()


def _free() -> int:
    """MiB of free memory."""
    with open("/proc/meminfo") as file:
        lines = dict(line.split(":") for line in file)
    return int(lines["MemFree"].split()[0]) >> 10


def end_filling() -> None:
    """Free what `fill` took."""
    os.unlink("/tmp/filling")


SETTLED = "/tmp/settled"
SETTLED_RULE = f"""\
SUBSYSTEM=="memory", KERNEL=="memory0", ACTION=="change", RUN+="/bin/touch {SETTLED}"
"""


def udev(rules: str = "") -> None:
    """Start systemd-udevd with RULES and what other rules there are, and wait until it answers.

    Rules must be there when it starts. This kernel gives no credentials to a message that is sent
    before the receiver has accepted the connection, and udev 252 ignores such a message: udevadm
    control and udevadm settle then do nothing, and say nothing.
    """
    os.makedirs("/run/udev/rules.d", exist_ok=True)
    for name, text in (("00-settled", SETTLED_RULE), ("50-test", rules)):
        with open(f"/run/udev/rules.d/{name}.rules", "w") as file:
            file.write(text)
    subprocess.run(["/usr/lib/systemd/systemd-udevd", "--daemon"], check=True)
    settle()


def settle() -> None:
    """Wait until udev has done all that was to be done.

    Events come in their order: when udev has seen one that is made here, it knows of all earlier
    ones, and its queue is there until they are done.
    """
    failed = write(f"{MEMORY}/memory0/uevent", "change")
    if failed:
        raise OSError(failed)
    end = time.monotonic() + 120
    while not os.path.exists(SETTLED) or os.path.exists("/run/udev/queue"):
        if time.monotonic() > end:
            raise OSError("udev does not settle")
        time.sleep(0.02)
    os.unlink(SETTLED)
